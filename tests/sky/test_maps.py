"""Circles and polygons against coverage maps in SQL, judged by brute force on the rims of cells."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from tests.sky import judge
from tests.sky.boxes import polygon_rim
from tests.sky.maps import Cell, circle_depth, in_ranges, index, multirange, polygon_depth, random_map

RIM = 2e-9
"""Degrees: nearer to a rim than this, either answer is right."""

EVERYTHING = "'{[0,3458764513820540927]}'::int8multirange"
RELATIONS = {
    "meets": "sky.meets_moc(shape, moc, false, true)",
    "is in": f"NOT sky.meets_moc(shape, {EVERYTHING} - moc, false, false)",
    "holds": "NOT sky.meets_moc(shape, moc, true, false)",
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@dataclass
class Case:
    """A shape, a map, and what is true of them; ``None`` where the judge is not sure."""

    shape: list[float]
    ranges: tuple[tuple[int, int], ...]
    truth: dict[str, bool | None]


def check(database, cases: list[Case]) -> None:
    database.load(
        "maps",
        n=np.arange(len(cases)),
        shape=pa.array([case.shape for case in cases], pa.list_(pa.float64())),
        moc=[multirange(case.ranges) for case in cases],
    )
    database.run("ALTER TABLE maps ALTER moc TYPE int8multirange USING moc::int8multirange")
    found = database.rows(f"SELECT {', '.join(RELATIONS.values())} FROM maps ORDER BY n")
    wrong = [
        (case.shape, multirange(case.ranges)[:200], name, said)
        for case, answers in zip(cases, found, strict=True)
        for (name, truth), said in zip(case.truth.items(), answers, strict=True)
        if truth is not None and said is not truth
    ]
    assert wrong == []


def random_cell(rng: np.random.Generator) -> Cell:
    """A cell at a random or an odd place, of an order from 0 to 12."""
    order = int(rng.integers(0, 13))
    return Cell(order, int(index(judge.random_positions(rng, 1))[0]) >> (2 * (29 - order)))


def zero(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a growing function is 0, by false position with halved ends (Illinois)."""
    at_low, at_high = function(low), function(high)
    for _ in range(9):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = function(middle)
        if value > 0:
            high, at_high, at_low = middle, value, at_low / 2
        else:
            low, at_low, at_high = middle, value, at_high / 2
    return low if abs(at_low) < abs(at_high) else high


def known(depth: float) -> bool | None:
    """Whether something is deep in a shape."""
    return None if abs(depth) < RIM else bool(depth > 0)


def test_moc11_circles_that_all_but_touch_a_cell(sky_database, rng) -> None:
    cases = []
    for _ in range(60):
        cell = random_cell(rng)
        place = judge.around(rng, cell.at(0.5, 0.5), min(cell.width * rng.choice([0.3, 1.0, 5.0]), 170), 1)[0]
        is_in = bool(cell.has(place[None])[0])
        nearest = -cell.deepest(circle_depth(*place, 0.0))
        opposite = (place[0] + 180) % 360, -place[1]
        farthest = 180 + cell.deepest(circle_depth(*opposite, 0.0))
        for rim in (nearest, farthest):
            radius = rim + rng.choice([-1, 1]) * 10 ** rng.uniform(-8.5, -1) * min(rim, 180 - rim, 1)
            if not 0 <= radius <= 180:
                continue
            touches, covers = known(radius - nearest), known(radius - farthest)
            is_met = True if is_in else touches
            # a circle beyond a hemisphere may leave out no more than a hole in the cell
            has_hole = bool(cell.has(np.array([opposite]))[0])
            is_within = None if touches is None else is_in and not touches
            holds = False if has_hole and radius < 180 else covers
            cases.append(Case([*place, radius], cell.ranges, {"meets": is_met, "is in": is_within, "holds": holds}))
            # of all the sky but the cell the same is true the other way round
            outside = {"meets": None, "is in": None if is_met is None else not is_met, "holds": None}
            cases.append(Case([*place, radius], cell.rest, outside))
    check(sky_database, cases)


def test_moc11_polygons_that_all_but_touch_a_cell(sky_database, rng) -> None:
    cases = []
    for _ in range(3):
        cell = Cell(0, 0)
        while cell.order < 2:
            cell = random_cell(rng)
        centre = judge.around(rng, cell.at(0.5, 0.5), cell.width * rng.choice([0.3, 1.5]), 1)[0]
        count = int(rng.integers(3, 7))
        azimuths = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count
        shares = rng.uniform(0.5, 1, count)

        def scaled(size: float, parts=(centre, shares, azimuths)) -> np.ndarray:
            return judge.offset(parts[0], np.radians(size) * parts[1], parts[2])

        is_in = bool(cell.has(centre[None])[0])
        touch = zero(lambda size, c=cell, f=scaled: c.deepest(polygon_depth(f(size))), 1e-4 * cell.width, 60.0)
        for size in (touch * (1 - 10 ** rng.uniform(-6, -1)), touch * (1 + 10 ** rng.uniform(-6, -1))):
            polygon = scaled(size)
            touches = known(cell.deepest(polygon_depth(polygon)))
            is_met = True if is_in else touches
            is_within = None if touches is None else is_in and not touches
            shape = polygon.ravel().tolist()
            cases.append(Case(shape, cell.ranges, {"meets": is_met, "is in": is_within, "holds": None}))
            outside = {"meets": None, "is in": None if is_met is None else not is_met, "holds": None}
            cases.append(Case(shape, cell.rest, outside))
    check(sky_database, cases)


def test_moc11_random_shapes_and_maps_have_no_position_that_says_otherwise(sky_database, rng) -> None:
    cases = []
    for _ in range(200):
        near = judge.random_positions(rng, 1)[0]
        order = int(rng.integers(0, 9))
        ranges = random_map(rng, near, order)
        size = float(np.clip(120 / 2**order * 10 ** rng.uniform(-1.5, 1), 1e-3, 80))
        middle = judge.around(rng, near, size, 1)[0]
        if rng.random() < 0.5:
            shape = [*middle, size]
            points = np.vstack([judge.around(rng, middle, size * (1 - 1e-9), 1500), middle[None]])
            outside = judge.offset(middle, np.full(300, np.radians(size * (1 + 1e-9))), np.linspace(0, 6.28, 300))
        else:
            polygon = judge.offset(middle, np.radians(size) * rng.uniform(0.3, 1, 5), np.arange(5) * 2 * np.pi / 5)
            shape = polygon.ravel().tolist()
            points = judge.around(rng, middle, size, 1500)
            depths = polygon_depth(polygon)(points)
            points, outside = np.vstack([points[depths > 1e-9], polygon_rim(polygon, 30)]), points[depths < -1e-9]
        covered = in_ranges(points, ranges)
        truth = {
            "meets": True if covered.any() else None,
            "is in": None if covered.all() else False,
            "holds": False if in_ranges(outside, ranges).any() else None,
        }
        cases.append(Case(shape, ranges, truth))
    check(sky_database, cases)
    assert sum(case.truth["meets"] is True for case in cases) > 60


ZERO, THREE = Cell(0, 0).ranges, Cell(0, 3).ranges


@pytest.mark.parametrize(
    ("shape", "ranges", "meets", "is_in", "holds"),
    [
        # right ascension 0 is where two base cells meet in the north: rims count
        ([0, 50, 1, 50, 1, 52, 0, 52], ZERO, True, True, False),
        ([0, 50, 1, 50, 1, 52, 0, 52], THREE, True, False, False),
        ([0.000001, 50, 1, 50, 1, 52, 0.000001, 52], THREE, False, False, False),
        ([0.000001, 50, 1, 50, 1, 52, 0.000001, 52], ZERO, True, True, False),
        ([359.999999, 50, 1, 50, 1, 52, 359.999999, 52], ZERO, True, False, False),
        ([360, 50, 359, 50, 359, 52, 360, 52], THREE, True, True, False),
        # pole, nothing, everything, what has no area
        ([0, 90, 0.001], ZERO, True, False, False),
        ([45, 89, 0.1], ZERO, True, True, False),
        ([45, 40, 1], (), False, False, True),
        ([45, 40, 180], ZERO, True, False, True),
        ([45, 40, 1], ((0, 12 * 4**29 - 1),), True, True, False),
        ([45, 40, 180], ((0, 12 * 4**29 - 1),), True, True, True),
        ([45, 40, 0], ZERO, True, True, False),
        ([225, -40, 0], ZERO, False, False, False),
        ([225, -40, 179.9], ZERO, True, False, False),
        ([225, -40, 100], ZERO, False, False, False),
        ([45, 40, 100], ZERO, True, False, True),
        ([45, 40, 46, 41, 45, 40], ZERO, True, True, False),
        ([350, 60, 80, 60, 350, 60], ZERO, True, False, False),
        ([-10, 60, 440, 60, 350, 60], ZERO, True, False, False),
    ],
)
def test_moc11_special_shapes(sky_database, shape, ranges, meets, is_in, holds) -> None:
    check(sky_database, [Case([float(n) for n in shape], ranges, {"meets": meets, "is in": is_in, "holds": holds})])
