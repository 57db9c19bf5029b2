"""What every benchmark gives, and the clock that they share."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gateway.embedded.binaries import postgres_programs


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


def rate(name: str, milliseconds: float, floor: float, most: float | None, remark: str) -> Result:
    """Result in calls a second; its name tells the time, and whether that is at most what it may be."""
    verdict = "" if most is None else f", {'reached' if milliseconds <= most else 'MISSED'}: at most {most:g} ms"
    return Result(f"{name}: {milliseconds:,.2f} ms{verdict}", 1000 / milliseconds, 1000 / floor, "/s", remark=remark)


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


def psql(server_url: str, *commands: str) -> None:
    """Run commands with PostgreSQL's own client; what it prints goes nowhere."""
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run([postgres_programs() / "psql", server_url, "-qX", *words], check=True, stdout=subprocess.DEVNULL)


def catalog(rows: int) -> pa.Table:
    """Ten columns as surveys have them, always the same: numbers of all widths, nulls, a flag, short text."""
    random = np.random.default_rng(20260101)

    def holes(share: float) -> np.ndarray:
        return random.random(rows) < share

    return pa.table(
        {
            "source_id": random.integers(1, 2**62, rows),
            "ra": random.uniform(0, 360, rows),
            "dec": np.degrees(np.arcsin(random.uniform(-1, 1, rows))),
            "parallax": pa.array(random.exponential(1, rows), mask=holes(0.1)),
            "mag_g": random.normal(18, 2, rows).astype("f4"),
            "mag_r": pa.array(random.normal(17, 2, rows).astype("f4"), mask=holes(0.2)),
            "n_obs": random.integers(1, 500, rows).astype("i4"),
            "quality": random.integers(0, 100, rows).astype("i2"),
            "is_variable": holes(0.05),
            "name": pa.array([f"J{number:09d}" for number in random.integers(0, 10**9, rows)]),
        }
    )
