"""Warm child processes that can be killed: for code that may crash, hang or eat memory (reliability R8).

A child is ``python -m gateway.children`` in a session of its own. It speaks JSON lines over pipes: a call is
``"module:function"`` with keyword arguments, an answer a value or an error of ours. Whatever a called function
prints goes to standard error. When a call is cancelled, runs into its deadline or into its memory limit, the whole
process group is killed and the child replaced; when the parent dies in any way, so does the child.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import inspect
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TextIO

import structlog

from gateway.errors import GatewayError, OverloadedError, ServiceError, TimeLimitError

log = structlog.get_logger()

MESSAGE_LIMIT = 64 * 2**20
"""Longest line between parent and child, bytes. Tables travel in files; this is for their descriptions."""

START_LIMIT = timedelta(seconds=60)
"""Longest start of a child: imports of a second take long on a busy machine with a cold disk."""

WATCH_INTERVAL = timedelta(milliseconds=50)
"""How often memory is looked at; a process that fills pages makes about 100 MB of them meanwhile."""

PARENT_CHECK_S = 1.0
"""How often a child asks who its parent is, where the kernel does not tell it."""

OOM_SCORE = "500"
"""Makes the kernel choose a child, and not the worker or the database, when the machine has no memory left."""

Report = Callable[[dict[str, Any]], None]


class ChildDiedError(ServiceError):
    """The child process of a call ended before it answered.

    Attributes
    ----------
    exit_code
        Its exit code; negative: minus the number of the signal that ended it.
    memory_bytes
        Its memory when it was killed for that, else ``None``.
    """

    def __init__(self, exit_code: int | None, *, memory_bytes: int | None = None) -> None:
        super().__init__(_cause(exit_code, memory_bytes))
        self.exit_code = exit_code
        self.memory_bytes = memory_bytes

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that ended it, if one did."""
        return signal.Signals(-self.exit_code) if self.exit_code is not None and self.exit_code < 0 else None


def _cause(exit_code: int | None, memory_bytes: int | None) -> str:
    if memory_bytes is not None:
        return "the work needed more memory than one request may use"
    if exit_code is not None and exit_code < 0:
        return f"the process that did the work was ended by signal {-exit_code}"
    return "the process that did the work ended unexpectedly"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSettings:
    """How children are started."""

    memory_bytes: int
    """Most resident memory of a child, bytes."""
    preload: tuple[str, ...] = ()
    """Modules imported before the first call."""
    setup: str | None = None
    """Function (``module:function``) called once in each child before the first call."""
    setup_arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)  # may hold passwords
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables added to the parent's."""


class ChildPool:
    """Children that are ready for calls, at most one call in each."""

    def __init__(self, settings: ChildSettings, *, size: int, warm: int | None = None) -> None:
        """Hold children.

        Parameters
        ----------
        settings
            How they are started.
        size
            Most calls at once; further ones wait.
        warm
            Children kept ready; by default one for each call.
        """
        self._settings = settings
        self._warm = size if warm is None else min(warm, size)
        self._slots = asyncio.Semaphore(size)
        self._ready: list[asyncio.Future[Child]] = []
        self._busy = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: ChildSettings, *, size: int, warm: int | None = None) -> AsyncIterator[Self]:
        """Start children; all of them are dead when the context ends."""
        pool = cls(settings, size=size, warm=warm)
        pool._replenish()
        try:
            yield pool
        finally:
            await pool._close()

    async def wait_ready(self) -> None:
        """Wait until a child is ready for its first call, or one could not be started."""
        if self._ready:
            await asyncio.wait(self._ready, return_when=asyncio.FIRST_COMPLETED)

    async def call(
        self,
        function: str,
        /,
        *,
        within: timedelta | None = None,
        on_report: Report | None = None,
        **arguments: Any,
    ) -> Any:
        """Call ``module:function`` in a child, with and returning what JSON can say.

        Parameters
        ----------
        function
            Where it is; may be a coroutine function.
        within
            Deadline of the call.
        on_report
            Called with what the function tells by `report` meanwhile.
        arguments
            Passed by name.

        Raises
        ------
        GatewayError
            What the function raised, of the same class.
        ChildDiedError
            The child crashed, or was killed for its memory.
        TimeLimitError
            The deadline passed.
        """
        async with self._slots:
            child = await self._take()
            try:
                return await child.call(function, arguments, within=within, on_report=on_report)
            finally:
                self._busy -= 1
                if child.is_usable:
                    self._ready.append(_done(child))
                self._replenish()

    async def _take(self) -> Child:
        """Take a child that lives, or start one."""
        self._busy += 1
        try:
            while True:
                # One that is ready before one that still starts.
                self._ready.sort(key=lambda task: not task.done())
                task = self._ready.pop(0) if self._ready else asyncio.ensure_future(Child.start(self._settings))
                try:
                    child = await asyncio.shield(task)
                except asyncio.CancelledError:
                    self._ready.append(task)
                    raise
                if child.is_usable:
                    return child
        except BaseException:
            self._busy -= 1
            raise

    def _replenish(self) -> None:
        while len(self._ready) + self._busy < self._warm:
            task = asyncio.create_task(Child.start(self._settings))
            task.add_done_callback(self._drop_failed)
            self._ready.append(task)

    def _drop_failed(self, task: asyncio.Future[Child]) -> None:
        # Whoever takes the task hears of it; a spare one that failed is left out, and the next call starts another.
        if not task.cancelled() and task.exception() is not None and task in self._ready:
            self._ready.remove(task)
            log.error("Child did not start", reason=str(task.exception()))

    async def _close(self) -> None:
        self._warm = 0
        for task in self._ready:
            task.cancel()
        for result in await asyncio.gather(*self._ready, return_exceptions=True):
            if isinstance(result, Child):
                await result.kill()


def _done(child: Child) -> asyncio.Future[Child]:
    future: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
    future.set_result(child)
    return future


class Child:
    """One child process, seen by its parent."""

    def __init__(self, process: asyncio.subprocess.Process, memory_bytes: int) -> None:
        self._process = process
        self._limit = memory_bytes
        self._exceeded: int | None = None
        self._is_between_calls = True
        self._at_start = 0

    @classmethod
    async def start(cls, settings: ChildSettings) -> Child:
        """Start a child and wait until it is ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.children",
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MESSAGE_LIMIT,
            start_new_session=True,
            env={**os.environ, **settings.environment},
        )
        child = cls(process, settings.memory_bytes)
        arguments = {
            "preload": settings.preload,
            "setup": settings.setup,
            "arguments": dict(settings.setup_arguments),
        }
        try:
            await child.call("gateway.children:prepare", arguments, within=START_LIMIT)
        except (ChildDiedError, TimeLimitError) as e:
            # Whatever ended it knew nothing of the work that waits for it: another try may find a better machine.
            await child.kill()
            raise OverloadedError(f"A child process could not be started: {e}; try again later") from e
        except GatewayError as e:
            await child.kill()
            raise ServiceError(f"a child process could not be started: {e}") from e
        child._at_start = resident_bytes(child.pid)
        return child

    @property
    def pid(self) -> int:
        """Process and process group."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it can take a call: it lives, its last call ended, and that did not keep half of its memory.

        What a child has when it is ready does not count: the next one would have it too.
        """
        is_alive = self._is_between_calls and self._process.returncode is None
        return is_alive and resident_bytes(self.pid) - self._at_start <= self._limit // 2

    async def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        *,
        within: timedelta | None = None,
        on_report: Report | None = None,
    ) -> Any:
        """Call a function; anything but an answer costs the child its life."""
        self._is_between_calls = False
        watch = asyncio.create_task(self._watch_memory())
        try:
            async with asyncio.timeout(within.total_seconds() if within else None):
                answer = await self._exchange({"function": function, "arguments": dict(arguments)}, on_report)
            self._is_between_calls = True
        except TimeoutError as e:
            raise TimeLimitError("The work ran into its time limit") from e
        finally:
            watch.cancel()
            if not self._is_between_calls:
                await self.kill()
        if "error" in answer:
            raise _revive(answer["error"])
        return answer["value"]

    async def kill(self) -> None:
        """Kill the whole process group and wait for its end."""
        with suppress(ProcessLookupError):
            # The group outlives its leader as long as it has members.
            os.killpg(self.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.shield(self._process.wait())
        # Without this the pipe's transport stays open until it is collected.
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001

    async def _exchange(self, message: dict[str, Any], on_report: Report | None) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(ConnectionError):  # it has died; the next lines find out how
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()
        while line := await self._process.stdout.readline():
            if not line.endswith(b"\n"):
                break
            answer: dict[str, Any] = json.loads(line)
            if "report" not in answer:
                return answer
            if on_report is not None:
                on_report(answer["report"])
        raise ChildDiedError(await self._exit_code(), memory_bytes=self._exceeded)

    async def _exit_code(self) -> int | None:
        """How it ended; one that closed its pipe and lives is killed."""
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._process.wait(), 1)
        return None

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL.total_seconds())
            if (size := resident_bytes(self.pid)) > self._limit:
                self._exceeded = size
                log.warning("Child killed for its memory", memory_bytes=size, limit_bytes=self._limit)
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                return


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, bytes; 0 where the system does not tell (no ``/proc``) or it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


# -- errors that cross the pipe ---------------------------------------------------------------------------


def _flatten(error: BaseException) -> dict[str, Any]:
    """Spell an error of ours as JSON: its class, its text, and the attributes that JSON can say."""
    simple = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | bool | None)}
    return {
        "module": type(error).__module__,
        "class": type(error).__qualname__,
        "message": str(error),
        "attributes": simple,
    }


def _revive(record: Mapping[str, Any]) -> GatewayError:
    """Make the error again; an unknown class becomes the general one."""
    found: object = ServiceError
    if record["module"].split(".")[0] == "gateway":
        with suppress(ImportError, AttributeError):
            found = getattr(importlib.import_module(record["module"]), record["class"])
    kind = found if isinstance(found, type) and issubclass(found, GatewayError) else ServiceError
    # Constructors differ and build the text themselves; the text is there already.
    error = kind.__new__(kind, record["message"])
    vars(error).update(record["attributes"])
    return error


# -- the child's side -------------------------------------------------------------------------------------

_pipe: TextIO | None = None
_pipe_lock = threading.Lock()


def report(**values: Any) -> None:
    """Tell the parent something while a call runs; does nothing outside of a child."""
    if _pipe is not None:
        _send({"report": values})


async def prepare(preload: Sequence[str], setup: str | None, arguments: Mapping[str, Any]) -> None:
    """Import and set up what makes later calls quick."""
    for module in preload:
        importlib.import_module(module)
    if setup is not None:
        await _run(setup, arguments)


def main(parent: int) -> None:
    """Serve calls until the parent goes."""
    global _pipe  # noqa: PLW0603 -- one process, one pipe
    _die_with(parent)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    requests = os.dup(0)
    _pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever is printed must not get between the lines of the protocol.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(requests))


async def _serve(requests: int) -> None:
    reader = asyncio.StreamReader(limit=MESSAGE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(requests, "rb", 0)
    )
    while line := await reader.readline():
        message = json.loads(line)
        _send(await _answer(message["function"], message["arguments"]))


async def _answer(function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"value": await _run(function, arguments)}
    except GatewayError as e:
        return {"error": _flatten(e)}
    except MemoryError:
        return {"error": _flatten(ChildDiedError(None, memory_bytes=resident_bytes(os.getpid())))}
    except Exception as e:
        log.exception("Call in a child failed", function=function)
        return {"error": _flatten(ServiceError(f"the work failed unexpectedly ({type(e).__name__})"))}


async def _run(function: str, arguments: Mapping[str, Any]) -> Any:
    module, _, name = function.partition(":")
    value = getattr(importlib.import_module(module), name)(**arguments)
    return await value if inspect.isawaitable(value) else value


def _send(message: Mapping[str, Any]) -> None:
    assert _pipe is not None
    text = json.dumps(message)
    with _pipe_lock:
        _pipe.write(text + "\n")
        _pipe.flush()


def _die_with(parent: int) -> None:
    """End this process when its parent ends, however that ends."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(1)


if __name__ == "__main__":
    # The module that others import, and not a second copy of it named __main__, is the one that holds the pipe.
    from gateway.children import main as serve

    serve(int(sys.argv[1]))
