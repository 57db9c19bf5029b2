"""Phase changes as they happen: one LISTEN connection for all who wait in this process (UWS-31)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Any, Self

import structlog

from gateway.jobs.store import CONNECTION_ERRORS, JOB_CHANNEL, connect

log = structlog.get_logger()

PROBE_INTERVAL = timedelta(seconds=15)
"""How often the connection is tried: a network that goes silent tells nobody."""

LONGEST_BACK_OFF_S = 5.0
"""Longest pause before the connection is tried again."""


class PhaseSignals:
    """Tells who waits that the phase of a job has changed.

    A signal is a hint: who gets one reads the job. When the connection was lost and is back, everyone is told to
    read, for signals may have been missed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._observers: set[Callable[[str | None], None]] = set()
        self._lost = asyncio.Event()
        self.is_listening = asyncio.Event()
        """Set while the connection stands."""
        self.is_stopping = False
        """Whether nobody is to wait any longer."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Listen to the control database until the context ends; it may come and go meanwhile."""
        signals = cls(url)
        task = asyncio.create_task(signals._run(), name="phase signals")
        try:
            yield signals
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def stop_waiting(self) -> None:
        """Let all who wait go, now and from now on: this process is to stop, and their answers must be out before (F18)."""
        self.is_stopping = True
        self._tell_all()

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return sum(map(len, self._waiters.values()))

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set at each phase change of a job. Watch first, then read the job."""
        event = asyncio.Event()
        self._waiters[job_id].add(event)
        try:
            yield event
        finally:
            self._waiters[job_id].discard(event)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    def observe(self, callback: Callable[[str | None], None]) -> None:
        """Call back with the identifier of each job that changes; with ``None`` when any may have."""
        self._observers.add(callback)

    async def _run(self) -> None:
        pause = 0.1
        while True:
            try:
                await self._listen()
                pause = 0.1
            except CONNECTION_ERRORS as e:
                log.warning("Phase signals lost", reason=type(e).__name__)
            finally:
                self.is_listening.clear()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_BACK_OFF_S)

    async def _listen(self) -> None:
        """Hold the connection until it is lost."""
        self._lost.clear()
        connection = await connect(self._url, "gw:signals")
        try:
            connection.add_termination_listener(self._on_lost)
            await connection.add_listener(JOB_CHANNEL, self._on_signal)
            self.is_listening.set()
            self._tell_all()
            while not self._lost.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._lost.wait(), PROBE_INTERVAL.total_seconds())
                    return
                await connection.execute("SELECT 1", timeout=5)
        finally:
            connection.terminate()

    def _on_lost(self, _connection: Any) -> None:
        self._lost.set()

    def _on_signal(self, _connection: Any, _pid: int, _channel: str, job_id: str) -> None:
        for event in self._waiters.get(job_id, ()):
            event.set()
        for observer in self._observers:
            observer(job_id)

    def _tell_all(self) -> None:
        for events in self._waiters.values():
            for event in events:
                event.set()
        for observer in self._observers:
            observer(None)
