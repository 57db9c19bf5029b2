"""Requests as clients make them: one row, a cone, an uploaded table, a job, metadata; one client and thirty-two.

Everything goes over HTTP to a gateway as ``gateway serve`` runs it; API, worker, PostgreSQL and client share the
machine. Floors are the same statements without the gateway, or the same requests without the query.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import asyncpg
import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyvo
from astropy.io.votable import from_table, writeto
from astropy.table import Table

from bench.common import Result, alternately, catalog, rate
from bench.service import FORM, Service, ask, published, service
from bench.sky import ARCSECOND, beside, sphere
from gateway.db.urls import DatabaseURL

ROWS = 2_000_000
STREAMED = 1_000_000
REQUESTS = 400
JOBS = 15
UPLOADS = 5
CLIENTS = 32
CLIENTS_SECONDS = 8.0
COLUMNS = 2_000
TIMES = 50

DESCRIPTION = """
name: bench
"@id": "#bench"
tables:
- name: objects
  "@id": "#bench.objects"
  primaryKey: "#bench.objects.source_id"
  columns:
  - {name: source_id, "@id": "#bench.objects.source_id", datatype: long, ivoa:ucd: "meta.id;meta.main"}
"""
ONE_ROW = "SELECT source_id, ra, dec, mag FROM bench.objects WHERE source_id = {}"
ONE_ROW_SQL = "SELECT source_id, ra, dec, mag FROM bench.objects WHERE source_id = $1"
CONE = "SELECT source_id, ra, dec FROM bench.objects WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE({}, {}, 0.1))"
MATCH = (
    "SELECT u.source_id AS given, o.source_id FROM TAP_UPLOAD.mine AS u JOIN bench.objects AS o "
    f"ON DISTANCE(POINT(u.ra, u.dec), POINT(o.ra, o.dec)) < {ARCSECOND!r}"
)


def run(server_url: str) -> Iterator[Result]:
    """Measure on a migrated catalog database."""
    objects = sphere(ROWS, 1)
    with contextlib.ExitStack() as stack:
        stack.enter_context(published("bench.objects", objects, server_url, describe=DESCRIPTION))
        stack.enter_context(published("bench.stream", catalog(STREAMED), server_url))
        gateway = stack.enter_context(service(server_url))
        yield from one_by_one(gateway, server_url)
        yield at_once(gateway)
        yield from uploads(gateway, objects)
        yield from jobs(gateway)
        yield from streams(gateway)
        yield memory(gateway)
        yield from wide_metadata(gateway, server_url)


def one_by_one(gateway: Service, server_url: str) -> list[Result]:
    """Requests of one client, each text another one."""
    random = np.random.default_rng(7)
    numbers = itertools.cycle(random.permutation(ROWS).tolist())
    places = zip(random.uniform(0, 360, 10_000), np.degrees(np.arcsin(random.uniform(-1, 1, 10_000))), strict=True)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as client:

        def times(make: Callable[[], str], count: int) -> list[float]:
            return sorted(ask(client, make()).seconds * 1000 for _ in range(count))

        def one_row() -> str:
            return ONE_ROW.format(next(numbers))

        def cone() -> str:
            return CONE.format(*next(places))

        times(one_row, 50), times(cone, 50)
        rows, cones = times(one_row, REQUESTS), times(cone, REQUESTS)
    floor = asyncio.run(statements(server_url, [next(numbers) for _ in range(REQUESTS)]))
    remark = "the same statement by asyncpg"
    return [
        rate("one-row query, sequential, p50", statistics.median(rows), floor, 7, remark),
        rate("the same, p99", rows[REQUESTS * 99 // 100], floor, 20, remark),
        rate(
            "cone of 0.1 deg in 2,000,000 rows over HTTP, p50", statistics.median(cones), floor, 10, "one row likewise"
        ),
    ]


async def statements(server_url: str, numbers: list[int]) -> float:
    """Median milliseconds of the one-row statement without a gateway."""
    connection = await asyncpg.connect(DatabaseURL.parse(server_url).asyncpg())
    times = []
    for number in numbers:
        start = time.perf_counter()
        await connection.fetch(ONE_ROW_SQL, number)
        times.append(time.perf_counter() - start)
    await connection.close()
    return statistics.median(times) * 1000


def at_once(gateway: Service) -> Result:
    """Thirty-two clients that ask for a row as soon as they have the last one."""
    numbers = itertools.cycle(np.random.default_rng(8).permutation(ROWS).tolist())

    def query() -> bytes:
        body = urlencode({"LANG": "ADQL", "QUERY": ONE_ROW.format(next(numbers))})
        return request("POST", "/tap/sync", body)

    asyncio.run(clients(gateway.port, query, 1.0))
    done = asyncio.run(clients(gateway.port, query, CLIENTS_SECONDS))
    floor = asyncio.run(clients(gateway.port, lambda: request("GET", "/healthz/live"), 2.0))
    verdict = "reached" if done >= 250 else "MISSED"
    return Result(
        f"one-row queries of {CLIENTS} clients, one API process, {verdict}: at least 250 /s",
        done,
        floor,
        "/s",
        remark="as many clients of /healthz/live",
    )


def request(method: str, path: str, body: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM['Content-Type']}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


async def clients(port: int, make: Callable[[], bytes], seconds: float) -> float:
    """Answers a second; a client that does next to nothing but wait, so that it takes little of the machine."""
    done = 0
    deadline = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < deadline:
            writer.write(make())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 200"):
                raise RuntimeError(head.decode())
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
            done += 1
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / (time.perf_counter() - start)


def uploads(gateway: Service, objects: pa.Table) -> list[Result]:
    """A match of 10,000 uploaded positions at one second of arc, from request to last row."""
    mine = Table({name: beside(objects, 10_000, 3)[name].to_numpy() for name in ("source_id", "ra", "dec")})
    bodies = {}
    for serialisation in ("binary2", "tabledata"):
        document = from_table(mine)
        for field, ucd in zip(document.get_first_table().fields, ("meta.id", "pos.eq.ra", "pos.eq.dec"), strict=True):
            field.ucd = ucd
        buffer = io.BytesIO()
        writeto(document, buffer, tabledata_format=serialisation)
        bodies[serialisation] = buffer.getvalue()
    form = {"LANG": "ADQL", "QUERY": MATCH, "UPLOAD": "mine,param:table", "MAXREC": "100000"}

    with httpx.Client(base_url=gateway.url, timeout=60) as client:

        def match(serialisation: str) -> float:
            start = time.perf_counter()
            answer = client.post("/tap/sync", data=form, files={"table": bodies[serialisation]})
            answer.raise_for_status()
            return time.perf_counter() - start

        def download() -> float:
            start = time.perf_counter()
            client.post(
                "/tap/sync", data={"LANG": "ADQL", "QUERY": "SELECT TOP 10000 source_id, ra, dec FROM bench.objects"}
            )
            return time.perf_counter() - start

        match("binary2"), match("tabledata"), download()
        binary, text, floor = alternately(UPLOADS, lambda: match("binary2"), lambda: match("tabledata"), download)
    name = "match of 10,000 uploaded positions with 2,000,000 rows at 1 arcsec over HTTP"
    remark = "as many rows the other way, nothing matched"
    return [
        rate(f"{name}, BINARY2", binary * 1000, floor * 1000, 700, remark),
        rate(f"{name}, TABLEDATA", text * 1000, floor * 1000, 900, remark),
    ]


def jobs(gateway: Service) -> list[Result]:
    """A one-row query as a job, by pyvo: create, run, wait, fetch, delete."""
    tap = pyvo.dal.TAPService(f"{gateway.url}/tap")
    numbers = itertools.count(1000)

    def job() -> float:
        start = time.perf_counter()
        if len(tap.run_async(ONE_ROW.format(next(numbers)))) != 1:
            raise RuntimeError("a job without its row")
        return time.perf_counter() - start

    def sync() -> float:
        start = time.perf_counter()
        tap.run_sync(ONE_ROW.format(next(numbers)))
        return time.perf_counter() - start

    job(), sync()
    async_, floor = alternately(JOBS, job, sync)
    return [
        rate("pyvo run_async of a one-row query, p50", async_ * 1000, floor * 1000, 400, "pyvo run_sync of the same")
    ]


def streams(gateway: Service) -> list[Result]:
    """The first byte, gzip, and an Arrow table in Python; of a million rows."""
    query = f"SELECT {', '.join(catalog(1).column_names)} FROM bench.stream"

    def first_byte() -> float:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as client:
            return ask(client, query, MAXREC=STREAMED).first

    def fetch(encoding: str) -> float:
        start = time.perf_counter()
        form = {"LANG": "ADQL", "QUERY": query, "MAXREC": str(STREAMED)}
        size = 0
        with httpx.stream(
            "POST", f"{gateway.url}/tap/sync", data=form, headers={"Accept-Encoding": encoding}, timeout=60
        ) as answer:
            for piece in answer.iter_bytes():
                size += len(piece)
        if size < 20 * STREAMED:
            raise RuntimeError(f"{size} bytes cannot hold {STREAMED} rows")
        return time.perf_counter() - start

    def arrow(asked: str, read: Callable[[Iterator[bytes]], pa.Table]) -> float:
        start = time.perf_counter()
        form = {"LANG": "ADQL", "QUERY": query, "MAXREC": str(STREAMED), "RESPONSEFORMAT": asked}
        with httpx.stream("POST", f"{gateway.url}/tap/sync", data=form, timeout=60) as answer:
            table = read(answer.iter_bytes())
        if table.num_rows != STREAMED:
            raise RuntimeError(f"{table.num_rows} rows arrived")
        return time.perf_counter() - start

    first_byte(), fetch("identity")
    first, plain, packed = alternately(3, first_byte, lambda: fetch("identity"), lambda: fetch("gzip, deflate"))
    stream, parquet = alternately(3, lambda: arrow("arrow", from_stream), lambda: arrow("parquet", from_parquet))
    remark = "the same as a BINARY2 stream that is read and forgotten"
    return [
        rate("first byte of 1,000,000 rows x 10 columns", first * 1000, plain * 1000, 100, "the last byte"),
        rate(
            "1,000,000 rows x 10 columns as BINARY2 with Accept-Encoding: gzip, deflate",
            packed * 1000,
            plain * 1000,
            1200 * plain,
            "the same without",
        ),
        rate(
            "1,000,000 rows x 10 columns into an Arrow table, as Arrow stream",
            stream * 1000,
            plain * 1000,
            2000,
            remark,
        ),
        rate("1,000,000 rows x 10 columns into an Arrow table, as Parquet", parquet * 1000, plain * 1000, 2000, remark),
    ]


def from_stream(pieces: Iterator[bytes]) -> pa.Table:
    return pa.ipc.open_stream(pa.BufferReader(b"".join(pieces))).read_all()


def from_parquet(pieces: Iterator[bytes]) -> pa.Table:
    return pq.read_table(pa.BufferReader(b"".join(pieces)))


def memory(gateway: Service) -> Result:
    """Most memory of the API process while it streams ten million rows, against one million."""
    columns = ", ".join(f"s.{name}" for name in catalog(1).column_names)
    query = f"SELECT {columns} FROM (SELECT TOP {{}} ra FROM bench.objects) AS o CROSS JOIN bench.stream AS s"
    peaks = []
    for times in (1, 10):
        Path(f"/proc/{gateway.api}/clear_refs").write_text("5")  # forgets the peak so far
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as client:
            if ask(client, query.format(times), MAXREC=times * STREAMED).nbytes < 20 * times * STREAMED:
                raise RuntimeError("rows are missing")
        status = Path(f"/proc/{gateway.api}/status").read_text()
        peaks.append(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
    more = peaks[1] - peaks[0]
    verdict = "reached" if more <= 32 else "MISSED"
    return Result(
        f"memory of the API process, 10,000,000 rows against 1,000,000: {more:+.1f} MB, {verdict}: at most +32 MB",
        peaks[0],
        peaks[1],
        "MB",
        remark="ten times the rows (less is better in both)",
    )


def wide_metadata(gateway: Service, server_url: str) -> list[Result]:
    """``/tables`` of two thousand columns."""
    few = pa.table({f"c{n}": pa.array([n], pa.int32()) for n in range(COLUMNS // 2)})
    with (
        published("bench.wide_a", few, server_url),
        published("bench.wide_b", few, server_url),
        httpx.Client(base_url=gateway.url) as client,
    ):

        def tables() -> float:
            start = time.perf_counter()
            if client.get("/tap/tables").text.count("<column") < COLUMNS:
                raise RuntimeError("columns are missing")
            return time.perf_counter() - start

        def live() -> float:
            start = time.perf_counter()
            client.get("/healthz/live")
            return time.perf_counter() - start

        deadline = time.monotonic() + 60
        while "bench.wide_b" not in client.get("/tap/tables").text and time.monotonic() < deadline:
            time.sleep(0.5)  # the service looks for news every few seconds
        warm, floor = alternately(TIMES, tables, live)
    return [rate(f"/tables of {COLUMNS:,} columns, warm", warm * 1000, floor * 1000, 10, "/healthz/live")]
