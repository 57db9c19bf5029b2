"""A million rows from ``/tap/sync`` against COPY of the same rows by psql.

Floor: ``psql`` with ``COPY (...) TO STDOUT`` to nowhere, binary for BINARY2 and CSV for the formats that are text or
packed. Value: the service as ``gateway serve`` runs it, asked over HTTP by a client that reads and forgets. API,
PostgreSQL and client share the machine.
"""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.parquet as pq

from bench.common import Result, alternately, catalog, psql, seconds
from gateway.errors import NotFoundError
from gateway.ingest.tables import drop_table, ingest_table

ROWS = 1_000_000
ROUNDS = 5
TABLE = "bench.stream"
FORMATS = {
    "VOTable BINARY2": ("votable", "binary"),
    "VOTable TABLEDATA": ("votable/td", "csv"),
    "CSV": ("csv", "csv"),
    "Parquet": ("parquet", "csv"),
}


def run(server_url: str) -> list[Result]:
    """Measure on a migrated catalog database."""
    rows = catalog(ROWS)
    query = f"SELECT {', '.join(rows.column_names)} FROM {TABLE}"
    with published(rows, server_url), service(server_url) as port:
        results = []
        for name, (asked, copied) in FORMATS.items():

            def stream(asked: str = asked) -> float:
                return seconds(lambda: fetch(port, query, asked))

            stream(), copy(server_url, query, copied)
            floor, value = alternately(ROUNDS, copying(server_url, query, copied), stream)
            results.append(
                Result(
                    f"sync query as {name}, 1,000,000 rows x 10 columns",
                    ROWS / value,
                    ROWS / floor,
                    "rows/s",
                    remark=f"psql COPY to {copied} of the same rows, to nowhere",
                )
            )
    return results


@contextmanager
def published(rows: pa.Table, server_url: str) -> Iterator[None]:
    with contextlib.suppress(NotFoundError):
        drop_table(TABLE, server_url)  # left by a run that was stopped
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pq.write_table(rows, path, row_group_size=131_072)
        ingest_table([path], name=TABLE, admin_url=server_url)
    yield
    drop_table(TABLE, server_url)


@contextmanager
def service(server_url: str) -> Iterator[int]:
    """Port of a gateway that serves this database."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="gw-bench-", ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--no-worker", "--port", str(port)],
            env=os.environ | {"GATEWAY_HOME": home, "GATEWAY_DATABASE_URL": server_url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until_ready(port, process)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            client.request("GET", "/healthz/ready")
            if client.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError("the service did not start")


def fetch(port: int, query: str, asked: str) -> None:
    """Read a whole answer and forget it."""
    form = {"LANG": "ADQL", "QUERY": query, "MAXREC": ROWS, "RESPONSEFORMAT": asked}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        client.request("POST", "/tap/sync", urlencode(form), headers)
        answer = client.getresponse()
        if answer.status != 200:
            raise RuntimeError(answer.read().decode())
        size, buffer = 0, bytearray(1 << 20)
        while got := answer.readinto(buffer):
            size += got
    if size < 20 * ROWS:
        raise RuntimeError(f"{size} bytes cannot hold {ROWS} rows")


def copying(server_url: str, query: str, form: str) -> Callable[[], float]:
    return lambda: seconds(lambda: copy(server_url, query, form))


def copy(server_url: str, query: str, form: str) -> None:
    psql(server_url, f"COPY ({query}) TO STDOUT (FORMAT {form})")
