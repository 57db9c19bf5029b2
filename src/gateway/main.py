"""The web application."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from gateway import __version__
from gateway.context import open_context
from gateway.log import configure_logs
from gateway.routers import datalink, files, health, home, scs, sia, soda, tap
from gateway.routers.api import jobs
from gateway.routers.deps import LOOPBACK, Gateway, Site
from gateway.settings import Settings
from gateway.vo.capabilities import TapLimits


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application; it opens its databases when it starts and closes them when it stops."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logs(settings)
        async with open_context(settings) as context:
            app.state.gateway = Gateway(
                site=make_site(settings),
                queries=context.queries,
                discovery=context.discovery,
                cones=context.cones,
                links=context.links,
                cutouts=context.cutouts,
                files=context.files,
                jobs=context.jobs,
                tables=context.tables,
            )
            app.state.stop_waiting = context.jobs.stop_waiting
            yield

    app = FastAPI(
        title=settings.title,
        version=__version__,
        summary="Virtual Observatory services: TAP 1.1 with ADQL, Cone Search, SIA 2, SODA, DataLink, UWS jobs",
        lifespan=lifespan,
        root_path=settings.base_path,
    )
    for router in (
        home.router,
        *tap.routers,
        *sia.routers,
        *scs.routers,
        *datalink.routers,
        *soda.routers,
        jobs.router,
        files.router,
        health.router,
    ):
        app.include_router(router)
    return app


def make_site(settings: Settings) -> Site:
    """Say how the service is reached, from the settings."""
    return Site(
        title=settings.title,
        version=__version__,
        public_base_url=settings.public_base_url,
        allowed_hosts=frozenset(name.lower() for name in settings.allowed_hosts) or own_names(settings.host),
        base_path=settings.base_path,
        is_local=settings.public_base_url is None and settings.host in LOOPBACK,
        request_max_bytes=settings.request_max_bytes,
        stall_limit=settings.stall_limit,
        tap_limits=TapLimits(
            maxrec_default=settings.maxrec_default,
            maxrec_hard=settings.maxrec_hard,
            execution_duration_default=settings.execution_duration_default,
            execution_duration_hard=settings.execution_duration_hard,
            retention_default=settings.retention_default,
            retention_hard=settings.retention_hard,
            upload_max_rows=settings.upload_max_rows,
            sync_time_limit=settings.sync_time_limit if settings.capabilities_by_mode else None,
        ),
    )


def own_names(host: str) -> frozenset[str]:
    """Names and addresses of this machine, lower case: what a Host header may say when nothing else is set."""
    names = {*LOOPBACK, host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    with suppress(OSError):  # a machine that cannot resolve its own name still has the others
        names |= {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    return frozenset(names)
