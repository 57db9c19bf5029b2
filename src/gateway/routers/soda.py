"""SODA 1.0: cutouts at once. ``async`` is a job list (`routers.uws`)."""

from __future__ import annotations

from contextlib import AsyncExitStack

from fastapi import APIRouter, Response

from gateway.routers.deps import CallerDep, Gateway, GatewayDep
from gateway.routers.faults import fault_route, soda_fault
from gateway.routers.openapi import documented
from gateway.routers.params import Bag
from gateway.routers.respond import Stream, StreamedResponse
from gateway.routers.uws import JobRoutes, job_router
from gateway.routers.vosi import About, vosi_router
from gateway.services.access import Caller
from gateway.vo import paths, soda
from gateway.vo.capabilities import ServiceInterface, service_capabilities
from gateway.vo.dali import ParamBag
from gateway.vo.soda import CutoutRequest

sync = APIRouter(prefix=paths.SODA, tags=["SODA"], route_class=fault_route(soda_fault))


@sync.get("/sync", summary="Cut out a region", **documented(soda.PARAMETERS, "query"))
async def get_sync(bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Cut a region out of an image and what belongs to it, as FITS (SODA 1.0, "Synchronous")."""
    return _cut(bag, caller, gateway)


@sync.post("/sync", summary="Cut out a region", **documented(soda.PARAMETERS, "form"))
async def post_sync(bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Cut a region out of an image and what belongs to it, as FITS (SODA 1.0, "Synchronous")."""
    return _cut(bag, caller, gateway)


def _cut(bag: ParamBag, caller: Caller, gateway: Gateway) -> Response:
    cutout = CutoutRequest.from_params(bag).only(bag)

    async def open_stream(held: AsyncExitStack) -> Stream:
        file = await held.enter_async_context(gateway.cutouts.open(cutout, caller))
        headers = {
            "Content-Type": file.media_type,
            "Content-Length": str(file.size),
            "Content-Disposition": f'attachment; filename="{file.name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return Stream(headers, file.chunks())

    return StreamedResponse(open_stream, fault=soda_fault, stall_limit=gateway.site.stall_limit)


ABOUT = About(
    "Server-side Operations for Data Access",
    "This is a SODA 1.0 service: it cuts regions out of images, which SIA finds and DataLink leads to.",
    (("async", "your jobs"),),
)


def _capabilities(gateway: Gateway, url: str) -> bytes:
    del gateway
    return service_capabilities(
        url,
        [
            ServiceInterface(standard_id=soda.SYNC_ID, url=f"{url}/sync", result_type="application/fits"),
            ServiceInterface(standard_id=soda.ASYNC_ID, url=f"{url}/async"),
        ],
    )


JOBS = JobRoutes(name="soda", path=paths.CUTOUT_JOBS, parameters=soda.PARAMETERS)

routers = (sync, job_router(JOBS), vosi_router(paths.SODA, "SODA", _capabilities, ABOUT))
