"""C5: the result store is full, or away; jobs say so or wait, none is half there (F14)."""

import asyncio
import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.campaigns.campaign import Plan, run
from tests.campaigns.harness import Site
from tests.campaigns.load import Load
from tests.campaigns.report import Report

pytestmark = pytest.mark.campaign

DISK_BYTES = 24 << 20
"""Size of the disk that is filled; the results of a short run need a third of it."""

RESERVE_BYTES = 1 << 20
"""Below so much free space no new job is taken."""


async def campaign(seed: int, *, is_full: bool) -> Report:
    times, jobs = (20, 1000) if is_full else (2, 100)
    plan = Plan(
        name="C5",
        title="result store full, or away",
        minimum={"store away": times} | ({"disk full": times} if may_mount() else {}),
    )

    async def harm(site: Site, load: Load, report: Report) -> None:
        for _ in range(times):
            await asyncio.sleep(site.random.uniform(1, 3))
            with away(Path(site.results)):
                await asyncio.sleep(1.5)
            report.faults["store away"] += 1
            await asyncio.sleep(site.random.uniform(1, 3))
            if may_mount():
                # Not quite full first, so that jobs are taken and fail; then to the last byte, so that none is taken.
                with filled(Path(site.results).parent, leaving=0):
                    report.faults["disk full"] += 1
                    await asyncio.sleep(2.5)
                    report.faults["creations refused meanwhile"] += await refused(site)

    with disk(DISK_BYTES * (10 if is_full else 1)) as folder:
        settings = {"RESULTS": str(folder / "results"), "RESULTS_RESERVE_BYTES": str(RESERVE_BYTES)}
        async with Site.open(seed, settings=settings) as site:
            load = Load(site, jobs, slow_s=1.5, backlog=20, excuse=lambda message: "result store" in message)
            report = await run(plan, site, load, harm, is_full=is_full)
            if may_mount():
                report.add(
                    "no new job is taken while the disk is full",
                    [] if report.faults["creations refused meanwhile"] == times else ["one was taken"],
                )
            return report


async def refused(site: Site) -> bool:
    """Whether a creation is refused as it should be: 503, with Retry-After."""
    reply = await site.client.post("/tap/async", data={"LANG": "ADQL", "QUERY": "SELECT id FROM campaign.points"})
    return reply.status_code == 503 and "retry-after" in reply.headers


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """Take a folder away, and put a file in its place."""
    hidden = folder.with_name(f"{folder.name}.away")
    folder.rename(hidden)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        hidden.rename(folder)


@contextmanager
def filled(folder: Path, *, leaving: int) -> Iterator[None]:
    """Fill the disk of a folder up to some bytes."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while (free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize) > leaving:
                file.write(bytes(min(free - leaving, 1 << 20)))
        yield
    finally:
        ballast.unlink()


_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def disk(size: int) -> Iterator[Path]:
    """Hold a folder on a small disk of its own, where that is allowed."""
    from tests.campaigns.servers import folder

    with folder("gw-disk-") as path:
        is_mounted = _libc.mount(b"none", bytes(path), b"tmpfs", 0, b"size=%d" % size) == 0
        try:
            yield path
        finally:
            if is_mounted:
                _libc.umount2(bytes(path), 2)


def may_mount() -> bool:
    """Whether small disks can be made here: root outside of a strict container can."""
    with disk(1 << 20) as path:
        return os.statvfs(path).f_blocks * os.statvfs(path).f_frsize <= 2 << 20


async def test_jobs_survive_a_store_that_is_full_or_away() -> None:
    (await campaign(5, is_full=False)).finish()
