"""Boxes between meridians and parallels in SQL, against brute force: rims sampled densely, positions compared one by one."""

import numpy as np
import pyarrow as pa
import pytest

from tests.sky import judge
from tests.sky.boxes import Box, brute, in_box

RNG = np.random.default_rng(2)


def random_box(rng: np.random.Generator, near: np.ndarray) -> Box:
    """A box of any size, mostly around a position."""
    ra, dec = near[rng.integers(len(near))]
    size = np.exp(rng.uniform(np.log(0.001), np.log(120), 2))
    ra_min, ra_max = ra - size[0] * rng.random(), ra + size[0] * rng.random()
    dec_min, dec_max = dec - size[1] * rng.random(), dec + size[1] * rng.random()
    kind = rng.random()
    if kind < 0.1:
        dec_max = 90.0
    elif kind < 0.2:
        dec_min = -90.0
    elif kind < 0.3:
        return (0.0, 360.0, max(dec_min, -90.0), min(dec_max, 90.0))
    elif kind < 0.35:
        return (ra % 360, ra % 360, max(dec_min, -90.0), min(dec_max, 90.0))
    elif kind < 0.4:
        dec_min = dec_max = float(np.clip(dec_min, -90, 90))
    return (ra_min % 360, ra_max % 360, max(dec_min, -90.0), min(dec_max, 90.0))


def meet(database, pairs: list[tuple[np.ndarray, Box]]) -> list[bool]:
    """What the function in the database says of each pair."""
    database.load(
        "pairs",
        n=np.arange(len(pairs)),
        polygon=pa.array([polygon.ravel().tolist() for polygon, _ in pairs], pa.list_(pa.float64())),
        **{name: [float(box[place]) for _, box in pairs] for place, name in enumerate("abcd")},
    )
    return database.column("SELECT sky.range_meets_polygon(polygon, a, b, c, d) FROM pairs ORDER BY n")


def wrong(database, pairs) -> tuple[list[object], int]:
    """Pairs of which the database says another thing than brute force, and how many could be judged."""
    judged = [(pair, brute(*pair)) for pair in pairs]
    found = meet(database, pairs)
    mistakes = [
        (pair[0].tolist(), pair[1], truth, said)
        for (pair, truth), said in zip(judged, found, strict=True)
        if truth is not None and said is not truth
    ]
    return mistakes, sum(truth is not None for _, truth in judged)


def test_random_boxes_meet_random_polygons_as_brute_force_says(sky_database) -> None:
    pairs = []
    for _ in range(500):
        polygon = judge.random_polygon(RNG, largest=70.0, smallest=0.01)
        near = np.concatenate([polygon, judge.around(RNG, polygon[0], 30, 4), judge.random_positions(RNG, 2)])
        pairs.append((polygon, random_box(RNG, near)))
    mistakes, judged = wrong(sky_database, pairs)
    assert mistakes == []
    assert judged > 400


def test_small_footprints_meet_boxes_as_brute_force_says_at_the_seam_and_the_poles(sky_database) -> None:
    pairs = []
    for centre in [(0.0, 0.0), (359.9999, 30.0), (0.0, -89.99), (100.0, 90.0), (0.0, 89.5), (180.0, -90.0)]:
        for _ in range(40):
            middle = judge.around(RNG, centre, 0.5, 1)[0]
            angle = np.radians([45, 135, 225, 315]) + RNG.uniform(0, 1)
            polygon = judge.offset(middle, np.full(4, np.radians(0.2)), angle)
            pairs.append((polygon, random_box(RNG, judge.around(RNG, centre, 0.7, 3))))
    mistakes, judged = wrong(sky_database, pairs)
    assert mistakes == []
    assert judged > 150


def test_boxes_and_polygons_in_whole_degrees_meet_as_brute_force_says(sky_database) -> None:
    """Whole numbers put vertices on rims, edges on meridians and on the equator, and corners into corners."""
    pairs = []
    while len(pairs) < 400:
        ra, dec = RNG.integers(-4, 5, (2, 4)) * 5 % 360 * [[1], [0]] + RNG.integers(-4, 5, (2, 4)) * 5 * [[0], [1]]
        polygon = np.column_stack([ra, dec])[: RNG.integers(3, 5)].astype(float)
        if len({tuple(vertex) for vertex in polygon.tolist()}) < len(polygon) or judge.area(polygon) < 1:
            continue
        if len(polygon) == 4 and crosses_itself(polygon):
            continue
        low, high = sorted(RNG.integers(-5, 6, 2) * 5)
        west, east = RNG.integers(-5, 6, 2) * 5 % 360
        pairs.append((polygon, (float(west), float(east), float(low), float(high))))
    mistakes, judged = wrong(sky_database, pairs)
    assert mistakes == []
    assert judged > 250


def crosses_itself(polygon: np.ndarray) -> bool:
    flat = polygon.copy()
    flat[:, 0] = (flat[:, 0] + 180) % 360 - 180
    a, b, c, d = (complex(*vertex) for vertex in flat.tolist())

    def side(one: complex, other: complex, point: complex) -> float:
        return ((other - one).conjugate() * (point - one)).imag

    def cut(a: complex, b: complex, c: complex, d: complex) -> bool:
        return side(a, b, c) * side(a, b, d) <= 0 and side(c, d, a) * side(c, d, b) <= 0

    return cut(a, b, c, d) or cut(b, c, d, a) or abs(side(a, b, c)) + abs(side(b, c, d)) == 0


SQUARE = [(10, -5), (20, -5), (20, 5), (10, 5)]
CAP = [(0, 80), (90, 80), (180, 80), (270, 80)]


@pytest.mark.parametrize(
    ("polygon", "box", "expected"),
    [
        # a rim that is touched counts, on every side
        (SQUARE, (20, 30, -1, 1), True),
        (SQUARE, (0, 10, -1, 1), True),
        (SQUARE, (20.0001, 30, -1, 1), False),
        (SQUARE, (0, 9.9999, -1, 1), False),
        (SQUARE, (20, 30, 5, 9), True),
        (SQUARE, (0, 10, -9, -5), True),
        # one inside the other
        (SQUARE, (14, 16, -1, 1), True),
        (SQUARE, (0, 90, -45, 45), True),
        # a great circle between two vertices bulges beyond their parallel
        ([(0, 60), (60, 60), (30, 50)], (29, 31, 63, 64), True),
        ([(0, 60), (60, 60), (30, 50)], (29, 31, 64.5, 66), False),
        ([(0, 60), (60, 60), (30, 50)], (1, 2, 63, 64), False),
        # ... so that only its top reaches through one rim, away from the corners
        ([(0, 60), (60, 60), (30, 50)], (10, 50, 63.3, 66), True),
        ([(0, 60), (60, 60), (30, 50)], (10, 50, 63.5, 66), False),
        ([(0, 60), (60, 60), (30, 50)], (40, 50, 63.3, 66), False),
        ([(0, -60), (60, -60), (30, -50)], (10, 50, -66, -63.3), True),
        ([(0, -60), (60, -60), (30, -50)], (10, 50, -66, -63.5), False),
        ([(0, -60), (60, -60), (30, -50)], (40, 50, -66, -63.3), False),
        # across right ascension 0
        ([(355, -5), (5, -5), (5, 5), (355, 5)], (358, 2, -1, 1), True),
        ([(355, -5), (5, -5), (5, 5), (355, 5)], (2, 358, -1, 1), True),
        ([(355, -5), (5, -5), (5, 5), (355, 5)], (6, 354, -1, 1), False),
        (SQUARE, (350, 9, -90, 90), False),
        (SQUARE, (350, 11, -90, 90), True),
        # 0 and 360 are one meridian
        ([(360, 0), (359, 1), (359, -1)], (0, 5, -0.1, 0.1), True),
        ([(0, 0), (1, 1), (1, -1)], (350, 360, -0.1, 0.1), True),
        ([(360, 0), (359, 1), (359, -1)], (0, 0, -1, 1), True),
        ([(0, 0), (1, 1), (1, -1)], (360, 360, -1, 1), True),
        ([(0, 0), (1, 1), (1, -1)], (360, 0, -1, 1), True),
        # the whole circle of right ascension, and the whole sky
        (SQUARE, (0, 360, 4.9, 50), True),
        (SQUARE, (0, 360, 6, 50), False),
        (SQUARE, (0, 360, -90, 90), True),
        (CAP, (0, 360, 85, 90), True),
        (CAP, (0, 360, 85, 86), True),
        (CAP, (0, 360, 0, 79.9), False),
        # around the pole: inside the polygon, at a corner of it, the pole itself
        (CAP, (10, 20, 85, 90), True),
        (CAP, (10, 20, 85, 86), True),
        (CAP, (10, 20, 90, 90), True),
        (CAP, (10, 20, -90, 79), False),
        ([(190, 90), (185, 89), (195, 89)], (10, 20, 89, 90), True),
        ([(190, -90), (185, -89), (195, -89)], (10, 20, -90, -89), True),
        ([(190, -90), (185, -89), (195, -89)], (10, 20, -89.9, -89), False),
        # boxes without width or height
        (SQUARE, (15, 15, -80, 80), True),
        (SQUARE, (25, 25, -80, 80), False),
        (SQUARE, (0, 360, 0, 0), True),
        (SQUARE, (0, 360, 10, 10), False),
        # a long meridian past a narrow sliver far from its ends
        ([(14, 1), (16, 1), (16, 1.001), (14, 1.001)], (15, 200, -80, 80), True),
        ([(14, 59.9), (16, 59.9), (16, 60.1), (14, 60.1)], (15, 15, -60, 80), True),
    ],
)
def test_a_box_meets_a_polygon(sky_database, polygon, box, expected) -> None:
    for turned in (polygon, polygon[::-1]):
        assert meet(sky_database, [(np.array(turned, dtype=float), box)]) == [expected]


def test_a_box_without_a_footprint_is_unknown(sky_database) -> None:
    assert sky_database.column("SELECT sky.range_meets_polygon(NULL, 0, 360, -90, 90)") == [None]


def test_positions_are_in_boxes_as_numpy_says(sky_database) -> None:
    points = judge.random_positions(RNG, 4000)
    boxes = [random_box(RNG, points[:50]) for _ in range(40)]
    boxes += [
        (0, 360, -90, 90),
        (350, 10, -90, 90),
        (0, 10, 0, 90),
        (350, 360, -90, 0),
        (0, 0, -90, 90),
        (180, 180, 0, 9),
    ]
    sky_database.load("points", n=np.arange(len(points)), ra=points[:, 0], decl=points[:, 1])
    for box in boxes:
        numbers = ", ".join(repr(float(number)) for number in box)
        found = sky_database.column(f"SELECT sky.in_range(ra, decl, {numbers}) FROM points ORDER BY n")
        assert (np.array(found) == in_box(points, box)).all(), box
