"""Footprints in ADQL as astronomers write it: the right images come out, and the index of cells finds them."""

from collections.abc import Iterator

import adbc_driver_postgresql.dbapi as adbc
import cdshealpix.nested as healpix
import numpy as np
import pytest

from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate, translate_tree
from gateway.vo.adql.build import any_of, meets, select
from gateway.vo.moc import parse_moc
from gateway.vo.regions import Circle, Polygon, Range, Region
from tests.sky import judge
from tests.sky.boxes import polygon_rim
from tests.sky.maps import in_ranges
from tests.support import datasets
from tests.support.servers import Administrator

TABLES = datasets.tableset()
INDEX = HealpixIndex()
ROWS = 20_000
CELLS = "ix_dataset_cells"
CROWD = "crowd"
"""Collection of all but the tiny images: tests that compare row by row ask for it, to be quick."""

CENTRES = [(0.0, 0.0), (359.999, 30.0), (120.0, 89.9), (0.0, -90.0), (200.0, -40.0), (45.0, 41.8103149)]
"""Where windows wrap and cells of HEALPix are odd; the last is a corner of four of its faces."""


class Images:
    """Twenty thousand images: tiny ones all over the sky, a crowd at each centre, and some beyond a hemisphere."""

    def __init__(self, connection: adbc.Connection, rows: list[dict]) -> None:
        self.connection = connection
        self.outlines = {row["hdu"]: np.array(row["s_region"]).reshape(-1, 2) for row in rows if row["s_region"]}
        self.places = np.array([outline[0] for outline in self.outlines.values()])
        self.crowd = {row["hdu"] for row in rows if row["obs_collection"] == CROWD}
        self.whole = {row["hdu"] for row in rows if row["title"] == "all sky"}
        self.north = {row["hdu"] for row in rows if row["title"] == "north"}

    def column(self, sql: str) -> list:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table().column(0).to_pylist()

    def numbers(self, adql: str) -> list[int]:
        """Numbers of the datasets that a query finds; it selects ``obs_id``."""
        return sorted(int(name[1:]) for name in self.column(translated(adql)))

    def plan(self, sql: str) -> str:
        with self.connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(f"EXPLAIN {sql}")
            return "\n".join(cursor.fetch_arrow_table().column(0).to_pylist())

    def that_meet(self, region: Region) -> tuple[set[int], set[int]]:
        """Numbers of the footprints that surely meet a region, and of those that only just do or do not."""
        ra, dec, radius = around(region)
        near = judge.all_distances(self.places, ra, dec) <= radius + LARGEST
        found = {
            n: datasets.meets(region, outline)
            for (n, outline), is_near in zip(self.outlines.items(), near, strict=True)
            if is_near
        }
        return {number for number, truth in found.items() if truth}, {n for n, truth in found.items() if truth is None}


LARGEST = 6.0
"""More than the distance of any two positions of an outline, degrees."""


def around(region: Region) -> tuple[float, float, float]:
    """Circle that holds a region, generously."""
    match region:
        case Circle():
            return region.ra, region.dec, region.radius
        case Polygon(vertices=vertices):
            return datasets.cap(np.array(vertices).tobytes())
        case Range():
            corners = [(ra, dec) for ra in (region.ra_min, region.ra_max) for dec in (region.dec_min, region.dec_max)]
            ra, dec, radius = datasets.cap(np.array(corners).tobytes())
            return ra, dec, radius + 1


def translated(adql: str) -> str:
    return translate(adql, TABLES, index=INDEX).sql


def square(centre: np.ndarray, size: float, turn: float) -> np.ndarray:
    return judge.offset(centre, np.full(4, np.radians(size)), np.radians([0, 90, 180, 270]) + turn)


@pytest.fixture(scope="module")
def images(database_server: Administrator, database_template: str) -> Iterator[Images]:
    rng = np.random.default_rng(3)
    rows = [datasets.north_of(n, -91, obs_title="all sky", obs_collection=CROWD) for n in range(3)]
    rows += [datasets.north_of(n, -30, obs_title="north", obs_collection=CROWD) for n in range(3, 6)]
    for centre in CENTRES:
        for place in judge.around(rng, centre, 1.0, 40):
            outline = square(place, float(np.exp(rng.uniform(np.log(0.01), np.log(2)))), rng.uniform(0, 1))
            rows.append(datasets.at(len(rows), outline, obs_collection=CROWD))
    rows += datasets.tiny(ROWS - len(rows), first=len(rows))
    url = database_server.create(database_template)
    datasets.store_now(url, rows)
    with adbc.connect(url, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET jit = off")
        yield Images(connection, [row | {"title": row["obs_title"]} for row in rows])
    database_server.drop(url)


def check(images: Images, found: list[int], region: Region, unbounded: set[int]) -> None:
    """Compare with brute force; images beyond a hemisphere, known by coarse cells, may be found a few degrees too far."""
    sure, perhaps = images.that_meet(region)
    perhaps |= images.north if around(region)[1] > -45 else set()
    assert len(found) == len(set(found))
    assert sure | unbounded <= set(found) <= sure | perhaps | unbounded


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("radius", [0.0, 0.003, 0.3, 2.0])
def test_sia2_pos_a_small_circle_is_answered_through_the_index_of_cells(images, centre, radius) -> None:
    region = Circle(*centre, radius)
    tree = select(["obs_id"], ("ivoa", "obscore"), [meets("s_region", region)])
    sql = translate_tree(tree, TABLES, index=INDEX).sql
    plan = images.plan(sql)
    assert CELLS in plan
    assert "Seq Scan" not in plan
    found = sorted(int(name[1:]) for name in images.column(sql))
    check(images, found, region, images.whole | (images.north if centre[1] > -30 else set()))
    assert len(found) > 3


@pytest.mark.parametrize(
    "region",
    [
        Range(359.5, 0.5, -0.5, 0.5),
        Range(10.0, 11.0, 89.5, 90.0),
        Range(199.9, 200.1, -40.1, -39.9),
        Polygon(((359.9, -0.1), (0.1, -0.1), (0.1, 0.1), (359.9, 0.1))),
        Polygon(((0.0, -89.9), (120.0, -89.9), (240.0, -89.9))),
    ],
    ids=repr,
)
def test_sia2_pos_boxes_and_polygons_are_answered_through_the_index_of_cells(images, region) -> None:
    tree = select(["obs_id"], ("ivoa", "obscore"), [meets("s_region", region)])
    sql = translate_tree(tree, TABLES, index=INDEX).sql
    if not (isinstance(region, Range) and region.dec_max == 90):  # a box at a pole is covered by all the sky
        assert CELLS in images.plan(sql)
    south = min(dec for _, dec in region.vertices) if isinstance(region, Polygon) else region.dec_min
    found = sorted(int(name[1:]) for name in images.column(sql))
    check(images, found, region, images.whole | (images.north if south > -30 else set()))


def test_alternatives_are_answered_through_the_index_of_cells(images) -> None:
    regions = [Circle(0.0, 0.0, 0.1), Circle(200.0, -40.0, 0.1)]
    tree = select(["obs_id"], ("ivoa", "obscore"), [any_of([meets("s_region", region) for region in regions])])
    plan = images.plan(translate_tree(tree, TABLES, index=INDEX).sql)
    assert plan.count(CELLS) == 2
    assert "Seq Scan" not in plan


CIRCLE = "CIRCLE(200, -40, 0.3)"
POLYGON = "POLYGON(199.9, -40.1, 200.1, -40.1, 200, -39.9)"
REGIONS = {
    CIRCLE: Circle(200.0, -40.0, 0.3),
    POLYGON: Polygon(((199.9, -40.1), (200.1, -40.1), (200.0, -39.9))),
    "POINT(200, -40)": Circle(200.0, -40.0, 0.0),
}


@pytest.mark.parametrize("shape", REGIONS)
@pytest.mark.parametrize(
    "condition",
    [
        "1 = INTERSECTS({}, s_region)",
        "1 = INTERSECTS(s_region, {})",
        "INTERSECTS(s_region, {}) = 1",
        "INTERSECTS({}, s_region) <> 0",
        "0 <> INTERSECTS({}, s_region)",
        "(1 = intersects({}, S_REGION))",
        "dataproduct_type = 'image' AND (INTERSECTS({}, s_region) = 1)",
    ],
)
def test_obs11_every_phrasing_of_intersects_finds_the_same_through_the_index(images, shape, condition) -> None:
    adql = f"SELECT obs_id FROM ivoa.obscore WHERE {condition.format(shape)}"
    assert CELLS in images.plan(translated(adql))
    check(images, images.numbers(adql), REGIONS[shape], images.whole)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT obs_id FROM ivoa.obscore WHERE 1 = CONTAINS(POINT(200, -40), s_region)",
        "SELECT obs_id FROM ivoa.ObsCore WHERE CONTAINS(POINT('ICRS', 200, -40), s_region) = 1",
        "SELECT o.obs_id FROM ivoa.obscore AS o WHERE 1 = CONTAINS(POINT(200.0, -40.0), o.s_region)",
        "SELECT q.obs_id FROM ivoa.obscore q WHERE 1 = CONTAINS(POINT(100 + 100, -80 / 2), q.s_region)",
        "SELECT obs_id FROM (SELECT * FROM ivoa.obscore WHERE 1 = CONTAINS(POINT(200, -40), s_region)) AS near",
        "WITH near AS (SELECT * FROM ivoa.obscore WHERE CONTAINS(POINT(200, -40), s_region) = 1) SELECT obs_id FROM near",
        (
            "SELECT a.obs_id FROM ivoa.obscore AS a JOIN ivoa.obscore AS b ON a.obs_id = b.obs_id"
            " WHERE 1 = CONTAINS(POINT(200, -40), a.s_region)"
        ),
        (
            "SELECT a.obs_id FROM ivoa.obscore AS b JOIN ivoa.obscore AS a"
            " ON a.obs_id = b.obs_id AND 1 = CONTAINS(POINT(200, -40), a.s_region)"
        ),
    ],
)
def test_obs11_images_that_contain_a_point_are_found_through_the_index(images, text) -> None:
    assert CELLS in images.plan(translated(text))
    check(images, images.numbers(text), Circle(200.0, -40.0, 0.0), images.whole)


def test_obs11_images_inside_a_region_are_found_through_the_index(images) -> None:
    adql = f"SELECT obs_id FROM ivoa.obscore WHERE 1 = CONTAINS(s_region, {CIRCLE})"
    assert CELLS in images.plan(translated(adql))
    inside = {
        number
        for number, outline in images.outlines.items()
        if not datasets.is_far(REGIONS[CIRCLE], outline)
        and (judge.distance(outline[:, 0], outline[:, 1], 200.0, -40.0) <= 0.3).all()
    }
    assert images.numbers(adql) == sorted(inside) != []


WIDE = "POLYGON(198.5, -41, 201.5, -41, 201.5, -39, 198.5, -39)"


@pytest.mark.parametrize(
    ("relation", "region"),
    [
        ("CONTAINS(s_region, {})", WIDE),
        ("CONTAINS(s_region, {})", "BOX(200, -40, 2, 2)"),
        ("CONTAINS({}, s_region)", POLYGON),
        ("CONTAINS({}, s_region)", "BOX(200, -40, 0.1, 0.1)"),
        ("INTERSECTS(s_region, {})", WIDE),
        ("INTERSECTS({}, s_region)", "BOX(200, -40, 0.4, 0.4)"),
    ],
)
def test_obs11_images_and_polygons_are_compared_through_the_index(images, relation, region) -> None:
    adql = f"SELECT obs_id FROM ivoa.obscore WHERE 1 = {relation.format(region)}"
    plan = images.plan(translated(adql))
    assert CELLS in plan
    assert "Seq Scan" not in plan
    plain = adql.replace("s_region", "COALESCE(s_region, s_region)") + " AND obs_collection = 'crowd'"
    found = set(images.numbers(adql)) & images.crowd & set(images.outlines)
    assert found == set(images.numbers(plain)) != set()


def test_obs11_images_around_a_region_are_found_through_the_index(images) -> None:
    adql = "SELECT obs_id FROM ivoa.obscore WHERE CONTAINS(CIRCLE(200, -40, 0.1), s_region) = 1"
    assert CELLS in images.plan(translated(adql))
    centre = np.array([(200.0, -40.0)])
    around = {
        number
        for number, outline in images.outlines.items()
        if number in images.crowd
        and judge.in_polygon(centre, outline)[0]
        and judge.rim_distance(centre, outline)[0] >= 0.1
    }
    assert around
    # whether an image that is known by its cells alone holds all of a circle cannot be said
    assert images.numbers(adql) == sorted(around)


def test_an_image_of_more_than_a_hemisphere_lies_in_no_circle(images) -> None:
    found = images.numbers(
        "SELECT obs_id FROM ivoa.obscore WHERE obs_collection = 'crowd' AND 1 = CONTAINS(s_region, CIRCLE(200, -40, 60))"
    )
    assert found
    assert not set(found) & (images.whole | images.north)


def test_an_image_of_all_the_sky_meets_every_region_and_contains_every_point(images) -> None:
    for condition in ("INTERSECTS(s_region, CIRCLE(77, -77, 0.001))", "CONTAINS(POINT(77, -77), s_region)"):
        assert images.whole <= set(images.numbers(f"SELECT obs_id FROM ivoa.obscore WHERE 1 = {condition}"))


def test_without_the_index_the_same_is_found_but_for_what_has_no_outline(images) -> None:
    adql = f"SELECT obs_id FROM ivoa.obscore WHERE 1 = INTERSECTS({CIRCLE}, s_region)"
    plain = images.column(translate(adql, TABLES).sql)
    assert set(images.numbers(adql)) - images.whole == {int(name[1:]) for name in plain}


def test_the_opposite_finds_the_rest_of_what_is_known(images) -> None:
    query = (
        "SELECT obs_id FROM ivoa.obscore WHERE obs_collection = 'crowd' AND {} = INTERSECTS(s_region, CIRCLE(0, 0, 90))"
    )
    met, rest = set(images.numbers(query.format(1))), set(images.numbers(query.format(0)))
    assert not met & rest
    assert met | rest >= images.crowd & set(images.outlines)
    assert not rest & images.whole


def test_as_a_value_it_is_one_zero_or_unknown(images) -> None:
    adql = f"SELECT DISTINCT INTERSECTS(s_region, {CIRCLE}) AS n FROM ivoa.obscore ORDER BY n"
    assert images.column(translated(adql)) == [0, 1, None]


def test_a_footprint_that_a_subquery_hands_on_is_tested_without_the_index(images) -> None:
    adql = (
        "SELECT q.name FROM (SELECT obs_id AS name, s_region AS outline FROM ivoa.obscore WHERE obs_collection = 'crowd')"
        " AS q WHERE 1 = INTERSECTS(q.outline, CIRCLE(200, -40, 0.3))"
    )
    found = sorted(int(name[1:]) for name in images.column(translated(adql)))
    check(images, found, REGIONS[CIRCLE], set())


def test_an_outer_join_keeps_the_rows_without_a_partner(images) -> None:
    adql = (
        "SELECT a.obs_id, b.obs_id AS other FROM ivoa.obscore AS a LEFT JOIN ivoa.obscore AS b"
        " ON a.obs_id = b.obs_id AND 1 = INTERSECTS(b.s_region, CIRCLE(200, -40, 0.3)) WHERE a.obs_id IN ('o0', 'o3', 'o10')"
    )
    with images.connection.cursor() as cursor:
        cursor.execute(translated(adql))
        found = cursor.fetch_arrow_table()
    rows = dict(zip(found.column(0).to_pylist(), found.column(1).to_pylist(), strict=True))
    assert rows == {"o0": "o0", "o3": None, "o10": None}


def test_two_footprints_that_vary_are_compared_row_by_row(images) -> None:
    adql = (
        "SELECT b.obs_id FROM ivoa.obscore AS a JOIN ivoa.obscore AS b ON 1 = INTERSECTS(a.s_region, b.s_region)"
        " WHERE a.obs_id = 'o10' AND b.obs_collection = 'crowd'"
    )
    outline = images.outlines[10]
    region = Polygon(tuple((float(ra), float(dec)) for ra, dec in outline))
    found = images.numbers(adql)
    sure, perhaps = images.that_meet(region)
    assert (sure & images.crowd) | {10} <= set(found) <= sure | perhaps


def test_the_planner_expects_few_rows_of_a_small_circle(images) -> None:
    adql = f"SELECT obs_id FROM ivoa.obscore WHERE 1 = INTERSECTS(s_region, {CIRCLE})"
    expected = int(images.plan(translated(adql)).split("rows=")[1].split(" ")[0])
    assert expected < 2000


MAPS = [
    "MOC(7, CIRCLE(200, -40, 1.5))",
    "MOC(9, POLYGON(359, -1, 1, -1, 1, 1, 359, 1))",
    "MOC('4/1-5 8/411800-411999')",
    "MOC('12/77777777')",
]


def covered(images: Images, text: str) -> tuple[set[int], set[int], set[int]]:
    """Numbers of the crowd's images of which any, and all, of many positions are in a coverage map; those surely apart."""
    (ascii_moc,) = set(images.column(translated(f"SELECT TOP 1 {text} AS m FROM ivoa.obscore")))
    ranges = parse_moc(ascii_moc).ranges
    some, whole, apart = set(), set(), set()
    centres = np.concatenate([cell_positions(*one) for one in ranges])
    for number in sorted(images.crowd & set(images.outlines)):
        points = polygon_rim(images.outlines[number], 40)
        inside = in_ranges(points, ranges)
        some |= {number} if inside.any() else set()
        whole |= {number} if inside.all() else set()
        is_near = judge.all_distances(centres, *points[0]).min() < LARGEST
        apart |= set() if is_near else {number}
    return some, whole, apart


def cell_positions(low: int, high: int) -> np.ndarray:
    """Centres of up to 64 of the cells of a range."""
    cells = np.unique(np.linspace(low, high, 64).astype(np.int64))
    lon, lat = healpix.healpix_to_lonlat(cells, 29)
    return np.column_stack([lon.deg, lat.deg])


@pytest.mark.parametrize("text", MAPS)
def test_moc11_images_that_meet_a_coverage_map_are_found_through_the_index(images, text) -> None:
    some, whole, apart = covered(images, text)
    for condition in (f"1 = INTERSECTS(s_region, {text})", f"INTERSECTS({text}, s_region) <> 0"):
        adql = f"SELECT obs_id FROM ivoa.obscore WHERE {condition}"
        plan = images.plan(translated(adql))
        assert CELLS in plan
        assert "Seq Scan" not in plan
        found = set(images.numbers(adql))
        assert some | images.whole <= found
        assert not found & apart
        # the same without the index, but for images that are known by their cells alone
        in_crowd = f"{adql} AND obs_collection = 'crowd'".replace("s_region", "COALESCE(s_region, s_region)")
        assert set(images.numbers(in_crowd)) == found & set(images.outlines) & images.crowd
    inside = f"SELECT obs_id FROM ivoa.obscore WHERE 1 = CONTAINS(s_region, {text})"
    assert CELLS in images.plan(translated(inside))
    contained = set(images.numbers(inside))
    assert contained & images.crowd <= whole
    assert contained <= found
    others = images.numbers(inside.replace("1 = ", "0 = ") + " AND obs_collection = 'crowd'")
    assert {*others, *contained} & images.crowd == images.crowd & set(images.outlines)
    assert not {*others} & contained
