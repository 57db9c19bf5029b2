"""Simple Cone Search: each published table with positions is a service below ``/scs``."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from gateway.routers.deps import BaseUrl, CallerDep, Gateway, GatewayDep
from gateway.routers.faults import fault_route, scs_fault, text_fault
from gateway.routers.openapi import documented
from gateway.routers.params import Bag
from gateway.routers.respond import table_response
from gateway.routers.vosi import STARTED, XML
from gateway.services.access import Caller
from gateway.services.queries import ResultTable
from gateway.vo import formats, paths, scs, vosi
from gateway.vo.capabilities import ServiceInterface, service_capabilities
from gateway.vo.dali import ParamBag
from gateway.vo.provenance import request_infos
from gateway.vo.scs import Cone, ConeQuery

about = APIRouter(prefix=paths.CONES, tags=["Cone Search"], route_class=fault_route(text_fault))
query = APIRouter(prefix=paths.CONES, tags=["Cone Search"], route_class=fault_route(scs_fault))


@about.get("", include_in_schema=False)
async def page(gateway: GatewayDep, caller: CallerDep, base: BaseUrl) -> Response:
    """Show a person which tables can be searched."""
    title = escape(f"{gateway.site.title}: Simple Cone Search")
    links = "".join(
        f'<li><a href="{escape(_url(base, cone))}?RA=0&amp;DEC=0&amp;SR=0">{escape(cone.table.qualified_name)}</a></li>'
        for cone in await gateway.cones.cones(caller)
    )
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1>"
        "<p>Each table is a service: give its URL to pyvo, or to TOPCAT.</p>"
        f"<ul>{links}</ul></html>"
    )


@about.get("/{name:path}/capabilities", summary="What a cone search can do")
async def capabilities(name: str, caller: CallerDep, gateway: GatewayDep, base: BaseUrl) -> Response:
    """Describe the cone search of one table (VOSI 1.1, "Capabilities")."""
    cone = await gateway.cones.find(name, caller)
    example = await gateway.cones.example(cone, caller)
    return Response(_capabilities(gateway, _url(base, cone), example), media_type=XML)


@about.get("/{name:path}/availability", summary="Whether a cone search works now")
async def availability(name: str, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Tell whether the database answers (VOSI 1.1, "Availability")."""
    fault = await gateway.queries.fault()
    if fault is None:
        await gateway.cones.find(name, caller)
    notes = () if fault is None else (fault,)
    document = vosi.availability(available=fault is None, up_since=STARTED, notes=notes)
    return Response(document, media_type=XML, headers={"Cache-Control": "no-store"})


@query.get("/{name:path}", summary="Find rows around a position", **documented(scs.PARAMETERS, "query"))
async def get_cone(name: str, bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Find the rows of a table around a position, nearest first (Simple Cone Search 1.03)."""
    return _search(name, bag, caller, gateway)


@query.post("/{name:path}", summary="Find rows around a position", **documented(scs.PARAMETERS, "form"))
async def post_cone(name: str, bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Find the rows of a table around a position, nearest first (Simple Cone Search 1.03)."""
    return _search(name, bag, caller, gateway)


def _search(name: str, bag: ParamBag, caller: Caller, gateway: Gateway) -> Response:
    form, content_type = formats.find(bag.one("RESPONSEFORMAT") or scs.CONTENT_TYPE)

    async def open_table() -> ResultTable:
        cone = await gateway.cones.find(name, caller)
        asked = tuple(request_infos(_url(caller.base_url, cone), bag.items))
        return await gateway.cones.search(cone, ConeQuery.from_params(bag), caller, infos=asked)

    return table_response(
        open_table,
        form=form,
        content_type=content_type,
        fault=scs_fault,
        stall_limit=gateway.site.stall_limit,
    )


def _capabilities(gateway: Gateway, url: str, example: tuple[float, float] | None) -> bytes:
    return service_capabilities(
        url,
        [
            ServiceInterface(
                standard_id=scs.STANDARD_ID,
                url=f"{url}?",  # SCS 1.03, "Query": clients append their parameters to the URL as it stands
                use="base",
                xml_type=scs.XML_TYPE,
                details=scs.capability_details(maxrec=gateway.site.tap_limits.maxrec_hard, example=example),
            )
        ],
    )


def _url(base: str, cone: Cone) -> str:
    return f"{base}{paths.CONES}/{quote(cone.table.qualified_name)}"


routers = (about, query)
