"""From a star to a cutout around it with pyvo, at the awkward places of the sky; and what the validators say."""

import io
import re
import shutil
import subprocess
import time
import warnings

import httpx
import numpy as np
import pytest
import pyvo
import requests
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

pytestmark = pytest.mark.server

FIELDS = {
    "across RA = 0": (0.0, 15.0, 0.25),
    "near the north pole": (40.0, 89.2, 0.25),
    "Pleiades": (56.75, 24.12, 0.25),
}
"""Centre and radius of where a star is looked for, degrees."""

ALONE = """
SELECT TOP 1 s.ra, s.dec, s.phot_g_mean_mag FROM gaia.dr3_bright AS s
WHERE 1 = CONTAINS(POINT(s.ra, s.dec), CIRCLE({0}, {1}, {2}))
  AND NOT EXISTS (SELECT 1 FROM gaia.dr3_bright AS n
    WHERE 1 = CONTAINS(POINT(n.ra, n.dec), CIRCLE(s.ra, s.dec, 0.05)) AND n.source_id <> s.source_id)
ORDER BY s.phot_g_mean_mag
"""


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore", UserWarning)


@pytest.fixture(params=FIELDS.values(), ids=FIELDS.keys())
def star(request: pytest.FixtureRequest, demo: str) -> SkyCoord:
    """A star of the catalogue with no other one beside it."""
    found = pyvo.dal.TAPService(f"{demo}/tap").search(ALONE.format(*request.param))
    return SkyCoord(found["ra"][0], found["dec"][0], unit="deg")


def images_of(demo: str, star: SkyCoord) -> pyvo.dal.SIA2Results:
    images = pyvo.dal.SIA2Service(f"{demo}/sia2").search(pos=(star.ra.deg, star.dec.deg, 0.001))
    assert len(images) > 0
    return images


def off_by(hdu: fits.ImageHDU, star: SkyCoord) -> float:
    """Pixels between the centre of the star's light and where the WCS puts its catalogue position."""
    start = np.array(WCS(hdu.header).world_to_pixel(star), float)
    light = hdu.data - np.median(hdu.data)
    rows, columns = np.indices(light.shape)
    x, y = start
    for _ in range(30):
        weight = light * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 6)
        x, y = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
    return float(np.hypot(*(start - (x, y))))


def is_well_inside(hdu: fits.ImageHDU, star: SkyCoord) -> bool:
    """Whether the light of the star is there whole, and not cut by the edge of the image."""
    x, y = WCS(hdu.header).world_to_pixel(star)
    return min(x, y, hdu.data.shape[1] - 1 - x, hdu.data.shape[0] - 1 - y) > 12


def circle(star: SkyCoord) -> tuple[float, float, float]:
    return star.ra.deg, star.dec.deg, 0.05


def test_star_is_where_the_coordinates_of_its_cutouts_put_it(demo: str, star: SkyCoord) -> None:
    seen = 0
    for image in images_of(demo, star):
        links = image.getdatalink()
        answer = links.get_first_proc().process(circle=circle(star))
        with fits.open(io.BytesIO(answer.read())) as cutout:
            assert [hdu.name for hdu in cutout[1:]] == ["IMAGE", "MASK", "VARIANCE"]
            assert len({hdu.data.shape for hdu in cutout[1:]}) == 1
            if is_well_inside(cutout["IMAGE"], star):
                seen += 1
                assert off_by(cutout["IMAGE"], star) < 0.1
    assert seen > 0


def test_the_same_as_a_job(demo: str, star: SkyCoord) -> None:
    images = images_of(demo, star)
    away = "1 -45 0.1"
    answer = requests.post(
        f"{demo}/soda/async",
        data={
            "ID": list(images["obs_publisher_did"]),
            "CIRCLE": [" ".join(map(str, circle(star))), away],
            "PHASE": "RUN",
        },
        timeout=20,
    )
    job = pyvo.dal.AsyncTAPJob(answer.url)
    job.wait(timeout=60)
    assert job.phase == "COMPLETED"
    assert len(job.results) == 2 * len(images)  # SODA-14
    seen = 0
    for cut, empty in zip(job.results[::2], job.results[1::2], strict=True):
        found = requests.get(cut.href, timeout=20)
        assert found.headers["content-type"] == "application/fits"
        with fits.open(io.BytesIO(found.content)) as cutout:
            if is_well_inside(cutout["IMAGE"], star):
                seen += 1
                assert off_by(cutout["IMAGE"], star) < 0.1
        text = requests.get(empty.href, timeout=20)
        assert text.headers["content-type"].startswith("text/plain")
        assert text.text.startswith("UsageError: ")  # SODA-15
        assert away in text.text
    assert seen > 0
    job.delete()


def test_cutouts_of_a_search_need_no_links(demo: str) -> None:
    """What pyvo calls ``processed``: the SODA descriptor of the search's own answer."""
    (image, *_) = pyvo.dal.SIA2Service(f"{demo}/sia2").search(pos=(56.75, 24.12, 0.001))
    answer = image.processed(circle=(56.75, 24.12, 0.03))
    with fits.open(io.BytesIO(answer.read())) as cutout:
        assert cutout["IMAGE"].data.shape == cutout["MASK"].data.shape


def test_a_coadd_leads_to_its_inputs(demo: str) -> None:
    (coadd,) = pyvo.dal.SIA2Service(f"{demo}/sia2").search(calib_level=3, pos=(56.75, 24.12, 0.001))
    inputs = list(coadd.getdatalink().bysemantics("#progenitor", include_narrower=False))
    assert len(inputs) == 4
    with fits.open(io.BytesIO(requests.get(inputs[0].access_url, timeout=20).content)) as visit:
        assert visit[0].header["OBSID"] == "pleiades-1"


def test_obscore_and_sia_tell_the_same(demo: str) -> None:
    by_adql = (
        pyvo.dal.TAPService(f"{demo}/tap").search("SELECT * FROM ivoa.obscore ORDER BY obs_publisher_did").to_table()
    )
    by_sia = pyvo.dal.SIA2Service(f"{demo}/sia2").search().to_table()
    by_sia.sort("obs_publisher_did")
    assert by_sia.colnames == by_adql.colnames
    for name in by_adql.colnames:
        if name != "s_region":
            assert list(by_sia[name].filled() if hasattr(by_sia[name], "filled") else by_sia[name]) == pytest.approx(
                list(by_adql[name].filled() if hasattr(by_adql[name], "filled") else by_adql[name]), nan_ok=True
            ), name


def test_a_large_request_by_post_is_answered_in_batches(demo: str) -> None:
    images = pyvo.dal.SIA2Service(f"{demo}/sia2").search(collection="demo")
    rows = list(images.iter_datalinks())
    assert len(rows) == len(images)
    assert all(len(links) >= 5 for links in rows)


def test_a_killed_child_is_one_error_and_not_the_end(demo: str) -> None:
    """The service answers on while cutouts are asked for by many at once."""
    did = pyvo.dal.SIA2Service(f"{demo}/sia2").search()["obs_publisher_did"][0]
    with httpx.Client(timeout=30) as client:
        started = time.monotonic()
        answers = [client.get(f"{demo}/soda/sync", params={"ID": did}).status_code for _ in range(8)]
        assert answers == [200] * 8
        assert time.monotonic() - started < 20


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
def test_validators_find_nothing_wrong_with_links(demo: str) -> None:
    dids = list(pyvo.dal.SIA2Service(f"{demo}/sia2").search()["obs_publisher_did"])[:3]
    query = "&".join(f"ID={did.replace('?', '%3F')}" for did in [*dids, "ivo://nowhere/x"])
    done = subprocess.run(
        ["stilts", "datalinklint", f"votable={demo}/datalink/links?{query}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    totals = re.search(r"Totals: Errors: (\d+); Warnings: (\d+)", done.stdout)
    assert totals is not None, done.stdout + done.stderr
    assert totals.groups() == ("0", "0"), done.stdout


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
def test_taplint_finds_one_known_fault_with_obscore(demo: str) -> None:
    """It wants the type ``adql:REGION`` of TAP 1.0 for s_region, which is a DALI polygon here."""
    done = subprocess.run(
        ["stilts", "taplint", f"tapurl={demo}/tap", "stages=TMV TMS OBS", "report=EWF"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    faults = [line for line in done.stdout.splitlines() if re.match(r"[EWF]-", line)]
    assert [line[:14] for line in faults] == ["E-OBS-TYPX-1 W"], done.stdout
