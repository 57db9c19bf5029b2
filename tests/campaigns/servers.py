"""PostgreSQL and Valkey as a campaign needs them: on the loopback interface, to be killed, restarted and emptied."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from gateway.embedded.binaries import postgres_programs, valkey_program
from gateway.embedded.identity import Identity, Same, choose_identity, entering, own
from tests.campaigns import survey
from tests.support.servers import migrate
from tests.support.stock import free_port, wait_until_open, wait_until_started

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # Only processes are killed here, never the machine: what the kernel holds is safe, and no run waits for the disk.
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "client_connection_check_interval": "1s",  # as the embedded server has it (F1)
    "jit": "off",
    "timezone": "UTC",
}


def wait_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process has ended within a time."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Postgres:
    """A PostgreSQL server that is restarted as a crash restarts it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._programs = postgres_programs()
        self.data = home / "data"
        self.port = free_port()
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity = choose_identity(self.data, home, self._programs / "postgres")

    @property
    def url(self) -> str:
        """URL of the gateway's database, for the campaign's own eyes."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/gateway"

    @property
    def maintenance_url(self) -> str:
        """URL of the superuser's database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """Make an empty cluster."""
        self.data.mkdir(mode=0o700)
        own(self._identity, self._home)
        subprocess.run(
            [
                self._programs / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                "--locale=C", "--no-sync", "--no-instructions",
            ],
            check=True, stdout=subprocess.DEVNULL, cwd="/", preexec_fn=self._identity.enter, env={"LC_ALL": "C"},
        )  # fmt: skip

    def copy_from(self, template: Path) -> None:
        """Take a cluster that was made earlier, and is stopped."""
        shutil.copytree(template, self.data)
        own(self._identity, self._home)

    def start(self) -> None:
        """Start it; it may not take connections yet."""
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (self._home / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, "-p", str(self.port), "-k", self._home, *options],
                stderr=log, stdout=log, cwd="/", preexec_fn=entering(self._identity, signal.SIGINT), env={"LC_ALL": "C"},
            )  # fmt: skip

    async def wait_ready(self) -> None:
        """Wait until it lets one in."""
        await asyncio.to_thread(wait_until_open, self.port)
        await wait_until_started(self.maintenance_url)

    async def restart_at_once(self) -> None:
        """Do what ``pg_ctl restart -m immediate`` does: no farewell to anybody, and recovery from the log."""
        await asyncio.to_thread(self.end, signal.SIGQUIT)
        self.restarts += 1
        self.start()  # in this thread: the kernel ends the server with the thread that started it
        await self.wait_ready()

    def end(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT in order, SIGQUIT at once."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        if not wait_ended(process, 20):
            process.kill()
            process.wait()


class Valkey:
    """A Valkey that forgets everything when it is restarted: it keeps no log."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.port = free_port()
        self.flushes = 0
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty."""
        words = (
            f"--port {self.port} --bind 127.0.0.1 --appendonly no --maxmemory-policy noeviction "
            "--loglevel warning --set-proc-title no --daemonize no --protected-mode no"
        )
        with (self._home / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(valkey_program()), *words.split(), "--save", "", "--dir", str(self._home)],
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=entering(Same(), signal.SIGKILL),
            )

    def flush(self) -> None:
        """Take everything from it."""
        from redis import Redis

        with Redis(port=self.port, socket_timeout=5) as client:
            client.flushall()
        self.flushes += 1

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let it refuse every write for want of memory."""
        from redis import Redis

        with Redis(port=self.port, socket_timeout=5) as client:
            client.config_set("maxmemory", 1)
            try:
                yield
            finally:
                client.config_set("maxmemory", 0)

    def dump(self) -> list[str]:
        """All that it holds, as text."""
        from redis import Redis

        with Redis(port=self.port, socket_timeout=5) as client:
            return [f"{key!r}: {client.dump(key)!r}" for key in client.scan_iter()]

    def restart_empty(self) -> None:
        """Kill it and start another one at the same port."""
        self.end(signal.SIGKILL)
        self.restarts += 1
        self.start()
        wait_until_open(self.port)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Stop it."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(20)


@contextmanager
def folder(prefix: str) -> Iterator[Path]:
    """Hold a folder with a short name that any user may pass: sockets lie in it."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@cache
def template() -> Path:
    """Folder of a stopped cluster with the gateway's schema and the campaign's tables; made once in a process.

    Call it outside of event loops: it runs some of its own.
    """
    import atexit

    home = Path(tempfile.mkdtemp(prefix="gw-ct-", dir="/tmp"))
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(home, ignore_errors=True) if os.getpid() == owner else None)
    server = Postgres(home)
    server.make()
    server.start()
    try:
        asyncio.run(server.wait_ready())
        asyncio.run(survey.create_database(server.maintenance_url))
        migrate(server.url)
        asyncio.run(survey.create_tables(server.url))
        survey.publish(server.url)
    finally:
        server.end()
    return server.data
