"""Child processes of one event loop, without threads; and processes that an earlier life left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Process:
    """A child process and the future of its exit code (negative: the signal that ended it)."""

    def __init__(self, popen: subprocess.Popen[bytes], ended: asyncio.Future[int]) -> None:
        self._popen = popen
        self.ended = ended

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        self._popen.send_signal(number)  # polls first: never reaches a stranger with a reused number

    async def stop(self, *steps: tuple[int, float]) -> None:
        """Send each signal and wait its seconds, until the process has ended; the last resort is SIGKILL."""
        for number, seconds in (*steps, (signal.SIGKILL, 10.0)):
            self.signal(number)
            done, _ = await asyncio.wait({self.ended}, timeout=seconds)
            if done:
                return


class Processes:
    """All children of a loop that runs in the main thread.

    SIGCHLD wakes the loop. asyncio's own watcher needs a thread for each child on Python 3.11, and a fork in a
    process with threads may stop for ever in the code between fork and exec.
    """

    def __init__(self) -> None:
        self._living: dict[Process, subprocess.Popen[bytes]] = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def spawn(
        self,
        command: Sequence[str | Path],
        *,
        before: Callable[[], None],
        env: Mapping[str, str],
        cwd: Path | str = "/",
        output: int | None = None,
        pass_fds: Sequence[int] = (),
        text: bytes = b"",
    ) -> Process:
        """Start a child; `before` runs in it first, `text` is its input, `output` takes its output and errors."""
        if len(text) > select.PIPE_BUF:
            raise ValueError("text must fit into a pipe")
        popen = subprocess.Popen(
            [str(part) for part in command],
            preexec_fn=before,  # noqa: PLW1509 - see the class
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE if text else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(pass_fds),
        )
        if popen.stdin:
            with contextlib.suppress(BrokenPipeError), popen.stdin as pipe:
                pipe.write(text)
        process = Process(popen, asyncio.get_running_loop().create_future())
        self._living[process] = popen
        return process

    def _reap(self) -> None:
        for process, popen in list(self._living.items()):
            if (code := popen.poll()) is not None:
                del self._living[process]
                if not process.ended.done():  # a task that was cancelled while it waited took its future with it
                    process.ended.set_result(code)


def left_behind(program: str, folder: Path) -> dict[int, int]:
    """Find processes that run a program of ours on a data folder of ours: process id -> parent's.

    Both servers make their data folder the working directory, which no stranger with a reused process id does.
    """
    if sys.platform == "linux":
        entries = (entry.name for entry in os.scandir("/proc") if entry.name.isdigit())
        return {int(pid): _parent(pid) for pid in entries if _runs(pid, program, str(folder))}
    listing = subprocess.run(["ps", "-axo", "pid=,ppid=,command="], capture_output=True, text=True, check=False).stdout
    lines = (line.split(None, 2) for line in listing.splitlines())
    return {
        int(line[0]): int(line[1])
        for line in lines
        if len(line) == 3 and program in line[2] and str(folder) in line[2] and int(line[0]) != os.getpid()
    }


def _runs(pid: str, program: str, folder: str) -> bool:
    try:
        executable = str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)")
        working = str(Path(f"/proc/{pid}/cwd").readlink()).removesuffix(" (deleted)")
    except OSError:  # it has ended, or is not ours
        return False
    return working == folder and Path(executable).name == program


def _parent(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


async def end_left_behind(program: str, folder: Path, *, polite: int, patience: float) -> None:
    """End what an earlier keeper left: first politely, then not; return when all are gone.

    Parameters
    ----------
    polite
        Signal that lets the server save its data; only the eldest of a family gets it.
    patience
        How long it may take over that, seconds.
    """
    for number, seconds in ((polite, patience), (signal.SIGKILL, 10.0)):
        deadline = time.monotonic() + seconds
        told: set[int] = set()
        while family := left_behind(program, folder):
            if time.monotonic() > deadline:
                break
            for pid, parent in family.items():
                if pid not in told and (parent not in family or number == signal.SIGKILL):
                    _send(pid, number)
                    told.add(pid)
            await asyncio.sleep(0.01)
        else:
            return


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
