"""For the orchestrator: is the process alive, can it do its work."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from gateway.routers.deps import GatewayDep

router = APIRouter(prefix="/healthz", tags=["health"])


@router.get("/live", summary="The process answers")
async def live() -> Response:
    """Answer, which is all that a liveness probe asks."""
    return PlainTextResponse("alive\n")


@router.get("/ready", summary="The databases answer")
async def ready(gateway: GatewayDep) -> Response:
    """Answer 200 when the databases do, else 503 with what is missing."""
    fault = await gateway.queries.fault()
    return PlainTextResponse("ready\n") if fault is None else PlainTextResponse(f"{fault}\n", 503, {"Retry-After": "5"})
