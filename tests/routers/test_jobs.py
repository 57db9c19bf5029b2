"""UWS over HTTP on the TAP job list, up to the moment a worker would take the part (standards: UWS-1..35)."""

import asyncio
import re
import time
from urllib.parse import urlsplit

import httpx
import pytest
from lxml import etree

from tests.support.timed import timed

UWS = {"uws": "http://www.ivoa.net/xml/UWS/v1.0"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

QUERY = "SELECT TOP 3 id FROM survey.stars"


async def create(client: httpx.AsyncClient, **params: str) -> str:
    """Create a job and give the path of its URL."""
    response = await client.post("/tap/async", data={"LANG": "ADQL", "QUERY": QUERY, **params})
    assert response.status_code == 303, response.text
    return urlsplit(response.headers["location"]).path


async def document(client: httpx.AsyncClient, job: str, query: str = "") -> etree._Element:
    response = await client.get(job + query)
    assert response.status_code == 200, response.text
    return etree.fromstring(response.content)


def text(tree: etree._Element, path: str) -> str | None:
    return tree.findtext(f"uws:{path}", namespaces=UWS)


async def phase(client: httpx.AsyncClient, job: str) -> str:
    return (await client.get(f"{job}/phase")).text


async def test_new_job_is_pending_with_all_children(client: httpx.AsyncClient) -> None:
    job = await create(client, RUNID="mine")
    tree = await document(client, job)
    assert tree.get("version") == "1.1"  # UWS-6
    assert text(tree, "phase") == await phase(client, job) == "PENDING"
    assert text(tree, "jobId") == job.rpartition("/")[2]
    assert text(tree, "runId") == "mine"  # UWS-19
    assert text(tree, "executionDuration") == (await client.get(f"{job}/executionduration")).text == "3600"
    assert text(tree, "destruction") == (await client.get(f"{job}/destruction")).text
    assert INSTANT.fullmatch(text(tree, "destruction") or "")  # UWS-5
    assert INSTANT.fullmatch(text(tree, "creationTime") or "")
    assert (await client.get(f"{job}/owner")).text == ""
    for child in ("phase", "executionduration", "destruction", "quote", "owner"):
        assert (await client.get(f"{job}/{child}")).headers["content-type"].startswith("text/plain")
    for child in ("parameters", "results"):
        assert "xml" in (await client.get(f"{job}/{child}")).headers["content-type"]
    assert (await client.get(f"{job}/error")).status_code == 404  # DALI-42


async def test_empty_job_is_filled_later_and_parameters_replace(client: httpx.AsyncClient) -> None:  # TAP-22
    response = await client.post("/tap/async")
    assert response.status_code == 303
    job = urlsplit(response.headers["location"]).path
    for query in ("SELECT 1", QUERY):
        answer = await client.post(f"{job}/parameters", data={"LANG": "ADQL", "QUERY": query})
        assert answer.status_code == 303
    tree = await document(client, job)
    values = {p.get("id").upper(): p.text for p in tree.iterfind(".//uws:parameter", UWS)}
    assert values["QUERY"] == QUERY
    assert (await client.post(f"{job}/phase", data={"PHASE": "RUN"})).status_code == 303
    assert await phase(client, job) == "QUEUED"


@pytest.mark.parametrize(
    ("query", "told"), [("garbage", "line 1"), ("SELECT nosuch FROM survey.stars", "nosuch"), ("", "QUERY")]
)
async def test_bad_query_is_created_and_fails_at_run(client: httpx.AsyncClient, query: str, told: str) -> None:
    job = await create(client, QUERY=query)  # TAP-23
    assert (await client.post(f"{job}/phase", data={"PHASE": "RUN"})).status_code == 303
    tree = await document(client, job)
    assert text(tree, "phase") == "ERROR"
    assert told in (text(tree, "errorSummary/uws:message") or "")
    error = await client.get(f"{job}/error")
    assert error.status_code == 200  # DALI-43
    assert 'value="ERROR"' in error.text
    assert told in error.text
    assert (await client.get(f"{job}/results/result")).status_code == 404


async def test_run_at_creation_queues_at_once(client: httpx.AsyncClient) -> None:  # UWS-10
    job = await create(client, PHASE="RUN")
    assert await phase(client, job) == "QUEUED"


async def test_run_twice_is_illegal(client: httpx.AsyncClient) -> None:  # UWS-2
    job = await create(client, PHASE="RUN")
    again = await client.post(f"{job}/phase", data={"PHASE": "RUN"})
    assert again.status_code == 403
    assert "QUEUED" in again.text


async def test_parameters_are_frozen_after_run(client: httpx.AsyncClient) -> None:  # UWS-2, UWS-35
    job = await create(client, PHASE="RUN")
    assert (await client.post(f"{job}/parameters", data={"QUERY": "SELECT 1"})).status_code == 403


async def test_parameters_are_not_taken_at_the_job_url(client: httpx.AsyncClient) -> None:  # DALI-5
    job = await create(client)
    assert (await client.post(job, data={"QUERY": "SELECT 1"})).status_code in {400, 403}
    assert QUERY in (await client.get(f"{job}/parameters")).text


async def test_abort_ends_a_queued_job(client: httpx.AsyncClient) -> None:
    job = await create(client, PHASE="RUN")
    assert (await client.post(f"{job}/phase", data={"PHASE": "ABORT"})).status_code == 303
    assert await phase(client, job) == "ABORTED"
    assert (await client.post(f"{job}/phase", data={"PHASE": "RUN"})).status_code == 403


@pytest.mark.parametrize("word", ["", "STOP", "run;", "COMPLETED"])
async def test_unknown_phase_word_is_told(client: httpx.AsyncClient, word: str) -> None:
    job = await create(client)
    response = await client.post(f"{job}/phase", data={"PHASE": word})
    assert response.status_code == 400
    assert "RUN" in response.text
    assert "ABORT" in response.text


@pytest.mark.parametrize("by", ["DELETE", "POST"])
async def test_deleted_job_is_gone(client: httpx.AsyncClient, by: str) -> None:  # UWS-12, 13
    job = await create(client)
    response = await (client.delete(job) if by == "DELETE" else client.post(job, data={"ACTION": "DELETE"}))
    assert response.status_code == 303
    assert response.headers["location"].endswith("/tap/async")
    for child in ("", "/phase", "/results", "/parameters"):
        assert (await client.get(job + child)).status_code == 404


@pytest.mark.parametrize("path", ["/tap/async/nope", "/tap/async/nope/phase", "/tap/async/..%2f..%2fetc/phase"])
async def test_unknown_job_is_404(client: httpx.AsyncClient, path: str) -> None:  # UWS-1
    assert (await client.get(path)).status_code == 404


async def test_unknown_result_is_404(client: httpx.AsyncClient) -> None:
    job = await create(client)
    assert (await client.get(f"{job}/results/nope")).status_code == 404


async def test_destruction_is_clamped(client: httpx.AsyncClient) -> None:  # UWS-14
    job = await create(client)
    before = (await client.get(f"{job}/destruction")).text
    assert (await client.post(f"{job}/destruction", data={"DESTRUCTION": "9999-01-01T00:00:00Z"})).status_code == 303
    assert (await client.get(f"{job}/destruction")).text[:10] == before[:10]


@pytest.mark.parametrize("value", ["tomorrow", "NaN", "", "2026-13-01T00:00:00Z"])
async def test_malformed_destruction_is_told(client: httpx.AsyncClient, value: str) -> None:  # A25
    job = await create(client)
    response = await client.post(f"{job}/destruction", data={"DESTRUCTION": value})
    assert response.status_code == 400
    assert "DESTRUCTION" in response.text


@pytest.mark.parametrize(("value", "kept"), [("10", "10"), ("999999999", "14400"), ("0", "14400")])
async def test_execution_duration_is_set_and_clamped(client: httpx.AsyncClient, value: str, kept: str) -> None:
    job = await create(client)
    assert (await client.post(f"{job}/executionduration", data={"EXECUTIONDURATION": value})).status_code == 303
    assert (await client.get(f"{job}/executionduration")).text == kept  # UWS-15; 0 asks for "unlimited"


@pytest.mark.parametrize("value", ["-1", "NaN", "abc", ""])
async def test_malformed_execution_duration_is_told(client: httpx.AsyncClient, value: str) -> None:
    job = await create(client)
    assert (await client.post(f"{job}/executionduration", data={"EXECUTIONDURATION": value})).status_code == 400


async def test_list_filters_by_phase_and_last(client: httpx.AsyncClient) -> None:  # UWS-23..26
    jobs = [await create(client) for _ in range(3)]
    await client.post(f"{jobs[0]}/phase", data={"PHASE": "ABORT"})

    async def ids(query: str) -> list[str]:
        tree = etree.fromstring((await client.get(f"/tap/async{query}")).content)
        return [ref.get("id") for ref in tree.iterfind("uws:jobref", UWS)]

    names = [job.rpartition("/")[2] for job in jobs]
    assert set(await ids("")) == set(names)
    assert await ids("?PHASE=ABORTED") == [names[0]]
    assert set(await ids("?PHASE=ABORTED&PHASE=PENDING")) == set(names)
    assert await ids("?LAST=2") == [names[2], names[1]]
    assert await ids("?PHASE=PENDING&LAST=1") == [names[2]]
    assert await ids("?AFTER=2099-01-01T00:00:00Z") == []


@pytest.mark.parametrize("query", ["?LAST=0", "?LAST=-1", "?LAST=x", "?AFTER=now", "?PHASE=NOSUCH"])
async def test_malformed_list_filter_is_told(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/tap/async{query}")).status_code == 400


@timed
async def test_wait_holds_until_the_time_is_over(client: httpx.AsyncClient) -> None:  # UWS-27
    job = await create(client)
    started = time.monotonic()
    await document(client, job, "?WAIT=1")
    assert 0.9 < time.monotonic() - started < 3


@timed
async def test_wait_returns_when_the_phase_changes(client: httpx.AsyncClient) -> None:  # UWS-31
    job = await create(client)
    waiting = asyncio.create_task(document(client, job, "?WAIT=30"))
    await asyncio.sleep(0.3)
    started = time.monotonic()
    await client.post(f"{job}/phase", data={"PHASE": "ABORT"})
    tree = await waiting
    assert text(tree, "phase") == "ABORTED"
    assert time.monotonic() - started < 1


@timed
@pytest.mark.parametrize("query", ["?WAIT=30&PHASE=QUEUED", "?WAIT=0"])
async def test_wait_returns_at_once_when_there_is_nothing_to_wait_for(client: httpx.AsyncClient, query: str) -> None:
    job = await create(client)  # UWS-29
    started = time.monotonic()
    await document(client, job, query)
    assert time.monotonic() - started < 1


@timed
async def test_wait_on_a_final_phase_returns_at_once(client: httpx.AsyncClient) -> None:  # UWS-28
    job = await create(client)
    await client.post(f"{job}/phase", data={"PHASE": "ABORT"})
    started = time.monotonic()
    await document(client, job, "?WAIT=-1")
    assert time.monotonic() - started < 1


async def test_uploaded_table_is_a_parameter_by_reference(client: httpx.AsyncClient) -> None:  # UWS-11
    content = b"<VOTABLE/>"
    response = await client.post(
        "/tap/async",
        data={"QUERY": "SELECT * FROM TAP_UPLOAD.t", "LANG": "ADQL", "UPLOAD": "t,param:t"},
        files={"t": ("t.vot", content)},
    )
    job = urlsplit(response.headers["location"]).path
    tree = await document(client, job)
    (reference,) = [p for p in tree.iterfind(".//uws:parameter", UWS) if p.get("byReference") == "true"]
    assert (await client.get(f"{job}/parameters/{reference.get('id')}")).content == content
