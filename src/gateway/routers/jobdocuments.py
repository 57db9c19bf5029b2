"""Jobs as documents: what their values are called on the wire, and whether a client wants XML or its twin in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from fastapi import Request, Response

from gateway.jobs.models import ErrorType, Job
from gateway.jobs.phases import FINAL, Phase
from gateway.vo import paths, uws

XML = "text/xml; charset=utf-8"
JSON = "application/json"
XML_TYPES = ("text/xml", "application/xml")

HEADERS = {"Cache-Control": "no-store", "Vary": "Accept"}

EVENTS = "/api/v1/jobs/{job_id}/events"
"""Where a job of any list tells of its changes."""


def job_url(base: str, job: Job) -> str:
    """URL of a job, below the base URL of the service."""
    return f"{base}{paths.JOBS[job.job_list]}/{job.job_id}"


def job_response(request: Request, job: Job, base: str) -> Response:
    """Answer with a job's document."""
    document = job_document(job, base)
    return _twin(uws.job_json(document)) if wants_json(request) else _xml(uws.job(document))


def list_response(request: Request, jobs: Iterable[Job], base: str) -> Response:
    """Answer with a job list."""
    references = [
        uws.JobReference(
            job_id=job.job_id,
            href=job_url(base, job),
            phase=job.phase,
            run_id=job.run_id,
            owner=job.account,
            creation_time=job.creation_time,
        )
        for job in jobs
    ]
    return _twin(uws.jobs_json(references)) if wants_json(request) else _xml(uws.jobs(references))


def parameters_response(request: Request, job: Job, base: str) -> Response:
    """Answer with the parameters of a job."""
    items = _parameters(job, job_url(base, job))
    return _twin(uws.parameters_json(items)) if wants_json(request) else _xml(uws.parameters(items))


def results_response(request: Request, job: Job, base: str) -> Response:
    """Answer with the results of a job."""
    items = _results(job, job_url(base, job))
    return _twin(uws.results_json(items)) if wants_json(request) else _xml(uws.results(items))


def wants_json(request: Request) -> bool:
    """Whether a client asks for JSON, and for XML less (UWS-7): who names neither gets the XML of the standard."""
    asked = _qualities(request.headers.get("accept", ""))
    json = asked.get(JSON, 0.0)
    return json > max((asked[name] for name in XML_TYPES if name in asked), default=0.0)


def _qualities(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            found[name] = float(quality)
        except ValueError:
            found[name] = 0.0
    return found


def _xml(document: bytes) -> Response:
    return Response(document, media_type=XML, headers=HEADERS)


def _twin(document: bytes) -> Response:
    return Response(document, media_type=JSON, headers=HEADERS)


def job_document(job: Job, base: str) -> uws.JobDocument:
    """Give a job's values their names in UWS."""
    url = job_url(base, job)
    return uws.JobDocument(
        job_id=job.job_id,
        phase=job.phase,
        owner=job.account,
        run_id=job.run_id,
        quote=job.quote,
        creation_time=job.creation_time,
        start_time=job.start_time,
        end_time=job.end_time,
        execution_duration=job.execution_duration,
        destruction=job.destruction,
        parameters=tuple(_parameters(job, url)),
        results=tuple(_results(job, url)),
        error=None
        if job.error is None
        else uws.ErrorDocument(
            message=job.error.message,
            is_transient=job.error.type is ErrorType.TRANSIENT,
            has_detail=job.error.has_detail,
        ),
        info=_info(job, base),
    )


def _info(job: Job, base: str) -> dict[str, int | float | str]:
    """Tell how far a job is, and where it tells more."""
    parts, done = job.progress.get("parts"), job.progress.get("parts_done")
    info: dict[str, int | float | str | None] = {
        "queuePosition": job.queue_position,
        "attempts": job.attempts or None,
        "rows": job.progress.get("rows"),
        "parts": parts,
        "partsDone": done,
        "percent": None if parts is None or done is None else round(100 * done / parts, 1),
        "events": None if job.phase in FINAL else base + EVENTS.format(job_id=job.job_id),
    }
    return {name: value for name, value in info.items() if value is not None}


def _parameters(job: Job, url: str) -> Sequence[uws.ParameterDocument]:
    values = [uws.ParameterDocument(name, value) for name, value in job.parameters]
    files = [
        uws.ParameterDocument(upload.name, f"{url}/parameters/{quote(upload.name, safe='')}", is_reference=True)
        for upload in job.uploads
    ]
    return [*values, *files]


def _results(job: Job, url: str) -> Sequence[uws.ResultDocument]:
    return [
        uws.ResultDocument(
            result.result_id, f"{url}/results/{quote(result.result_id, safe='')}", result.size, result.media_type
        )
        for result in job.results
        if job.phase is not Phase.ERROR
    ]
