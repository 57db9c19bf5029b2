"""Rows of the job tables as values, and values as rows have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from gateway.jobs.models import (
    Attempt,
    AttemptEnding,
    Claim,
    ErrorSummary,
    ErrorType,
    Job,
    Part,
    Result,
    RunState,
    Upload,
)
from gateway.jobs.phases import Phase


def words(phases: Iterable[Phase]) -> list[str]:
    """Spell phases as stored."""
    return sorted(phases)


def whole_seconds(duration: timedelta | None) -> int:
    """Spell a duration as stored and as on the wire: whole seconds, 0 for unlimited."""
    return 0 if duration is None else max(1, int(duration.total_seconds()))


def _duration(seconds: int) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None


def _uploads(row: asyncpg.Record) -> tuple[Upload, ...]:
    return tuple(Upload.from_json(upload) for upload in row["uploads"])


def _parameters(row: asyncpg.Record) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in row["parameters"])


def to_job(row: asyncpg.Record) -> Job:
    """Read a job, with results and progress where the statement gives them."""
    return Job(
        job_id=row["id"],
        job_list=row["job_list"],
        owner=row["owner"],
        account=row["account"],
        base_url=row["base_url"],
        run_id=row["run_id"],
        phase=Phase(row["phase"]),
        creation_time=row["created"],
        start_time=row["started"],
        end_time=row["ended"],
        destruction=row["destruction"],
        execution_duration=_duration(row["execution_duration"]),
        parameters=_parameters(row),
        uploads=_uploads(row),
        results=tuple(Result.from_json(result) for results in row.get("results") or () for result in results),
        error=ErrorSummary(row["error_message"], ErrorType(row["error_type"])) if row["error_message"] else None,
        progress=_progress(row),
        attempts=row.get("attempts") or 0,
    )


def _progress(row: asyncpg.Record) -> dict[str, Any]:
    parts = row.get("parts", 0)
    if parts > 1:
        return {"parts": parts, "parts_done": row["parts_done"]}
    return row.get("progress") or {}


def to_claim(row: asyncpg.Record) -> Claim:
    """Read what a claim got."""
    return Claim(
        part_id=row["part_id"],
        number=row["number"],
        token=row["token"],
        job_id=row["id"],
        job_list=row["job_list"],
        queue=row["queue"],
        owner=row["owner"],
        account=row["account"],
        base_url=row["base_url"],
        execution_duration=_duration(row["execution_duration"]),
        parameters=_parameters(row),
        uploads=_uploads(row),
    )


def to_part(row: asyncpg.Record) -> Part:
    """Read a part."""
    return Part(
        part_id=row["id"],
        number=row["number"],
        job_id=row["job_id"],
        queue=row["queue"],
        run_state=RunState(row["run_state"]),
        token=row["token"],
        attempts=row["attempts"],
        losses=row["losses"],
        worker=row["worker"],
        cancel_requested=row["cancel_requested"],
        result_token=row["result_token"],
        results=tuple(Result.from_json(result) for result in row["results"]),
        history=_history(row),
    )


def _history(row: asyncpg.Record) -> tuple[Attempt, ...]:
    ended = tuple(_attempt(record) for record in row["history"])
    if row["run_state"] != RunState.RUNNING:
        return ended
    running = Attempt(
        token=row["token"], worker=row["worker"], started=row["claimed"], ended=None, ending=None, reason=None
    )
    return (*ended, running)


def _attempt(record: Mapping[str, Any]) -> Attempt:
    return Attempt(
        token=record["token"],
        worker=record["worker"],
        started=record["started"] and datetime.fromisoformat(record["started"]),
        ended=datetime.fromisoformat(record["ended"]),
        ending=AttemptEnding(record["ending"]),
        reason=record["reason"],
    )
