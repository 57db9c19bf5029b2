"""Keeps the processes of a service running: start, restart after a pause, stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from gateway.embedded import Lease
from gateway.embedded.identity import die_with_parent
from gateway.embedded.processes import Process, Processes
from gateway.errors import BackendUnavailableError
from gateway.serve.progress import Progress

STOP_GRACE = 8.0
"""How long a process may take to end after SIGTERM, seconds: an API process drains for 5."""

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before a process that ended is started again, seconds; the last one repeats."""

STEADY = 30.0
"""A process that lived so long, seconds, starts with the shortest pause again."""

HOPELESS = 3
"""Starts of an API process that never became ready, after which the service gives up."""


class Supervisor:
    """Parent of the API processes and the worker.

    Parameters
    ----------
    listener
        Listening socket that the API processes share.
    application
        Factory of the ASGI application: ``module:name``.
    worker
        Module that runs a job worker; ``None`` for no worker.
    environment
        Environment of all processes: the settings, every URL set.
    lease
        Lease on the embedded servers, if they are used; renewed when their keeper dies.
    announce, announce_stop
        Called (in a thread) when all API processes answer, and when the order to stop has come.
    """

    def __init__(
        self,
        *,
        listener: socket.socket,
        environment: Mapping[str, str],
        application: str,
        worker: str | None,
        api_processes: int,
        lease: Lease | None,
        announce: Callable[[], None],
        announce_stop: Callable[[], None],
        progress: Progress,
    ) -> None:
        self._listener = listener
        self._environment = environment
        self._api_names = [f"API process {i + 1}" for i in range(api_processes)]
        self._application = application
        self._worker = worker
        self._lease = lease
        self._tell_ready = announce
        self._tell_stop = announce_stop
        self._progress = progress
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ready = {name: asyncio.Event() for name in self._api_names}
        self._exit_code = 0

    async def run(self) -> int:
        """Run everything until a signal comes; returns the exit code."""
        loop = asyncio.get_running_loop()
        self._processes = Processes()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        lifeline, held = os.pipe()  # closes with this process, however it ends
        tasks = [asyncio.create_task(self._keep_api(name, lifeline)) for name in self._api_names]
        if self._worker is not None:
            tasks.append(asyncio.create_task(self._keep("Worker", partial(self._spawn, self._worker))))
        tasks += [asyncio.create_task(self._watch_lease()), asyncio.create_task(self._announce())]
        try:
            await asyncio.gather(*tasks)
        finally:
            os.close(held)
            os.close(lifeline)
        return self._exit_code

    def _stop(self) -> None:
        """Stop in order at the first signal, at once at the second."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()
        self._tell_stop()

    async def _announce(self) -> None:
        """Say that the service answers, as soon as all API processes do."""
        for event in self._ready.values():
            await self._unless_stopping(event.wait())
        if not self._stopping.is_set():
            await asyncio.to_thread(self._tell_ready)

    async def _keep_api(self, name: str, lifeline: int) -> None:
        await self._keep(name, lambda: self._start_api(name, lifeline), is_ready=self._ready[name].is_set)

    async def _keep(self, name: str, start: Callable[[], Process], is_ready: Callable[[], bool] = lambda: True) -> None:
        """Start a process again and again; give up when it was never ready."""
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            process = start()
            await self._unless_stopping(process.ended)
            if self._stopping.is_set():
                await self._end(process)
                return
            failures = 1 if time.monotonic() - started > STEADY else failures + 1
            if failures >= HOPELESS and not is_ready():
                self._progress.say(f"{name} does not start; see above for the reason")
                self._exit_code = 1
                self._stop()
                return
            pause = PAUSES[min(failures, len(PAUSES)) - 1]
            self._progress.say(f"{name} ended ({_describe(process.ended.result())}); it is started again in {pause} s")
            await self._unless_stopping(asyncio.sleep(pause))

    async def _end(self, process: Process) -> None:
        """Let a process finish what it does, within the grace."""
        process.signal(signal.SIGTERM)
        hurry = asyncio.ensure_future(self._hurry.wait())
        waited: set[asyncio.Future[Any]] = {process.ended, hurry}
        await asyncio.wait(waited, timeout=STOP_GRACE, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        await process.stop()

    async def _unless_stopping(self, awaited: asyncio.Future[int] | Coroutine[Any, Any, object]) -> None:
        """Wait for something, or for the order to stop."""
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self._stopping.wait())
        other: asyncio.Future[Any] = asyncio.ensure_future(awaited)
        await asyncio.wait({stopping, other}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if other is not awaited:  # a process's own future is not ours to cancel
            other.cancel()

    def _start_api(self, name: str, lifeline: int) -> Process:
        reading, writing = os.pipe()
        listener = self._listener.fileno()
        try:
            descriptors = (listener, writing, lifeline)
            process = self._spawn(
                "gateway.serve.api", self._application, *(str(number) for number in descriptors), pass_fds=descriptors
            )
        finally:
            os.close(writing)
        loop = asyncio.get_running_loop()

        def read() -> None:
            if os.read(reading, 1):  # nothing: it ended before it was ready
                self._ready[name].set()
            loop.remove_reader(reading)
            os.close(reading)

        loop.add_reader(reading, read)
        return process

    def _spawn(self, module: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Process:
        parent = os.getpid()

        def before() -> None:
            os.setsid()  # Ctrl-C is for the parent, which stops the others in order
            die_with_parent(signal.SIGTERM, parent)

        # Where the kernel ends a child with its parent, the child shares the lease: the servers outlive its last words.
        leases = (self._lease.fileno(),) if self._lease and sys.platform == "linux" else ()
        return self._processes.spawn(
            [sys.executable, "-P", "-m", module, *arguments],
            before=before,
            env=self._environment,
            cwd=Path.cwd(),
            pass_fds=(*pass_fds, *leases),
        )

    async def _watch_lease(self) -> None:
        """Take the embedded servers again when their keeper has died; their URLs stay."""
        if self._lease is None:
            return
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            lost = asyncio.Event()
            loop.add_reader(self._lease.fileno(), lost.set)
            await self._unless_stopping(lost.wait())
            loop.remove_reader(self._lease.fileno())
            while self._lease.is_lost and not self._stopping.is_set():
                self._progress.say("The embedded servers have ended; they are started again")
                try:
                    await asyncio.to_thread(self._lease.renew)
                except BackendUnavailableError as e:
                    self._progress.say(e.message)
                    await self._unless_stopping(asyncio.sleep(PAUSES[-1]))


def _describe(code: int) -> str:
    """Say in words how a process ended."""
    if code >= 0:
        return f"code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
