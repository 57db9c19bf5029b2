"""Cells of footprints and of regions: what meets on the sky has a number in common, judged by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sky.cells import MAP_CELLS, asked_cells, footprint_cells, map_cells, numbers, sampled_cells
from gateway.sky.index import order29, region_cells
from gateway.sky.search import HealpixIndex
from gateway.vo.moc import Moc, united
from gateway.vo.regions import Circle, Polygon, Range, Region, half_spaces
from tests.sky import judge

ORDERS = np.arange(30)


def numbers_of(points: np.ndarray) -> set[int]:
    """Numbers of the cells of all orders that hold some positions."""
    cells = order29(*points.T)
    shifted = cells[:, None] >> (2 * (29 - ORDERS))
    return set(numbers(shifted, np.broadcast_to(ORDERS, shifted.shape)).ravel().tolist())


def covers(stored: list[int], points: np.ndarray) -> bool:
    """Whether each position lies in a cell of the cover, whose own numbers are positive."""
    own = {number for number in stored if number > 0}
    return all(numbers_of(point[None]) & own for point in points)


def points_in(region: Region, rng: np.random.Generator, count: int = 150) -> np.ndarray:
    """Positions inside a region, on its rim too."""
    match region:
        case Circle():
            angle = np.radians(region.radius) * np.sqrt(rng.uniform(0, 1, count))
            angle[: count // 3] = np.radians(region.radius)
            return judge.offset((region.ra, region.dec), angle, rng.uniform(0, 2 * np.pi, count))
        case Range():
            width = 360.0 if region.ra_max - region.ra_min == 360 else (region.ra_max - region.ra_min) % 360
            ra = region.ra_min + width * np.append(rng.uniform(0, 1, count - 2), [0, 1])
            dec = region.dec_min + (region.dec_max - region.dec_min) * np.append(rng.uniform(0, 1, count - 2), [0, 1])
            dec[: count // 4], dec[count // 4 : count // 2] = region.dec_min, region.dec_max
            return np.column_stack([ra % 360, np.clip(dec, region.dec_min, region.dec_max)])
        case Polygon():
            vertices = judge.vectors(*np.array(region.vertices).T).astype(float)
            if half_spaces(region) is not None:
                weights = rng.dirichlet(np.full(len(vertices), 0.5), count)
                inside = weights @ vertices
            else:  # along the rim alone
                edge, part = rng.integers(0, len(vertices), count), rng.uniform(0, 1, count)[:, None]
                inside = vertices[edge] * part + np.roll(vertices, -1, axis=0)[edge] * (1 - part)
            x, y, z = inside.T
            return np.column_stack([np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))])


RA = st.one_of(st.floats(0, 360), st.sampled_from([0.0, 360.0, 1e-9, 359.9999999, 45.0, 90.0]))
DEC = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0, 89.999999, 41.8103149]))
SIZE = st.one_of(st.floats(1e-5, 0.1), st.floats(0.1, 30), st.floats(30, 89))


@st.composite
def polygons(draw) -> Polygon:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    count = draw(st.integers(3, 8))
    azimuth = np.sort((np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count)
    angle = np.radians(draw(SIZE)) * (rng.uniform(0.3, 1.0, count) if draw(st.booleans()) else np.ones(count))
    return Polygon(tuple(map(tuple, judge.offset((draw(RA), draw(DEC)), angle, azimuth).tolist())))


@st.composite
def ranges(draw) -> Range:
    low, high = sorted((draw(DEC), draw(DEC)))
    return Range(draw(RA), draw(RA), low, high)


REGIONS = st.one_of(st.builds(Circle, RA, DEC, st.one_of(SIZE, st.just(0.0), st.floats(89, 180))), polygons(), ranges())


@settings(max_examples=80, deadline=None)
@given(region=REGIONS, seed=st.integers(0, 1000))
def test_the_cells_of_a_footprint_hold_every_position_of_it(region, seed) -> None:
    assert covers(footprint_cells(region), points_in(region, np.random.default_rng(seed), 40))


@pytest.mark.parametrize("region", [Range(0, 360, -10, 10), Range(0, 360, 60, 61), Range(0, 0, -10, 10)])
def test_a_belt_around_the_sky_is_covered_whole_and_a_meridian_is_no_belt(region) -> None:
    points = points_in(region, np.random.default_rng(4))
    assert covers(footprint_cells(region), points)
    assert bool(set(asked_cells(region)) & set(footprint_cells(Circle(180.0, 0.0, 0.1)))) is (
        region.dec_max == 10 and region.ra_max == 360
    )


@settings(max_examples=60, deadline=None)
@given(region=REGIONS, seed=st.integers(0, 1000))
def test_a_region_meets_every_footprint_that_has_a_position_in_it(region, seed) -> None:
    rng = np.random.default_rng(seed)
    asked = set(asked_cells(region))
    for ra, dec in points_in(region, rng, 6).tolist():
        size = float(np.exp(rng.uniform(np.log(1e-4), np.log(60.0))))
        corners = judge.offset((ra, dec), np.radians(np.full(4, size)), rng.uniform(0, 1.5) + np.arange(4) * np.pi / 2)
        for footprint in (Circle(ra, dec, size), Polygon(tuple(map(tuple, corners.tolist())))):
            assert asked & set(footprint_cells(footprint)), footprint


@settings(max_examples=80, deadline=None)
@given(one=REGIONS, other=REGIONS)
def test_numbers_in_common_are_covers_that_touch(one, other) -> None:
    def spans(region: Region, across: int) -> list[tuple[int, int]]:
        cells, depths = region_cells(region, across=across)
        shift = 2 * (29 - depths)
        return list(zip((cells << shift).tolist(), (((cells + 1) << shift) - 1).tolist(), strict=True))

    from gateway.sky.cells import FOOTPRINT_ACROSS, REGION_ACROSS

    low, high = np.array(spans(other, REGION_ACROSS)).T
    order = np.argsort(low)
    low, high = low[order], np.maximum.accumulate(high[order])
    touch = False
    for first, last in spans(one, FOOTPRINT_ACROSS):
        before = np.searchsorted(low, last, side="right") - 1
        touch |= bool(before >= 0 and high[before] >= first)
    assert bool(set(footprint_cells(one)) & set(asked_cells(other))) is touch


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Circle(10, 10, 0.1), Circle(12, 10, 0.1)),
        (Circle(0, 0, 0.1), Circle(1, 0, 0.1)),
        (Circle(0, 90, 1.0), Circle(0, 80, 1.0)),
        (Circle(180, -90, 0.01), Circle(10, -89.8, 0.01)),
        (Circle(359.9, 5, 0.01), Circle(0.1, 5, 0.01)),
        (Polygon(((10, 10), (10.2, 10), (10.1, 10.2))), Circle(11, 11, 0.1)),
    ],
)
def test_what_lies_well_apart_has_no_number_in_common(one, other) -> None:
    assert not set(footprint_cells(one)) & set(asked_cells(other))
    assert not set(footprint_cells(other)) & set(asked_cells(one))


def test_few_far_footprints_are_found_in_vain() -> None:
    rng = np.random.default_rng(5)
    asked = set(asked_cells(Circle(120.0, 33.0, 0.2)))
    found = true = 0
    for ra, dec in judge.around(rng, (120.0, 33.0), 3.0, 1000).tolist():
        found += bool(asked & set(footprint_cells(Circle(ra, dec, 0.1))))
        true += judge.distance(ra, dec, 120.0, 33.0) <= 0.3
    assert true <= found <= 4 * true


@pytest.mark.parametrize("size", [1e-4, 0.05, 1.0, 20.0])
def test_a_footprint_takes_few_numbers(size) -> None:
    rng = np.random.default_rng(6)
    counts = [len(footprint_cells(Circle(*place, size))) for place in judge.random_positions(rng, 200).tolist()]
    assert np.median(counts) < 100
    assert max(counts) < 300


def test_a_footprint_beyond_a_hemisphere_is_covered_by_its_samples() -> None:
    rng = np.random.default_rng(9)
    ra, dec = np.meshgrid(np.arange(0, 360, 5.0), np.arange(-30, 91, 5.0))
    stored = sampled_cells(judge.vectors(ra.ravel(), dec.ravel()).astype(float), 7.1)
    inside = np.column_stack([rng.uniform(0, 360, 300), rng.uniform(-30, 90, 300)])
    assert covers(stored, inside)
    assert not covers(stored, np.array([[10.0, -60.0]]))
    assert set(asked_cells(Circle(200.0, 89.0, 0.01))) & set(stored)
    assert not set(asked_cells(Circle(200.0, -60.0, 0.01))) & set(stored)


def test_numbers_of_all_orders_are_different() -> None:
    first = numbers(np.zeros(30, dtype=np.int64), ORDERS)
    last = numbers(12 * np.int64(4) ** ORDERS - 1, ORDERS)
    assert (first[1:] > last[:-1]).all()
    assert last[-1] > 0  # fits a signed 64-bit integer, and so does its negative


@pytest.mark.parametrize("region", [Circle(0, 90, 2), Range(350, 10, -3, 3), Polygon(((0, 80), (120, 80), (240, 80)))])
def test_the_index_of_a_search_gives_the_cells_of_its_region(region) -> None:
    assert list(HealpixIndex().cells(region)) == asked_cells(region)


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(st.tuples(st.integers(0, 29), st.floats(0, 1, exclude_max=True)), min_size=1, max_size=30),
    seed=st.integers(0, 1000),
)
def test_what_holds_a_position_of_a_coverage_map_has_a_number_in_common_with_it(cells, seed) -> None:
    rng = np.random.default_rng(seed)
    ranges = []
    for order, share in cells:
        shift = 2 * (29 - order)
        cell = int(share * 12 * 4**order)
        ranges.append((cell << shift, ((cell + 1) << shift) - 1))
    moc = Moc(united(ranges), max(order for order, _ in cells))
    asked = set(map_cells(moc))
    for low, high in moc.ranges:
        place = int(rng.integers(low, high, endpoint=True))
        depth = int(rng.integers(0, 30))
        # a footprint's cell of any depth around the position, stored with its ancestors
        stored = {int(numbers(np.int64(place >> (2 * (29 - depth))), np.int64(depth)))}
        stored |= {-int(numbers(np.int64(place >> (2 * (29 - up))), np.int64(up))) for up in range(depth)}
        assert stored & asked


def test_a_coverage_map_of_many_cells_asks_by_few() -> None:
    cells = np.random.default_rng(1).integers(0, 12 * 4**9, 5000).tolist()
    moc = Moc(united((cell << 40, ((cell + 1) << 40) - 1) for cell in cells), 9)
    asked = map_cells(moc)
    assert len(asked) <= 3 * MAP_CELLS
    assert min(asked) < 0 < max(asked)
    one = Moc(((cells[0] << 40, ((cells[0] + 1) << 40) - 1),), 9)
    assert set(map_cells(one)) == {cells[0] + 4**10, -(cells[0] + 4**10)} | {
        (cells[0] >> 2 * up) + 4 ** (10 - up) for up in range(1, 10)
    }
