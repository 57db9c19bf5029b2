"""SIA 2.0: image search."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response

from gateway.errors import GatewayError
from gateway.routers.deps import CallerDep, Gateway, GatewayDep
from gateway.routers.faults import fault_route, sia_fault
from gateway.routers.openapi import documented
from gateway.routers.params import Bag
from gateway.routers.respond import table_response
from gateway.routers.vosi import About, vosi_router
from gateway.services.access import Caller
from gateway.vo import formats, paths, sia
from gateway.vo.capabilities import ServiceInterface, service_capabilities
from gateway.vo.dali import ParamBag
from gateway.vo.provenance import request_infos
from gateway.vo.sia import SiaQuery

query = APIRouter(prefix=paths.SIA2, tags=["SIA"], route_class=fault_route(sia_fault))

DEFAULT_FORMAT = "application/x-votable+xml;serialization=TABLEDATA"
"""Answers are short, and every client reads this one."""


@query.get("/query", summary="Find images", **documented(sia.PARAMETERS, "query"))
async def get_query(bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Find images by position, wavelength, time and more (SIA 2.0)."""
    return _search(bag, caller, gateway)


@query.post("/query", summary="Find images", **documented(sia.PARAMETERS, "form"))
async def post_query(bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Find images by position, wavelength, time and more (SIA 2.0)."""
    return _search(bag, caller, gateway)


def _search(bag: ParamBag, caller: Caller, gateway: Gateway) -> Response:
    fault = sia_fault
    try:
        form, content_type = formats.find(bag.one("RESPONSEFORMAT") or DEFAULT_FORMAT)
        fault = partial(sia_fault, is_text=form in {formats.CSV, formats.TSV})  # SIA2-13
        request = SiaQuery.from_params(bag)
        asked = tuple(request_infos(caller.base_url + paths.IMAGE_SEARCH, bag.items))
    except GatewayError as e:
        return fault(e)
    return table_response(
        lambda: gateway.discovery.search(request, caller, infos=asked),
        form=form,
        content_type=content_type,
        fault=fault,
        stall_limit=gateway.site.stall_limit,
    )


ABOUT = About(
    "Simple Image Access",
    "This is an SIA 2.0 service: it finds images by position, wavelength, time and more. Give its URL to pyvo.",
    (("query?MAXREC=0", "what can be asked, and the columns of answers"),),
)


def _capabilities(gateway: Gateway, url: str) -> bytes:
    del gateway
    return service_capabilities(
        url,
        [ServiceInterface(standard_id=sia.STANDARD_ID, url=f"{url}/query", version="2.0")],
    )


routers = (query, vosi_router(paths.SIA2, "SIA", _capabilities, ABOUT))
