"""What an ingest of images leaves behind when it dies, is stopped or meets another; and sources far away."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import IngestError
from gateway.ingest.connection import admin_connection
from gateway.ingest.images import BusyError, Outcome, pool
from gateway.ingest.images.collections import drop_collection
from gateway.ingest.images.examine import Refusal, Task
from gateway.ingest.images.load import only_one
from gateway.ingest.images.rules import Rules
from tests.ingest.images.builders import AUTHORITY, Survey, image, outcomes, primary
from tests.support.signals import ctrl_c_heard
from tests.support.web import served_over_http

FILES = 60

CHILD = """
import sys
from gateway.ingest.images import ingest_images

def show(step):
    print(step.done, flush=True)
    if step.done == 10:
        sys.stdin.readline()

if __name__ == "__main__":
    report = ingest_images([sys.argv[1]], collection="survey", admin_url=sys.argv[2], authority=sys.argv[3],
                           processes=int(sys.argv[4]), progress=show)
    print("report", report.is_interrupted, report.unread, len(report.files), flush=True)
"""


@pytest.fixture
def many(survey: Survey) -> Survey:
    first = survey.write("000.fits", primary(), image("SCI"), image("MASK"))
    for number in range(1, FILES):
        (survey.folder / f"{number:03}.fits").write_bytes(first.read_bytes())
    return survey


def child(survey: Survey, tmp_path: Path, processes: int) -> subprocess.Popen[str]:
    """An ingest in a process of its own, which stops after ten files and waits for a line."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    command = [sys.executable, str(script), str(survey.folder), survey.catalog.url, AUTHORITY, str(processes)]
    with ctrl_c_heard():
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def wait_for(victim: subprocess.Popen[str], done: int) -> None:
    assert victim.stdout is not None
    for line in victim.stdout:
        if line.strip() == str(done):
            return
    pytest.fail("the child ended early")


def members(group: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if entry.name.isdigit() and int(fields[2]) == group and fields[0] != "Z":
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_after_kill_9_the_next_ingest_goes_on_where_it_was(many: Survey, tmp_path: Path, processes: int) -> None:
    with child(many, tmp_path, processes) as victim:
        wait_for(victim, 10)
        victim.kill()
    assert len(many.rows()) == 10
    # The next one may have to wait until PostgreSQL has noticed that the last one is gone.
    deadline = time.monotonic() + 20
    while True:
        try:
            report = many.ingest()
            break
        except BusyError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert (report.count(Outcome.UNCHANGED), report.count(Outcome.ADDED)) == (10, FILES - 10)
    assert len(many.rows()) == FILES
    deadline = time.monotonic() + 20
    while members(victim.pid):  # its helpers notice by themselves
        assert time.monotonic() < deadline, "helpers of the killed ingest still run"
        time.sleep(0.05)


def test_ctrl_c_ends_in_order_and_says_what_was_done(many: Survey, tmp_path: Path) -> None:
    with child(many, tmp_path, 2) as victim:
        wait_for(victim, 10)
        os.killpg(victim.pid, signal.SIGINT)  # as a terminal does: the helpers get it too
        out, err = victim.communicate("\n", timeout=60)
        *_, last = out.splitlines()
    assert err == ""
    word, is_interrupted, unread, told = last.split()
    assert (word, is_interrupted) == ("report", "True")
    assert int(told) + int(unread) == FILES
    assert len(many.rows()) == int(told) >= 10
    assert victim.returncode == 0
    assert many.ingest().count(Outcome.UNCHANGED) == int(told)
    assert len(many.rows()) == FILES


def test_helpers_do_not_hear_ctrl_c() -> None:
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    helpers = pool.open_pool(1)
    try:
        assert signal.SIGINT in pool.submit(helpers, signal.pthread_sigmask, signal.SIG_BLOCK, set()).result(60)
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    finally:
        helpers.shutdown()


def test_two_ingests_of_one_collection_do_not_meet(survey: Survey) -> None:
    survey.write("a.fits")

    async def hold(is_held: threading.Event, may_go: threading.Event) -> None:
        async with admin_connection(survey.catalog.url) as connection, only_one(connection, "survey"):
            is_held.set()
            await asyncio.to_thread(may_go.wait)

    is_held, may_go = threading.Event(), threading.Event()
    holder = threading.Thread(target=lambda: asyncio.run(hold(is_held, may_go)))
    holder.start()
    try:
        assert is_held.wait(10)
        with pytest.raises(IngestError, match="another ingest of survey is running; wait for its end, or stop it"):
            survey.ingest()
        with pytest.raises(IngestError, match="an ingest of survey is running"):
            drop_collection("survey", survey.catalog.url)
        assert outcomes(survey.ingest(collection="other")) == {"a.fits": "added"}
    finally:
        may_go.set()
        holder.join()
    assert outcomes(survey.ingest()) == {"a.fits": "added"}


# -- processes -------------------------------------------------------------------------------------------


def test_several_processes_find_what_one_finds(survey: Survey) -> None:
    for number in range(12):
        survey.write(f"{number:02}.fits", primary(), image("SCI", ra=number * 20.0), image("MASK"))
    (survey.folder / "bad.fits").write_bytes(b"nothing")
    one = survey.ingest(processes=1)
    columns = "obs_id, s_ra, s_region, planes, cells"
    expected = survey.rows(columns)
    drop_collection("survey", survey.catalog.url)
    two = survey.ingest(processes=2)
    assert two.files == one.files
    assert survey.rows(columns) == expected


def die(task: Task, _: Rules) -> Refusal:
    """Stand in for a library that crashes on some files."""
    if "bad" in task.path:
        os.kill(os.getpid(), signal.SIGSEGV)
    return Refusal(f"seen {task.path}")


def test_a_file_that_kills_its_process_is_refused_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "examine", die)
    names = ["a", "bad", "b"]

    async def run() -> list[tuple[str, str]]:
        tasks = [Task(name, "/", {}) for name in names]
        return [
            (task.path, result.reason)
            async for task, result in pool.examined(tasks, Rules(), processes=2)
            if isinstance(result, Refusal)
        ]

    assert asyncio.run(run()) == [(name, pool.CRASHED if name == "bad" else f"seen {name}") for name in names]


# -- far away --------------------------------------------------------------------------------------------


@pytest.fixture
def served(survey: Survey) -> Iterator[str]:
    with served_over_http(survey.folder) as url:
        yield url


def test_images_behind_urls_are_taken_and_kept_up_to_date(survey: Survey, served: str) -> None:
    path = survey.write("deep/a.fits", primary(), image("SCI"), image("MASK"))
    urls = [f"{served}/deep/a.fits", f"{served}/deep/gone.fits"]
    report = survey.ingest(*urls)
    assert outcomes(report) == {"a.fits": "added", "gone.fits": "refused"}
    assert report.files[1].notes == ("the file is no longer there",)
    assert survey.catalog.fetch("SELECT root FROM gateway_images.collection") == [(f"{served}/deep",)]
    assert outcomes(survey.ingest(urls[0])) == {"a.fits": "unchanged"}
    path.write_bytes(path.read_bytes() + bytes(2880))
    os.utime(path, (2e9, 2e9))
    assert outcomes(survey.ingest(urls[0])) == {"a.fits": "updated"}
    path.unlink()
    report = survey.ingest(urls[0])
    assert outcomes(report) == {"a.fits": "missing"}
    assert survey.rows() == [("a",)]


def test_a_server_that_is_down_takes_nothing_from_the_collection(survey: Survey, served: str) -> None:
    survey.write("a.fits")
    survey.ingest(f"{served}/a.fits")
    survey.catalog.fetch("UPDATE gateway_images.collection SET root = 'http://127.0.0.1:9'")
    report = survey.ingest("http://127.0.0.1:9/a.fits")
    assert outcomes(report) == {"a.fits": "refused"}
    assert report.files[0].notes == (
        "the server of the file does not answer (ConnectError); the collection keeps what it had",
    )
    assert survey.rows() == [("a",)]
