"""I1 to I10: what must hold after every campaign, whatever was done to the gateway.

They are judged from outside: by HTTP as a client sees it, by plain SQL on the tables of jobs, from a history that triggers
wrote, from the files of the result store, and from the processes themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.campaigns.harness import CANARY, LEASE_S, SWEEP_AGE_S, Site
from tests.campaigns.load import FINAL, Load, Ticket
from tests.campaigns.report import Verdict
from tests.campaigns.resources import Resources, compare
from tests.campaigns.survey import read_answer

MOVES: Mapping[str, frozenset[str]] = {
    "": frozenset({"PENDING"}),
    "PENDING": frozenset({"QUEUED", "ABORTED", "ERROR", "HELD"}),
    "HELD": frozenset({"QUEUED", "ABORTED"}),
    "QUEUED": frozenset({"EXECUTING", "ABORTED", "ERROR"}),
    "EXECUTING": frozenset({"COMPLETED", "ERROR", "ABORTED"}),
}
"""Phases that may follow one (UWS 1.1, state diagram); written down here a second time, as a judge must."""

RANK = {"PENDING": 0, "HELD": 0, "QUEUED": 1, "EXECUTING": 2, "COMPLETED": 3, "ERROR": 3, "ABORTED": 3}

CONNECTION_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)

# Sessions are named gw:<job>:<part>.<token>. One between two statements of its own is at rest and no query.
STRAY_SESSIONS = """
SELECT a.pid, a.application_name, a.state, j.phase FROM pg_stat_activity a
LEFT JOIN gateway.job j ON j.id = split_part(a.application_name, ':', 2)
WHERE a.application_name ~ '^gw:[A-Za-z0-9_-]{22,43}:[0-9]+[.][0-9]+$' AND a.state <> 'idle'
  AND (j.id IS NULL OR j.ended < clock_timestamp() - $1::interval)
  AND a.state_change < clock_timestamp() - interval '1 s'
"""

SLOTS = """
SELECT coalesce(t.queue, p.queue) AS queue, coalesce(t.running, 0) AS used, coalesce(p.running, 0) AS running
FROM (SELECT queue, sum(running) AS running FROM gateway.job_turn GROUP BY queue) t
FULL JOIN (SELECT queue, count(*) AS running FROM gateway.job_part WHERE run_state = 'running' GROUP BY queue) p
  ON p.queue = t.queue
WHERE coalesce(t.running, 0) <> coalesce(p.running, 0)
"""


class Watch:
    """Looks at I6 and I8 during the whole campaign, not only after it."""

    def __init__(self, site: Site, *, late_s: float) -> None:
        self._site = site
        self._late_s = late_s
        self.looks = 0
        self.strays: list[str] = []
        self.slots: list[str] = []
        self.connections = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, site: Site, *, late_s: float = 5.0) -> AsyncIterator[Watch]:
        """Watch until the context ends.

        Parameters
        ----------
        site
            What is watched.
        late_s
            How long a session may outlive its job, seconds. Nobody can end those of a worker that is frozen before its
            lease has run out.
        """
        watch = cls(site, late_s=late_s)
        task = asyncio.create_task(watch._run())
        try:
            yield watch
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            with suppress(*CONNECTION_ERRORS):
                await self.look()
            await asyncio.sleep(0.5)

    async def look(self) -> None:
        """Look once."""
        from datetime import timedelta

        rows = await self._site.fetch(STRAY_SESSIONS, timedelta(seconds=self._late_s))
        self.strays += [
            f"{row['application_name']} is {row['state']}, its job {row['phase'] or 'gone'}" for row in rows
        ]
        rows = await self._site.fetch(SLOTS)
        self.slots += [f"queue {row['queue']}: {row['used']} slots used, {row['running']} parts run" for row in rows]
        self.connections = max(
            self.connections,
            await self._site.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'gw:%'"),
        )
        self.looks += 1


@dataclass
class Evidence:
    """What is left in the database when a campaign has ended."""

    jobs: dict[str, Any]
    parts: dict[str, list[Any]]
    phases: dict[str, list[str]]
    commits: dict[str, list[tuple[int, int]]]

    @classmethod
    async def of(cls, site: Site) -> Evidence:
        """Read it."""
        jobs = await site.fetch("SELECT id, phase, error_message, destroyed FROM gateway.job")
        parts = await site.fetch(
            "SELECT job_id, number, run_state, token, attempts, losses, result_token, results FROM gateway.job_part"
        )
        phases = await site.fetch("SELECT job_id, phase FROM campaign.phases ORDER BY n")
        commits = await site.fetch("SELECT job_id, number, token FROM campaign.commits ORDER BY n")
        found = cls({row["id"]: row for row in jobs}, defaultdict(list), defaultdict(list), defaultdict(list))
        for row in parts:
            found.parts[row["job_id"]].append(row)
        for row in phases:
            found.phases[row["job_id"]].append(row["phase"])
        for row in commits:
            found.commits[row["job_id"]].append((row["number"], row["token"]))
        return found

    def objects(self) -> dict[str, int | None]:
        """Objects that rows name, with their size where it is known; uploads are not used in campaigns."""
        named: dict[str, int | None] = {}
        for rows in self.parts.values():
            for part in rows:
                job = self.jobs.get(part["job_id"])
                if part["result_token"] is None or job is None or job["destroyed"] is not None:
                    continue
                for result in json.loads(part["results"]):
                    named[result["key"]] = result["size"]
                    if result.get("sidecar"):
                        named[result["sidecar"]] = None
        return named


async def check(
    site: Site, load: Load, watch: Watch, baseline: Resources, *, settled_s: float, bound_s: float
) -> list[Verdict]:
    """Judge I1 to I10.

    Parameters
    ----------
    site, load, watch, baseline
        What ran, what its clients know, what was seen meanwhile, and what the processes held before.
    settled_s, bound_s
        How long the last jobs took after the last fault, and how long they may take, seconds.
    """
    evidence = await Evidence.of(site)
    answers = await _answers(load)
    unswept = await _unswept(site)
    await watch.look()
    return [
        Verdict("I1", "each accepted job exists, or was destroyed on request", _lost(load, answers), f"{len(load.accepted)} jobs"),
        Verdict("I2", f"all jobs end within {bound_s:g} s after the last fault", _endless(evidence, load, settled_s, bound_s), f"{settled_s:.1f} s"),
        Verdict("I3", "each result has the rows and the hash of the oracle", _wrong(load, answers), f"{sum(a.rows is not None for a in answers.values())} results"),
        Verdict("I4", "exactly one result is committed, its token is the row's", _doubled(evidence, load), f"{len(evidence.commits)} commits"),
        Verdict("I5", "every phase history is legal and never goes back", _illegal(evidence, load), f"{len(evidence.phases)} histories, {sum(bool(t.seen) for t in load.tickets)} by HTTP"),
        Verdict("I6", "no query of an ended job is active after 5 s", sorted(set(watch.strays)), f"{watch.looks} looks"),
        Verdict("I7", "no temporary or unreferenced object is left", unswept, f"{len(evidence.objects())} objects"),
        Verdict("I8", "used slots = running parts", sorted(set(watch.slots)) + await _held_slots(site), f"{watch.looks} looks"),
        Verdict("I9", "no secret in any log, row, Valkey value or reply", await _secrets(site, load), f"{sum(load.replies.statuses.values())} replies"),
        await compare(site, baseline),
        Verdict("", "every answer is the expected one, or 503 with Retry-After", load.replies.faults, ", ".join(f"{n} of {s}" for s, n in sorted(load.replies.statuses.items()))),
    ]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a client finds when it looks for its job again."""

    status: int
    phase: str = ""
    rows: int | None = None
    digest: str = ""
    fault: str = ""


async def _answers(load: Load) -> dict[str, Answer]:
    turns = asyncio.Semaphore(8)

    async def look(ticket: Ticket) -> tuple[str, Answer]:
        async with turns:
            return ticket.job_id, await _answer(load, ticket)

    return dict(await asyncio.gather(*(look(ticket) for ticket in load.accepted)))


async def _answer(load: Load, ticket: Ticket) -> Answer:
    url = f"/tap/async/{ticket.job_id}"
    reply, _ = await load.ask("GET", f"{url}/phase", {200, 404})
    if reply is None or reply.status_code == 404:
        return Answer(404 if reply is not None else 0)
    if (phase := reply.text.strip()) != "COMPLETED":
        return Answer(200, phase)
    result, _ = await load.ask("GET", f"{url}/results/result", {200})
    if result is None:
        return Answer(200, phase, fault="its result cannot be fetched")
    try:
        rows, digest = await asyncio.to_thread(read_answer, result.content, ticket.question.response_format)
    except Exception as e:  # noqa: BLE001 -- whatever is wrong with it, it is wrong
        return Answer(200, phase, fault=f"its result cannot be read: {e!r}")
    return Answer(200, phase, rows, digest)


def _lost(load: Load, answers: Mapping[str, Answer]) -> list[str]:
    broken = []
    for ticket in load.accepted:
        status = answers[ticket.job_id].status
        if ticket.is_deleted:
            if status != 404:
                broken.append(f"job {ticket.number} was deleted and answers {status}")
        elif status != 200 and not (status == 404 and ticket.may_be_gone):
            broken.append(f"job {ticket.number} ({ticket.job_id}) answers {status}")
    if len(load.accepted) != load.promised:
        broken.append(f"{len(load.accepted)} of {load.promised} jobs were accepted")
    return broken


def _endless(evidence: Evidence, load: Load, settled_s: float, bound_s: float) -> list[str]:
    broken = [f"it took {settled_s:.1f} s"] if settled_s > bound_s else []
    for ticket in load.accepted:
        job = evidence.jobs.get(ticket.job_id)
        if job is None or job["destroyed"] is not None:
            continue
        if job["phase"] not in FINAL:
            broken.append(f"job {ticket.number} ({ticket.job_id}) is {job['phase']}")
        elif job["phase"] == "ERROR" and load.excuse(job["error_message"]):
            continue
        elif job["phase"] not in ticket.expected and ticket.expected:
            broken.append(
                f"job {ticket.number} ({ticket.job_id}) is {job['phase']} and not {'/'.join(sorted(ticket.expected))}: "
                f"{job['error_message']}"
            )
    broken += [
        f"part {part['number']} of {job_id} is {part['run_state']} though its job has ended"
        for job_id, rows in evidence.parts.items()
        for part in rows
        if part["run_state"] != "done" and evidence.jobs[job_id]["phase"] in FINAL
    ]
    return broken


def _wrong(load: Load, answers: Mapping[str, Answer]) -> list[str]:
    broken = []
    for ticket in load.accepted:
        answer = answers[ticket.job_id]
        if answer.fault:
            broken.append(f"job {ticket.number} ({ticket.job_id}): {answer.fault}")
        elif answer.rows is not None and (answer.rows, answer.digest) != ticket.question.answer:
            broken.append(f"job {ticket.number} ({ticket.job_id}): {answer.rows} rows, another hash")
    return broken


def _doubled(evidence: Evidence, load: Load) -> list[str]:
    broken = []
    for job_id, rows in evidence.parts.items():
        for part in rows:
            tokens = [token for number, token in evidence.commits[job_id] if number == part["number"]]
            if len(tokens) > 1:
                broken.append(f"part {part['number']} of {job_id} was committed with tokens {tokens}")
            if tokens and tokens[-1] != part["token"]:
                broken.append(f"part {part['number']} of {job_id}: committed {tokens[-1]}, the row has {part['token']}")
            if evidence.jobs[job_id]["phase"] == "COMPLETED" and not tokens:
                broken.append(f"part {part['number']} of {job_id} has no committed result though its job is COMPLETED")
    known = {ticket.job_id for ticket in load.accepted}
    if known and not any(job_id in known for job_id in evidence.commits):
        broken.append("no commit was seen at all")
    return broken


def _illegal(evidence: Evidence, load: Load) -> list[str]:
    broken = []
    for job_id, phases in evidence.phases.items():
        for before, after in zip(["", *phases], phases, strict=False):
            if after not in MOVES.get(before, frozenset()):
                broken.append(f"{job_id}: {' '.join(phases)}")
                break
    for ticket in load.tickets:
        ranks = [RANK.get(phase, -1) for phase in ticket.seen]
        if ranks != sorted(ranks) or -1 in ranks:
            broken.append(f"{ticket.job_id} as a client saw it: {' '.join(ticket.seen)}")
    return broken


async def _unswept(site: Site) -> list[str]:
    """Wait as long as the sweeper may take, then name what it has left."""
    left: list[str] = []
    for _ in range(int(2 * (SWEEP_AGE_S + LEASE_S + 4))):
        named = (await Evidence.of(site)).objects()
        files = await asyncio.to_thread(site.objects)
        left = [f"{name} is named by no row" for name in sorted(files.keys() - named.keys())]
        left += [f"{name} is named and not there" for name in sorted(named.keys() - files.keys())]
        left += [
            f"{name} has {files[name]} bytes and not {size}"
            for name, size in named.items()
            if size is not None and name in files and files[name] != size
        ]
        if not left:
            break
        await asyncio.sleep(0.5)
    return left


async def _held_slots(site: Site) -> list[str]:
    """Slots of synchronous queries that are still held though nobody asks; they heal within a lease (R10)."""
    held: list[str] = []
    for _ in range(int(2 * (2 * LEASE_S + 2))):
        rows = await site.fetch("SELECT caller, number, holder FROM gateway.slot WHERE lease_until > clock_timestamp()")
        held = [f"slot {row['number']} of {row['caller']} is held by {row['holder']}" for row in rows]
        if not held:
            break
        await asyncio.sleep(0.5)
    return held


async def _secrets(site: Site, load: Load) -> list[str]:
    found = [f"reply to {url}" for url in load.replies.leaks]
    found += [f"log {path.name}" for path in site.home.glob("*.log") if CANARY in path.read_text(errors="replace")]
    for (table,) in await site.fetch("SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'gateway'::regnamespace"):  # fmt: skip
        count = await site.value(f"SELECT count(*) FROM {table} t WHERE strpos(t::text, $1) > 0", CANARY)
        if count:
            found.append(f"{count} rows of {table}")
    found += [f"Valkey: {text[:80]}" for text in await asyncio.to_thread(site.valkey.dump) if CANARY in text]
    return found


def retries(evidence: Evidence) -> Counter[str]:
    """How often parts were claimed again, and why."""
    counts: Counter[str] = Counter()
    for rows in evidence.parts.values():
        for part in rows:
            counts["leases lost or released"] += part["losses"]
            counts["deaths of a child"] += part["attempts"]
    return counts
