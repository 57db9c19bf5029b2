"""A whole gateway under fire: servers behind fault proxies, two API processes, four workers, and signals to each of them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx

from gateway.embedded.identity import die_with_parent
from tests.campaigns.proxy import FaultProxy
from tests.campaigns.servers import Postgres, Valkey, folder, template, wait_ended
from tests.support.stock import wait_until_open

CANARY = "canary-8f1d0c5e27"
"""Password of the database, which must never be seen anywhere (I9)."""

LEASE_S = 3.0
"""A worker that is silent for so long has lost its job; thirty seconds in production."""

SWEEP_AGE_S = 6.0
"""Age at which objects that no row names are removed."""

SETTINGS = {
    "LEASE": f"{LEASE_S}s",
    "HEARTBEAT": "0.6s",
    "POLL_INTERVAL": "1s",
    "SWEEP_AGE": f"{SWEEP_AGE_S}s",
    "STALL_LIMIT": "3s",
    "SLOT_PATIENCE": "5s",
    "WORKER_SLOTS": "2",
    "WORKER_CUTOUT_SLOTS": "0",  # no images here
    "SYNC_SLOTS": "8",
    "JOBS_PER_OWNER": "1000",
    "QUEUE_CAP_PER_OWNER": "100000",
    "QUEUE_CAP_TOTAL": "100000",
    "RESULTS_RESERVE_BYTES": "0",
    "CHILD_MEMORY_BYTES": str(1 << 30),
    "LOG_FORMAT": "json",
}
"""Settings of all processes: short leases, so that what takes minutes in production takes seconds here."""


TRACE = re.compile(r"^Traceback \(most recent call last\):\n(?:[ +|].*\n|\n)*(\S.*)$", re.MULTILINE)
"""A trace that nobody has put into an event, to its last line."""

Objects = Callable[[], dict[str, int]]
"""Lists the result store as it is, past the gateway: keys, and sizes in bytes."""


@dataclass(eq=False)
class Process:
    """A process of the gateway, and what it is."""

    kind: str
    number: int
    popen: subprocess.Popen[bytes]
    is_frozen: bool = False
    is_ready: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.popen.poll() is None

    def kill(self) -> None:
        """Kill it, as no orchestrator should."""
        self.popen.kill()
        self.popen.wait()

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does; its children go on."""
        self.is_frozen = True
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, as if nothing had been."""
        self.is_frozen = False
        self.popen.send_signal(signal.SIGCONT)


class Site:
    """Everything that a campaign runs against, and the faults that it can do to it."""

    database_proxy: FaultProxy
    valkey_proxy: FaultProxy
    client: httpx.AsyncClient

    def __init__(
        self, home: Path, seed: int, *, settings: dict[str, str], environment: dict[str, str], objects: Objects | None
    ) -> None:
        self.home = home
        self.seed = seed
        self.random = random.Random(seed)
        self.results = settings.get("RESULTS", str(home / "results"))
        """Result store: a folder, or the URL of another one."""
        self.objects = objects or self._files
        self.postgres = Postgres(home)
        self.valkey = Valkey(home)
        self.counts: Counter[str] = Counter()
        """Faults that were done, by name."""
        self.api: list[Process] = []
        self.workers: list[Process] = []
        self._settings = settings
        self._more = environment
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._lifeline = os.pipe()
        self._numbers: Counter[str] = Counter()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        seed: int,
        *,
        workers: int = 4,
        api: int = 2,
        settings: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        objects: Objects | None = None,
    ) -> AsyncIterator[Self]:
        """Hold a gateway that is ready for work.

        Parameters
        ----------
        seed
            Of all lots that are drawn.
        workers, api
            How many processes.
        settings, environment
            More settings, without their prefix, and other variables.
        objects
            Lists the result store where it is no folder.
        """
        made = await asyncio.to_thread(template)
        with folder("gw-c-") as home:
            site = cls(home, seed, settings=settings or {}, environment=environment or {}, objects=objects)
            async with AsyncExitStack() as stack:
                stack.callback(site._end_all)
                await asyncio.to_thread(site.postgres.copy_from, made)
                site.postgres.start()
                site.valkey.start()
                await site.postgres.wait_ready()
                await asyncio.to_thread(wait_until_open, site.valkey.port)
                site.database_proxy = await stack.enter_async_context(FaultProxy.open(site.postgres.port, site.random))
                site.valkey_proxy = await stack.enter_async_context(FaultProxy.open(site.valkey.port, site.random))
                site.client = await stack.enter_async_context(
                    httpx.AsyncClient(
                        base_url=site.url, timeout=30, limits=httpx.Limits(max_connections=64, keepalive_expiry=2)
                    )
                )
                await asyncio.gather(*(site.start_api() for _ in range(api)))
                site.start_workers(workers)
                await site.wait_workers()
                yield site

    @property
    def port(self) -> int:
        """Where the API listens."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Base URL of the gateway."""
        return f"http://127.0.0.1:{self.port}"

    # -- processes ----------------------------------------------------------------------------------------

    async def start_api(self) -> Process:
        """Start an API process on the shared socket; returns when it answers."""
        reading, writing = os.pipe()
        descriptors = (self._listener.fileno(), writing, self._lifeline[0])
        process = self._spawn(
            "api", "gateway.serve.api", "gateway.main:create_app", *map(str, descriptors), pass_fds=descriptors
        )
        os.close(writing)
        self.api.append(process)
        try:
            async with asyncio.timeout(60):
                if not await asyncio.to_thread(os.read, reading, 1):
                    raise RuntimeError(f"an API process did not start: {self.log_of(process).read_text()[-2000:]}")
        finally:
            os.close(reading)
        return process

    def start_workers(self, count: int = 1) -> list[Process]:
        """Start workers; they claim when they are ready."""
        new = [self._spawn("worker", "gateway.jobs.worker") for _ in range(count)]
        self.workers += new
        return new

    async def wait_workers(self, patience_s: float = 60) -> None:
        """Wait until every living worker has said that it works."""
        async with asyncio.timeout(patience_s):
            for worker in self.workers:
                while worker.is_alive and not self.is_ready(worker):
                    await asyncio.sleep(0.05)

    def is_ready(self, worker: Process) -> bool:
        """Whether a worker has said that it works."""
        worker.is_ready = worker.is_ready or "Worker started" in self.log_of(worker).read_text()
        return worker.is_ready

    def living_workers(self) -> list[Process]:
        """Workers that run, and are not frozen."""
        return [worker for worker in self.workers if worker.is_alive and not worker.is_frozen]

    async def busy_workers(self) -> list[Process]:
        """Living workers that hold a part now: a worker's name in its row has its process id."""
        names = await self.fetch("SELECT DISTINCT worker FROM gateway.job_part WHERE run_state = 'running'")
        pids = {word for row in names for word in str(row["worker"]).split(":")}
        return [worker for worker in self.living_workers() if str(worker.pid) in pids]

    def kill_children(self, worker: Process) -> int:
        """Kill a worker's children; returns how many there were."""
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        return len(children)

    async def end_in_order(self, process: Process, patience_s: float = 25) -> float:
        """Send SIGTERM, and wait for the end; returns the seconds it took."""
        started = time.monotonic()
        process.popen.send_signal(signal.SIGTERM)
        if not await asyncio.to_thread(wait_ended, process.popen, patience_s):
            process.kill()
        return time.monotonic() - started

    def log_of(self, process: Process) -> Path:
        """Where a process writes its events."""
        return self.home / f"{process.kind}-{process.number}.log"

    def _spawn(self, kind: str, module: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Process:
        self._numbers[kind] += 1
        process = Process(kind, self._numbers[kind], None)  # type: ignore[arg-type]  # a moment later
        parent = os.getpid()

        def before() -> None:
            os.setsid()
            die_with_parent(signal.SIGKILL, parent)

        with self.log_of(process).open("ab") as log:
            process.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                preexec_fn=before,
                pass_fds=pass_fds,
            )
        return process

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")} | self._more
        database = f"postgresql://postgres:{CANARY}@127.0.0.1:{self.database_proxy.port}/gateway?sslmode=disable"
        ours = {
            "HOME": str(self.home / "home"),
            "RESULTS": self.results,
            "DATABASE_URL": database,
            "REDIS_URL": f"redis://127.0.0.1:{self.valkey_proxy.port}",
        }
        return inherited | {f"GATEWAY_{name}": text for name, text in (SETTINGS | ours | self._settings).items()}

    def _end_all(self) -> None:
        """End everything that was started, the frozen too."""
        living = [process for process in (*self.workers, *self.api) if process.is_alive]
        for process in living:
            with suppress(ProcessLookupError):
                process.popen.send_signal(signal.SIGCONT)
                process.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 8
        for process in living:
            if not wait_ended(process.popen, max(0.0, deadline - time.monotonic())):
                process.kill()
        self._listener.close()
        for descriptor in self._lifeline:
            os.close(descriptor)
        self.valkey.end()
        self.postgres.end(signal.SIGQUIT)

    # -- looking ------------------------------------------------------------------------------------------

    async def fetch(self, query: str, *parameters: object) -> list[Any]:
        """Rows of the gateway's database, read past the proxy."""
        connection = await asyncpg.connect(
            self.postgres.url, timeout=10, server_settings={"application_name": "campaign"}
        )
        try:
            return list(await connection.fetch(query, *parameters))
        finally:
            await connection.close(timeout=5)

    async def value(self, query: str, *parameters: object) -> Any:
        """First value of the first row."""
        return (await self.fetch(query, *parameters))[0][0]

    def _files(self) -> dict[str, int]:
        root = Path(self.results)
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in root.rglob("*") if path.is_file()}

    def events(self) -> Iterator[dict[str, Any]]:
        """Events that all processes logged, living and dead, as they wrote them."""
        for path in sorted(self.home.glob("*-*.log")):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("{"):
                    with suppress(ValueError):  # a line that a kill cut
                        yield json.loads(line) | {"process": path.stem}

    def event_counts(self) -> Counter[str]:
        """How often each event was logged."""
        return Counter(str(event.get("event")) for event in self.events())

    def tracebacks(self) -> list[str]:
        """What went wrong without being caught: which process, and the last line of each trace."""
        found = [
            f"{e['process']}: {e.get('event')}: {str(e['exception'])[-300:]}" for e in self.events() if "exception" in e
        ]
        for path in sorted(self.home.glob("*-*.log")):
            text = path.read_text(errors="replace")
            found += [f"{path.stem}: {trace}" for trace in TRACE.findall(text)]
        return found
