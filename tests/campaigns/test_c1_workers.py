"""C1: workers are killed and frozen at random; every job still ends once, with the right rows (F1, F3, F17, F21, F22)."""

import asyncio

import pytest

from tests.campaigns.campaign import Plan, run
from tests.campaigns.harness import LEASE_S, Process, Site
from tests.campaigns.load import Load
from tests.campaigns.report import Report

pytestmark = pytest.mark.campaign

ENOUGH = 3
"""Of the four workers, so many work when the next fault is done; a frozen one is made up for."""

FREEZE_S = LEASE_S + 2
"""Longer than a lease, and than the time in which its end is noticed."""


async def campaign(seed: int, *, is_full: bool) -> Report:
    kills, freezes, jobs = (72, 10, 1000) if is_full else (20, 3, 200)
    plan = Plan(
        name="C1",
        title="workers killed and frozen at random",
        minimum={
            "workers killed": kills,
            "workers frozen": freezes,
            "children killed": 2,
            "claims lost by workers": kills // 2,
        },
        # Nobody can end the query of a frozen worker before its lease is over.
        late_s=5 + LEASE_S + 1,
    )

    async def harm(site: Site, load: Load, report: Report) -> None:
        chance = site.random
        order = ["kill"] * kills + ["freeze"] * freezes + ["child"] * max(2, kills // 20)
        chance.shuffle(order)
        thaws: list[asyncio.Task[None]] = []
        for fault in order:
            await asyncio.sleep(chance.uniform(0.2, 1.2))
            victim = await _victim(site)
            match fault:
                case "kill":
                    victim.kill()
                    report.faults["workers killed"] += 1
                    site.start_workers()
                case "freeze":
                    victim.freeze()
                    report.faults["workers frozen"] += 1
                    thaws.append(asyncio.create_task(_thaw_later(victim)))
                case _:
                    report.faults["children killed"] += site.kill_children(victim)
        await asyncio.gather(*thaws)

    async with Site.open(seed) as site:
        load = Load(site, jobs, slow_s=1.5)
        report = await run(plan, site, load, harm, is_full=is_full)
        events = site.event_counts()
        report.add(
            "a random death of workers turns no healthy job into an ERROR",
            [f"{ticket.number}" for ticket in load.accepted if "ERROR" in ticket.seen],
            checked=f"{events['Claim lost']} claims lost, {events['Stale commit refused']} stale commits refused",
        )
        return report


async def _victim(site: Site) -> Process:
    """A worker, rather one that has something to lose.

    The next fault waits until most workers work again: this is to be bad luck, and not a siege in which the few that are left are
    killed faster than any job can run.
    """
    while len(ready := [worker for worker in site.living_workers() if site.is_ready(worker)]) < ENOUGH:
        await asyncio.sleep(0.1)
    busy = [worker for worker in await site.busy_workers() if worker in ready]
    return site.random.choice(busy if busy and site.random.random() < 0.8 else ready)


async def _thaw_later(victim: Process) -> None:
    await asyncio.sleep(FREEZE_S)
    victim.thaw()


async def test_every_job_ends_once_though_workers_are_killed_and_frozen() -> None:
    (await campaign(1, is_full=False)).finish()
