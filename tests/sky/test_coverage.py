"""Coverage maps of regions, against brute force and mocpy."""

import mocpy
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Latitude, Longitude

from gateway.sky.coverage import region_moc
from gateway.sky.index import order29
from gateway.vo.regions import Circle, Polygon, RegionError
from tests.sky import judge


def held(ranges, cells: np.ndarray) -> np.ndarray:
    lows, highs = np.array(ranges).T
    place = np.searchsorted(lows, cells, side="right") - 1
    return (place >= 0) & (cells <= highs[place])


def area(ranges) -> float:
    return sum(high - low + 1 for low, high in ranges) / (12 * 4**29)


CENTRES = [(10.0, 20.0), (0.0, 90.0), (359.999, -60.0), (45.0, 41.8103149), (123.0, -89.99)]


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize(("radius", "order"), [(0.0, 29), (1 / 3600, 20), (0.5, 10), (5.0, 9), (80.0, 6), (170.0, 5)])
def test_moc1_all_of_a_circle_is_in_its_cells_and_little_else(centre, radius, order) -> None:
    rng = np.random.default_rng(5)
    ranges = region_moc(Circle(*centre, radius), order)
    angle = np.radians(radius) * np.sqrt(rng.uniform(0, 1, 4000))
    inside = judge.offset(centre, angle, rng.uniform(0, 2 * np.pi, 4000))
    assert held(ranges, order29(*inside.T)).all()
    cell = 58.6 / 2**order
    assert all(low % 4 ** (29 - order) == 0 and (high + 1) % 4 ** (29 - order) == 0 for low, high in ranges)
    grown = np.radians(min(radius + 2 * cell, 180))
    assert area(ranges) <= (1 - np.cos(grown)) / 2 + 1e-15


def test_moc1_a_circle_is_covered_as_by_mocpy() -> None:
    for ra, dec, radius, order in [(10, 20, 3, 9), (200, -70, 0.2, 12), (0, 0, 20, 7)]:
        ours = mocpy.MOC.from_depth29_ranges(
            11 + 18,
            ranges=np.array(region_moc(Circle(ra, dec, radius), order), dtype=np.uint64)
            + np.array([0, 1], dtype=np.uint64),
        )
        theirs = mocpy.MOC.from_cone(
            Longitude(ra * u.deg), Latitude(dec * u.deg), radius=radius * u.deg, max_depth=order, delta_depth=4
        )
        both = ours.intersection(theirs).sky_fraction
        assert both / ours.sky_fraction > 0.97
        assert both / theirs.sky_fraction > 0.999


@pytest.mark.parametrize("seed", range(6))
def test_moc1_all_of_a_polygon_is_in_its_cells_and_little_else(seed) -> None:
    rng = np.random.default_rng(seed)
    outline = judge.random_polygon(rng, largest=50.0, smallest=0.5)
    extent = float(judge.distance(*outline[0], outline[:, 0], outline[:, 1]).max())
    order = int(np.clip(np.log2(58.6 * 30 / extent), 3, 12))
    ranges = region_moc(Polygon(tuple((float(a), float(b)) for a, b in outline)), order)
    points = np.concatenate([judge.around(rng, outline[0], extent, 3000), outline])
    inside = judge.in_polygon(points, outline) | (judge.rim_distance(points, outline) < 1e-12)
    found = held(ranges, order29(*points.T))
    assert found[inside].all()
    far = ~inside & (judge.rim_distance(points, outline) > 2.5 * 58.6 / 2**order)
    assert not found[far].any()
    assert far.any()


def test_a_region_of_too_many_cells_is_refused() -> None:
    with pytest.raises(RegionError, match="lower order"):
        region_moc(Circle(10, 20, 30), 20)
    with pytest.raises(RegionError, match="hemisphere"):
        region_moc(Polygon(((0, 0), (120, 0), (240, 0))), 5)
