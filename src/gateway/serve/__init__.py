"""``gateway serve``: one parent that starts everything, keeps it running and stops it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from gateway.embedded import Lease, resolve, take_lease
from gateway.errors import GatewayError, UsageError
from gateway.serve.claims import HANDOVER, Claim, claim_home, listen, local_url, running_service, service_url
from gateway.serve.environment import environment
from gateway.serve.progress import Progress
from gateway.serve.supervisor import Supervisor
from gateway.settings import Settings

__all__ = ["migrate", "running_service", "serve", "service_url"]

EXIT_FAULT = 1
EXIT_USAGE = 2


def serve(
    settings: Settings,
    *,
    with_worker: bool = True,
    prepare: Callable[[Settings], None] | None = None,
    ready: Callable[[str], None] | None = None,
    application: str = "gateway.main:create_app",
    worker: str = "gateway.jobs.worker",
) -> int:
    """Run the API and a job worker until a signal comes.

    Parameters
    ----------
    settings
        Settings in force; embedded servers stand in for URLs that are not set.
    with_worker
        Whether to run a job worker here.
    prepare
        Called with the settings, every URL set, when the databases are migrated and nothing is served yet.
    ready
        Called with the service's local URL once it answers, in a thread.
    application, worker
        What an API process serves (factory of an ASGI application, ``module:name``) and the worker's module.

    Returns
    -------
    int
        Exit code: 0 after SIGINT or SIGTERM; 2 when the port or the home folder is taken; 1 for other faults. The
        reason was printed.
    """
    service = Service(settings, application, worker if with_worker else None, Progress(sys.stderr))
    with terminable():
        try:
            return service.run(prepare, ready)
        except GatewayError as e:
            service.progress.say(f"gateway: {e.message}")
            return EXIT_USAGE if isinstance(e, UsageError) else EXIT_FAULT
        except KeyboardInterrupt:
            service.progress.say("Stopped.")
            return 0


@dataclass(frozen=True)
class Service:
    """Everything that one ``gateway serve`` runs."""

    settings: Settings
    application: str
    worker: str | None
    progress: Progress

    def run(self, prepare: Callable[[Settings], None] | None, ready: Callable[[str], None] | None) -> int:
        """Claim what only one can have, then start; returns the exit code."""
        settings = self.settings
        with claim_home(settings.home_path) as claim, self.listen(claim) as listener:
            url = local_url(listener, settings.base_path)
            claim.announce(url)
            with self.embedded_servers() as (lease, filled):
                resolved = filled.model_copy(update={"home": settings.home_path, "port": listener.getsockname()[1]})
                with self.progress.step("Checking the databases"):
                    migrate(resolved)
                if prepare:
                    prepare(resolved)
                self.progress.say("Starting the service")
                return asyncio.run(
                    self.supervise(resolved, listener, lease, lambda: self.announce(url, ready), claim.announce_stop)
                )

    def listen(self, claim: Claim) -> socket.socket:
        """Claim the port; processes of a service that was killed are given the time to let go of it."""
        patience = HANDOVER if claim.follows_a_crash else 0
        return listen(self.settings.host, self.settings.port, patience=patience)

    async def supervise(
        self,
        resolved: Settings,
        listener: socket.socket,
        lease: Lease | None,
        announce: Callable[[], None],
        announce_stop: Callable[[], None],
    ) -> int:
        """Run the processes until a signal comes; returns the exit code."""
        supervisor = Supervisor(
            announce=announce,
            announce_stop=announce_stop,
            listener=listener,
            environment=environment(resolved),
            application=self.application,
            worker=self.worker,
            api_processes=resolved.api_processes,
            lease=lease,
            progress=self.progress,
        )
        return await supervisor.run()

    @contextmanager
    def embedded_servers(self) -> Iterator[tuple[Lease | None, Settings]]:
        """Hold the embedded servers that the settings call for; they stop with us, if nobody else uses them."""
        settings = self.settings
        postgres, valkey = settings.database_url is None, settings.redis_url is None
        if not (postgres or valkey):
            yield None, settings
            return
        with self.progress.step(f"Starting the embedded servers in {settings.home_path}") as tell:
            lease = take_lease(settings.home_path, postgres=postgres, valkey=valkey, progress=tell)
        try:
            yield lease, resolve(settings, lease.servers)
        finally:
            lease.stop()

    def announce(self, url: str, ready: Callable[[str], None] | None) -> None:
        """Say where the service is."""
        self.progress.say(f"Serving {self.settings.public_base_url or url} (stop with Ctrl-C)")
        if self.settings.public_base_url:
            self.progress.say(f"Listening on {url}")
        if ready:
            ready(url)


def migrate(settings: Settings) -> None:
    """Bring the databases to this version's schema; every URL is set."""
    from gateway.db import migrate as migrating

    urls = settings.urls()
    migrating.upgrade(control_url=urls.control, catalog_url=urls.catalog_admin, query_url=urls.catalog)


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM do what Ctrl-C does, while no event loop looks after it."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
