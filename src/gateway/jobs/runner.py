"""Runs one claimed part in a warm child, and ends it by one UPDATE, whatever happens to it meanwhile."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar

import structlog

from gateway.children import ChildDiedError, ChildPool
from gateway.errors import (
    BackendUnavailableError,
    GatewayError,
    OverloadedError,
    TimeLimitError,
    TransientError,
)
from gateway.jobs.backends import Backends
from gateway.jobs.files import remove_files
from gateway.jobs.heart import Heart
from gateway.jobs.models import Claim, ErrorSummary, ErrorType, Result
from gateway.jobs.options import LONGEST_BACK_OFF_S, WorkerOptions
from gateway.jobs.phases import Phase
from gateway.jobs.queue import WakeUp
from gateway.jobs.routing import Overrun
from gateway.jobs.store import MAX_ATTEMPTS, GivenBack, JobStore
from gateway.storage.results import ResultStore

log = structlog.get_logger()

STOPPED = ErrorSummary(
    "The job was interrupted too often because the workers that ran it stopped; try it again later", ErrorType.TRANSIENT
)
CANCELLED = ErrorSummary("The job was aborted", ErrorType.FATAL)

T = TypeVar("T")


class Interruption(Enum):
    """Why a part is taken from its child before it ends."""

    LOST = "lost"
    """The job was aborted or deleted, or the lease ran out and the part is someone else's."""
    RELEASED = "released"
    """This worker stops."""
    OVERRUN = "overrun"
    """It runs for longer than its queue allows."""


@dataclass(slots=True, eq=False)
class Running:
    """A part in one of the worker's slots."""

    claim: Claim
    queue: str
    """Whose slot it uses; not the claim's any more when it was promoted."""
    work: asyncio.Task[Ending] | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    interruption: Interruption | None = None

    def interrupt(self, interruption: Interruption) -> None:
        """Take the part from its child, unless it was taken before."""
        # Work that is done is being written down; the row decides whether it still counts.
        if self.work is not None and not self.work.done() and self.interruption is None:
            self.interruption = interruption
            self.work.cancel()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a part ended in its child."""

    phase: Phase
    results: tuple[Result, ...] = ()
    error: ErrorSummary | None = None


class PartRunner:
    """Runs parts that the worker has claimed."""

    def __init__(
        self,
        *,
        store: JobStore,
        results: ResultStore,
        wake_up: WakeUp,
        children: ChildPool,
        backends: Backends,
        heart: Heart,
        has_room: Callable[[str], bool],
        on_room: Callable[[str], None],
        options: WorkerOptions,
    ) -> None:
        """Join the parts.

        Parameters
        ----------
        store, results, wake_up, children, backends, heart, options
            See `gateway.jobs.worker`.
        has_room
            Tells whether this worker has a free slot of a queue.
        on_room
            Called when a slot of a queue has become free before its part ended.
        """
        self._store = store
        self._results = results
        self._wake_up = wake_up
        self._children = children
        self._backends = backends
        self._heart = heart
        self._has_room = has_room
        self._on_room = on_room
        self._options = options

    async def run(self, running: Running) -> None:
        """Run a claimed part and end it, whatever happens to it."""
        claim = running.claim
        work = running.work = asyncio.create_task(self._work(claim, running.progress))
        self._heart.add(claim, running.progress)
        try:
            overrun = self._options.overruns.get(claim.queue)
            if overrun is not None:
                await asyncio.wait({work}, timeout=overrun.after.total_seconds())
                if not work.done() and running.interruption is None:
                    await self._leave_queue(running, overrun)
            await asyncio.wait({work})
            await self._settle(running, work, overrun)
        finally:
            self._heart.remove(claim)

    # -- in the child -------------------------------------------------------------------------------------

    async def _work(self, claim: Claim, progress: dict[str, Any]) -> Ending:
        """Run a part in a child until it ends or is worth no further try."""
        until = (
            None if claim.execution_duration is None else time.monotonic() + claim.execution_duration.total_seconds()
        )
        tries = 0
        while True:
            try:
                return await self._call(claim, progress, until)
            except ChildDiedError:
                raise
            except TimeLimitError as e:
                return Ending(Phase.ABORTED, error=_time_is_over(claim, e))
            except TransientError as e:
                delays = (
                    self._options.patient_delays_s
                    if isinstance(e, BackendUnavailableError | OverloadedError)
                    else self._options.short_delays_s
                )
                if tries >= len(delays):
                    return Ending(Phase.ERROR, error=ErrorSummary(e.message, ErrorType.TRANSIENT))
                log.warning("Part tried again", job_id=claim.job_id, token=claim.token, reason=e.message)
                await asyncio.sleep(delays[tries] * random.uniform(0.5, 1))  # noqa: S311
                tries += 1
            except GatewayError as e:
                return Ending(Phase.ERROR, error=ErrorSummary(e.message, ErrorType.FATAL))

    async def _call(self, claim: Claim, progress: dict[str, Any], until: float | None) -> Ending:
        left = None if until is None else timedelta(seconds=max(0.001, until - time.monotonic()))
        answer = await self._children.call(
            "gateway.jobs.tasks:run_part", within=left, on_report=progress.update, work=claim.to_json()
        )
        return Ending(Phase.COMPLETED, tuple(Result.from_json(result) for result in answer["results"]))

    # -- too long for its queue ---------------------------------------------------------------------------

    async def _leave_queue(self, running: Running, overrun: Overrun) -> None:
        """Let a part go on in a slot of the next queue if this worker has one; else take it from its child."""
        if overrun.to is not None and await self._is_promoted(running, overrun.to):
            log.info("Part promoted", job_id=running.claim.job_id, token=running.claim.token, queue=overrun.to)
        else:
            running.interrupt(Interruption.OVERRUN)

    async def _is_promoted(self, running: Running, queue: str) -> bool:
        if not self._has_room(queue):
            return False
        before, running.queue = running.queue, queue  # the slot is ours before anyone else can take it
        try:
            is_moved = await self._store.promote(running.claim, queue, per_owner=self._options.per_owner)
        except BackendUnavailableError as e:
            # Whether it took effect or not, it is one part that runs once; the row's queue is for those that count.
            log.warning("Part not promoted", job_id=running.claim.job_id, reason=e.message)
            is_moved = False
        if not is_moved:
            running.queue, before = before, queue
        self._on_room(before)
        return is_moved

    # -- endings ------------------------------------------------------------------------------------------

    async def _settle(self, running: Running, work: asyncio.Task[Ending], overrun: Overrun | None) -> None:
        claim = running.claim
        if running.interruption is Interruption.OVERRUN and overrun is not None:
            await self._overran(claim, overrun)
        elif running.interruption is not None:
            await self._interrupted(claim, is_released=running.interruption is Interruption.RELEASED)
        elif isinstance(error := work.exception(), ChildDiedError):
            await self._bury(claim, error)
        elif error is not None:
            raise error
        else:
            await self._end(claim, work.result())

    async def _end(self, claim: Claim, ending: Ending) -> None:
        if ending.phase is not Phase.COMPLETED:
            await self._clean_up(claim)
        is_ended = await self._persist(
            lambda: self._store.end(claim, ending.phase, results=ending.results, error=ending.error),
            was_done=lambda: self._store.was_ended(claim, ending.phase),
        )
        if is_ended:
            reason = ending.error.message if ending.error else None
            log.info("Part ended", job_id=claim.job_id, token=claim.token, phase=ending.phase, reason=reason)
            return
        log.warning("Stale commit refused", job_id=claim.job_id, token=claim.token, phase=ending.phase)
        await self._clean_up(claim)
        await self._give_back(claim, CANCELLED)

    async def _bury(self, claim: Claim, error: ChildDiedError) -> None:
        """Count the death of a child."""
        await self._clean_up(claim)
        summary = ErrorSummary(f"The job failed {MAX_ATTEMPTS} times: {error.message}", ErrorType.FATAL)
        became = await self._give_back(claim, summary, deaths=1, reason=error.message)
        log.warning(
            "Child died", job_id=claim.job_id, token=claim.token, exit_code=error.exit_code, part_became=became.value
        )
        if became is GivenBack.WAITING:
            await self._wake_up.wake(claim.queue)

    async def _interrupted(self, claim: Claim, *, is_released: bool) -> None:
        """Let go of a part that was taken from its child."""
        await self._clean_up(claim)
        became = await self._give_back(claim, STOPPED if is_released else CANCELLED, losses=int(is_released))
        log.info("Part let go", job_id=claim.job_id, token=claim.token, part_became=became.value)
        if became is GivenBack.WAITING:
            await self._wake_up.wake(claim.queue)

    async def _overran(self, claim: Claim, overrun: Overrun) -> None:
        """Put a part that takes too long into the next queue, or end it."""
        seconds = overrun.after.total_seconds()
        if overrun.to is None:
            text = (
                f"The job was taken for a quick one and ran for longer than {seconds:g} s (quick_limit); make it again with "
                "a longer EXECUTIONDURATION"
            )
            await self._end(claim, Ending(Phase.ABORTED, error=ErrorSummary(text, ErrorType.TRANSIENT)))
            return
        await self._clean_up(claim)
        reason = f"it ran for longer than {seconds:g} s"
        became = await self._give_back(claim, CANCELLED, reason=reason, queue=overrun.to)
        log.info("Part moved", job_id=claim.job_id, token=claim.token, queue=overrun.to, part_became=became.value)
        if became is GivenBack.WAITING:
            await self._wake_up.wake(overrun.to)

    async def _give_back(
        self,
        claim: Claim,
        error: ErrorSummary,
        *,
        deaths: int = 0,
        losses: int = 0,
        reason: str | None = None,
        queue: str | None = None,
    ) -> GivenBack:
        async def give() -> GivenBack:
            return await self._store.give_back(
                claim, error=error, deaths=deaths, losses=losses, reason=reason, queue=queue
            )

        return await self._persist(give)

    async def _clean_up(self, claim: Claim) -> None:
        """End the statement that a killed child left running, and remove what it wrote."""
        await self._backends.terminate(claim.label)
        await remove_files(self._results, claim.prefix)

    async def _persist(
        self, statement: Callable[[], Awaitable[T]], *, was_done: Callable[[], Awaitable[T]] | None = None
    ) -> T:
        """Get a statement through, however long the database is away.

        A connection that breaks after COMMIT was sent leaves open whether it took effect: the row tells (F9).
        """
        pause = 0.2
        in_doubt = False
        while True:
            try:
                value = await statement()
                return await was_done() if in_doubt and was_done is not None and not value else value
            except BackendUnavailableError as e:
                log.warning("Statement tried again", reason=e.message)
                in_doubt = True
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
            pause = min(pause * 2, LONGEST_BACK_OFF_S)


def _time_is_over(claim: Claim, error: TimeLimitError) -> ErrorSummary:
    if claim.execution_duration is None:
        return ErrorSummary(error.message, ErrorType.TRANSIENT)
    seconds = int(claim.execution_duration.total_seconds())
    return ErrorSummary(
        f"The job ran into its execution duration of {seconds} s; ask for less, or for more time", ErrorType.TRANSIENT
    )
