"""Ingest of a table against raw COPY of the same rows.

Floors: binary COPY, made beforehand and sent from memory, into a table without any index, committed; and the same by
hand, ``psql`` with ``\\copy`` from a CSV file.
Value: ``ingest_table`` from a Parquet file: read, check, HEALPix, sort, encode, COPY, three indexes, ANALYZE, publish.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from bench.common import Result, alternately, catalog, psql, seconds
from gateway.db.loading import SIGNATURE, TRAILER, CopyEncoder, PhysicalTable, joined, slices, sql_type
from gateway.db.urls import DatabaseURL
from gateway.errors import NotFoundError
from gateway.ingest.tables import drop_table, ingest_table

ROWS = 1_000_000
ROUNDS = 5
WANTED = 0.4


def run(server_url: str) -> list[Result]:
    """Measure on a migrated catalog database."""
    rows = catalog(ROWS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.parquet"
        pq.write_table(rows, path, row_group_size=131_072)
        text = Path(folder) / "catalog.csv"
        pacsv.write_csv(rows, text, pacsv.WriteOptions(include_header=False))
        encoder = CopyEncoder(rows.schema)
        stream = [joined(encoder.rows(piece)) for batch in rows.to_batches(65_536) for piece in slices(batch)]

        def ingest() -> float:
            report = ingest_table([path], name="bench.ingest", admin_url=server_url)
            drop_table("bench.ingest", server_url)
            return report.seconds

        def copy_csv() -> float:
            types = ", ".join(f"{field.name} {sql_type(field.type)}" for field in rows.schema)
            return seconds(
                lambda: psql(
                    server_url,
                    "CREATE SCHEMA IF NOT EXISTS bench_floor",
                    f"CREATE TABLE bench_floor.by_hand ({types})",
                    f"\\copy bench_floor.by_hand FROM '{text}' (FORMAT csv)",
                    "DROP TABLE bench_floor.by_hand",
                )
            )

        def copy() -> float:
            return asyncio.run(raw_copy(server_url, rows.schema, encoder.columns, stream))

        with contextlib.suppress(NotFoundError):
            drop_table("bench.ingest", server_url)  # left by a run that was stopped
        copy(), copy_csv(), ingest()  # the first of each warms files, pools and imports
        floor, by_hand, value = alternately(ROUNDS, copy, copy_csv, ingest)
    return [
        Result(
            "ingest of Parquet, 1,000,000 rows x 10 columns, published with its sky indexes",
            ROWS / value,
            ROWS / floor,
            "rows/s",
            wanted=WANTED,
            remark="raw binary COPY of the same rows from memory, no index",
        ),
        Result(
            "the same",
            ROWS / value,
            ROWS / by_hand,
            "rows/s",
            remark="psql \\copy of the same rows from a CSV file, no index",
        ),
    ]


async def raw_copy(url: str, schema: pa.Schema, columns: tuple[str, ...], stream: list[bytes]) -> float:
    """Seconds that PostgreSQL takes for the rows alone."""
    table = PhysicalTable("bench_floor", "rows", [(field.name, sql_type(field.type)) for field in schema])

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (SIGNATURE, *stream, TRAILER):
            yield piece

    connection = await asyncpg.connect(DatabaseURL.parse(url).asyncpg())
    try:
        await connection.execute("DROP SCHEMA IF EXISTS bench_floor CASCADE; CREATE SCHEMA bench_floor")
        start = time.perf_counter()
        async with connection.transaction():
            await connection.execute(table.create())
            await connection.copy_to_table(
                table.name, schema_name=table.schema, columns=columns, source=pieces(), format="binary"
            )
        took = time.perf_counter() - start
        await connection.execute("DROP SCHEMA bench_floor CASCADE")
    finally:
        await connection.close()
    return took
