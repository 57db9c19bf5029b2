"""UWS 1.1: one job list's resources as HTTP. Every handler is one call of the job service.

The same routes serve any job list; a standard's own list (TAP's ``async``, later SODA's) is a prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response

from gateway.errors import AuthorizationError, NotFoundError, NotSupportedError, ParameterError, UploadError
from gateway.jobs.models import Result
from gateway.routers.deps import BaseUrl, CallerDep, Gateway, GatewayDep
from gateway.routers.faults import fault_route, text_fault
from gateway.routers.jobdocuments import job_response, list_response, parameters_response, results_response
from gateway.routers.openapi import documented
from gateway.routers.params import MAX_FIELD_BYTES, Bag
from gateway.routers.respond import table_response
from gateway.routers.stored import result_response, upload_response
from gateway.vo import formats, pages, uws
from gateway.vo.dali import ParamBag, Parameter
from gateway.vo.pages import Page
from gateway.vo.votable import error_document

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
    router = APIRouter(
        prefix=jobs.path, tags=["Jobs"], route_class=fault_route(text_fault), dependencies=[Depends(refuse_other_sites)]
    )
    _add_list(router, jobs)
    _add_job(router, jobs.name, jobs.path)
    _add_control(router, jobs.name, jobs.path)
    _add_products(router, jobs)
    return router


async def refuse_other_sites(request: Request, gateway: GatewayDep) -> None:
    """Let no page of another site change jobs of a gateway that only this machine reaches (reliability A16).

    There the browser's place in the network is what lets it in. Elsewhere nothing is sent by a browser unasked that would
    let a page act for its reader: pages of other sites are as welcome as any other client.

    Raises
    ------
    AuthorizationError
        A browser says that the request is another site's.
    """
    if request.method in {"GET", "HEAD"} or not gateway.site.is_local:
        return
    site, origin = request.headers.get("sec-fetch-site", "none"), request.headers.get("origin")
    is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if site not in {"none", "same-origin"} or not is_own:
        raise AuthorizationError("Pages of other sites may not change the jobs of a gateway that is this machine's own")


def _add_list(router: APIRouter, routes: JobRoutes) -> None:
    job_list, path = routes.name, routes.path

    @router.get("", summary="List jobs", **documented(LIST_PARAMETERS, "query"))
    async def list_jobs(request: Request, bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """List the caller's jobs (UWS 1.1, "The Job List").

        Anonymous callers share no list: theirs is empty, unless the service is local to this machine.
        """
        jobs = await gateway.jobs.list(job_list, caller, bag)
        return list_response(request, jobs if caller.account or gateway.site.is_local else (), base)

    @router.post("", status_code=303, summary="Create a job", **documented((*routes.parameters, RUN_AT_ONCE), "form"))
    async def create(bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """Create a job; with PHASE=RUN it starts at once (UWS 1.1, "Creating a Job")."""
        job = await gateway.jobs.create(job_list, bag, caller, run=_wants_run(bag.one("PHASE")))
        return _see(f"{base}{path}/{job.job_id}")


def _add_job(router: APIRouter, job_list: str, path: str) -> None:
    @router.get("/{job_id}", summary="A job", **documented(WAIT_PARAMETERS, "query"))
    async def get_job(
        request: Request, job_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl
    ) -> Response:
        """Give the job's document, after its phase has changed if asked to WAIT (UWS 1.1, "Blocking")."""
        wait = bag.one("WAIT")
        if wait is None:
            job = await gateway.jobs.look(job_list, job_id, caller)
        else:
            job = await gateway.jobs.wait(job_list, job_id, caller, wait, bag.one("PHASE"))
        return job_response(request, job, base)

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
        return _text(uws.instant_text((await gateway.jobs.look(job_list, job_id, caller)).quote))

    @router.get("/{job_id}/owner", summary="Owner")
    async def get_owner(job_id: str, caller: CallerDep, gateway: GatewayDep) -> Response:
        """Give the account that made the job; empty for an anonymous one."""
        return _text((await gateway.jobs.get(job_list, job_id, caller)).account or "")


def _add_products(router: APIRouter, routes: JobRoutes) -> None:
    job_list, path = routes.name, routes.path

    @router.get("/{job_id}/parameters", summary="Parameters")
    async def get_parameters(
        request: Request, job_id: str, caller: CallerDep, gateway: GatewayDep, base: BaseUrl
    ) -> Response:
        """List the parameters; uploaded tables are there by reference."""
        return parameters_response(request, await gateway.jobs.get(job_list, job_id, caller), base)

    @router.post(
        "/{job_id}/parameters", status_code=303, summary="Set parameters", **documented(routes.parameters, "form")
    )
    async def post_parameters(job_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
        """Set parameters of a pending job; the same name again replaces, UPLOAD accumulates."""
        await gateway.jobs.set_parameters(job_list, job_id, caller, bag)
        return _see(f"{base}{path}/{job_id}")

    @router.head("/{job_id}/parameters/{name:path}", include_in_schema=False)
    @router.get("/{job_id}/parameters/{name:path}", summary="A parameter")
    async def get_parameter(
        request: Request, job_id: str, name: str, caller: CallerDep, gateway: GatewayDep
    ) -> Response:
        """Give a file back as it was uploaded, or the value of a parameter as text; of several values, one a line."""
        job = await gateway.jobs.get(job_list, job_id, caller)
        upload = next((upload for upload in job.uploads if upload.name == name), None)
        if upload is not None:
            return await upload_response(request, gateway, upload)
        values = job.bag.all(name)
        if not values:
            raise NotFoundError(f"This job has no parameter and no uploaded file {name[:64]!r}")
        return _text("\n".join(values))

    @router.put("/{job_id}/parameters/{name}", status_code=303, summary="Set a parameter")
    async def put_parameter(
        request: Request, job_id: str, name: str, caller: CallerDep, gateway: GatewayDep, base: BaseUrl
    ) -> Response:
        """Set one parameter of a pending job to the text of the body (UWS 1.1, "Parameters")."""
        value = await _text_body(request)
        await gateway.jobs.set_parameters(job_list, job_id, caller, ParamBag.of([(name, value)]))
        return _see(f"{base}{path}/{job_id}")

    @router.get("/{job_id}/results", summary="Results")
    async def get_results(
        request: Request, job_id: str, caller: CallerDep, gateway: GatewayDep, base: BaseUrl
    ) -> Response:
        """List the results; a job that has not completed has none."""
        return results_response(request, await gateway.jobs.get(job_list, job_id, caller), base)

    @router.head("/{job_id}/results/{result_id}", include_in_schema=False)
    @router.get("/{job_id}/results/{result_id}", summary="A result", **documented(pages.PARAMETERS, "query"))
    async def get_result(
        request: Request, job_id: str, result_id: str, bag: Bag, caller: CallerDep, gateway: GatewayDep
    ) -> Response:
        """Give a result as it was stored; a table also in another format, or some of its rows."""
        page = Page.from_params(bag)
        job = await gateway.jobs.get(job_list, job_id, caller)
        result = next((result for result in job.results if result.result_id == result_id), None)
        if result is None:
            raise NotFoundError(f"This job is {job.phase} and has no result {result_id!r}")
        if page.is_whole and (media_type := _as_stored(result, page.response_format)) is not None:
            return await result_response(request, gateway, result, media_type)
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


def _see(url: str) -> Response:
    return Response(status_code=303, headers={"Location": url})


async def _text_body(request: Request) -> str:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FIELD_BYTES:
            raise UploadError(f"The value has more than {MAX_FIELD_BYTES:,} bytes, the most that a parameter may have")
    try:
        return body.decode()
    except UnicodeDecodeError as e:
        raise UploadError("The value is no text in UTF-8") from e


def _text(value: str) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(value, media_type="text/plain; charset=utf-8", headers=headers)
