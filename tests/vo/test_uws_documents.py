import datetime as dt
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from gateway.vo import uws
from gateway.vo.uws import ErrorDocument, JobDocument, JobReference, ParameterDocument, ResultDocument
from tests.support.xsd import is_valid

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=dt.UTC)
UWS = "{http://www.ivoa.net/xml/UWS/v1.0}"
XLINK = "{http://www.w3.org/1999/xlink}"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"

PENDING = JobDocument(job_id="j1", phase="PENDING", creation_time=NOW)
COMPLETED = replace(
    PENDING,
    phase="COMPLETED",
    owner="ada",
    run_id="run & <1>",
    quote=NOW,
    start_time=NOW,
    end_time=NOW + dt.timedelta(seconds=1),
    execution_duration=dt.timedelta(minutes=1),
    destruction=NOW + dt.timedelta(days=14),
    parameters=(
        ParameterDocument("QUERY", "SELECT * FROM t WHERE a < 1 AND b = '&\x01'"),
        ParameterDocument("t1", "https://example.org/tap/async/j1/parameters/t1", is_reference=True),
    ),
    results=(ResultDocument("result", "https://example.org/r?a=1&b=2", 12, "text/csv;header=present"),),
)
RUNNING = replace(
    PENDING,
    phase="EXECUTING",
    start_time=NOW,
    info={"attempts": 2, "rows": 7, "percent": 12.5, "events": "https://example.org/?a&b"},
)
FAILED = replace(COMPLETED, phase="ERROR", results=(), error=ErrorDocument('line 1: unknown column "x" <'))


@pytest.mark.parametrize("document", [PENDING, RUNNING, COMPLETED, FAILED], ids=lambda document: document.phase)
def test_uws8_a_job_is_valid_in_every_phase(document):
    assert is_valid(uws.job(document))


def test_uws6_roots_tell_version_1_1():
    for document in (uws.job(PENDING), uws.jobs([])):
        assert etree.fromstring(document).get("version") == "1.1"


def test_children_of_a_job_have_their_order():
    names = [child.tag.removeprefix(UWS) for child in etree.fromstring(uws.job(FAILED))]
    assert (
        names
        == (
            "jobId runId ownerId phase quote creationTime startTime endTime executionDuration destruction "
            "parameters results errorSummary"
        ).split()
    )


def test_uws8_what_is_unknown_is_nil():
    root = etree.fromstring(uws.job(PENDING))
    nils = {child.tag.removeprefix(UWS) for child in root if child.get(NIL) == "true"}
    assert nils == {"ownerId", "quote", "startTime", "endTime", "destruction"}
    assert root.find(f"{UWS}runId") is None


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (NOW, "2026-01-02T03:04:05.678900Z"),
        (NOW.replace(microsecond=0), "2026-01-02T03:04:05Z"),
        (dt.datetime(2026, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))), "2025-12-31T23:00:00Z"),
        (None, ""),
    ],
)
def test_uws5_instants_are_utc_with_t_and_z(instant, text):
    assert uws.instant_text(instant) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (None, "0"),
        (dt.timedelta(hours=1), "3600"),
        (dt.timedelta(seconds=1.2), "2"),
        (dt.timedelta(0), "1"),  # no time at all is not "unlimited"
    ],
)
def test_durations_are_whole_seconds(duration, text):
    assert uws.duration_text(duration) == text


def test_uws19_run_id_and_parameters_come_back_verbatim():
    root = etree.fromstring(uws.job(COMPLETED))
    assert root.findtext(f"{UWS}runId") == "run & <1>"
    query, table = root.iter(f"{UWS}parameter")
    assert query.text == "SELECT * FROM t WHERE a < 1 AND b = '&\ufffd'"
    assert (query.get("byReference"), table.get("byReference")) == (None, "true")


def test_results_have_the_literal_prefix_that_pyvo_looks_for():
    document = uws.results(COMPLETED.results)
    assert b'xlink:href="https://example.org/r?a=1&amp;b=2"' in document
    (result,) = etree.fromstring(document)
    assert (result.get("id"), result.get("size"), result.get("mime-type")) == (
        "result",
        "12",
        "text/csv;header=present",
    )
    assert result.get(f"{XLINK}type") == "simple"
    assert is_valid(document)


def test_a_job_list_has_short_descriptions():
    reference = JobReference(job_id="j1", href="https://example.org/tap/async/j1", phase="QUEUED", creation_time=NOW)
    document = uws.jobs([reference, replace(reference, job_id="j2", run_id="r", owner="ada")])
    assert is_valid(document)
    first, second = etree.fromstring(document)
    assert [child.tag.removeprefix(UWS) for child in second] == ["phase", "runId", "ownerId", "creationTime"]
    assert first.find(f"{UWS}ownerId").get(NIL) == "true"


def test_parameters_alone_are_a_document():
    assert is_valid(uws.parameters(COMPLETED.parameters))
    assert is_valid(uws.parameters([]))


@pytest.mark.parametrize(("is_transient", "kind"), [(True, "transient"), (False, "fatal")])
def test_uws33_an_error_summary_tells_its_kind(is_transient, kind):
    error = ErrorDocument("gone", is_transient=is_transient, has_detail=False)
    summary = etree.fromstring(uws.job(replace(FAILED, error=error))).find(f"{UWS}errorSummary")
    assert (summary.get("type"), summary.get("hasDetail"), summary[0].text) == (kind, "false", "gone")


def test_pyvo_reads_a_job():
    from pyvo.io.uws import parse_job

    job = parse_job(io.BytesIO(uws.job(FAILED)))
    assert (job.jobid, job.phase, job.runid) == ("j1", "ERROR", "run & <1>")
    assert job.errorsummary.message.content == 'line 1: unknown column "x" <'
    assert parse_job(io.BytesIO(uws.job(COMPLETED))).results[0].href == "https://example.org/r?a=1&b=2"


def test_job_info_tells_how_far_a_job_is():
    (info,) = etree.fromstring(uws.job(RUNNING)).iter(f"{UWS}jobInfo")
    values = {etree.QName(child).localname: child.text for child in info}
    assert values == {"attempts": "2", "rows": "7", "percent": "12.5", "events": "https://example.org/?a&b"}
    assert {etree.QName(child).namespace for child in info} == {None}  # taplint warns of one that it does not know
    assert etree.fromstring(uws.job(PENDING)).find(f"{UWS}jobInfo") is None


def test_pyvo_reads_a_job_with_info():
    from pyvo.io.uws import parse_job

    job = parse_job(io.BytesIO(uws.job(RUNNING)))
    assert job.jobinfo["rows"].value == 7


def plain(element: etree._Element) -> Any:
    """An element of a job document as its twin spells it."""
    name = etree.QName(element).localname
    if element.get(NIL) == "true":
        return None
    match name:
        case "parameters" | "results" | "jobs":
            return [plain(child) for child in element]
        case "parameter":
            return {
                "id": element.get("id"),
                "value": element.text,
                "byReference": element.get("byReference", "false") == "true",
            }
        case "result":
            size = element.get("size")
            return {
                "id": element.get("id"),
                "href": element.get(f"{XLINK}href"),
                "size": size and int(size),
                "mime-type": element.get("mime-type"),
            }
        case "errorSummary":
            return {
                "type": element.get("type"),
                "hasDetail": element.get("hasDetail") == "true",
                "message": element[0].text,
            }
        case "jobref":
            children = {etree.QName(child).localname: plain(child) for child in element}
            return {"id": element.get("id"), "href": element.get(f"{XLINK}href"), "runId": None} | children
        case "job":
            empty = {"runId": None, "errorSummary": None, "jobInfo": None}
            return empty | {etree.QName(child).localname: plain(child) for child in element}
        case "jobInfo":
            return {etree.QName(child).localname: json_number(child.text) for child in element}
        case "executionDuration":
            return int(element.text or "")
    return element.text


def json_number(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except ValueError:
        return text


@pytest.mark.parametrize("document", [PENDING, RUNNING, COMPLETED, FAILED], ids=lambda document: document.phase)
def test_the_twin_in_json_says_what_the_xml_says(document):
    document = replace(document, parameters=tuple(p for p in document.parameters if "\x01" not in p.value))
    assert json.loads(uws.job_json(document)) == plain(etree.fromstring(uws.job(document)))


def test_lists_have_twins_too():
    reference = JobReference(job_id="j1", href="https://example.org/j1?a&b", phase="QUEUED", creation_time=NOW)
    references = [reference, replace(reference, job_id="j2", run_id="r", owner="ada")]
    assert json.loads(uws.jobs_json(references)) == {"jobs": plain(etree.fromstring(uws.jobs(references)))}
    parameters = COMPLETED.parameters[1:]
    assert json.loads(uws.parameters_json(parameters)) == {
        "parameters": plain(etree.fromstring(uws.parameters(parameters)))
    }
    results = COMPLETED.results
    assert json.loads(uws.results_json(results)) == {"results": plain(etree.fromstring(uws.results(results)))}
