"""Jobs: how soon one is done, how many a worker does, what the tables bear, and whether everybody gets a turn.

Two kinds: over HTTP against a gateway as ``gateway serve`` runs it (one worker, two slots for quick queries), and on the job
tables alone. They lie in a database of their own, which is dropped afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import Manager
from threading import Barrier, Event, Thread
from urllib.parse import urlencode, urlsplit

import asyncpg
import numpy as np
import pyvo

from bench.common import Result, rate
from bench.service import FORM, Service, ask, published, service
from bench.sky import sphere
from gateway.db import migrate
from gateway.db.urls import DatabaseURL
from gateway.jobs.phases import FINAL, Phase
from gateway.jobs.store import JobStore
from gateway.settings import Settings

ROWS = 200_000
JOBS = 60
PYVO_JOBS = 20
CLIENTS = 8
CLIENTS_SECONDS = 8.0
CLAIMERS = 2
"""Processes that claim and end at once, and the tasks in each of them."""
TASKS = 4
AT_ONCE: int = Settings.model_fields["worker_slots"].default
"""Parts of one claim: as many as a worker has slots for quick queries, where nothing else is said."""
WARM_ROUNDS = 10
ROUNDS = 60
ROUND = 60
"""Parts that come, untimed, before each round, and are claimed and ended in it."""
WANTED_RATE = 1000
"""Parts a second that must be claimed and ended."""
PLAIN_SHARE = WANTED_RATE / 2800
"""The same as a share of a bare table's, which the machine that it was set for brought to 2,800 a second: this one's speed varies."""
OWNERS = 100
STORED = 1_000_000
PAGES = 100
PAGE = 100
FAIR_USERS = 20
FAIR_JOBS = 5
GREEDY_JOBS = 500

ONE_ROW = "SELECT source_id, ra, dec, mag FROM bench.objects WHERE source_id = {}"
SLOW = "SELECT COUNT(*) FROM bench.objects AS a JOIN bench.objects AS b ON a.mag < b.mag"
FINAL_WORDS = {phase.value for phase in FINAL}


def run(server_url: str) -> Iterator[Result]:
    """Measure in a database of its own on this server."""
    with fresh_database(server_url) as url:
        yield claims(url, waiting=10)
        yield claims(url, waiting=10_000)
        with published("bench.objects", sphere(ROWS, 1), url):
            yield from over_http(url)
            yield from fairness(url)


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Make a migrated database, and drop it."""
    name = f"gw_bench_{secrets.token_hex(4)}"
    asyncio.run(execute(server_url, f"CREATE DATABASE {name}"))
    url = DatabaseURL.parse(server_url).with_database(name).libpq()
    try:
        migrate.upgrade(control_url=url, catalog_url=url)
        yield url
    finally:
        asyncio.run(execute(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(DatabaseURL.parse(url).asyncpg())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


# -- the tables alone --------------------------------------------------------------------------------------


def claims(url: str, *, waiting: int) -> Result:
    """Claim and end parts as fast as it goes, round after round, while so many wait, and a round's more at its beginning."""
    asyncio.run(execute(url, *waiting_jobs(waiting), *waiting_rows(waiting)))
    with Manager() as manager, ProcessPoolExecutor(CLAIMERS) as pool:
        gate = manager.Barrier(CLAIMERS)
        times = list(pool.map(claim_on, [url] * CLAIMERS, [gate] * CLAIMERS))
    fair, plain = (CLAIMERS * ROUNDS * ROUND / max(seconds) for seconds in zip(*times, strict=True))
    asyncio.run(execute(url, "TRUNCATE gateway.job CASCADE", "TRUNCATE gateway.job_turn", "DROP TABLE plain"))
    return Result(
        f"parts claimed and ended, {AT_ONCE} a claim, with {waiting:,} to {waiting + CLAIMERS * ROUND:,} waiting, {OWNERS} owners, "
        f"{'reached' if fair >= WANTED_RATE else 'MISSED'}: at least {WANTED_RATE:,} /s",
        fair,
        plain,
        "/s",
        wanted=PLAIN_SHARE,
        remark="the same clients on a bare table: no turns, no history, no announcements",
    )


def at_least(name: str, value: float, wanted: float) -> Result:
    verdict = "reached" if value >= wanted else "MISSED"
    return Result(f"{name}, {verdict}: at least {wanted:,g} /s", value, wanted, "/s", remark="what must be reached")


def at_most(name: str, milliseconds: float, most: float) -> Result:
    return rate(name, milliseconds, most, most, "what must be reached")


def waiting_jobs(count: int) -> list[str]:
    """Statements that put jobs into a queue."""
    return [
        f"""
        INSERT INTO gateway.job (id, job_list, owner, phase, destruction, execution_duration, open_parts)
        SELECT lpad(n::text, 24, '0'), 'tap', 'owner' || n % {OWNERS}, 'QUEUED', now() + interval '1 day', 3600, 1
        FROM generate_series(1, {count}) n""",
        "INSERT INTO gateway.job_part (job_id, number, queue, owner) SELECT id, 1, 'bench', owner FROM gateway.job",
        "VACUUM ANALYZE gateway.job",
        "VACUUM ANALYZE gateway.job_part",
    ]


def waiting_rows(count: int) -> list[str]:
    """Statements that make the barest queue, with so many rows in it."""
    return [
        """
        CREATE TABLE plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_state text NOT NULL DEFAULT 'waiting',
                            token integer NOT NULL DEFAULT 0, lease_until timestamptz)""",
        "CREATE INDEX ON plain (id) WHERE run_state = 'waiting'",
        f"INSERT INTO plain (lease_until) SELECT NULL FROM generate_series(1, {count})",
        "VACUUM ANALYZE plain",
    ]


ADD = f"""
WITH j AS (
    INSERT INTO gateway.job (id, job_list, owner, phase, destruction, execution_duration, open_parts)
    SELECT id, 'tap', 'owner' || n % {OWNERS}, 'QUEUED', now() + interval '1 day', 3600, 1
    FROM unnest($1::text[]) WITH ORDINALITY AS new (id, n)
    RETURNING id, owner)
INSERT INTO gateway.job_part (job_id, number, queue, owner) SELECT id, 1, 'bench', owner FROM j
"""

ADD_PLAIN = "INSERT INTO plain (lease_until) SELECT NULL FROM generate_series(1, $1)"

CLAIM_PLAIN = """
UPDATE plain SET run_state = 'running', token = token + 1, lease_until = clock_timestamp() + interval '1 min'
WHERE id IN (SELECT id FROM plain WHERE run_state = 'waiting' ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, token
"""

END_PLAIN = """
UPDATE plain SET run_state = 'done', lease_until = NULL WHERE id = $1 AND token = $2 AND run_state = 'running' RETURNING id
"""


def claim_on(url: str, gate: Barrier) -> tuple[float, float]:
    """Claim and end `ROUND` parts in each round, in several tasks, then as many rows of the bare table.

    Gives the seconds that each of the two took, without the first rounds.
    """
    return asyncio.run(_claim_on(url, gate))


async def _claim_on(url: str, gate: Barrier) -> tuple[float, float]:
    async def fair(count: int) -> int:
        claims = await store.claim("bench", worker="bench", per_owner=100, lease=timedelta(minutes=1), at_most=count)
        return sum([await store.end(claim, Phase.COMPLETED) for claim in claims])

    async def plain(count: int) -> int:
        rows = await pool.fetch(CLAIM_PLAIN, count)
        return sum([await pool.fetchval(END_PLAIN, *row) is not None for row in rows])

    async def one_round(do: Callable[[int], Awaitable[int]]) -> float:
        left = ROUND

        async def work() -> None:
            nonlocal left
            while left:
                count = min(AT_ONCE, left)
                left -= count
                done = await do(count)
                left += count - done

        await asyncio.to_thread(gate.wait)
        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(TASKS)))
        elapsed = time.perf_counter() - start
        await asyncio.to_thread(gate.wait)
        return elapsed

    times = []
    async with (
        asyncpg.create_pool(DatabaseURL.parse(url).asyncpg(), min_size=0, max_size=TASKS) as pool,
        JobStore.open(url, connections=TASKS + 1) as store,
    ):
        for _ in range(WARM_ROUNDS + ROUNDS):
            await pool.execute(ADD, [secrets.token_urlsafe(18) for _ in range(ROUND)])
            await pool.execute(ADD_PLAIN, ROUND)
            times.append((await one_round(fair), await one_round(plain)))
    fair_s, plain_s = (sum(column) for column in zip(*times[WARM_ROUNDS:], strict=True))
    return fair_s, plain_s


# -- over HTTP ---------------------------------------------------------------------------------------------


def over_http(url: str) -> Iterator[Result]:
    """Jobs of clients of a running gateway, first alone, then eight at once, then with a million in the tables."""
    with service(url) as gateway:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as client:
            seconds = sorted(one_job(client, number) for number in range(1000, 1000 + JOBS))[3:]  # warm
            sync = statistics.median(ask(client, ONE_ROW.format(number)).seconds for number in range(2000, 2030))
            name = "one-row query as a job, created to COMPLETED by WAIT, p50"
            yield rate(name, 1000 * statistics.median(seconds), 1000 * sync, 80, "the same query to /sync")
        yield at_most("pyvo submit_job, run, wait, p50", 1000 * by_pyvo(gateway), 400)
        with looking(gateway, "/tap/availability", "/tap/capabilities") as looks:
            yield at_least("one-row jobs of 8 clients, one worker of 2 slots", many_jobs(gateway), 25)
        yield at_most("/availability and /capabilities meanwhile, p99", percentile(looks, 99), 200)
        asyncio.run(store_many(url))
        yield at_most(f"page of {PAGE} jobs with {STORED:,} in the table, p50", list_page(gateway), 20)
        with looking(gateway, f"/tap/async/{'0' * 23}7") as looks:
            many_jobs(gateway)
        yield at_most("single job read meanwhile, 8 clients running jobs, p99", percentile(looks, 99), 200)
        asyncio.run(execute(url, "TRUNCATE gateway.job CASCADE", "TRUNCATE gateway.job_turn"))


def call(client: http.client.HTTPConnection, method: str, target: str, **form: object) -> http.client.HTTPResponse:
    """Send a request and read the answer to its end; its body is ``answer.text``."""
    client.request(method, target, urlencode(form) if form else None, FORM if form else {})
    answer = client.getresponse()
    answer.text = answer.read().decode()  # type: ignore[attr-defined]
    if answer.status >= 400:
        raise RuntimeError(f"{method} {target}: {answer.status} {answer.text}")  # type: ignore[attr-defined]
    return answer


def one_job(client: http.client.HTTPConnection, number: int) -> float:
    """Create and run a job and wait until it is COMPLETED; seconds."""
    start = time.perf_counter()
    answer = call(client, "POST", "/tap/async", QUERY=ONE_ROW.format(number), LANG="ADQL", PHASE="RUN")
    job = urlsplit(answer.headers["Location"]).path
    while True:
        text: str = call(client, "GET", f"{job}?WAIT=10").text  # type: ignore[attr-defined]
        phase = text.partition("<uws:phase>")[2].partition("<")[0]
        if phase in FINAL_WORDS:
            break
    if phase != Phase.COMPLETED:
        raise RuntimeError(f"the job is {phase}: {text}")
    return time.perf_counter() - start


def by_pyvo(gateway: Service) -> float:
    """Median of a job's life with pyvo, seconds."""
    tap = pyvo.dal.TAPService(f"{gateway.url}/tap")
    seconds = []
    for number in range(PYVO_JOBS):
        start = time.perf_counter()
        job = tap.submit_job(ONE_ROW.format(3000 + number))
        job.run().wait()
        seconds.append(time.perf_counter() - start)
        if job.phase != Phase.COMPLETED:
            raise RuntimeError(f"the job is {job.phase}")
        job.delete()
    return statistics.median(seconds)


def many_jobs(gateway: Service) -> float:
    """Jobs a second of clients that each make one after the other."""
    until = time.monotonic() + CLIENTS_SECONDS
    counts = [0] * CLIENTS

    def work(which: int) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as client:
            while time.monotonic() < until:
                one_job(client, 5000 + which * 1000 + counts[which])
                counts[which] += 1

    start = time.monotonic()
    threads = [Thread(target=work, args=(which,)) for which in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - start)


@contextmanager
def looking(gateway: Service, *targets: str) -> Iterator[list[float]]:
    """Ask for resources again and again meanwhile; gives milliseconds."""
    stop, milliseconds = Event(), list[float]()

    def look() -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as client:
            while not stop.wait(0.01):
                for target in targets:
                    start = time.perf_counter()
                    call(client, "GET", target)
                    milliseconds.append(1000 * (time.perf_counter() - start))

    thread = Thread(target=look)
    thread.start()
    try:
        yield milliseconds
    finally:
        stop.set()
        thread.join()


def percentile(milliseconds: list[float], percent: float) -> float:
    return float(np.percentile(milliseconds, percent))


async def store_many(url: str) -> None:
    """Fill the tables with jobs that have ended, of the local caller and of others."""
    await execute(
        url,
        "ALTER TABLE gateway.job_part DISABLE TRIGGER USER",
        f"""
        INSERT INTO gateway.job (id, job_list, owner, phase, created, started, ended, destruction, execution_duration,
                                 parameters)
        SELECT lpad(n::text, 24, '0'), 'tap', CASE WHEN n % 10 = 7 THEN 'local' ELSE 'owner' || n % 1000 END, 'COMPLETED',
               t, t, t, t + interval '14 days', 3600, '[["QUERY", "SELECT 1"], ["LANG", "ADQL"]]'
        FROM generate_series(1, {STORED}) n, LATERAL (SELECT now() - n * interval '1 s' AS t) at""",
        """
        INSERT INTO gateway.job_part (job_id, number, queue, owner, run_state, token, result_token, results)
        SELECT id, 1, 'quick', owner, 'done', 1, 1,
               '[{"id": "result", "key": "k", "size": 1, "media_type": "text/csv", "rows": 1, "overflow": false}]'
        FROM gateway.job WHERE id LIKE '0000000%'""",
        "ALTER TABLE gateway.job_part ENABLE TRIGGER USER",
        "VACUUM ANALYZE gateway.job",
        "VACUUM ANALYZE gateway.job_part",
    )


def list_page(gateway: Service) -> float:
    """Median milliseconds of the newest jobs of a caller who has a hundred thousand."""
    milliseconds = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as client:
        for _ in range(PAGES):
            start = time.perf_counter()
            text: str = call(client, "GET", f"/tap/async?LAST={PAGE}").text  # type: ignore[attr-defined]
            milliseconds.append(1000 * (time.perf_counter() - start))
            if text.count("<uws:jobref") != PAGE:
                raise RuntimeError("another number of jobs than asked for")
    return statistics.median(milliseconds)


# -- fairness (reliability L4) -------------------------------------------------------------------------------


def fairness(url: str) -> Iterator[Result]:
    """One user with many long jobs, twenty with five quick ones, one worker."""
    with worker(url):
        waits = asyncio.run(wait_for_quick(url))
    means = [statistics.mean(of_user) for of_user in waits.values()]
    every = [wait for of_user in waits.values() for wait in of_user]
    name = f"quick jobs of {FAIR_USERS} users beside {GREEDY_JOBS} long ones of another, wait p95"
    yield at_most(name, 1000 * float(np.percentile(every, 95)), 2000)
    ratio = max(means) / statistics.median(means)
    verdict = "reached" if ratio <= 3 else "MISSED"
    yield Result(
        f"longest mean wait of a user: {ratio:.2f} times the median, {verdict}: at most 3 times",
        1 / ratio,
        1 / 3,
        "of it",
        remark="what must be reached",
    )


async def wait_for_quick(url: str) -> dict[str, list[float]]:
    """Queue the long jobs, let all users make their quick ones at once; gives seconds from created to started, by user."""
    users = [f"user{number}" for number in range(FAIR_USERS)]
    async with JobStore.open(url) as store:
        for _ in range(GREEDY_JOBS):
            await add(store, "greedy", SLOW, "long")
        await asyncio.sleep(2)  # the first of them runs
        waits = dict(zip(users, await asyncio.gather(*(one_by_one(store, user) for user in users)), strict=True))
        states = {backlog.queue: backlog for backlog in await store.backlogs()}
        if not states["long"].running or not states["long"].waiting:
            raise RuntimeError("the long jobs did not last")
    return waits


async def one_by_one(store: JobStore, user: str) -> list[float]:
    """Make a user's quick jobs, each when the one before has ended; gives how long each waited."""
    waits = []
    for number in range(FAIR_JOBS):
        job_id = await add(store, user, ONE_ROW.format(number), "quick")
        while (job := await store.get(job_id)).phase not in FINAL:  # noqa: ASYNC110 - another process ends it
            await asyncio.sleep(0.05)
        if job.phase is not Phase.COMPLETED or job.start_time is None:
            raise RuntimeError(f"a quick job is {job.phase}: {job.error}")
        waits.append((job.start_time - job.creation_time).total_seconds())
    return waits


async def add(store: JobStore, owner: str, query: str, queue: str) -> str:
    job_id = secrets.token_urlsafe(18)
    await store.create(
        job_id,
        job_list="tap",
        owner=owner,
        account=None,
        base_url="http://127.0.0.1",
        run_id=None,
        retention=timedelta(days=1),
        execution_duration=timedelta(hours=1),
        parameters=[("QUERY", query), ("LANG", "ADQL")],
        uploads=[],
    )
    await store.enqueue(job_id, queue)
    return job_id


@contextmanager
def worker(url: str) -> Iterator[None]:
    """Run one worker as it is by default; without Redis it looks for jobs by itself."""
    with tempfile.TemporaryDirectory(prefix="gw-bench-", ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.jobs.worker"],
            env=os.environ
            | {
                "GATEWAY_HOME": home,
                "GATEWAY_DATABASE_URL": url,
                "GATEWAY_REDIS_URL": f"unix://{home}/none.sock",
                "GATEWAY_POLL_INTERVAL": "0.2",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)
