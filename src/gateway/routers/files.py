"""Whole files of datasets, with ranges and validators (RFC 9110)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from gateway.routers.deps import CallerDep, GatewayDep
from gateway.routers.faults import fault_route, text_fault
from gateway.routers.ranges import Content, content_response, disposition
from gateway.vo import paths

router = APIRouter(prefix=paths.DATA, tags=["Files"], route_class=fault_route(text_fault))

Plane = Annotated[
    str | None,
    Query(alias="PLANE", description="mask, variance or weight: the file with it, where it lies in one of its own."),
]


@router.head("/{key}", include_in_schema=False)
@router.get("/{key}", summary="The file of a dataset", operation_id="data_file")
async def data_file(
    key: str, request: Request, caller: CallerDep, gateway: GatewayDep, plane: Plane = None
) -> Response:
    """Give the file of a dataset as the archive has it; takes ``Range``, ``If-Range`` and ``If-None-Match``."""
    file = await gateway.files.open(key, caller, role=plane)
    headers = {
        "Content-Type": file.media_type,
        "Content-Disposition": disposition("attachment", file.name),
        "Cache-Control": "no-cache",  # may be kept, and is asked for again: the file may be replaced
    }
    content = Content(size=file.stamp.size, tag=file.stamp.tag, headers=headers, open=file.content)
    return content_response(request, content, fault=text_fault, stall_limit=gateway.site.stall_limit)
