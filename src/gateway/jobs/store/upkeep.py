"""What every worker does beside its work, and what tells the state of the queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from gateway.jobs.models import Loss, Part, Result
from gateway.jobs.store.clients import destroy_all
from gateway.jobs.store.pool import NAMES, Pooled
from gateway.jobs.store.rows import to_part
from gateway.jobs.store.statements import (
    ADOPT,
    CANCEL_PARTS,
    CLAIM_LOCKS,
    END_STALLED,
    EXPIRED,
    PURGE,
    PURGE_SLOTS,
    PURGE_TURNS,
    QUEUES,
    REAP,
    REFERENCED,
    UPKEEP_LOCK,
)
from gateway.jobs.store.workers import MAX_LOSSES

STALL_LIMIT = timedelta(seconds=5)
"""Longest pause between two messages of one statement. The driver sends "parse" and "execute" apart, and between them a
session counts as active: no time-out of PostgreSQL ends it, whatever it has locked (F3)."""

BATCH = 100
"""Jobs that the reaper or the sweeper takes in one transaction: bounds the time that their rows are locked."""

LOST_TOO_OFTEN = (
    f"The job was lost {MAX_LOSSES} times because the worker that ran it stopped or became silent; try it again later"
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many parts of one queue wait and run."""

    queue: str
    waiting: int
    running: int


class UpkeepSide(Pooled):
    """Reaping, expiring, forgetting, and what is looked at to do so."""

    async def end_stalled(self) -> int:
        """End sessions whose process froze, or whose machine vanished, in the middle of a statement; returns how many.

        What they have locked would keep every other worker from claiming and reaping. Waits up to a second for each to be gone.
        """
        async with self._connection() as connection:
            return int(await connection.fetchval(END_STALLED, NAMES, STALL_LIMIT))

    async def adopt(self, former: str, queue: str) -> int:
        """Let what waits in one queue wait in another; returns how many parts."""
        async with self._transaction() as connection:
            if not await connection.fetchval(UPKEEP_LOCK):
                return 0
            await connection.execute(CLAIM_LOCKS)
            status: str = await connection.execute(ADOPT, former, queue)
        return int(status.rpartition(" ")[2])

    async def reap(self, *, lease: timedelta) -> tuple[Loss, ...]:
        """Take back the parts of silent workers; nothing if another reaper is at it."""
        async with self._transaction() as connection:
            if not await connection.fetchval(UPKEEP_LOCK):
                return ()
            await connection.execute(CLAIM_LOCKS)
            rows = await connection.fetch(REAP, lease, BATCH, MAX_LOSSES, LOST_TOO_OFTEN)
            failed = [row["job_id"] for row in rows if row["failed"]]
            if failed:
                await connection.execute(CANCEL_PARTS, failed)
        return tuple(Loss(row["job_id"], row["queue"], row["number"], row["token"]) for row in rows)

    async def expire(self) -> tuple[str, ...]:
        """Destroy jobs whose destruction has come; nothing if another sweeper is at it."""
        async with self._transaction() as connection:
            if not await connection.fetchval(UPKEEP_LOCK):
                return ()
            await connection.execute(CLAIM_LOCKS)
            ids = [row["id"] for row in await connection.fetch(EXPIRED, BATCH)]
            return await destroy_all(connection, ids)

    async def purge(self, *, age: timedelta) -> int:
        """Forget jobs that were destroyed so long ago that nothing can write for them any more."""
        async with self._transaction() as connection:
            if not await connection.fetchval(UPKEEP_LOCK):
                return 0
            status: str = await connection.execute(PURGE, age, BATCH)
            await connection.execute(PURGE_TURNS)
            await connection.execute(PURGE_SLOTS)
        return int(status.rpartition(" ")[2])

    async def referenced(self, keys: Sequence[str]) -> set[str]:
        """Tell which of these objects some row still names, or a running claim may be writing."""
        ids = list({key.partition("/")[0] for key in keys})
        async with self._connection() as connection:
            rows = await connection.fetch(REFERENCED, ids)
        named: set[str] = set()
        running: set[str] = set()
        for row in rows:
            named |= {upload["key"] for upload in row["uploads"]}
            for results in row["results"] or ():
                named |= {key for result in results for key in Result.from_json(result).keys}
            running |= {f"{row['id']}/{claim}" for claim in row["claims"] or ()}
        return {key for key in keys if key in named or key.rpartition("/")[0] in running}

    async def parts(self, job_id: str) -> tuple[Part, ...]:
        """Read the parts of a job, with the history of their attempts."""
        async with self._connection() as connection:
            rows = await connection.fetch("SELECT * FROM gateway.job_part WHERE job_id = $1 ORDER BY number", job_id)
        return tuple(to_part(row) for row in rows)

    async def backlogs(self) -> tuple[Backlog, ...]:
        """Count what waits and runs in each queue."""
        async with self._connection() as connection:
            return tuple(Backlog(*row) for row in await connection.fetch(QUEUES))
