"""When a job will end, as far as its queue and the recent past tell (UWS 1.1, "Quote")."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta

from gateway.jobs.models import Job
from gateway.jobs.phases import Phase
from gateway.jobs.store import JobStore
from gateway.jobs.store.outlook import Place, RunTimes

RUN_TIMES_KEPT_S = 5.0
"""How long run times are kept: they change little, and every look at a job that waits or runs asks for them."""


class Outlook:
    """Adds to jobs what is known of their future."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._kept: dict[str, tuple[float, RunTimes | None]] = {}

    async def add_to(self, job: Job) -> Job:
        """Give the job with its quote and its place in the queue; one that neither waits nor runs as it is."""
        if job.phase not in {Phase.QUEUED, Phase.EXECUTING}:
            return job
        place = await self._store.place(job.job_id)
        if place is None:
            return job
        return replace(
            job,
            queue_position=place.ahead + 1 if job.phase is Phase.QUEUED else None,
            quote=quote(job, place, await self._run_times(place.queue)),
        )

    async def _run_times(self, queue: str) -> RunTimes | None:
        until, found = self._kept.get(queue, (0.0, None))
        if time.monotonic() >= until:
            found = await self._store.run_times(queue)
            self._kept[queue] = (time.monotonic() + RUN_TIMES_KEPT_S, found)
        return found


def quote(job: Job, place: Place, times: RunTimes | None) -> datetime | None:
    """Predict when a job ends; ``None`` where nothing tells.

    Parameters
    ----------
    job
        A job that is QUEUED or EXECUTING.
    place
        Where it stands.
    times
        How long others took.

    Notes
    -----
    A job that waits: the parts before it and its own, at the pace at which the slots that are busy finish parts. One that runs: by
    the share that is done, else as long as others took; one that has taken longer is expected to go on for as long again.
    Nothing runs past its time limit.
    """
    parts, done = int(job.progress.get("parts", 1)), int(job.progress.get("parts_done", 0))
    if job.start_time is None:
        if times is None:
            return None
        waiting_s = (place.ahead + parts) / place.running if place.running else place.ahead + parts - 1
        return place.now + timedelta(seconds=waiting_s * times.mean_s + times.median_s)
    elapsed = place.now - job.start_time
    if done:
        length = elapsed * (parts / done)
    elif times is not None:
        usual = timedelta(seconds=times.median_s)
        length = usual if elapsed < usual else 2 * elapsed
    else:
        return None
    if job.execution_duration is not None:
        length = min(length, max(job.execution_duration, elapsed))
    return job.start_time + length
