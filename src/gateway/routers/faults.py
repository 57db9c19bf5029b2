"""How an error looks: one table per protocol, most exact class first, and nothing else decides a status."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
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
    NoOverlapError,
    NotFoundError,
    QuotaError,
    ServiceError,
    TimeLimitError,
    TransientError,
    UsageError,
)
from gateway.vo import scs, soda
from gateway.vo.votable import error_document

Faults = tuple[tuple[type[Exception], int], ...]

log = structlog.get_logger()

TEXT = "text/plain; charset=utf-8"

FAULT_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (NotFoundError, "NotFoundFault"),
    (TransientError, "TransientFault"),
    (QuotaError, "TransientFault"),
    (UsageError, "UsageFault"),
    (RequestValidationError, "UsageFault"),
    (ServiceError, "FatalFault"),
    (Exception, "DefaultFault"),
)
"""Words of SIA and DataLink, most exact class first (SIA 2.0, "Errors"; DataLink 1.1, "Errors")."""

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


def sia_fault(error: Exception, *, is_text: bool = False) -> Response:
    """Render an error as SIA does: its word and what happened, in a VOTable or, with CSV and TSV, as text (SIA2-13)."""
    return _named_fault(error, is_text=is_text)


def datalink_fault(error: Exception) -> Response:
    """Render an error of the whole request as DataLink does (DL-13)."""
    return _named_fault(error, is_text=False)


def _named_fault(error: Exception, *, is_text: bool) -> Response:
    message = f"{fault_word(error)}: {public_message(error)}"
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers_of(error)}
    if is_text:
        return Response(message + "\n", status_of(error, TAP), headers, TEXT)
    return Response(error_document(message), status_of(error, TAP), headers, "application/x-votable+xml")


def fault_word(error: Exception) -> str:
    """Word with which errors of SIA and DataLink begin (DALI 1.1, "Errors")."""
    return next(word for kind, word in FAULT_WORDS if isinstance(error, kind))


def scs_fault(error: Exception) -> Response:
    """Render an error as Simple Cone Search does: a VOTable with an INFO ``Error`` (SCS-11).

    The standard speaks of a document and not of a status, and TOPCAT and STILTS read the document of a 200 only: of a 400
    they tell the number and the URL. So what the caller can mend is told with status 200; a table that is not there,
    overload and our own faults keep the status that proxies and scripts go by.
    """
    if isinstance(error, ServiceError):
        log.error("Request failed", exc_info=error)
    return Response(
        scs.error_document(public_message(error)),
        200 if isinstance(error, UsageError) else status_of(error, TAP),
        {"Cache-Control": "no-store", **headers_of(error)},
        scs.CONTENT_TYPE,
    )


def soda_fault(error: Exception) -> Response:
    """Render an error as SODA does: text that begins with its word; nothing at all without overlap (SODA-12, SODA-13)."""
    if isinstance(error, NoOverlapError):
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    return Response(
        soda.fault_text(error, public_message(error)),
        status_of(error, TAP),
        {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers_of(error)},
        TEXT,
    )


def text_fault(error: Exception) -> Response:
    """Render an error as UWS and VOSI do: one line of plain text."""
    return Response(
        public_message(error) + "\n",
        status_of(error, TAP),
        {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers_of(error)},
        TEXT,
    )


def problem_fault(error: Exception) -> Response:
    """Render an error as our own interface does: a problem in JSON (RFC 9457)."""
    if isinstance(error, ServiceError):
        log.error("Request failed", exc_info=error)
    status = status_of(error, TAP)
    problem = {"title": HTTPStatus(status).phrase, "status": status, "detail": public_message(error)}
    return Response(
        json.dumps(problem),
        status,
        {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers_of(error)},
        "application/problem+json",
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
