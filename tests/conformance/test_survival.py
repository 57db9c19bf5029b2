"""What a user sees when processes die: the job still completes once, the next start works (reliability F1)."""

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import pyvo
from astropy.io import fits

from tests.support.files import files_below
from tests.support.images import sky_header
from tests.support.stock import free_port

from .conftest import wait_ready

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

SLOW = """SELECT COUNT(*) AS n FROM tap_schema.columns AS a, tap_schema.columns AS b, tap_schema.columns AS c,
    tap_schema.columns AS d WHERE a.table_name LIKE 'tap_schema.%' AND a.column_index + b.column_index + c.column_index + d.column_index > 0"""
"""Counts some tens of columns to the fourth power: seconds of work on any machine."""


@dataclass
class Running:
    """A gateway of its own, started as a user starts it."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self, part: str) -> list[int]:
        """Process ids below this gateway whose command line has ``part``."""
        listing = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
        rows = [
            (int(pid), int(parent), args)
            for pid, parent, args in (line.split(None, 2) for line in listing.splitlines())
        ]
        below = {self.process.pid}
        for _ in range(5):
            below |= {pid for pid, parent, _ in rows if parent in below}
        return [pid for pid, _, args in rows if pid in below and part in args]


def start(home: Path) -> Running:
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    output = home / "out.txt"
    with output.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--port", str(port)],
            env=environment
            | {"GATEWAY_HOME": str(home), "GATEWAY_LEASE": "4", "GATEWAY_HEARTBEAT": "1", "GATEWAY_POLL_INTERVAL": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    running = Running(home, port, process)
    wait_ready(running.url, process, 60, output)
    return running


@pytest.fixture
def gateway() -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="gw-") as home:
        running = start(Path(home))
        yield running
        running.process.send_signal(signal.SIGTERM)
        try:
            running.process.wait(20)
        finally:
            running.process.kill()


def executing(url: str, query: str) -> pyvo.dal.AsyncTAPJob:
    job = pyvo.dal.TAPService(f"{url}/tap").submit_job(query)
    job.run()
    deadline = time.monotonic() + 60  # the worker may still be starting, on a machine that is busy
    while (phase := httpx.get(f"{job.url}/phase").text) != "EXECUTING":
        assert phase == "QUEUED", httpx.get(f"{job.url}/error").text
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


def wait_final(job: pyvo.dal.AsyncTAPJob, patience_s: float) -> str:
    deadline = time.monotonic() + patience_s
    while (phase := httpx.get(f"{job.url}/phase").text) in {"QUEUED", "EXECUTING"}:
        assert time.monotonic() < deadline, phase
        time.sleep(0.2)
    return phase


def test_job_completes_once_though_its_worker_is_killed(gateway: Running) -> None:
    job = executing(gateway.url, SLOW)
    (worker,) = gateway.processes("gateway.jobs.worker")
    os.kill(worker, signal.SIGKILL)
    assert wait_final(job, 60) == "COMPLETED"
    table = pyvo.dal.AsyncTAPJob(job.url).fetch_result().to_table()
    assert len(table) == 1
    assert table["n"][0] > 0
    left = [name.rpartition("/") for name in files_below(gateway.home / "results")]
    assert sorted(name for _, _, name in left) == ["result.vot", "rows.parquet"]
    assert len({folder for folder, _, _ in left}) == 1  # nothing of the first run is left


def test_next_start_works_after_everything_was_killed() -> None:
    with tempfile.TemporaryDirectory(prefix="gw-") as home:
        first = start(Path(home))
        job = executing(first.url, SLOW)
        path = job.url.removeprefix(first.url)
        first.process.kill()
        first.process.wait()
        second = start(Path(home))
        try:
            job = pyvo.dal.AsyncTAPJob(second.url + path)
            assert wait_final(job, 60) == "COMPLETED"
        finally:
            second.process.send_signal(signal.SIGTERM)
            assert second.process.wait(20) == 0


def test_aborted_job_leaves_no_query_behind(gateway: Running) -> None:
    job = executing(gateway.url, SLOW.replace("> 0", "> 1"))
    job.abort()
    assert httpx.get(f"{job.url}/phase").text == "ABORTED"
    time.sleep(3)
    assert httpx.get(f"{job.url}/phase").text == "ABORTED"
    assert httpx.get(f"{job.url}/results/result").status_code == 404


def test_cutouts_of_a_job_are_made_once_each_though_their_worker_is_killed(gateway: Running, tmp_path: Path) -> None:
    """Each combination is a part: what was done stays done, and the rest is done by the next worker."""
    images = tmp_path / "images"
    images.mkdir()
    pixels = np.arange(1500 * 1500, dtype="f4").reshape(1500, 1500)
    header = sky_header(shape=pixels.shape, scale=0.001)
    for n in range(10):
        fits.HDUList(
            [fits.PrimaryHDU(), fits.CompImageHDU(pixels + n, header, quantize_level=0, compression_type="GZIP_2")]
        ).writeto(images / f"{n}.fits")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    subprocess.run(
        [sys.executable, "-m", "gateway", "ingest", "images", str(images), "--collection", "many"],
        env=environment | {"GATEWAY_HOME": str(gateway.home)},
        check=True,
        capture_output=True,
        timeout=60,
    )
    dids = list(pyvo.dal.SIA2Service(f"{gateway.url}/sia2").search(collection="many")["obs_publisher_did"])
    regions = [f"150 2.2 {0.7 - n / 100}" for n in range(4)]
    answer = httpx.post(f"{gateway.url}/soda/async", data={"ID": dids, "CIRCLE": regions, "PHASE": "RUN"})
    job = pyvo.dal.AsyncTAPJob(answer.headers["location"])
    deadline = time.monotonic() + 60
    while len(files_below(gateway.home / "results")) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (worker,) = gateway.processes("gateway.jobs.worker")
    os.kill(worker, signal.SIGKILL)
    assert httpx.get(f"{job.url}/phase").text == "EXECUTING"  # it was killed in the middle of the job
    assert wait_final(job, 90) == "COMPLETED"
    job = pyvo.dal.AsyncTAPJob(job.url)
    assert [result.id_ for result in job.results] == [f"cutout-{n}" for n in range(1, 41)]
    assert len(files_below(gateway.home / "results")) == 40  # nothing of the first worker is left
    with fits.open(io.BytesIO(httpx.get(job.results[39].href).content)) as last:
        assert last[1].data.max() <= pixels.max() + 9
        assert last[1].data[0, 0] % 1 == 0
