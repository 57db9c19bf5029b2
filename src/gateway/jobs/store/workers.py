"""What workers do: claim parts, end them, give them back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum

from gateway.jobs.models import Claim, ErrorSummary, Result, RunState
from gateway.jobs.phases import Phase
from gateway.jobs.store.pool import Pooled
from gateway.jobs.store.rows import to_claim
from gateway.jobs.store.statements import CANCEL_PARTS, CLAIM, CLAIM_LOCK, END, GIVE_BACK, PROMOTE, WAS_ENDED

MAX_ATTEMPTS = 3
"""Deaths of its child after which a part is poison (F20). Healthy parts have none."""

MAX_LOSSES = 10
"""Lost leases and releases after which a part is given up; more than the `MAX_ATTEMPTS`, for these are not its fault."""


class GivenBack(Enum):
    """What became of a part that its worker gave back."""

    WAITING = "waiting"
    """Another claim will run it."""
    ENDED = "ended"
    """It was cancelled, or has been tried often enough: its job is ABORTED, ERROR or destroyed."""
    LOST = "lost"
    """It was no longer this worker's."""


class WorkerSide(Pooled):
    """Claims, and how they end."""

    async def claim(
        self, queue: str, *, worker: str, per_owner: int, lease: timedelta, at_most: int = 1
    ) -> tuple[Claim, ...]:
        """Take parts to run: of the owner with the fewest running ones first, then of the one served longest ago.

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
        async with self._connection() as connection:
            rows = await connection.fetch(CLAIM, queue, per_owner, worker, lease, at_most)
        claims = tuple(map(to_claim, rows))
        self._announcer.tell(*(claim.job_id for claim in claims))
        return claims

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
        arguments = (
            claim.job_id,
            claim.part_id,
            claim.token,
            to,
            [result.to_json() for result in results],
            error.message if error else None,
            error.type if error else None,
        )
        if to is Phase.COMPLETED:  # one statement is a transaction of its own
            async with self._connection() as connection:
                moved = await connection.fetchval(END, *arguments)
        else:
            async with self._transaction() as connection:
                moved = await connection.fetchval(END, *arguments)
                if moved is not None:
                    await connection.execute(CANCEL_PARTS, [claim.job_id])
        if moved is None:
            return False
        self._announcer.tell(claim.job_id)
        return True

    async def promote(self, claim: Claim, queue: str, *, per_owner: int) -> bool:
        """Let a running part go on as one of another queue; ``False`` if its owner has enough running there already.

        Also ``False`` if the claim was lost.
        """
        async with self._transaction() as connection:
            await connection.execute(CLAIM_LOCK, queue)
            moved = await connection.fetchval(PROMOTE, claim.part_id, claim.token, queue, per_owner)
        return moved is not None

    async def was_ended(self, claim: Claim, to: Phase) -> bool:
        """Whether `end` took effect, after a connection that broke before it could say so (F9)."""
        async with self._connection() as connection:
            return bool(await connection.fetchval(WAS_ENDED, claim.part_id, claim.token, to))

    async def give_back(
        self,
        claim: Claim,
        *,
        error: ErrorSummary,
        deaths: int = 0,
        losses: int = 0,
        reason: str | None = None,
        queue: str | None = None,
    ) -> GivenBack:
        """Let go of a part that did not end: its child died, its worker stops, it was cancelled, or it goes elsewhere.

        Parameters
        ----------
        claim
            The hold on the part; its token is void afterwards.
        error
            What the job says if this was its last chance.
        deaths, losses
            What it counts for: 1 for a child that died, 1 for a worker that lets go.
        reason
            Why, for the history of its attempts.
        queue
            Where it waits from now on; ``None``: where it was.
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
                reason,
                queue,
            )
            if row is None:
                return GivenBack.LOST
            if row["failed"] is not None:
                await connection.execute(CANCEL_PARTS, [claim.job_id])
        return GivenBack.WAITING if row["run_state"] == RunState.WAITING else GivenBack.ENDED
