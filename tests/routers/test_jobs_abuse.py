"""Job routes in hostile hands: other people's jobs, other sites' pages, values out of all bounds (A16, A17, A22, A25)."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from gateway.routers import deps
from gateway.services.access import Caller
from gateway.settings import Settings
from tests.routers.test_jobs import QUERY, create
from tests.routers.test_settings import client_of

EVERYTHING = {
    "PHASE": "RUN",
    "ACTION": "DELETE",
    "DESTRUCTION": "2030-01-01T00:00:00Z",
    "EXECUTIONDURATION": "10",
    "QUERY": "SELECT 1",
}
"""What any of the routes that change a job takes."""


async def named(request: Request) -> Caller:
    """Whoever the request says that it is: accounts come later than jobs."""
    name = request.headers.get("X-Account")
    return Caller(key=name or "192.0.2.1", account=name, base_url="http://localhost:8080")


@pytest.fixture
async def people(app: FastAPI, client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    app.dependency_overrides[deps.caller] = named
    yield client
    app.dependency_overrides.clear()


def doors(app: FastAPI, job_id: str) -> list[tuple[str, str]]:
    """Every method of every route that leads to a job of TAP."""
    filled = {"job_id": job_id, "name": "QUERY", "result_id": "result"}
    return [
        (method.upper(), path.format(**filled))
        for path, methods in app.openapi()["paths"].items()
        if "{job_id}" in path and "/soda" not in path
        for method in methods
    ]


async def knock(
    client: httpx.AsyncClient, method: str, path: str, account: str | None, data: dict[str, str] | None = None
) -> httpx.Response:
    headers = {"X-Account": account} if account else {}
    form = (data or EVERYTHING) if method == "POST" else None
    async with asyncio.timeout(10):  # a stream of events would go on
        return await client.request(method, path, headers=headers, data=form)


async def test_a_job_is_closed_to_others_whatever_they_ask(app: FastAPI, people: httpx.AsyncClient) -> None:  # A17
    pending, ended = [
        (await knock(people, "POST", "/tap/async", "ada", {"QUERY": QUERY, "LANG": "ADQL"})).headers["location"]
        for _ in range(2)
    ]
    await knock(people, "POST", f"{ended}/phase", "ada", {"PHASE": "ABORT"})
    before = [(await knock(people, "GET", job, "ada")).text for job in (pending, ended)]
    seen = 0
    for account, status in (("bob", 403), (None, 401)):
        for job in (pending, ended):
            job_id = job.rpartition("/")[2]
            for method, path in doors(app, job_id):
                answer = await knock(people, method, path, account)
                assert answer.status_code == status, (method, path, answer.text)
                # No word of the job: the same as of any other job of somebody else.
                assert "belongs to" in answer.text
                assert job_id not in answer.text
                assert "PENDING" not in answer.text
                assert "ABORTED" not in answer.text
                seen += 1
    assert seen == 4 * len(doors(app, "x")) >= 76
    assert [(await knock(people, "GET", job, "ada")).text for job in (pending, ended)] == before


async def test_lists_show_nobody_elses_jobs(people: httpx.AsyncClient) -> None:  # A17, UWS-21
    for account in ("ada", "bob", None):
        await knock(people, "POST", "/tap/async", account, {"QUERY": "x"})
    for account in ("ada", "bob"):
        listed = (await knock(people, "GET", "/tap/async", account)).text
        assert re.findall("<uws:ownerId>(.*?)<", listed) == [account]


async def test_owner_is_told_to_the_owner(people: httpx.AsyncClient) -> None:  # UWS-20
    job = (await knock(people, "POST", "/tap/async", "ada", {"QUERY": "x"})).headers["location"]
    assert (await knock(people, "GET", f"{job}/owner", "ada")).text == "ada"


async def test_an_unknown_job_is_unknown_on_every_route(app: FastAPI, client: httpx.AsyncClient) -> None:  # A17, UWS-1
    assert len(doors(app, "A" * 24)) >= 19
    for method, path in doors(app, "A" * 24):
        answer = await knock(client, method, path, None)
        assert answer.status_code == 404, (method, path, answer.text)


async def test_anonymous_callers_of_a_public_service_share_no_list(settings: Settings) -> None:  # A17
    async with client_of(settings, public_base_url="https://archive.example.org") as client:
        job = await create(client)
        assert job.rpartition("/")[2] not in (await client.get("/tap/async")).text
        assert (await client.get(job)).status_code == 200


OTHER_SITES = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:9999"},
    {"Origin": "null"},
)
OWN = ({}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8080"})


async def test_pages_of_other_sites_change_nothing_on_ones_own_machine(client: httpx.AsyncClient) -> None:  # A16
    job = await create(client)
    for headers in OTHER_SITES:
        for method, path in (
            ("POST", "/tap/async"),
            ("POST", job),
            ("DELETE", job),
            ("POST", f"{job}/phase"),
            ("POST", f"{job}/destruction"),
            ("POST", f"{job}/executionduration"),
            ("POST", f"{job}/parameters"),
            ("PUT", f"{job}/parameters/QUERY"),
        ):
            form = EVERYTHING if method == "POST" else None
            answer = await client.request(method, path, headers=headers, data=form)
            assert answer.status_code == 403, (headers, method, path)
    assert (await client.get(f"{job}/phase", headers=OTHER_SITES[0])).text == "PENDING"
    for headers in OWN:
        answer = await client.post(f"{job}/parameters", data={"RUNID": "x"}, headers=headers)
        assert answer.status_code == 303


async def test_pages_of_other_sites_may_use_a_public_service(settings: Settings) -> None:  # A16
    async with client_of(settings, public_base_url="https://archive.example.org") as client:
        answer = await client.post("/tap/async", data={"QUERY": "x"}, headers=OTHER_SITES[0])
    assert answer.status_code == 303


async def test_as_many_jobs_wait_as_may_however_many_come_at_once(settings: Settings) -> None:  # A22
    data = {"LANG": "ADQL", "QUERY": "SELECT table_name FROM tap_schema.tables", "PHASE": "RUN"}
    async with client_of(settings, queue_cap_per_owner=5) as client:
        answers = await asyncio.gather(*(client.post("/tap/async", data=data) for _ in range(40)))
        assert Counter(answer.status_code for answer in answers) == {303: 5, 429: 35}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert "queue_cap_per_owner" in refused.text
        assert int(refused.headers["retry-after"]) > 0
        listed = (await client.get("/tap/async")).text
        assert (listed.count("<uws:jobref"), listed.count(">QUEUED<")) == (5, 5)


FORM = {"Content-Type": "application/x-www-form-urlencoded"}

BAD = {
    "destruction": (
        "DESTRUCTION",
        ["", "NaN", "-1", "soon", "10000-01-01T00:00:00Z", "2030-02-30T00:00:00Z", "x" * 9999],
    ),
    "executionduration": ("EXECUTIONDURATION", ["", "NaN", "-1", "inf", "1e9", "0x10", "\u0661", "1 2"]),
    "phase": ("PHASE", ["", "run\x01", "EXECUTING", "RUN,ABORT"]),
}
CLAMPED = {
    "destruction": ("DESTRUCTION", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59+14:00"]),
    "executionduration": ("EXECUTIONDURATION", ["0", "999999999", "9" * 4000]),
}


async def test_values_out_of_bounds_are_refused_or_cut(client: httpx.AsyncClient) -> None:  # A25
    job = await create(client)
    usual = (await client.get(f"{job}/destruction")).text
    for child, (name, values) in BAD.items():
        for value in values:
            answer = await client.post(f"{job}/{child}", data={name: value})
            assert answer.status_code == 400, (name, value)
            assert name in answer.text
            assert len(answer.text) < 500
        answer = await client.post(f"{job}/{child}", content=f"{name}=1&{name.lower()}=2", headers=FORM)
        assert answer.status_code == 400  # DALI-31
    assert (await client.get(f"{job}/destruction")).text == usual
    for child, (name, values) in CLAMPED.items():
        for value in values:
            assert (await client.post(f"{job}/{child}", data={name: value})).status_code == 303
            kept = (await client.get(f"{job}/{child}")).text
            assert kept == (usual if child == "destruction" else "14400"), (name, value)
    for query in ("WAIT=", "WAIT=NaN", "WAIT=1e9", "WAIT=1&WAIT=2", "WAIT=1&PHASE=SLEEPING", "WAIT=\u0661"):
        assert (await client.get(f"{job}?{query}")).status_code == 400, query
    for query in (
        "LAST=0",
        "LAST=-1",
        "LAST=1.5",
        "LAST=",
        "AFTER=",
        "AFTER=NaN",
        "AFTER=10000-01-01",
        "PHASE=",
        "LAST=1&LAST=2",
    ):
        assert (await client.get(f"/tap/async?{query}")).status_code == 400, query
    for query in ("AFTER=0001-01-01T00:00:00Z", "AFTER=9999-12-31T23:59:59Z", f"LAST={'9' * 4000}"):
        assert (await client.get(f"/tap/async?{query}")).status_code == 200, query
    assert (await client.post(f"{job}/phase", data={"PHASE": "RUN"})).status_code == 303
    assert (await client.post(f"{job}/phase", data={"PHASE": "RUN"})).status_code == 403


async def test_a_fraction_of_a_second_is_not_all_the_time_there_is(client: httpx.AsyncClient) -> None:
    job = await create(client)
    await client.post(f"{job}/executionduration", data={"EXECUTIONDURATION": "0.4"})
    assert (await client.get(f"{job}/executionduration")).text == "1"
