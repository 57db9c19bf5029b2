"""DataLink 1.1: what belongs to a dataset."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.routers.deps import CallerDep, Gateway, GatewayDep
from gateway.routers.faults import datalink_fault, fault_route
from gateway.routers.openapi import documented
from gateway.routers.params import Bag
from gateway.routers.vosi import About, vosi_router
from gateway.services.access import Caller
from gateway.services.links import Links
from gateway.vo import datalink, formats, paths
from gateway.vo.capabilities import ServiceInterface, service_capabilities
from gateway.vo.dali import ParamBag, normal_media_type
from gateway.vo.formats import Format
from gateway.vo.formats.base import Complete, Overflow

links = APIRouter(prefix=paths.DATALINK, tags=["DataLink"], route_class=fault_route(datalink_fault))

PLAIN_VOTABLE = frozenset({"votable", "application/x-votable+xml", normal_media_type(datalink.MEDIA_TYPE)})
"""What is answered in the one serialisation that every client of DataLink reads (DL-5)."""


@links.get("/links", summary="What belongs to datasets", **documented(datalink.PARAMETERS, "query"))
async def get_links(bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """List the file, cutout services and companions of datasets (DataLink 1.1, "{links} endpoint")."""
    return await _links(bag, caller, gateway)


@links.post("/links", summary="What belongs to datasets", **documented(datalink.PARAMETERS, "form"))
async def post_links(bag: Bag, caller: CallerDep, gateway: GatewayDep) -> Response:
    """List the file, cutout services and companions of datasets (DataLink 1.1, "{links} endpoint")."""
    return await _links(bag, caller, gateway)


async def _links(bag: ParamBag, caller: Caller, gateway: Gateway) -> Response:
    form, content_type = _format(bag.one("RESPONSEFORMAT"))
    found = await gateway.links.links([value for value in bag.all("ID") if value.strip()], caller)
    return Response(_body(found, form), headers={"Cache-Control": "no-store"}, media_type=content_type)


def _format(text: str | None) -> tuple[Format, str]:
    if not text or normal_media_type(text) in PLAIN_VOTABLE:
        return formats.TABLEDATA, datalink.MEDIA_TYPE  # DL-11
    return formats.find(text)


def _body(found: Links, form: Format) -> bytes:
    writer = form.make(found.header)
    ending = Overflow(found.count) if found.is_overflow else Complete()
    return writer.start() + writer.batch(found.rows) + writer.end(ending)


ABOUT = About(
    "DataLink",
    "This is a DataLink 1.1 service: it lists what belongs to a dataset.",
    (("links", "links of no dataset: the columns of answers"),),
)


def _capabilities(gateway: Gateway, url: str) -> bytes:
    del gateway
    return service_capabilities(
        url,
        [
            ServiceInterface(
                standard_id=datalink.STANDARD_ID,
                url=f"{url}/links",
                version="1.1",
                result_type=datalink.MEDIA_TYPE,
            )
        ],
    )


routers = (links, vosi_router(paths.DATALINK, "DataLink", _capabilities, ABOUT))
