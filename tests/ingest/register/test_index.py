"""The index of a registered table: made where we may, found where it is, replaced where it is broken, told where we may not."""

from __future__ import annotations

import asyncio
import threading
import time

import asyncpg
import pytest

from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError, GatewayError, IngestError
from gateway.ingest.progress import Phase, Progress
from gateway.ingest.register import unregister_table
from tests.ingest.register.site import Site

CONE = "SELECT id FROM survey.{0} WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(37, -68, 2))"
STARS = "SELECT g AS id, ((g * 37) % 360)::double precision AS ra, ((g * 17) % 170 - 85)::double precision AS dec FROM generate_series(1, {0}) g"


def filled(site: Site, kind: str, rows: int = 20_000) -> Site:
    site.run(f"CREATE {kind} AS {STARS.format(rows)}")
    return site


def test_the_table_itself_is_not_touched(few: Site) -> None:
    before = few.fetch("SELECT relfilenode, obj_description(oid) FROM pg_class WHERE oid = 'public.stars'::regclass")
    few.register()
    assert (
        few.fetch("SELECT relfilenode, obj_description(oid) FROM pg_class WHERE oid = 'public.stars'::regclass")
        == before
    )


def test_an_index_that_is_there_is_used(few: Site) -> None:
    few.run("CREATE INDEX theirs ON public.stars (sky.zone(dec), ra)")
    assert few.register().index == "theirs"
    assert few.indexes() == []


def test_registering_again_makes_no_second_index(few: Site) -> None:
    first = few.register()
    assert few.register(replace=True).index == first.index
    assert few.indexes() == [first.index]


def test_an_index_that_an_interruption_left_is_replaced(few: Site) -> None:
    name = few.register().index
    few.run(f"COMMENT ON INDEX public.{name} IS NULL")
    few.run(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.{name}'::regclass")
    report = few.register(replace=True)
    assert report.index == name
    assert any("unfinished" in note for note in report.notes)
    assert few.fetch("SELECT indisvalid FROM pg_index WHERE indexrelid = $1::text::regclass", f"public.{name}") == [
        (True,)
    ]


def test_a_build_that_is_cut_off_publishes_nothing_and_can_be_repeated(site: Site) -> None:
    filled(site, "TABLE public.stars", 1000)
    blocker = Blocker(site.url)
    failed: list[GatewayError] = []

    def work() -> None:
        try:
            site.register()
        except GatewayError as e:
            failed.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND datname = current_database()"
        while not any(row[0] for row in site.fetch(query)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        thread.join(20)
        blocker.stop()
    assert isinstance(failed[0], BackendUnavailableError)
    assert site.table() is None
    assert site.fetch(
        "SELECT indisvalid FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE relname LIKE 'gw_zone%'"
    ) == [(False,)]
    report = site.register()
    assert any("unfinished" in note for note in report.notes)
    assert site.fetch(
        "SELECT indisvalid FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE relname LIKE 'gw_zone%'"
    ) == [(True,)]


class Blocker:
    """An open transaction that has written to the table: an index build waits for its end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))
        self._thread.start()
        assert self._ready.wait(10)

    async def _work(self) -> None:
        connection = await asyncpg.connect(DatabaseURL.parse(self._url).asyncpg())
        async with connection.transaction():
            await connection.execute("INSERT INTO public.stars VALUES (0, 1, 1)")
            self._ready.set()
            await asyncio.to_thread(self._stop.wait)
        await connection.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_others_write_while_the_index_is_built_and_the_progress_is_told(site: Site) -> None:
    filled(site, "TABLE public.stars", 100_000)
    told: list[Progress] = []
    site.register(progress=told.append)
    assert told[0].phase is Phase.CHECKING
    assert all(0 <= one.done <= one.total for one in told)


def test_a_materialised_view_is_indexed(site: Site) -> None:
    filled(site, "MATERIALIZED VIEW public.stars")
    assert site.register().what == "materialised view"
    assert "gw_zone_" in site.plan(CONE.format("stars"))
    assert site.column(CONE.format("stars"))


PARTITIONED = """
CREATE TABLE public.stars (id int, ra double precision, dec double precision) PARTITION BY RANGE (dec);
CREATE TABLE public.south PARTITION OF public.stars FOR VALUES FROM (-91) TO (0);
CREATE TABLE public.north PARTITION OF public.stars FOR VALUES FROM (0) TO (91) PARTITION BY RANGE (ra);
CREATE TABLE public.northwest PARTITION OF public.north FOR VALUES FROM (0) TO (180);
CREATE TABLE public.northeast PARTITION OF public.north FOR VALUES FROM (180) TO (361);
INSERT INTO public.stars
"""


def test_all_partitions_of_a_table_are_indexed_and_later_ones_too(site: Site) -> None:
    site.run(PARTITIONED + STARS.format(20_000))
    report = site.register()
    assert report.index is not None, report.notes
    assert report.rows == 20_000
    assert len(site.indexes()) == 5
    plan = site.plan(CONE.format("stars"))
    assert "gw_zone_" in plan
    assert "Seq Scan" not in plan
    site.run("CREATE TABLE public.beyond PARTITION OF public.stars FOR VALUES FROM (91) TO (92)")
    assert len(site.fetch("SELECT FROM pg_indexes WHERE tablename = 'beyond'")) == 1
    assert site.fetch(
        "SELECT bool_and(indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE relname LIKE 'gw_zone%'"
    ) == [(True,)]
    said = unregister_table("survey.stars", site.url)
    assert said is not None
    assert "dropped" in said[1]
    assert site.indexes() == []
    assert site.fetch("SELECT count(*) FROM public.stars") == [(20_000,)]


def test_partitions_that_were_indexed_before_an_interruption_are_kept(site: Site) -> None:
    site.run(PARTITIONED + STARS.format(2000))
    site.register()
    kept = site.fetch("SELECT oid FROM pg_class WHERE relname LIKE 'gw_zone_south%'")
    # as if the build had been cut off before the last partition
    (top,) = [name for name in site.indexes() if name.startswith("gw_zone_stars")]
    site.run(f"DROP INDEX public.{top}")
    site.register(replace=True)
    assert len(site.indexes()) == 5
    assert kept


def test_a_view_is_served_by_the_index_of_the_table_behind_it(site: Site) -> None:
    filled(site, "TABLE public.base")
    site.run("CREATE VIEW public.stars AS SELECT id, ra, dec FROM public.base WHERE id > 10")
    report = site.register()
    assert report.index is None
    assert any("view" in note for note in report.notes)
    site.run(*[statement.removesuffix(";") for statement in report.statements])
    report = site.register(replace=True)
    assert report.index is not None
    assert "gw_zone_base" in site.plan(CONE.format("stars"))
    expected = site.fetch(
        "SELECT id FROM public.stars WHERE ra BETWEEN 37 AND 37 AND dec BETWEEN -68 AND -68 ORDER BY 1"
    )
    assert sorted(site.column(CONE.format("stars"))) == [row[0] for row in expected]


def test_a_view_of_a_union_works_without_index(few: Site) -> None:
    few.run(
        "CREATE VIEW public.twofold AS SELECT id, ra, dec FROM public.stars UNION SELECT id + 1000, ra, dec FROM public.stars"
    )
    assert few.register("public.twofold").what == "view"
    assert sorted(few.column(CONE.format("twofold"))) == [1, 1001]


def test_a_foreign_table_is_published_unindexed(few: Site, database_url: str) -> None:
    try:
        few.run("CREATE EXTENSION file_fdw")
    except asyncpg.PostgresError:
        pytest.skip("this PostgreSQL comes without file_fdw")
    few.run(
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        "CREATE FOREIGN TABLE public.distant (id int, ra double precision, dec double precision)"
        " SERVER files OPTIONS (program 'printf \"1\\t37\\t-68\\n2\\t0\\t0\\n\"')",
    )
    report = few.register("public.distant", ra="ra", dec="dec")
    assert report.what == "foreign table"
    assert any("foreign" in note for note in report.notes)
    assert few.column(CONE.format("distant")) == [1]


def test_functions_that_only_bear_the_names_of_q3c_are_not_called(few: Site) -> None:
    few.run(
        "CREATE FUNCTION public.q3c_ang2ipix(double precision, double precision) RETURNS bigint IMMUTABLE LANGUAGE sql"
        " AS 'SELECT 1::bigint'",
        "CREATE INDEX q ON public.stars (public.q3c_ang2ipix(ra, dec))",
    )
    report = few.register()
    assert any("q3c index, q, which queries cannot use" in note for note in report.notes)
    assert few.indexes("q") == ["q"]
    assert few.indexes() == [report.index]
    assert few.column(CONE.format("stars")) == [1]


def test_right_ascensions_below_zero_are_never_missed(few: Site) -> None:
    """An index would miss them in searches beside RA 0, so there is none, and the operator is told the cure."""
    few.run("UPDATE public.stars SET ra = ra - 360 WHERE ra > 180")
    report = few.register()
    assert report.index is None
    assert any("outside [0, 360]" in note and "UPDATE" in note for note in report.notes)
    assert few.column("SELECT id FROM survey.stars WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(333, -68, 0.1))") == [
        row[0] for row in few.fetch("SELECT id FROM public.stars WHERE ra = -27 AND dec = -68")
    ]
    few.run("UPDATE public.stars SET ra = ra + 360 WHERE ra < 0")
    assert few.register(replace=True).index is not None


def test_rows_without_position_are_counted(few: Site) -> None:
    few.run("UPDATE public.stars SET ra = NULL WHERE id <= 3", "UPDATE public.stars SET dec = 'NaN' WHERE id = 4")
    report = few.register()
    assert any(note.startswith("4 of 100 rows have no position") for note in report.notes)
    assert report.index is not None


def test_an_index_for_other_columns_goes_when_it_is_not_needed_any_more(few: Site) -> None:
    few.run("ALTER TABLE public.stars ADD x double precision DEFAULT 1, ADD y double precision DEFAULT 2")
    old = few.register(ra="x", dec="y").index
    report = few.register(ra="ra", dec="dec", replace=True)
    assert few.indexes() == [report.index]
    assert old != report.index
    assert any("for other columns" in note for note in report.notes)


def test_a_partition_elsewhere_does_not_keep_the_others_from_their_index(site: Site) -> None:
    try:
        site.run("CREATE EXTENSION file_fdw")
    except asyncpg.PostgresError:
        pytest.skip("this PostgreSQL comes without file_fdw")
    site.run(
        PARTITIONED + STARS.format(2000),
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        "CREATE FOREIGN TABLE public.distant PARTITION OF public.stars FOR VALUES FROM (91) TO (92)"
        " SERVER files OPTIONS (program 'true')",
    )
    assert site.register().index is not None


def test_two_at_once_do_not_meet(few: Site) -> None:
    async def hold() -> None:
        connection = await asyncpg.connect(DatabaseURL.parse(few.url).asyncpg())
        try:
            await connection.execute("SELECT pg_advisory_lock(hashtextextended('gateway register survey.stars', 0))")
            with pytest.raises(IngestError, match="another gateway register"):
                await asyncio.to_thread(few.register)
        finally:
            await connection.close()

    asyncio.run(hold())
