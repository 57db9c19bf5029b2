"""The sky in the database: cones, positional joins, footprints, nearest first, and the way there from ADQL.

Every statement is translated from ADQL as the service does it; times are PostgreSQL's own, planning and execution, medians
over places all over the sky. Floors are what the same server needs for as many rows with no geometry at all: a stretch of the
same index for cones and footprints, a join on an integer for joins by position, sqlglot alone for the translation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import asyncpg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot

from bench.common import Result, rate
from gateway.db.urls import DatabaseURL
from gateway.errors import NotFoundError
from gateway.ingest.tables import drop_table, ingest_table
from gateway.sky.cells import numbers
from gateway.sky.index import ORDER, order29
from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate
from gateway.vo.tableset import Column, Datatype, Field, Schema, SkyIndex, Table, Tableset, VOType

ROWS = int(os.environ.get("GATEWAY_BENCH_SKY_ROWS", "2000000"))
"""Rows of the large table; fewer only to try a change."""
DRIVING = 100_000
UPLOADED = 10_000
FOOTPRINTS = ROWS // 2
PLACES = 200
TRANSLATIONS = 1000
JOINS = 5
ARCSECOND = 1 / 3600

LONG, DOUBLE = VOType(Datatype.LONG), VOType(Datatype.DOUBLE)
POLYGON = VOType(Datatype.DOUBLE, "*", "polygon")
INDEX = HealpixIndex()

QUERY = (
    "SELECT TOP 100 s.source_id, s.ra, s.dec, DISTANCE(POINT(s.ra, s.dec), POINT(56.75, 24.1167)) AS dist "
    "FROM bench.sky AS s JOIN bench.driving AS d ON s.source_id = d.source_id WHERE 1 = CONTAINS(POINT(s.ra, s.dec), "
    "CIRCLE(56.75, 24.1167, 0.5)) AND s.mag BETWEEN 12.5 AND 18 AND d.mag > 15 ORDER BY dist"
)
"""Three hundred characters of everyday ADQL."""


def run(server_url: str) -> list[Result]:
    """Measure on a migrated catalog database."""
    translated = translation()  # first: after the loading, the server has much to tidy up on the other core
    fill(server_url)
    try:
        return translated + asyncio.run(measure(server_url))
    finally:
        for name in ("bench.sky", "bench.tenth"):
            drop_table(name, server_url)


async def measure(server_url: str) -> list[Result]:
    connection = await asyncpg.connect(DatabaseURL.parse(server_url).asyncpg())
    bench = Bench(connection)
    try:
        await connection.execute("SET jit = off")
        return [
            *await bench.cones(),
            *await bench.growth(),
            *await bench.nearest(),
            *await bench.joins(),
            *await bench.footprints(),
        ]
    finally:
        await connection.execute("DROP SCHEMA IF EXISTS bench_sky CASCADE")
        await connection.close()


def sphere(rows: int, seed: int) -> pa.Table:
    """Rows all over the sky."""
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "source_id": np.arange(rows),
            "ra": random.uniform(0, 360, rows),
            "dec": np.degrees(np.arcsin(random.uniform(-1, 1, rows))),
            "mag": random.normal(18, 2, rows).astype("f4"),
        }
    )


def beside(rows: pa.Table, count: int, seed: int) -> pa.Table:
    """Some of the rows, half of them within an arcsecond of their place, the others just beyond."""
    random = np.random.default_rng(seed)
    chosen = rows.take(random.choice(rows.num_rows, count, replace=False))
    shift = np.where(random.random(count) < 0.5, 0.5, 2.0) * ARCSECOND
    dec = np.clip(np.asarray(chosen["dec"]) + shift, -90, 90)
    return chosen.set_column(2, "dec", pa.array(dec))


def fill(server_url: str) -> None:
    """Publish two tables by ingest, and make the others by hand."""
    large = sphere(ROWS, 1)
    for name, table in (("bench.sky", large), ("bench.tenth", sphere(ROWS // 10, 2))):
        with contextlib.suppress(NotFoundError):
            drop_table(name, server_url)  # left by a run that was stopped
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.parquet"
            pq.write_table(table, path, row_group_size=131_072)
            ingest_table([path], name=name, admin_url=server_url)
    with adbc.connect(server_url, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in (
            "DROP SCHEMA IF EXISTS bench_sky CASCADE",
            "CREATE SCHEMA bench_sky",
            "SET search_path = bench_sky",
        ):
            cursor.execute(statement)
        cursor.adbc_ingest("driving", beside(large, min(DRIVING, ROWS // 2), 3), mode="create")
        cursor.adbc_ingest("mine", beside(large, min(UPLOADED, ROWS // 2), 4), mode="create")
        for start in range(0, FOOTPRINTS, 100_000):
            mode = "append" if start else "create"
            cursor.adbc_ingest("images", images(min(100_000, FOOTPRINTS - start), start), mode=mode)
        for statement in (
            "CREATE TABLE registered AS SELECT source_id, ra, dec, mag FROM bench.sky ORDER BY source_id",
            "CREATE INDEX ON registered (sky.zone(dec), ra)",
            "CREATE INDEX ON registered (source_id)",
            "CREATE INDEX ON images USING gin (cells)",
            "CREATE INDEX ON images (id)",
            "ANALYZE driving, mine, registered, images",
        ):
            cursor.execute(statement)


def images(count: int, start: int) -> pa.Table:
    """Footprints a fifth of a degree across, turned anyhow, with the cells that they touch."""
    random = np.random.default_rng(1000 + start)
    ra, dec = random.uniform(0, 360, count), np.degrees(np.arcsin(random.uniform(-0.99, 0.99, count)))
    turn = random.uniform(0, 2 * np.pi, count)
    steps = np.linspace(-0.1, 0.1, 6)
    x, y = (part.ravel() for part in np.meshgrid(steps, steps))

    def at(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        east = x * np.cos(turn)[:, None] - y * np.sin(turn)[:, None]
        north = x * np.sin(turn)[:, None] + y * np.cos(turn)[:, None]
        decs = dec[:, None] + north
        return np.mod(ra[:, None] + east / np.cos(np.radians(decs)), 360), decs

    depth = 10
    leaves = order29(*(part.ravel() for part in at(x, y))).reshape(count, -1) >> 2 * (ORDER - depth)
    levels = [numbers(leaves, np.full(leaves.shape, depth))]
    levels += [-numbers(leaves >> 2 * (depth - up), np.full(leaves.shape, up)) for up in range(depth)]
    every = np.sort(np.concatenate(levels, axis=1), axis=1)
    first = np.ones(every.shape, dtype=bool)
    first[:, 1:] = every[:, 1:] != every[:, :-1]
    offsets = np.concatenate(([0], np.cumsum(first.sum(axis=1)))).astype("i4")
    corners = np.stack(at(np.array([-0.1, 0.1, 0.1, -0.1]), np.array([-0.1, -0.1, 0.1, 0.1])), axis=-1).reshape(
        count, 8
    )
    return pa.table(
        {
            "id": np.arange(start, start + count),
            "s_region": pa.ListArray.from_arrays(np.arange(0, 8 * count + 1, 8, dtype="i4"), corners.ravel()),
            "cells": pa.ListArray.from_arrays(offsets, every[first]),
        }
    )


def table(name: str, schema: str, sky: SkyIndex | None, nrows: int, *, has_regions: bool = False) -> Table:
    """Describe a table as the registry of published tables would."""
    columns = [("source_id", LONG, "bigint"), ("ra", DOUBLE, "double precision"), ("dec", DOUBLE, "double precision")]
    columns += [("mag", VOType(Datatype.FLOAT), "real")]
    if has_regions:
        columns = [("id", LONG, "bigint"), ("s_region", POLYGON, "double precision[]")]
    published = tuple(Column(Field(name, type_), name, sql) for name, type_, sql in columns)
    return Table("bench", name, published, schema, name, sky=sky, nrows=nrows)


BY_ZONES = SkyIndex("ra", "dec", None, has_zones=True)
INGESTED = SkyIndex("ra", "dec", "gw_hpx29", has_zones=True)
TABLES = Tableset(
    (
        Schema(
            "bench",
            (
                table("sky", "bench", INGESTED, ROWS),
                table("tenth", "bench", INGESTED, ROWS // 10),
                table("driving", "bench_sky", None, DRIVING),
                table("mine", "bench_sky", None, UPLOADED),
                table("registered", "bench_sky", BY_ZONES, ROWS),
                table(
                    "images",
                    "bench_sky",
                    SkyIndex("s_ra", "s_dec", region="s_region", cells="cells"),
                    FOOTPRINTS,
                    has_regions=True,
                ),
            ),
        ),
    )
)


def sql(adql: str) -> str:
    """Translate for the tables of this benchmark."""
    return translate(adql, TABLES, index=INDEX).sql


def translation() -> list[Result]:
    """Time from ADQL to SQL, each time for another region; sqlglot needs a dialect that has TOP."""

    works: tuple[Callable[[str], object], ...] = (
        sql,
        lambda query: sqlglot.parse_one(query, read="redshift").sql("postgres"),
    )
    times: tuple[list[float], list[float]] = ([], [])
    for place in range(TRANSLATIONS):
        query = QUERY.replace("56.75", f"{56 + place / 1000:.3f}")
        for work, took in zip(works, times, strict=True):  # by turns: both see the same moods of the machine
            start = time.perf_counter()
            work(query)
            took.append(time.perf_counter() - start)
    value, floor = (1000 * statistics.median(took) for took in times)
    name = f"ADQL of {len(QUERY)} characters to SQL"
    return [rate(name, value, floor, 1.5, "sqlglot parses and prints the same text, nothing resolved")]


class Bench:
    """Measures on one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        random = np.random.default_rng(5)
        self.places = list(
            zip(
                random.uniform(0, 360, PLACES).tolist(),
                np.degrees(np.arcsin(random.uniform(-1, 1, PLACES))).tolist(),
                strict=True,
            )
        )

    async def plan(self, statement: str) -> dict[str, object]:
        """What PostgreSQL tells of a run."""
        (row,) = await self.connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}")
        found: dict[str, object] = json.loads(row[0])[0]
        return found

    async def milliseconds(self, statements: Sequence[str]) -> float:
        """Median time of statements, planning and execution, when what they read is in memory."""
        times = []
        for statement in statements:
            await self.plan(statement)
            told = await self.plan(statement)
            times.append(float(told["Planning Time"]) + float(told["Execution Time"]))  # type: ignore[arg-type]
        return statistics.median(times)

    async def stretch(self, table: str, rows: float) -> float:
        """Median time to read as many neighbouring rows as a cone has, by the same index."""
        total = await self.connection.fetchval(f"SELECT count(*) FROM {table}")
        width = int(12 * 4**29 * rows / total)
        starts = np.random.default_rng(6).integers(0, 12 * 4**29 - width, PLACES)
        return await self.milliseconds(
            [f"SELECT source_id, ra, dec FROM {table} WHERE gw_hpx29 BETWEEN {s} AND {s + width}" for s in starts]
        )

    async def cones(self) -> list[Result]:
        results = []
        for radius, most in ((0.05, 1.2), (1.0, 2.0), (5.0, 15.0)):
            value = await self.milliseconds([cone("sky", place, radius) for place in self.places])
            floor = await self.stretch("bench.sky", ROWS * (1 - np.cos(np.radians(radius))) / 2)
            remark = "as many neighbouring rows from the same index"
            results.append(rate(f"cone of {radius:g} deg in {ROWS:,} rows", value, floor, most, remark))
        return results

    async def growth(self) -> list[Result]:
        small = await self.milliseconds([cone("tenth", place, 1.0) for place in self.places])
        large = await self.milliseconds([cone("sky", place, 1.0 / 10**0.5) for place in self.places])
        remark = f"as many rows in a table of {ROWS // 10:,}; {large / small:.2f} times as long, at most 1.3"
        return [rate("cone on ten times the rows", large, small, None, remark)]

    async def nearest(self) -> list[Result]:
        results = []
        for count in (10, 10_000):
            statements = [
                sql(f"SELECT TOP {count} source_id FROM bench.sky ORDER BY DISTANCE(ra, dec, {ra!r}, {dec!r})")
                for ra, dec in self.places[: PLACES if count == 10 else 20]
            ]
            value = await self.milliseconds(statements)
            told = (await self.plan(statements[0]))["Plan"]
            pages = told["Shared Hit Blocks"] + told["Shared Read Blocks"]  # type: ignore[index]
            floor = await self.stretch("bench.sky", count)
            results.append(
                rate(f"the {count:,} nearest rows", value, floor, None, f"as many neighbouring rows; {pages} pages")
            )
        return results

    async def joins(self) -> list[Result]:
        cases = (
            ("mine", "sky", 300.0, f"join of {UPLOADED:,} uploaded positions"),
            ("driving", "sky", 1000.0, f"join of {DRIVING:,} published positions"),
            ("driving", "registered", 2000.0, f"join of {DRIVING:,} positions with a registered table"),
        )
        results = []
        for driving, looked_up, most, name in cases:
            by_place = sql(
                f"SELECT a.source_id, b.source_id FROM bench.{driving} AS a JOIN bench.{looked_up} AS b"
                " ON DISTANCE(POINT(a.ra, a.dec), POINT(b.ra, b.dec)) < 1./3600"
            )
            by_number = f"SELECT a.source_id, b.ra FROM bench_sky.{driving} AS a JOIN bench_sky.registered AS b USING (source_id)"
            await self.connection.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
            floor = await self.milliseconds([by_number] * JOINS)
            await self.connection.execute("RESET enable_hashjoin; RESET enable_mergejoin")
            value = await self.milliseconds([by_place] * JOINS)
            results.append(
                rate(f"{name} at 1 arcsec, {ROWS:,} rows", value, floor, most, "as many look-ups by an integer")
            )
        return results

    async def footprints(self) -> list[Result]:
        shapes = (
            ("which contain a point", "CONTAINS(POINT({}, {}), s_region)", 3.0),
            ("which meet a circle of 0.1 deg", "INTERSECTS(s_region, CIRCLE({}, {}, 0.1))", 5.0),
        )
        results = []
        for name, test, most in shapes:
            statements = [
                sql(f"SELECT id FROM bench.images WHERE 1 = {test.format(repr(ra), repr(dec))}")
                for ra, dec in self.places
            ]
            rows = statistics.median([len(await self.connection.fetch(statement)) for statement in statements])
            starts = np.random.default_rng(6).integers(0, FOOTPRINTS // 2, PLACES)
            floor = await self.milliseconds(
                [f"SELECT id FROM bench_sky.images WHERE id BETWEEN {s} AND {s + int(rows)}" for s in starts]
            )
            value = await self.milliseconds(statements)
            results.append(rate(f"{FOOTPRINTS:,} footprints: {name}", value, floor, most, f"{rows:g} rows by number"))
        return results


def cone(name: str, place: tuple[float, float], radius: float) -> str:
    """Rows of a table around a place."""
    circle = f"CIRCLE({place[0]!r}, {place[1]!r}, {radius!r})"
    return sql(f"SELECT source_id, ra, dec FROM bench.{name} WHERE 1 = CONTAINS(POINT(ra, dec), {circle})")
