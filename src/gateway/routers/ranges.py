"""Bytes that stay as they are, over HTTP: whole or a range of them, with validators (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from fastapi import Request, Response

from gateway.routers.respond import Fault, Stream, StreamedResponse

_RANGE = re.compile(r"\s*bytes\s*=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*\Z")
"""One range; several at once are answered with the whole file, as RFC 9110 allows."""

OpenSpan = Callable[[range], AbstractAsyncContextManager[AsyncGenerator[bytes, None]]]
"""Holds the bytes of a span open, to be read in pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is to be served."""

    size: int
    """Bytes."""
    tag: str
    """Strong ETag, with its quotes."""
    headers: Mapping[str, str]
    """Headers that tell what it is; those about ranges and validators are added."""
    open: OpenSpan


def content_response(request: Request, content: Content, *, fault: Fault, stall_limit: timedelta) -> Response:
    """Answer to GET and HEAD with ``Range``, ``If-Range`` and ``If-None-Match``."""
    headers = {**content.headers, "Accept-Ranges": "bytes", "ETag": content.tag, "X-Content-Type-Options": "nosniff"}
    if is_known(request, content.tag):
        return Response(status_code=304, headers={"ETag": content.tag, "Cache-Control": headers["Cache-Control"]})
    part = _range(request, content.tag, content.size)
    if part is not None and part.start >= part.stop:
        return Response(
            f"The file has {content.size} bytes\n",
            416,
            {"Content-Range": f"bytes */{content.size}", "Cache-Control": "no-store"},
            "text/plain; charset=utf-8",
        )
    status = 200 if part is None else 206
    span = range(content.size) if part is None else part
    if part is not None:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{content.size}"
    headers["Content-Length"] = str(len(span))
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)

    async def open_stream(held: AsyncExitStack) -> Stream:
        return Stream(headers, await held.enter_async_context(content.open(span)), status)

    return StreamedResponse(open_stream, fault=fault, stall_limit=stall_limit)


def disposition(kind: str, name: str) -> str:
    """Content-Disposition that offers a file name, whatever characters it has (RFC 6266)."""
    return f"{kind}; filename*=UTF-8''{quote(name, safe='')}"


def is_known(request: Request, tag: str) -> bool:
    """Whether If-None-Match names these bytes; weak and strong tags compare alike (RFC 9110, 13.1.2)."""
    tags = {item.strip().removeprefix("W/") for item in request.headers.get("if-none-match", "").split(",")}
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
