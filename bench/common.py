"""What every benchmark gives, and the clock that they share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One line of the report.

    ``value`` and ``floor`` are rates (higher is better) in ``unit``; ``wanted`` is the least ratio that passes.
    """

    name: str
    value: float
    floor: float
    unit: str
    wanted: float | None = None
    remark: str = ""

    @property
    def ratio(self) -> float:
        return self.value / self.floor


def alternately(rounds: int, *works: Callable[[], float]) -> list[float]:
    """Run works in turn, so that a busy machine slows all of them; give each one's median seconds."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, measured in zip(works, times, strict=True):
            measured.append(work())
    return [statistics.median(measured) for measured in times]


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
