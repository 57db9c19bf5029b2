"""The polygon around an image holds its pixels, and little else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.imaging.footprint import TOLERANCE_PX, footprint
from gateway.imaging.plane import SkyPlane
from gateway.vo.regions import signed_area
from tests.sky import judge
from tests.support.images import PLANES, TPV, astropy_sky, plane, separation, sky_header


def ring(found: SkyPlane, distance_px: float):
    """Positions along the sides of an image, so many pixels outside of it."""
    ny, nx = found.shape
    d = distance_px
    across, along = np.linspace(-0.5 - d, nx - 0.5 + d, 41), np.linspace(-0.5 - d, ny - 0.5 + d, 41)
    low, high = np.full(41, -0.5 - d), [np.full(41, n - 0.5 + d) for n in (nx, ny)]
    x = np.concatenate([across, across, low, high[0]])
    return x, np.concatenate([low, high[1], along, along])


def check(found: SkyPlane) -> None:
    place = footprint(found)
    assert place.polygon is not None
    vertices = np.array(place.polygon.vertices)
    margin = 2 * TOLERANCE_PX
    inside = judge.in_polygon(np.column_stack(found.to_sky(*ring(found, -margin))), vertices)
    outside = judge.in_polygon(np.column_stack(found.to_sky(*ring(found, margin))), vertices)
    assert inside.all()
    assert not outside.any()
    assert signed_area(place.polygon) > 0  # counter-clockwise (OBS-14, DALI "Polygon")


@pytest.mark.parametrize("name", PLANES)
def test_a_footprint_follows_the_sides_of_the_image(name) -> None:
    check(plane(PLANES[name]))


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["TAN", "SIN", "ZEA", "ARC", "STG"]),
    ra=st.one_of(st.floats(0, 359.99), st.sampled_from([0.0, 1e-6, 359.999])),
    dec=st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0, 89.99])),
    scale=st.sampled_from([1e-5, 1e-3, 0.1, 1.0]),
    turn=st.floats(0, 360),
    mirror=st.sampled_from([1, -1]),
)
def test_footprints_are_right_all_over_the_sky(kind, ra, dec, scale, turn, mirror) -> None:
    header = sky_header(kind, shape=(30, 41), centre=(ra, dec), scale=scale, turn=turn)
    header["CD1_1"], header["CD2_1"] = header["CD1_1"] * mirror, header["CD2_1"] * mirror
    check(plane(header))


def test_straight_sides_need_four_vertices_and_bent_ones_more() -> None:
    straight, bent = footprint(plane(PLANES["TAN"])), footprint(plane(sky_header(scale=0.2, shape=(100, 100), **TPV)))
    assert straight.polygon is not None
    assert bent.polygon is not None
    assert len(straight.polygon.vertices) == 4
    assert 4 < len(bent.polygon.vertices) <= 4 * 32


@pytest.mark.parametrize("name", PLANES)
def test_centre_size_and_scale_are_those_of_the_image(name) -> None:
    """OBS: s_ra, s_dec, s_fov, s_pixel_scale."""
    found = plane(PLANES[name])
    ny, nx = found.shape
    place = footprint(found)
    middle = astropy_sky(PLANES[name], np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]))
    assert separation((place.ra, place.dec), (middle[0][0], middle[1][0])) < 1e-9
    x, y = ring(found, 0.0)
    ra, dec = astropy_sky(PLANES[name], x, y)
    radius = separation((np.full(x.size, place.ra), np.full(x.size, place.dec)), (ra, dec)).max()
    assert place.diameter == pytest.approx(2 * radius, rel=1e-6)
    assert place.pixel_scale == found.scale_deg * 3600


def test_an_image_of_one_pixel_has_a_footprint() -> None:
    check(plane(sky_header(shape=(1, 1))))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_pixels_off_the_sky_are_left_out_of_a_footprint(scale) -> None:
    found = plane(sky_header("SIN", shape=(80, 80), centre=(30.0, 40.0), scale=scale, CRPIX1=-10.0))
    place = footprint(found)
    assert place.polygon is not None
    assert signed_area(place.polygon) > 0
    x, y = np.meshgrid(np.arange(80.0), np.arange(80.0))
    ra, dec = found.to_sky(x.ravel(), y.ravel())
    points = np.column_stack([ra, dec])[np.isfinite(ra)]
    inside = judge.in_polygon(points, np.array(place.polygon.vertices))
    assert inside.mean() > 0.95


@pytest.mark.parametrize(
    "header",
    [
        sky_header("CAR", shape=(60, 120), centre=(0.0, 0.0), scale=3.0),
        sky_header("AIT", shape=(60, 120), centre=(40.0, 0.0), scale=2.9),
    ],
)
def test_an_image_beyond_a_hemisphere_has_no_polygon_but_samples_all_over_it(header) -> None:
    found = plane(header)
    place = footprint(found)
    assert place.polygon is None
    assert place.diameter > 178
    ny, nx = found.shape
    x, y = np.meshgrid(np.arange(nx), np.arange(ny))
    ra, dec = found.to_sky(x.ravel(), y.ravel())
    known = np.isfinite(ra)
    pixels, samples = judge.vectors(ra[known], dec[known]).astype(float), judge.vectors(*place.samples).astype(float)
    furthest = np.degrees(np.arccos(np.clip((pixels @ samples.T).max(axis=1), -1, 1))).max()
    assert furthest <= place.spacing


def test_an_image_of_a_whole_hemisphere_less_a_bit_has_its_polygon() -> None:
    check(plane(sky_header("ZEA", shape=(41, 41), centre=(77.0, -20.0), scale=2.5)))
