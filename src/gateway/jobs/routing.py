"""Which queue a job waits in: short ones must never wait for long ones (reliability L5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from gateway.settings import Settings

QUICK = "quick"
LONG = "long"
CUTOUT = "cutout"

QUEUES = (QUICK, LONG, CUTOUT)
"""The queues of the gateway's own tasks; each has slots of its own in every worker."""

FORMER_QUEUES = {"tap": LONG, "soda": CUTOUT}
"""Queues of older versions, and where what waits in them belongs now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """What becomes of a part that runs for longer than its queue allows."""

    after: timedelta
    """How long it may run there."""
    to: str | None
    """Queue in which it goes on; ``None``: it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How queries are told apart; see `gateway.settings` for each."""

    quick_limit: timedelta
    quick_cost: float
    quick_overrun: str
    """What becomes of one that takes longer: ``move`` or ``stop``."""
    execution_duration_default: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take it from the settings."""
        return cls(
            quick_limit=settings.quick_limit,
            quick_cost=settings.quick_cost,
            quick_overrun=settings.quick_overrun,
            execution_duration_default=settings.execution_duration_default,
        )

    @property
    def overruns(self) -> dict[str, Overrun]:
        """What queues do about parts that run for too long."""
        return {QUICK: Overrun(after=self.quick_limit, to=LONG if self.quick_overrun == "move" else None)}

    def asks_for_little(self, duration: timedelta | None) -> bool:
        """Whether a job's own time limit makes it quick, so that nobody needs to estimate it."""
        return duration is not None and duration <= self.quick_limit

    def queue(self, duration: timedelta | None, cost: float | None) -> str:
        """Choose the queue of a query.

        Parameters
        ----------
        duration
            Time limit of its job; ``None``: unlimited.
        cost
            The planner's estimate; ``None``: unknown.

        Notes
        -----
        Where one that takes longer is moved, a wrong guess costs a restart at most, and most queries of which nothing is known are
        short. Where it is stopped, the unknown and those that asked for more time than usual are not put at risk.
        """
        if self.asks_for_little(duration):
            return QUICK
        if self.quick_overrun != "move" and (cost is None or duration != self.execution_duration_default):
            return LONG
        return QUICK if cost is None or cost <= self.quick_cost else LONG
