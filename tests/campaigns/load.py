"""Clients of a campaign: they submit jobs over HTTP, abort and delete some, and remember what they were promised."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg
import httpx

from tests.campaigns.harness import Site
from tests.campaigns.survey import Question, any_question

FINAL = frozenset({"COMPLETED", "ERROR", "ABORTED"})

CLIENTS = 6
"""Clients that submit at once."""

PATIENCE_S = 180
"""How long a client tries again what was answered with 503 or not at all: longer than any fault lasts."""

WATCHED_SHARE = 0.05
"""Jobs that a client follows by WAIT from their start to their end."""


@dataclass(eq=False)
class Ticket:
    """What a client knows about one of its jobs."""

    number: int
    question: Question
    job_id: str = ""
    """Set when the job was accepted: from then on it must not be lost."""
    expected: frozenset[str] = frozenset({"COMPLETED"})
    """Phases in which it may end, after what the client did; empty: it was deleted."""
    may_be_gone: bool = False
    """Whether a DELETE was sent whose answer was lost."""
    seen: list[str] = field(default_factory=list)
    """Phases that a watching client was told, in their order."""

    @property
    def is_deleted(self) -> bool:
        """Whether its deletion was confirmed."""
        return not self.expected


@dataclass
class Replies:
    """What the API said in all."""

    statuses: Counter[int] = field(default_factory=Counter)
    refusals: int = 0
    """503 with Retry-After, and connections that broke: tried again."""
    faults: list[str] = field(default_factory=list)
    """Answers that no campaign may see."""
    creations_s: list[float] = field(default_factory=list)
    """How long each creation took, tries again included, seconds."""
    leaks: list[str] = field(default_factory=list)
    """Answers in which a secret was found."""


class Load:
    """Jobs of a campaign."""

    def __init__(
        self,
        site: Site,
        jobs: int,
        *,
        backlog: int = 30,
        slow_s: float = 1.0,
        abort_share: float = 0.04,
        delete_share: float = 0.03,
        question: Callable[[random.Random], Question] | None = None,
        excuse: Callable[[str], bool] = lambda _message: False,
    ) -> None:
        """Plan jobs.

        Parameters
        ----------
        site
            Where they go.
        jobs
            How many.
        backlog
            New ones are submitted while fewer than so many wait or run, so that creation goes on under the faults.
        slow_s
            Longest run time of a job, about, seconds.
        abort_share, delete_share
            Jobs that are aborted, or deleted, at a moment drawn by lot.
        question
            Draws what a job asks.
        excuse
            Whether a job may end in ERROR with this message.
        """
        self.site = site
        self.tickets: list[Ticket] = []
        self.replies = Replies()
        self.planned = jobs
        self.promised = jobs
        """How many jobs must have been accepted in the end."""
        self.done: Counter[str] = Counter()
        """What clients did to their jobs."""
        self.excuse = excuse
        self.all_accepted = asyncio.Event()
        """Set when the last job was submitted; many still run then."""
        self._backlog = backlog
        self._chance = random.Random(f"{site.seed} load")
        self._abort, self._delete = abort_share, delete_share
        self._question = question or (lambda chance: any_question(chance, slow_s=slow_s))
        self._others: set[asyncio.Task[None]] = set()
        self._open = 0

    @property
    def accepted(self) -> list[Ticket]:
        """Jobs that the gateway has promised to run."""
        return [ticket for ticket in self.tickets if ticket.job_id]

    async def run(self) -> None:
        """Submit all jobs; returns when the last was accepted and its client has done what it wanted."""
        numbers = iter(range(self.planned))
        gauge = asyncio.create_task(self._watch_backlog())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(self._client(numbers))
        finally:
            gauge.cancel()
        self.all_accepted.set()
        await asyncio.gather(*self._others)

    async def settle(self, bound_s: float) -> float:
        """Wait until all accepted jobs are final; returns the seconds, more than the bound if they are not."""
        started = time.monotonic()
        while (seconds := time.monotonic() - started) <= bound_s:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                if not await self._count_open():
                    return seconds
            await asyncio.sleep(0.25)
        return seconds

    # -- one client ---------------------------------------------------------------------------------------

    async def _client(self, numbers: object) -> None:
        for number in numbers:  # type: ignore[attr-defined]  # one iterator for all clients
            while self._open >= self._backlog:
                await asyncio.sleep(0.05)
            ticket = Ticket(number, self._question(self._chance))
            # All lots are drawn before the first await, so that a seed means the same jobs in every run.
            lot, delay, is_watched, in_steps = (self._chance.random() for _ in range(4))
            self.tickets.append(ticket)
            self._open += 1
            await self.submit(ticket, in_two_steps=in_steps < 0.3)
            if is_watched < WATCHED_SHARE:
                self._start(self._watch(ticket))
            if lot < self._abort:
                self._start(self._after(delay * 1.5, self._abort_it, ticket))
            elif lot < self._abort + self._delete:
                self._start(self._after(delay * 1.5, self._delete_it, ticket))

    async def submit(self, ticket: Ticket, *, in_two_steps: bool = False) -> None:
        """Create a job and run it."""
        form = {"LANG": "ADQL", "QUERY": ticket.question.adql, "RESPONSEFORMAT": ticket.question.response_format}
        started = time.monotonic()
        if not in_two_steps:
            form["PHASE"] = "RUN"
        reply, _ = await self.ask("POST", "/tap/async", {303}, data=form)
        self.replies.creations_s.append(time.monotonic() - started)
        if reply is None:
            return
        ticket.job_id = reply.headers["location"].rpartition("/")[2]
        if in_two_steps:
            # Once more after a lost answer may be once too often: 403 says that it runs.
            await self.ask("POST", f"/tap/async/{ticket.job_id}/phase", {303, 403}, data={"PHASE": "RUN"})

    async def _after(self, seconds: float, act: Callable[[Ticket], Awaitable[None]], ticket: Ticket) -> None:
        await asyncio.sleep(seconds)
        if ticket.job_id:
            await act(ticket)

    async def _abort_it(self, ticket: Ticket) -> None:
        url = f"/tap/async/{ticket.job_id}/phase"
        reply, is_in_doubt = await self.ask("POST", url, {303, 403}, data={"PHASE": "ABORT"})
        if reply is None or is_in_doubt:
            ticket.expected = frozenset({"COMPLETED", "ABORTED"})
        elif reply.status_code == 303:
            ticket.expected = frozenset({"ABORTED"})
            self.done["aborted"] += 1

    async def _delete_it(self, ticket: Ticket) -> None:
        url = f"/tap/async/{ticket.job_id}"
        ticket.may_be_gone = True
        reply, _ = await self.ask("DELETE", url, {303, 404})
        if reply is None:
            return
        ticket.expected = frozenset()
        self.done["deleted"] += 1
        found, _ = await self.ask("GET", url, {404, 200})
        if found is not None and found.status_code != 404:
            self.replies.faults.append(f"{url} was deleted and is still there")

    async def _watch(self, ticket: Ticket) -> None:
        """Follow a job as a patient client does, and remember each phase."""
        while ticket.job_id:
            reply, _ = await self.ask("GET", f"/tap/async/{ticket.job_id}?WAIT=5", {200, 404})
            if reply is None or reply.status_code == 404:
                return
            phase = reply.text.partition("<uws:phase>")[2].partition("<")[0]
            if not ticket.seen or ticket.seen[-1] != phase:
                ticket.seen.append(phase)
            if phase in FINAL:
                return

    async def ask(
        self, method: str, url: str, wanted: set[int], *, data: dict[str, str] | None = None
    ) -> tuple[httpx.Response | None, bool]:
        """Send a request until it is answered; what a client may try again, it tries again.

        Returns
        -------
        tuple
            The answer, ``None`` if there was no good one; and whether an earlier try may have taken effect.
        """
        deadline = time.monotonic() + PATIENCE_S
        is_in_doubt = False
        while time.monotonic() < deadline:
            try:
                reply = await self.site.client.request(method, url, data=data)
            except httpx.TransportError as e:
                self.replies.refusals += 1
                is_in_doubt = is_in_doubt or not isinstance(e, httpx.ConnectError)
                await asyncio.sleep(0.2)
                continue
            self.note(method, url, reply)
            if reply.status_code in wanted:
                return reply, is_in_doubt
            if reply.status_code != 503:
                self.replies.faults.append(f"{method} {url}: {reply.status_code} {reply.text[:200]!r}")
                return None, is_in_doubt
            self.replies.refusals += 1
            is_in_doubt = True
            await asyncio.sleep(0.3)
        self.replies.faults.append(f"{method} {url}: no answer in {PATIENCE_S} s")
        return None, True

    def note(self, method: str, url: str, reply: httpx.Response) -> None:
        """Look at an answer, whoever asked."""
        from tests.campaigns.harness import CANARY

        self.replies.statuses[reply.status_code] += 1
        if reply.status_code == 503 and "retry-after" not in reply.headers:
            self.replies.faults.append(f"{method} {url}: 503 without Retry-After")
        if CANARY in reply.text or any(CANARY in value for value in reply.headers.values()):
            self.replies.leaks.append(f"{method} {url}")

    # -- the whole ----------------------------------------------------------------------------------------

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._others.add(task)

    async def _watch_backlog(self) -> None:
        while True:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                self._open = await self._count_open()
            await asyncio.sleep(0.2)

    async def _count_open(self) -> int:
        # One that was never acknowledged may stay PENDING: nobody asked to run it.
        return int(
            await self.site.value(
                "SELECT count(*) FROM gateway.job WHERE phase IN ('QUEUED', 'EXECUTING') AND destroyed IS NULL"
            )
        )
