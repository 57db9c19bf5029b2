"""The box of pixels of a region, judged by brute force: a net of positions on every pixel of the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import NoOverlapError
from gateway.imaging.window import Window, pixel_window, whole
from gateway.vo.regions import Circle, Polygon, Range
from tests.sky import judge
from tests.support.images import PLANES, SIP, TPV, plane, sky_header

NET = 5
"""Positions on each pixel, along each axis."""


def net(found, per_pixel=NET):
    """Positions of pixels: their corners, and some between."""
    ny, nx = found.shape
    x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, nx * per_pixel + 1), np.linspace(-0.5, ny - 0.5, ny * per_pixel + 1))
    return x.ravel(), y.ravel()


def is_inside(region, points, margin):
    """Which positions are in a region that is grown by a margin, degrees."""
    ra, dec = points.T
    match region:
        case Circle():
            return judge.all_distances(points, region.ra, region.dec) <= region.radius + margin
        case Polygon():
            vertices = np.array(region.vertices)
            is_in = judge.in_polygon(points, vertices)
            if margin > 0:
                is_in[~is_in] = judge.rim_distance(points[~is_in], vertices) <= margin
            return is_in
        case Range():
            east = margin / np.maximum(np.cos(np.radians(dec)), 1e-9)
            width = 360 if region.ra_max - region.ra_min == 360 else (region.ra_max - region.ra_min) % 360
            is_between = (ra - region.ra_min + east) % 360 <= width + 2 * east
            return is_between & (dec >= region.dec_min - margin) & (dec <= region.dec_max + margin)


def brute(found, region, margin_px, per_pixel=NET):
    """First and last net position, in pixels, inside a region: x0, x1, y0, y1; ``None`` if there is none."""
    x, y = net(found, per_pixel)
    points = np.column_stack(found.to_sky(x, y))
    points, x, y = points[(known := np.isfinite(points[:, 0]))], x[known], y[known]
    keep = is_inside(region, points, margin_px * found.scale_deg)
    return (x[keep].min(), x[keep].max(), y[keep].min(), y[keep].max()) if keep.any() else None


def box(low, high, size):
    """Pixels that positions along an axis touch; at the line between two pixels, either is right."""
    return max(0, int(np.floor(low + 0.5 + 1e-6))), min(size, int(np.ceil(high + 0.5 - 1e-6)))


def check(found, region, *, per_pixel=NET, margin_px=None):
    """Compare the window of a region with brute force: no less than the net shows, no more than a margin allows."""
    ny, nx = found.shape
    most = brute(found, region, 1.5 / per_pixel if margin_px is None else margin_px, per_pixel)
    least = brute(found, region, 0.0, per_pixel)
    try:
        window = pixel_window(found, region)
    except NoOverlapError:
        assert least is None
        return None
    assert most is not None, window
    assert 0 <= window.x0 < window.x1 <= nx
    assert 0 <= window.y0 < window.y1 <= ny
    (x0, x1), (y0, y1) = box(*most[:2], nx), box(*most[2:], ny)
    assert x0 <= window.x0, (window, most)
    assert window.x1 <= x1, (window, most)
    assert y0 <= window.y0, (window, most)
    assert window.y1 <= y1, (window, most)
    if least is not None:
        (x0, x1), (y0, y1) = box(*least[:2], nx), box(*least[2:], ny)
        assert window.x0 <= x0, (window, least)
        assert window.x1 >= x1, (window, least)
        assert window.y0 <= y0, (window, least)
        assert window.y1 >= y1, (window, least)
    return window


@pytest.mark.parametrize("name", PLANES)
def test_the_window_of_a_circle_polygon_and_range_is_that_of_brute_force(name) -> None:
    found = plane(PLANES[name])
    ny, nx = found.shape
    for x, y, size in ((nx / 2, ny / 3, 4.3), (nx - 2.2, 3.3, 6.1), (-1.5, ny / 2, 4.0)):
        ra, dec = (float(value[0]) for value in found.to_sky(x, y))
        assert check(found, Circle(ra, dec, size * found.scale_deg), per_pixel=3) is not None
    corner = judge.offset((ra, dec), np.radians(size * found.scale_deg) * np.ones(3), np.array([0.3, 2.0, 4.5]))
    assert check(found, Polygon(tuple(map(tuple, corner.tolist()))), per_pixel=2) is not None
    half = size * found.scale_deg
    east = min(half / max(np.cos(np.radians(dec)), 1e-3), 170.0)
    low, high = max(dec - half, -90.0), min(dec + half, 90.0)
    assert check(found, Range((ra - east) % 360, (ra + east) % 360, low, high), per_pixel=3) is not None


IMAGES = st.builds(
    lambda kind, ra, dec, scale, turn, more: sky_header(
        kind, shape=(9, 12), centre=(ra, dec), scale=scale, turn=turn, **(more if kind == "TAN" else {})
    ),
    kind=st.sampled_from(["TAN", "SIN", "ZEA", "STG", "ARC"]),
    ra=st.one_of(st.floats(0, 359.999), st.sampled_from([0.0, 1e-7, 359.99])),
    dec=st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 89.99, 0.0])),
    scale=st.sampled_from([2e-5, 1e-3, 0.02, 0.4]),
    turn=st.floats(0, 360),
    more=st.sampled_from([{}, SIP]),
)


@settings(max_examples=50, deadline=None)
@given(image=IMAGES, x=st.floats(-4, 15), y=st.floats(-4, 13), radius=st.floats(0.05, 14))
def test_any_circle_on_any_image_agrees_with_brute_force(image, x, y, radius) -> None:
    found = plane(image)
    ra, dec = (float(value[0]) for value in found.to_sky(x, y))
    check(found, Circle(ra, dec, min(radius * found.scale_deg, 90.0)))


@settings(max_examples=25, deadline=None)
@given(image=IMAGES, x=st.floats(-4, 15), y=st.floats(-4, 13), seed=st.integers(0, 10**6), size=st.floats(0.3, 300))
def test_any_polygon_on_any_image_agrees_with_brute_force(image, x, y, seed, size) -> None:
    found = plane(image)
    rng = np.random.default_rng(seed)
    centre = [float(value[0]) for value in found.to_sky(x, y)]
    count = int(rng.integers(3, 8))
    azimuth = np.sort((np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count)
    reach = np.radians(min(size * found.scale_deg, 60.0)) * rng.uniform(0.3, 1.0, count)
    check(found, Polygon(tuple(map(tuple, judge.offset(centre, reach, azimuth).tolist()))))


@settings(max_examples=40, deadline=None)
@given(image=IMAGES, x=st.floats(-4, 15), y=st.floats(-4, 13), width=st.floats(0.1, 40), height=st.floats(0.1, 40))
def test_any_range_on_any_image_agrees_with_brute_force(image, x, y, width, height) -> None:
    found = plane(image)
    ra, dec = (float(value[0]) for value in found.to_sky(x, y))
    half = height / 2 * found.scale_deg
    east = min(width / 2 * found.scale_deg / max(np.cos(np.radians(dec)), 1e-6), 180.0)
    bounds = (0.0, 360.0) if east == 180 else ((ra - east) % 360, (ra + east) % 360)
    check(found, Range(*bounds, max(dec - half, -90.0), min(dec + half, 90.0)))


@pytest.mark.parametrize("name", ["TAN", "SIP", "TPV", "FK4", "swapped"])
def test_a_circle_smaller_than_a_pixel_is_that_pixel(name) -> None:
    found = plane(PLANES[name])
    ra, dec = (float(value[0]) for value in found.to_sky(17.3, 8.8))
    assert pixel_window(found, Circle(ra, dec, found.scale_deg / 1000)) == Window(17, 18, 9, 10)
    assert pixel_window(found, Circle(ra, dec, 0.0)) == Window(17, 18, 9, 10)


def test_a_circle_on_the_line_between_pixels_is_both() -> None:
    found = plane(PLANES["TAN"])
    ra, dec = (float(value[0]) for value in found.to_sky(17.5, 8.0))
    assert pixel_window(found, Circle(ra, dec, found.scale_deg / 100)) == Window(17, 19, 8, 9)


@pytest.mark.parametrize("radius", [5.0, 60.0, 100.0, 180.0])
@pytest.mark.parametrize("name", ["TAN", "SIP", "TPV", "SIN", "CAR", "Galactic"])
def test_a_region_that_holds_the_image_is_reduced_to_the_image(name, radius) -> None:
    """SODA-5: what exceeds the data is reduced to the data."""
    found = plane(PLANES[name])
    ra, dec = (float(value[0]) for value in found.to_sky(20, 20))
    reach = max(radius, 30.0 if found.scale_deg > 0.1 else 0.0)
    assert pixel_window(found, Circle(ra, dec, reach)) == whole(found)
    assert pixel_window(found, Range(0.0, 360.0, -90.0, 90.0)) == whole(found)


@pytest.mark.parametrize("name", PLANES)
def test_a_region_elsewhere_has_no_overlap(name) -> None:
    """SODA-12: no overlap of the region and the data."""
    found = plane(PLANES[name])
    ra, dec = (float(value[0]) for value in found.to_sky(20, 20))
    away = (ra + 180) % 360, -dec
    for region in (
        Circle(*away, 20.0),
        Circle(*away, 1e-5),
        Polygon(tuple(map(tuple, judge.offset(away, np.full(3, 0.2), np.array([0, 2, 4])).tolist()))),
        Range((away[0] - 10) % 360, (away[0] + 10) % 360, max(away[1] - 5, -90), min(away[1] + 5, 90)),
    ):
        with pytest.raises(NoOverlapError):
            pixel_window(found, region)


@pytest.mark.parametrize("gap", [0.01, 0.4])
def test_a_circle_just_beside_the_image_has_no_overlap_and_one_that_touches_has(gap) -> None:
    found = plane(sky_header(turn=20.0))
    ra, dec = (float(value[0]) for value in found.to_sky(-0.5 - 5.0, 19.5))
    with pytest.raises(NoOverlapError):
        pixel_window(found, Circle(ra, dec, (5.0 - gap) * found.scale_deg))
    window = pixel_window(found, Circle(ra, dec, (5.0 + gap) * found.scale_deg))
    assert (window.x0, window.x1) == (0, 1)


@pytest.mark.parametrize("dec_max", [80.0, 2.2998])
def test_a_strip_thinner_than_a_pixel_is_found_however_long_it_is(dec_max) -> None:
    found = plane(sky_header(scale=1e-3, shape=(20, 25), centre=(150.0, 2.295)))
    strip = Range(150.0001, 150.00022, -80.0, dec_max)
    window = check(found, strip, per_pixel=21)
    assert window is not None
    assert window.x1 - window.x0 == 1
    assert (window.y0, window.y1) == (0, 20 if dec_max == 80 else 15)


def test_a_needle_across_the_sky_is_found_on_a_small_image() -> None:
    found = plane(sky_header(scale=1e-4, centre=(150.0, 0.0)))
    needle = Polygon(((100.0, 0.0), (200.0, 0.00001), (200.0, -0.00001)))
    window = pixel_window(found, needle)
    assert (window.x0, window.x1, window.y0, window.y1) == (0, 50, 19, 21)


def test_the_rim_of_a_huge_circle_is_cut_to_the_pixel() -> None:
    found = plane(sky_header(scale=1e-4, centre=(150.0, 0.0)))
    window = check(found, Circle(90.0, 0.0, 60.00003), per_pixel=9)
    assert window is not None
    assert (window.x0, window.x1) == (24, 50)


ALL_SKY = {
    "CAR": sky_header("CAR", shape=(60, 120), centre=(0.0, 0.0), scale=3.0),
    "CAR about 180": sky_header("CAR", shape=(60, 120), centre=(180.0, 0.0), scale=3.0),
    "one column too many": sky_header("CAR", shape=(61, 121), centre=(0.0, 0.0), scale=3.0, lon="GLON", lat="GLAT"),
    "AIT": sky_header("AIT", shape=(60, 120), centre=(40.0, 0.0), scale=2.9),
    "MOL": sky_header("MOL", shape=(60, 120), centre=(0.0, 0.0), scale=2.9),
    "SIN": sky_header("SIN", shape=(60, 60), centre=(10.0, 50.0), scale=2.0),
    "beyond the pole": sky_header("CAR", shape=(60, 40), centre=(100.0, 0.0), scale=1.0, CRPIX2=-60.0),
}


@pytest.mark.parametrize("name", ALL_SKY)
@pytest.mark.parametrize(
    "region",
    [
        Circle(0.0, 0.0, 10.0),
        Circle(180.0, 3.0, 7.5),
        Circle(100.0, 88.0, 5.0),
        Circle(30.0, -90.0, 4.0),
        Circle(45.0, 45.0, 0.01),
        Range(350.0, 10.0, -20.0, 20.0),
        Range(0.0, 360.0, 70.0, 90.0),
        Range(0.0, 360.0, -2.0, 2.0),
        Polygon(((350.0, -10.0), (10.0, -10.0), (10.0, 10.0), (350.0, 10.0))),
        Polygon(((0.0, 80.0), (120.0, 80.0), (240.0, 80.0))),
    ],
    ids=str,
)
def test_images_of_all_the_sky_agree_with_brute_force(name, region) -> None:
    # near the end of a projection a pixel shows many times the sky of the middle one
    found = plane(ALL_SKY[name])
    check(found, region, per_pixel=3, margin_px=8 if name == "SIN" else 2)


def test_a_cutout_of_a_large_distorted_image_takes_no_longer_than_a_small_one() -> None:
    found = plane(sky_header(shape=(20_000, 20_000), scale=5e-5, **TPV))
    asked = []
    to_sky, to_pixels = type(found).to_sky, type(found).to_pixels
    ra, dec = (float(value[0]) for value in found.to_sky(7000.2, 900.7))

    class Counting(type(found)):
        def to_sky(self, x, y):
            asked.append(np.size(x))
            return to_sky(self, x, y)

        def to_pixels(self, ra, dec):
            asked.append(np.size(ra))
            return to_pixels(self, ra, dec)

    counting = Counting(found.wcs, found.lon_axis, found.lat_axis, found.shape)
    window = pixel_window(counting, Circle(ra, dec, 500 * found.scale_deg))
    assert (window.x0 + window.x1) / 2 == pytest.approx(7000.7, abs=6)
    assert sum(asked) < 200_000


@pytest.mark.parametrize("more", [{}, TPV, SIP], ids=["TAN", "TPV", "SIP"])
def test_the_extent_of_a_large_circle_is_right_to_the_pixel(more) -> None:
    shrunk = {
        key: value / 1e4 if key[:2] in {"A_", "B_"} and "ORDER" not in key else value for key, value in more.items()
    }
    header = sky_header(shape=(4000, 4000), scale=1e-4, turn=36.56, **shrunk)  # extremes between the first pieces
    found = plane(header)
    ra, dec = (float(value[0]) for value in found.to_sky(2000.2, 1900.7))
    radius = 1500 * found.scale_deg
    rim = judge.offset((ra, dec), np.full(20_000, np.radians(radius)), np.linspace(0, 2 * np.pi, 20_000))
    x, y = found.to_pixels(*rim.T)
    (x0, x1), (y0, y1) = ((round(axis.min()), round(axis.max()) + 1) for axis in (x, y))
    assert pixel_window(found, Circle(ra, dec, radius)) == Window(x0, x1, y0, y1)
