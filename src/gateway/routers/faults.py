"""How an error looks: one table per protocol, most exact class first, and nothing else decides a status."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from typing_extensions import override

from gateway.errors import (
    AuthenticationError,
    AuthorizationError,
    GatewayError,
    IllegalMoveError,
    NotFoundError,
    QuotaError,
    ServiceError,
    TimeLimitError,
    TransientError,
    UsageError,
)
from gateway.vo.votable import error_document

Faults = tuple[tuple[type[Exception], int], ...]

log = structlog.get_logger()

TAP: Faults = (
    (IllegalMoveError, 403),  # UWS-2: illegal in this phase
    (NotFoundError, 404),
    (AuthenticationError, 401),
    (AuthorizationError, 403),
    (QuotaError, 429),
    (TimeLimitError, 408),  # a status that programs can tell from other failures
    (TransientError, 503),
    (UsageError, 400),
    (Exception, 500),
)
"""TAP 1.1, "Errors", and UWS 1.1: the body is a VOTable (TAP) or plain text (UWS)."""


def status_of(error: Exception, faults: Faults) -> int:
    """HTTP status of an error."""
    return next(status for kind, status in faults if isinstance(error, kind))


def public_message(error: Exception) -> str:
    """Text that may go out; what is our own fault is logged and told by an incident only."""
    match error:
        case GatewayError():
            return error.message
        case RequestValidationError():
            return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        case _:
            log.error("Request failed", exc_info=error)
            return "The service failed to answer; its log holds the reason. Trying again may help."


def headers_of(error: Exception) -> dict[str, str]:
    """Headers that belong to an error, such as Retry-After."""
    match error:
        case QuotaError() | TransientError():
            return {"Retry-After": str(error.retry_after_s)}
        case _:
            return {}


def votable_fault(error: Exception) -> Response:
    """Render an error as TAP does: a VOTable with QUERY_STATUS=ERROR (TAP-58)."""
    if isinstance(error, ServiceError):
        log.error("Request failed", exc_info=error)
    return Response(
        error_document(public_message(error)),
        status_of(error, TAP),
        {"Cache-Control": "no-store", **headers_of(error)},
        "application/x-votable+xml",
    )


def text_fault(error: Exception) -> Response:
    """Render an error as UWS and VOSI do: one line of plain text."""
    return Response(
        public_message(error) + "\n",
        status_of(error, TAP),
        {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers_of(error)},
        "text/plain; charset=utf-8",
    )


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def fault_route(render: Callable[[Exception], Response]) -> type[APIRoute]:
    """Make the route class of a protocol: whatever a handler raises is rendered by ``render``."""

    class FaultRoute(APIRoute):
        @override
        def get_route_handler(self) -> Handler:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await handler(request)
                except (GatewayError, RequestValidationError) as e:
                    return render(e)
                except Exception as e:  # noqa: BLE001 - the edge: no error leaves without a document
                    return render(e)

            return handle

    return FaultRoute
