"""Jobs as they change, for those who watch (``/api/v1/jobs/{id}/events``)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from gateway.errors import NotFoundError, OverloadedError, QuotaError, TransientError
from gateway.jobs.models import Job
from gateway.jobs.phases import FINAL
from gateway.jobs.signals import PhaseSignals

LOOK_S = 2.0
"""How often a job is looked at unasked: changes of phase are told by signals, progress and place in the queue are not."""

SILENCE_S = 15.0
"""Longest time without a sign: proxies and browsers give up a silent connection after 30 to 60 s."""

SEAT_RETRY_S = 30
"""Retry-After when no more may watch: about the time in which a job ends."""


class Watchers:
    """Those who watch jobs, so many at once and no more."""

    def __init__(
        self,
        signals: PhaseSignals,
        read: Callable[[str], Awaitable[Job]],
        *,
        most: int,
        most_per_caller: int,
        look_s: float = LOOK_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        """Prepare seats.

        Parameters
        ----------
        signals, read
            Who tells of changes of phase; reads a job.
        most, most_per_caller
            Seats in this process, and for one caller.
        look_s, silence_s
            As `LOOK_S` and `SILENCE_S`.
        """
        self._signals = signals
        self._read = read
        self._most = most
        self._most_per_caller = most_per_caller
        self._look_s = look_s
        self._silence_s = silence_s
        self._seats: Counter[str] = Counter()

    async def follow(self, job_id: str, caller_key: str) -> AsyncGenerator[Job | None, None]:
        """Give the job, and again after each change; ``None`` as a sign of life. Ends with the job, or when it is deleted.

        Raises
        ------
        OverloadedError, QuotaError
            All seats are taken, or all of the caller.
        NotFoundError
            There is no such job to begin with.
        """
        loop = asyncio.get_running_loop()
        with self._seat(caller_key), self._signals.watch(job_id) as changed:
            last: Job | None = None
            spoke = loop.time()
            while last is None or not (last.phase in FINAL or self._signals.is_stopping):
                # Cleared before the look: what changes during it is looked at again.
                changed.clear()
                job = await self._look(job_id, last)
                if job is None:
                    return
                if last is None or _told(job) != _told(last):
                    yield job
                    last, spoke = job, loop.time()
                elif loop.time() - spoke >= self._silence_s:
                    yield None
                    spoke = loop.time()
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), self._look_s)

    async def _look(self, job_id: str, last: Job | None) -> Job | None:
        """Read the job; while the database is away it is as it was, and who began to watch stays; ``None``: it is gone."""
        try:
            return await self._read(job_id)
        except NotFoundError:
            if last is None:
                raise
            return None
        except TransientError:
            if last is None:
                raise
            await asyncio.sleep(self._look_s)
            return last

    @contextmanager
    def _seat(self, caller_key: str) -> Iterator[None]:
        if self._seats.total() >= self._most:
            raise OverloadedError(
                f"{self._most} clients watch jobs already, the most that may (event_streams); ask for the job with WAIT",
                retry_after_s=SEAT_RETRY_S,
            )
        if self._seats[caller_key] >= self._most_per_caller:
            raise QuotaError(
                f"You watch {self._most_per_caller} jobs already, the most that you may (event_streams_per_caller)",
                retry_after_s=SEAT_RETRY_S,
            )
        self._seats[caller_key] += 1
        try:
            yield
        finally:
            self._seats[caller_key] -= 1
            self._seats += Counter()  # forgets callers without a seat


def _told(job: Job) -> tuple[object, ...]:
    """Give what is news of a job. Its quote is not: it moves with the clock."""
    return job.phase, job.queue_position, dict(job.progress)
