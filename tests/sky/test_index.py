import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sky.index import (
    ORDER,
    bounding_circle,
    cell_centres,
    cell_radius,
    merged,
    order29,
)
from gateway.sky.search import MAX_RANGES, HealpixIndex
from gateway.vo.regions import Circle, Polygon, Range
from tests.sky import judge

RNG = np.random.default_rng(7)
INDEX = HealpixIndex()


def covered(region, points) -> np.ndarray:
    """Which positions have an index in the ranges of a region."""
    index = order29(points[:, 0], points[:, 1])
    found = np.zeros(len(index), dtype=bool)
    for low, high in INDEX.ranges(region):
        found |= (index >= low) & (index <= high)
    return found


@pytest.mark.parametrize(
    ("ra", "dec", "base_cell"), [(45.0, 89.9, 0), (315.0, 45.0, 3), (0.0, 0.0, 4), (90.0, 0.0, 5), (45.0, -60.0, 8)]
)
def test_order29_is_nested_in_its_base_cell(ra, dec, base_cell) -> None:
    index = order29([ra], [dec])
    assert index.dtype == np.int64
    assert index[0] >> 2 * ORDER == base_cell


def test_order29_agrees_with_the_library_s_public_function() -> None:
    import astropy.units as u
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import lonlat_to_healpix

    points = judge.random_positions(RNG, 5_000)
    points[:, 0] %= 360
    expected = lonlat_to_healpix(Longitude(points[:, 0] * u.deg), Latitude(points[:, 1] * u.deg), ORDER)
    assert (order29(points[:, 0], points[:, 1]) == expected.astype(np.int64)).all()


def test_right_ascension_360_is_0() -> None:
    assert order29([360.0], [12.0]) == order29([0.0], [12.0])


@pytest.mark.parametrize(("ra", "dec"), [(np.nan, 0), (0, np.nan), (np.inf, 0), (0, 90.0001)])
def test_order29_refuses_what_is_no_position(ra, dec) -> None:
    with pytest.raises(ValueError, match="mask"):
        order29([ra], [dec])


def test_nothing_has_no_index() -> None:
    assert order29([], []).size == 0


@pytest.mark.parametrize("depth", range(8))
def test_no_cell_is_wider_than_its_radius(depth) -> None:
    cells = np.arange(12 * 4**depth) if depth < 5 else RNG.integers(0, 12 * 4**depth, 3000)
    centres = cell_centres(cells, depth)
    points = judge.random_positions(RNG, 20_000)
    inside = order29(points[:, 0], points[:, 1]) >> 2 * (ORDER - depth)
    chosen = np.isin(inside, cells)
    where = np.searchsorted(np.sort(cells), inside[chosen])
    middle = centres[np.argsort(cells)][where]
    angle = np.arccos(np.clip((middle * judge.vectors(*points[chosen].T).astype(float)).sum(axis=1), -1, 1))
    assert angle.max(initial=0) <= cell_radius(depth)


RADII = [
    149.99,
    135.0,
    100.0,
    60.0,
    0.3,
    1 / 3600,
    0.001 / 3600,
    0.01,
    0.05,
    1.0,
    5.0,
    33.0,
    89.0,
    91.0,
    120.0,
    179.0,
    180.0,
    0.0,
]


@pytest.mark.parametrize("radius", RADII)
def test_no_position_of_a_circle_is_outside_its_ranges(radius) -> None:
    centres = np.concatenate(
        [judge.random_positions(RNG, 40), [[0, 90], [12, -90], [0, 0], [360, 41.8103], [45, 41.8103]]]
    )
    for centre in centres:
        points = np.concatenate(
            [
                judge.around(RNG, centre, radius * (1 - 1e-12), 300),
                judge.offset(centre, np.full(60, np.radians(radius)), np.linspace(0, 6.2, 60)),
            ]
        )
        inside = judge.distance(points[:, 0], points[:, 1], *centre) <= radius
        assert covered(Circle(*centre, radius), points[inside]).all()


def test_no_position_of_a_polygon_is_outside_its_ranges() -> None:
    for number in range(150):
        vertices = judge.random_polygon(RNG, largest=100 if number % 2 else 20)
        polygon = Polygon(tuple(map(tuple, vertices.tolist())))
        extent = float(judge.distance(*vertices[0], vertices[:, 0], vertices[:, 1]).max())
        points = np.concatenate(
            [judge.around(RNG, vertices[0], min(extent, 180), 300), judge.random_positions(RNG, 100), vertices]
        )
        inside = judge.in_polygon(points, vertices)
        assert covered(polygon, points[inside]).all()
        assert covered(polygon, vertices).all()


@pytest.mark.parametrize(
    "region",
    [Range(350, 10, -5, 5), Range(10, 20, 60, 80), Range(0, 360, -90, 90), Range(0, 1, 89, 90), Range(5, 5, 1, 1)],
)
def test_no_position_of_a_range_is_outside_its_ranges(region) -> None:
    width = (region.ra_max - region.ra_min) % 360 or (360 if region.ra_max > region.ra_min else 0)
    ra = (region.ra_min + RNG.uniform(0, 1, 3000) * width) % 360
    dec = RNG.uniform(region.dec_min, region.dec_max, 3000)
    assert covered(region, np.column_stack([ra, dec])).all()


@pytest.mark.parametrize("radius", [0.0003, 0.05, 1.0, 5.0, 30.0])
def test_ranges_are_few_and_hardly_larger_than_the_circle(radius) -> None:
    for centre in judge.random_positions(RNG, 50):
        ranges = INDEX.ranges(Circle(*centre, radius))
        cells = sum(high - low + 1 for low, high in ranges)
        area = cells / (12 * 4**ORDER) * 41252.96
        true = 41252.96 * np.sin(np.radians(radius / 2)) ** 2
        assert len(ranges) <= MAX_RANGES
        assert area < 2.6 * true


def test_a_polygon_is_covered_tighter_than_the_circle_around_it() -> None:
    strip = Polygon(((10, 0), (30, 0), (30, 1), (10, 1)))
    size = sum(high - low + 1 for low, high in INDEX.ranges(strip))
    around = sum(high - low + 1 for low, high in INDEX.ranges(bounding_circle(strip)))
    assert size < around / 2


def test_ranges_ascend_and_are_apart() -> None:
    for centre in judge.random_positions(RNG, 30):
        ranges = INDEX.ranges(Circle(*centre, 7.0))
        assert all(low <= high for low, high in ranges)
        assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(ranges))


@given(
    cells=st.lists(st.integers(0, 12 * 4**4 - 1), min_size=1, max_size=60, unique=True),
    most=st.integers(1, 8),
)
@settings(max_examples=200, deadline=None)
def test_merging_loses_no_cell_and_keeps_to_the_limit(cells, most) -> None:
    array = np.array(cells, dtype=np.int64)
    ranges = merged(array, np.full(array.size, 4), most)
    assert len(ranges) <= most
    shift = 2 * (ORDER - 4)
    for cell in cells:
        low, high = cell << shift, ((cell + 1) << shift) - 1
        assert any(start <= low and high <= end for start, end in ranges)


def test_the_whole_sky_is_one_range() -> None:
    assert INDEX.ranges(Circle(0, 0, 180)) == ((0, 12 * 4**ORDER - 1),)


def test_no_library_of_astronomy_is_imported_before_it_is_needed() -> None:
    import subprocess
    import sys

    code = "import gateway.sky.index, gateway.vo.adql, sys; print([m for m in ('astropy', 'cdshealpix', 'mocpy') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
