"""One session owns one query: its transaction, the tables uploaded with it, the statement and the rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

import adbc_driver_manager as adbc
import pyarrow as pa
import structlog

from gateway.db.connections import Connection, Rows
from gateway.db.faults import translated
from gateway.db.roles import BASE_URL
from gateway.db.sql import identifier, literal
from gateway.errors import TimeLimitError
from gateway.vo.tableset import SkyIndex, Table

log = structlog.get_logger()

T = TypeVar("T")

CANCEL_PATIENCE = timedelta(seconds=3)
"""How long a cancelled statement may take to come back before its connection is left to a thread."""

CANCEL_AGAIN_S = 0.2
"""Pause before a statement that has not ended is cancelled once more. PostgreSQL forgets a cancellation that comes between two
statements, and our thread may just be about to send the next one: the query would run to its time limit, for nobody (F5)."""

SMALL_BATCH_BYTES = 256 * 1024
"""The driver gives a batch before it is full only at the end of the rows. Behind a batch as small as this one there
is nothing, and asking at once saves a change of threads."""

LABEL_BYTES = 63
"""PostgreSQL cuts application_name there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a session begins."""

    time_limit: timedelta
    """Wall-clock time that is left for it."""
    label: str
    """Shown as ``application_name``."""
    base_url: str = ""
    """With what URLs in the rows begin."""
    can_write_temp: bool = False
    """Whether uploads will be written before the query."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a query may use, as PostgreSQL spells it."""

    work_mem: str
    temp_file_limit: str | None

    def begin(self, opening: Opening) -> str:
        """Statements that open the transaction; everything they set ends with it."""
        settings = {
            "statement_timeout": milliseconds(opening.time_limit),
            "work_mem": self.work_mem,
            "application_name": opening.label.encode("ascii", "replace").decode()[:LABEL_BYTES],
            BASE_URL: opening.base_url,
        }
        if self.temp_file_limit is not None:
            settings["temp_file_limit"] = self.temp_file_limit
        words = [f"SET LOCAL {name} = {literal(value)}" for name, value in settings.items()]
        return "; ".join(["BEGIN" if opening.can_write_temp else "BEGIN READ ONLY", *words])


def milliseconds(limit: timedelta) -> str:
    """Spell a time limit for ``statement_timeout``, where 0 would mean none."""
    return str(max(1, min(round(limit.total_seconds() * 1000), 2**31 - 1)))


class QuerySession:
    """A transaction for one query; made by `CatalogEngine.session`."""

    def __init__(
        self,
        connection: Connection,
        *,
        time_limit: timedelta,
        spent: timedelta,
        threads: ThreadPoolExecutor,
        cancellers: ThreadPoolExecutor,
        is_frozen: bool,
    ) -> None:
        self._connection = connection
        self._time_limit = time_limit
        self._deadline = time.monotonic() + (time_limit - spent).total_seconds()
        self._threads = threads
        self._cancellers = cancellers
        self._is_frozen = is_frozen
        self._is_broken = False
        self._rows: Rows | None = None
        self._running: asyncio.Future[Any] | None = None

    async def upload(self, table: Table, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema) -> None:
        """Make a temporary table and fill it; before `execute`.

        Parameters
        ----------
        table
            Its physical name, columns and sky index. A HEALPix column of the index is no column of the table but
            the last of the batches.
        batches
            Rows, columns named as the physical ones. Read in a thread; what it raises comes out as itself.
        schema
            Schema of the batches.
        """
        await self._call(lambda: self._upload(table, batches, schema))

    async def execute(self, sql: str) -> RowStream:
        """Run the one query of the session, read-only; its first batch is there when this returns.

        Raises
        ------
        QueryError
            The query met values that it cannot work with.
        TimeLimitError
            The session's time is up.
        BackendUnavailableError, OverloadedError, ServiceError
            See `gateway.db.faults`.
        """
        rows, first, is_last = await self._call(lambda: self._execute(sql))
        return RowStream(self, rows, first, is_last=is_last)

    async def read(self, rows: Rows) -> pa.RecordBatch | None:
        """Wait for the next batch of the running query; for `RowStream`."""
        return await self._call(lambda: self._read(rows))

    def start_reading(self, rows: Rows) -> asyncio.Future[pa.RecordBatch | None]:
        """Fetch the next batch in the background; for `RowStream`."""
        return self._start(lambda: self._read(rows))

    async def result(self, running: asyncio.Future[T]) -> T:
        """Wait for what `start_reading` gave, its errors translated."""
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._is_broken = True
            raise
        except adbc.Error as e:
            self._is_broken = True
            raise self._translated(e) from e
        except BaseException:
            self._is_broken = True
            raise

    async def finish(self) -> Connection | None:
        """End the transaction and give the connection back if it can be used again.

        A statement that still runs is cancelled; then, and after any error, the connection is closed (R9).
        """
        is_busy = self._running is not None and not self._running.done()
        if not is_busy and not self._is_broken and self._rows is None:
            try:
                await self._call(lambda: self._connection.script("ROLLBACK"))
            except Exception as e:  # noqa: BLE001 - whatever it is, the connection is no good any more
                log.info("Connection lost at the end of its session", detail=str(e))
            else:
                return self._connection
        await self._abandon()
        return None

    # -- in the event loop ---------------------------------------------------------------------------------------

    async def _call(self, function: Callable[[], T]) -> T:
        return await self.result(self._start(function))

    def _start(self, function: Callable[[], T]) -> asyncio.Future[T]:
        running = asyncio.get_running_loop().run_in_executor(self._threads, function)
        self._running = running
        return running

    def _translated(self, error: adbc.Error) -> Exception:
        is_late = time.monotonic() >= self._deadline - 0.05
        return translated(error, time_limit=self._time_limit, is_late=is_late)

    async def _abandon(self) -> None:
        loop = asyncio.get_running_loop()
        running = self._running
        is_busy = running is not None and not running.done()
        if is_busy or self._rows is not None:
            await loop.run_in_executor(self._cancellers, self._cancel)
        if running is not None and is_busy:
            deadline = time.monotonic() + CANCEL_PATIENCE.total_seconds()
            while not (await asyncio.wait({running}, timeout=CANCEL_AGAIN_S))[0] and time.monotonic() < deadline:
                await loop.run_in_executor(self._cancellers, self._cancel)
            if not running.done():
                log.warning("Statement does not end on request; its connection is closed when it does")
                running.add_done_callback(self._close_late)
                return
        _see(running)
        # A backend that is blocked on sending to us does not hear the cancellation, but it feels the closed socket.
        await loop.run_in_executor(self._cancellers, self._close)

    def _close_late(self, running: asyncio.Future[Any]) -> None:
        _see(running)
        self._cancellers.submit(self._close)

    # -- in a thread ---------------------------------------------------------------------------------------------

    def _upload(self, table: Table, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        for statement in create_statements(table):
            self._connection.script(statement)
        self._connection.copy_in(table.physical_name, schema, batches)
        for statement in index_statements(table):
            self._connection.script(statement)

    def _execute(self, sql: str) -> tuple[Rows, pa.RecordBatch | None, bool]:
        left = timedelta(seconds=self._deadline - time.monotonic())
        if left <= timedelta(0):
            raise TimeLimitError("the time limit was used up before the query could start")
        if not self._is_frozen:
            self._connection.script(f"SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {milliseconds(left)}")
            self._is_frozen = True
        self._rows = rows = self._connection.query(sql)
        first = self._read(rows)
        if first is not None and first.nbytes < SMALL_BATCH_BYTES:
            second = self._read(rows)
            if second is not None:  # never seen; but then the rows must not be lost
                return rows, pa.concat_batches([first, second]), False
        return rows, first, self._rows is None

    def _read(self, rows: Rows) -> pa.RecordBatch | None:
        batch = rows.read()
        if batch is None:
            self._rows = None
            rows.close()
        return batch

    def _cancel(self) -> None:
        try:
            self._connection.cancel()
        except adbc.Error as e:
            log.info("Cancelling failed", detail=str(e))

    def _close(self) -> None:
        if self._rows is not None:
            self._rows.close()
        self._connection.close()


def _see(running: asyncio.Future[Any] | None) -> None:
    """Take note of an error that was told to whoever waited, or that nobody waits for any more."""
    if running is not None and running.done() and not running.cancelled():
        running.exception()


class RowStream:
    """Rows of a query in batches of about 4 MB; at most two of them are held at a time."""

    def __init__(self, session: QuerySession, rows: Rows, first: pa.RecordBatch | None, *, is_last: bool) -> None:
        self.schema: pa.Schema = rows.schema
        """Names and types as PostgreSQL gives them."""
        self._session = session
        self._rows = rows
        self.first = first
        self._is_last = is_last
        self._next: asyncio.Future[pa.RecordBatch | None] | None = None
        self.total: int | None = (first.num_rows if first is not None else 0) if is_last else None
        """Number of all rows if they were so few that they are here already, else ``None``."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        batch = await self._batch()
        if batch is None:
            self._is_last = True
            raise StopAsyncIteration
        if not self._is_last and self._next is None:
            # While the caller writes this batch, a thread fetches the next one.
            self._next = self._session.start_reading(self._rows)
        return batch

    async def _batch(self) -> pa.RecordBatch | None:
        if self.first is not None:
            batch, self.first = self.first, None
            return batch
        if self._is_last:
            return None
        if self._next is None:
            return await self._session.read(self._rows)
        running, self._next = self._next, None
        return await self._session.result(running)

    async def aclose(self) -> None:
        """Stop reading; the session's end cancels what still runs."""
        self.first = None
        self._is_last = True


def create_statements(table: Table) -> list[str]:
    """Give the SQL that makes the temporary table of an upload; it is gone with the transaction."""
    columns = [f"{identifier(column.physical)} {column.sql_type}" for column in table.columns]
    if table.sky is not None and table.sky.healpix is not None:
        columns.append(f"{identifier(table.sky.healpix)} bigint")
    return [f"CREATE TEMPORARY TABLE {identifier(table.physical_name)} ({', '.join(columns)}) ON COMMIT DROP"]


def index_statements(table: Table) -> list[str]:
    """Give the SQL that makes an uploaded table known to the planner, and its positions quick to find."""
    name = f"pg_temp.{identifier(table.physical_name)}"
    return [*_sky_indexes(name, table.sky), f"ANALYZE {name}"]


def _sky_indexes(name: str, sky: SkyIndex | None) -> list[str]:
    if sky is None:
        return []
    statements = []
    if sky.healpix is not None:
        statements.append(f"CREATE INDEX ON {name} ({identifier(sky.healpix)})")
    if sky.has_zones:
        # queries compare doubles: of a column of another type the index has to hold these
        ra = f"({identifier(sky.ra)}::double precision)"
        statements.append(f"CREATE INDEX ON {name} (sky.zone({identifier(sky.dec)}::double precision), {ra})")
    return statements
