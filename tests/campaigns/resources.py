"""What the processes hold: memory, open files, sessions in the database; and children that nobody holds (I10)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.harness import Process, Site
from tests.campaigns.report import Verdict

GROWTH_BYTES = 64 << 20
"""Most that a process may have grown over its baseline: caches fill, leaks do not stop."""

GROWTH_DESCRIPTORS = 12
"""Most descriptors above the baseline: pools breathe."""


@dataclass
class Resources:
    """What the processes hold."""

    memory: dict[str, int] = field(default_factory=dict)
    """Largest resident memory of a process of each kind, bytes."""
    descriptors: dict[str, int] = field(default_factory=dict)
    """Most open files of a process of each kind."""
    connections: int = 0
    """Sessions in the database."""
    orphans: list[str] = field(default_factory=list)
    """Children without a living worker."""


async def measure(site: Site) -> Resources:
    """Measure the living processes."""
    found = Resources()
    living = [process for process in (*site.api, *site.workers) if process.is_alive]
    for process in living:
        with suppress(FileNotFoundError):
            memory, descriptors = _held(process.pid)
            found.memory[process.kind] = max(memory, found.memory.get(process.kind, 0))
            found.descriptors[process.kind] = max(descriptors, found.descriptors.get(process.kind, 0))
    found.connections = await site.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'gw:%' AND backend_type = 'client backend'"
    )
    found.orphans = _orphans(site, living)
    return found


def _held(pid: int) -> tuple[int, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) << 10
    return resident, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _orphans(site: Site, living: Iterable[Process]) -> list[str]:
    parents = {process.pid for process in living}
    mine = f"GATEWAY_RESULTS={site.results}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            if b"gateway.children" in (entry / "cmdline").read_bytes() and mine in (entry / "environ").read_bytes():
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent not in parents:
                    found.append(f"process {entry.name} of parent {parent}")
    return found


async def compare(site: Site, baseline: Resources) -> Verdict:
    """Judge I10: measure again, until what was just used has been given back."""
    broken: list[str] = []
    now = Resources()
    for _ in range(20):
        now = await measure(site)
        broken = list(now.orphans)
        broken += [
            f"{kind}: {size >> 20} MiB, {baseline.memory[kind] >> 20} MiB before"
            for kind, size in now.memory.items()
            if size > baseline.memory.get(kind, size) + GROWTH_BYTES
        ]
        broken += [
            f"{kind}: {count} open files, {baseline.descriptors[kind]} before"
            for kind, count in now.descriptors.items()
            if count > baseline.descriptors.get(kind, count) + GROWTH_DESCRIPTORS
        ]
        if now.connections > baseline.connections + GROWTH_DESCRIPTORS:
            broken.append(f"{now.connections} database sessions, {baseline.connections} before")
        if not broken:
            break
        await asyncio.sleep(0.5)
    shown = ", ".join(f"{kind} {size >> 20} MiB" for kind, size in sorted(now.memory.items()))
    return Verdict(
        "I10", "memory, files and connections are back at the baseline", broken, f"{shown}, {now.connections} sessions"
    )
