"""What clients do: create, read, change, run, abort and destroy jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from gateway.errors import IllegalMoveError, NotFoundError
from gateway.jobs.models import ErrorSummary, Job, Upload
from gateway.jobs.phases import FINAL, Phase, sources
from gateway.jobs.store.pool import Pooled
from gateway.jobs.store.rows import to_job, whole_seconds, words
from gateway.jobs.store.statements import (
    ABORT,
    ADMIT_LOCK,
    CANCEL_PARTS,
    CREATE,
    DESTROY,
    ENQUEUE,
    LIST,
    LOAD,
    LOCK_PENDING,
    READ,
    REFUSE,
    SET_DESTRUCTION,
    SET_EXECUTION_DURATION,
    SET_PARAMETERS,
)

LIST_LIMIT = 10_000
"""Most jobs in one answer; a longer list is asked for in pieces by AFTER and LAST."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many jobs wait: an owner's fresh PENDING and QUEUED ones, and everyone's QUEUED ones."""

    pending: int
    queued: int
    total: int


def _anyone(_load: Load) -> None:
    """Let everyone in."""


class ClientSide(Pooled):
    """What clients do with jobs, through the service."""

    async def create(
        self,
        job_id: str,
        *,
        job_list: str,
        owner: str,
        account: str | None,
        base_url: str,
        run_id: str | None,
        retention: timedelta,
        execution_duration: timedelta | None,
        parameters: Sequence[tuple[str, str]],
        uploads: Sequence[Upload],
        admit: Callable[[Load], None] = _anyone,
    ) -> Job:
        """Add a PENDING job, unless ``admit`` raises at what waits already."""
        async with self._admitted(owner, admit) as connection:
            row = await connection.fetchrow(
                CREATE,
                job_id,
                job_list,
                owner,
                account,
                base_url,
                run_id,
                retention,
                whole_seconds(execution_duration),
                parameters,
                [upload.to_json() for upload in uploads],
            )
        return to_job(row)

    async def get(self, job_id: str) -> Job:
        """Read a job.

        Raises
        ------
        NotFoundError
            There is none of that name, or it was destroyed.
        """
        async with self._connection() as connection:
            row = await connection.fetchrow(READ, job_id)
        if row is None:
            raise NotFoundError(f"There is no job {job_id[:64]!r} here")
        return to_job(row)

    async def list(
        self,
        job_list: str,
        owner: str,
        account: str | None,
        *,
        phases: Iterable[Phase],
        after: datetime | None = None,
        last: int | None = None,
    ) -> tuple[Job, ...]:
        """Read the jobs of one owner, newest first, without results and progress."""
        limit = min(last, LIST_LIMIT) if last is not None else LIST_LIMIT
        async with self._connection() as connection:
            rows = await connection.fetch(LIST, job_list, owner, account, list(phases), after, limit)
        return tuple(to_job(row) for row in rows)

    async def load(self, owner: str) -> Load:
        """Count the jobs that wait."""
        async with self._connection() as connection:
            return Load(*await connection.fetchrow(LOAD, owner))

    @asynccontextmanager
    async def _admitted(self, owner: str, admit: Callable[[Load], None]) -> AsyncIterator[asyncpg.Connection]:
        """Hold a transaction for one more job of an owner. Of requests at once each sees those that came before (A22)."""
        async with self._transaction() as connection:
            if admit is not _anyone:
                await connection.execute(ADMIT_LOCK, owner)
                # A statement of its own: it has to see what earlier holders of the lock have committed.
                admit(Load(*await connection.fetchrow(LOAD, owner)))
            yield connection

    @asynccontextmanager
    async def pending(self, job_id: str) -> AsyncIterator[PendingJob]:
        """Hold a PENDING job, so that nobody else changes or runs it meanwhile.

        Raises
        ------
        IllegalMoveError
            The job is not PENDING any more.
        """
        async with self._transaction() as connection:
            row = await connection.fetchrow(LOCK_PENDING, job_id)
            if row is None:
                raise NotFoundError(f"There is no job {job_id[:64]!r} here")
            job = to_job(row)
            if job.phase is not Phase.PENDING:
                raise IllegalMoveError(f"Parameters can be set while a job is PENDING only; this one is {job.phase}")
            yield PendingJob(job, connection)

    async def set_destruction(self, job_id: str, destruction: datetime, *, at_most: timedelta) -> bool:
        """Set when a job goes, at most so long after its creation; ``False`` if it is gone already."""
        async with self._connection() as connection:
            return await connection.fetchval(SET_DESTRUCTION, job_id, destruction, at_most) is not None

    async def set_execution_duration(self, job_id: str, duration: timedelta | None) -> bool:
        """Set how long a job may run; ``False`` if it runs already or has ended."""
        async with self._connection() as connection:
            return await connection.fetchval(SET_EXECUTION_DURATION, job_id, whole_seconds(duration)) is not None

    async def refuse(self, job_id: str, error: ErrorSummary) -> bool:
        """Move a PENDING or HELD job to ERROR because it cannot be run; ``False`` if it was neither."""
        async with self._connection() as connection:
            return await connection.fetchval(REFUSE, job_id, error.message, error.type) is not None

    async def enqueue(
        self, job_id: str, queue: str, *, parts: int = 1, owner: str = "", admit: Callable[[Load], None] = _anyone
    ) -> bool:
        """Move a job to QUEUED and make its parts claimable; ``False`` if its phase does not allow it.

        ``admit`` is shown what waits of ``owner``, and raises if that is too much.
        """
        async with self._admitted(owner, admit) as connection:
            made = await connection.fetch(ENQUEUE, job_id, queue, parts, words(sources(Phase.QUEUED)))
        return bool(made)

    async def abort(self, job_id: str) -> bool:
        """Move a job to ABORTED and cancel its parts; ``False`` if its phase does not allow it."""
        async with self._transaction() as connection:
            if await connection.fetchval(ABORT, job_id, words(sources(Phase.ABORTED))) is None:
                return False
            await connection.execute(CANCEL_PARTS, [job_id])
            return True

    async def destroy(self, job_id: str) -> bool:
        """Make a job unfindable and cancel its parts; ``False`` if it is gone already."""
        async with self._transaction() as connection:
            return bool(await destroy_all(connection, [job_id]))


class PendingJob:
    """A PENDING job under a lock."""

    def __init__(self, job: Job, connection: asyncpg.Connection) -> None:
        self.job = job
        self._connection = connection

    async def set_parameters(
        self, parameters: Sequence[tuple[str, str]], uploads: Sequence[Upload], run_id: str | None
    ) -> None:
        """Replace all parameters."""
        files = [upload.to_json() for upload in uploads]
        await self._connection.execute(SET_PARAMETERS, self.job.job_id, parameters, files, run_id)


async def destroy_all(connection: asyncpg.Connection, ids: Sequence[str]) -> tuple[str, ...]:
    """Make jobs unfindable and cancel their parts; gives those that were there."""
    if not ids:
        return ()
    gone = tuple(row["id"] for row in await connection.fetch(DESTROY, ids, words(FINAL)))
    if gone:
        await connection.execute(CANCEL_PARTS, gone)
    return gone
