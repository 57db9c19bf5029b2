"""The keeper: one process per home folder that owns the embedded servers.

``python -m gateway.embedded.keeper HOME`` returns when a keeper takes connections at its socket; the keeper itself
goes on in the background. The lock on ``run/keeper.lock`` says that one lives; whoever holds a connection is a user.

Over the connection go lines of JSON. User: ``{"want": ["postgres", "valkey"]}``, at the end perhaps
``{"leave": true}`` (stop at once if I was the last). Keeper: ``{"progress": text}``, then ``{"ready": urls}`` or
``{"failed": text}``; it closes the connection when everything has stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

from gateway.embedded.layout import Layout, cannot_write, give_to_owner, open_log
from gateway.embedded.processes import Processes
from gateway.embedded.servers import Postgres, Server, Valkey
from gateway.errors import BackendUnavailableError

HANDOVER = 90.0
"""Longest wait for a keeper that is stopping, seconds: more than its servers may take over that."""

FIRST_USER = 10.0
"""How long a new keeper waits for its first user, seconds."""

RESTART_PAUSES = (0.1, 0.5, 2.0, 10.0)
"""Pauses before a server that ended is started again, seconds; the last one repeats."""

HOME_CHECK = 1.0
"""How often the keeper looks whether its home folder is still there, seconds."""


class Supervision:
    """Keeps one server running from the first time that it is asked for."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hurry = asyncio.Event()
        self.stage = ""
        """What it is doing, for people."""

    async def ready(self) -> None:
        """Return when the server takes connections.

        Raises
        ------
        BackendUnavailableError
            It could not be started.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif self._outcome.done() and self._outcome.exception() is not None:
            self._expect()
            self._hurry.set()
        await asyncio.shield(self._outcome)

    async def stop(self) -> None:
        """Stop the server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            if self._outcome.done():  # of the attempt before
                self._expect()
            try:
                await self._live()
            except BackendUnavailableError as e:
                self._fail(e)
            except Exception as e:  # noqa: BLE001 - whatever it is, its users are told and the next try may work
                log(traceback.format_exc())
                self._fail(BackendUnavailableError(f"{self._server.name} does not start: {e}"))
            failures = 1 if time.monotonic() - started > RESTART_PAUSES[-1] else failures + 1
            self._hurry.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), RESTART_PAUSES[min(failures, len(RESTART_PAUSES)) - 1])

    async def _live(self) -> None:
        """Start the server and return when it has ended."""
        process = await self._server.start(self._tell)
        try:
            self._outcome.set_result(None)
            code = await asyncio.shield(process.ended)
        except asyncio.CancelledError:
            await self._server.stop(process)
            raise
        self._expect()  # whoever asks in the pause waits for the next attempt
        log(f"{self._server.name} ended by itself (code {code}); it is started again")

    def _tell(self, stage: str) -> None:
        self.stage = stage

    def _fail(self, error: BackendUnavailableError) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)
            self._outcome.exception()  # looked at: nobody may be waiting
        log(error.message)

    def _expect(self) -> None:
        self._outcome = asyncio.get_running_loop().create_future()


class Keeper:
    """Takes users, starts what they want, and ends when the last has gone."""

    def __init__(self, layout: Layout, *, grace: float, durable: bool, namespaces: bool) -> None:
        processes = Processes()
        self._layout = layout
        self._grace = grace
        self._supervisions = {
            "postgres": Supervision(Postgres(layout, processes, durable=durable, namespaces=namespaces)),
            "valkey": Supervision(Valkey(layout, processes)),
        }
        self._users: set[asyncio.StreamWriter] = set()
        self._takers: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None

    async def run(self, listener: socket.socket, lock: int) -> None:
        """Serve users until nobody is left, a signal comes, or the home folder goes away."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        server = await asyncio.start_unix_server(self._take_user, sock=listener)
        self._wait_for_users(FIRST_USER)
        watch = asyncio.create_task(self._watch_home(lock))
        await self._stop.wait()
        watch.cancel()
        server.close()
        self._layout.keeper_socket.unlink(missing_ok=True)
        await asyncio.gather(*(supervision.stop() for supervision in self._supervisions.values()))
        if self._layout.sockets != self._layout.run:
            with suppress(OSError):  # gone with the home, or not empty
                self._layout.sockets.rmdir()
        for writer in self._users:
            writer.close()
        if self._takers:
            await asyncio.wait(self._takers, timeout=1)

    async def _take_user(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if taker := asyncio.current_task():
            self._takers.add(taker)
            taker.add_done_callback(self._takers.discard)
        self._users.add(writer)
        if self._idle:
            self._idle.cancel()
        leaves = False
        try:
            while line := await reader.readline():
                match json.loads(line):
                    case {"want": [*names]}:
                        await self._answer(reader, writer, [name for name in names if name in self._supervisions])
                    case {"leave": True}:
                        leaves = True
                        if self._users == {writer}:
                            self._stop.set()
                            return  # stays a user: its connection closes when everything has stopped
                        break
                    case _:
                        break
        except (OSError, ValueError):
            pass
        self._users.discard(writer)
        writer.close()
        if not self._users:
            self._wait_for_users(0.0 if leaves else self._grace)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, names: list[str]) -> None:
        """Tell a user how the start goes, and how it went; nothing more when they have gone, or we are going."""
        told: set[str] = set()
        pending = {asyncio.ensure_future(self._supervisions[name].ready()) for name in names}
        while pending:
            done, pending = await asyncio.wait(pending, timeout=0.1)
            if reader.at_eof() or self._stop.is_set():
                for task in pending:
                    task.cancel()
                return
            stages = {stage for name in names if (stage := self._supervisions[name].stage)}
            if pending:
                for stage in sorted(stages - told):
                    await say(writer, {"progress": stage})
                told |= stages
            for failed in done:
                if error := failed.exception():
                    for other in pending:
                        other.cancel()
                    await say(writer, {"failed": str(error)})
                    return
        urls = {
            "database_url": self._layout.database_url if "postgres" in names else None,
            "redis_url": self._layout.redis_url if "valkey" in names else None,
        }
        await say(writer, {"ready": urls})

    def _wait_for_users(self, seconds: float) -> None:
        if self._idle:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(seconds, self._stop.set)

    async def _watch_home(self, lock: int) -> None:
        """End when the home folder was removed or replaced: its servers would write into nowhere."""
        mine = os.fstat(lock).st_ino
        while True:
            await asyncio.sleep(HOME_CHECK)
            try:
                is_mine = self._layout.keeper_lock.stat().st_ino == mine
            except OSError:
                is_mine = False
            if not is_mine:
                log("The home folder has gone")
                self._stop.set()
                return


async def say(writer: asyncio.StreamWriter, answer: dict[str, object]) -> None:
    """Send one line."""
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()


def log(text: str) -> None:
    """Write a line to the keeper's log, which is its standard error; a full disk must not end the keeper."""
    with suppress(OSError):
        print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """Become the keeper of a home folder, unless another process is."""
    parser = argparse.ArgumentParser(prog="python -m gateway.embedded.keeper", description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--grace", type=float, required=True, help="Seconds to stay without a user.")
    parser.add_argument("--no-sync", action="store_true", help="COMMIT does not wait for the disk (tests).")
    parser.add_argument("--no-namespace", action="store_true", help="As root, use no user namespace.")
    arguments = parser.parse_args()
    layout = Layout(arguments.home)
    try:
        layout.prepare()
        lock = take_lock(layout)
        if lock is None:
            return 0
        listener = listen(layout)
        keeper_log = open_log(layout, "keeper")
    except BackendUnavailableError as e:
        print(e, file=sys.stderr)  # noqa: T201 - read by the one who started us
        return 1
    except OSError as e:
        print(cannot_write(layout.home, e), file=sys.stderr)  # noqa: T201 - as above
        return 1
    if os.fork():
        os._exit(0)  # whoever started us goes on; nothing is flushed twice
    with suppress(OSError):  # a full disk
        os.pwrite(lock, b"%-10d\n" % os.getpid(), 0)  # for people; what counts is the lock
    os.chdir("/")  # keeps no folder of the user's busy
    os.dup2(keeper_log, 1)
    os.dup2(keeper_log, 2)

    async def run() -> None:
        keeper = Keeper(
            layout, grace=arguments.grace, durable=not arguments.no_sync, namespaces=not arguments.no_namespace
        )
        await keeper.run(listener, lock)

    asyncio.run(run())
    return 0


def take_lock(layout: Layout) -> int | None:
    """Take the keeper's lock; ``None`` when another keeper takes connections.

    Raises
    ------
    BackendUnavailableError
        Another keeper holds the lock for too long, without taking connections.
    """
    deadline = time.monotonic() + HANDOVER
    while time.monotonic() < deadline:
        lock = os.open(layout.keeper_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_to_owner(layout.keeper_lock, like=layout.home)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            if takes_connections(layout):
                return None
            time.sleep(0.02)
            continue
        return lock
    raise BackendUnavailableError(
        f"An earlier supervisor of the embedded servers in {layout.home} is still stopping; try again in a minute."
    )


def takes_connections(layout: Layout) -> bool:
    """Whether a keeper answers at the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(layout.keeper_socket)) == 0


def listen(layout: Layout) -> socket.socket:
    """Take connections at the keeper's socket; one left by a dead keeper is replaced."""
    layout.keeper_socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(layout.keeper_socket))
    layout.keeper_socket.chmod(0o600)
    give_to_owner(layout.keeper_socket, like=layout.home)
    listener.listen(64)
    return listener


if __name__ == "__main__":
    sys.exit(main())
