"""Indexes of q3c and pgSphere that a table has already are used as they are, and find what a scan finds (issue: registering)."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import numpy as np
import pytest

from gateway.db.roles import QUERY_ROLE
from gateway.ingest.register import list_registered
from tests.ingest.register.conftest import MANY, Many
from tests.ingest.register.site import Site, distances
from tests.support.servers import Administrator

STORED = """
ALTER TABLE public.stars ADD pos spoint GENERATED ALWAYS AS (spoint(radians(ra), radians(dec))) STORED;
CREATE INDEX theirs ON public.stars USING gist (pos)
"""
APART = """
ALTER TABLE public.stars ADD pos spoint;
UPDATE public.stars SET pos = spoint(1, 1);
CREATE INDEX theirs ON public.stars USING gist (pos)
"""
MAKE = {
    "q3c": "CREATE INDEX theirs ON public.stars (q3c_ang2ipix(ra, dec))",
    "pg_sphere": "CREATE INDEX theirs ON public.stars USING gist (spoint(radians(ra), radians(dec)))",
    "pg_sphere, stored": STORED,
}
MANY_TOO = MANY.replace("200000", "40000").replace("id % 1000", "id % 200").replace("id / 1000", "id / 200")
TWINS = (
    # pairs 0.0005 arcseconds apart, at the places where windows go wrong
    "INSERT INTO public.stars SELECT 1000000 + row_number() OVER (), ra, dec FROM"
    " (VALUES (0, 0), (1.2e-7, 0), (359.99999988, 0), (12, 90), (12, 89.99999988), (200, -90), (200, -89.99999988),"
    " (123.4, -45.6), (123.4, -45.60000012), (360, 10), (0, 10)) AS twins(ra, dec)"
)


def extended(site: Site, extension: str, schema: str = "public") -> Site:
    """Install an extension, or skip."""
    try:
        site.run(f"CREATE SCHEMA IF NOT EXISTS {schema}", f"CREATE EXTENSION {extension} SCHEMA {schema}")
    except (asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError):
        pytest.skip(f"this PostgreSQL comes without the extension {extension}")
    return site


@pytest.fixture(scope="module", params=MAKE)
def theirs(request: pytest.FixtureRequest, database_server: Administrator, database_template: str) -> Iterator[Many]:
    """40,000 stars with an index of an extension, registered."""
    url = database_server.create(database_template)
    try:
        site = extended(Site(url), request.param.split(",")[0])
        site.run(MANY_TOO, TWINS, MAKE[request.param], "ANALYZE public.stars")
        report = site.register(ra="ra", dec="dec")
        assert report.index == "theirs", report.notes
        assert site.indexes() == []
        rows = site.fetch("SELECT id, coalesce(ra, 'NaN'), dec FROM public.stars")
        yield Many(site, *(np.array(column) for column in zip(*rows, strict=True)))
    finally:
        database_server.drop(url)


CONES = [
    (180.0, 20.0, 0.5),
    (180.0, 20.0, 5.0),
    (0.01, 0.05, 0.2),  # across RA 0
    (359.99, 0.05, 0.2),
    (360.0, 10.0, 0.01),
    (10.0, 89.99, 0.05),  # around the poles
    (200.0, -90.0, 0.0803),
    (0.0, 90.0, 2.0),
    (90.0, 60.0, 40.0),
    (90.0, 60.0, 59.9),
    (90.0, 60.0, 120.0),  # beyond what is looked up
    # 0.001"
    (0.0, 0.0, 0.001 / 3600),
    (12.0, 90.0, 0.001 / 3600),
    (200.0, -90.0, 0.001 / 3600),
    (123.4, -45.6, 0.001 / 3600),
    (123.4, -45.6, 0.0),
]


def test_cones_find_what_a_scan_finds(theirs: Many) -> None:
    shapes = ["1 = CONTAINS(POINT(ra, dec), CIRCLE({}, {}, {}))", "DISTANCE(POINT({}, {}), POINT(ra, dec)) <= {}"]
    for shape in shapes:
        queries = [f"SELECT id FROM survey.stars WHERE {shape.format(*cone)}" for cone in CONES]
        for cone, answer in zip(CONES, theirs.site.answers(queries, "csv"), strict=True):
            apart = distances(theirs.ra, theirs.dec, *cone[:2])
            expected = theirs.id[apart <= cone[2]]
            assert sorted(map(int, answer.split()[1:])) == sorted(expected), cone
            assert expected.size, cone


@pytest.mark.parametrize("cone", [one for one in CONES if one[2] <= 5])
def test_a_cone_is_a_scan_of_their_index(theirs: Many, cone: tuple[float, float, float]) -> None:
    plan = theirs.site.plan(
        "SELECT id FROM survey.stars WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE({}, {}, {}))".format(*cone)
    )
    assert "theirs" in plan, plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        ("POLYGON(10, 10, 20, 10, 20, 20, 10, 20)", (15, 15, 4)),
        ("POLYGON(359, -1, 1, -1, 1, 2, 359, 2)", (0, 0, 0.9)),
        ("POLYGON(0, 89, 90, 89, 180, 89, 270, 89)", (0, 90, 0.6)),
        ("BOX(0, 0, 2, 2)", (0, 0, 0.9)),
    ],
)
def test_a_polygon_is_a_scan_of_their_index(theirs: Many, shape: str, inside: tuple[float, float, float]) -> None:
    condition = f"CONTAINS(POINT(ra, dec), {shape})"
    plan = theirs.site.plan(f"SELECT id FROM survey.stars WHERE 1 = {condition}")
    assert "theirs" in plan, plan
    # a value is no condition: it is computed for every row, without any index
    by_index, by_scan = theirs.site.answers(
        [
            f"SELECT id FROM survey.stars WHERE 1 = {condition} ORDER BY id",
            f"SELECT id FROM survey.stars WHERE {condition} + 0 = 1 AND dec <= 90 ORDER BY id",
        ],
        "csv",
    )
    assert by_index == by_scan
    near = theirs.id[distances(theirs.ra, theirs.dec, *inside[:2]) < inside[2]]
    assert near.size
    assert set(near) <= set(map(int, by_index.split()[1:]))


@pytest.mark.parametrize("radius", [0.0203, 0.4 / 3600 / 1000, 3.0])
def test_a_join_looks_up_their_index_and_finds_every_pair(theirs: Many, radius: float) -> None:
    """Also from NaN, NULL, the poles and RA 0, where the extensions have their own ideas."""
    few = (theirs.id <= 10) | (theirs.id >= 1000000) | (theirs.id % 4001 == 0)
    condition = "a.id <= 10 OR a.id >= 1000000 OR MOD(a.id, 4001) = 0"
    query = (
        "SELECT a.id, b.id AS other FROM survey.stars AS a JOIN survey.stars AS b"
        f" ON 1 = CONTAINS(POINT(b.ra, b.dec), CIRCLE(a.ra, a.dec, {radius!r})) WHERE {condition}"
    )
    plan = theirs.site.plan(query)
    assert "theirs" in plan, plan
    expected = set()
    for place in np.flatnonzero(few):
        apart = distances(theirs.ra, theirs.dec, theirs.ra[place], theirs.dec[place])
        expected |= {(theirs.id[place], other) for other in theirs.id[apart <= radius]}
    assert len(expected) > 20
    assert {tuple(row.values()) for row in theirs.site.rows(query)} == expected


def test_a_join_by_a_radius_from_a_column_looks_up_their_index(theirs: Many) -> None:
    plan = theirs.site.plan(
        "SELECT a.id, b.id AS other FROM survey.stars AS a JOIN survey.stars AS b"
        " ON DISTANCE(POINT(b.ra, b.dec), POINT(a.ra, a.dec)) < MOD(a.id, 9) * 0.001 WHERE a.id < 10"
    )
    assert "Index Cond" in plan, plan
    assert "theirs" in plan, plan


def test_a_join_by_a_radius_from_a_column_finds_every_pair(theirs: Many) -> None:
    """Also by one beyond 90 degrees, which pgSphere's circles do not reach, and by a negative one, which finds nothing."""
    few = theirs.id[:: len(theirs.id) // 40]
    query = (
        "SELECT a.id, COUNT(*) AS n FROM survey.stars AS a JOIN survey.stars AS b"
        " ON 1 = CONTAINS(POINT(b.ra, b.dec), CIRCLE(a.ra, a.dec, (MOD(a.id, 97) - 1) * 1.7))"
        f" WHERE a.id IN ({', '.join(map(str, few))}) AND b.id < 4000 GROUP BY a.id"
    )
    found = {row["id"]: row["n"] for row in theirs.site.rows(query)}
    some = theirs.id < 4000
    for number in few:
        (place,) = np.flatnonzero(theirs.id == number)
        apart = distances(theirs.ra[some], theirs.dec[some], theirs.ra[place], theirs.dec[place])
        assert found.get(number, 0) == (apart <= (number % 97 - 1) * 1.7).sum(), number
    assert len(found) > 20


@pytest.mark.parametrize("kind", ["real", "numeric"])
@pytest.mark.parametrize("extension", ["q3c", "pg_sphere"])
def test_positions_of_other_types_use_their_index(site: Site, extension: str, kind: str) -> None:
    extended(site, extension).run(
        f'CREATE TABLE public.stars (id int, "R A" {kind}, dec {kind})',
        "INSERT INTO public.stars SELECT g, (g * 37) % 360, (g * 17) % 170 - 85 FROM generate_series(1, 30000) g",
        MAKE[extension].replace("ra,", '"R A",').replace("radians(ra)", 'radians("R A")'),
        "ANALYZE public.stars",
    )
    report = site.register(ra="R A", dec="dec")
    assert report.index == "theirs", report.notes
    query = 'SELECT id FROM survey.stars WHERE 1 = CONTAINS(POINT("R A", dec), CIRCLE(37.01, -67.99, 0.1))'
    assert "theirs" in site.plan(query)
    expected = [row[0] for row in site.fetch('SELECT id FROM public.stars WHERE "R A" = 37 AND dec = -68 ORDER BY 1')]
    assert expected
    assert sorted(site.column(query)) == expected


CONE = "SELECT id FROM survey.{} WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(37, -68, 0.5))"


@pytest.mark.parametrize("extension", ["q3c", "pg_sphere"])
def test_an_extension_in_a_schema_of_its_own_is_opened_for_queries(few: Site, extension: str) -> None:
    extended(few, extension, "ext").run(f"SET search_path = public, ext; {MAKE[extension]}")
    assert few.register().index == "theirs"
    assert few.fetch(f"SELECT has_schema_privilege('{QUERY_ROLE}', 'ext', 'USAGE')") == [(True,)]
    assert few.column(CONE.format("stars")) == [1]


def test_an_extension_that_queries_may_not_call_is_told_and_an_own_index_is_made(few: Site) -> None:
    extended(few, "q3c").run(
        MAKE["q3c"],
        "REVOKE EXECUTE ON FUNCTION public.q3c_nearby_it(double precision, double precision, double precision, integer) FROM PUBLIC",
    )
    report = few.register()
    assert report.index is not None
    assert report.index.startswith("gw_zone_")
    assert any("may not use the extension" in note for note in report.notes)
    assert few.column(CONE.format("stars")) == [1]


@pytest.mark.parametrize("extension", ["q3c", "pg_sphere"])
def test_an_extension_that_is_dropped_later_is_not_called(few: Site, extension: str) -> None:
    extended(few, extension).run(MAKE[extension])
    few.register()
    few.run(f"DROP EXTENSION {extension} CASCADE")
    assert few.column(CONE.format("stars")) == [1]
    assert (few.register(replace=True).index or "").startswith("gw_zone_")


@pytest.mark.parametrize(
    ("extension", "make"),
    [
        ("q3c", "CREATE INDEX theirs ON public.stars (q3c_ang2ipix(ra, dec)) WHERE mag > 3"),
        ("q3c", "CREATE INDEX theirs ON public.stars (q3c_ang2ipix(dec, ra))"),
        ("pg_sphere", "CREATE INDEX theirs ON public.stars USING gist (spoint(ra, dec))"),
        ("pg_sphere", APART),
    ],
)
def test_an_index_that_would_lose_rows_is_told_and_not_used(few: Site, extension: str, make: str) -> None:
    extended(few, extension).run(make)
    report = few.register()
    assert report.index is not None
    assert report.index.startswith("gw_zone_")
    assert any("index, theirs, which queries cannot use" in note for note in report.notes)
    assert few.column(CONE.format("stars")) == [1]


@pytest.mark.parametrize("extension", ["q3c", "pg_sphere"])
def test_right_ascensions_below_zero_are_found_through_their_index(few: Site, extension: str) -> None:
    few.run("UPDATE public.stars SET ra = ra - 360 WHERE ra > 20")
    extended(few, extension).run(MAKE[extension])
    report = few.register()
    assert report.index == "theirs"
    assert any("outside [0, 360]" in note for note in report.notes)
    assert few.column(CONE.format("stars")) == [1]


@pytest.mark.parametrize("extension", ["q3c", "pg_sphere"])
def test_a_view_and_a_partitioned_table_use_the_indexes_below_them(site: Site, extension: str) -> None:
    extended(site, extension).run(
        "CREATE TABLE public.stars (id int, ra double precision, dec double precision) PARTITION BY RANGE (dec)",
        "CREATE TABLE public.south PARTITION OF public.stars FOR VALUES FROM (-91) TO (0)",
        "CREATE TABLE public.north PARTITION OF public.stars FOR VALUES FROM (0) TO (91)",
        "INSERT INTO public.stars SELECT g, (g * 37) % 360, (g * 17) % 170 - 85 FROM generate_series(1, 20000) g",
        MAKE[extension],
        "ANALYZE public.stars",
        "CREATE VIEW public.brief AS SELECT id, ra, dec FROM public.stars WHERE id < 15000",
    )
    for name, most in (("stars", 20000), ("brief", 14999)):
        site.register(f"public.{name}", ra="ra", dec="dec")
        plan = site.plan(CONE.format(name))
        assert "Seq Scan" not in plan, plan
        expected = site.fetch("SELECT id FROM public.stars WHERE ra = 37 AND dec = -68 AND id <= $1", most)
        assert sorted(site.column(CONE.format(name))) == sorted(row[0] for row in expected)


def test_status_knows_that_their_index_is_one(few: Site) -> None:
    extended(few, "q3c").run(MAKE["q3c"])
    few.register(index=False)
    (listed,) = list_registered(few.url)
    assert listed.is_indexed
