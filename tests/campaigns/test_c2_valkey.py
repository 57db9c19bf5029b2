"""C2: Valkey is flushed, killed, full, silent or away every two seconds; no job waits for it (F11 to F13)."""

import asyncio
import time

import pytest

from tests.campaigns.campaign import Plan, run
from tests.campaigns.harness import Site
from tests.campaigns.load import Load
from tests.campaigns.report import Report

pytestmark = pytest.mark.campaign

START_LIMIT_S = 10.0
"""By when a queued job runs, whatever has become of its wake-up (F11), seconds."""

ANSWER_LIMIT_S = 1.0
"""By when creation answers (F12), seconds, on a machine that is not busy with other things."""

SLOWER = 4.0
"""So many times the median a creation may take on one that is: half of them meet a Valkey with nothing wrong."""

WAITED = """
SELECT q.job_id, extract(epoch FROM e.at - q.at)::float8 AS seconds FROM campaign.phases q
JOIN campaign.phases e ON e.job_id = q.job_id AND e.phase = 'EXECUTING' WHERE q.phase = 'QUEUED'
"""


async def campaign(seed: int, *, is_full: bool) -> Report:
    seconds, jobs = (440, 2000) if is_full else (30, 150)
    plan = Plan(
        name="C2",
        title="Valkey flushed, killed, full, silent, away",
        minimum={
            "flushes": 30 if is_full else 2,
            "Valkey killed": 15 if is_full else 1,
            "Valkey full": 15 if is_full else 1,
            "Valkey silent": 15 if is_full else 1,
        },
    )

    async def harm(site: Site, load: Load, report: Report) -> None:
        proxy = site.valkey_proxy
        until = time.monotonic() + seconds
        left: list[str] = []
        while time.monotonic() < until:
            # Each kind in turn, so that even a short run has them all.
            left = left or ["flush", "full", "kill", "silent", "cut", "away", "flush"]
            fault = left.pop(0)
            match fault:
                case "flush":
                    await asyncio.to_thread(site.valkey.flush)
                    report.faults["flushes"] += 1
                case "full":
                    with site.valkey.full():
                        await asyncio.sleep(1.5)
                    report.faults["Valkey full"] += 1
                case "kill":
                    site.valkey.restart_empty()
                    report.faults["Valkey killed"] += 1
                case "silent":
                    proxy.is_silent = True
                    await asyncio.sleep(1.5)
                    report.faults["Valkey silent"] += 1
                case "cut":
                    report.faults["connections to Valkey cut"] += proxy.drop_all()
                case _:
                    proxy.is_refusing = True
                    proxy.drop_all()
                    await asyncio.sleep(1.5)
                    report.faults["Valkey away"] += 1
            proxy.heal()
            await asyncio.sleep(site.random.uniform(1.5, 2.5))

    async with Site.open(seed) as site:
        load = Load(site, jobs, backlog=12, slow_s=4 if is_full else 3)
        report = await run(plan, site, load, harm, is_full=is_full)
        waited = {row["job_id"]: row["seconds"] for row in await site.fetch(WAITED)}
        longest = max(waited.values(), default=0.0)
        report.add(
            f"queued jobs start within {START_LIMIT_S:g} s",
            [f"{job_id}: {s:.1f} s" for job_id, s in waited.items() if s > START_LIMIT_S],
            checked=f"{len(waited)} jobs, at most {longest:.1f} s",
        )
        times = sorted(load.replies.creations_s)
        late = times[len(times) * 95 // 100]
        limit = max(ANSWER_LIMIT_S, SLOWER * times[len(times) // 2])
        report.add(
            f"95 % of creations answer within {limit:.1f} s",
            [f"{late:.2f} s"] if late > limit else [],
            checked=f"{len(times)} creations, {late:.2f} s",
        )
        report.add(
            "a lost Valkey costs no claim", [f"{n} claims" for n in [report.faults["claims lost by workers"]] if n]
        )
        del report.faults["claims lost by workers"]
        return report


async def test_no_job_waits_for_a_valkey_that_is_flushed_killed_or_away() -> None:
    (await campaign(2, is_full=False)).finish()
