"""The images of the demo survey: stars where the catalog has them, built once, whatever interrupts."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from gateway.demo import images
from gateway.demo.images import FULL, SCALE_DEG, SMALL, build, ensure_built, exposures, publish
from gateway.errors import IngestError
from gateway.ingest.images import Outcome
from gateway.ingest.images.report import Step
from tests.support.catalogs import Catalog


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small survey."""
    folder = tmp_path_factory.mktemp("home") / "demo" / "images-small"
    build(folder, size=SMALL)
    return folder


def test_the_survey_is_what_was_promised() -> None:
    planned = list(exposures(FULL))
    visits = [one for one in planned if not one.inputs]
    coadds = [one for one in planned if one.inputs]
    assert [(len(visits), {one.size for one in visits}), (len(coadds), {one.size for one in coadds})] == [
        (24, {2048}),
        (2, {4096}),
    ]
    assert len({one.path for one in planned}) == len({one.seed for one in planned}) == 26
    assert max(one.dec + one.size * SCALE_DEG / 2 for one in visits) > 90
    assert min(one.dec - one.size * SCALE_DEG / 2 for one in visits) < -90
    at_the_seam = [one.ra for one in visits if one.field.name == "pegasus"]
    assert min(at_the_seam) < 5
    assert max(at_the_seam) > 355


def test_the_small_survey_is_small(survey: Path) -> None:
    files = sorted(survey.glob("*/*.fits"))
    assert len(files) == len(list(exposures(SMALL))) == 14
    assert sum(path.stat().st_size for path in files) < 10e6


def centroid(pixels: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """Position of a star near a place, with a Gaussian weight that follows it."""
    rows, columns = np.mgrid[round(y) - 7 : round(y) + 8, round(x) - 7 : round(x) + 8]
    cut = pixels[rows, columns].astype("f8")
    found_x, found_y = x + 0.4, y - 0.4  # from a wrong place, so that the answer is the pixels'
    for _ in range(20):
        weight = cut * np.exp(-((columns - found_x) ** 2 + (rows - found_y) ** 2) / 4)
        found_x += 2 * float((weight * (columns - found_x)).sum() / weight.sum())
        found_y += 2 * float((weight * (rows - found_y)).sum() / weight.sum())
    return found_x, found_y


def misses(path: Path) -> list[float]:
    """By how many pixels stars that stand alone miss where the WCS puts their catalog positions."""
    with fits.open(path) as hdus:
        pixels, wcs = hdus["IMAGE"].data, WCS(hdus["IMAGE"].header)
    ra, dec, magnitude = images._bright_stars()
    ny, nx = pixels.shape
    centre = wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2)
    cosine = np.sin(np.radians(dec)) * np.sin(centre.dec.rad)
    cosine += np.cos(np.radians(dec)) * np.cos(centre.dec.rad) * np.cos(np.radians(ra) - centre.ra.rad)
    near = np.flatnonzero(cosine > np.cos(np.radians(nx * 8 / 3600)))
    x, y = wcs.all_world2pix(ra[near], dec[near], 0, quiet=True)
    found = []
    for one in range(len(near)):
        apart = np.hypot(x - x[one], y - y[one])
        is_alone = not (np.delete(apart, one) < 40).any()
        if is_alone and 15 < x[one] < nx - 15 and 15 < y[one] < ny - 15 and magnitude[near[one]] < 9.5:
            found.append(np.hypot(*np.subtract(centroid(pixels, x[one], y[one]), (x[one], y[one]))))
    return found


def test_stars_are_where_the_catalog_has_them(survey: Path) -> None:
    """Within 0.1 pixel, also across RA = 0 and beside the pole."""
    for field in ("pleiades", "pegasus", "polaris"):
        found = [miss for path in survey.glob(f"*/{field}*.fits") for miss in misses(path)]
        assert len(found) >= 3, field
        assert max(found) < 0.1, field


def test_stars_are_where_the_catalog_has_them_in_a_distorted_image(tmp_path: Path) -> None:
    (exposure,) = [one for one in exposures(images.Size(1024, 1024, 6, 0)) if one.path.endswith("carina-2.fits")]
    images._write(tmp_path, exposure, images._near(exposure, images._bright_stars()))
    path = tmp_path / exposure.path
    assert fits.getheader(path, "IMAGE")["CTYPE1"] == "RA---TAN-SIP"
    found = misses(path)
    assert len(found) >= 5
    assert max(found) < 0.1


def test_planes_fit_each_other(survey: Path) -> None:
    with fits.open(survey / "visits" / "pleiades-1.fits") as hdus:
        image, mask, variance = (hdus[name] for name in ("IMAGE", "MASK", "VARIANCE"))
        assert image.shape == mask.shape == variance.shape == (256, 256)
        assert {hdu.compression_type for hdu in hdus[1:]} == {"RICE_1"}
        assert (image.header["BUNIT"], variance.header["BUNIT"]) == ("electron", "electron2")
        assert mask.data[0, 0] & 2
        inside = (mask.data == 0) & (variance.data < 80)
        # the noise is what the variance says
        assert np.std(image.data[inside]) == pytest.approx(np.sqrt(np.mean(variance.data[inside])), rel=0.05)
        assert np.median(image.data[inside]) == pytest.approx(0, abs=1)


def test_headers_say_what_was_observed_and_that_it_is_simulated(survey: Path) -> None:
    header = fits.getheader(survey / "visits" / "pegasus-2.fits")
    assert header["SIMULATD"] is True
    assert "Simulated" in header["TITLE"]
    assert header["TELESCOP"] == "Simulated"
    assert "Nothing else in this image is real" in str(header["HISTORY"])
    assert (header["FILTER"], header["EXPTIME"], header["SEEING"]) == ("G", 30.0, 17.6)
    assert header["DATE-OBS"].startswith("2016-01-02T13:00:00")
    assert header["MJD-END"] - header["MJD-OBS"] == pytest.approx(30 / 86_400)
    coadd = fits.getheader(survey / "coadds" / "pegasus.fits")
    assert [coadd[f"IMCMB00{n}"] for n in (1, 2, 3, 4)] == [f"visits/pegasus-{n}.fits" for n in (1, 2, 3, 4)]


def test_what_is_there_is_not_built_again(survey: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in survey.glob("*/*.fits")}
    steps: list[Step] = []
    assert set(build(survey, size=SMALL, progress=steps.append)) == before.keys()
    assert steps == []
    lost = survey / "visits" / "pleiades-3.fits"
    content = lost.read_bytes()
    lost.unlink()
    part = survey / "visits" / ".pleiades-3.fits.part"
    part.write_bytes(b"half")
    build(survey, size=SMALL, progress=steps.append)
    assert [(step.done, step.total, step.path) for step in steps] == [(13, 14, ""), (14, 14, "visits/pleiades-3.fits")]
    assert not part.exists()
    assert {path for path, stamp in before.items() if path.stat().st_mtime_ns != stamp} == {lost}
    with fits.open(lost) as again, fits.HDUList.fromstring(content) as first:
        assert np.array_equal(again[1].data, first[1].data)


CHILD = """
import sys
from pathlib import Path
from gateway.demo.images import build, Size

if __name__ == "__main__":
    build(Path(sys.argv[1]), size=Size(300, 300, 2, 1), processes=2, progress=lambda step: print(step.done, flush=True))
"""


def test_an_interrupted_build_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    folder = tmp_path / "images"
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "child.py"), str(folder)], stdout=subprocess.PIPE, text=True
    ) as victim:
        assert victim.stdout is not None
        while victim.stdout.readline().strip() != "2":
            assert victim.poll() is None
        os.kill(victim.pid, signal.SIGKILL)
    whole = list(folder.glob("*/*.fits"))
    assert 2 <= len(whole) <= 10
    for path in whole:
        with fits.open(path) as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
    time.sleep(0.3)
    size = images.Size(300, 300, 2, 1)
    assert len(build(folder, size=size, processes=1)) == 10
    assert not list(folder.glob("*/.*.part"))


def test_two_that_build_at_once_are_both_content(tmp_path: Path) -> None:
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: done.append(len(build(tmp_path, size=images.Size(64, 64, 2, 1)))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [10, 10]


def test_where_nothing_can_be_written_the_error_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(IngestError, match=r"cannot be written to .*file/images: Not a directory. They need 3 MB"):
        build(tmp_path / "file" / "images", size=SMALL)


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(
        IngestError, match=r"No space left on device\. They need 3 MB; GATEWAY_HOME names another place"
    ):
        build(tmp_path, size=SMALL)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".building"]


def test_the_survey_is_published_once_and_coadds_know_their_inputs(survey: Path, catalog: Catalog) -> None:
    report = publish(survey, admin_url=catalog.url, authority="example.org")
    assert report is not None
    assert report.count(Outcome.ADDED) == 14
    assert all(file.notes == () for file in report.files)
    rows = catalog.fetch(
        "SELECT obs_id, calib_level, progenitors, jsonb_array_length(planes), obs_title, dataproduct_subtype, em_max"
        " FROM gateway_images.dataset WHERE obs_collection = 'demo' ORDER BY calib_level DESC, obs_id"
    )
    assert len(rows) == 14
    inputs = [f"visits/pegasus-{n}.fits" for n in (1, 2, 3, 4)]
    assert rows[0][:4] == ("pegasus-coadd", 3, inputs, 2)
    assert {row[1] for row in rows[2:]} == {2}
    assert {row[3] for row in rows} == {2}
    assert all(row[4].startswith("Simulated") and row[5] == "simulated" and row[6] == 1.05e-6 for row in rows)
    again = publish(survey, admin_url=catalog.url, authority="example.org")
    assert again is not None
    assert (again.count(Outcome.UNCHANGED), again.looked_at) == (14, 0)


def test_small_images_do_not_replace_large_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = images.Size(64, 64, 2, 1)
    monkeypatch.setattr(images, "FULL", tiny)
    monkeypatch.setattr(images, "SMALL", images.Size(64, 64, 1, 1))
    assert ensure_built(tmp_path, is_small=True) == tmp_path / "demo" / "images-small"
    assert ensure_built(tmp_path) == tmp_path / "demo" / "images"
    assert ensure_built(tmp_path, is_small=True) == tmp_path / "demo" / "images"
