"""Whole files of datasets, with ranges and validators (RFC 9110)."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response

from gateway.routers.deps import CallerDep, GatewayDep
from gateway.routers.faults import fault_route, text_fault
from gateway.routers.respond import Stream, StreamedResponse
from gateway.services.datafiles import DataFile
from gateway.vo import paths

router = APIRouter(prefix=paths.DATA, tags=["Files"], route_class=fault_route(text_fault))

_RANGE = re.compile(r"\s*bytes\s*=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*\Z")
"""One range; several at once are answered with the whole file, as RFC 9110 allows."""

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
    headers = _headers(file)
    if _names(request.headers.get("if-none-match", ""), file.stamp.tag):
        return Response(status_code=304, headers={"ETag": file.stamp.tag})
    size = file.stamp.size
    part = _range(request, file.stamp.tag, size)
    if part is not None and part.start >= part.stop:
        return Response(
            f"The file has {size} bytes\n",
            416,
            {"Content-Range": f"bytes */{size}", "Cache-Control": "no-store"},
            "text/plain; charset=utf-8",
        )
    status = 200 if part is None else 206
    span = range(size) if part is None else part
    if part is not None:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    headers["Content-Length"] = str(len(span))
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)

    async def open_stream(held: AsyncExitStack) -> Stream:
        content = await held.enter_async_context(file.content(span))
        return Stream(headers, content, status)

    return StreamedResponse(open_stream, fault=text_fault, stall_limit=gateway.site.stall_limit)


def _headers(file: DataFile) -> dict[str, str]:
    return {
        "Content-Type": file.media_type,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
        "Accept-Ranges": "bytes",
        "ETag": file.stamp.tag,
        "Cache-Control": "no-cache",  # may be kept, and is asked for again: the file may be replaced
        "X-Content-Type-Options": "nosniff",
    }


def _names(condition: str, tag: str) -> bool:
    """Whether If-None-Match names this file; weak and strong tags compare alike (RFC 9110, 13.1.2)."""
    tags = {item.strip().removeprefix("W/") for item in condition.split(",")}
    return tag in tags or "*" in tags


def _range(request: Request, tag: str, size: int) -> range | None:
    """Bytes asked for; ``None``: all. Empty if there are none such (RFC 9110, 14)."""
    found = _RANGE.match(request.headers.get("range", ""))
    if found is None or request.headers.get("if-range", tag) != tag:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return range(max(0, size - int(suffix)), size if int(suffix) else 0)
    stop = min(size, int(last) + 1) if last else size
    if last and int(last) < int(first):
        return None  # no valid range: as if it were not there
    return range(int(first), stop)
