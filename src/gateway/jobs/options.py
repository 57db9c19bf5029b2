"""How a worker works, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from gateway.jobs.routing import CUTOUT, LONG, QUEUES, Overrun, Routing
from gateway.settings import Settings

PATIENT_DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0)
"""Pauses between tries while a database is away: two minutes, in which a restart or a failover is over (F8).

The last ones are for bad luck: of a thousand jobs under thirty restarts, one met eight in a row.
"""

SHORT_DELAYS_S = (0.5, 2.0)
"""Pauses between tries after any other transient error: the slot is wanted by others."""

LONGEST_BACK_OFF_S = 32.0
"""Longest pause before a statement that must get through is tried again (F8)."""

FINISH_GRACE = timedelta(seconds=2)
"""How long a stopping worker lets parts end before it releases them: most are short, and orchestrators wait 30 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What runs in the worker's children: who makes their services, what their tasks are, what is imported early."""

    factory: str = "gateway.context:open_task_services"
    tasks: str = "gateway.jobs.tasks:TASKS"
    queues: tuple[str, ...] = QUEUES
    preload: tuple[str, ...] = field(default=("gateway.jobs.tasks",))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works; see `gateway.settings` for each."""

    slots: Mapping[str, int]
    """Parts that run at once, for each queue that is served."""
    overruns: Mapping[str, Overrun]
    """What becomes of parts that run for too long, for the queues where there is such a thing."""
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
        of_queue = {LONG: settings.worker_long_slots, CUTOUT: settings.worker_cutout_slots}
        slots = {queue: of_queue.get(queue, settings.worker_slots) for queue in queues}
        return cls(
            slots={queue: count for queue, count in slots.items() if count},
            overruns=Routing.of(settings).overruns,
            per_owner=settings.jobs_per_owner,
            lease=settings.lease,
            heartbeat=settings.heartbeat,
            poll_interval=settings.poll_interval,
            sweep_age=settings.sweep_age,
        )
