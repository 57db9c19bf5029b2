"""Ways to get a registration wrong: each is told with what to do, and publishes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.errors import IngestError, NotFoundError, ServiceError
from gateway.ingest.register import list_registered, unregister_table
from gateway.ingest.tables import ingest_table
from tests.ingest.register.conftest import FEW
from tests.ingest.register.site import Site
from tests.support.servers import Administrator

SKY = "SELECT g AS id, (g * 37) % 360.0 AS ra, ((g * 17) % 170 - 85)::double precision AS dec FROM generate_series(1, 500) g"

WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("", "public.star", {}, "there is no table public.star .*did you mean public.stars"),
    ("", "pubic.stars", {}, "there is no table pubic.stars .*did you mean public.stars"),
    ("", "stars", {}, "'stars' is no name of a table; write schema.table"),
    ("CREATE SEQUENCE public.seq", "public.seq", {}, "public.seq is no table or view"),
    ("", "pg_catalog.pg_class", {}, "PostgreSQL's own"),
    ("", "tap_schema.tables", {}, "the gateway's"),
    ("", "public.stars", {"ra": "r", "dec": "dec"}, "has no column 'r'"),
    ("", "public.stars", {"ra": "ra", "dec": "decl"}, "has no column 'decl'; did you mean dec"),
    ("", "public.stars", {"columns": ["id", "rah"]}, "has no column 'rah'; did you mean ra"),
    ("", "public.stars", {"hide": ["magg"]}, "did you mean mag"),
    ("", "public.stars", {"ra": "ra"}, "both --ra and --dec"),
    ("", "public.stars", {"ra": "ra", "dec": "ra"}, "the same column"),
    ("", "public.stars", {"ra": "dec", "dec": "ra"}, "swapped; repeat with --ra ra --dec dec"),
    (
        f"CREATE TABLE public.t AS SELECT id, ra AS x, dec AS y FROM ({SKY}) s",
        "public.t",
        {"ra": "y", "dec": "x"},
        "swapped.*--ra x --dec y",
    ),
    (
        f"CREATE TABLE public.t AS SELECT id, ra::text, dec FROM ({SKY}) s",
        "public.t",
        {"ra": "ra", "dec": "dec"},
        "of type text and no number",
    ),
    (
        f"CREATE TABLE public.t AS SELECT id, ra / 15 AS ra, dec FROM ({SKY}) s",
        "public.t",
        {"ra": "ra", "dec": "dec"},
        "hours.*15 . ra AS ra",
    ),
    (
        f"CREATE TABLE public.t AS SELECT id, radians(ra) AS ra, radians(dec) AS dec FROM ({SKY}) s",
        "public.t",
        {},
        r"radians.*degrees\(ra\)",
    ),
    (
        f"CREATE TABLE public.t AS {SKY}; COMMENT ON COLUMN public.t.ra IS '[rad]'",
        "public.t",
        {"ra": "ra", "dec": "dec"},
        "ra is in radians",
    ),
    (
        f"CREATE TABLE public.t AS {SKY}; COMMENT ON COLUMN public.t.ra IS '[hourangle]'",
        "public.t",
        {"ra": "ra", "dec": "dec"},
        "ra is in hours",
    ),
    (
        f"CREATE TABLE public.t AS SELECT id, ra, 3600 * dec AS dec FROM ({SKY}) s",
        "public.t",
        {"ra": "ra", "dec": "dec"},
        "between -90 and 90",
    ),
    (
        f"CREATE TABLE public.t AS SELECT id, 3600 * ra AS ra, dec FROM ({SKY}) s",
        "public.t",
        {"ra": "ra", "dec": "dec"},
        "between 0 and 360",
    ),
    ("", "public.stars", {"name": None}, "'public' is reserved; choose .*--name survey.stars"),
    ("", "public.stars", {"name": "stars"}, "no table name; write schema.table"),
    ("", "public.stars", {"describe": "nowhere.yaml"}, "there is no such file"),
    ("", "public.stars", {"from_tap_schema": "nowhere"}, "--from-tap-schema nowhere"),
    ("CREATE TABLE public.t (raw bytea)", "public.t", {}, "no column that can be published"),
    ("CREATE TABLE public.t ()", "public.t", {}, "no column that can be published"),
    ('CREATE TABLE public."Stars" (a int)', "public.STARS", {}, 'can be any of "public"."(Stars|stars)"'),
]


@pytest.mark.parametrize(("sql", "table", "options", "said"), WRONG, ids=[f"{one[1]}-{one[3][:30]}" for one in WRONG])
def test_what_is_wrong_is_told_with_its_cure(
    shared: Site, sql: str, table: str, options: dict[str, Any], said: str
) -> None:
    if sql:
        shared.run(sql)
    before = shared.tableset().version
    with pytest.raises(IngestError, match=f"(?s){said}"):
        shared.register(table, **({"name": "survey.x"} | options))
    assert shared.tableset().version == before
    assert shared.indexes() == []
    shared.run('DROP TABLE IF EXISTS public.t, public."Stars"')


@pytest.fixture(scope="module")
def shared(database_server: Administrator, database_template: str) -> Iterator[Site]:
    """One with a table of 100 stars, for tests that change nothing else."""
    site = Site(database_server.create(database_template))
    site.run(FEW)
    yield site
    database_server.drop(site.url)


@pytest.mark.parametrize("values", ["radians(ra), radians(dec)", "ra / 15, dec"])
def test_units_overrule_a_suspicion(site: Site, values: str) -> None:
    """A field of a few degrees around RA 0 looks like radians, and a stripe of 24 degrees like hours."""
    ra, dec = values.split(", ")
    site.run(
        f"CREATE TABLE public.stars AS SELECT id, {ra} AS ra, {dec} AS dec FROM ({SKY}) s",
        "COMMENT ON COLUMN public.stars.ra IS '[deg]'",
        "COMMENT ON COLUMN public.stars.dec IS '[deg]'",
    )
    assert site.register().index is not None


def test_a_name_that_is_taken_is_told(few: Site) -> None:
    few.register()
    with pytest.raises(IngestError, match=r"survey\.stars is published already; .*repeat with --replace"):
        few.register()
    few.run("CREATE TABLE public.others (a int)")
    with pytest.raises(IngestError, match=r"and is public\.stars in PostgreSQL"):
        few.register("public.others", name="survey.stars")
    with pytest.raises(IngestError, match="differ only by case"):
        few.register(name="survey.STARS", replace=True)


def test_an_ingested_table_is_never_replaced_by_a_registered_one(few: Site, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    ingest_table([tmp_path / "a.parquet"], name="survey.stars", admin_url=few.url)
    with pytest.raises(IngestError, match="from files by gateway ingest"):
        few.register(replace=True)
    assert few.column("SELECT a FROM survey.stars") == [1]


def test_a_registered_table_is_never_replaced_by_an_ingested_one(few: Site, tmp_path: Path) -> None:
    few.register()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(IngestError, match="was not made by gateway ingest"):
        ingest_table([tmp_path / "a.parquet"], name="survey.stars", admin_url=few.url, replace=True)
    assert few.fetch("SELECT count(*) FROM public.stars") == [(100,)]


def test_a_table_without_positions_is_published_with_a_note(site: Site) -> None:
    site.run("CREATE VIEW public.labels AS SELECT 1 AS id, 'x'::text AS name")
    report = site.register("public.labels")
    assert any("no position columns" in note for note in report.notes)
    assert site.rows("SELECT * FROM survey.labels") == [{"id": 1, "name": "x"}]


def test_an_empty_table_is_published_and_indexed(site: Site) -> None:
    site.run("CREATE TABLE public.stars (ra double precision, dec double precision)")
    report = site.register(ra="ra", dec="dec")
    assert (report.rows, report.index is not None) == (0, True)


def test_a_database_that_is_not_migrated_is_told(empty_database_url: str) -> None:
    site = Site(empty_database_url)
    site.run("CREATE TABLE public.stars (a int)")
    with pytest.raises(IngestError, match="run gateway migrate first"):
        site.register()


# -- altered afterwards -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("ALTER TABLE public.stars DROP COLUMN mag", "column mag is gone"),
        ("ALTER TABLE public.stars RENAME COLUMN mag TO vmag", "column mag is gone"),
        ("DROP TABLE public.stars", "the table is gone"),
    ],
)
def test_a_query_on_a_table_that_has_changed_tells_what_to_do(few: Site, change: str, fault: str) -> None:
    few.register()
    few.run(change)
    with pytest.raises(ServiceError, match=r"has changed since it was published.*gateway register .* --replace"):
        few.ask("SELECT mag FROM survey.stars")
    (found,) = list_registered(few.url)
    assert found.faults == (fault,)


def test_registering_again_mends_a_table_that_has_changed(few: Site) -> None:
    few.register()
    few.run("ALTER TABLE public.stars DROP COLUMN mag", "ALTER TABLE public.stars ALTER id TYPE integer")
    assert few.rows("SELECT TOP 1 ra, dec FROM survey.stars")  # the other columns still work
    (found,) = list_registered(few.url)
    assert set(found.faults) == {"column mag is gone", "column id has another type"}
    few.register(replace=True)
    assert list(few.columns()) == ["id", "ra", "dec"]
    assert len(few.rows("SELECT * FROM survey.stars")) == 100
    assert list_registered(few.url)[0].faults == ()


def test_a_table_that_was_made_anew_is_readable_again_after_registering(few: Site) -> None:
    few.register()
    few.run(
        "CREATE TABLE public.new AS SELECT * FROM public.stars; DROP TABLE public.stars; ALTER TABLE public.new RENAME TO stars"
    )
    with pytest.raises(ServiceError, match="has changed"):
        few.ask("SELECT id FROM survey.stars")
    assert few.register(replace=True).index is not None
    assert len(few.rows("SELECT id FROM survey.stars")) == 100


# -- dropping ---------------------------------------------------------------------------------------------


def test_dropping_unpublishes_and_leaves_the_table(few: Site) -> None:
    index = few.register().index
    said = unregister_table("survey.stars", few.url)
    assert said is not None
    assert said[0] == "public.stars itself was not touched"
    assert index is not None
    assert index in said[1]
    assert few.table() is None
    assert few.indexes() == []
    assert few.fetch("SELECT count(*) FROM public.stars") == [(100,)]
    assert few.fetch("SELECT has_table_privilege('gateway_query', 'public.stars', 'SELECT')") == [(False,)]


def test_dropping_leaves_indexes_of_others(few: Site) -> None:
    few.run("CREATE INDEX theirs ON public.stars (sky.zone(dec), ra)")
    few.register()
    unregister_table("survey.stars", few.url)
    assert few.indexes("theirs") == ["theirs"]


def test_a_table_that_is_published_twice_keeps_its_index_until_the_last_is_dropped(few: Site) -> None:
    few.register()
    few.register(name="survey.again", hide=["mag"])
    assert len(few.rows("SELECT mag FROM survey.stars")) == 100, "each name has columns of its own"
    unregister_table("survey.stars", few.url)
    assert len(few.indexes()) == 1
    assert len(few.rows("SELECT * FROM survey.again")) == 100
    unregister_table("survey.again", few.url)
    assert few.indexes() == []


def test_a_table_that_is_gone_can_be_unpublished(few: Site) -> None:
    few.register()
    few.run("DROP TABLE public.stars")
    assert unregister_table("survey.stars", few.url) == ("public.stars itself was gone already",)
    assert few.table() is None


def test_dropping_what_is_not_published_is_told(few: Site) -> None:
    few.register()
    with pytest.raises(NotFoundError, match=r"no published table survey\.star; did you mean survey\.stars"):
        unregister_table("survey.star", few.url)


def test_an_ingested_table_is_left_to_ingest(few: Site, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    ingest_table([tmp_path / "a.parquet"], name="survey.files", admin_url=few.url)
    assert unregister_table("survey.files", few.url) is None
    assert few.column("SELECT a FROM survey.files") == [1]
    assert list_registered(few.url) == []
