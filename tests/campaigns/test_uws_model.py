"""C9: a model of the UWS state machine, played by hypothesis against the service over HTTP (UWS-2, UWS-12..16, UWS-21..26).

The model knows nothing of the service: it is the standard's state diagram with what clients and workers may do. After every step
the two are compared, job by job and list by list. Runs and steps of the full form: ``UWS_RUNS=5000 UWS_STEPS=50``.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

import asyncpg
import httpx
import pytest
from asgi_lifespan import LifespanManager
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from lxml import etree

from gateway.jobs.models import Claim, ErrorSummary, ErrorType, Result
from gateway.jobs.phases import Phase
from gateway.jobs.service import JobService
from gateway.jobs.store import GivenBack, JobStore
from gateway.main import create_app
from gateway.settings import Settings

RUNS = int(os.environ.get("UWS_RUNS", "200"))
STEPS = int(os.environ.get("UWS_STEPS", "30"))

QUERY = "SELECT TOP 1 table_name FROM tap_schema.tables"
UWS = {"uws": "http://www.ivoa.net/xml/UWS/v1.0"}
LISTS = {"tap": "/tap/async", "soda": "/soda/async"}
HREF = "{http://www.w3.org/1999/xlink}href"
FINAL = {"COMPLETED", "ERROR", "ABORTED"}


@dataclass
class Expected:
    """A job as the standard would have it."""

    url: str
    parameters: dict[str, str]
    phase: str = "PENDING"
    attempts: int = 0
    results: list[str] = field(default_factory=list)

    @property
    def is_runnable(self) -> bool:
        return self.parameters.get("QUERY") == QUERY and self.parameters.get("LANG") == "ADQL"


class World:
    """The service in this process, and a worker's hands on its database."""

    def __init__(self, options: Settings) -> None:
        self._options = options
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        self.do(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._close())
        self._loop.close()

    def do(self, work: Any) -> Any:
        return self._loop.run_until_complete(work)

    async def _open(self) -> None:
        app = create_app(self._options)
        self._life = LifespanManager(app, startup_timeout=30, shutdown_timeout=30)
        await self._life.__aenter__()
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080")
        self.database = await asyncpg.connect(self._options.urls().control)
        self._store = JobStore.open(self._options.urls().control, connections=2)
        self.store = await self._store.__aenter__()

    async def _close(self) -> None:
        await self._store.__aexit__(None, None, None)
        await self.database.close()
        await self.client.aclose()
        await self._life.__aexit__(None, None, None)

    def get(self, url: str) -> httpx.Response:
        answer: httpx.Response = self.do(self.client.get(url))
        return answer

    def post(self, url: str, **data: str) -> httpx.Response:
        answer: httpx.Response = self.do(self.client.post(url, data=data))
        return answer

    def claim(self) -> Claim | None:
        """Claim a part as a worker does, from whichever queue has one."""
        for queue in self.do(self.database.fetch("SELECT queue FROM gateway.job_turn WHERE oldest IS NOT NULL")):
            claims = self.do(self.store.claim(queue["queue"], worker="w", per_owner=10**6, lease=timedelta(minutes=1)))
            if claims:
                return claims[0]  # type: ignore[no-any-return]
        return None


class Uws(RuleBasedStateMachine):
    """What clients and workers do to jobs, in any order."""

    world: ClassVar[World]
    counts: ClassVar[Counter[str]]

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.world.do(self.world.database.execute("DELETE FROM gateway.job; DELETE FROM gateway.job_turn"))
        self.model: dict[str, Expected] = {}
        self.claims: dict[str, Claim] = {}
        self.queue: list[str] = []
        self.counts["runs"] += 1

    def _told(self, answer: httpx.Response, status: int, name: str) -> None:
        self.counts[f"{name} {status}"] += 1
        assert answer.status_code == status, f"{name}: {answer.status_code} and not {status}: {answer.text}"

    # -- clients ---------------------------------------------------------------------------------------------

    @rule(
        target=jobs,
        job_list=st.sampled_from(["tap", "tap", "tap", "soda"]),
        query=st.sampled_from([QUERY, QUERY, "bad", ""]),
        run=st.booleans(),
    )
    def create(self, job_list: str, query: str, run: bool) -> Any:
        parameters = {"LANG": "ADQL"} | ({"QUERY": query} if query else {})
        answer = self.world.post(LISTS[job_list], **parameters, **({"PHASE": "RUN"} if run else {}))
        self._told(answer, 303, "create")
        url = answer.headers["location"]
        job = self.model[url] = Expected(url, parameters)
        if run:
            self._run(job, job_list)
        return url

    @rule(target=jobs)
    def begin(self) -> Any:
        """Let a worker begin a job at once, so that there is something to end."""
        url = self.create("tap", QUERY, run=True)
        self.claim()
        return url

    def _run(self, job: Expected, job_list: str) -> None:
        if job_list == "tap" and job.is_runnable:
            job.phase = "QUEUED"
            self.queue.append(job.url)
        else:
            job.phase = "ERROR"

    @rule(job=jobs)
    def run(self, job: str) -> None:
        expected = self.model.get(job)
        answer = self.world.post(f"{job}/phase", PHASE="RUN")
        if expected is None:
            return self._told(answer, 404, "run")
        if expected.phase not in {"PENDING", "HELD"}:
            return self._told(answer, 403, "run")
        self._told(answer, 303, "run")
        self._run(expected, "soda" if "/soda/" in job else "tap")
        return None

    @rule(job=jobs)
    def abort(self, job: str) -> None:
        expected = self.model.get(job)
        answer = self.world.post(f"{job}/phase", PHASE="ABORT")
        if expected is None:
            return self._told(answer, 404, "abort")
        if expected.phase in FINAL:
            return self._told(answer, 403, "abort")
        self._told(answer, 303, "abort")
        expected.phase = "ABORTED"
        return None

    @rule(job=jobs, how=st.sampled_from(["", "", "", "DELETE", "POST"]))
    def delete(self, job: str, how: str) -> None:
        if not how and job in self.model:  # else most that is done is done to what is gone
            return
        answer = (
            self.world.post(job, ACTION="DELETE") if how == "POST" else self.world.do(self.world.client.delete(job))
        )
        self._told(answer, 404 if self.model.pop(job, None) is None else 303, "delete")

    @rule(job=jobs, query=st.sampled_from([QUERY, "bad"]), by_put=st.booleans())
    def set_query(self, job: str, query: str, by_put: bool) -> None:
        expected = self.model.get(job)
        if by_put:
            answer = self.world.do(self.world.client.put(f"{job}/parameters/QUERY", content=query.encode()))
        else:
            answer = self.world.post(f"{job}/parameters", QUERY=query)
        if expected is None:
            return self._told(answer, 404, "set")
        if expected.phase != "PENDING":
            return self._told(answer, 403, "set")
        self._told(answer, 303, "set")
        expected.parameters["QUERY"] = query
        return None

    @rule(job=jobs, seconds=st.integers(1, 100))
    def set_duration(self, job: str, seconds: int) -> None:
        expected = self.model.get(job)
        answer = self.world.post(f"{job}/executionduration", EXECUTIONDURATION=str(seconds))
        status = 404 if expected is None else 303 if expected.phase in {"PENDING", "HELD", "QUEUED"} else 403
        self._told(answer, status, "duration")
        if status == 303:
            assert self.world.get(f"{job}/executionduration").text == str(seconds)

    @rule(job=jobs, phase=st.sampled_from([None, "PENDING", "QUEUED", "COMPLETED"]))
    def wait(self, job: str, phase: str | None) -> None:
        """Waiting no time at all gives the job as it is, whatever the phase that is asked for."""
        answer = self.world.get(f"{job}?WAIT=0" + (f"&PHASE={phase}" if phase else ""))
        self._told(answer, 200 if job in self.model else 404, "wait")

    # -- an administrator, and workers -----------------------------------------------------------------------

    @rule(job=jobs)
    def hold(self, job: str) -> None:
        expected = self.model.get(job)
        if expected is not None and expected.phase == "PENDING":
            self._sql("UPDATE gateway.job SET phase = 'HELD' WHERE id = $1", job)
            expected.phase = "HELD"

    def _sql(self, statement: str, job: str) -> None:
        self.world.do(self.world.database.execute(statement, job.rpartition("/")[2]))

    @precondition(lambda self: self.queue)
    @rule()
    def claim(self) -> None:
        claim = self.world.claim()
        waiting = [url for url in self.queue if url in self.model and self.model[url].phase in {"QUEUED", "EXECUTING"}]
        if claim is None:
            assert not waiting
            return
        self.counts["claim"] += 1
        (url,) = (url for url in waiting if url.endswith(claim.job_id))
        self.queue.remove(url)
        expected = self.model[url]
        expected.phase = "EXECUTING"
        expected.attempts += 1
        self.claims[url] = claim

    @precondition(lambda self: self.claims)
    @rule(
        which=st.integers(0, 9),
        to=st.sampled_from([Phase.COMPLETED, Phase.COMPLETED, Phase.ERROR, Phase.ABORTED]),
        meanwhile=st.sampled_from(["", "", "", "ABORT", "DELETE"]),
    )
    def end(self, which: int, to: Phase, meanwhile: str) -> None:
        """A worker commits; too late if the job was aborted or deleted meanwhile."""
        job, claim = self._some_claim(which)
        if meanwhile == "ABORT":
            self.abort(job)
        elif meanwhile == "DELETE":
            self.delete(job, meanwhile)
        result = Result(f"r{claim.token}", f"{claim.prefix}r", 1, "text/csv", 1)
        is_ended = self.world.do(
            self.world.store.end(
                claim,
                to,
                results=[result] if to is Phase.COMPLETED else [],
                error=None if to is Phase.COMPLETED else ErrorSummary("it broke", ErrorType.FATAL),
            )
        )
        expected = self.model.get(job)
        assert is_ended == (expected is not None and expected.phase == "EXECUTING")
        self.counts["end" if is_ended else "end refused"] += 1
        if expected is not None and is_ended:
            expected.phase = to
            expected.results = [result.result_id] if to is Phase.COMPLETED else []

    def _some_claim(self, which: int) -> tuple[str, Claim]:
        job = list(self.claims)[which % len(self.claims)]  # in order of claims: names of jobs differ from run to run
        return job, self.claims.pop(job)

    @precondition(lambda self: self.claims)
    @rule(which=st.integers(0, 9), deaths=st.booleans())
    def lose(self, which: int, deaths: bool) -> None:
        """A worker lets go of a part: the client sees EXECUTING all the time (R6), until it has died too often."""
        job, claim = self._some_claim(which)
        summary = ErrorSummary("again and again", ErrorType.TRANSIENT)
        became = self.world.do(
            self.world.store.give_back(claim, error=summary, deaths=int(deaths), losses=int(not deaths))
        )
        expected = self.model.get(job)
        self.counts[f"lose {became.value}"] += 1
        if expected is None or expected.phase != "EXECUTING":
            assert became is GivenBack.ENDED
        elif became is GivenBack.WAITING:
            self.queue.append(job)
        else:
            expected.phase = "ERROR"

    @rule(job=jobs)
    def look(self, job: str) -> None:
        """Read a job's document, whole."""
        expected = self.model.get(job)
        answer = self.world.get(job)
        self._told(answer, 200 if expected else 404, "look")
        if expected is None:
            return
        tree = etree.fromstring(answer.content)
        assert tree.findtext("uws:phase", namespaces=UWS) == expected.phase
        ended = tree.find("uws:endTime", UWS)
        assert ended is not None
        assert bool(ended.text) == (expected.phase in FINAL)
        assert (tree.find("uws:errorSummary", UWS) is not None) >= (expected.phase == "ERROR")
        assert [result.get("id") for result in tree.iterfind(".//uws:result", UWS)] == expected.results
        told = {item.get("id"): item.text for item in tree.iterfind(".//uws:parameter", UWS)}
        assert told == expected.parameters
        assert (f">{expected.attempts}</attempts>" in answer.text) == (expected.attempts > 0)

    @rule(
        phases=st.lists(st.sampled_from(["PENDING", "QUEUED", "EXECUTING", "ERROR"]), max_size=3),
        last=st.integers(0, 3),
    )
    def filter(self, phases: list[str], last: int) -> None:
        query = [f"PHASE={phase}" for phase in phases] + ([f"LAST={last}"] if last else [])
        mine = [url for url, phase in self._expected("tap") if phase in phases or not phases]
        assert [url for url, _ in self._listed("tap", "&".join(query))] == (mine[:last] if last else mine)

    # -- what must be the same after each step ---------------------------------------------------------------

    @invariant()
    def lists_are_as_expected(self) -> None:
        """The list has every job, in its phase, the newest first."""
        for job_list in LISTS:
            assert self._listed(job_list) == self._expected(job_list)

    def _expected(self, job_list: str) -> list[tuple[str, str]]:
        return [(url, job.phase) for url, job in reversed(self.model.items()) if f"{LISTS[job_list]}/" in url]

    def _listed(self, job_list: str, query: str = "") -> list[tuple[str, str | None]]:
        tree = etree.fromstring(self.world.get(f"{LISTS[job_list]}?{query}").content)
        return [(ref.get(HREF), ref.findtext("uws:phase", namespaces=UWS)) for ref in tree.iterfind("uws:jobref", UWS)]


@pytest.fixture
def world(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[World]:
    options = Settings(home=tmp_path, database_url=database_url, redis_url=redis_url)
    with World(options) as world:
        yield world


@pytest.mark.campaign
def test_the_service_is_as_the_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # No worker runs here that a RUN could wait for.
    monkeypatch.setattr(JobService.wait_left_queue, "__defaults__", (0.0,))
    Uws.world, Uws.counts = world, Counter()
    run_state_machine_as_test(
        Uws,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"C9: {RUNS} runs of {STEPS} steps: {dict(sorted(Uws.counts.items()))}")
    least = ("claim", "end", "end refused", "run 403", "abort 303", "delete 404", "lose waiting")
    assert RUNS < 100 or all(Uws.counts[name] for name in least), "some of the steps that matter were never made"
