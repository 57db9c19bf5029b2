"""Announcements of phases, sent after the commit and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
import structlog

from gateway.errors import BackendUnavailableError
from gateway.jobs.store.statements import ANNOUNCE

log = structlog.get_logger()

PAUSE_S = 0.01
"""Shortest time between two sendings: who moves one job is announced at once, who moves hundreds sends little."""

END_TIMEOUT_S = 1.0
"""Longest wait for the last announcements when a store is closed."""


class Announcer:
    """Tells listeners which jobs have moved; who misses it reads the job again soon, as after any lost NOTIFY.

    Parameters
    ----------
    connect
        Gives a connection to the control database.
    """

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]) -> None:
        self._connect = connect
        self._owed: set[str] = set()
        self._sending: asyncio.Task[None] | None = None
        self._is_closing = False

    def tell(self, *job_ids: str) -> None:
        """Announce jobs as soon as what is being sent has been sent."""
        self._owed.update(job_ids)
        if self._owed and (self._sending is None or self._sending.done()):
            self._sending = asyncio.create_task(self._send())

    async def aclose(self) -> None:
        """Send what is owed, for as long as a second."""
        self._is_closing = True
        if self._sending is not None:
            _, late = await asyncio.wait({self._sending}, timeout=END_TIMEOUT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _send(self) -> None:
        while self._owed:
            job_ids = list(self._owed)
            self._owed.clear()
            try:
                async with self._connect() as connection:
                    await connection.execute(ANNOUNCE, job_ids)
            except BackendUnavailableError:
                log.warning("Phases not announced", jobs=len(job_ids))
            if not self._is_closing:
                await asyncio.sleep(PAUSE_S)
