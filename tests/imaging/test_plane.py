"""Pixels to ICRS and back, judged by astropy's coordinates of the whole header."""

import numpy as np
import pytest
from astropy.io import fits

from gateway.errors import DatasetError
from gateway.imaging.plane import SkyPlane
from tests.support.images import PLANES, astropy_sky, plane, separation, sky_header


def corners_and_more(shape):
    ny, nx = shape
    x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, 9), np.linspace(-0.5, ny - 0.5, 7))
    return x.ravel(), y.ravel()


@pytest.mark.parametrize("name", PLANES)
def test_positions_of_pixels_are_those_of_astropy(name) -> None:
    found = plane(PLANES[name])
    x, y = corners_and_more(found.shape)
    ra, dec = found.to_sky(x, y)
    assert ((ra >= 0) & (ra < 360)).all()
    assert separation((ra, dec), astropy_sky(PLANES[name], x, y)).max() < 1e-9


@pytest.mark.parametrize("name", PLANES)
def test_pixels_are_found_again_from_positions_of_astropy(name) -> None:
    found = plane(PLANES[name])
    x, y = corners_and_more(found.shape)
    again = found.to_pixels(*astropy_sky(PLANES[name], x, y))
    tolerance = 1e-9 / found.scale_deg + 1e-7
    assert np.abs(np.array(again) - (x, y)).max() < tolerance


def test_a_declination_along_the_first_axis_turns_the_shape() -> None:
    found = plane(PLANES["swapped"])
    assert (found.lon_axis, found.lat_axis, found.shape) == (1, 0, (50, 40))


def test_a_cube_with_the_sky_last_has_its_axes() -> None:
    found = plane(PLANES["cube with the sky last"])
    assert (found.lon_axis, found.lat_axis, found.shape) == (1, 2, (50, 40))


def test_no_frame_means_icrs_and_fk4_is_moved_by_precession() -> None:
    icrs, fk4 = plane(PLANES["no RADESYS"]), plane(PLANES["FK4"])
    assert separation(icrs.to_sky(24.5, 19.5), (150.0, 2.2))[0] < 1e-9
    assert 0.5 < separation(fk4.to_sky(24.5, 19.5), (150.0, 2.2))[0] < 0.8


@pytest.mark.parametrize("equinox", [0.0, 1.0, 20000.0, -2000.0])
def test_a_bogus_equinox_is_refused(equinox) -> None:
    with pytest.raises(DatasetError, match=r"EQUINOX = .* cannot be"):
        plane(sky_header(RADESYS=None, EQUINOX=equinox))


def test_the_equinox_of_a_frame_that_has_none_does_not_matter() -> None:
    found = plane(sky_header(EQUINOX=0.0))  # RADESYS = ICRS
    assert separation(found.to_sky(24.5, 19.5), (150.0, 2.2))[0] < 1e-9


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"CTYPE1": None, "CTYPE2": None}, "no celestial coordinates"),
        ({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, "no celestial coordinates"),
        ({"CTYPE2": "FREQ"}, "coordinates"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "coordinates"),
        ({"CTYPE2": "DEC--SIN"}, "coordinates"),
        ({"CD1_1": 0.01, "CD1_2": 0.01, "CD2_1": 0.01, "CD2_2": 0.01}, "coordinates"),
        ({"CUNIT1": "furlong"}, "coordinates"),
        ({"CUNIT1": "m"}, "coordinates"),
        ({"CRVAL2": 95.0}, "coordinates"),
        ({"A_ORDER": 2, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}, "coordinates"),
        ({"CPDIS1": "LOOKUP", "DP1": "EXTVER: 1"}, "coordinates"),
        ({"NAXIS1": 0}, "no pixels"),
    ],
    ids=str,
)
def test_coordinates_that_cannot_be_used_are_refused_in_one_clear_line(cards, said) -> None:
    with pytest.raises(DatasetError, match=said) as error:
        plane(sky_header(**cards))
    assert "\n" not in error.value.message
    assert 10 < len(error.value.message) < 300


def test_a_header_without_any_coordinates_is_refused() -> None:
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 5), ("NAXIS2", 5)])
    with pytest.raises(DatasetError, match="no celestial coordinates"):
        SkyPlane.from_header(header)


def test_pixels_off_the_sky_have_no_position() -> None:
    found = plane(sky_header("AIT", shape=(90, 180), centre=(0.0, 0.0), scale=2.0))
    ra, dec = found.to_sky([0.0, 89.5], [0.0, 44.5])
    assert np.isnan([ra[0], dec[0]]).all()
    assert separation((ra[1:], dec[1:]), ([0.0], [0.0]))[0] < 1e-9


def test_positions_behind_a_tangent_plane_have_no_pixel() -> None:
    found = plane(sky_header())
    x, y = found.to_pixels([330.0, 150.0], [-2.2, 2.2])
    assert np.isnan([x[0], y[0]]).all()
    assert (x[1], y[1]) == pytest.approx((24.5, 19.5), abs=1e-9)


@pytest.mark.parametrize("name", ["TAN", "SIP", "CAR", "ZEA", "swapped", "IQUV", "Galactic", "arcseconds"])
def test_the_size_of_a_pixel_is_the_root_of_its_area(name) -> None:
    found = plane(PLANES[name])
    ny, nx = found.shape
    x, y = np.array([-0.5, 0.5, 0.5, -0.5]) + (nx - 1) // 2, np.array([-0.5, -0.5, 0.5, 0.5]) + (ny - 1) // 2
    ra, dec = map(np.radians, astropy_sky(PLANES[name], x, y))
    v = np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    area = (np.linalg.norm(np.cross(v[1] - v[0], v[3] - v[0])) + np.linalg.norm(np.cross(v[1] - v[2], v[3] - v[2]))) / 2
    assert found.scale_deg == pytest.approx(np.degrees(np.sqrt(area)), rel=1e-3)


@pytest.mark.parametrize("name", PLANES)
def test_a_pixel_is_given_only_to_positions_that_it_shows(name) -> None:
    """Polynomials and projections fold the rest of the sky over the image: that has no pixels."""
    found = plane(PLANES[name])
    rng = np.random.default_rng(8)
    ra, dec = rng.uniform(0, 360, 2000), np.degrees(np.arcsin(rng.uniform(-1, 1, 2000)))
    x, y = found.to_pixels(ra, dec)
    known = np.isfinite(x) & np.isfinite(y)
    if known.any():
        assert separation(found.to_sky(x[known], y[known]), (ra[known], dec[known])).max() < 2e-3
