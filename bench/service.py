"""A gateway to measure, as ``gateway serve`` runs it, and tables in it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.errors import NotFoundError
from gateway.ingest.tables import drop_table, ingest_table

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Service:
    """A running gateway."""

    port: int
    process: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> int:
        """Process that answers requests; it is a child of the one that was started."""
        words = ["pgrep", "-P", str(self.process), "-f", "gateway.serve.api"]
        return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[0])


@contextmanager
def service(server_url: str, *options: str) -> Iterator[Service]:
    """Run a gateway that serves this database."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="gw-bench-", ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--port", str(port), *options],
            env=os.environ | {"GATEWAY_HOME": home, "GATEWAY_DATABASE_URL": server_url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(port, process)
            yield Service(port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            client.request("GET", "/healthz/ready")
            if client.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError("the service did not start")


@contextmanager
def published(name: str, rows: pa.Table, server_url: str, *, describe: str | None = None) -> Iterator[None]:
    """Publish rows as a table, and drop it afterwards."""
    with contextlib.suppress(NotFoundError):
        drop_table(name, server_url)  # left by a run that was stopped
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pq.write_table(rows, path, row_group_size=131_072)
        description = None
        if describe is not None:
            description = Path(folder) / "describe.yaml"
            description.write_text(describe)
        ingest_table([path], name=name, admin_url=server_url, describe=description)
    yield
    drop_table(name, server_url)


@dataclass(frozen=True)
class Answer:
    """What a query cost its client."""

    seconds: float
    """Until the last byte."""
    first: float
    """Until the first byte of the body."""
    nbytes: int


def ask(client: http.client.HTTPConnection, query: str, **parameters: object) -> Answer:
    """Run a sync query, read the answer and forget it."""
    form = {"LANG": "ADQL", "QUERY": query, **parameters}
    start = time.perf_counter()
    client.request("POST", "/tap/sync", urlencode(form), FORM)
    answer = client.getresponse()
    if answer.status != 200:
        raise RuntimeError(answer.read().decode())
    size, buffer, first = 0, bytearray(1 << 20), None
    while got := answer.readinto(buffer):
        first = first or time.perf_counter()
        size += got
    return Answer(time.perf_counter() - start, (first or start) - start, size)
