"""C4: a lease is lost at the very moment of the commit, by a barrier and not by luck; one commit wins (F3, F9, R2, R5)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from tests.campaigns.campaign import Plan, run
from tests.campaigns.harness import LEASE_S, Site
from tests.campaigns.invariants import Evidence
from tests.campaigns.load import Load, Ticket
from tests.campaigns.report import Report
from tests.campaigns.survey import GATE, Question

pytestmark = pytest.mark.campaign

AT_ONCE = 6
"""Races that are run at the same time; fewer than there are slots, so that each part finds one."""

# A claim whose commit was answered by nobody runs nowhere: only one whose query has come to the gate counts.
AT_GATE = """
SELECT p.id, p.token FROM gateway.job_part p JOIN pg_stat_activity a
  ON a.application_name = format('gw:%s:%s.%s', p.job_id, p.number, p.token) AND a.wait_event = 'advisory'
WHERE p.job_id = $1 AND p.run_state = 'running'
"""

HAS_BLOCKED = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_blocking_pids(pid) @> ARRAY[$1::integer])"

# What the reaper does to a worker that was silent too long.
STEAL = """
UPDATE gateway.job_part SET token = token + 1, lease_until = NULL, worker = NULL, losses = losses + 1, run_state = 'waiting'
WHERE id = $1 AND run_state = 'running' RETURNING token
"""


async def campaign(seed: int, *, is_full: bool) -> Report:
    rounds = ((500, 0.0), (500, 0.05), (500, 0.1)) if is_full else ((20, 0.0), (15, 0.05), (15, 0.1))
    races = sum(count for count, _ in rounds)
    plan = Plan(
        name="C4",
        title="leases lost at the moment of the commit",
        minimum={"races": races, "answers to COMMIT lost": 100 if is_full else 3},
        bound_s=LEASE_S + 60,
    )
    refused: dict[str, int] = {}

    async def harm(site: Site, load: Load, report: Report) -> None:
        gates = iter(range(1, races + 1))
        for count, share in rounds:
            # Workers only: what they do in doubt is what this is about (F9).
            site.database_proxy.forget = lambda greeting, p=share: b"gw:worker" in greeting and site.random.random() < p
            turns = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(_race(site, load, next(gates), turns, report.faults, refused) for _ in range(count)))
        site.database_proxy.heal()
        report.faults["answers to COMMIT lost"] = site.database_proxy.counts["forgotten"]

    async with Site.open(seed, settings={"POLL_INTERVAL": "0.5s"}) as site:
        load = Load(site, 0)
        load.promised = races
        report = await run(plan, site, load, harm, is_full=is_full)
        evidence = await Evidence.of(site)
        told = Counter(
            (event["job_id"], event["token"]) for event in site.events() if event["event"] == "Stale commit refused"
        )
        report.add(
            "each commit that came too late was refused, by the first who was to be fenced",
            [f"{job_id}, token {token}" for job_id, token in refused.items() if not told[job_id, token]],
            checked=f"{len(refused)} commits",
        )
        report.add(
            "what won has a later token than what lost",
            [
                f"{job_id}: token {token} lost, {evidence.commits[job_id]} committed"
                for job_id, token in refused.items()
                if any(winner <= token for _, winner in evidence.commits[job_id])
            ],
        )
        return report


async def _race(
    site: Site, load: Load, gate: int, turns: asyncio.Semaphore, faults: Counter[str], refused: dict[str, int]
) -> None:
    """Let a worker come to its commit, hold it there, take its lease away, and let go."""
    async with turns, AsyncExitStack() as stack:
        ours = await stack.enter_async_context(_session(site))
        await ours.execute("SELECT pg_advisory_lock($1, $2)", GATE, gate)
        ticket = Ticket(gate, Question("gated", gate, 1))
        load.tickets.append(ticket)
        await load.submit(ticket)
        async with asyncio.timeout(30):
            while not (rows := await ours.fetch(AT_GATE, ticket.job_id)):
                await asyncio.sleep(0.02)
        part_id, token = rows[0]["id"], rows[0]["token"]
        pid = await ours.fetchval("SELECT pg_backend_pid()")
        async with ours.transaction():
            await ours.fetchval("SELECT id FROM gateway.job WHERE id = $1 FOR UPDATE", ticket.job_id)
            await ours.execute("SELECT pg_advisory_unlock($1, $2)", GATE, gate)
            looking = await stack.enter_async_context(_session(site))
            async with asyncio.timeout(30):
                while not await looking.fetchval(HAS_BLOCKED, pid):
                    await asyncio.sleep(0.01)
            # The commit is under way and waits for us: whoever holds the row decides.
            if await ours.fetchval(STEAL, part_id) == token + 1:
                refused[ticket.job_id] = token
                faults["races"] += 1


@asynccontextmanager
async def _session(site: Site) -> AsyncIterator[asyncpg.Connection]:
    """Hold a connection past the proxy."""
    connection = await asyncpg.connect(site.postgres.url, server_settings={"application_name": "campaign"})
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def test_of_two_who_commit_at_once_the_fenced_one_is_refused() -> None:
    (await campaign(4, is_full=False)).finish()
