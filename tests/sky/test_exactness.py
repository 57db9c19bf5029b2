"""CONTAINS, INTERSECTS, DISTANCE and AREA of random pairs, from ADQL to rows, against `exact`: no answer differs.

``GATEWAY_TEST_PAIRS`` is the number of pairs (100,000 for the full campaign); an answer within 1e-9 degrees of a boundary is
no case.
"""

import os

import numpy as np
import pyarrow as pa
import pytest

from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate
from gateway.vo.tableset import Column, Datatype, Field, Schema, Table, Tableset, VOType
from tests.sky import exact
from tests.sky.exact import RIM, Stars, vectors

PAIRS = int(os.environ.get("GATEWAY_TEST_PAIRS", "6000"))
COUNT = PAIRS // 6
"""Pairs of each of the six kinds."""

pytestmark = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1.2e-19, reason="long doubles are short on this machine")

SHAPES = {"p": ("2", "point"), "c": ("3", "circle"), "g": ("*", "polygon")}
TABLES = Tableset(
    (
        Schema(
            "e",
            (
                Table(
                    "e",
                    "pairs",
                    (
                        Column(Field("n", VOType(Datatype.LONG)), "n", "bigint"),
                        *(
                            Column(Field(s + i, VOType(Datatype.DOUBLE, *form)), s + i, "double precision[]")
                            for s, form in SHAPES.items()
                            for i in "12"
                        ),
                    ),
                    "e",
                    "pairs",
                ),
            ),
        ),
    )
)


@pytest.fixture
def rng():
    return np.random.default_rng(20261121)


@pytest.fixture
def answers(sky_database):
    """Function that asks ADQL about pairs: rows of the given expressions, in order."""

    def ask(shapes: dict[str, list], *expressions: str) -> np.ndarray:
        names = [s + i for s in SHAPES for i in "12"]
        rows = len(next(iter(shapes.values())))
        columns = {
            name: pa.array([np.ravel(x).tolist() for x in shapes[name]], pa.list_(pa.float64()))
            if name in shapes
            else pa.nulls(rows, pa.list_(pa.float64()))
            for name in names
        }
        sky_database.run("DROP SCHEMA IF EXISTS e CASCADE", "CREATE SCHEMA e", "SET search_path = e")
        sky_database.load("pairs", n=np.arange(rows), **columns)
        sky_database.run("RESET search_path")
        items = ", ".join(f"{text} AS v{n}" for n, text in enumerate(expressions))
        sql = translate(f"SELECT {items} FROM e.pairs ORDER BY n", TABLES, index=HealpixIndex()).sql
        found = np.array(sky_database.rows(sql), dtype=float)
        sky_database.run("DROP SCHEMA e CASCADE")
        return found

    return ask


def agree(found: np.ndarray, expected: np.ndarray, sure: np.ndarray, *shapes: object) -> None:
    """Compare answers where they are sure, and see that both kinds were asked for."""
    wrong = np.flatnonzero(sure & (found != expected))
    assert wrong.size == 0, (
        f"{wrong.size} of {sure.sum()} differ; the first: expected {expected[wrong[0]]} of "
        f"{[np.asarray(shape[wrong[0]]).tolist() for shape in shapes]}"
    )
    assert sure.sum() > 0.9 * sure.size
    assert 0.05 < expected[sure].mean() < 0.95


def circles(centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    return np.column_stack([exact.positions(centres), radii])


def stars(rng: np.random.Generator, count: int, largest: float, centres: np.ndarray | None = None) -> Stars:
    """Polygons of three to eight vertices; those of a call have one number of them."""
    radii = exact.sizes(rng, 4 * count, largest)
    made = Stars.random(rng, exact.places(rng, 4 * count), radii, int(rng.integers(3, 9)))
    return chosen(made, np.flatnonzero(made.fits())[:count])


def chosen(made: Stars, rows: np.ndarray) -> Stars:
    return Stars(made.centres[rows], made.vertices[rows], made.v[rows])


def batches(count: int) -> list[int]:
    """Sizes of the six batches of polygons, of three to eight vertices perhaps."""
    return [count // 6 + 1] * 6


def test_adql59_distances_of_points_are_exact(answers, rng) -> None:
    one = exact.places(rng, COUNT)
    apart = np.where(rng.random(COUNT) < 0.5, exact.sizes(rng, COUNT, 179.0), rng.uniform(0, 180, COUNT))
    apart = np.where(rng.random(COUNT) < 0.3, 180 - apart, apart)
    two = exact.positions(exact.offset(one, apart, rng.uniform(0, 2 * np.pi, COUNT)))
    first = exact.positions(one)
    found = answers(
        {"p1": list(first), "p2": list(two)},
        "DISTANCE(p1, p2)",
        "DISTANCE(COORD1(p1), COORD2(p1), COORD1(p2), COORD2(p2))",
        "CONTAINS(p1, p1)",
        "INTERSECTS(p1, p2)",
    )
    expected = exact.angle(vectors(first), vectors(two))
    assert np.abs(found[:, 0] - expected).max() < 2e-13
    assert (found[:, 0] == found[:, 1]).all()
    assert (found[:, 2] == 1).all()
    assert (found[:, 3] == 0).all()


def test_adql57_points_against_circles(answers, rng) -> None:
    centres = exact.places(rng, COUNT)
    radii = np.where(rng.random(COUNT) < 0.5, exact.sizes(rng, COUNT, 179.0), rng.uniform(0.001, 179, COUNT))
    shapes = circles(centres, radii)
    apart = np.clip(
        np.where(rng.random(COUNT) < 0.2, radii * rng.uniform(0, 2, COUNT), radii + exact.aside(rng, COUNT)), 0, 180
    )
    points = exact.positions(exact.offset(centres, apart, rng.uniform(0, 2 * np.pi, COUNT)))
    found = answers(
        {"p1": list(points), "c1": list(shapes)},
        "CONTAINS(p1, c1)",
        "INTERSECTS(p1, c1)",
        "INTERSECTS(c1, p1)",
        "CONTAINS(c1, p1)",
        "AREA(c1)",
    )
    d = exact.angle(vectors(points), vectors(shapes[:, :2]))
    for column in found[:, :3].T:
        agree(column, d <= shapes[:, 2], np.abs(d - shapes[:, 2]) > RIM, points, shapes)
    assert (found[:, 3] == 0).all()
    area = 4 * exact.PI * np.sin(shapes[:, 2].astype(exact.LD) * exact.DEGREE / 2) ** 2 / exact.DEGREE**2
    assert np.abs(found[:, 4] / area - 1).max() < 1e-13


def test_adql57_circles_against_circles(answers, rng) -> None:
    centres = exact.places(rng, COUNT)
    radii = exact.sizes(rng, COUNT, 179.0)
    others = np.where(rng.random(COUNT) < 0.5, exact.sizes(rng, COUNT, 179.0), radii * rng.uniform(0.3, 3, COUNT)).clip(
        0, 179
    )
    touching = np.where(rng.random(COUNT) < 0.5, radii + others, np.abs(radii - others)) + exact.aside(rng, COUNT)
    one = circles(centres, radii)
    two = circles(exact.offset(centres, touching.clip(0, 180), rng.uniform(0, 2 * np.pi, COUNT)), others)
    found = answers(
        {"c1": list(one), "c2": list(two)},
        "CONTAINS(c1, c2)",
        "CONTAINS(c2, c1)",
        "INTERSECTS(c1, c2)",
        "INTERSECTS(c2, c1)",
    )
    d = exact.angle(vectors(one[:, :2]), vectors(two[:, :2]))
    r, s = one[:, 2], two[:, 2]
    agree(found[:, 0], d + r <= s, np.abs(d + r - s) > RIM, one, two)
    agree(found[:, 1], d + s <= r, np.abs(d + s - r) > RIM, one, two)
    for column in found[:, 2:].T:
        agree(column, d <= r + s, np.abs(d - r - s) > RIM, one, two)


def near_rims(rng: np.random.Generator, made: Stars) -> np.ndarray:
    """Positions beside edges and vertices of polygons, and anywhere."""
    n, m = made.vertices.shape[:2]
    rows, edge = np.arange(n), rng.integers(0, m, n)
    a, b = made.v[rows, edge], made.v[rows, (edge + 1) % m]
    t = np.where(rng.random(n) < 0.2, 0.0, rng.uniform(0, 1, n))[:, None]
    on = a * (1 - t) + b * t
    on = on / exact.size(on)[:, None]
    miss = exact.aside(rng, n)
    beside = exact.offset(on, np.abs(miss), rng.uniform(0, 2 * np.pi, n))
    anywhere = rng.random(n) < 0.2
    return exact.positions(np.where(anywhere[:, None], exact.places(rng, n), beside))


def test_adql57_points_against_polygons_and_their_areas(answers, rng) -> None:
    for count in batches(COUNT):
        made = stars(rng, count, 120.0)
        points = near_rims(rng, made)
        found = answers(
            {"p1": list(points), "g1": list(made.vertices)},
            "CONTAINS(p1, g1)",
            "INTERSECTS(g1, p1)",
            "INTERSECTS(p1, g1)",
            "AREA(g1)",
            "COORD1(CENTROID(g1))",
            "COORD2(CENTROID(g1))",
        )
        p = vectors(points)
        is_star = made.star_area() < 2 * exact.PI
        astray = exact.angle(vectors(found[:, 4:6]), made.centroid())[is_star]
        extent = exact.angle(made.centres[:, None], made.v).max(axis=1)[is_star]
        worst = (astray - 1e-4 * np.minimum(extent, 1e-3)).argmax()
        assert astray[worst] < 1e-9 + 1e-4 * min(extent[worst], 1e-3), (extent[worst], made.vertices[is_star][worst])
        for column in found[:, :3].T:
            agree(column, made.holds(p), made.rim(p) > RIM, points, made.vertices)
        error = np.abs(found[:, 3] - made.area())
        assert (error <= 1e-10 + 1e-9 * made.area()).all()
        relative = error / made.area()
        assert relative.max() < 1e-6, made.vertices[relative.argmax()]


def test_adql57_circles_against_polygons(answers, rng) -> None:
    for count in batches(COUNT):
        made = stars(rng, count, 80.0)
        n = len(made.centres)
        centres = vectors(near_rims(rng, made))
        edge, opposite = made.rim(centres), made.rim(-centres)
        # a rim that just touches from inside or outside, or just holds all of it
        touching = np.where(rng.random(n) < 0.6, edge, 180 - opposite) + exact.aside(rng, n)
        radii = np.where(rng.random(n) < 0.1, rng.uniform(0.001, 179, n), touching).clip(1e-7, 179).astype(float)
        shapes = circles(centres, radii)
        c = vectors(shapes[:, :2])
        edge, opposite = made.rim(c), made.rim(-c)
        found = answers(
            {"c1": list(shapes), "g1": list(made.vertices)},
            "CONTAINS(c1, g1)",
            "INTERSECTS(c1, g1)",
            "INTERSECTS(g1, c1)",
            "CONTAINS(g1, c1)",
        )
        held = made.holds(c)
        by_edge = np.abs(edge - radii) > RIM
        agree_all(found[:, 0], held & (edge >= radii), by_edge, shapes, made.vertices)
        for column in found[:, 1:3].T:
            agree_all(column, held | (edge <= radii), by_edge, shapes, made.vertices)
        inside = ~made.holds(-c) & (opposite >= 180 - radii)
        agree_all(found[:, 3], inside, np.abs(opposite - (180 - radii)) > RIM, shapes, made.vertices)


def agree_all(found: np.ndarray, expected: np.ndarray, sure: np.ndarray, *shapes: object) -> None:
    """Compare answers of which one kind may be rare."""
    wrong = np.flatnonzero(sure & (found != expected))
    assert wrong.size == 0, (
        f"{wrong.size} of {sure.sum()} differ; the first: expected {expected[wrong[0]]} of "
        f"{[np.asarray(shape[wrong[0]]).tolist() for shape in shapes]}"
    )
    assert sure.sum() > 0.7 * sure.size
    assert expected[sure].any()
    assert not expected[sure].all()


def test_adql57_polygons_against_polygons(answers, rng) -> None:
    for count in batches(COUNT):
        one = stars(rng, count, 60.0)
        n = len(one.centres)
        extent = exact.angle(one.centres[:, None], one.v).max(axis=1)
        radii = (extent * np.exp(rng.uniform(-2.5, 1.5, n))).clip(exact.SMALLEST, 70)
        near = exact.offset(one.centres, rng.uniform(0, 1.3, n) * (extent + radii), rng.uniform(0, 2 * np.pi, n))
        two = Stars.random(rng, near, radii, int(rng.integers(3, 9)))
        rows = np.flatnonzero(two.fits())
        one, two = chosen(one, rows), chosen(two, rows)
        found = answers(
            {"g1": list(one.vertices), "g2": list(two.vertices)},
            "CONTAINS(g1, g2)",
            "CONTAINS(g2, g1)",
            "INTERSECTS(g1, g2)",
            "INTERSECTS(g2, g1)",
        )
        sure_cross, may_cross = exact.crossings(one, two)
        one_held, two_held = two.holds(one.v), one.holds(two.v)
        one_gap, two_gap = two.rim(one.v), one.rim(two.v)
        apart = np.minimum(one_gap.min(axis=1), two_gap.min(axis=1)) > RIM
        for column, held, gap in ((0, one_held, one_gap), (1, two_held, two_gap)):
            leaves = (~held & (gap > RIM)).any(axis=1) | sure_cross
            stays = held.all(axis=1) & ~may_cross & apart
            agree_all(found[:, column], stays, leaves | stays, one.vertices, two.vertices)
        enters = (one_held & (one_gap > RIM)).any(axis=1) | (two_held & (two_gap > RIM)).any(axis=1) | sure_cross
        away = ~one_held.any(axis=1) & ~two_held.any(axis=1) & ~may_cross & apart
        for column in (2, 3):
            agree_all(found[:, column], enters, enters | away, one.vertices, two.vertices)


def test_adql57_points_against_constant_circles_and_polygons(answers, rng) -> None:
    for _ in range(3):
        made = stars(rng, 12, 120.0)
        every = [chosen(made, np.full(200, row)) for row in range(len(made.centres))]
        points = [near_rims(rng, one) for one in every]
        radius = float(exact.sizes(rng, 1, 179.0)[0])
        shape = circles(made.centres[:1], np.array([radius]))[0]
        texts = [f"CONTAINS(p1, POLYGON({', '.join(map(repr, map(float, g.ravel())))}))" for g in made.vertices]
        found = answers(
            {"p1": list(np.concatenate(points))}, *texts, f"CONTAINS(p1, CIRCLE({shape[0]}, {shape[1]}, {radius!r}))"
        )
        p = vectors(np.concatenate(points))
        for row, column in enumerate(found[:, :-1].T):
            one = chosen(made, np.full(len(p), row))
            agree_all(column, one.holds(p), one.rim(p) > RIM, p, one.vertices)
        d = exact.angle(p, vectors(shape[:2]))
        sure = np.abs(d - radius) > RIM
        assert (found[sure, -1] == (d <= radius)[sure]).all()


EIGHTH = 41252.96124941928 / 8
DEGENERATE = {
    "a vertex twice": ("0 0 10 0 10 0 0 10", [(1, 1, 1), (10, 0, 1), (9, 9, 0)], None),
    "the first vertex again at the end": ("0 0 10 0 0 10 0 0", [(1, 1, 1), (20, 1, 0)], None),
    "one position": ("10 20 10 20 10 20", [(10, 20, 1), (10, 20.001, 0), (190, -20, 0)], 0.0),
    "an arc there and back": ("10 0 20 0 15 0", [(12, 0, 1), (12, 1, 0), (21, 0, 0), (192, 0, 0)], 0.0),
    "a spike": ("0 0 10 0 20 0 10 0 10 10 0 10", [(5, 5, 1), (15, 0, 1), (15, 1, 0), (25, 0, 0)], None),
    "a pole with two right ascensions": ("0 90 123 90 0 0 90 0", [(45, 45, 1), (200, 90, 1), (180, 45, 0)], EIGHTH),
    "around the north pole": ("0 60 90 60 180 60 270 60", [(77, 90, 1), (10, 80, 1), (0, 50, 0), (0, -90, 0)], None),
    "around the south pole, the other way": (
        "270 -60 180 -60 90 -60 0 -60",
        [(1, -90, 1), (0, -59, 0), (0, 90, 0)],
        None,
    ),
    "across RA 0": ("350 -5 10 -5 10 5 350 5", [(0, 0, 1), (360, 0, 1), (359, 4, 1), (180, 0, 0), (20, 0, 0)], None),
    "RA 0 and 360 are one": ("0 0 360 10 10 10 10 0", [(0, 5, 1), (360, 5, 1), (5, 5, 1), (355, 5, 0)], None),
    "opposite vertices": ("0 0 90 0 180 0 90 45", [(90, 20, 1), (90, -1, 0), (90, 50, 0), (270, 0, 0)], EIGHTH),
    "opposite vertices, the other way": ("90 45 180 0 90 0 0 0", [(90, 20, 1), (90, 50, 0)], EIGHTH),
    "an eighth": ("0 0 90 0 0 90", [(45, 30, 1), (45, -1, 0), (225, -30, 0)], EIGHTH),
    "half the sky": ("0 0 120 0 240 0", [(60, 0, 1), (0, 0, 1), (300, 0, 1)], EIGHTH * 4),
    "nearly all the sky means the rest": ("0 -80 120 -80 240 -80", [(0, -90, 1), (0, 0, 0), (0, 90, 0)], None),
    "a thousandth of an arcsecond at the pole": (
        "0 89.9999997 120 89.9999997 240 89.9999997",
        [(0, 90, 1), (120, 89.9999998, 1), (180, 89.9999998, 0), (0, -90, 0)],
        None,
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_adql61_degenerate_polygons_mean_what_they_should(answers, name) -> None:
    polygon, cases, area = DEGENERATE[name]
    numbers = [float(word) for word in polygon.split()]
    constant = f"POLYGON({', '.join(map(repr, numbers))})"
    found = answers(
        {"p1": [case[:2] for case in cases], "g1": [numbers] * len(cases)},
        "CONTAINS(p1, g1)",
        f"CONTAINS(p1, {constant})",
        "INTERSECTS(CIRCLE(p1, 0), g1)",
        f"CONTAINS(CIRCLE(p1, 0), {constant})",
        "AREA(g1)",
        f"AREA({constant})",
        "CONTAINS(g1, g1)",
        "INTERSECTS(g1, g1)",
    )
    assert found[:, :4].T.tolist() == [[case[2] for case in cases]] * 4
    assert (found[:, 4] == found[:, 5]).all()
    assert (found[:, 6:] == 1).all()
    if area is not None:
        assert found[0, 4] == pytest.approx(area, abs=1e-9)


def test_relations_of_what_is_unknown_are_unknown(answers) -> None:
    found = answers(
        {"p1": [(1, 2)]}, "CONTAINS(p1, c1)", "INTERSECTS(g1, p1)", "DISTANCE(p1, p2)", "AREA(g1)", "AREA(p2)"
    )
    assert np.isnan(found).all()


def test_a_tiny_polygon_far_away_does_not_contain_a_position(answers) -> None:
    """Edges of a milliarcsecond, seen from 52 and 91 degrees away, were lost in rounding."""
    one = [221.95961669469688, -5.505704348353644, 221.9596170517548, -5.505704195753447]
    one += [221.95961668216196, -5.505704098316009, 221.9596164623848, -5.505704274782771]
    two = [143.39870770206187, 9.737859568714432e-08, 143.3987078038439, 9.58340715104561e-08]
    two += [143.39870793877043, -4.8424907367609724e-08, 143.39870776334672, -1.1113136829092141e-07]
    two += [143.3987075816854, -6.553604862006852e-08]
    found = answers(
        {
            "p1": [(205.54964684351043, -58.15854811311381), (1, 1)],
            "c1": [(0.0, 56.25553924557075, 91.0499895633828)] * 2,
            "g1": [one, two],
        },
        "CONTAINS(p1, g1)",
        "CONTAINS(g1, c1)",
    )
    assert found[0, 0] == 0
    assert found[1, 1] == 0


def test_the_centroid_of_a_tiny_polygon_is_in_it(answers) -> None:
    """A sum of products of near vectors left it arcseconds away."""
    size = 1 / 3600
    found = answers(
        {"g1": [(10, 20, 10 + size, 20, 10 + size, 20 + size, 10, 20 + size)]},
        "COORD1(CENTROID(g1))",
        "COORD2(CENTROID(g1))",
    )
    assert found[0] == pytest.approx((10 + size / 2, 20 + size / 2), abs=1e-10)
