"""Runs jobs: claims parts while slots are free, and runs each in a warm child.

The loop is ours. arq runs inside it as a listener for wake-ups; without Redis the worker polls. ``python -m
gateway.jobs.worker`` runs one against the databases that the settings name; ``gateway worker`` also starts embedded ones.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import structlog

from gateway.children import ChildPool, ChildSettings
from gateway.errors import BackendUnavailableError, GatewayError, ServiceError
from gateway.jobs.backends import Backends
from gateway.jobs.heart import Heart
from gateway.jobs.models import Claim
from gateway.jobs.options import LONGEST_BACK_OFF_S, WorkerOptions, Workshop
from gateway.jobs.queue import ArqQueue, Ear, WakeUp
from gateway.jobs.runner import Interruption, PartRunner, Running
from gateway.jobs.signals import PhaseSignals
from gateway.jobs.store import JobStore
from gateway.jobs.upkeep import Upkeep
from gateway.log import configure_logs
from gateway.settings import Settings
from gateway.storage.results import ResultStore
from gateway.stores import open_results

log = structlog.get_logger()

EXIT_LIMIT = timedelta(seconds=10)
"""Longest that a stopping worker tries to release its parts; then their leases run out by themselves."""


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
        self._wake_up = wake_up
        self._signals = signals
        self._children = children
        self._options = options
        self._woken = asyncio.Event()
        self._ears = {queue: Ear(self._woken.set) for queue in options.slots}
        self._running: dict[tuple[int, int], Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._heart = Heart(
            heart_url, worker=name, lease=options.lease, interval=options.heartbeat, on_lost=self._on_lost_in_thread
        )
        self._runner = PartRunner(
            store=store,
            results=results,
            wake_up=wake_up,
            children=children,
            backends=backends,
            heart=self._heart,
            has_room=lambda queue: self.free(queue) > 0,
            on_room=lambda queue: self._ears[queue].wake(),
            options=options,
        )
        self._upkeep = Upkeep(
            store=store,
            results=results,
            wake_up=wake_up,
            backends=backends,
            queues=tuple(options.slots),
            lease=options.lease,
            sweep_age=options.sweep_age,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then end or release what runs."""
        self._signals.observe(self._on_signal)
        # Not before it can run what it claims: its children start for seconds, and another worker may be ready.
        await _either(self._children.wait_ready(), stop.wait())
        with self._heart:
            helpers = [asyncio.create_task(self._wake_up.listen(queue, ear)) for queue, ear in self._ears.items()]
            helpers += [asyncio.create_task(self._upkeep.run()), asyncio.create_task(self._tell_of_stop(stop))]
            log.info("Worker started", worker=self._name, slots=dict(self._options.slots))
            try:
                await _first_of(asyncio.create_task(self._claim_on(stop)), helpers)
            finally:
                for ear in self._ears.values():
                    ear.is_open = False
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
                await self._drain()
            log.info("Worker stopped", worker=self._name)

    def free(self, queue: str) -> int:
        """How many slots of a queue are free."""
        return self._options.slots.get(queue, 0) - Counter(r.queue for r in self._running.values())[queue]

    # -- claiming -----------------------------------------------------------------------------------------

    async def _claim_on(self, stop: asyncio.Event) -> None:
        pause = 0.2
        for ear in self._ears.values():
            ear.woken.set()
        while not stop.is_set():
            self._woken.clear()
            try:
                for queue, ear in self._ears.items():
                    if ear.woken.is_set() and not stop.is_set():
                        # Cleared before the look: what is queued during it wakes us again.
                        ear.woken.clear()
                        await self._fill(queue)
                wait, pause = self._options.poll_interval.total_seconds(), 0.2
            except BackendUnavailableError as e:
                log.warning("Claiming failed", reason=e.message)
                wait = pause = min(pause * 2, LONGEST_BACK_OFF_S, self._options.poll_interval.total_seconds())
            for queue, ear in self._ears.items():
                ear.is_open = self.free(queue) > 0
            try:
                await asyncio.wait_for(self._woken.wait(), wait)
            except TimeoutError:
                for ear in self._ears.values():
                    ear.woken.set()

    async def _fill(self, queue: str) -> None:
        if (free := self.free(queue)) <= 0:
            return
        claims = await self._store.claim(
            queue, worker=self._name, per_owner=self._options.per_owner, lease=self._options.lease, at_most=free
        )
        for claim in claims:
            self._start(claim)

    def _start(self, claim: Claim) -> None:
        log.info("Part claimed", job_id=claim.job_id, token=claim.token, queue=claim.queue)
        running = self._running[claim.hold] = Running(claim, claim.queue)
        task = asyncio.create_task(self._runner.run(running))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda task: self._free_slot(running, task))

    def _free_slot(self, running: Running, task: asyncio.Task[None]) -> None:
        del self._running[running.claim.hold]
        self._ears[running.queue].wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The claim's lease runs out, and another worker takes it.
            log.error("Slot failed", exc_info=error)

    async def _tell_of_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._woken.set()
        await asyncio.Event().wait()

    # -- interruptions ------------------------------------------------------------------------------------

    def _on_signal(self, job_id: str | None) -> None:
        if job_id is None or any(running.claim.job_id == job_id for running in self._running.values()):
            self._heart.poke()

    def _on_lost_in_thread(self, claim: Claim) -> None:
        with suppress(RuntimeError):  # the loop has just closed
            self._loop.call_soon_threadsafe(self._on_lost, claim)

    def _on_lost(self, claim: Claim) -> None:
        if (running := self._running.get(claim.hold)) is not None:
            running.interrupt(Interruption.LOST)

    async def _drain(self) -> None:
        """End what ends soon, release the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._options.finish_grace.total_seconds())
        for running in self._running.values():
            running.interrupt(Interruption.RELEASED)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=EXIT_LIMIT.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


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


async def _either(*awaited: Coroutine[Any, Any, object]) -> None:
    """Wait for whatever comes first, and leave the others."""
    tasks = [asyncio.create_task(one) for one in awaited]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# -- as a process -----------------------------------------------------------------------------------------


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
async def open_worker(
    settings: Settings, workshop: Workshop, options: WorkerOptions | None = None
) -> AsyncIterator[Worker]:
    """Compose a worker from settings; ``options`` stand in for those that the settings name."""
    urls = settings.urls()
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    wake_up = ArqQueue(urls.redis)
    options = options or WorkerOptions.of(settings, workshop.queues)
    slots = sum(options.slots.values())
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
        store = await stack.enter_async_context(JobStore.open(urls.control, connections=slots + 3, name="gw:worker"))
        signals = await stack.enter_async_context(PhaseSignals.open(urls.control))
        children = await stack.enter_async_context(ChildPool.open(child, size=slots))
        stack.push_async_callback(wake_up.aclose)
        results = await stack.enter_async_context(open_results(settings))
        yield Worker(
            name=name,
            store=store,
            results=results,
            wake_up=wake_up,
            signals=signals,
            children=children,
            backends=Backends(urls.catalog or urls.catalog_admin),
            heart_url=urls.control,
            options=options,
        )


def main() -> None:
    """Run a worker as ``python -m gateway.jobs.worker`` does."""
    sys.exit(run(Settings()))


if __name__ == "__main__":
    main()
