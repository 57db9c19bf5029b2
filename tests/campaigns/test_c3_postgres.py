"""C3: PostgreSQL is restarted at once, again and again; accepted jobs are not lost (F8, F9)."""

import asyncio
import time

import httpx
import pytest

from tests.campaigns.campaign import Plan, run
from tests.campaigns.harness import LEASE_S, Site
from tests.campaigns.load import Load
from tests.campaigns.report import Report

pytestmark = pytest.mark.campaign

HEALTHY_LIMIT_S = 10.0
"""By when the gateway is healthy after a restart (F8), seconds."""


async def campaign(seed: int, *, is_full: bool) -> Report:
    restarts, jobs = (30, 1000) if is_full else (3, 120)
    plan = Plan(
        name="C3",
        title="PostgreSQL restarted at once",
        minimum={"PostgreSQL restarts": restarts, "connections to PostgreSQL cut": restarts},
        bound_s=LEASE_S + 15 + 45,  # a part that waits for its database waits up to 32 s
        late_s=5 + LEASE_S,
    )
    healthy: list[float] = []

    async def harm(site: Site, load: Load, report: Report) -> None:
        for _ in range(restarts):
            await asyncio.sleep(site.random.uniform(1, 4))
            await site.postgres.restart_at_once()
            report.faults["PostgreSQL restarts"] += 1
            healthy.append(await seconds_until_ready(site))
            await asyncio.sleep(site.random.uniform(0.5, 2))
            report.faults["connections to PostgreSQL cut"] += site.database_proxy.drop_all()

    async with Site.open(seed) as site:
        load = Load(site, jobs, slow_s=1.5)
        report = await run(plan, site, load, harm, is_full=is_full)
        report.add(
            f"the gateway is healthy {HEALTHY_LIMIT_S:g} s after a restart",
            [f"{seconds:.1f} s" for seconds in healthy if seconds > HEALTHY_LIMIT_S],
            checked=f"{len(healthy)} restarts, at most {max(healthy):.2f} s",
        )
        return report


async def seconds_until_ready(site: Site) -> float:
    """How long the gateway says that it is not ready; at most a minute."""
    started = time.monotonic()
    while (seconds := time.monotonic() - started) < 60:
        try:
            if (await site.client.get("/healthz/ready")).status_code == 200:
                return seconds
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    return seconds


async def test_no_accepted_job_is_lost_by_restarts_of_postgresql() -> None:
    (await campaign(3, is_full=False)).finish()
