"""What every job list does alike, over HTTP: TAP's and SODA's share one engine (UWS 1.1, requirement by requirement)."""

import io
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from lxml import etree
from pyvo.io.uws import parse_job

from gateway.jobs.models import Result
from gateway.jobs.phases import Phase
from gateway.jobs.store import JobStore
from gateway.settings import Settings
from tests.routers.test_jobs import INSTANT, QUERY, UWS
from tests.routers.test_jobs_events import claim
from tests.routers.test_settings import client_of
from tests.support.xsd import is_valid

LISTS = ("/tap/async", "/soda/async")
VALUES = {
    "/tap/async": {"LANG": "ADQL", "QUERY": QUERY},
    "/soda/async": {"ID": "ivo://x/y", "CIRCLE": "1 2 3"},
}
XLINK = "{http://www.w3.org/1999/xlink}href"

every_list = pytest.mark.parametrize("jobs", LISTS)


async def create(client: httpx.AsyncClient, jobs: str, **params: str) -> str:
    """Create a job and give its URL as it is told."""
    response = await client.post(jobs, data=VALUES[jobs] | params)
    assert response.status_code == 303, response.text
    return str(response.headers["location"])


async def tree(client: httpx.AsyncClient, url: str) -> etree._Element:
    response = await client.get(url)
    assert response.status_code == 200, response.text
    assert is_valid(response.content)
    return etree.fromstring(response.content)


@every_list
async def test_a_new_job_has_every_child(client: httpx.AsyncClient, jobs: str) -> None:  # UWS-4, 5, 6, 7, 8, 9, 20, 32
    job = await create(client, jobs, RUNID="a & b")
    assert job.startswith(f"http://localhost:8080{jobs}/")
    root = await tree(client, job)
    assert root.get("version") == "1.1"
    assert INSTANT.fullmatch(root.findtext("uws:creationTime", namespaces=UWS) or "")
    assert root.findtext("uws:runId", namespaces=UWS) == "a & b"
    nil = "{http://www.w3.org/2001/XMLSchema-instance}nil"
    assert root.find("uws:ownerId", UWS).get(nil) == "true"  # type: ignore[union-attr]
    assert root.find("uws:quote", UWS).get(nil) == "true"  # type: ignore[union-attr]
    for child, name in (
        ("phase", "phase"),
        ("executionduration", "executionDuration"),
        ("destruction", "destruction"),
        ("quote", "quote"),
        ("owner", "ownerId"),
    ):
        answer = await client.get(f"{job}/{child}")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text == (root.findtext(f"uws:{name}", namespaces=UWS) or "")
    for child in ("parameters", "results"):
        alone = await tree(client, f"{job}/{child}")
        inside = root.find(f"uws:{child}", UWS)
        assert inside is not None
        assert [dict(item.attrib) for item in alone] == [dict(item.attrib) for item in inside]


@every_list
async def test_a_parameter_is_read_and_put_as_text(client: httpx.AsyncClient, jobs: str) -> None:  # UWS-35
    job = await create(client, jobs)
    for name, value in VALUES[jobs].items():
        answer = await client.get(f"{job}/parameters/{name.lower()}")
        assert (answer.text, answer.headers["content-type"]) == (value, "text/plain; charset=utf-8")
    assert (await client.get(f"{job}/parameters/nope")).status_code == 404
    name, new = "POL" if "soda" in jobs else "QUERY", "é <&>\n-- \u2028"
    answer = await client.put(f"{job}/parameters/{name}", content=new.encode())
    assert (answer.status_code, answer.headers["location"]) == (303, job)
    assert (await client.get(f"{job}/parameters/{name}")).text == new
    assert (await client.put(f"{job}/parameters/{name}", content=b"\xff")).status_code == 400
    assert (await client.put(f"{job}/parameters/{name}", content=b"x" * (2 << 20))).status_code == 400
    assert (await client.get(f"{job}/parameters/{name}")).text == new
    await client.post(f"{job}/phase", data={"PHASE": "ABORT"})
    assert (await client.put(f"{job}/parameters/{name}", content=b"x")).status_code == 403


async def test_values_that_repeat_come_one_a_line(client: httpx.AsyncClient) -> None:
    job = await create(client, "/soda/async")
    await client.post(f"{job}/parameters", data={"circle": "4 5 6"})
    assert (await client.get(f"{job}/parameters/CIRCLE")).text == "1 2 3\n4 5 6"


async def test_odd_names_of_uploads_lead_to_their_files(client: httpx.AsyncClient) -> None:  # UWS-11
    name = "../T a%/é?#"
    answer = await client.post("/tap/async", data=VALUES["/tap/async"], files={name: ("f", b"content")})
    root = await tree(client, answer.headers["location"])
    (reference,) = root.xpath("//uws:parameter[@byReference='true']", namespaces=UWS)
    assert reference.get("id") == name
    assert (await client.get(reference.text)).content == b"content"


@every_list
async def test_json_is_the_twin_for_those_who_ask_for_it(client: httpx.AsyncClient, jobs: str) -> None:
    job = await create(client, jobs)
    for url in (job, jobs, f"{job}/parameters", f"{job}/results"):
        answer = await client.get(url, headers={"Accept": "application/json"})
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["vary"] == "Accept"
        assert isinstance(answer.json(), dict)
    told = (await client.get(job, headers={"Accept": "application/json"})).json()
    assert told["phase"] == "PENDING"
    assert told["creationTime"] == (await tree(client, job)).findtext("uws:creationTime", namespaces=UWS)
    assert {item["id"]: item["value"] for item in told["parameters"]} == VALUES[jobs]


ACCEPT = {
    "*/*": "text/xml",
    "": "text/xml",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "text/xml",
    "application/xml,text/plain": "text/xml",
    "application/json, text/plain, */*": "application/json",
    "Application/JSON; charset=utf-8": "application/json",
    "text/xml, application/json": "text/xml",
    "application/json;q=0.9, text/xml;q=0.5": "application/json",
    "application/json;q=0": "text/xml",
    "application/json;q=x": "text/xml",
}


async def test_xml_is_preferred_to_all_but_json_asked_for(client: httpx.AsyncClient) -> None:  # UWS-7
    kinds = {}
    for accept in ACCEPT:
        answer = await client.get("/tap/async", headers={"Accept": accept})
        kinds[accept] = answer.headers["content-type"].partition(";")[0]
    assert kinds == ACCEPT


@every_list
async def test_lists_are_apart(client: httpx.AsyncClient, jobs: str) -> None:  # UWS-1, 22
    job = await create(client, jobs)
    (other,) = set(LISTS) - {jobs}
    assert (await client.get(f"{other}/{job.rpartition('/')[2]}")).status_code == 404
    assert [ref.get(XLINK) for ref in await tree(client, jobs)] == [job]
    assert len(await tree(client, other)) == 0


@every_list
async def test_filters_hold_together(client: httpx.AsyncClient, jobs: str) -> None:  # UWS-23..26
    made = [await create(client, jobs) for _ in range(5)]
    for job in made[1:4]:
        await client.post(f"{job}/phase", data={"PHASE": "ABORT"})

    async def found(query: str) -> list[int]:
        return [made.index(ref.get(XLINK)) for ref in await tree(client, f"{jobs}?{query}")]

    created = (await tree(client, made[1])).findtext("uws:creationTime", namespaces=UWS)
    assert await found(f"AFTER={created}") == [4, 3, 2]  # strictly after, newest first
    assert await found(f"AFTER={created}&PHASE=ABORTED") == [3, 2]
    assert await found(f"AFTER={created}&PHASE=ABORTED&LAST=1") == [3]
    assert await found("PHASE=ABORTED&PHASE=PENDING&LAST=4") == [4, 3, 2, 1]
    assert await found("PHASE=ARCHIVED") == []
    assert await found("LAST=999999999999999999999999999999") == [4, 3, 2, 1, 0]


@every_list
async def test_aborted_and_deleted_jobs_behave_alike(client: httpx.AsyncClient, jobs: str) -> None:  # UWS-2, 12, 13, 16
    job = await create(client, jobs)
    answer = await client.post(f"{job}/phase", data={"PHASE": "ABORT"})
    assert (answer.status_code, answer.headers["location"]) == (303, job)
    assert (await client.post(f"{job}/phase", data={"PHASE": "ABORT"})).status_code == 403
    root = await tree(client, job)
    assert root.findtext("uws:phase", namespaces=UWS) == "ABORTED"
    answer = await client.delete(job)
    assert (answer.status_code, answer.headers["location"]) == (303, f"http://localhost:8080{jobs}")
    for child in ("", "/phase", "/owner", "/quote", "/error", "/results", "/results/x", "/parameters/LANG"):
        assert (await client.get(job + child)).status_code == 404


async def test_documents_are_valid_in_every_phase(
    client: httpx.AsyncClient, store: JobStore, database_url: str
) -> None:  # UWS-3, 8, 33
    job = await create(client, "/tap/async")
    assert (await tree(client, job)).findtext("uws:phase", namespaces=UWS) == "PENDING"
    await client.post(f"{job}/phase", data={"PHASE": "RUN"})
    root = await tree(client, job)
    assert root.findtext("uws:phase", namespaces=UWS) == "QUEUED"
    assert "<queuePosition>1<" in (await client.get(job)).text
    held = await claim(store, database_url, job.rpartition("/")[2])
    root = await tree(client, job)
    assert root.findtext("uws:phase", namespaces=UWS) == "EXECUTING"
    assert INSTANT.fullmatch(root.findtext("uws:startTime", namespaces=UWS) or "")
    assert "<attempts>1<" in (await client.get(job)).text
    await store.end(held, Phase.COMPLETED, results=[Result("result", "none/such", 5, "text/csv", 3)])
    root = await tree(client, job)
    assert root.findtext("uws:phase", namespaces=UWS) == "COMPLETED"
    (result,) = root.iterfind(".//uws:result", UWS)
    assert result.get(XLINK) == f"{job}/results/result"
    assert parse_job(io.BytesIO((await client.get(job)).content)).phase == "COMPLETED"
    failed = await create(client, "/tap/async", QUERY="nonsense")
    await client.post(f"{failed}/phase", data={"PHASE": "RUN"})
    root = await tree(client, failed)
    summary = root.find("uws:errorSummary", UWS)
    assert summary is not None
    assert (summary.get("type"), summary.get("hasDetail")) == ("fatal", "true")
    error = await client.get(f"{failed}/error")
    assert error.status_code == 200
    assert error.headers["content-type"].startswith("application/x-votable+xml")


async def test_a_quote_is_an_instant_once_others_have_run(
    client: httpx.AsyncClient, store: JobStore, database_url: str
) -> None:  # UWS-34
    for _ in range(2):
        job = await create(client, "/tap/async", PHASE="RUN")
        held = await claim(store, database_url, job.rpartition("/")[2])
        await store.end(held, Phase.COMPLETED)
        assert (await client.get(f"{job}/quote")).text == ""
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE gateway.job_part SET started = ended - interval '40 s'")
    await connection.close()
    job = await create(client, "/tap/async", PHASE="RUN")
    told = (await client.get(f"{job}/quote")).text
    assert INSTANT.fullmatch(told)
    wait = datetime.fromisoformat(told) - datetime.now(UTC)
    assert timedelta(seconds=30) < wait < timedelta(seconds=41)


@every_list
async def test_every_url_begins_with_the_public_one(settings: Settings, jobs: str) -> None:
    async with client_of(settings, public_base_url="https://archive.example.org") as client:
        answer = await client.post(jobs, data=VALUES[jobs])
        url = answer.headers["location"]
        assert url.startswith(f"https://archive.example.org{jobs}/")
        told = (await client.get(urlsplit(url).path)).text
        assert re.search("<events>https://archive.example.org/api/v1/jobs/[^<]+/events<", told)


async def test_wait_is_capped_by_the_setting(settings: Settings) -> None:  # UWS-30
    async with client_of(settings, wait_cap=timedelta(seconds=0.3)) as client:
        job = await create(client, "/tap/async")
        for wait in ("-1", "1000000000", "-999"):
            answer = await client.get(f"{job}?WAIT={wait}")
            assert answer.status_code == 200
            assert answer.elapsed < timedelta(seconds=2)
