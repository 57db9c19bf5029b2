"""Registering as somebody who does not own the table."""

from __future__ import annotations

import pytest

from gateway.errors import IngestError
from gateway.ingest.register import unregister_table
from tests.ingest.register.site import Site


def user(url: str) -> str:
    return url.partition("://")[2].partition("@")[0]


@pytest.fixture
def lent(few: Site, clerk: str) -> Site:
    """Stars that the clerk may read, and the query role too."""
    few.run(
        f"GRANT USAGE ON SCHEMA public TO gateway_query, {user(clerk)}",
        f"GRANT SELECT ON public.stars TO gateway_query, {user(clerk)}",
    )
    return few


def test_the_statements_are_told_and_the_table_is_published_without_index(lent: Site, clerk: str) -> None:
    report = lent.register(admin_url=clerk, ra="ra", dec="dec")
    assert report.index is None
    assert any("does not own the table" in note for note in report.notes)
    assert report.statements[0].startswith("CREATE INDEX CONCURRENTLY")
    query = "SELECT id FROM survey.stars WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(37, -68, 1))"
    assert lent.column(query) == [1]
    assert "Seq Scan" in lent.plan(query)


def test_the_statements_make_it_fast_when_the_owner_runs_them(lent: Site, clerk: str) -> None:
    report = lent.register(admin_url=clerk)
    lent.run(*[statement.removesuffix(";") for statement in report.statements])
    again = lent.register(admin_url=clerk, replace=True)
    assert again.index is not None
    assert again.statements == ()
    lent.run(
        "INSERT INTO public.stars SELECT g, (g * 37) % 360, (g * 17) % 170 - 85 FROM generate_series(101, 20000) g"
    )
    lent.run("ANALYZE public.stars")
    query = "SELECT id FROM survey.stars WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(37, -68, 0.01))"
    assert again.index in lent.plan(query)


def test_a_table_that_may_not_be_read_is_told_with_the_grant(few: Site, clerk: str) -> None:
    with pytest.raises(IngestError, match=rf"may not read public.stars.*GRANT SELECT ON public.stars TO {user(clerk)}"):
        few.register(admin_url=clerk)


def test_a_table_that_the_query_role_may_not_read_is_told_with_the_grant(few: Site, clerk: str) -> None:
    few.run(f"GRANT SELECT ON public.stars TO {user(clerk)}")
    with pytest.raises(
        IngestError, match=r"gateway_query, may not read public.stars.*GRANT SELECT \(.*TO gateway_query"
    ):
        few.register(admin_url=clerk)
    assert few.table() is None


def test_dropping_takes_nothing_that_is_not_ours(lent: Site, clerk: str) -> None:
    report = lent.register(admin_url=clerk)
    lent.run(*[statement.removesuffix(";") for statement in report.statements])
    said = unregister_table("survey.stars", clerk)
    assert said is not None
    assert lent.table() is None
    assert len(lent.indexes()) == 1, "its owner made it by hand"
    assert lent.fetch("SELECT has_table_privilege('gateway_query', 'public.stars', 'SELECT')") == [(True,)]


def test_the_query_role_reads_nothing_but_what_is_published(few: Site) -> None:
    few.register(hide=["mag"])
    assert few.fetch("SELECT has_column_privilege('gateway_query', 'public.stars', 'mag', 'SELECT')") == [(False,)]


def test_row_security_is_told(few: Site) -> None:
    few.run("ALTER TABLE public.stars ENABLE ROW LEVEL SECURITY")
    assert any("row security" in note for note in few.register().notes)
