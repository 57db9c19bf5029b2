"""Queries, translation and status on a terminal: what the command line asks of the services."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from gateway.context import open_instruments, open_queries
from gateway.db.about import server_version
from gateway.errors import ParameterError
from gateway.services.access import Caller
from gateway.services.queries import ResultTable
from gateway.services.serialise import serialise
from gateway.settings import Settings
from gateway.vo import formats
from gateway.vo.formats.base import Overflow
from gateway.vo.tap import TapRequest

OPERATOR = Caller(key="operator", account=None, address=None)
"""Whoever can run commands here sees what everyone sees."""

SCREEN_ROWS = 100
"""Rows shown on a terminal; more are for a file."""


async def show_query(
    settings: Settings, adql: str, *, maxrec: int | None, base_url: str, console: Console, notes: Console
) -> None:
    """Run a query and show its first rows; links in them begin with ``base_url``."""
    started = time.monotonic()
    request = TapRequest(adql, maxrec=min(maxrec, SCREEN_ROWS) if maxrec is not None else SCREEN_ROWS)
    async with open_queries(settings) as queries:
        with notes.status("Running the query"):
            table = await queries.open(request, replace(OPERATOR, base_url=base_url))
        async with aclosing(table):
            batches = [batch async for batch in table]
            _show(table, batches, console)
            rows = sum(batch.num_rows for batch in batches)
            more = "; there are more, use -o FILE to write all" if isinstance(table.ending, Overflow) else ""
    notes.print(f"{rows} row{'s' if rows != 1 else ''} in {time.monotonic() - started:.2f} s{more}")


def _show(table: ResultTable, batches: list[pa.RecordBatch], console: Console) -> None:
    grid = RichTable(box=None, header_style="bold", pad_edge=False)
    for field in table.header.fields:
        heading = f"{field.name}\n[dim]{field.unit}[/dim]" if field.unit else field.name
        grid.add_column(heading, justify="right" if field.type.is_number else "left", overflow="fold")
    for batch in batches:
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            grid.add_row(*(Text("" if value is None else str(value)) for value in row))
    console.print(grid)


async def write_query(
    settings: Settings,
    adql: str,
    *,
    maxrec: int | None,
    base_url: str,
    path: Path | None,
    response_format: str | None,
    notes: Console,
) -> None:
    """Run a query and write its table to a file, or to standard output; a broken table leaves no file."""
    form, _ = formats.find(response_format or _format_of(path))
    request = TapRequest(adql, maxrec=settings.maxrec_hard if maxrec is None else maxrec)
    started = time.monotonic()
    async with open_queries(settings) as queries:
        with notes.status("Running the query"):
            table = await queries.open(request, replace(OPERATOR, base_url=base_url))
        async with aclosing(table), aclosing(serialise(table, form)) as body:
            size = await _write(body, path, notes)
        cut = f"; cut at {table.ending.maxrec:,} rows" if isinstance(table.ending, Overflow) else ""
    notes.print(f"{size:,} bytes in {time.monotonic() - started:.1f} s{cut}")


def _format_of(path: Path | None) -> str:
    suffix = path.suffix.lower() if path else ""
    for form in formats.FORMATS:
        if suffix in {form.extension, f".{form.key}"}:
            return form.key
    known = ", ".join(dict.fromkeys(form.extension for form in formats.FORMATS))
    raise ParameterError("FILE", str(path), f"its ending names no format; use one of {known}, or --format")


async def _write(body: AsyncGenerator[bytes, None], path: Path | None, notes: Console) -> int:
    if path is None:
        return await _copy(body, sys.stdout.buffer, notes)
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            size = await _copy(body, file, notes)
        partial.replace(path)
    except OSError as e:
        raise ParameterError("FILE", str(path), f"cannot be written: {e.strerror}") from e
    finally:
        partial.unlink(missing_ok=True)
    return size


async def _copy(body: AsyncGenerator[bytes, None], file: BinaryIO, notes: Console) -> int:
    size = 0
    with notes.status("Writing") as status:
        async for piece in body:
            size += len(piece)
            await asyncio.to_thread(file.write, piece)
            status.update(f"Writing: {size / 1e6:,.1f} MB")
    return size


@contextmanager
def translator(databases: AbstractContextManager[Settings] | None, *, strict: bool) -> Iterator[Callable[[str], str]]:
    """Give ``ADQL -> SQL``, against the published tables, or against none."""
    from gateway.sky.search import HealpixIndex
    from gateway.vo.adql import translate, translate_unresolved

    if databases is None:
        yield lambda text: translate_unresolved(text, strict=strict)
        return
    with databases as settings:
        tableset = asyncio.run(_tableset(settings))
        index = HealpixIndex()
        yield lambda text: translate(text, tableset, index=index, strict=strict).sql


async def _tableset(settings: Settings) -> Any:
    async with open_queries(settings) as queries:
        return await queries.tableset(OPERATOR)


async def collect_status(settings: Settings) -> list[tuple[str, str]]:
    """Lines of ``gateway status``: servers, queue depths, what is published."""
    async with open_instruments(settings) as instruments:
        backlogs = await instruments.store.backlogs()
        tables = [
            table for table in (await instruments.queries.tableset(OPERATOR)).tables if table.schema != "tap_schema"
        ]
        rows = sum(table.nrows or 0 for table in tables)
        is_alive = await instruments.wake_up.is_alive()
    urls = settings.urls()
    versions = {url: await server_version(url) for url in {urls.control, urls.catalog_admin}}
    return [
        ("PostgreSQL", ", ".join(sorted(set(versions.values())))),
        ("Redis", "answers" if is_alive else "does not answer; workers look for jobs by themselves"),
        *((f"queue {b.queue}", f"{b.waiting} waiting, {b.running} running") for b in backlogs),
        ("tables", f"{len(tables)} with {rows:,} rows" if tables else "none; publish one: gateway ingest table"),
    ]
