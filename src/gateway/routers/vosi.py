"""What lies beside every service: VOSI 1.1 capabilities and availability, and a page for people."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from html import escape
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from gateway.routers.compression import takes_gzip
from gateway.routers.deps import BaseUrl, Gateway, GatewayDep
from gateway.routers.faults import fault_route, text_fault
from gateway.vo import vosi

STARTED = datetime.now(UTC)
"""When this process began to serve: the age of its capabilities, which change only with the program."""

XML = "text/xml; charset=utf-8"

Document = Callable[[Gateway, str], bytes]
"""Makes the capabilities document of a service that lies at a URL."""


@dataclass(frozen=True, slots=True)
class About:
    """What a person reads who opens the URL of a service."""

    title: str
    text: str
    resources: tuple[tuple[str, str], ...] = ()
    """Names below the URL, and what each is, besides those of VOSI."""


def kept_document(request: Request, body: bytes, media_type: str = XML) -> Response:
    """Answer with a document that changes rarely: a client that has it already is told so (ETag, 304)."""
    # Weak: the document is the same in every content coding. Its own digest, since versions begin anew with a database.
    prepared = _prepare(body)
    headers = {"ETag": f'W/"{prepared.digest}"', "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if _has(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(prepared.gzip, headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)
    return Response(body, headers=headers, media_type=media_type)


class _Prepared(NamedTuple):
    digest: str
    gzip: bytes


@lru_cache(maxsize=32)
def _prepare(body: bytes) -> _Prepared:
    """Digest and packed form of a document; kept, since the same bytes are asked for again and again."""
    return _Prepared(hashlib.blake2b(body, digest_size=16).hexdigest(), gzip.compress(body, mtime=0))


def _has(request: Request, tag: str) -> bool:
    """Whether a client's If-None-Match names the document; strong and weak tags compare alike."""
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    return bool(known & {"*", tag.removeprefix("W/")})


VOSI_RESOURCES = (("capabilities", "what this service can do"), ("availability", "whether it works now"))


def vosi_router(path: str, tag: str, document: Document, about: About) -> APIRouter:
    """Make the routes for the service at ``path``."""
    router = APIRouter(prefix=path, tags=[tag], route_class=fault_route(text_fault))
    name = path.strip("/")

    @router.head("/capabilities", include_in_schema=False)
    @router.get("/capabilities", summary="What this service can do", operation_id=f"{name}_capabilities")
    async def capabilities(gateway: GatewayDep, base: BaseUrl) -> Response:
        """Describe this service (VOSI 1.1, "Capabilities")."""
        return Response(
            document(gateway, base + path),
            headers={"Last-Modified": format_datetime(STARTED, usegmt=True)},
            media_type=XML,
        )

    @router.get("/availability", summary="Whether this service works now", operation_id=f"{name}_availability")
    async def availability(gateway: GatewayDep) -> Response:
        """Tell whether the database answers (VOSI 1.1, "Availability")."""
        fault = await gateway.queries.fault()
        return Response(
            vosi.availability(available=fault is None, up_since=STARTED, notes=() if fault is None else (fault,)),
            media_type=XML,
            headers={"Cache-Control": "no-store"},
        )

    @router.get("", include_in_schema=False, operation_id=f"{name}_about")
    async def page(gateway: GatewayDep, base: BaseUrl) -> Response:
        """Say what this URL is to a person who opens it (TAP 1.1, "Resources")."""
        url, title = escape(base + path), escape(f"{gateway.site.title}: {about.title}")
        links = "".join(
            f'<li><a href="{url}/{resource}">{resource}</a>: {what}</li>'
            for resource, what in (*about.resources, *VOSI_RESOURCES)
        )
        return HTMLResponse(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1>"
            f"<p><code>{url}</code></p><p>{about.text}</p><ul>{links}</ul></html>"
        )

    return router
