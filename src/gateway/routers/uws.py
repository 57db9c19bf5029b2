"""UWS 1.1: one job list's resources as HTTP. Every handler is one call of the job service.

The same routes serve any job list; a standard's own list (TAP's ``async``, later SODA's) is a prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from gateway.errors import NotFoundError, NotSupportedError, ParameterError
from gateway.jobs.models import ErrorType, Job, Result
from gateway.jobs.phases import Phase
from gateway.routers.deps import BaseUrl, CallerDep, Gateway, GatewayDep
from gateway.routers.faults import fault_route, text_fault
from gateway.routers.openapi import documented
from gateway.routers.params import Bag
from gateway.routers.respond import table_response
from gateway.vo import formats, pages, uws
from gateway.vo.dali import Parameter
from gateway.vo.pages import Page
from gateway.vo.votable import error_document

XML = "text/xml; charset=utf-8"

RUN_AT_ONCE = Parameter("PHASE", "RUN starts the job at once.")
LIST_PARAMETERS = (
    Parameter("PHASE", "Only jobs in this phase.", is_repeatable=True),
    Parameter("AFTER", "Only jobs created after this instant, ISO 8601, UTC."),
    Parameter("LAST", "Only the so many newest jobs, newest first."),
)
WAIT_PARAMETERS = (
    Parameter("WAIT", "Seconds to wait for the phase to change; -1: as long as the service allows."),
    Parameter("PHASE", "With WAIT: answer at once if the phase is not this one."),
)


@dataclass(frozen=True, slots=True)
class JobRoutes:
    """A job list as HTTP sees it."""

    name: str
    path: str
    parameters: tuple[Parameter, ...]
    """What its jobs take."""


def job_router(jobs: JobRoutes) -> APIRouter:
    """Make the routes of a job list."""
    router = APIRouter(prefix=jobs.path, tags=["Jobs"], route_class=fault_route(text_fault))
    _add_list(router, jobs)
    _add_job(router, jobs.name, jobs.path)
    _add_control(router, jobs.name, jobs.path)
    _add_products(router, jobs)
    return router


def _add_list(router: APIRouter, routes: JobRoutes) -> None:
    job_list, path = routes.name, routes.path

    @router.get("", summary="List jobs", **documented(LIST_PARAMETERS, "query"))
    async def list_jobs(bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """List the caller's jobs (UWS 1.1, "The Job List").

        Anonymous callers share no list: theirs is empty, unless the service is local to this machine.
        """
        jobs = await gateway.jobs.list(job_list, caller, bag) if caller.account or gateway.site.is_local else ()
        references = [
            uws.JobReference(
                job_id=job.job_id,
                href=f"{base}{path}/{job.job_id}",
                phase=job.phase,
                run_id=job.run_id,
                owner=job.account,
                creation_time=job.creation_time,
            )
            for job in jobs
        ]
        return _xml(uws.jobs(references))

    @router.post("", status_code=303, summary="Create a job", **documented((*routes.parameters, RUN_AT_ONCE), "form"))
    async def create(bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """Create a job; with PHASE=RUN it starts at once (UWS 1.1, "Creating a Job")."""
        job = await gateway.jobs.create(job_list, bag, caller)
        if _wants_run(bag.one("PHASE")):
            await gateway.jobs.run(job_list, job.job_id, caller)
        return _see(f"{base}{path}/{job.job_id}")


def _add_job(router: APIRouter, job_list: str, path: str) -> None:
    @router.get("/{job_id}", summary="A job", **documented(WAIT_PARAMETERS, "query"))
    async def get_job(job_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """Give the job's document, after its phase has changed if asked to WAIT (UWS 1.1, "Blocking")."""
        wait = bag.one("WAIT")
        if wait is None:
            job = await gateway.jobs.get(job_list, job_id, caller)
        else:
            job = await gateway.jobs.wait(job_list, job_id, caller, wait, bag.one("PHASE"))
        return _xml(uws.job(_document(job, f"{base}{path}/{job.job_id}")))

    @router.delete("/{job_id}", status_code=303, summary="Delete a job and its results")
    async def delete(job_id: str, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """End the job if it runs and forget it (UWS 1.1, "Deleting a Job")."""
        await gateway.jobs.delete(job_list, job_id, caller)
        return _see(f"{base}{path}")

    @router.post("/{job_id}", status_code=303, summary="Delete a job and its results (ACTION=DELETE)")
    async def act(job_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """Delete the job for clients that cannot send DELETE (UWS 1.1, "Deleting a Job")."""
        action = bag.one("ACTION")
        if (action or "").upper() != "DELETE":
            raise ParameterError(
                "ACTION",
                action or "",
                "only DELETE is known here; parameters go to .../parameters, the phase to .../phase",
            )
        await gateway.jobs.delete(job_list, job_id, caller)
        return _see(f"{base}{path}")


def _add_control(router: APIRouter, job_list: str, path: str) -> None:
    @router.get("/{job_id}/phase", summary="Phase")
    async def get_phase(job_id: str, caller: CallerDep, gateway: GatewayDep) -> Response:
        """Give the phase as one word."""
        return _text((await gateway.jobs.get(job_list, job_id, caller)).phase)

    @router.post("/{job_id}/phase", status_code=303, summary="Run or abort (PHASE=RUN, PHASE=ABORT)")
    async def post_phase(job_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """Start or abort the job (UWS 1.1, "Starting a Job", "Aborting a Job")."""
        wanted = (bag.one("PHASE") or "").upper()
        if wanted == "RUN":
            await gateway.jobs.run(job_list, job_id, caller)
        elif wanted == "ABORT":
            await gateway.jobs.abort(job_list, job_id, caller)
        else:
            raise ParameterError("PHASE", wanted, "send RUN to start the job or ABORT to end it")
        return _see(f"{base}{path}/{job_id}")

    @router.get("/{job_id}/executionduration", summary="Time limit, seconds")
    async def get_duration(job_id: str, caller: CallerDep, gateway: GatewayDep) -> Response:
        """Give the time limit in seconds; 0 means unlimited."""
        return _text(uws.duration_text((await gateway.jobs.get(job_list, job_id, caller)).execution_duration))

    @router.post("/{job_id}/executionduration", status_code=303, summary="Set the time limit (EXECUTIONDURATION)")
    async def post_duration(job_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """Set the time limit; more than the service allows is cut to what it does."""
        await gateway.jobs.set_execution_duration(job_list, job_id, caller, bag.one("EXECUTIONDURATION") or "")
        return _see(f"{base}{path}/{job_id}")

    @router.get("/{job_id}/destruction", summary="When the job and its results go")
    async def get_destruction(job_id: str, caller: CallerDep, gateway: GatewayDep) -> Response:
        """Give the instant of destruction, UTC."""
        return _text(uws.instant_text((await gateway.jobs.get(job_list, job_id, caller)).destruction))

    @router.post("/{job_id}/destruction", status_code=303, summary="Set the destruction (DESTRUCTION)")
    async def post_destruction(
        job_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl
    ) -> Response:
        """Set the instant of destruction; later than the service allows is cut to what it does."""
        await gateway.jobs.set_destruction(job_list, job_id, caller, bag.one("DESTRUCTION") or "")
        return _see(f"{base}{path}/{job_id}")

    @router.get("/{job_id}/quote", summary="Predicted end")
    async def get_quote(job_id: str, caller: CallerDep, gateway: GatewayDep) -> Response:
        """Give the predicted end, UTC; empty when it is not known."""
        return _text(uws.instant_text((await gateway.jobs.get(job_list, job_id, caller)).quote))

    @router.get("/{job_id}/owner", summary="Owner")
    async def get_owner(job_id: str, caller: CallerDep, gateway: GatewayDep) -> Response:
        """Give the account that made the job; empty for an anonymous one."""
        return _text((await gateway.jobs.get(job_list, job_id, caller)).account or "")


def _add_products(router: APIRouter, routes: JobRoutes) -> None:
    job_list, path = routes.name, routes.path

    @router.get("/{job_id}/parameters", summary="Parameters")
    async def get_parameters(job_id: str, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """List the parameters; uploaded tables are there by reference."""
        job = await gateway.jobs.get(job_list, job_id, caller)
        return _xml(uws.parameters(_parameters(job, f"{base}{path}/{job_id}")))

    @router.post(
        "/{job_id}/parameters", status_code=303, summary="Set parameters", **documented(routes.parameters, "form")
    )
    async def post_parameters(job_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """Set parameters of a pending job; the same name again replaces, UPLOAD accumulates."""
        await gateway.jobs.set_parameters(job_list, job_id, caller, bag)
        return _see(f"{base}{path}/{job_id}")

    @router.get("/{job_id}/parameters/{name}", summary="An uploaded file")
    async def get_upload(job_id: str, name: str, caller: CallerDep, gateway: GatewayDep) -> Response:
        """Give a file back as it was uploaded."""
        job = await gateway.jobs.get(job_list, job_id, caller)
        upload = next((upload for upload in job.uploads if upload.name == name), None)
        if upload is None:
            raise NotFoundError(f"This job has no uploaded file {name!r}")
        return await _stored(gateway, upload.key, "application/octet-stream", name)

    @router.get("/{job_id}/results", summary="Results")
    async def get_results(job_id: str, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """List the results; a job that has not completed has none."""
        job = await gateway.jobs.get(job_list, job_id, caller)
        return _xml(uws.results(_results(job, f"{base}{path}/{job_id}")))

    @router.get("/{job_id}/results/{result_id}", summary="A result", **documented(pages.PARAMETERS, "query"))
    async def get_result(job_id: str, result_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
        """Give a result as it was stored; a table also in another format, or some of its rows."""
        page = Page.from_params(bag)
        job = await gateway.jobs.get(job_list, job_id, caller)
        result = next((result for result in job.results if result.result_id == result_id), None)
        if result is None:
            raise NotFoundError(f"This job is {job.phase} and has no result {result_id!r}")
        if page.is_whole and (media_type := _as_stored(result, page.response_format)) is not None:
            return await _stored(gateway, result.key, media_type, result.key.rpartition("/")[2])
        return _again(gateway, result, page)

    @router.get("/{job_id}/error", summary="Why the job failed")
    async def get_error(job_id: str, caller: CallerDep, gateway: GatewayDep) -> Response:
        """Give the error document of a job that failed, with status 200 (DALI 1.1, "Errors")."""
        job = await gateway.jobs.get(job_list, job_id, caller)
        if job.error is None:
            raise NotFoundError(f"This job is {job.phase} and has no error")
        return Response(error_document(job.error.message), media_type="application/x-votable+xml")


def _wants_run(phase: str | None) -> bool:
    if phase is not None and phase.upper() != "RUN":
        raise ParameterError("PHASE", phase, "a new job takes RUN or nothing")
    return phase is not None


async def _stored(gateway: GatewayDep, key: str, media_type: str, name: str) -> Response:
    stored = await gateway.jobs.open_stored(key)
    headers = {
        "Content-Type": media_type,  # as a header: Starlette would add a charset to text, and DALI-34 wants what was asked for
        "Content-Length": str(stored.size),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(stored.chunks(), headers=headers)


def _as_stored(result: Result, response_format: str | None) -> str | None:
    """Content-Type of the stored bytes if they are what is wanted; ``None``: other ones are."""
    if response_format is None:
        return result.media_type
    wanted, content_type = formats.find(response_format)
    return content_type if result.rows is not None and wanted == formats.find(result.media_type)[0] else None


def _again(gateway: Gateway, result: Result, page: Page) -> Response:
    """Give rows of a table from its sidecar; the query does not run again."""
    if result.rows is None:
        raise NotSupportedError("This result is no table: it can be had whole and as it is, without parameters")
    key = result.sidecar
    if key is None:
        raise NotSupportedError(
            "Of this result no copy is kept from which other formats or some of its rows could be made: it is too large "
            "(GATEWAY_SIDECAR_MAX_BYTES). Fetch it whole, without parameters, or run the query again with the RESPONSEFORMAT "
            "or the rows that you want"
        )
    form, content_type = formats.find(page.response_format or result.media_type)
    return table_response(
        lambda: gateway.tables.open(key, page),
        form=form,
        content_type=content_type,
        fault=text_fault,
        stall_limit=gateway.site.stall_limit,
    )


def _document(job: Job, url: str) -> uws.JobDocument:
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
    )


def _parameters(job: Job, url: str) -> Sequence[uws.ParameterDocument]:
    values = [uws.ParameterDocument(name, value) for name, value in job.parameters]
    files = [
        uws.ParameterDocument(upload.name, f"{url}/parameters/{quote(upload.name)}", is_reference=True)
        for upload in job.uploads
    ]
    return [*values, *files]


def _results(job: Job, url: str) -> Sequence[uws.ResultDocument]:
    return [
        uws.ResultDocument(result.result_id, f"{url}/results/{quote(result.result_id)}", result.size, result.media_type)
        for result in job.results
        if job.phase is not Phase.ERROR
    ]


def _see(url: str) -> Response:
    return Response(status_code=303, headers={"Location": url})


def _xml(document: bytes) -> Response:
    return Response(document, media_type=XML, headers={"Cache-Control": "no-store"})


def _text(value: str) -> Response:
    return Response(value, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})
