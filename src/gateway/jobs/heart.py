"""The heartbeat of a worker: its leases renewed from a thread and a connection of their own (reliability R3).

A worker whose event loop is busy, or whose pool waits for a database, keeps its claims as long as this thread reaches
PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

import asyncpg
import structlog

from gateway.jobs.models import Claim
from gateway.jobs.store import CONNECTION_ERRORS, HEARTBEAT, connect

log = structlog.get_logger()

SETTLE_S = 0.1
"""Pause between a poke and the look at the claims: most pokes are of jobs that end within it."""

RECONNECT_S = 0.5
"""Pause before a lost database is tried again; leases are tens of seconds."""


class Heart:
    """Renews the leases of claims until they are removed, and tells which were lost."""

    def __init__(
        self, url: str, *, worker: str, lease: timedelta, interval: timedelta, on_lost: Callable[[Claim], None]
    ) -> None:
        """Prepare the thread.

        Parameters
        ----------
        url
            Control database.
        worker
            Name of the worker, for ``pg_stat_activity``.
        lease, interval
            How long claims are the worker's after each beat; time between beats.
        on_lost
            Called in the heart's thread with each claim that is not the worker's any more, or is to be cancelled.
        """
        self._url = url
        self._name = f"gw:heart:{worker}"[:63]
        self._lease = lease
        self._interval_s = interval.total_seconds()
        self._on_lost = on_lost
        self._claims: dict[tuple[int, int], tuple[Claim, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poked = asyncio.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._main, name="heart", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.poke()
        # It may hang in a dead network; being a daemon, it does not keep the process.
        self._thread.join(timeout=2)

    def add(self, claim: Claim, progress: dict[str, Any]) -> None:
        """Renew a claim from now on; ``progress`` is read at each beat."""
        with self._lock:
            self._claims[claim.hold] = (claim, progress)

    def remove(self, claim: Claim) -> None:
        """Leave a claim alone."""
        with self._lock:
            self._claims.pop(claim.hold, None)

    def poke(self) -> None:
        """Beat soon: a claim may have been cancelled."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the thread has just ended
                self._loop.call_soon_threadsafe(self._poked.set)

    def _main(self) -> None:
        asyncio.run(self._beat_on())

    async def _beat_on(self) -> None:
        self._loop = asyncio.get_running_loop()
        connection: asyncpg.Connection | None = None
        pause = self._interval_s
        while not self._stopped.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), pause)
                await asyncio.sleep(0 if self._stopped.is_set() else SETTLE_S)
            self._poked.clear()
            try:
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                await self._beat(connection)
                pause = self._interval_s
            except CONNECTION_ERRORS as e:
                log.warning("Heartbeat failed", reason=type(e).__name__)
                pause = min(RECONNECT_S, self._interval_s)
                if connection is not None:
                    connection.terminate()
                    connection = None
        if connection is not None:
            connection.terminate()

    async def _connect(self) -> asyncpg.Connection:
        connection = await connect(self._url, self._name)
        # A beat that a crash of the database loses is made good by the next one; a claim's own commit is never lost.
        await connection.execute("SET synchronous_commit = off")
        return connection

    async def _beat(self, connection: asyncpg.Connection) -> None:
        with self._lock:
            held = list(self._claims.values())
        if not held:
            return
        rows = await connection.fetch(
            HEARTBEAT,
            [claim.part_id for claim, _ in held],
            [claim.token for claim, _ in held],
            [json.dumps(dict(progress)) for _, progress in held],
            self._lease,
        )
        kept = {(row["id"], row["token"]) for row in rows}
        for claim, _ in held:
            if claim.hold not in kept:
                self._on_lost(claim)
