"""``gateway ingest images``, ``drop collection`` and ``status`` as they are typed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.cli import EXIT_INTERRUPTED
from gateway.ingest.images.report import FileReport, ImagesReport, Outcome, listed
from gateway.ingest.images.show import MOST_LISTED
from tests.ingest.images.builders import image, primary, write
from tests.support.commands import Run, command_line
from tests.support.signals import ctrl_c_heard


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "GATEWAY_HOME": str(tmp_path / "home"),
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_REDIS_URL": redis_url,
        "GATEWAY_AUTHORITY": "example.org",
        "COLUMNS": "100",
    }


@pytest.fixture
def gateway(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_line(monkeypatch, capsys, environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    write(folder / "a.fits", primary(), image("SCI"), image("MASK"))
    write(folder / "b.fits", primary(FILTER="strange"), image("SCI"))
    (folder / "c.fits").write_bytes(b"")
    return folder


def test_the_table_says_what_happened_to_each_file(gateway: Run, folder: Path) -> None:
    code, out, err = gateway("ingest", "images", str(folder), "--collection", "tiny")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["file", "outcome", "images", "notes"]
    assert lines[1] == ["a.fits", "added", "1"]
    assert lines[2][:4] == ["b.fits", "added", "1", "FILTER"]
    assert lines[3][:2] == ["c.fits", "refused"]
    assert "FITS file" in out.splitlines()[3]
    assert "tiny: 2 added, 1 refused; images: 2;" in out
    assert "files/s" in out
    assert "SELECT TOP 5 obs_id, s_ra, s_dec FROM ivoa.obscore WHERE obs_collection='tiny'" in err


def test_the_hint_works(gateway: Run, folder: Path) -> None:
    _, _, err = gateway("ingest", "images", str(folder), "--collection", "tiny")
    query = err.partition('gateway query "')[2].partition('"')[0]
    code, out, _ = gateway("query", query)
    assert code == 0
    assert sorted(line.split()[0] for line in out.splitlines()[2:4]) == ["a", "b"]


def test_again_nothing_is_read_and_the_exit_code_is_0(gateway: Run, folder: Path) -> None:
    (folder / "c.fits").unlink()
    gateway("ingest", "images", str(folder), "--collection", "tiny")
    code, out, _ = gateway("ingest", "images", str(folder), "--collection", "tiny")
    assert code == 0
    assert "tiny: 2 unchanged; images: 2;" in out
    assert "files/s" not in out


def test_where_every_file_is_refused_the_exit_code_is_1(gateway: Run, folder: Path) -> None:
    code, out, err = gateway("ingest", "images", str(folder / "c.fits"), "--collection", "tiny")
    assert code == 1
    assert "tiny: 1 refused; images: 0;" in out
    assert "Try it" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--collection", "a b"], "'a b' is no name of a collection"),
        (["--collection", "x", "--describe", "none.toml"], "none.toml cannot be read: No such file"),
        (["--collection", "x", "/nowhere"], "/nowhere: there is no such file or folder"),
        (["--collection", "x", "--root", "/nowhere"], "does not lie below /nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line(gateway: Run, folder: Path, arguments: list[str], words: str) -> None:
    code, out, err = gateway("ingest", "images", str(folder), *arguments)
    assert code == 1
    assert out == ""
    assert words in err
    assert err.startswith("gateway: ")
    assert len(err.strip().splitlines()) == 1


def test_help_teaches_by_example(gateway: Run) -> None:
    code, out, _ = gateway("ingest", "images", "--help")
    assert code == 0
    assert "gateway ingest images /data/survey --collection survey" in out
    assert "default: the folder named" in " ".join(out.split()).replace("│ │ ", "")
    assert "images" in gateway("ingest", "--help")[1]
    assert "collection" in gateway("drop", "--help")[1]


def test_of_many_files_only_those_with_something_to_say_are_listed(gateway: Run, folder: Path) -> None:
    content = (folder / "a.fits").read_bytes()
    for number in range(MOST_LISTED):
        (folder / f"{number:03}.fits").write_bytes(content)
    gateway("ingest", "images", str(folder), "--collection", "tiny", "--processes", "1")
    _, out, _ = gateway("ingest", "images", str(folder), "--collection", "tiny")
    assert [line.split()[0] for line in out.splitlines()] == ["file", "c.fits", "102", "tiny:"]
    assert "102 files with nothing to say are not listed; --list lists all." in out
    _, out, _ = gateway("ingest", "images", str(folder), "--collection", "tiny", "--list")
    assert len(out.splitlines()) == 1 + 103 + 1


def test_refused_and_noted_files_are_always_listed() -> None:
    files = [FileReport(str(n), Outcome.ADDED, 1) for n in range(10)]
    files += [FileReport("noted", Outcome.ADDED, 1, ("x",)), FileReport("refused", Outcome.REFUSED)]
    assert [one.path for one in listed(files, 5)] == ["noted", "refused"]
    assert listed(files, 12) == files


def test_a_report_knows_its_totals() -> None:
    files = (FileReport("a", Outcome.ADDED, 2), FileReport("b", Outcome.REFUSED), FileReport("c", Outcome.ADDED, 1))
    report = ImagesReport("x", files)
    assert report.counts() == [(Outcome.ADDED, 2, 3), (Outcome.REFUSED, 1, 0)]
    assert not report.is_all_refused
    assert ImagesReport("x", files[1:2]).is_all_refused
    assert not ImagesReport("x", ()).is_all_refused


def test_status_counts_images_by_collection(gateway: Run, folder: Path) -> None:
    assert "none; publish some: gateway ingest images" in gateway("status")[1]
    gateway("ingest", "images", str(folder), "--collection", "tiny")
    gateway("ingest", "images", str(folder / "a.fits"), "--collection", "single")
    lines = [" ".join(line.split()) for line in gateway("status")[1].splitlines()]
    assert "images 3 of 3 files in 2 collections" in lines
    assert any(line.startswith("single 1 of 1 files below") for line in lines)
    assert any(line.startswith("tiny 2 of 2 files below") for line in lines)


def test_drop_says_what_was_removed_and_touches_no_file(gateway: Run, folder: Path) -> None:
    gateway("ingest", "images", str(folder), "--collection", "tiny")
    code, _, err = gateway("drop", "collection", "tiny")
    assert code == 0
    assert f"Dropped tiny: 2 images of 2 files. The files themselves were not touched; they are below {folder}" in err
    assert sorted(path.name for path in folder.iterdir()) == ["a.fits", "b.fits", "c.fits"]
    code, _, err = gateway("drop", "collection", "tiny")
    assert (code, err) == (1, "gateway: there is no collection tiny; there are none at all\n")
    gateway("ingest", "images", str(folder), "--collection", "other")
    assert gateway("drop", "collection", "tiny")[2] == "gateway: there is no collection tiny; there are other\n"


def test_ctrl_c_says_what_was_done_and_that_repeating_goes_on(environment: dict[str, str], folder: Path) -> None:
    content = (folder / "a.fits").read_bytes()
    for number in range(400):
        (folder / f"{number:03}.fits").write_bytes(content)
    command = ["ingest", "images", str(folder), "--collection", "tiny", "--processes", "1"]
    with ctrl_c_heard():
        started = subprocess.Popen(
            [sys.executable, "-m", "gateway", *command],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    with started as process:
        wait_for_files(environment["GATEWAY_DATABASE_URL"], 5)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED
    assert "Traceback" not in out + err
    assert " added" in out
    assert "files to go; the same command again goes on from here." in err


def wait_for_files(url: str, count: int) -> None:
    """Wait until the catalog has some files."""
    from tests.support.catalogs import Catalog

    deadline = time.monotonic() + 60
    while Catalog(url).fetch("SELECT count(*) FROM gateway_images.file")[0][0] < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_links_of_a_query_lead_to_where_the_service_is(
    gateway: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT access_url FROM ivoa.obscore"
    gateway("ingest", "images", str(folder), "--collection", "tiny")
    monkeypatch.setenv("COLUMNS", "300")
    assert "http://127.0.0.1:8080/datalink/links?ID=ivo://example.org/tiny" in gateway("query", query)[1]
    monkeypatch.setenv("GATEWAY_PUBLIC_BASE_URL", "https://archive.example.org")
    assert "https://archive.example.org/datalink/links?ID=" in gateway("query", query)[1]
