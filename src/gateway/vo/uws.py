"""UWS 1.1: the documents of jobs, from plain values, as XML and as their twin in JSON.

Prefixes are written as ``uws:`` and ``xlink:``, since clients look them up literally (pyvo: ``xlink:href``). The JSON
has the names of the XML, and the XML's texts: whoever reads both reads the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.vo.markup import attributes, element

_ROOT = {
    "xmlns:uws": "http://www.ivoa.net/xml/UWS/v1.0",
    "xmlns:xlink": "http://www.w3.org/1999/xlink",
    "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
_PROLOGUE = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True, slots=True)
class ParameterDocument:
    """One parameter of a job."""

    id: str
    value: str
    """Its value, or the URL of it."""
    is_reference: bool = False
    """Whether `value` is a URL (``byReference``), as for an uploaded table."""


@dataclass(frozen=True, slots=True)
class ResultDocument:
    """One result of a job."""

    id: str
    href: str
    size: int | None = None
    """Bytes."""
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorDocument:
    """Why a job failed, in short (UWS 1.1, "Error")."""

    message: str
    is_transient: bool = False
    """Whether the same job may succeed later."""
    has_detail: bool = True
    """Whether ``{job}/error`` has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDocument:
    """All that a job's document tells; instants are aware, what is unknown is ``None``."""

    job_id: str
    phase: str
    owner: str | None = None
    run_id: str | None = None
    quote: datetime | None = None
    creation_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None
    execution_duration: timedelta | None = None
    """Time limit; ``None``: unlimited."""
    destruction: datetime | None = None
    parameters: tuple[ParameterDocument, ...] = ()
    results: tuple[ResultDocument, ...] = ()
    error: ErrorDocument | None = None
    info: Mapping[str, int | float | str] | None = None
    """How far the job is, by the names in ``jobInfo``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReference:
    """One line of a job list."""

    job_id: str
    href: str
    """URL of the job."""
    phase: str
    run_id: str | None = None
    owner: str | None = None
    creation_time: datetime


def instant_text(instant: datetime | None) -> str:
    """Instant in UTC with ``T`` and ``Z`` (UWS-5); an empty text for none, as the plain-text children have it.

    The document and the children of a job must spell an instant alike, hence one function.
    """
    return "" if instant is None else instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def duration_text(duration: timedelta | None) -> str:
    """Whole seconds, rounded up; ``0`` means unlimited (UWS 1.1, "Execution Duration")."""
    return "0" if duration is None else str(max(1, math.ceil(duration.total_seconds())))


def job(document: JobDocument) -> bytes:
    """Document of one job (UWS 1.1, "The Job URI")."""
    body = "".join(
        (
            element("uws:jobId", document.job_id),
            element("uws:runId", document.run_id),
            _nillable("uws:ownerId", document.owner),
            element("uws:phase", document.phase),
            _nillable("uws:quote", instant_text(document.quote)),
            element("uws:creationTime", instant_text(document.creation_time)),
            _nillable("uws:startTime", instant_text(document.start_time)),
            _nillable("uws:endTime", instant_text(document.end_time)),
            element("uws:executionDuration", duration_text(document.execution_duration)),
            _nillable("uws:destruction", instant_text(document.destruction)),
            _parameters("", document.parameters),
            _results("", document.results),
            _error(document.error),
            _info(document.info),
        )
    )
    return f"{_PROLOGUE}<uws:job{_root(version='1.1')}>\n{body}</uws:job>\n".encode()


def jobs(references: Iterable[JobReference]) -> bytes:
    """Document of a job list (UWS 1.1, "The Job List")."""
    body = "".join(
        f"<uws:jobref{attributes({'id': item.job_id, 'xlink:type': 'simple', 'xlink:href': item.href})}>"
        + element("uws:phase", item.phase)
        + element("uws:runId", item.run_id)
        + _nillable("uws:ownerId", item.owner)
        + element("uws:creationTime", instant_text(item.creation_time))
        + "</uws:jobref>\n"
        for item in references
    )
    return f"{_PROLOGUE}<uws:jobs{_root(version='1.1')}>\n{body}</uws:jobs>\n".encode()


def parameters(items: Iterable[ParameterDocument]) -> bytes:
    """Document of a job's parameters."""
    return (_PROLOGUE + _parameters(_root(), items)).encode()


def results(items: Iterable[ResultDocument]) -> bytes:
    """Document of a job's results."""
    return (_PROLOGUE + _results(_root(), items)).encode()


def job_json(document: JobDocument) -> bytes:
    """Twin of `job` in JSON; what is nil there is null here."""
    return _json(
        {
            "jobId": document.job_id,
            "runId": document.run_id,
            "ownerId": document.owner,
            "phase": document.phase,
            "quote": _instant(document.quote),
            "creationTime": _instant(document.creation_time),
            "startTime": _instant(document.start_time),
            "endTime": _instant(document.end_time),
            "executionDuration": int(duration_text(document.execution_duration)),
            "destruction": _instant(document.destruction),
            "parameters": [_parameter_record(item) for item in document.parameters],
            "results": [_result_record(item) for item in document.results],
            "errorSummary": None if document.error is None else _error_record(document.error),
            "jobInfo": document.info or None,
        }
    )


def change_json(document: JobDocument, href: str) -> bytes:
    """Give what changes of a job while it goes on, on one line; ``href`` is the job's own URL.

    In ASCII: readers of lines, Python's among them, take U+2028 and others of Unicode for ends of lines.
    """
    return json.dumps(
        {
            "jobId": document.job_id,
            "href": href,
            "phase": document.phase,
            "startTime": _instant(document.start_time),
            "endTime": _instant(document.end_time),
            "quote": _instant(document.quote),
            "errorSummary": None if document.error is None else _error_record(document.error),
            "jobInfo": document.info or None,
        }
    ).encode()


def jobs_json(references: Iterable[JobReference]) -> bytes:
    """Twin of `jobs` in JSON."""
    return _json(
        {
            "jobs": [
                {
                    "id": item.job_id,
                    "href": item.href,
                    "phase": item.phase,
                    "runId": item.run_id,
                    "ownerId": item.owner,
                    "creationTime": _instant(item.creation_time),
                }
                for item in references
            ]
        }
    )


def parameters_json(items: Iterable[ParameterDocument]) -> bytes:
    """Twin of `parameters` in JSON."""
    return _json({"parameters": [_parameter_record(item) for item in items]})


def results_json(items: Iterable[ResultDocument]) -> bytes:
    """Twin of `results` in JSON."""
    return _json({"results": [_result_record(item) for item in items]})


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _instant(instant: datetime | None) -> str | None:
    return instant_text(instant) or None


def _parameter_record(item: ParameterDocument) -> dict[str, Any]:
    return {"id": item.id, "value": item.value, "byReference": item.is_reference}


def _result_record(item: ResultDocument) -> dict[str, Any]:
    return {"id": item.id, "href": item.href, "size": item.size, "mime-type": item.media_type}


def _error_record(error: ErrorDocument) -> dict[str, Any]:
    return {"type": _kind(error), "hasDetail": error.has_detail, "message": error.message}


def _kind(error: ErrorDocument) -> str:
    return "transient" if error.is_transient else "fatal"


def _root(**more: str) -> str:
    return attributes(_ROOT | more)


def _nillable(name: str, text: str | None) -> str:
    """Element, nil when nothing is known: an empty one would be invalid (UWS-8)."""
    return element(name, text) if text else f'<{name} xsi:nil="true"/>'


def _parameters(root: str, items: Iterable[ParameterDocument]) -> str:
    lines = (
        element("uws:parameter", item.value, id=item.id, byReference="true" if item.is_reference else None) + "\n"
        for item in items
    )
    return f"<uws:parameters{root}>\n{''.join(lines)}</uws:parameters>\n"


def _results(root: str, items: Iterable[ResultDocument]) -> str:
    lines = (
        f"<uws:result{attributes({'id': item.id, 'xlink:type': 'simple', 'xlink:href': item.href})}"
        f"{attributes({'size': _number(item.size), 'mime-type': item.media_type})}/>\n"
        for item in items
    )
    return f"<uws:results{root}>\n{''.join(lines)}</uws:results>\n"


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def _error(error: ErrorDocument | None) -> str:
    if error is None:
        return ""
    kind = attributes({"type": _kind(error), "hasDetail": "true" if error.has_detail else "false"})
    return f"<uws:errorSummary{kind}>{element('uws:message', error.message)}</uws:errorSummary>\n"


def _info(info: Mapping[str, int | float | str] | None) -> str:
    if not info:
        return ""
    # UWS leaves the content to the service. In no namespace: validators warn of one whose schema they do not know.
    values = "".join(element(name, str(value)) for name, value in info.items())
    return f"<uws:jobInfo>{values}</uws:jobInfo>\n"
