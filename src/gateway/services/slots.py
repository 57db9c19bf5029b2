"""So many at once, in a process or for a caller, and a short wait for the next free place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address
from weakref import WeakValueDictionary

import structlog

from gateway.db.leases import Leases, Place
from gateway.errors import BackendUnavailableError, OverloadedError
from gateway.services.access import Caller

log = structlog.get_logger()

LOOK_INTERVAL_S = 0.1
"""How often a waiting request looks for a place that another process has given back, seconds."""


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


class CallerSlots:
    """Places that one caller has in all processes of the gateway together.

    Parameters
    ----------
    leases
        Where they are counted.
    per_caller
        How many each caller has.
    patience
        How long a request waits for one.
    includes_loopback
        Whether callers of this machine, and those without an address, are counted too.
    """

    def __init__(self, leases: Leases, *, per_caller: int, patience: timedelta, includes_loopback: bool) -> None:
        self._leases = leases
        self._per_caller = per_caller
        self._patience = patience
        self._includes_loopback = includes_loopback
        # Of a caller's requests that wait in this process one looks, the others queue up behind it.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, caller: Caller) -> AsyncIterator[None]:
        """Hold a place of the caller's.

        Without an answer of the database that counts them nobody is refused: each process has its own limit besides.

        Raises
        ------
        OverloadedError
            None became free in time.
        """
        place = await self._wait(caller) if self._counts(caller) else None
        try:
            yield
        finally:
            if place is not None:
                await asyncio.shield(self._leases.give_back(place))

    def _counts(self, caller: Caller) -> bool:
        return self._includes_loopback or not is_loopback(caller.address)

    async def _wait(self, caller: Caller) -> Place | None:
        turn = self._turns.setdefault(caller.key, asyncio.Lock())
        try:
            async with asyncio.timeout(self._patience.total_seconds()), turn:
                # Another process tells nobody that it has given a place back.
                while (place := await self._leases.take(caller.key, most=self._per_caller)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_INTERVAL_S)
                return place
        except TimeoutError:
            raise OverloadedError(
                f"all of your {self._per_caller} slots for queries are taken (sync_slots_per_caller); wait until one of "
                "your queries ends, or send the query as a job"
            ) from None
        except BackendUnavailableError:
            log.warning("Slots not counted", owner=caller.key)
            return None


def is_loopback(address: str | None) -> bool:
    """Whether a request came from this machine, or by a way that has no addresses."""
    if address is None:
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:  # a test client's name
        return False
