"""TAP 1.1: sync and tables. ``async`` is a job list (`routers.uws`), the rest is VOSI's (`routers.vosi`)."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.errors import NotFoundError, ParameterError
from gateway.routers.deps import CallerDep, Gateway, GatewayDep
from gateway.routers.faults import fault_route, text_fault, votable_fault
from gateway.routers.openapi import documented
from gateway.routers.params import Bag
from gateway.routers.respond import table_response
from gateway.routers.uws import JobRoutes, job_router
from gateway.routers.vosi import About, kept_document, vosi_router
from gateway.services.examples import examples_document
from gateway.services.queries import ResultTable
from gateway.vo import formats, obscore, paths, vosi
from gateway.vo.capabilities import TapCapabilities, tap_capabilities
from gateway.vo.dali import ParamBag, Parameter
from gateway.vo.tap import SYNC_PARAMETERS, TapRequest

sync = APIRouter(prefix=paths.TAP, tags=["TAP"], route_class=fault_route(votable_fault))
metadata = APIRouter(prefix=paths.TAP, tags=["TAP"], route_class=fault_route(text_fault))

TABLES_PARAMETERS = (
    Parameter("DETAIL", "min: names and descriptions of tables only. max: all, with columns and keys."),
)


@sync.get("/sync", summary="Run a query and stream its table", **documented(SYNC_PARAMETERS, "query"))
async def get_sync(bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Run an ADQL query at once (TAP 1.1, "/sync")."""
    return _query(bag, caller, gateway)


@sync.post("/sync", summary="Run a query and stream its table", **documented(SYNC_PARAMETERS, "form"))
async def post_sync(bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Run an ADQL query at once, with uploaded tables if wanted (TAP 1.1, "/sync")."""
    return _query(bag, caller, gateway)


def _query(bag: ParamBag, caller: CallerDep, gateway: GatewayDep) -> Response:
    request = TapRequest.from_params(bag)
    form, content_type = formats.find(request.response_format)

    async def open_table() -> ResultTable:
        return await gateway.queries.open(request, caller, uploads={part.name: part for part in bag.parts})

    return table_response(
        open_table,
        form=form,
        content_type=content_type,
        fault=votable_fault,
        stall_limit=gateway.site.stall_limit,
    )


@metadata.get("/tables", summary="What can be queried", **documented(TABLES_PARAMETERS, "query"))
async def tables(request: Request, bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Describe schemas, tables and columns (VOSI 1.1, "Table metadata")."""
    detail = (bag.one("DETAIL") or "max").lower()
    if detail not in {"min", "max"}:
        raise ParameterError("detail", detail, "use min (no columns) or max")
    tableset = await gateway.queries.tableset(caller)
    return kept_document(request, vosi.tables(tableset, detail=detail))


@metadata.get("/tables/{name:path}", summary="One table with its columns")
async def table(request: Request, name: str, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Describe one table in full; the name is that of ``/tables`` (VOSI 1.1, "Table metadata")."""
    tableset = await gateway.queries.tableset(caller)
    found = tableset.find(name)
    if found is None:
        raise NotFoundError(f"There is no table {name}; GET .../tables?detail=min lists them all")
    return kept_document(request, vosi.table(found))


@metadata.get("/examples", summary="Queries to learn from")
async def examples(request: Request, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Show queries that run here, for people and programs (DALI 1.1, "DALI-examples")."""
    body = await examples_document(gateway.queries, caller, gateway.site.title)
    return kept_document(request, body, "application/xhtml+xml")


def _capabilities(gateway: Gateway, url: str) -> bytes:
    return tap_capabilities(
        TapCapabilities(
            base_url=url,
            limits=gateway.site.tap_limits,
            features=gateway.queries.features(),
            data_models=(obscore.DATA_MODEL,),
        )
    )


routers = (
    sync,
    metadata,
    vosi_router(
        paths.TAP,
        "TAP",
        _capabilities,
        About(
            "Table Access Protocol",
            "This is a TAP 1.1 service. Give its URL to TOPCAT, Aladin or pyvo.",
            (("tables", "what can be queried"), ("examples", "queries to learn from"), ("async", "your jobs")),
        ),
    ),
    job_router(JobRoutes(name="tap", path=f"{paths.TAP}/async", parameters=SYNC_PARAMETERS)),
)
