"""The two servers: how each is made, started, found ready and stopped."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from gateway.embedded.binaries import postgres_programs, valkey_program
from gateway.embedded.identity import Identity, Same, User, choose_identity, entering, own
from gateway.embedded.layout import POSTGRES_SOCKET, Layout, cannot_write, give_to_owner, open_log
from gateway.embedded.processes import Process, Processes, end_left_behind
from gateway.errors import BackendUnavailableError

POLL = 0.005
"""How often a starting server is asked whether it is ready, seconds: a start takes 30 to 100 ms."""

FAST_SHUTDOWN = (signal.SIGINT, 30.0)
"""PostgreSQL: roll back, write a checkpoint, end. The checkpoint of full buffers on a slow disk takes its time."""

IMMEDIATE_SHUTDOWN = (signal.SIGQUIT, 5.0)
"""PostgreSQL: end now, recover at the next start."""

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
"""All that the servers see of the environment: PG* variables of the user are not meant for them."""


class Server(Protocol):
    """A server that the keeper owns."""

    name: str

    async def start(self, tell: Callable[[str], None]) -> Process:
        """Start it, making its data first if there are none; return when it takes connections."""
        ...

    async def stop(self, process: Process) -> None:
        """Stop it in order, else by force."""
        ...


class Postgres:
    """PostgreSQL on a private socket.

    Parameters
    ----------
    durable
        Whether a COMMIT waits for the disk; only tests say no.
    namespaces
        Whether root may use a user namespace.
    """

    name = "PostgreSQL"

    def __init__(self, layout: Layout, processes: Processes, *, durable: bool, namespaces: bool) -> None:
        self._layout = layout
        self._processes = processes
        self._durable = durable
        self._namespaces = namespaces

    async def start(self, tell: Callable[[str], None]) -> Process:
        """Start it, making the cluster first if there is none; return when it takes connections."""
        programs = postgres_programs()
        data = self._layout.postgres
        identity = choose_identity(data, self._layout.home, programs / "postgres", namespaces=self._namespaces)
        await end_left_behind("postgres", data, polite=signal.SIGINT, patience=30.0)
        if not data.exists():
            tell("Creating the PostgreSQL cluster (once)")
            await self._create(programs, identity)
        tell("Starting PostgreSQL")
        return await self._start(programs, identity)

    async def stop(self, process: Process) -> None:
        """Stop it in order, else at once; the next start recovers."""
        await process.stop(FAST_SHUTDOWN, IMMEDIATE_SHUTDOWN)

    async def _create(self, programs: Path, identity: Identity) -> None:
        """Make the cluster under another name and rename it when it is whole and on disk."""
        new = self._layout.postgres.with_name("postgres.new")
        await _remove(new)
        new.mkdir(mode=0o700)
        try:
            own(identity, new)
            await self._run(identity, programs / "initdb", *initdb_arguments(new))
            (new / "postgresql.conf").write_text(CONFIGURATION)
            write_settings(new, durable=self._durable)
            await self._run(
                identity, programs / "postgres", "--single", "-D", new, "postgres", text=b"CREATE DATABASE gateway;\n"
            )
            if self._durable:
                await self._run(identity, programs / "initdb", "--sync-only", "-D", new)
            new.rename(self._layout.postgres)
            sync_folder(self._layout.home)
        except BaseException:
            await _remove(new)
            raise

    async def _start(self, programs: Path, identity: Identity) -> Process:
        data = self._layout.postgres
        own(identity, data)
        write_settings(data, durable=self._durable)
        sockets = self._layout.sockets
        # No process works in this folder any more, so these name nobody; a reused process id would mislead PostgreSQL.
        for stale in (data / "postmaster.pid", sockets / POSTGRES_SOCKET, sockets / f"{POSTGRES_SOCKET}.lock"):
            stale.unlink(missing_ok=True)
        if isinstance(identity, User):
            give_to_owner(sockets, like=data)
        log = Log(self._layout, "postgres")
        process = self._processes.spawn(
            [programs / "postgres", "-D", data, *listen_arguments(sockets)],
            before=entering(identity, signal.SIGINT),
            env=ENVIRONMENT,
            output=log.descriptor,
        )
        log.close()
        if not await becomes_ready(self, process, partial(is_ready, data)):
            raise BackendUnavailableError(f"PostgreSQL does not start: {log.fault(self._layout.home)}")
        return process

    async def _run(self, identity: Identity, *command: str | Path, text: bytes = b"") -> None:
        """Run one of its programs to its end."""
        log = Log(self._layout, "postgres")
        process = self._processes.spawn(
            command, before=entering(identity, signal.SIGKILL), env=ENVIRONMENT, output=log.descriptor, text=text
        )
        log.close()
        try:
            if await asyncio.shield(process.ended) != 0:
                raise BackendUnavailableError(f"PostgreSQL cannot make its data: {log.fault(self._layout.home)}")
        finally:
            await process.stop()


async def _remove(cluster: Path) -> None:
    """Remove a cluster that is not whole; a child of a killed ``initdb`` may still be writing to it."""
    await end_left_behind("postgres", cluster, polite=signal.SIGKILL, patience=5.0)
    shutil.rmtree(cluster, ignore_errors=True)


class Valkey:
    """Valkey on a private socket, with a log of its writes on disk."""

    name = "Valkey"

    def __init__(self, layout: Layout, processes: Processes) -> None:
        self._layout = layout
        self._processes = processes

    async def start(self, tell: Callable[[str], None]) -> Process:
        """Start it; return when it answers."""
        program = valkey_program()
        data = self._layout.valkey
        await end_left_behind("valkey-server", data, polite=signal.SIGTERM, patience=5.0)
        tell("Starting Valkey")
        data.mkdir(mode=0o700, exist_ok=True)
        give_to_owner(data, like=self._layout.home)
        try:
            return await self._start(program)
        except BackendUnavailableError:
            # It carries wake-ups and no truth: a log that it cannot read is set aside.
            broken = data / "appendonlydir"
            if not broken.exists():
                raise
            shutil.rmtree(data / "appendonlydir.broken", ignore_errors=True)
            broken.rename(data / "appendonlydir.broken")
            return await self._start(program)

    async def stop(self, process: Process) -> None:
        """Stop it in order, else by force."""
        await process.stop((signal.SIGTERM, 5.0))

    async def _start(self, program: Path) -> Process:
        owner = self._layout.valkey.stat()
        identity: Identity = User(owner.st_uid, owner.st_gid) if os.geteuid() == 0 and owner.st_uid != 0 else Same()
        log = Log(self._layout, "valkey")
        process = self._processes.spawn(
            [program, *valkey_arguments(self._layout)],
            before=entering(identity, signal.SIGTERM),
            env=ENVIRONMENT,
            output=log.descriptor,
        )
        log.close()
        if not await becomes_ready(self, process, partial(answers, self._layout.valkey_socket)):
            raise BackendUnavailableError(f"Valkey does not start: {log.fault(self._layout.home)}")
        return process


class Log:
    """A server's log file, and what was written to it since it was opened."""

    def __init__(self, layout: Layout, name: str) -> None:
        try:
            self.descriptor = open_log(layout, name)
        except OSError as e:
            raise BackendUnavailableError(cannot_write(layout.home, e)) from e
        self._path = layout.log / f"{name}.log"
        self._start = os.fstat(self.descriptor).st_size

    def close(self) -> None:
        """Close our end; the server keeps its own."""
        os.close(self.descriptor)

    def fault(self, home: Path) -> str:
        """Quote the server on why it ended, with advice for the common reasons."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            lines = file.read(65536).decode(errors="replace").splitlines()
        if "No space left on device" in "\n".join(lines):
            return f"the disk of {home} is full; free some space and start again"
        return f"{reason(lines)} (see {self._path})"


def reason(lines: Sequence[str]) -> str:
    """Find the line of a log that says why a program ended, with the detail that may follow it."""
    telling = [
        i for i, line in enumerate(lines) if re.search(r"FATAL|PANIC|ERROR|error:|could not|Fatal|Bad file", line)
    ]
    if not telling:
        return lines[-1].strip() if lines else "it said nothing"
    said = [without_stamp(lines[telling[-1]])]
    said += [without_stamp(line) for line in lines[telling[-1] + 1 : telling[-1] + 2] if "DETAIL:" in line]
    return ": ".join(said)


def without_stamp(line: str) -> str:
    """Cut what stands before the words of a log line: time, process, severity."""
    return re.split(r"(?:FATAL|PANIC|ERROR|DETAIL|error): +", line, maxsplit=1)[-1].strip().rstrip(".")


CONFIGURATION = """\
# The gateway writes gateway.conf at each start. Settings of your own go below its line and win.
include 'gateway.conf'
"""


def initdb_arguments(data: Path) -> list[str | Path]:
    """Arguments of ``initdb``: everybody who reaches the private socket is trusted.

    Texts sort by code point, and UPPER, LOWER and ILIKE know the letters of all alphabets (PostgreSQL 17 or newer).
    """
    trust: list[str | Path] = ["-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions"]
    return [*trust, "-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]


def listen_arguments(sockets: Path) -> list[str]:
    """Arguments that keep PostgreSQL private; on the command line, where no file can change them."""
    return ["-h", "", "-k", str(sockets), "-c", "unix_socket_permissions=0700"]


def write_settings(data: Path, *, durable: bool) -> None:
    """Write ``gateway.conf``: what suits one machine that does other things too."""
    memory = memory_bytes()
    buffers = min(memory // 4, 512 * 2**20)
    settings = {
        "max_connections": "200",
        "shared_buffers": f"{buffers // 2**20}MB",
        "effective_cache_size": f"{memory // 2 // 2**20}MB",
        "maintenance_work_mem": f"{min(memory // 16, 256 * 2**20) // 2**20}MB",
        "dynamic_shared_memory_type": dynamic_shared_memory(),
        "client_connection_check_interval": "1s",  # a query whose client died ends within a second
        "random_page_cost": "1.1",  # solid-state disks
        "jit": "off",  # compiling takes longer than most queries run
        "wal_level": "minimal",  # no replicas; loading a new table writes it once
        "max_wal_senders": "0",
        "max_wal_size": "2GB",  # fewer checkpoints while tables are loaded
        "max_logical_replication_workers": "0",
        "timezone": "'UTC'",
        "log_timezone": "'UTC'",
        "log_min_messages": "error",
        "log_min_error_statement": "panic",  # queries are their authors' business
    }
    if not durable:
        settings |= {"fsync": "off", "full_page_writes": "off"}
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    text = "# Written at each start; change postgresql.conf instead.\n" + "".join(lines)
    path = data / "gateway.conf"
    if not path.exists() or path.read_text() != text:  # a full disk is no reason to lose it
        path.write_text(text)
        give_to_owner(path, like=data)


def memory_bytes() -> int:
    """Memory that this machine or container has, bytes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such limit: "max", or another system
        return memory


def dynamic_shared_memory() -> str:
    """Kind of memory that parallel queries share: containers often have 64 MB of /dev/shm, too little for a hash."""
    if sys.platform != "linux":
        return "posix"
    try:
        shm = os.statvfs("/dev/shm")  # noqa: S108 - only looked at
    except OSError:
        return "sysv"
    return "posix" if shm.f_frsize * shm.f_bavail >= 512 * 2**20 else "sysv"


async def becomes_ready(server: Server, process: Process, is_ready: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until a server is ready, or has ended; it is stopped when we are told to stop waiting."""
    try:
        while not process.ended.done():
            if await is_ready():
                return True
            await asyncio.sleep(POLL)
    except asyncio.CancelledError:
        await server.stop(process)
        raise
    return False


async def is_ready(data: Path) -> bool:
    """Whether PostgreSQL takes connections: line 8 of its pid file says so."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def valkey_arguments(layout: Layout) -> list[str]:
    """Arguments of ``valkey-server``: private socket, every write logged, nothing ever evicted."""
    fixed = (
        "--port 0 --unixsocketperm 700 --appendonly yes --appendfsync everysec --maxmemory-policy noeviction "
        "--databases 64 --loglevel warning --set-proc-title no --daemonize no"
    )
    return [*fixed.split(), "--save", "", "--dir", str(layout.valkey), "--unixsocket", str(layout.valkey_socket)]


async def answers(path: Path) -> bool:
    """Whether a Valkey at a socket answers a PING.

    While it loads its data it does not (``-LOADING``). With a full disk it is up but takes no writes (``-MISCONF``).
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).startswith((b"+PONG", b"-MISCONF"))
    except OSError:
        return False
    finally:
        writer.close()


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
