"""Places that callers hold in all processes together: rows with a lease, which heal by themselves (reliability R10)."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import asyncpg
import structlog

from gateway.db.faults import is_unreachable
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError

log = structlog.get_logger()

CONNECTIONS = 4
"""Connections of one process: each statement takes a millisecond."""

PATIENCE_S = 1.0
"""Longest wait for the database, seconds: a request that it does not answer is served without a place."""

# Any free number: of processes that try at once most then choose different ones, and who chose the same one gets nothing.
TAKE = """
INSERT INTO gateway.slot AS s (caller, number, holder, lease_until)
SELECT $1, n, $3, clock_timestamp() + $4::interval FROM generate_series(1, $2::integer) n
WHERE NOT EXISTS (SELECT FROM gateway.slot o WHERE o.caller = $1 AND o.number = n AND o.lease_until >= clock_timestamp())
ORDER BY random() LIMIT 1
ON CONFLICT (caller, number) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until
WHERE s.lease_until < clock_timestamp()
RETURNING number
"""

GIVE_BACK = "DELETE FROM gateway.slot WHERE caller = $1 AND holder = $2"

RENEW = """
UPDATE gateway.slot s SET lease_until = clock_timestamp() + $4::interval
FROM unnest($1::text[], $2::integer[], $3::text[]) AS h (caller, number, holder)
WHERE s.caller = h.caller AND s.number = h.number AND s.holder = h.holder
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A place that is held."""

    caller: str
    number: int
    holder: str


class Leases:
    """Takes places and gives them back; renews the leases of those that are held meanwhile."""

    def __init__(self, pool: asyncpg.Pool, lease: timedelta) -> None:
        self._pool = pool
        self._lease = lease
        self._held: set[Place] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._holder = secrets.token_hex(8)
        self._count = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, lease: timedelta) -> AsyncIterator[Self]:
        """Hold connections to the control database, which may come and go meanwhile.

        Parameters
        ----------
        lease
            How long a place stays taken when the process that holds it has died.
        """
        pool = asyncpg.create_pool(
            DatabaseURL.parse(url).with_application_name("gw:slots").asyncpg(),
            min_size=0,
            max_size=CONNECTIONS,
            timeout=PATIENCE_S,
            command_timeout=PATIENCE_S,
        )
        async with pool:
            leases = cls(pool, lease)
            renewing = asyncio.create_task(leases._renew_on(), name="slot leases")
            try:
                yield leases
            finally:
                renewing.cancel()
                await asyncio.wait({renewing, *leases._late})

    async def take(self, caller: str, *, most: int) -> Place | None:
        """Take one of a caller's places; ``None`` if all are taken, or another process was quicker.

        Raises
        ------
        BackendUnavailableError
            The control database does not answer.
        """
        self._count += 1
        holder = f"{self._holder}:{self._count}"
        try:
            async with asyncio.timeout(PATIENCE_S):
                number = await self._pool.fetchval(TAKE, caller, most, holder, self._lease)
        except BaseException as e:
            # It may have been taken all the same.
            releasing = asyncio.create_task(self._release(caller, holder))
            self._late.add(releasing)
            releasing.add_done_callback(self._late.discard)
            if is_unreachable(e):
                raise BackendUnavailableError("The control database does not answer") from e
            raise
        if number is None:
            return None
        place = Place(caller, number, holder)
        self._held.add(place)
        return place

    async def give_back(self, place: Place) -> None:
        """Give a place back; if that fails, its lease runs out."""
        self._held.discard(place)
        await self._release(place.caller, place.holder)

    async def _release(self, caller: str, holder: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._pool.execute(GIVE_BACK, caller, holder)
        except Exception as e:  # noqa: BLE001 - whatever it is, the place heals by itself
            log.warning("Slot not given back", owner=caller, reason=type(e).__name__)

    async def _renew_on(self) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3 * random.uniform(0.8, 1))  # noqa: S311
            if held := list(self._held):
                with suppress(Exception):  # the next round may do better, and a lease lasts for three
                    await self._pool.execute(
                        RENEW,
                        [place.caller for place in held],
                        [place.number for place in held],
                        [place.holder for place in held],
                        self._lease,
                    )
