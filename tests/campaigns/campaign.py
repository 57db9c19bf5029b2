"""The frame of every campaign: start, warm up, do harm while clients work, let it heal, judge, report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import median

from tests.campaigns.harness import LEASE_S, Site
from tests.campaigns.invariants import Evidence, Watch, check, retries
from tests.campaigns.load import Load
from tests.campaigns.report import Report
from tests.campaigns.resources import measure

WARM_UP = 24
"""Jobs before the first fault: pools and caches are full then, and the baseline is one of a working service."""

BOUND_S = LEASE_S + 15 + 30
"""By when all jobs have ended after the last fault, seconds: lease, the 15 s of F1, and the queue that was left."""

TELLING = (
    "Stale commit refused",
    "Claim lost",
    "Part let go",
    "Part tried again",
    "Statement tried again",
    "Child died",
    "Stalled sessions ended",
    "Sessions ended",
    "Results swept",
    "Wake-ups lost",
    "Slot failed",
)
"""Events that show what the engine went through."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a campaign is."""

    name: str
    title: str
    minimum: Mapping[str, int]
    """Faults without which it has shown nothing."""
    bound_s: float = BOUND_S
    late_s: float = 5.0
    """How long a session may outlive its job (I6)."""
    warm_up: Callable[[Site], Awaitable[None]] | None = None
    """Work of this campaign's own kind that is done before the baseline is taken."""


Harm = Callable[[Site, Load, Report], Awaitable[None]]
"""Does faults; returns when all are done and healed, or when the load has ended and nothing is left to harm."""


async def run(plan: Plan, site: Site, load: Load, harm: Harm, *, is_full: bool) -> Report:
    """Run a campaign on a site and judge it."""
    report = Report(plan.name, plan.title, site.seed, is_full, plan.minimum)
    await warm_up(site)
    if plan.warm_up is not None:
        await plan.warm_up(site)
    baseline = await measure(site)
    started = time.monotonic()
    async with Watch.open(site, late_s=plan.late_s) as watch:
        working = asyncio.create_task(load.run())
        try:
            await harm(site, load, report)
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        settled_s = await load.settle(plan.bound_s)
        report.verdicts += await check(site, load, watch, baseline, settled_s=settled_s, bound_s=plan.bound_s)
        report.faults["claims lost by workers"] = retries(await Evidence.of(site))["leases lost or released"]
    await summarise(site, load, report, time.monotonic() - started)
    if report.first_broken is not None or report.notes:
        report.keep(site.home.glob("*.log"))
    return report


async def warm_up(site: Site) -> None:
    """Let every process work once."""
    warm = Load(site, WARM_UP, slow_s=0.2, abort_share=0, delete_share=0)
    await warm.run()
    seconds = await warm.settle(60)
    assert seconds < 60, "the gateway does not even run jobs that nobody disturbs"
    assert not warm.replies.faults, warm.replies.faults
    bad = await site.fetch("SELECT error_message FROM gateway.job WHERE phase <> 'COMPLETED' LIMIT 3")
    assert not bad, f"a job that nobody disturbs fails: {bad}"


async def summarise(site: Site, load: Load, report: Report, seconds: float) -> None:
    """Fill the table of counts."""
    evidence = await Evidence.of(site)
    phases = {ticket.job_id: evidence.jobs.get(ticket.job_id) for ticket in load.accepted}
    ends = [job["phase"] if job is not None and job["destroyed"] is None else "deleted" for job in phases.values()]
    events = site.event_counts()
    times = load.replies.creations_s or [0.0]
    report.outcome |= {"jobs accepted": len(load.accepted)}
    report.outcome |= {f"... {phase}": ends.count(phase) for phase in sorted(set(ends))}
    report.outcome |= dict(retries(evidence))
    report.outcome |= {f"jobs {what} by clients": count for what, count in sorted(load.done.items())}
    report.outcome |= {f"“{name}”": events[name] for name in TELLING if events[name]}
    report.outcome |= {
        "requests tried again by clients": load.replies.refusals,
        "creation, median and slowest": f"{median(times):.2f} s, {max(times):.2f} s",
        "seconds in all": f"{seconds:.0f}",
    }
    report.notes += [
        f"`{text.splitlines()[0][:60]}` … `{text.splitlines()[-1][:200]}`" for text in site.tracebacks()[:5]
    ]
