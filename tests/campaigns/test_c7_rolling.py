"""C7: every process is replaced in turn while clients work; nobody notices (F18)."""

import asyncio
import csv
import io
import signal
import time
from dataclasses import dataclass, field

import httpx
import pytest

from tests.campaigns.campaign import Plan, run
from tests.campaigns.harness import Process, Site
from tests.campaigns.load import Load
from tests.campaigns.report import Report
from tests.campaigns.survey import Question

pytestmark = pytest.mark.campaign

END_LIMIT_S = 12.0
"""By when a process that was told to stop has ended, seconds; orchestrators wait 30."""

IN_ORDER = (0, -signal.SIGTERM)
"""Exit codes of processes that did what they were told: uvicorn ends by the signal that it got, when all is done."""

RATE = 25.0
"""Synchronous queries per second beside the jobs."""


@dataclass
class Seen:
    """What clients of synchronous queries met, and how processes ended."""

    answers: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    ends: list[tuple[Process, float]] = field(default_factory=list)


async def campaign(seed: int, *, is_full: bool) -> Report:
    rounds, jobs = (10, 200) if is_full else (1, 60)
    plan = Plan(
        name="C7",
        title="rolling restarts under load",
        minimum={
            "API processes replaced": 2 * rounds,
            "workers replaced": 4 * rounds,
            "synchronous queries": 100 * rounds,
        },
    )
    seen = Seen()

    async def harm(site: Site, load: Load, report: Report) -> None:
        asking = asyncio.create_task(_ask_on(site, seen))
        try:
            for _ in range(rounds):
                for old in [process for process in (*site.api, *site.workers) if process.is_alive]:
                    await _replace(site, old, report, seen)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        report.faults["synchronous queries"] = seen.answers

    async with Site.open(seed) as site:
        load = Load(site, jobs, backlog=12, slow_s=3 if is_full else 2)
        report = await run(plan, site, load, harm, is_full=is_full)
        report.add(
            "no request fails while processes are replaced",
            seen.failures,
            checked=f"{seen.answers} synchronous queries, the slowest {seen.slowest_s:.2f} s",
        )
        report.add("no client had to ask twice", [str(n) for n in [load.replies.refusals] if n])
        report.add(
            f"a process that is told to stop ends within {END_LIMIT_S:g} s, in order",
            [
                f"{process.kind} {process.number}: {seconds:.1f} s, code {process.popen.returncode}"
                for process, seconds in seen.ends
                if seconds > END_LIMIT_S or process.popen.returncode not in IN_ORDER
            ],
            checked=f"{len(seen.ends)} processes, at most {max(seconds for _, seconds in seen.ends):.1f} s",
        )
        return report


async def _replace(site: Site, old: Process, report: Report, seen: Seen) -> None:
    """Start another one, and stop the old one when the new one works: as orchestrators do."""
    if old.kind == "api":
        await site.start_api()
        report.faults["API processes replaced"] += 1
    else:
        site.start_workers()
        await site.wait_workers()
        report.faults["workers replaced"] += 1
    seen.ends.append((old, await site.end_in_order(old)))


async def _ask_on(site: Site, seen: Seen) -> None:
    """Send quick queries at a steady rate, each on a connection of its own."""
    running: set[asyncio.Task[None]] = set()
    try:
        while True:
            task = asyncio.create_task(_ask(site, seen))
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(1 / RATE)
    finally:
        await asyncio.gather(*running)


async def _ask(site: Site, seen: Seen) -> None:
    first = site.random.randrange(10_000)
    question = Question("points", first, 20)
    form = {"LANG": "ADQL", "QUERY": question.adql, "RESPONSEFORMAT": "csv"}
    started = time.monotonic()
    try:
        reply = await site.client.get("/tap/sync", params=form, headers={"Connection": "close"})
    except httpx.HTTPError as e:
        seen.failures.append(f"{type(e).__name__} {e}")
        return
    finally:
        seen.slowest_s = max(seen.slowest_s, time.monotonic() - started)
    if reply.status_code != 200:
        seen.failures.append(f"{reply.status_code} {reply.text[:100]}")
    elif [row[0] for row in csv.reader(io.StringIO(reply.text))][1:] != [str(first + n) for n in range(20)]:
        seen.failures.append("other rows")
    else:
        seen.answers += 1


async def test_nobody_notices_that_every_process_is_replaced() -> None:
    (await campaign(7, is_full=False)).finish()
