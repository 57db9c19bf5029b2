"""What every worker does beside its work: take back lost parts, destroy expired jobs, sweep the result store.

Any number of workers may do it at once; a lock in the database lets one at a time do each step (F24).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from gateway.errors import GatewayError
from gateway.jobs.backends import Backends
from gateway.jobs.files import remove_files
from gateway.jobs.models import Loss, result_prefix, session_label
from gateway.jobs.queue import WakeUp
from gateway.jobs.routing import FORMER_QUEUES
from gateway.jobs.store import BATCH, JobStore
from gateway.storage.results import ResultStore

log = structlog.get_logger()

SWEEPS_PER_AGE = 4
"""How often the result store is looked through while an object reaches the sweep age: it goes at most a quarter late."""


class Upkeep:
    """Reaper and sweeper."""

    def __init__(
        self,
        *,
        store: JobStore,
        results: ResultStore,
        wake_up: WakeUp,
        backends: Backends,
        queues: tuple[str, ...],
        lease: timedelta,
        sweep_age: timedelta,
    ) -> None:
        self._store = store
        self._results = results
        self._wake_up = wake_up
        self._backends = backends
        self._former = {former: now for former, now in FORMER_QUEUES.items() if now in queues}
        self._lease = lease
        self._sweep_age = sweep_age
        self._next_sweep = 0.0

    async def run(self) -> None:
        """Do it until cancelled: at once, then the reaper thrice per lease.

        Beside it goes what asks the result store: to look through a large one takes minutes, and it may be away.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_on(self._keep_parts))
            group.create_task(self._keep_on(self._keep_results))

    async def _keep_on(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (GatewayError, OSError) as e:
                log.warning("Upkeep failed", reason=str(e))
            # Not all workers at the same instant.
            await asyncio.sleep(self._lease.total_seconds() / 3 * random.uniform(0.8, 1))  # noqa: S311

    async def _keep_parts(self) -> None:
        await self.adopt()
        await self.reap()

    async def _keep_results(self) -> None:
        await self.destroy_expired()
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + self._sweep_age.total_seconds() / SWEEPS_PER_AGE
            await self.sweep()

    async def adopt(self) -> int:
        """Take what waits in the queues of older versions into those of this one; returns how many parts (F19).

        API processes of an older version may run beside this worker, and go on to fill them.
        """
        count = 0
        for former, queue in self._former.items():
            if adopted := await self._store.adopt(former, queue):
                log.info("Parts of an older version adopted", former=former, queue=queue, count=adopted)
                await self._wake_up.wake(queue)
                count += adopted
        return count

    async def reap(self) -> int:
        """Take back the parts of silent workers; returns how many."""
        if stalled := await self._store.end_stalled():
            log.warning("Stalled sessions ended", count=stalled)
        count = 0
        while losses := await self._store.reap(lease=self._lease):
            count += len(losses)
            for loss in losses:
                await self._clean_up(loss)
            if len(losses) < BATCH:
                break
        return count

    async def destroy_expired(self) -> int:
        """Destroy jobs whose destruction has come; returns how many."""
        count = 0
        while gone := await self._store.expire():
            count += len(gone)
            for job_id in gone:
                log.info("Job destroyed", job_id=job_id)
                await remove_files(self._results, f"{job_id}/")
            if len(gone) < BATCH:
                break
        return count

    async def sweep(self) -> int:
        """Remove objects that no row names, and rows of jobs that are long gone; returns how many objects."""
        removed = await self._results.sweep(age=self._sweep_age, referenced=self._store.referenced)
        while await self._store.purge(age=self._sweep_age) == BATCH:
            pass
        if removed:
            log.info("Results swept", count=removed)
        return removed

    async def _clean_up(self, loss: Loss) -> None:
        """End what the lost worker left: its session in the catalog, its objects in the store."""
        log.warning("Claim lost", job_id=loss.job_id, part=loss.number, token=loss.token)
        await self._backends.terminate(session_label(loss.job_id, loss.number, loss.token))
        await self._wake_up.wake(loss.queue)
        await remove_files(self._results, result_prefix(loss.job_id, loss.number, loss.token))
