"""Times, exposures and widths as headers spell them."""

import math
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from gateway.ingest.images.headers import seconds
from gateway.ingest.images.inspect import inspect
from gateway.ingest.images.progenitors import Progenitors
from gateway.ingest.images.rules import Rules
from gateway.ingest.images.times import times
from tests.ingest.images.builders import image, primary, sky, write


def header(**cards: Any) -> fits.Header:
    found = fits.Header()
    for keyword, value in cards.items():
        found[keyword.replace("_", "-")] = value
    return found


@pytest.mark.parametrize(
    ("cards", "t_min", "t_max", "t_exptime"),
    [
        ({"MJD_OBS": 58_000.5, "EXPTIME": 864.0}, 58_000.5, 58_000.51, 864.0),
        ({"EXPTIME": (864.0, "[s] open")}, None, None, 864.0),
        (
            {"MJD_OBS": 58_000.5, "EXPOSURE": (65.0, "Observation: Exposure Minutes")},
            58_000.5,
            58_000.5 + 65 / 1440,
            3900,
        ),
        ({"EXPOSURE": (65.0, "Exposure time (minutes)")}, None, None, 3900.0),
        ({"EXPTIME": (0.5, "[h]")}, None, None, 1800.0),
        ({"EXPTIME": (250.0, "[ms] integration")}, None, None, 0.25),
        ({"EXPTIME": (30.0, "minimum of all exposures")}, None, None, 30.0),
        ({"EXPTIME": 0.0, "EXPOSURE": 12.0}, None, None, 12.0),
        ({"DATE_OBS": "2020-01-01T12:00:00", "DATE_END": "2020-01-01T13:00:00"}, 58_849.5, 58_849.5 + 1 / 24, None),
        ({"DATE_OBS": "2020-01-01", "UT": "06:00:00"}, 58_849.25, 58_849.25, None),
        ({"DATE_OBS": "24/12/96"}, 50_441.0, 50_441.0, None),
        ({"DATE_OBS": "yesterday"}, None, None, None),
        ({"MJD_OBS": 1e9}, None, None, None),
        ({"MJD_OBS": 58_000.5, "MJD_END": 57_000.0}, 58_000.5, 58_000.5, None),
    ],
)
def test_times_of_headers(
    cards: dict[str, Any], t_min: float | None, t_max: float | None, t_exptime: float | None
) -> None:
    """OBS-14: MJD in UTC, exposure in seconds."""
    found = times(header(**cards))
    for one, expected in ((found.t_min, t_min), (found.t_max, t_max), (found.t_exptime, t_exptime)):
        assert one == (None if expected is None else pytest.approx(expected, abs=1e-9))


def test_other_time_scales_become_utc() -> None:
    found = times(header(DATE_OBS="2020-01-01T00:00:00", TIMESYS="TAI"))
    assert found.t_min == pytest.approx(Time("2020-01-01T00:00:00", scale="tai").utc.mjd, abs=1e-10)
    assert found.t_min != pytest.approx(58_849.0, abs=1e-5)


@pytest.mark.parametrize("comment", ["start date and time of the observation (U", "start (UTC)", "UT date"])
def test_a_date_whose_comment_says_utc_is_utc_whatever_timesys_says(comment: str) -> None:
    """Fermi's files: TIMESYS is that of their events."""
    found = times(header(DATE_OBS=("2008-08-04T15:43:36", comment), TIMESYS="TT"))
    assert found.t_min == pytest.approx(Time("2008-08-04T15:43:36").mjd, abs=1e-10)


@pytest.mark.parametrize("comment", ["", "[s]", "(seconds)", "Effective exposure", "days since"])
def test_seconds_unless_the_comment_says_otherwise(comment: str) -> None:
    assert seconds(comment) == (86_400.0 if "days" in comment else 1.0)


@pytest.mark.parametrize(
    ("cards", "arcsec"),
    [
        ({"SEEING": 0.8}, 0.8),
        ({"SEEING": (2.0, "Average FWHM (pixels)")}, 0.72),
        ({"SEEING": (0.001, "[deg]")}, 3.6),
        ({"BMAJ": 0.01, "BMIN": 0.0025}, 18.0),
        ({"SEEING": 0.0, "PSF_FWHM": 1.1}, 1.1),
        ({"SEEING": 0.0}, None),
        ({}, None),
    ],
)
def test_the_width_of_a_star_is_in_arcseconds(tmp_path: Any, cards: dict[str, Any], arcsec: float | None) -> None:
    path = write(tmp_path / "a.fits", primary(), image("SCI", **cards))
    (found,) = inspect(str(path), Rules(), obs_id="a").images
    assert found.observation.s_resolution == (None if arcsec is None else pytest.approx(arcsec, rel=1e-6))


def test_bands_of_rules_come_before_known_filters(tmp_path: Any) -> None:
    path = write(tmp_path / "a.fits", primary(FILTER="r"), image("SCI"))
    rules = Rules.model_validate({"filters": {"?": {"em_min": 1e-7, "em_max": 2e-7}}})
    (found,) = inspect(str(path), rules, obs_id="a").images
    assert (found.observation.em_min, found.observation.em_max) == (1e-7, 2e-7)
    (found,) = inspect(str(path), Rules(), obs_id="a").images
    assert (found.observation.em_min, found.observation.em_max) == (5.5e-7, 7e-7)


def test_rules_come_before_keywords_and_keywords_before_the_usual_ones(tmp_path: Any) -> None:
    path = write(tmp_path / "a.fits", primary(OBJECT="usual", FIELD="own"), image("SCI"))

    def target(rules: dict[str, Any]) -> str | None:
        (found,) = inspect(str(path), Rules.model_validate(rules), obs_id="a").images
        return found.observation.target_name

    assert target({}) == "usual"
    assert target({"keywords": {"target_name": ["FIELD"]}}) == "own"
    assert target({"keywords": {"target_name": ["FIELD"]}, "columns": {"target_name": "set"}}) == "set"
    assert target({"header": {"OBJECT": "mended"}}) in {"usual", "mended"}


def test_a_wrong_card_is_mended_by_the_rules(tmp_path: Any) -> None:
    path = write(tmp_path / "a.fits", primary(), image("SCI"))
    (found,) = inspect(str(path), Rules.model_validate({"header": {"CRVAL1": 50.0}}), obs_id="a").images
    assert found.observation.s_ra == pytest.approx(50.0)
    assert math.isclose(found.observation.s_dec, 20.0, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("v/a.fits", "v/a.fits"),
        ("a.fits", "v/a.fits"),
        ("../v/a", "v/a.fits"),
        ("packed.fits", "v/packed.fits.fz"),
        ("twice.fits", "coadds/twice.fits"),
        ("old/path/a.fits", "v/a.fits"),
        ("unknown.fits", "unknown.fits"),
    ],
)
def test_progenitors_are_found(name: str, found: str) -> None:
    paths = ["v/a.fits", "v/packed.fits.fz", "v/twice.fits", "coadds/twice.fits", "coadds/all.fits"]
    assert Progenitors(paths).find(name, beside="coadds/all.fits") == found


def test_of_two_files_of_a_name_elsewhere_none_is_guessed() -> None:
    assert Progenitors(["x/a.fits", "y/a.fits"]).find("a.fits", beside="c.fits") == "a.fits"


def cube(tmp_path: Any, **cards: Any) -> Any:
    """Observation of a cube with a third axis."""
    header = sky()
    header.update(CTYPE3="WAVE", CUNIT3="m", CRVAL3=5e-7, CRPIX3=1.0)
    header.update(cards)
    if "CD3_3" not in header:
        for keyword in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
            del header[keyword]
        header["CDELT1"], header["CDELT2"] = -1e-4, 1e-4
    path = write(tmp_path / "cube.fits", fits.PrimaryHDU(np.zeros((101, 8, 8), "f4"), header))
    (found,) = inspect(str(path), Rules(), obs_id="a").images
    return found.observation


@pytest.mark.parametrize("step", ["CD3_3", "CDELT3"])
def test_a_step_in_a_cd_matrix_is_a_step(tmp_path: Any, step: str) -> None:
    """wcslib's own translation forgets it: a frequency axis would become nonsense, air wavelengths be 1 Angstrom off."""
    found = cube(tmp_path, CTYPE3="FREQ", CUNIT3="Hz", CRVAL3=1.0e11, **{step: 1e7})
    expected = sorted(299_792_458.0 / (1.0e11 + 1e7 * edge) for edge in (-0.5, 100.5))
    assert (found.em_min, found.em_max) == pytest.approx(expected, rel=1e-9)
    found = cube(tmp_path, CTYPE3="WAVE", CUNIT3="nm", CRVAL3=500.0, **{step: 1.0})
    assert (found.em_min, found.em_max) == pytest.approx((499.5e-9, 600.5e-9), rel=1e-9)


def test_velocities_need_a_rest_frequency(tmp_path: Any) -> None:
    cards = {"CTYPE3": "VRAD", "CUNIT3": "m/s", "CRVAL3": 0.0, "CDELT3": 1000.0}
    assert cube(tmp_path, **cards).em_min is None
    found = cube(tmp_path, **cards, RESTFRQ=1.42e9)
    rest = 299_792_458.0 / 1.42e9
    expected = [rest / (1 - 1000.0 * edge / 299_792_458.0) for edge in (-0.5, 100.5)]
    assert (found.em_min, found.em_max) == pytest.approx(expected, rel=1e-9)
    assert (found.em_xel, found.dataproduct_type) == (101, "cube")
