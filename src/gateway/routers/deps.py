"""What handlers are given: the services, the caller, the URL that clients see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, cast

from fastapi import Depends, Request

from gateway.errors import ParameterError
from gateway.jobs.service import JobService
from gateway.services.access import Caller
from gateway.services.cones import ConeService
from gateway.services.cutouts import CutoutService
from gateway.services.datafiles import DataFileService
from gateway.services.discovery import DiscoveryService
from gateway.services.links import LinkService
from gateway.services.queries import QueryService
from gateway.services.sidecars import StoredTables
from gateway.vo.capabilities import TapLimits

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class Site:
    """How this service is reached and what it allows, as HTTP needs to know it."""

    title: str
    version: str
    public_base_url: str | None
    """URL that clients see; ``None``: the Host header is used if `allowed_hosts` has it."""
    allowed_hosts: frozenset[str]
    base_path: str
    is_local: bool
    """Whether only programs of this machine reach it: no public URL is set and it listens on loopback."""
    request_max_bytes: int
    stall_limit: timedelta
    tap_limits: TapLimits


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The services behind the handlers."""

    site: Site
    queries: QueryService
    discovery: DiscoveryService
    cones: ConeService
    links: LinkService
    cutouts: CutoutService
    files: DataFileService
    jobs: JobService
    tables: StoredTables


async def gateway(request: Request) -> Gateway:
    """Give the services that the application was made with."""
    return cast("Gateway", request.app.state.gateway)


GatewayDep = Annotated[Gateway, Depends(gateway)]


async def base_url(request: Request, gateway: GatewayDep) -> str:
    """URL under which clients see this service, without a trailing slash.

    It never comes from an unchecked Host header (reliability R11).

    Raises
    ------
    ParameterError
        No public URL is set and the Host header names a host that is not allowed.
    """
    site = gateway.site
    if site.public_base_url:
        return site.public_base_url + site.base_path
    host = request.headers.get("host", "")
    if host_name(host) not in site.allowed_hosts:
        raise ParameterError(
            "Host",
            host,
            "this name is not known here; the operator sets GATEWAY_PUBLIC_BASE_URL, or adds it to GATEWAY_ALLOWED_HOSTS",
        )
    return f"{request.url.scheme}://{host}{site.base_path}"


def host_name(host: str) -> str:
    """Name or address of a Host header, lower case, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower() if host.count(":") == 1 else host.lower()


BaseUrl = Annotated[str, Depends(base_url)]


async def caller(request: Request, gateway: GatewayDep, base: BaseUrl) -> Caller:
    """Tell who asks. Nobody has an account yet: every caller is anonymous and known by address only."""
    address = request.client.host if request.client else None
    key = "local" if gateway.site.is_local else address or "unknown"
    return Caller(key=key, account=None, address=address, base_url=base)


CallerDep = Annotated[Caller, Depends(caller)]
