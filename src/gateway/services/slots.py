"""So many at once, and a short wait for the next free place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from gateway.errors import OverloadedError


class Slots:
    """Places for work of one kind in this process.

    Parameters
    ----------
    count
        How many.
    patience
        How long a request waits for one.
    busy
        What a request that waited in vain is told.
    """

    def __init__(self, count: int, *, patience: timedelta, busy: str) -> None:
        self._free = asyncio.Semaphore(count)
        self._patience = patience
        self._busy = busy

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Hold a place.

        Raises
        ------
        OverloadedError
            None became free in time.
        """
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                await self._free.acquire()
        except TimeoutError:
            raise OverloadedError(self._busy) from None
        try:
            yield
        finally:
            self._free.release()
