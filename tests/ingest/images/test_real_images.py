"""Every real image, taken in or refused for a reason, and its row judged by astropy and by what is known of it.

``GATEWAY_TEST_IMAGES`` names their folder; they are no part of this repository.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_skycoord

from gateway.ingest.images import ImagesReport, Outcome, ingest_images
from tests.support.catalogs import Catalog
from tests.support.servers import Administrator

IMAGES = os.environ.get("GATEWAY_TEST_IMAGES")

pytestmark = pytest.mark.skipif(IMAGES is None, reason="GATEWAY_TEST_IMAGES names the folder of real images")

RULES = """
[companions]
mask = { replace = "_ooi_", by = "_ood_" }
weight = { replace = "_ooi_", by = "_oow_" }
[filters.OG590]
em_min = 5.9e-7
em_max = 7.0e-7
"""

REFUSED = {"l1448_13co_cube_equinox_zero.fits": "EQUINOX = 0 cannot be"}


class Taken:
    """The folder as a collection."""

    def __init__(self, catalog: Catalog, report: ImagesReport) -> None:
        self.catalog = catalog
        self.report = report

    def row(self, name: str, columns: str) -> tuple[Any, ...]:
        rows = self.catalog.fetch(
            f"SELECT {columns} FROM gateway_images.dataset d JOIN gateway_images.file f ON f.id = d.file_id"
            " WHERE f.path LIKE $1 || '%'",
            name,
        )
        assert len(rows) == 1, name
        return rows[0]


@pytest.fixture(scope="module")
def taken(
    database_server: Administrator, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Taken]:
    url = database_server.create(database_template)
    rules = tmp_path_factory.mktemp("rules") / "rules.toml"
    rules.write_text(RULES)
    assert IMAGES is not None
    report = ingest_images([IMAGES], collection="real", admin_url=url, authority="example.org", describe=rules)
    yield Taken(Catalog(url), report)
    database_server.drop(url)


def test_all_are_taken_but_one(taken: Taken) -> None:
    counts = {outcome: taken.report.count(outcome) for outcome in (Outcome.ADDED, Outcome.COMPANION, Outcome.REFUSED)}
    assert counts == {Outcome.ADDED: 18, Outcome.COMPANION: 2, Outcome.REFUSED: 1}
    reasons = {file.path: file.notes for file in taken.report.files if file.outcome is Outcome.REFUSED}
    assert reasons.keys() == REFUSED.keys()
    assert all(REFUSED[path] in notes[0] for path, notes in reasons.items())


def test_planes_are_found_in_the_file_and_beside_it(taken: Taken) -> None:
    import json

    def planes(name: str) -> list[tuple[str, str, int]]:
        return [(p["role"], p["path"][:5], p["hdu"]) for p in json.loads(taken.row(name, "planes")[0])]

    assert planes("rubin") == [("mask", "rubin", 2), ("variance", "rubin", 3)]
    assert planes("hsc") == [("mask", "hsc_c", 2), ("variance", "hsc_c", 3)]
    assert planes("muse_hdfs") == [("variance", "muse_", 2), ("mask", "muse_", 3)]
    assert planes("muse_a478") == [("variance", "muse_", 2), ("mask", "muse_", 3)]
    assert planes("decam") == [("mask", "decam", 1), ("weight", "decam", 1)]


def science(path: Path) -> tuple[fits.Header, tuple[int, int]]:
    """Header and size of the first image that has coordinates."""
    with fits.open(path) as hdus:
        for hdu in hdus:
            if hdu.is_image and hdu.header["NAXIS"] >= 2 and "CTYPE1" in hdu.header:
                header = hdu.header.copy()
                if (
                    header.get("INHERIT") and "RADESYS" not in header
                ):  # DECam says its frame once, in the primary header
                    header["RADESYS"], header["EQUINOX"] = hdus[0].header["RADESYS"], hdus[0].header["EQUINOX"]
                return header, hdu.shape[-2:]
    raise AssertionError(path)


@pytest.mark.filterwarnings("ignore")
def test_footprints_are_where_astropy_puts_the_corners(taken: Taken) -> None:
    """OBS-14: s_ra, s_dec and s_region are ICRS whatever the frame of the file."""
    assert IMAGES is not None
    judged = 0
    for file in taken.report.files:
        if file.outcome is not Outcome.ADDED or file.path.startswith("drao"):
            continue
        header, (ny, nx) = science(Path(IMAGES) / file.path)
        wcs = WCS(header).celestial
        x, y = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5]), np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
        corners = pixel_to_skycoord(x, y, wcs).icrs
        centre = pixel_to_skycoord((nx - 1) / 2, (ny - 1) / 2, wcs).icrs
        ra, dec, region, scale, fov = taken.row(file.path, "s_ra, s_dec, s_region, s_pixel_scale, s_fov")
        pixel = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * u.deg
        assert SkyCoord(ra, dec, unit="deg").separation(centre) < 1e-3 * pixel, file.path
        vertices = SkyCoord(region[::2], region[1::2], unit="deg")
        # every corner of the image is a vertex
        distances = corners[:, None].separation(vertices[None, :]).min(axis=1)
        assert (distances < 1e-3 * pixel).all(), file.path
        # and no vertex is farther from the centre than the circle of s_fov
        assert vertices.separation(centre).max() <= fov / 2 * u.deg * (1 + 1e-6), file.path
        assert scale == pytest.approx(pixel.to_value("arcsec"), rel=0.02), file.path
        judged += 1
    assert judged == 17


def test_the_whole_sky_has_no_polygon_but_cells(taken: Taken) -> None:
    region, fov, cells = taken.row("drao", "s_region, s_fov, array_length(cells, 1)")
    assert region is None
    assert fov > 300
    assert cells > 100


def mjd(text: str) -> float:
    return float(Time(text, scale="utc").mjd)


@pytest.mark.parametrize(
    ("name", "t_min", "t_max", "t_exptime"),
    [
        ("decam", mjd("2017-11-13T06:03:40.037"), mjd("2017-11-13T06:04:25.037"), 45.0),
        ("muse_a478", mjd("2014-12-08T02:48:56.798"), mjd("2014-12-08T03:03:56.798"), 900.0),
        ("ukidss", mjd("2007-10-11T13:12:05.2"), mjd("2007-10-11T13:12:16.712"), 10.0),
        ("dss", mjd("1990-12-22T13:49:00"), mjd("1990-12-22T14:54:00"), 65 * 60.0),  # its card is in minutes
        ("fermi", mjd("2008-08-04T15:43:36"), mjd("2015-08-02T23:13:16"), None),  # UTC though TIMESYS says TT
        ("spitzer", None, None, 1.2),
        ("hsc", None, None, None),  # its exposure of 0 says that it is not known
        ("rubin", None, None, None),
    ],
)
def test_times_are_those_of_the_observations(
    taken: Taken, name: str, t_min: float | None, t_max: float | None, t_exptime: float | None
) -> None:
    found = taken.row(name, "t_min, t_max, t_exptime")
    for one, expected in zip(found, (t_min, t_max, t_exptime), strict=True):
        assert one == (None if expected is None else pytest.approx(expected, abs=6e-6)), name


def vacuum(air_m: float) -> float:
    """Ciddor's relation as Morton (2000) writes it, by iteration: independent of wcslib's."""
    found = air_m
    for _ in range(10):
        s = (1e-6 / found) ** 2  # 1/um^2
        found = air_m * (1 + 8.34254e-5 + 2.406147e-2 / (130 - s) + 1.5998e-4 / (38.9 - s))
    return found


def test_air_wavelengths_become_vacuum(taken: Taken) -> None:
    """OBS-14: em_min and em_max are in vacuum; MUSE counts in air, and the difference is 1.3 to 2.5 Angstrom."""
    low, high, size = taken.row("muse_a478", "em_min, em_max, em_xel")
    assert (low, high) == pytest.approx((vacuum(4749.265625e-10), vacuum(9350.515625e-10)), rel=1e-7)
    assert size == 3681


@pytest.mark.parametrize(
    ("name", "em_min", "em_max"),
    [
        ("decam", 5.675e-7, 7.155e-7),  # "r DECam SDSS c0002 6415.0 1480.0"
        ("a370", 7.346e-7, 9.296e-7),  # "I 8321/1950 A  #1808"
        ("derived_a370", 7.346e-7, 9.296e-7),
        ("ukidss", 2.03e-6, 2.38e-6),  # K
        ("dss", 5.9e-7, 7.0e-7),  # from the rules
        ("fermi", None, None),  # bins are logarithmic, the WCS is wrong
        ("l1448", None, None),  # no rest frequency
        ("derived_pybdsf", None, None),  # 23.5 Hz
        ("wise", None, None),
    ],
)
def test_bands_are_those_of_the_filters(taken: Taken, name: str, em_min: float | None, em_max: float | None) -> None:
    found = taken.row(name, "em_min, em_max")
    assert found == ((None, None) if em_min is None else pytest.approx((em_min, em_max), rel=1e-9))


@pytest.mark.parametrize("name", ["fermi", "l1448", "derived_pybdsf"])
def test_wavelengths_that_cannot_be_are_noted(taken: Taken, name: str) -> None:
    (file,) = [file for file in taken.report.files if file.path.startswith(name) and file.outcome is Outcome.ADDED]
    assert any("gives no credible wavelengths: set em_min and em_max" in note for note in file.notes)


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        ("derived_pybdsf", "pol_states, pol_xel, dataproduct_type", ("/I/Q/U/V/", 4, "cube")),
        ("derived_pybdsf", "s_resolution", (54.0,)),  # BMAJ = BMIN = 0.015 degrees
        ("ukidss", "round((s_resolution * 1000)::numeric)::int", (767,)),  # 3.806582 pixels
        ("muse_a478", "dataproduct_type, instrument_name", ("cube", "MUSE")),
        ("decam", "dataproduct_type, obs_id, target_name", ("image", "ct4m20171113t060340", "DECaLS_26467_r")),
        ("rubin", "o_unit, o_ucd", ("nJy", "phot.flux.density")),
        ("a370", "s_xel1, s_xel2", (1909, 1797)),
    ],
)
def test_what_else_headers_say(taken: Taken, name: str, columns: str, expected: tuple[Any, ...]) -> None:
    assert taken.row(name, columns) == expected


def test_again_changes_nothing(taken: Taken) -> None:
    assert IMAGES is not None
    report = ingest_images([IMAGES], collection="real", admin_url=taken.catalog.url, authority="example.org")
    assert (report.count(Outcome.UNCHANGED), report.looked_at) == (20, 1)
