"""Runs jobs: claims parts while slots are free, runs each in a warm child, ends it by one UPDATE.

The loop is ours. arq runs inside it as a listener for wake-ups; without Redis the worker polls. ``python -m
gateway.jobs.worker`` runs one against the databases that the settings name; ``gateway worker`` also starts embedded ones.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, Self, TypeVar

import structlog

from gateway.children import ChildDiedError, ChildPool, ChildSettings
from gateway.errors import (
    BackendUnavailableError,
    GatewayError,
    OverloadedError,
    ServiceError,
    TimeLimitError,
    TransientError,
)
from gateway.jobs.backends import Backends
from gateway.jobs.heart import Heart
from gateway.jobs.models import Claim, ErrorSummary, ErrorType, Result
from gateway.jobs.phases import Phase
from gateway.jobs.queue import ArqQueue, Ear, WakeUp
from gateway.jobs.signals import PhaseSignals
from gateway.jobs.store import MAX_ATTEMPTS, GivenBack, JobStore
from gateway.jobs.upkeep import Upkeep
from gateway.log import configure_logs
from gateway.settings import Settings
from gateway.storage.results import LocalResultStore, ResultStore

log = structlog.get_logger()

PATIENT_DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Pauses between tries while a database is away: about a minute, in which a restart or a failover is over (F8)."""

SHORT_DELAYS_S = (0.5, 2.0)
"""Pauses between tries after any other transient error: the slot is wanted by others."""

LONGEST_BACK_OFF_S = 32.0
"""Longest pause before a statement that must get through is tried again (F8)."""

FINISH_GRACE = timedelta(seconds=2)
"""How long a stopping worker lets parts end before it releases them: most are short, and orchestrators wait 30 s."""

EXIT_LIMIT = timedelta(seconds=10)
"""Longest that a stopping worker tries to release its parts; then their leases run out by themselves."""

STOPPED = ErrorSummary(
    "The job was interrupted too often because the workers that ran it stopped; try it again later", ErrorType.TRANSIENT
)
CANCELLED = ErrorSummary("The job was aborted", ErrorType.FATAL)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works; see `gateway.settings` for each."""

    queues: tuple[str, ...]
    slots: int
    per_owner: int
    lease: timedelta
    heartbeat: timedelta
    poll_interval: timedelta
    sweep_age: timedelta
    finish_grace: timedelta = FINISH_GRACE
    patient_delays_s: Sequence[float] = PATIENT_DELAYS_S
    short_delays_s: Sequence[float] = SHORT_DELAYS_S

    @classmethod
    def of(cls, settings: Settings, queues: tuple[str, ...]) -> Self:
        """Take them from the settings."""
        return cls(
            queues=queues,
            slots=settings.worker_slots,
            per_owner=settings.jobs_per_owner,
            lease=settings.lease,
            heartbeat=settings.heartbeat,
            poll_interval=settings.poll_interval,
            sweep_age=settings.sweep_age,
        )


class Interruption(Enum):
    """Why a part is taken from its child before it ends."""

    LOST = "lost"
    """The job was aborted or deleted, or the lease ran out and the part is someone else's."""
    RELEASED = "released"
    """This worker stops."""


@dataclass(slots=True, eq=False)
class Running:
    """A part in one of the worker's slots."""

    claim: Claim
    work: asyncio.Task[Ending]
    progress: dict[str, Any]
    interruption: Interruption | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a part ended in its child."""

    phase: Phase
    results: tuple[Result, ...] = ()
    error: ErrorSummary | None = None


class Worker:
    """Claims and runs parts until it is told to stop."""

    def __init__(
        self,
        *,
        name: str,
        store: JobStore,
        results: ResultStore,
        wake_up: WakeUp,
        signals: PhaseSignals,
        children: ChildPool,
        backends: Backends,
        heart_url: str,
        options: WorkerOptions,
    ) -> None:
        self._name = name
        self._store = store
        self._results = results
        self._wake_up = wake_up
        self._signals = signals
        self._children = children
        self._backends = backends
        self._options = options
        self._ear = Ear()
        self._running: dict[tuple[int, int], Running] = {}
        self._slots: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._heart = Heart(
            heart_url, worker=name, lease=options.lease, interval=options.heartbeat, on_lost=self._on_lost_in_thread
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then end or release what runs."""
        self._signals.observe(self._on_signal)
        upkeep = Upkeep(
            store=self._store,
            results=self._results,
            wake_up=self._wake_up,
            backends=self._backends,
            lease=self._options.lease,
            sweep_age=self._options.sweep_age,
        )
        with self._heart:
            helpers = [asyncio.create_task(self._wake_up.listen(queue, self._ear)) for queue in self._options.queues]
            helpers += [asyncio.create_task(upkeep.run()), asyncio.create_task(self._tell_of_stop(stop))]
            log.info("Worker started", worker=self._name, slots=self._options.slots, queues=self._options.queues)
            try:
                await _first_of(asyncio.create_task(self._claim_on(stop)), helpers)
            finally:
                self._ear.is_open = False
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
                await self._drain()
            log.info("Worker stopped", worker=self._name)

    # -- claiming -----------------------------------------------------------------------------------------

    async def _claim_on(self, stop: asyncio.Event) -> None:
        pause = 0.2
        while not stop.is_set():
            # Cleared before the look: what is queued during it wakes us again.
            self._ear.woken.clear()
            try:
                await self._fill(stop)
                wait, pause = self._options.poll_interval.total_seconds(), 0.2
            except BackendUnavailableError as e:
                log.warning("Claiming failed", reason=e.message)
                wait = pause = min(pause * 2, LONGEST_BACK_OFF_S, self._options.poll_interval.total_seconds())
            self._ear.is_open = self._free > 0
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ear.woken.wait(), wait)

    async def _fill(self, stop: asyncio.Event) -> None:
        for queue in self._options.queues:
            if self._free <= 0 or stop.is_set():
                return
            claims = await self._store.claim(
                queue,
                worker=self._name,
                per_owner=self._options.per_owner,
                lease=self._options.lease,
                at_most=self._free,
            )
            for claim in claims:
                self._start(claim)

    @property
    def _free(self) -> int:
        return self._options.slots - len(self._slots)

    def _start(self, claim: Claim) -> None:
        log.info("Part claimed", job_id=claim.job_id, token=claim.token, queue=claim.queue)
        task = asyncio.create_task(self._hold(claim))
        self._slots.add(task)
        task.add_done_callback(self._free_slot)

    def _free_slot(self, task: asyncio.Task[None]) -> None:
        self._slots.discard(task)
        self._ear.woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The claim's lease runs out, and another worker takes it.
            log.error("Slot failed", exc_info=error)

    async def _tell_of_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._ear.woken.set()
        await asyncio.Event().wait()

    # -- one part -----------------------------------------------------------------------------------------

    async def _hold(self, claim: Claim) -> None:
        """Run a claimed part and end it, whatever happens to it."""
        progress: dict[str, Any] = {}
        running = Running(claim, asyncio.create_task(self._work(claim, progress)), progress)
        self._running[claim.hold] = running
        self._heart.add(claim, progress)
        try:
            await asyncio.wait({running.work})
            if running.interruption is not None:
                await self._interrupted(running)
            elif isinstance(error := running.work.exception(), ChildDiedError):
                await self._bury(claim, error)
            elif error is not None:
                raise error
            else:
                await self._end(claim, running.work.result())
        finally:
            self._heart.remove(claim)
            del self._running[claim.hold]

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
        became = await self._give_back(claim, summary, deaths=1)
        log.warning(
            "Child died", job_id=claim.job_id, token=claim.token, exit_code=error.exit_code, part_became=became.value
        )
        if became is GivenBack.WAITING:
            await self._wake_up.wake(claim.queue)

    async def _interrupted(self, running: Running) -> None:
        """Let go of a part that was taken from its child."""
        claim = running.claim
        await self._clean_up(claim)
        is_released = running.interruption is Interruption.RELEASED
        became = await self._give_back(claim, STOPPED if is_released else CANCELLED, losses=int(is_released))
        log.info("Part let go", job_id=claim.job_id, token=claim.token, part_became=became.value)
        if became is GivenBack.WAITING:
            await self._wake_up.wake(claim.queue)

    async def _give_back(self, claim: Claim, error: ErrorSummary, *, deaths: int = 0, losses: int = 0) -> GivenBack:
        async def give() -> GivenBack:
            return await self._store.give_back(claim, error=error, deaths=deaths, losses=losses)

        return await self._persist(give)

    async def _clean_up(self, claim: Claim) -> None:
        """End the statement that a killed child left running, and remove what it wrote."""
        await self._backends.terminate(claim.label)
        try:
            await self._results.delete_prefix(claim.prefix)
        except (GatewayError, OSError) as e:  # the sweeper will find it
            log.warning("Results not removed", job_id=claim.job_id, token=claim.token, reason=str(e))

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

    # -- interruptions ------------------------------------------------------------------------------------

    def _on_signal(self, job_id: str | None) -> None:
        if job_id is None or any(running.claim.job_id == job_id for running in self._running.values()):
            self._heart.poke()

    def _on_lost_in_thread(self, claim: Claim) -> None:
        with suppress(RuntimeError):  # the loop has just closed
            self._loop.call_soon_threadsafe(self._on_lost, claim)

    def _on_lost(self, claim: Claim) -> None:
        if (running := self._running.get(claim.hold)) is not None:
            _interrupt(running, Interruption.LOST)

    async def _drain(self) -> None:
        """End what ends soon, release the rest."""
        if self._slots:
            await asyncio.wait(self._slots, timeout=self._options.finish_grace.total_seconds())
        for running in self._running.values():
            _interrupt(running, Interruption.RELEASED)
        if self._slots:
            _, late = await asyncio.wait(self._slots, timeout=EXIT_LIMIT.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def _interrupt(running: Running, interruption: Interruption) -> None:
    # Work that is done is being written down; the row decides whether it still counts.
    if not running.work.done() and running.interruption is None:
        running.interruption = interruption
        running.work.cancel()


def _time_is_over(claim: Claim, error: TimeLimitError) -> ErrorSummary:
    if claim.execution_duration is None:
        return ErrorSummary(error.message, ErrorType.TRANSIENT)
    seconds = int(claim.execution_duration.total_seconds())
    return ErrorSummary(
        f"The job ran into its execution duration of {seconds} s; ask for less, or for more time", ErrorType.TRANSIENT
    )


async def _first_of(main: asyncio.Task[None], helpers: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the main task; a helper that ends has failed, and so has the worker."""
    try:
        await asyncio.wait({main, *helpers}, return_when=asyncio.FIRST_COMPLETED)
        for helper in helpers:
            if helper.done():
                helper.result()
                raise ServiceError("a part of the worker ended")
        await main
    finally:
        main.cancel()
        await asyncio.gather(main, return_exceptions=True)


# -- as a process -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What runs in the worker's children: who makes their services, what their tasks are, what is imported early."""

    factory: str = "gateway.context:open_task_services"
    tasks: str = "gateway.jobs.tasks:TASKS"
    queues: tuple[str, ...] = ("tap", "soda")
    preload: tuple[str, ...] = field(default=("gateway.jobs.tasks",))


def run(settings: Settings, workshop: Workshop | None = None) -> int:
    """Run a worker until SIGTERM or SIGINT.

    Parameters
    ----------
    settings
        Settings with the URLs of the databases.
    workshop
        What its children do; the gateway's own tasks by default.

    Returns
    -------
    int
        Exit code: 0 when it was told to stop.
    """
    configure_logs(settings)
    try:
        asyncio.run(_run(settings, workshop or Workshop()))
    except GatewayError as e:
        log.error("Worker failed", reason=e.message)  # noqa: TRY400 -- the text says all
        return 1
    return 0


async def _run(settings: Settings, workshop: Workshop) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_worker(settings, workshop) as worker:
        await worker.run(stop)


@asynccontextmanager
async def open_worker(settings: Settings, workshop: Workshop) -> AsyncIterator[Worker]:
    """Compose a worker from settings."""
    urls = settings.urls()
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    wake_up = ArqQueue(urls.redis)
    child = ChildSettings(
        memory_bytes=settings.child_memory_bytes,
        preload=workshop.preload,
        setup="gateway.jobs.tasks:prepare",
        setup_arguments={
            "factory": workshop.factory,
            "tasks": workshop.tasks,
            "settings": settings.to_record(),
        },
    )
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            JobStore.open(urls.control, connections=settings.worker_slots + 3, name="gw:worker")
        )
        signals = await stack.enter_async_context(PhaseSignals.open(urls.control))
        children = await stack.enter_async_context(ChildPool.open(child, size=settings.worker_slots))
        stack.push_async_callback(wake_up.aclose)
        yield Worker(
            name=name,
            store=store,
            results=LocalResultStore(settings.results_path),
            wake_up=wake_up,
            signals=signals,
            children=children,
            backends=Backends(urls.catalog or urls.catalog_admin),
            heart_url=urls.control,
            options=WorkerOptions.of(settings, workshop.queues),
        )


def main() -> None:
    """Run a worker as ``python -m gateway.jobs.worker`` does."""
    sys.exit(run(Settings()))


if __name__ == "__main__":
    main()
