"""Every science image of a folder of real ones, cut in its middle and at an edge (GATEWAY_TEST_IMAGES)."""

import gzip
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from gateway.errors import DatasetError
from gateway.imaging.assemble import Piece, cut_header, fits_bytes
from gateway.imaging.footprint import footprint
from gateway.imaging.hdus import Hdu, read_pixels, scan
from gateway.imaging.plane import SkyPlane
from gateway.imaging.window import pixel_window
from gateway.storage.sources import source, unpacked
from gateway.vo.regions import Circle
from tests.support.images import astropy_sky, given_images, separation

FOLDER = os.environ.get("GATEWAY_TEST_IMAGES", "")
NAMES = sorted(path.name for path in Path(FOLDER).glob("*.fits*")) if FOLDER else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", NAMES or ["GATEWAY_TEST_IMAGES"])


def real(name: str) -> Path:
    return given_images() / name


def placed(name: str) -> tuple[bytes, list[tuple[int, SkyPlane, Hdu]]]:
    """Unpacked content of a file, and its images that have a place on the sky."""
    with unpacked(source(str(real(name)))) as file:
        records = scan(file)
        file.seek(0)
        content = file.read()
    found = []
    for record in records:
        if not record.is_image or len(Hdu(record).shape) < 2:
            continue
        try:
            found.append((record.number, SkyPlane.from_header(Hdu(record).header), Hdu(record)))
        except DatasetError as e:
            assert len(e.message) > 10  # noqa: PT017 - some have none, and say so
    return content, found


def box_of(hdu: Hdu, plane: SkyPlane, region: Circle) -> tuple[slice, ...]:
    window = pixel_window(plane, region)
    box = [slice(0, size) for size in hdu.shape]
    box[-1 - plane.lon_axis], box[-1 - plane.lat_axis] = slice(window.x0, window.x1), slice(window.y0, window.y1)
    if len(box) > 2 and box[0].stop > 100:  # some planes of a long cube
        box[0] = slice(100, 103)
    return tuple(box)


def test_cutouts_have_the_pixels_and_the_places_of_their_source(name) -> None:
    content, images = placed(name)
    if name == "l1448_13co_cube_equinox_zero.fits":
        assert not images
        return
    assert images
    with warnings.catch_warnings(), fits.open(io.BytesIO(content), do_not_scale_image_data=True) as original:
        warnings.simplefilter("ignore")
        for number, plane, hdu in images:
            ny, nx = plane.shape
            for x, y in ((nx / 2.0, ny / 2.0), (nx - 1.3, ny * 0.4)):
                ra, dec = plane.to_sky(x, y)
                if not np.isfinite(ra[0]):
                    continue
                region = Circle(float(ra[0]), float(dec[0]), min(7.3 * plane.scale_deg, 20.0))
                box = box_of(hdu, plane, region)
                pixels = read_pixels(io.BytesIO(content), hdu.record, box)
                expected = original[number].section[box]
                assert pixels.shape == expected.shape
                assert pixels.tobytes() == expected.astype(expected.dtype.newbyteorder(">")).tobytes()
                written = b"".join(fits_bytes([Piece(cut_header(hdu.header, box), pixels)]))
                check_places(hdu.header, written, plane, box)


def check_places(header: fits.Header, written: bytes, plane: SkyPlane, box) -> None:
    """Pixels of the cutout are where astropy puts them in the source, to a millionth of a pixel."""
    with fits.open(io.BytesIO(written), do_not_scale_image_data=True) as hdus:
        hdus.verify("exception")
        found = hdus[0].header
        width, height = box[-1 - plane.lon_axis], box[-1 - plane.lat_axis]
        x, y = (
            axis.ravel().astype(float)
            for axis in np.meshgrid(
                np.linspace(0, width.stop - width.start - 1, 4), np.linspace(0, height.stop - height.start - 1, 4)
            )
        )
        here = astropy_sky(found, x, y)
        there = astropy_sky(header, x + width.start, y + height.start)
        known = np.isfinite(there[0])
        assert np.array_equal(np.isfinite(here[0]), known)
        here, there = ((ra[known], dec[known]) for ra, dec in (here, there))
        assert (separation(here, there) <= 1e-6 * plane.scale_deg + 1e-12).all()


def test_planes_agree_with_astropy_and_find_their_pixels_again(name) -> None:
    for _, plane, hdu in placed(name)[1]:
        ny, nx = plane.shape
        x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, 12), np.linspace(0, ny - 1, 11)))
        ra, dec = plane.to_sky(x, y)
        known = np.isfinite(ra)
        expected = astropy_sky(hdu.header, x, y)
        assert separation((ra[known], dec[known]), (expected[0][known], expected[1][known])).max() < 1e-9
        found = plane.to_pixels(ra[known], dec[known])
        assert separation(plane.to_sky(*found), (ra[known], dec[known])).max() < 1e-5 * plane.scale_deg + 1e-10
        if plane.diameter_deg < 150:  # an image of all the sky shows its seam and its poles more than once
            assert np.hypot(found[0] - x[known], found[1] - y[known]).max() < 1e-5


def test_footprints_hold_the_middle_of_their_image(name) -> None:
    for _, plane, _ in placed(name)[1]:
        place = footprint(plane)
        ny, nx = plane.shape
        assert place.polygon is not None or plane.diameter_deg > 150
        middle = plane.to_sky((nx - 1) / 2, (ny - 1) / 2)
        assert separation((np.array([place.ra]), np.array([place.dec])), middle)[0] < 1e-9


def test_gzipped_files_have_the_records_of_the_files_inside() -> None:
    for path in given_images().glob("*.gz"):
        with unpacked(source(str(path))) as file, gzip.open(path) as plain, fits.open(plain) as hdus:
            records = scan(file)
            assert len(records) == len(hdus)
            assert [Hdu(record).shape for record in records if record.is_image] == [
                hdu.shape for hdu in hdus if hdu.is_image and hdu.shape
            ]
