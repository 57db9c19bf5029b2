"""The catalog's engine: a pool of connections under the query role, and the threads that wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import adbc_driver_manager as adbc
import structlog

from gateway.db.connections import Connection, Database
from gateway.db.faults import UNAVAILABLE, is_unreachable, translated
from gateway.db.roles import QUERY_ROLE
from gateway.db.sessions import Limits, Opening, QuerySession
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError, OverloadedError

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

IDLE_LIFE = timedelta(minutes=5)
"""A connection unused for so long is closed: firewalls forget it, and the server wants its memory back."""

LATE_LIMIT_S = 5.0
"""How long closing waits for connections that are still being made or given back."""

INSUFFICIENT_PRIVILEGE = "42501"


class CatalogEngine:
    """Runs queries on the catalog database, each in a session of its own.

    Parameters
    ----------
    url
        Catalog database, as a user who may become the query role.
    size
        Most connections at once.
    patience
        How long a session waits for a free connection.
    work_mem, temp_file_limit
        Limits of one query as PostgreSQL spells them; the second where the role may set it.
    role
        Role that every session takes on.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        patience: timedelta = timedelta(seconds=5),
        work_mem: str = "64MB",
        temp_file_limit: str | None = "4GB",
        role: str = QUERY_ROLE,
    ) -> None:
        self._database = Database(DatabaseURL.parse(url).with_application_name("gw:idle"), role=role)
        self._size = size
        self._patience = patience
        self._limits = Limits(work_mem=work_mem, temp_file_limit=temp_file_limit)
        self._free = asyncio.Semaphore(size)
        # What is still to be done for someone who may have gone meanwhile.
        self._late: set[asyncio.Future[None]] = set()
        self._idle: list[tuple[Connection, float]] = []
        # Each connection keeps one thread busy at most; cancelling must not queue up behind what it cancels.
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="gw-catalog")
        self._cancellers = ThreadPoolExecutor(4, thread_name_prefix="gw-cancel")

    @asynccontextmanager
    async def session(
        self,
        *,
        time_limit: timedelta,
        label: str,
        base_url: str = "",
        can_write_temp: bool = False,
        spent: timedelta = timedelta(0),
    ) -> AsyncIterator[QuerySession]:
        """Open a session: one transaction with its limits, for one query.

        Parameters
        ----------
        time_limit
            Wall-clock time for everything in the session, until the last row is read.
        label
            Shown as ``application_name`` in ``pg_stat_activity``, at most 63 characters of it.
        base_url
            With what URLs in the rows begin.
        spent
            How much of the limit is gone already.
        can_write_temp
            Whether uploads will be written; else the transaction is read-only from its first statement.

        Raises
        ------
        OverloadedError
            No connection became free in time.
        BackendUnavailableError
            The database does not answer.
        """
        async with self._slot():
            opening = Opening(
                time_limit=time_limit - spent, label=label, base_url=base_url, can_write_temp=can_write_temp
            )
            session = await self._begin(opening, time_limit, spent)
            try:
                yield session
            finally:
                await asyncio.shield(self._soon(self._end(session)))

    async def aclose(self) -> None:
        """Close idle connections; call when no session is open."""
        if self._late:
            await asyncio.wait(self._late, timeout=LATE_LIMIT_S)
            if self._late:
                return  # a server that answers neither yes nor no; the process ends and so do they
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            await self._in_thread(connection.close)
        await self._in_thread(self._database.close)
        self._threads.shutdown(wait=False)
        self._cancellers.shutdown(wait=False)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                await self._free.acquire()
        except TimeoutError:
            raise OverloadedError(
                f"all {self._size} database connections are busy; try again in a few seconds"
            ) from None
        try:
            yield
        finally:
            self._free.release()

    async def _begin(self, opening: Opening, time_limit: timedelta, spent: timedelta) -> QuerySession:
        begin = asyncio.ensure_future(self._in_thread(self._begun, opening))
        try:
            connection = await asyncio.shield(begin)
        except asyncio.CancelledError:
            # The thread cannot be stopped: take what it brings and put it away, and keep the slot until then.
            await asyncio.shield(self._soon(self._put_away(begin)))
            raise
        except adbc.Error as e:
            if is_unreachable(e):
                log.warning("Catalog database unreachable", detail=str(e))
                raise BackendUnavailableError(UNAVAILABLE) from e
            raise translated(e, time_limit=time_limit, is_late=False) from e
        return QuerySession(
            connection,
            time_limit=time_limit,
            spent=spent,
            threads=self._threads,
            cancellers=self._cancellers,
            is_frozen=not opening.can_write_temp,
        )

    def _begun(self, opening: Opening) -> Connection:
        """Give a connection whose transaction has begun; runs in a thread."""
        while (connection := self._reusable()) is not None:
            try:
                self._start(connection, opening)
            except adbc.Error as e:
                connection.close()
                if not is_unreachable(e):
                    raise
                # The server was restarted under it; nothing has run yet, so another one may do.
                log.info("Stale connection replaced")
            else:
                return connection
        connection = self._database.connect()
        try:
            self._start(connection, opening)
        except BaseException:
            connection.close()
            raise
        return connection

    def _reusable(self) -> Connection | None:
        while True:
            try:
                # list.pop is atomic; the most recently used comes first, so that the others may grow old.
                connection, since = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < IDLE_LIFE.total_seconds():
                return connection
            connection.close()

    def _start(self, connection: Connection, opening: Opening) -> None:
        try:
            connection.script(self._limits.begin(opening))
        except adbc.Error as e:
            if e.sqlstate != INSUFFICIENT_PRIVILEGE or self._limits.temp_file_limit is None:
                raise
            # Only superusers, and roles they gave the right to, limit temporary files; the server's own limit holds.
            log.warning("No right to set temp_file_limit; the server's own limit is in force")
            self._limits = Limits(work_mem=self._limits.work_mem, temp_file_limit=None)
            connection.script("ROLLBACK")
            connection.script(self._limits.begin(opening))

    async def _end(self, session: QuerySession) -> None:
        connection = await session.finish()
        if connection is not None:
            self._idle.append((connection, time.monotonic()))

    def _soon(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Do something to its end, even if whoever waits for it is cancelled; closing the engine waits for it."""
        task = asyncio.ensure_future(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return task

    async def _put_away(self, begin: asyncio.Future[Connection]) -> None:
        with suppress(adbc.Error):
            connection = await begin
            await self._in_thread(connection.close)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))
