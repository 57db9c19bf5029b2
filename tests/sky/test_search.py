"""Positional queries from ADQL to rows: the index is used, and finds exactly what a full scan finds."""

import re

import mocpy
import numpy as np
import pytest
from astropy import units as u

from gateway.errors import QueryError
from gateway.sky.index import order29
from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate
from gateway.vo.tableset import Column, Datatype, Field, Schema, SkyIndex, Table, Tableset, VOType
from tests.sky import judge

LONG, DOUBLE = VOType(Datatype.LONG), VOType(Datatype.DOUBLE)
INDEX = HealpixIndex()
ROWS = 200_000
RNG = np.random.default_rng(42)


def table(name: str, sky: SkyIndex | None, nrows: int) -> Table:
    columns = tuple(
        Column(Field(name, type_), name, sql)
        for name, type_, sql in [
            ("id", LONG, "bigint"),
            ("ra", DOUBLE, "double precision"),
            ("dec", DOUBLE, "double precision"),
        ]
    )
    return Table("t", name, columns, "t", name, sky=sky, nrows=nrows)


SKY = SkyIndex("ra", "dec", "gw_hpx29", has_zones=True)
TABLES = Tableset(
    (
        Schema(
            "t",
            (
                table("big", SKY, ROWS),
                table("zoned", SkyIndex("ra", "dec", None, has_zones=True), ROWS),
                table("bare", None, ROWS),
                table("small", None, 600),
                table("other", SKY, 5000),
            ),
        ),
    )
)


@pytest.fixture(scope="module")
def positions() -> np.ndarray:
    points = judge.random_positions(RNG, ROWS - 4000)
    # crowds at the poles and at RA 0, where windows wrap
    crowds = [judge.around(RNG, centre, 0.5, 1000) for centre in ((0, 90), (0, -90), (0, 0), (359.9999, 60))]
    return np.concatenate([points, *crowds])


@pytest.fixture(scope="module")
def sky_rows(sky_database, positions):
    database = sky_database
    ra, dec = positions.T
    order = np.argsort(order29(ra, dec))
    database.run("CREATE SCHEMA t", "SET search_path = t")
    ids = np.arange(len(ra))
    database.load("big", id=ids[order], ra=ra[order], dec=dec[order], gw_hpx29=order29(ra, dec)[order])
    database.load("other", id=ids[:5000], ra=ra[:5000], dec=dec[:5000], gw_hpx29=order29(ra, dec)[:5000])
    near = judge.random_positions(RNG, 200)
    crowd = np.concatenate([judge.around(RNG, c, 0.5, 100) for c in ((0, 90), (0, -90), (0, 0), (359.9999, 60))])
    small = np.concatenate([near, crowd])
    database.load("small", id=np.arange(600), ra=small[:, 0], dec=small[:, 1])
    database.run(
        "CREATE TABLE zoned AS SELECT id, ra, dec FROM big",
        "CREATE TABLE bare AS SELECT id, ra, dec FROM big",
        "INSERT INTO big VALUES (-1, NULL, NULL, NULL)",
        "INSERT INTO zoned VALUES (-1, NULL, NULL)",
        "INSERT INTO bare VALUES (-1, NULL, NULL)",
        "CREATE INDEX ON big (gw_hpx29)",
        "CREATE INDEX ON big (sky.zone(dec), ra)",
        "CREATE INDEX ON other (sky.zone(dec), ra)",
        "CREATE INDEX ON zoned (sky.zone(dec), ra)",
        "ANALYZE",
        "RESET search_path",
    )
    yield database
    database.run("DROP SCHEMA t CASCADE")


def sql(adql: str) -> str:
    return translate(adql, TABLES, index=INDEX).sql


CENTRES = [(10.0, 20.0), (0.0, 90.0), (123.0, -89.9), (0.0, 0.0), (360.0, 60.0), (359.99999, -30.0), (45.0, 41.8103149)]


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("radius", [1 / 3600, 0.01, 0.3, 1.0, 5.0, 40.0, 91.0, 120.0, 179.5])
def test_a_cone_finds_what_brute_force_finds(sky_rows, positions, centre, radius) -> None:
    distance = judge.all_distances(positions, *centre)
    sure = set(np.flatnonzero(distance <= radius - 1e-9).tolist())
    perhaps = set(np.flatnonzero(distance <= radius + 1e-9).tolist())
    for name in ("big", "zoned"):
        query = (
            f"SELECT id FROM t.{name} WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE({centre[0]}, {centre[1]}, {radius!r}))"
        )
        found = sky_rows.column(sql(query))
        assert len(found) == len(set(found))
        assert sure <= set(found) <= perhaps, name


@pytest.mark.parametrize(
    "condition",
    [
        "1 = CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 1))",
        "CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 10, 20, 1)) = 1",
        "CONTAINS(POINT(ra, dec), CIRCLE(POINT(10, 20), 1)) <> 0",
        "1 = CONTAINS(POINT(10, 20), CIRCLE(ra, dec, 1))",
        "1 = INTERSECTS(CIRCLE(10, 20, 1), POINT(ra, dec))",
        "DISTANCE(POINT(ra, dec), POINT(10, 20)) <= 1",
        "DISTANCE(ra, dec, 10, 20) < 1",
        "1 > DISTANCE(10, 20, ra, dec)",
        "(DISTANCE(10.0, 20.0, ra, dec)) <= (60/60.)",
        "id >= 0 AND (1 = CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 1)))",
    ],
)
def test_all_phrasings_of_a_cone_use_the_index_and_agree(sky_rows, positions, condition) -> None:
    statement = sql(f"SELECT id FROM t.big WHERE {condition}")
    assert "big_gw_hpx29_idx" in sky_rows.explain(statement)
    expected = np.flatnonzero(judge.all_distances(positions, 10, 20) <= 1)
    assert sorted(sky_rows.column(statement)) == expected.tolist()


def test_two_cones_in_or_use_the_index(sky_rows) -> None:
    cone = "1 = CONTAINS(POINT(ra, dec), CIRCLE({}, 20, 0.5))"
    plan = sky_rows.explain(sql(f"SELECT id FROM t.big WHERE {cone.format(10)} OR {cone.format(200)}"))
    assert "big_gw_hpx29_idx" in plan
    assert "Seq Scan" not in plan


def test_the_opposite_of_a_cone_leaves_out_unknown_positions(sky_rows, positions) -> None:
    inside = (judge.all_distances(positions, 10, 20) <= 90).sum()
    (count,) = sky_rows.column(sql("SELECT COUNT(*) FROM t.big WHERE 0 = CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 90))"))
    assert count == len(positions) - inside


def test_contains_in_the_select_list_is_one_zero_or_unknown(sky_rows) -> None:
    rows = sky_rows.column(
        sql("SELECT DISTINCT CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 90)) AS c FROM t.big ORDER BY c")
    )
    assert rows == [0, 1, None]


def test_the_planner_expects_a_sane_number_of_rows(sky_rows, positions) -> None:
    for radius in (0.5, 3.0, 20.0):
        plan = sky_rows.explain(sql(f"SELECT id FROM t.big WHERE DISTANCE(ra, dec, 100, -20) < {radius}"))
        expected = int(plan.split("rows=")[1].split(" ")[0])
        truth = (judge.all_distances(positions, 100, -20) < radius).sum()
        assert truth / 10 - 5 < expected < 10 * truth + 50


POLYGONS = [
    [(10, 10), (20, 10), (15, 20)],
    [(15, 20), (20, 10), (10, 10)],
    [(350, -10), (10, -10), (10, 10), (350, 10)],
    [(0, 80), (90, 80), (180, 80), (270, 80)],
    [(0, -70), (120, -80), (240, -75)],
    [(100, 0), (110, 0), (110, 10), (105, 2), (100, 10)],
    [(0, 0), (120, 0), (240, 10)],
    [(10, 10), (10.01, 10), (10.01, 10.01)],
]


@pytest.mark.parametrize("polygon", POLYGONS)
def test_a_polygon_finds_what_brute_force_finds(sky_rows, positions, polygon) -> None:
    vertices = np.array(polygon, dtype=float)
    inside = judge.in_polygon(positions, vertices)
    near = judge.rim_distance(positions, vertices) < 1e-9
    numbers = ", ".join(f"{ra}, {dec}" for ra, dec in polygon)
    statement = sql(f"SELECT id FROM t.big WHERE 1 = CONTAINS(POINT(ra, dec), POLYGON({numbers}))")
    found = np.zeros(len(positions), dtype=bool)
    found[sky_rows.column(statement)] = True
    assert ((found == inside) | near).all()
    if len(polygon) != 3 or polygon[1][0] < 120:
        assert "big_gw_hpx29_idx" in sky_rows.explain(statement)


def test_a_box_finds_what_its_polygon_finds(sky_rows) -> None:
    box = "SELECT COUNT(*) FROM t.big WHERE 1 = CONTAINS(POINT(ra, dec), BOX(0, 60, 2, 3))"
    from gateway.vo.regions import box as box_polygon

    numbers = ", ".join(f"{ra!r}, {dec!r}" for ra, dec in box_polygon(0, 60, 2, 3).vertices)
    polygon = f"SELECT COUNT(*) FROM t.big WHERE 1 = CONTAINS(POINT(ra, dec), POLYGON({numbers}))"
    assert sky_rows.column(sql(box)) == sky_rows.column(sql(polygon)) != [0]


JOINS = [
    "t.small AS s JOIN t.{b} AS b ON 1 = CONTAINS(POINT(b.ra, b.dec), CIRCLE(s.ra, s.dec, {r}))",
    "t.small AS s JOIN t.{b} AS b ON 1 = CONTAINS(POINT(s.ra, s.dec), CIRCLE(b.ra, b.dec, {r}))",
    "t.{b} AS b JOIN t.small AS s ON DISTANCE(POINT(s.ra, s.dec), POINT(b.ra, b.dec)) <= {r}",
    "t.{b} AS b, t.small AS s WHERE {r} >= DISTANCE(s.ra, s.dec, b.ra, b.dec)",
    "(SELECT id, ra, dec FROM t.small) AS s JOIN t.{b} AS b ON DISTANCE(s.ra, s.dec, b.ra, b.dec) <= {r}",
]


@pytest.fixture(scope="module")
def pairs(positions, sky_rows):
    small = np.array(sky_rows.rows("SELECT ra, dec FROM t.small ORDER BY id"))
    found = {}
    for radius in (1 / 3600, 0.1, 0.7):
        both = []
        for n, (ra, dec) in enumerate(small):
            near = np.flatnonzero(np.abs(positions[:, 1] - dec) < radius + 1e-6)
            distance = judge.distance(positions[near, 0], positions[near, 1], ra, dec)
            both += [(n, m) for m in near[distance <= radius].tolist()]
        found[radius] = sorted(both)
    return found


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("name", ["big", "zoned"])
@pytest.mark.parametrize("radius", [1 / 3600, 0.1, 0.7])
def test_a_positional_join_uses_the_zones_and_agrees_with_brute_force(sky_rows, pairs, join, name, radius) -> None:
    statement = sql(f"SELECT s.id, b.id FROM {join.format(b=name, r=repr(radius))}")
    assert f"{name}_zone_ra_idx" in sky_rows.explain(statement)
    assert sorted(sky_rows.rows(statement)) == pairs[radius]


def test_a_join_with_the_radius_in_a_column_uses_the_zones(sky_rows, pairs) -> None:
    query = (
        "SELECT s.id, b.id FROM (SELECT id, ra, dec, 0.1 + 0 * id AS r FROM t.small) AS s "
        "JOIN t.big AS b ON 1 = CONTAINS(POINT(b.ra, b.dec), CIRCLE(s.ra, s.dec, s.r))"
    )
    assert "big_zone_ra_idx" in sky_rows.explain(sql(query))
    assert sorted(sky_rows.rows(sql(query))) == pairs[0.1]


def test_a_join_of_moved_positions_uses_the_zones(sky_rows) -> None:
    query = (
        "SELECT COUNT(*) FROM t.small AS s JOIN t.big AS b "
        "ON DISTANCE(s.ra + 0.001 / COS(RADIANS(s.dec)), s.dec - 0.001, b.ra, b.dec) < 0.01"
    )
    assert "big_zone_ra_idx" in sky_rows.explain(sql(query))


def test_an_outer_join_looks_up_its_optional_side(sky_rows, pairs) -> None:
    query = "SELECT s.id, b.id FROM t.small AS s LEFT JOIN t.big AS b ON DISTANCE(s.ra, s.dec, b.ra, b.dec) <= 0.1"
    assert "big_zone_ra_idx" in sky_rows.explain(sql(query))
    rows = sky_rows.rows(sql(query))
    assert sorted(row for row in rows if row[1] is not None) == pairs[0.1]
    assert {row[0] for row in rows} == set(range(600))


def test_two_indexed_tables_are_joined_by_looking_up_the_larger(sky_rows) -> None:
    query = "SELECT COUNT(*) FROM t.{} AS a JOIN t.{} AS b ON DISTANCE(a.ra, a.dec, b.ra, b.dec) < 0.001"
    for names in (("big", "other"), ("other", "big")):
        assert "big_zone_ra_idx" in sky_rows.explain(sql(query.format(*names)))


def test_a_table_with_a_condition_of_its_own_drives_the_join(sky_rows) -> None:
    query = "SELECT b.id FROM t.big AS a JOIN t.big AS b ON DISTANCE(a.ra, a.dec, b.ra, b.dec) < 0.01 WHERE {}.id = 17"
    for driving in "ab":
        plan = sky_rows.explain(sql(query.format(driving)))
        looked_up = "ab".replace(driving, "")
        assert f"on big {looked_up}" in plan.split("zone_ra_idx")[0]
        assert f"on big {driving}" in plan


def test_a_row_meets_only_itself_at_zero_distance(sky_rows) -> None:
    query = (
        "SELECT COUNT(*) FROM t.other AS a JOIN t.big AS b ON DISTANCE(a.ra, a.dec, b.ra, b.dec) <= 0 WHERE a.id = b.id"
    )
    assert sky_rows.column(sql(query)) == [5000]


def test_exists_with_a_cone_around_each_row(sky_rows, pairs) -> None:
    query = (
        "SELECT s.id FROM t.small AS s WHERE EXISTS "
        "(SELECT 1 FROM t.big AS b WHERE 1 = CONTAINS(POINT(b.ra, b.dec), CIRCLE(s.ra, s.dec, 0.1)))"
    )
    assert sorted(sky_rows.column(sql(query))) == sorted({pair[0] for pair in pairs[0.1]})


def test_without_an_index_the_answer_is_the_same(sky_rows, pairs) -> None:
    query = "SELECT s.id, b.id FROM t.small AS s JOIN t.bare AS b ON DISTANCE(s.ra, s.dec, b.ra, b.dec) <= 0.7 WHERE s.id < 20"
    assert sorted(sky_rows.rows(sql(query))) == [pair for pair in pairs[0.7] if pair[0] < 20]


NEAREST = [
    "SELECT TOP {n} id FROM t.big ORDER BY DISTANCE(POINT(ra, dec), POINT({ra}, {dec})), id",
    "SELECT TOP {n} id, DISTANCE(POINT({ra}, {dec}), POINT(ra, dec)) AS d FROM t.big ORDER BY d, id",
    "SELECT TOP {n} id, DISTANCE({ra}, {dec}, ra, dec) FROM t.big ORDER BY 2 ASC, id",
    "SELECT TOP {n} b.id FROM t.big AS b WHERE b.id > 1000 ORDER BY DISTANCE(b.ra, b.dec, {ra}, {dec}), b.id OFFSET 3",
    "SELECT q.id FROM (SELECT TOP {n} id FROM t.big ORDER BY DISTANCE(ra, dec, {ra}, {dec}), id) AS q",
    (
        "SELECT TOP {n} b.id FROM t.big AS b LEFT JOIN t.small AS s ON s.id = b.id"
        " ORDER BY DISTANCE(b.ra, b.dec, {ra}, {dec}), s.id, b.id"
    ),
]


def pages(database, statement: str) -> int:
    """Pages of PostgreSQL that a statement touches."""
    plan = database.explain(statement, "ANALYZE, BUFFERS")
    found = re.search(r"Buffers: shared ([^\n]*)", plan)
    assert found
    return sum(int(number) for number in re.findall(r"(?:hit|read)=(\d+)", found[1]))


@pytest.mark.parametrize("query", NEAREST)
@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("count", [40])
def test_adql52_the_nearest_rows_come_in_order_from_few_pages(sky_rows, query, centre, count) -> None:
    adql = query.format(n=count, ra=centre[0], dec=centre[1])
    statement = sql(adql)
    assert sky_rows.rows(statement) == sky_rows.rows(translate(adql, TABLES).sql)
    assert pages(sky_rows, statement) < 600
    assert pages(sky_rows, translate(adql, TABLES).sql) > 1200


def test_ten_thousand_nearest_rows_are_those_of_the_full_scan(sky_rows) -> None:
    adql = "SELECT TOP 9000 id FROM t.big ORDER BY DISTANCE(ra, dec, 359.99, -45) OFFSET 1000"
    assert sky_rows.rows(sql(adql)) == sky_rows.rows(translate(adql, TABLES).sql)
    assert "Incremental Sort" in sky_rows.explain(sql(adql))


@pytest.mark.parametrize("condition", ["id < 3 OR id = -1", "id = 17", "id < -5"])
def test_nearest_rows_include_those_without_a_position_last(sky_rows, condition) -> None:
    adql = f"SELECT TOP 10 id FROM t.big WHERE {condition} ORDER BY DISTANCE(ra, dec, 10, 20)"
    found = sky_rows.column(sql(adql))
    assert found == sky_rows.column(translate(adql, TABLES).sql)
    assert -1 not in found[:-1]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT TOP 10001 id FROM t.big ORDER BY DISTANCE(ra, dec, 10, 20)",
        "SELECT TOP 10 id FROM t.big ORDER BY DISTANCE(ra, dec, 10, 20) DESC",
        "SELECT TOP 10 id FROM t.big ORDER BY id, DISTANCE(ra, dec, 10, 20)",
        "SELECT TOP 10 id FROM t.big ORDER BY DISTANCE(dec, ra, 10, 20)",
        "SELECT TOP 10 id FROM t.bare ORDER BY DISTANCE(ra, dec, 10, 20)",
        "SELECT TOP 1 COUNT(*) FROM t.big GROUP BY ra, dec ORDER BY DISTANCE(ra, dec, 10, 20)",
        "SELECT DISTINCT TOP 2 DISTANCE(ra, dec, 10, 20) AS d FROM t.big ORDER BY d",
        "SELECT TOP 2 b.id FROM t.small AS s LEFT JOIN t.big AS b ON s.id = b.id ORDER BY DISTANCE(b.ra, b.dec, 10, 20)",
        "SELECT TOP 5 id FROM t.big WHERE DISTANCE(ra, dec, 10, 20) < 0.5 ORDER BY DISTANCE(ra, dec, 10, 20)",
    ],
)
def test_what_rings_cannot_serve_is_sorted_as_a_whole(query) -> None:
    assert "gw_rings" not in sql(query)


MOCS = [
    "MOC('3/100 102-105 5/3000 9/')",
    "MOC('0/5')",
    "MOC(6, CIRCLE(10, 20, 3))",
    "MOC(8, POLYGON(359, -1, 1, -1, 1, 1, 359, 1))",
    "MOC(11, CIRCLE(0, 90, 1))",
    "MOC(9, BOX(359.9999, 60, 1, 1))",
    "MOC(5, REGION('CIRCLE ICRS 0 -90 2'))",
]


@pytest.mark.parametrize("moc", MOCS)
@pytest.mark.parametrize("relation", ["CONTAINS(POINT(ra, dec), {})", "INTERSECTS({}, POINT(ra, dec))"])
def test_moc11_positions_in_a_coverage_map_are_found_through_the_index(sky_rows, positions, moc, relation) -> None:
    statement = sql(f"SELECT id FROM t.big WHERE 1 = {relation.format(moc)}")
    assert "big_gw_hpx29_idx" in sky_rows.explain(statement)
    (text,) = set(sky_rows.column(sql(f"SELECT {moc} AS m FROM t.other")))
    covered = mocpy.MOC.from_string(text).contains_lonlat(*np.radians(positions).T * u.rad)
    assert sorted(sky_rows.column(statement)) == np.flatnonzero(covered).tolist() != []
    for table in ("big", "bare"):
        values = sky_rows.rows(sql(f"SELECT id, {relation.format(moc)} FROM t.{table} WHERE id < 2000 AND id >= 0"))
        assert sorted(row for row, value in values if value) == np.flatnonzero(covered[:2000]).tolist()


def test_moc11_outside_a_coverage_map_are_all_others_with_a_position(sky_rows, positions) -> None:
    query = "SELECT COUNT(*) FROM t.{} WHERE {} = CONTAINS(POINT(ra, dec), MOC('0/5 1/3'))"
    inside, outside = (sky_rows.column(sql(query.format("big", truth)))[0] for truth in (1, 0))
    assert inside + outside == len(positions)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("CONTAINS(MOC('2/5'), MOC('1/1'))", 1),
        ("CONTAINS(MOC('1/1'), MOC('2/5'))", 0),
        ("INTERSECTS(MOC('1/1'), MOC('2/5'))", 1),
        ("INTERSECTS(MOC('1/1'), MOC('2/9'))", 0),
        ("CONTAINS(CIRCLE(10, 20, 1), MOC(5, CIRCLE(10, 20, 3)))", 1),
        ("CONTAINS(CIRCLE(10, 20, 30), MOC(5, CIRCLE(10, 20, 3)))", 0),
        ("INTERSECTS(CIRCLE(10, 20, 170), MOC('5/77'))", 1),
        ("INTERSECTS(POLYGON(100, 0, 101, 0, 100, 1), MOC(5, CIRCLE(10, 20, 3)))", 0),
        ("INTERSECTS(CIRCLE(359.9999, 60, 0.00004), MOC('0/0'))", 0),
        ("INTERSECTS(CIRCLE(359.9999, 60, 0.00006), MOC('0/0'))", 1),
        ("CONTAINS(CIRCLE(0.0001, 60, 0.00004), MOC('0/0'))", 1),
        ("CONTAINS(CIRCLE(0.0001, 60, 0.00006), MOC('0/0'))", 0),
        ("CONTAINS(MOC('9/'), CIRCLE(1, 2, 3))", 1),
        ("CONTAINS(CIRCLE(1, 2, 3), MOC('9/'))", 0),
    ],
)
def test_moc11_coverage_maps_are_compared_with_constant_shapes(sky_rows, condition, expected) -> None:
    assert sky_rows.column(sql(f"SELECT TOP 1 {condition} AS c FROM t.small")) == [expected]
    assert len(sky_rows.column(sql(f"SELECT TOP 1 id FROM t.small WHERE {condition} = 1"))) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CONTAINS(POINT(ra, dec), MOC('77/1'))", "beyond 29"),
        ("CONTAINS(POINT(ra, dec), MOC(30, CIRCLE(1, 2, 3)))", "0 to 29"),
        ("CONTAINS(POINT(ra, dec), MOC(20, CIRCLE(1, 2, 30)))", "lower order"),
        ("CONTAINS(POINT(ra, dec), MOC(5, CIRCLE(ra, dec, 3)))", "constant"),
        ("CONTAINS(POINT(ra, dec), REGION('UNION(CIRCLE 1 2 3 CIRCLE 4 5 6)'))", "no region|not supported"),
        ("CONTAINS(POINT(ra, dec), REGION(ra))", "string literal"),
        ("AREA(MOC('1/1'))", "AREA"),
    ],
)
def test_wrong_coverage_maps_and_regions_are_told(text, reason) -> None:
    with pytest.raises(QueryError, match=reason):
        sql(f"SELECT id FROM t.big WHERE 1 = {text}")


def test_adql10_coverage_maps_are_an_extension() -> None:
    with pytest.raises(QueryError, match="extension"):
        translate("SELECT id FROM t.big WHERE 1 = CONTAINS(POINT(ra, dec), MOC('1/1'))", TABLES, strict=True)


def test_adql62_region_is_the_shape_that_it_spells(sky_rows) -> None:
    query = "SELECT COUNT(*) FROM t.big WHERE 1 = CONTAINS(POINT(ra, dec), {})"
    for region, shape in [
        ("REGION('Circle ICRS 10 20 3')", "CIRCLE(10.0, 20.0, 3.0)"),
        ("REGION('BOX 0 60 2 3')", "BOX(0.0, 60.0, 2.0, 3.0)"),
        ("REGION('POLYGON ICRS GEOCENTER 350 -10 10 -10 10 10')", "POLYGON(350.0, -10.0, 10.0, -10.0, 10.0, 10.0)"),
    ]:
        assert sql(query.format(region)) == sql(query.format(shape))


def test_adql50_coordsys_is_icrs_of_what_is_known(sky_rows) -> None:
    query = "SELECT COORDSYS(POINT(ra, dec)) AS a, COORDSYS(CIRCLE(1, 2, 3)) AS b FROM t.big WHERE id IN (-1, 5) ORDER BY id"
    assert sky_rows.rows(sql(query)) == [(None, "ICRS"), ("ICRS", "ICRS")]
