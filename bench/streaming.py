"""A million rows, and wide ones, from ``/tap/sync`` against COPY of the same rows by psql.

Floor: ``psql`` with ``COPY (...) TO STDOUT`` to nowhere, binary for BINARY2 and CSV for the other formats.
Value: the service as ``gateway serve`` runs it, asked over HTTP by a client that reads and forgets. API, PostgreSQL
and client share the machine.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from bench.common import Result, alternately, catalog, psql, seconds
from bench.service import ask, published, service

ROWS = 1_000_000
WIDE_ROWS = 200_000
WIDE_COLUMNS = 150
ROUNDS = 5

FORMATS: Mapping[str, tuple[str, str, float | None]] = {
    "VOTable BINARY2": ("votable", "binary", 1.7),
    "VOTable BINARY": ("votable/b", "binary", None),
    "VOTable TABLEDATA": ("votable/td", "csv", 3.5),
    "CSV": ("csv", "csv", 2.0),
    "Parquet": ("parquet", "csv", 3.0),
    "Arrow stream": ("arrow", "csv", 1.5),
    "FITS": ("fits", "csv", 2.5),
    "JSON": ("json", "csv", None),
    "NDJSON": ("ndjson", "csv", None),
}
"""RESPONSEFORMAT, format of COPY, and how many times the time of COPY it may take."""


def run(server_url: str) -> Iterator[Result]:
    """Measure on a migrated catalog database."""
    rows, many = catalog(ROWS), wide(WIDE_ROWS)
    with (
        published("bench.stream", rows, server_url),
        published("bench.wide", many, server_url),
        service(server_url, "--no-worker") as gateway,
    ):
        for name, (asked, copied, most) in FORMATS.items():
            yield measured(gateway.port, server_url, "bench.stream", rows, name, (asked, copied, most))
        wished = ("votable", "binary", 2.5)
        yield measured(gateway.port, server_url, "bench.wide", many, "VOTable BINARY2", wished)


def measured(
    port: int, server_url: str, table: str, rows: pa.Table, name: str, wished: tuple[str, str, float | None]
) -> Result:
    """Time of a stream beside that of a COPY, in turns."""
    asked, copied, most = wished
    query = f"SELECT {', '.join(rows.column_names)} FROM {table}"
    stream = partial(fetch, port, query, asked, rows.num_rows)
    copy = copying(server_url, query, copied)
    stream(), copy()
    floor, value = alternately(ROUNDS, copy, stream)
    verdict = "" if most is None else f", {'reached' if value / floor <= most else 'MISSED'}: at most {most:g}"
    return Result(
        f"sync query as {name}, {rows.num_rows:,} rows x {rows.num_columns} columns: "
        f"{value / floor:.2f} times the time of COPY{verdict}",
        rows.num_rows / value,
        rows.num_rows / floor,
        "rows/s",
        remark=f"psql COPY to {copied} of the same rows, to nowhere",
    )


def fetch(port: int, query: str, asked: str, rows: int) -> float:
    """Seconds until the last byte of an answer, read and forgotten."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
        answer = ask(client, query, MAXREC=rows, RESPONSEFORMAT=asked)
    if answer.nbytes < 20 * rows:
        raise RuntimeError(f"{answer.nbytes} bytes cannot hold {rows} rows")
    return answer.seconds


def copying(server_url: str, query: str, form: str) -> Callable[[], float]:
    return lambda: seconds(lambda: psql(server_url, f"COPY ({query}) TO STDOUT (FORMAT {form})"))


def wide(rows: int) -> pa.Table:
    """Columns as the object tables of surveys have them: numbers, flags, text, arrays; a tenth of them null."""
    random = np.random.default_rng(20260102)

    def column(kind: int) -> pa.Array:
        holes = random.random(rows) < 0.1
        match kind:
            case 0 | 1 | 2:
                return pa.array(random.normal(size=rows), mask=holes)
            case 3 | 4:
                return pa.array(random.normal(size=rows).astype("f4"), mask=holes)
            case 5:
                return pa.array(random.integers(0, 2**40, rows), mask=holes)
            case 6:
                return pa.array(random.integers(0, 2**15, rows).astype("i2"), mask=holes)
            case 7:
                return pa.array(random.random(rows) < 0.5, mask=holes)
            case 8:
                return pa.array([f"t{number}" for number in random.integers(0, 10**6, rows)], mask=holes)
            case _:
                numbers = pa.array(random.normal(size=3 * rows).astype("f4"))
                return pa.ListArray.from_arrays(pa.array(np.arange(0, 3 * rows + 1, 3), pa.int32()), numbers)

    return pa.table({f"c{number}": column(number % 10) for number in range(WIDE_COLUMNS)})
