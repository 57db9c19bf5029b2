"""Jobs in PostgreSQL: each move one conditional UPDATE, each claim fenced by a token (reliability R1 to R6, R10).

Locks are always taken in the order job, part, turn; claim and reaper skip what is locked. All times are the
database's. Statements are SQL and not built, because each of them was argued about word by word.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Self

import asyncpg

from gateway.db.faults import DRIVER_ERRORS, is_unreachable
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError, IllegalMoveError, NotFoundError
from gateway.jobs.models import Claim, ErrorSummary, ErrorType, Job, Loss, Part, Result, RunState, Upload
from gateway.jobs.phases import FINAL, Phase, sources

JOB_CHANNEL = "gateway_job"
"""Channel of NOTIFY; the payload is the identifier of a job whose phase has changed.

A trigger sends it in the transaction of the change, whoever makes the change.
"""

MAX_ATTEMPTS = 3
"""Deaths of its child after which a part is poison (F20). Healthy parts have none."""

MAX_LOSSES = 10
"""Lost leases and releases after which a part is given up; more than the `MAX_ATTEMPTS`, for these are not its fault."""

ACQUIRE_TIMEOUT_S = 5.0
"""Longest wait for a pooled connection; then the caller hears 503 (F25)."""

COMMAND_TIMEOUT_S = 15.0
"""Longest single statement: all are short, so that a silent network is noticed (F8)."""

IDLE_LIMIT = "5s"
"""Longest pause inside a transaction. A process that is frozen there, or whose machine vanished, would else keep its
locks, and no other worker could claim (F3)."""

STALL_LIMIT = timedelta(seconds=5)
"""Longest pause between two messages of one statement. The driver sends "parse" and "execute" apart, and between them a
session counts as active: no time-out of PostgreSQL ends it, whatever it has locked (F3)."""

NAMES = ("gw:jobs", "gw:worker")
"""``application_name`` of the sessions of stores."""

LIST_LIMIT = 10_000
"""Most jobs in one answer; a longer list is asked for in pieces by AFTER and LAST."""

BATCH = 100
"""Jobs that the reaper or the sweeper takes in one transaction: bounds the time that their rows are locked."""

CREATE = """
INSERT INTO gateway.job
    (id, job_list, owner, account, base_url, run_id, destruction, execution_duration, parameters, uploads)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7::interval, $8, $9, $10)
RETURNING *
"""

# A job's results are those of parts that ended well, in the order of the parts.
READ = """
SELECT j.*, p.parts, p.parts_done, p.progress, p.results
FROM gateway.job j
CROSS JOIN LATERAL (
    SELECT count(*) AS parts, count(*) FILTER (WHERE run_state = 'done') AS parts_done,
           jsonb_agg(progress) FILTER (WHERE number = 1) -> 0 AS progress,
           jsonb_agg(results ORDER BY number) FILTER (WHERE result_token IS NOT NULL) AS results
    FROM gateway.job_part WHERE job_id = j.id
) p
WHERE j.id = $1 AND j.destroyed IS NULL
"""

LIST = """
SELECT * FROM gateway.job
WHERE job_list = $1 AND owner = $2 AND account IS NOT DISTINCT FROM $3 AND destroyed IS NULL
  AND phase = ANY($4) AND ($5::timestamptz IS NULL OR created > $5)
ORDER BY created DESC, id LIMIT $6
"""

# A PENDING job counts for an hour: abandoned ones must not lock their owner out for the two weeks they are kept.
LOAD = """
SELECT (SELECT count(*) FROM gateway.job WHERE phase = 'PENDING' AND owner = $1 AND destroyed IS NULL
          AND created > clock_timestamp() - interval '1 hour') AS pending,
       (SELECT count(*) FROM gateway.job WHERE phase = 'QUEUED' AND owner = $1 AND destroyed IS NULL) AS queued,
       (SELECT count(*) FROM gateway.job WHERE phase = 'QUEUED' AND destroyed IS NULL) AS total
"""

LOCK_PENDING = "SELECT * FROM gateway.job WHERE id = $1 AND destroyed IS NULL FOR UPDATE"

SET_PARAMETERS = """
UPDATE gateway.job SET parameters = $2, uploads = $3, run_id = $4 WHERE id = $1 AND phase = 'PENDING'
"""

SET_DESTRUCTION = """
UPDATE gateway.job SET destruction = least($2, created + $3::interval) WHERE id = $1 AND destroyed IS NULL RETURNING id
"""

SET_EXECUTION_DURATION = """
UPDATE gateway.job SET execution_duration = $2
WHERE id = $1 AND phase IN ('PENDING', 'HELD', 'QUEUED') AND destroyed IS NULL RETURNING id
"""

REFUSE = """
UPDATE gateway.job SET phase = 'ERROR', ended = clock_timestamp(), error_message = $2, error_type = $3
WHERE id = $1 AND phase = 'PENDING' AND destroyed IS NULL RETURNING id
"""

ENQUEUE = """
WITH moved AS (
    UPDATE gateway.job SET phase = 'QUEUED', open_parts = $3
    WHERE id = $1 AND phase = ANY($4) AND destroyed IS NULL RETURNING id, owner)
INSERT INTO gateway.job_part (job_id, number, queue, owner)
SELECT moved.id, n, $2, moved.owner FROM moved, generate_series(1, $3) AS n
RETURNING id
"""

ABORT = """
UPDATE gateway.job SET phase = 'ABORTED', ended = clock_timestamp()
WHERE id = $1 AND phase = ANY($2) AND destroyed IS NULL RETURNING id
"""

DESTROY = """
UPDATE gateway.job SET destroyed = clock_timestamp(), ended = coalesce(ended, clock_timestamp()),
       phase = CASE WHEN phase = ANY($2) THEN phase ELSE 'ABORTED' END
WHERE id = ANY($1) AND destroyed IS NULL RETURNING id
"""

# A waiting part is over at once; a running one when its worker has killed it, or its lease has run out.
CANCEL_PARTS = """
UPDATE gateway.job_part SET cancel_requested = (run_state = 'running'),
       ended = CASE run_state WHEN 'waiting' THEN clock_timestamp() END,
       run_state = CASE run_state WHEN 'waiting' THEN 'done' ELSE run_state END
WHERE job_id = ANY($1) AND run_state <> 'done'
"""

CLAIM_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('gateway.claim.' || $1, 0))"

# Fewest running first, then age. Four owners are looked at because the first part of the first may be locked by an abort.
CLAIM = """
WITH next AS (
    SELECT w.id FROM (
        SELECT queue, owner, running, oldest FROM gateway.job_turn
        WHERE queue = $1 AND oldest IS NOT NULL AND running < $2 ORDER BY running, oldest LIMIT 4) t
    CROSS JOIN LATERAL (
        SELECT p.id FROM gateway.job_part p JOIN gateway.job j ON j.id = p.job_id
        WHERE p.queue = t.queue AND p.owner = t.owner AND p.run_state = 'waiting'
          AND j.phase IN ('QUEUED', 'EXECUTING') AND j.destroyed IS NULL
        ORDER BY p.queued, p.id LIMIT 1 FOR UPDATE OF p, j SKIP LOCKED) w
    ORDER BY t.running, t.oldest LIMIT 1),
part AS (
    UPDATE gateway.job_part p SET run_state = 'running', token = token + 1, worker = $3,
           lease_until = clock_timestamp() + $4::interval, started = coalesce(p.started, clock_timestamp()), progress = '{}'
    FROM next WHERE p.id = next.id RETURNING p.id AS part_id, p.number, p.token, p.queue, p.job_id)
UPDATE gateway.job j SET phase = 'EXECUTING', started = coalesce(j.started, clock_timestamp())
FROM part WHERE j.id = part.job_id RETURNING part.part_id, part.number, part.token, part.queue, j.*
"""

HEARTBEAT = """
UPDATE gateway.job_part p SET lease_until = clock_timestamp() + $4::interval, progress = c.progress::jsonb
FROM unnest($1::bigint[], $2::integer[], $3::text[]) AS c (id, token, progress)
WHERE p.id = c.id AND p.token = c.token AND p.run_state = 'running' AND NOT p.cancel_requested
RETURNING p.id, p.token
"""

# The last part that ends well completes the job; any other ending is at once the job's.
END = """
WITH held AS (SELECT id FROM gateway.job WHERE id = $1 FOR UPDATE),
part AS (
    UPDATE gateway.job_part p SET run_state = 'done', ended = clock_timestamp(), lease_until = NULL, worker = NULL,
           results = $5, result_token = CASE WHEN $4 = 'COMPLETED' THEN p.token END
    FROM held WHERE p.id = $2 AND p.job_id = held.id AND p.token = $3 AND p.run_state = 'running'
      AND NOT p.cancel_requested RETURNING p.job_id)
UPDATE gateway.job j SET open_parts = open_parts - 1,
       phase = CASE WHEN $4 <> 'COMPLETED' OR open_parts = 1 THEN $4 ELSE phase END,
       ended = CASE WHEN $4 <> 'COMPLETED' OR open_parts = 1 THEN clock_timestamp() END,
       error_message = $6, error_type = $7
FROM part WHERE j.id = part.job_id AND j.phase = 'EXECUTING' RETURNING j.id
"""

WAS_ENDED = """
SELECT EXISTS (SELECT FROM gateway.job_part p JOIN gateway.job j ON j.id = p.job_id
               WHERE p.id = $1 AND p.token = $2 AND p.run_state = 'done' AND NOT p.cancel_requested
                 AND (j.phase = $3 OR p.result_token = $2))
"""

GIVE_BACK = """
WITH held AS (SELECT id FROM gateway.job WHERE id = $1 FOR UPDATE),
part AS (
    UPDATE gateway.job_part p SET token = token + 1, lease_until = NULL, worker = NULL,
           attempts = attempts + $4, losses = losses + $5,
           run_state = CASE WHEN cancel_requested OR attempts + $4 >= $6 OR losses + $5 >= $7 THEN 'done'
                            ELSE 'waiting' END,
           ended = CASE WHEN cancel_requested OR attempts + $4 >= $6 OR losses + $5 >= $7 THEN clock_timestamp() END
    FROM held WHERE p.id = $2 AND p.job_id = held.id AND p.token = $3 AND p.run_state = 'running'
    RETURNING p.job_id, p.run_state, p.cancel_requested),
failed AS (
    UPDATE gateway.job j SET phase = 'ERROR', ended = clock_timestamp(), error_message = $8, error_type = $9
    FROM part WHERE j.id = part.job_id AND j.phase = 'EXECUTING' AND part.run_state = 'done'
      AND NOT part.cancel_requested RETURNING j.id)
SELECT part.run_state, (SELECT id FROM failed) AS failed FROM part
"""

END_STALLED = """
SELECT count(*) FROM (
    SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
      AND application_name = ANY($1) AND state = 'active' AND wait_event = 'ClientRead'
      AND query_start < clock_timestamp() - $2::interval) ended
"""

UPKEEP_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('gateway.upkeep', 0))"

# After a restart of the database every worker gets one whole lease to renew its claims: nobody could during it.
REAP = """
WITH lost AS (
    SELECT p.id FROM gateway.job_part p JOIN gateway.job j ON j.id = p.job_id
    WHERE p.run_state = 'running' AND p.lease_until < clock_timestamp()
      AND pg_postmaster_start_time() < clock_timestamp() - $1::interval
    ORDER BY p.lease_until LIMIT $2 FOR UPDATE OF p, j SKIP LOCKED),
part AS (
    UPDATE gateway.job_part p SET token = token + 1, lease_until = NULL, worker = NULL, losses = losses + 1,
           run_state = CASE WHEN cancel_requested OR losses + 1 >= $3 THEN 'done' ELSE 'waiting' END,
           ended = CASE WHEN cancel_requested OR losses + 1 >= $3 THEN clock_timestamp() END
    FROM lost WHERE p.id = lost.id
    RETURNING p.job_id, p.queue, p.number, p.token - 1 AS token, p.run_state, p.cancel_requested),
failed AS (
    UPDATE gateway.job j SET phase = 'ERROR', ended = clock_timestamp(), error_message = $4, error_type = 'transient'
    FROM part WHERE j.id = part.job_id AND j.phase = 'EXECUTING' AND part.run_state = 'done'
      AND NOT part.cancel_requested RETURNING j.id)
SELECT part.job_id, part.queue, part.number, part.token, part.job_id IN (SELECT id FROM failed) AS failed FROM part
"""

EXPIRED = """
SELECT id FROM gateway.job WHERE destroyed IS NULL AND destruction < clock_timestamp()
ORDER BY destruction LIMIT $1 FOR UPDATE SKIP LOCKED
"""

PURGE = """
DELETE FROM gateway.job WHERE id IN (
    SELECT id FROM gateway.job j WHERE destroyed < clock_timestamp() - $1::interval
      AND NOT EXISTS (SELECT FROM gateway.job_part p WHERE p.job_id = j.id AND p.run_state <> 'done')
    LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

PURGE_TURNS = "DELETE FROM gateway.job_turn WHERE running = 0 AND oldest IS NULL"

# What the rows still name: uploads, results, and all that the present claim of a running part writes.
REFERENCED = """
SELECT j.id, j.uploads,
       (SELECT jsonb_agg(results) FROM gateway.job_part p WHERE p.job_id = j.id AND p.result_token IS NOT NULL) AS results,
       (SELECT array_agg(number || '.' || token) FROM gateway.job_part p
        WHERE p.job_id = j.id AND p.run_state = 'running') AS claims
FROM gateway.job j WHERE j.id = ANY($1) AND j.destroyed IS NULL
"""

QUEUES = """
SELECT queue, count(*) FILTER (WHERE run_state = 'waiting') AS waiting,
       count(*) FILTER (WHERE run_state = 'running') AS running
FROM gateway.job_part WHERE run_state IN ('waiting', 'running') GROUP BY queue ORDER BY queue
"""

CONNECTION_ERRORS = (BackendUnavailableError, *DRIVER_ERRORS)
"""All that `connect`, and the connection that it gives, can raise."""

UNREACHABLE = "The job database does not answer; try again in a few seconds"

LOST_TOO_OFTEN = (
    f"The job was lost {MAX_LOSSES} times because the worker that ran it stopped or became silent; try it again later"
)


class GivenBack(Enum):
    """What became of a part that its worker gave back."""

    WAITING = "waiting"
    """Another claim will run it."""
    ENDED = "ended"
    """It was cancelled, or has been tried often enough: its job is ABORTED, ERROR or destroyed."""
    LOST = "lost"
    """It was no longer this worker's."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many jobs wait: an owner's fresh PENDING and QUEUED ones, and everyone's QUEUED ones."""

    pending: int
    queued: int
    total: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many parts of one queue wait and run."""

    queue: str
    waiting: int
    running: int


async def connect(url: str, name: str) -> asyncpg.Connection:
    """Open a connection of one's own to the control database.

    Raises
    ------
    BackendUnavailableError
        It does not answer.
    """
    try:
        return await asyncpg.connect(
            DatabaseURL.parse(url).with_application_name(name).asyncpg(),
            timeout=ACQUIRE_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
        )
    except Exception as e:
        if is_unreachable(e):
            raise BackendUnavailableError(UNREACHABLE) from e
        raise


class JobStore:
    """Jobs and parts, and every move that they make."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, connections: int = 8, name: str = NAMES[0]) -> AsyncIterator[Self]:
        """Hold a pool of connections.

        Parameters
        ----------
        url
            Control database, migrated.
        connections
            Most connections held.
        name
            ``application_name`` of the sessions, one of `NAMES`.
        """
        pool = asyncpg.create_pool(
            DatabaseURL.parse(url).with_application_name(name).asyncpg(),
            min_size=0,  # so that a gateway starts, and answers, while the database is away
            max_size=connections,
            timeout=ACQUIRE_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            init=_use_json,
        )
        async with pool:
            yield cls(pool)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection
        except Exception as e:
            if is_unreachable(e):
                raise BackendUnavailableError(UNREACHABLE) from e
            raise

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._connection() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_LIMIT}'")
            yield connection

    # -- what clients do ----------------------------------------------------------------------------------

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
    ) -> Job:
        """Add a PENDING job."""
        async with self._connection() as connection:
            row = await connection.fetchrow(
                CREATE,
                job_id,
                job_list,
                owner,
                account,
                base_url,
                run_id,
                retention,
                _seconds(execution_duration),
                parameters,
                [upload.to_json() for upload in uploads],
            )
        return _job(row)

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
        return _job(row)

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
        return tuple(_job(row) for row in rows)

    async def load(self, owner: str) -> Load:
        """Count the jobs that wait."""
        async with self._connection() as connection:
            return Load(*await connection.fetchrow(LOAD, owner))

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
            job = _job(row)
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
            return await connection.fetchval(SET_EXECUTION_DURATION, job_id, _seconds(duration)) is not None

    async def refuse(self, job_id: str, error: ErrorSummary) -> bool:
        """Move a PENDING job to ERROR because it cannot be run; ``False`` if it was not PENDING."""
        async with self._connection() as connection:
            return await connection.fetchval(REFUSE, job_id, error.message, error.type) is not None

    async def enqueue(self, job_id: str, queue: str, *, parts: int = 1) -> bool:
        """Move a job to QUEUED and make its parts claimable; ``False`` if its phase does not allow it."""
        async with self._connection() as connection:
            made = await connection.fetch(ENQUEUE, job_id, queue, parts, _words(sources(Phase.QUEUED)))
        return bool(made)

    async def abort(self, job_id: str) -> bool:
        """Move a job to ABORTED and cancel its parts; ``False`` if its phase does not allow it."""
        async with self._transaction() as connection:
            if await connection.fetchval(ABORT, job_id, _words(sources(Phase.ABORTED))) is None:
                return False
            await connection.execute(CANCEL_PARTS, [job_id])
            return True

    async def destroy(self, job_id: str) -> bool:
        """Make a job unfindable and cancel its parts; ``False`` if it is gone already."""
        async with self._transaction() as connection:
            return bool(await _destroy(connection, [job_id]))

    # -- what workers do ----------------------------------------------------------------------------------

    async def claim(
        self, queue: str, *, worker: str, per_owner: int, lease: timedelta, at_most: int = 1
    ) -> tuple[Claim, ...]:
        """Take parts to run: of the owner with the fewest running ones first, then the oldest.

        Parameters
        ----------
        queue
            Where to look.
        worker
            Name of who takes them, for people.
        per_owner
            Most parts of one owner that run at once in this queue.
        lease
            For how long they are the worker's unless `heartbeat` renews it.
        at_most
            Free slots of the worker.
        """
        claims: list[Claim] = []
        async with self._transaction() as connection:
            # A statement of its own: the claim has to see what earlier holders of the lock have committed.
            await connection.execute(CLAIM_LOCK, queue)
            while len(claims) < at_most:
                row = await connection.fetchrow(CLAIM, queue, per_owner, worker, lease)
                if row is None:
                    break
                claims.append(_claim(row))
        return tuple(claims)

    async def end(
        self, claim: Claim, to: Phase, *, results: Sequence[Result] = (), error: ErrorSummary | None = None
    ) -> bool:
        """End a claimed part; ``False`` if the claim was lost meanwhile, or its job aborted.

        Parameters
        ----------
        claim
            The hold on the part.
        to
            COMPLETED, ERROR or ABORTED; the last two end the job and cancel its other parts.
        results, error
            What it left.
        """
        async with self._transaction() as connection:
            moved = await connection.fetchval(
                END,
                claim.job_id,
                claim.part_id,
                claim.token,
                to,
                [result.to_json() for result in results],
                error.message if error else None,
                error.type if error else None,
            )
            if moved is not None and to is not Phase.COMPLETED:
                await connection.execute(CANCEL_PARTS, [claim.job_id])
        return moved is not None

    async def was_ended(self, claim: Claim, to: Phase) -> bool:
        """Whether `end` took effect, after a connection that broke before it could say so (F9)."""
        async with self._connection() as connection:
            return bool(await connection.fetchval(WAS_ENDED, claim.part_id, claim.token, to))

    async def give_back(self, claim: Claim, *, error: ErrorSummary, deaths: int = 0, losses: int = 0) -> GivenBack:
        """Let go of a part that did not end: its child died, its worker stops, or its job was cancelled.

        Parameters
        ----------
        claim
            The hold on the part; its token is void afterwards.
        error
            What the job says if this was its last chance.
        deaths, losses
            What it counts for: 1 for a child that died, 1 for a worker that lets go.
        """
        async with self._transaction() as connection:
            row = await connection.fetchrow(
                GIVE_BACK,
                claim.job_id,
                claim.part_id,
                claim.token,
                deaths,
                losses,
                MAX_ATTEMPTS,
                MAX_LOSSES,
                error.message,
                error.type,
            )
            if row is None:
                return GivenBack.LOST
            if row["failed"] is not None:
                await connection.execute(CANCEL_PARTS, [claim.job_id])
        return GivenBack.WAITING if row["run_state"] == RunState.WAITING else GivenBack.ENDED

    # -- upkeep -------------------------------------------------------------------------------------------

    async def end_stalled(self) -> int:
        """End sessions whose process froze, or whose machine vanished, in the middle of a statement; returns how many.

        What they have locked would keep every other worker from claiming and reaping. Waits up to a second for each to be gone.
        """
        async with self._connection() as connection:
            return int(await connection.fetchval(END_STALLED, NAMES, STALL_LIMIT))

    async def reap(self, *, lease: timedelta) -> tuple[Loss, ...]:
        """Take back the parts of silent workers; nothing if another reaper is at it."""
        async with self._transaction() as connection:
            if not await connection.fetchval(UPKEEP_LOCK):
                return ()
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
            ids = [row["id"] for row in await connection.fetch(EXPIRED, BATCH)]
            return await _destroy(connection, ids)

    async def purge(self, *, age: timedelta) -> int:
        """Forget jobs that were destroyed so long ago that nothing can write for them any more."""
        async with self._transaction() as connection:
            if not await connection.fetchval(UPKEEP_LOCK):
                return 0
            status: str = await connection.execute(PURGE, age, BATCH)
            await connection.execute(PURGE_TURNS)
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
        return tuple(_part(row) for row in rows)

    async def backlogs(self) -> tuple[Backlog, ...]:
        """Count what waits and runs in each queue."""
        async with self._connection() as connection:
            return tuple(Backlog(*row) for row in await connection.fetch(QUEUES))


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


async def _use_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def _destroy(connection: asyncpg.Connection, ids: Sequence[str]) -> tuple[str, ...]:
    if not ids:
        return ()
    gone = tuple(row["id"] for row in await connection.fetch(DESTROY, ids, _words(FINAL)))
    if gone:
        await connection.execute(CANCEL_PARTS, gone)
    return gone


# -- rows to values and back ------------------------------------------------------------------------------


def _words(phases: Iterable[Phase]) -> list[str]:
    return sorted(phases)


def _seconds(duration: timedelta | None) -> int:
    """Spell a duration as stored and as on the wire: whole seconds, 0 for unlimited."""
    return 0 if duration is None else max(1, int(duration.total_seconds()))


def _duration(seconds: int) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None


def _uploads(row: asyncpg.Record) -> tuple[Upload, ...]:
    return tuple(Upload.from_json(upload) for upload in row["uploads"])


def _parameters(row: asyncpg.Record) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in row["parameters"])


def _job(row: asyncpg.Record) -> Job:
    return Job(
        job_id=row["id"],
        job_list=row["job_list"],
        owner=row["owner"],
        account=row["account"],
        base_url=row["base_url"],
        run_id=row["run_id"],
        phase=Phase(row["phase"]),
        creation_time=row["created"],
        start_time=row["started"],
        end_time=row["ended"],
        destruction=row["destruction"],
        execution_duration=_duration(row["execution_duration"]),
        parameters=_parameters(row),
        uploads=_uploads(row),
        results=tuple(Result.from_json(result) for results in row.get("results") or () for result in results),
        error=ErrorSummary(row["error_message"], ErrorType(row["error_type"])) if row["error_message"] else None,
        progress=_progress(row),
    )


def _progress(row: asyncpg.Record) -> dict[str, Any]:
    parts = row.get("parts", 0)
    if parts > 1:
        return {"parts": parts, "parts_done": row["parts_done"]}
    return row.get("progress") or {}


def _claim(row: asyncpg.Record) -> Claim:
    return Claim(
        part_id=row["part_id"],
        number=row["number"],
        token=row["token"],
        job_id=row["id"],
        job_list=row["job_list"],
        queue=row["queue"],
        owner=row["owner"],
        account=row["account"],
        base_url=row["base_url"],
        execution_duration=_duration(row["execution_duration"]),
        parameters=_parameters(row),
        uploads=_uploads(row),
    )


def _part(row: asyncpg.Record) -> Part:
    return Part(
        part_id=row["id"],
        number=row["number"],
        job_id=row["job_id"],
        queue=row["queue"],
        run_state=RunState(row["run_state"]),
        token=row["token"],
        attempts=row["attempts"],
        losses=row["losses"],
        worker=row["worker"],
        cancel_requested=row["cancel_requested"],
        result_token=row["result_token"],
        results=tuple(Result.from_json(result) for result in row["results"]),
    )
