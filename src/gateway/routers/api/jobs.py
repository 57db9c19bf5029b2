"""Jobs as they change: server-sent events (HTML Living Standard, "Server-sent events")."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Response

from gateway.jobs.models import Job
from gateway.jobs.phases import FINAL
from gateway.routers.deps import BaseUrl, CallerDep, GatewayDep
from gateway.routers.faults import fault_route, problem_fault
from gateway.routers.jobdocuments import EVENTS, job_document, job_url
from gateway.routers.respond import Stream, StreamedResponse
from gateway.vo import uws

router = APIRouter(tags=["Jobs"], route_class=fault_route(problem_fault))

RETRY_MS = 3_000
"""Pause before a browser connects again after a break: long enough not to press a service that comes back."""

SIGN_OF_LIFE = b": still here\n\n"

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back until it has some kilobytes
    "X-Content-Type-Options": "nosniff",
}


@router.get(EVENTS, summary="Watch a job", responses={200: {"content": {"text/event-stream": {}}}})
async def job_events(
    job_id: str,
    caller: CallerDep,
    gateway: GatewayDep,
    base: BaseUrl,
    last_event_id: Annotated[str | None, Header(description="Sent by browsers that connect again.")] = None,
) -> Response:
    """Tell of each change of a job's ``phase`` and of its ``progress``, until it ends.

    Both kinds of event hold a JSON object: ``jobId``, ``href``, ``phase``, ``startTime``, ``endTime``, ``quote``, ``errorSummary``
    and ``jobInfo``, as in the job's own document. A browser that connects again after the last event is answered with 204, upon
    which it stays away.
    """
    job = await gateway.jobs.find(job_id, caller)
    if job.phase in FINAL and last_event_id == job.phase:
        return Response(status_code=204)

    async def open_stream(held: AsyncExitStack) -> Stream:
        jobs = await held.enter_async_context(aclosing(gateway.jobs.watch(job_id, caller)))
        return Stream(HEADERS, _events(jobs, base))

    return StreamedResponse(open_stream, fault=problem_fault, stall_limit=gateway.site.stall_limit)


async def _events(jobs: AsyncGenerator[Job | None, None], base: str) -> AsyncGenerator[bytes, None]:
    phase = None
    async for job in jobs:
        if job is None:
            yield SIGN_OF_LIFE
            continue
        record = uws.change_json(job_document(job, base), job_url(base, job))
        if job.phase == phase:
            yield b"event: progress\ndata: " + record + b"\n\n"
        else:
            start = "" if phase else f"retry: {RETRY_MS}\n"
            yield f"{start}event: phase\nid: {job.phase}\ndata: ".encode() + record + b"\n\n"
            phase = job.phase
