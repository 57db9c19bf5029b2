"""Files that are no images of the sky: one clear line for each, and the rest goes on."""

import gzip
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from gateway.errors import BackendUnavailableError, IngestError
from gateway.ingest.images import Outcome, examine
from gateway.ingest.images.examine import Fault, Refusal, Task
from gateway.ingest.images.rules import Rules
from gateway.storage.sources import LocalFile
from tests.ingest.images.builders import Survey, image, outcomes, primary, sky, write


def truncated(path: Path) -> None:
    write(path, fits.PrimaryHDU(np.zeros((64, 64), "f4"), sky()))
    path.write_bytes(path.read_bytes()[:9_000])


def truncated_gzip(path: Path) -> None:
    write(path, fits.PrimaryHDU(np.zeros((64, 64), "f4"), sky()))
    path.write_bytes(gzip.compress(os.urandom(9_000) + path.read_bytes())[:8_000])


def huge(path: Path) -> None:
    """30 GB in a header of 3 kB."""
    header = fits.PrimaryHDU(np.zeros((2, 2), "f4"), sky()).header
    header["NAXIS1"] = header["NAXIS2"] = 86_603
    path.write_bytes(header.tostring().encode())


def without_coordinates(path: Path) -> None:
    write(path, fits.PrimaryHDU(np.zeros((8, 8), "f4")))


def failing_coordinates(path: Path) -> None:
    write(path, fits.PrimaryHDU(np.zeros((8, 8), "f4"), sky(CD1_2=1e-4, CD2_1=-1e-4)))


def zero_coordinates(path: Path) -> None:
    write(path, fits.PrimaryHDU(np.zeros((8, 8), "f4"), sky(CD1_1=0.0, CD2_2=0.0)))


def unknown_projection(path: Path) -> None:
    write(path, fits.PrimaryHDU(np.zeros((8, 8), "f4"), sky(CTYPE1="RA---ZZZ", CTYPE2="DEC--ZZZ")))


def bogus_equinox(path: Path) -> None:
    header = sky(EQUINOX=0.0)
    header["RADESYS"] = "FK5"
    write(path, fits.PrimaryHDU(np.zeros((8, 8), "f4"), header))


def tables_only(path: Path) -> None:
    write(path, fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])]))


def one_axis(path: Path) -> None:
    write(path, fits.PrimaryHDU(np.zeros(8, "f4")))


def only_a_mask(path: Path) -> None:
    write(path, fits.PrimaryHDU(), image("MASK"))


def nan_coordinates(path: Path) -> None:
    write(path, fits.PrimaryHDU(np.zeros((8, 8), "f4"), sky()))
    path.write_bytes(path.read_bytes().replace(b"CRVAL1  =                 10.0", b"CRVAL1  =                  NaN"))


def cut_header(path: Path) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:700])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncated, "it is cut off: HDU 0 should end at byte"),
    "truncated_gzip": (truncated_gzip, ""),
    "huge": (huge, "it is cut off: HDU 0 should end at byte 300"),
    "without_coordinates": (without_coordinates, "no celestial coordinates"),
    "failing_coordinates": (failing_coordinates, "coordinates"),
    "unknown_projection": (unknown_projection, "coordinates"),
    "nan_coordinates": (nan_coordinates, "CRVAL1 is no number"),
    "zero_coordinates": (zero_coordinates, "all numbers of its CD matrix are zero"),
    "bogus_equinox": (bogus_equinox, "EQUINOX = 0 cannot be"),
    "tables_only": (tables_only, "it holds no image of two dimensions"),
    "one_axis": (one_axis, "it holds no image of two dimensions"),
    "only_a_mask": (only_a_mask, "a mask that fits no science image of the file"),
    "cut_header": (cut_header, ""),
    "empty": (lambda path: path.write_bytes(b""), "FITS file"),
    "html": (lambda path: path.write_bytes(b"<!DOCTYPE html><html>404</html>" * 200), "FITS file"),
    "garbage": (lambda path: path.write_bytes(np.random.default_rng(1).bytes(9_000)), "FITS file"),
    "zeros": (lambda path: path.write_bytes(bytes(28_800)), "FITS file"),
    "pipe": (os.mkfifo, "it is not a regular file"),
    "folder_like": (lambda path: path.symlink_to("/nowhere/at/all"), "the file is no longer there"),
}


def test_a_bad_file_is_refused_in_one_line_and_the_rest_goes_on(survey: Survey) -> None:
    for name, (make, _) in BAD.items():
        make(survey.folder / f"{name}.fits{'.gz' if 'gzip' in name else ''}")
    survey.write("good.fits", primary(), image("SCI"))
    report = survey.ingest()
    assert survey.rows() == [("good",)]
    assert report.count(Outcome.ADDED) == 1
    assert report.count(Outcome.REFUSED) == len(BAD)
    reasons = {file.path.partition(".")[0]: file.notes for file in report.files if file.outcome is Outcome.REFUSED}
    for name, (_, words) in BAD.items():
        (reason,) = reasons[name]
        assert words in reason, name
        assert "\n" not in reason
        assert "Traceback" not in reason
        assert 10 < len(reason) < 300, reason
    assert survey.catalog.fetch("SELECT path FROM gateway_images.file") == [("good.fits",)]


def test_nothing_but_bad_files_is_all_refused(survey: Survey) -> None:
    (survey.folder / "a.fits").write_bytes(b"")
    assert survey.ingest().is_all_refused
    survey.write("b.fits")
    assert not survey.ingest().is_all_refused


def test_cards_that_are_no_fits_values_are_passed_over(survey: Survey) -> None:
    """A text whose quote never ends: astropy gives up on such a card."""
    path = survey.write("a.fits", primary(OBJECT="X" * 10, **{"DATE-OBS": "2017-01-01"}), image("SCI"))
    content = path.read_bytes().replace(b"'XXXXXXXXXX'", b"'XXXXXXXXXX ")
    path.write_bytes(content.replace(b"'2017-01-01'", b"'2017-01-01 "))
    assert outcomes(survey.ingest()) == {"a.fits": "added"}
    assert survey.rows("t_min") == [(58_000.0,)]


def test_values_that_cannot_be_are_noted_and_left_out(survey: Survey) -> None:
    survey.write("a.fits", primary(SEEING="bad", EXPTIME=-1.0), image("SCI"))
    (file,) = survey.ingest().files
    assert (file.outcome, file.notes) == (Outcome.ADDED, ("SEEING: s_resolution = 'bad': give a number",))
    assert survey.rows("s_resolution, t_exptime, t_max") == [(None, None, 58_000.0)]


# -- files that change, or that cannot be reached ----------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_time(
    survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = survey.write("a.fits")
    survey.ingest()
    before = survey.rows("key")
    survey.write("a.fits", fits.PrimaryHDU(np.zeros((64, 64), "f4"), sky(size=64)))
    look = examine.inspect

    def replaced_meanwhile(*args: object, **options: object) -> object:
        found = look(*args, **options)  # type: ignore[arg-type]
        path.write_bytes(path.read_bytes() + bytes(2880))
        return found

    monkeypatch.setattr(examine, "inspect", replaced_meanwhile)
    (file,) = survey.ingest().files
    assert file.outcome is Outcome.REFUSED
    assert file.notes == ("it was changed while it was read; ingest it again; the collection keeps what it had",)
    assert survey.rows("key") == before
    monkeypatch.undo()
    survey.write("a.fits", fits.PrimaryHDU(np.zeros((64, 64), "f4"), sky(size=64)))
    assert outcomes(survey.ingest()) == {"a.fits": "updated"}
    assert survey.rows("s_xel1") == [(64,)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_without_permission_a_file_is_refused_and_a_folder_told(survey: Survey) -> None:
    survey.write("shut/b.fits")
    survey.write("a.fits").chmod(0)
    (survey.folder / "shut").chmod(0)
    survey.write("c.fits")
    try:
        report = survey.ingest()
    finally:
        (survey.folder / "shut").chmod(stat.S_IRWXU)
    notes = {file.path: file.notes for file in report.files}
    assert notes["a.fits"] == ("the file cannot be read: Permission denied",)
    assert notes[str(survey.folder / "shut")] == ("the folder cannot be listed: Permission denied",)
    assert survey.rows() == [("c",)]


def test_a_file_that_cannot_be_reached_now_keeps_its_rows(survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    path = survey.write("a.fits")
    survey.write("b.fits")
    survey.ingest()
    os.utime(path, (1, 1))
    opened = LocalFile.open

    def refuse(file: LocalFile) -> object:
        if file.path == path:
            raise BackendUnavailableError("the file cannot be read: Stale file handle")
        return opened(file)

    monkeypatch.setattr(LocalFile, "open", refuse)
    report = survey.ingest()
    assert report.files[0].notes == ("the file cannot be read: Stale file handle; the collection keeps what it had",)
    assert survey.rows() == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(5, "x"), Fault.PASSING),
        (MemoryError(), Fault.FILE),
        (RecursionError("deep"), Fault.FILE),
        (ValueError("line one\nline two"), Fault.FILE),
    ],
)
def test_whatever_a_library_raises_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, error: Exception, fault: Fault
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(examine, "inspect", fail)
    result = examine.examine(Task("a.fits", "/nowhere", {}), Rules())
    assert isinstance(result, Refusal)
    assert result.fault is fault
    assert "\n" not in result.reason


def test_what_postgresql_cannot_hold_is_refused(survey: Survey) -> None:
    """A zero byte is no FITS text, but files have it."""
    path = survey.write("a.fits", primary(OBJECT="X" * 10), image("SCI"))
    path.write_bytes(path.read_bytes().replace(b"XXXXXXXXXX", b"XXXX\0XXXXX"))
    survey.write("b.fits")
    report = survey.ingest()
    assert report.files[1].outcome is Outcome.ADDED
    assert report.files[0].outcome in {Outcome.REFUSED, Outcome.ADDED}
    assert all("\0" not in str(row) for row in survey.rows("target_name"))


# -- paths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("{}/nothing", "nothing: there is no such file or folder"),
        ("{}/empty", r"empty: no FITS files \(\*.fits"),
        ("s3://bucket/a.fits", "this version reads images from folders and from http"),
        ("http://localhost:9/folder/", "a folder cannot be listed over HTTP"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(survey: Survey, path: str, words: str) -> None:
    (survey.folder / "empty").mkdir()
    survey.write("a.fits")
    with pytest.raises(IngestError, match=words):
        survey.ingest(survey.folder / "a.fits", path.format(survey.folder))
    assert survey.everything() == []


def test_urls_and_files_are_two_collections(survey: Survey) -> None:
    with pytest.raises(IngestError, match="ingest them as two"):
        survey.ingest(survey.write("a.fits"), "http://localhost:9/b.fits")
    with pytest.raises(IngestError, match="of several servers"):
        survey.ingest("http://localhost:9/b.fits", "http://localhost:10/b.fits")
