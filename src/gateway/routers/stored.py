"""What jobs left and what came with them, from the result store: through us, or by a signed URL of the store."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import structlog
from fastapi import Request, Response

from gateway.errors import GatewayError, ServiceError
from gateway.jobs.models import Result, Upload
from gateway.routers.deps import Gateway
from gateway.routers.faults import text_fault
from gateway.routers.ranges import Content, content_response, disposition, is_known
from gateway.vo.formats.base import TruncatedError

log = structlog.get_logger()

UNTRUSTED = "application/octet-stream"
"""Media type of what strangers uploaded: no program is to make something of it by itself (A15)."""


async def result_response(request: Request, gateway: Gateway, result: Result, media_type: str) -> Response:
    """Give a result as it was stored; takes ``Range``, ``If-Range`` and ``If-None-Match``."""
    tag = _tag(result.sha256 or f"{result.key} {result.size}")
    offer = disposition("inline", result.key.rpartition("/")[2])
    headers = {"Content-Type": media_type, "Content-Disposition": offer}
    if result.sha256 is not None:  # RFC 9530: lets a client find out that it has all of it, however it came
        headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(result.sha256)).decode()}:"
    content = await _content(gateway, result.key, result.size, tag, headers)
    if request.method == "GET" and not is_known(request, tag):
        url = await gateway.jobs.sign_stored(result.key, media_type=media_type, disposition=offer)
        if url is not None:
            return Response(status_code=303, headers={"Location": url, "Cache-Control": "no-store"})
    return content_response(request, content, fault=text_fault, stall_limit=gateway.site.stall_limit)


async def upload_response(request: Request, gateway: Gateway, upload: Upload) -> Response:
    """Give a file back as it was uploaded."""
    headers = {"Content-Type": UNTRUSTED, "Content-Disposition": disposition("attachment", upload.name)}
    content = await _content(gateway, upload.key, upload.size, _tag(upload.key), headers)
    return content_response(request, content, fault=text_fault, stall_limit=gateway.site.stall_limit)


async def _content(gateway: Gateway, key: str, size: int, tag: str, headers: dict[str, str]) -> Content:
    stored = await gateway.jobs.open_stored(key)
    if stored.size != size:
        log.error("Stored object has another size", key=key, size=size, found=stored.size)
        raise ServiceError("What is stored here is damaged; the operator finds the reason in the log")

    @asynccontextmanager
    async def open_span(span: range) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        async with aclosing(stored.chunks(span.start, span.stop)) as chunks:
            yield _cut_if_broken(chunks, key)

    # Content-Type is a header here: Starlette would add a charset to text, and DALI-34 wants what was asked for.
    headers |= {
        "Cache-Control": "private, no-cache",  # may be kept, and is asked for again: the job may be gone, and with it the right
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",  # of use to HTML (A15)
    }
    return Content(size=size, tag=tag, headers=headers, open=open_span)


async def _cut_if_broken(chunks: AsyncGenerator[bytes, None], key: str) -> AsyncGenerator[bytes, None]:
    """Bytes as they come. What breaks before the first is an error document; later it is a cut body."""
    is_begun = False
    try:
        async for chunk in chunks:
            is_begun = True
            yield chunk
    except GatewayError as e:
        if not is_begun:
            raise
        log.warning("Result broke off", key=key, reason=e.message)
        raise TruncatedError from e


def _tag(identity: str) -> str:
    """Strong ETag: an object is never changed, only replaced by one under another token, and with it its digest or key."""
    return f'"{hashlib.sha256(identity.encode()).hexdigest()[:32]}"'
