"""Wake-ups: "look at queue q", and nothing else (reliability R1, R7).

PostgreSQL is the queue. A wake-up that is lost costs one poll interval; one that comes twice costs one claim that finds
nothing. So sending never fails, and a listener never ends because Redis does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol

import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker, func
from typing_extensions import override

log = structlog.get_logger()

SEND_TIMEOUT = timedelta(milliseconds=200)
"""Longest that a request waits for Redis: the wake-up is a convenience, the job is queued already (F12)."""

PAUSE_AFTER_FAILURE = timedelta(seconds=5)
"""How long nothing is sent after a failure, so that a dead Redis costs one request 0.2 s and not each: workers poll as often."""

EXPIRES = timedelta(minutes=1)
"""Life of a wake-up that nobody takes: workers poll much more often, and Redis must not fill while none run."""

POLL_DELAY_S = 0.02
"""How often arq looks into Redis. Its half of the delay is what a wake-up takes on average; idle it costs 1 % of a core."""

END_TIMEOUT_S = 1.0
"""How long arq may take to end between two messages before it is cut off: Redis may hang."""

LONGEST_BACK_OFF_S = 5.0
"""Longest pause before a listener tries Redis again: workers poll as often."""


class Ear:
    """Where wake-ups for one queue arrive.

    Parameters
    ----------
    on_wake
        Called at each.

    Attributes
    ----------
    woken
        Set by every wake-up; who waits for it clears it.
    is_open
        Whether wake-ups are taken. A worker without a free slot leaves them to others.
    """

    def __init__(self, on_wake: Callable[[], None] | None = None) -> None:
        self.woken = asyncio.Event()
        self.is_open = True
        self._on_wake = on_wake

    def wake(self) -> None:
        """Hear a wake-up."""
        self.woken.set()
        if self._on_wake is not None:
            self._on_wake()


class WakeUp(Protocol):
    """Carries wake-ups from whoever queued a part to one of the workers of its queue."""

    async def wake(self, queue: str) -> None:
        """Ask some worker to look at a queue; call after COMMIT. Never raises, returns soon."""
        ...

    async def listen(self, queue: str, ear: Ear) -> None:
        """Wake the ear at each wake-up while the ear is open, until cancelled."""
        ...


class MemoryQueue:
    """Wake-ups inside one process; also shows what was sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self._waiting: dict[str, int] = defaultdict(int)
        self._changed = asyncio.Condition()

    async def wake(self, queue: str) -> None:
        """Keep a wake-up until a listener takes it."""
        self.sent.append(queue)
        async with self._changed:
            self._waiting[queue] += 1
            self._changed.notify_all()

    async def listen(self, queue: str, ear: Ear) -> None:
        """Take wake-ups."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting[queue])
                if ear.is_open:
                    self._waiting[queue] -= 1
                    ear.wake()
                    continue
            # An ear tells nobody that it opens; looking again soon is what arq does too.
            await asyncio.sleep(POLL_DELAY_S)


class ArqQueue:
    """Wake-ups through Redis or Valkey, carried by arq."""

    def __init__(self, url: str) -> None:
        self._settings = redis_settings(url)
        self._pool: ArqRedis | None = None
        self._silent_until = 0.0

    async def wake(self, queue: str) -> None:
        """Send a wake-up, unless Redis has just failed to answer."""
        if time.monotonic() < self._silent_until:
            return
        # Until this attempt has succeeded others do not try: they would all wait for the same dead server.
        is_first = self._pool is None
        if is_first:
            self._silent_until = time.monotonic() + PAUSE_AFTER_FAILURE.total_seconds()
        try:
            async with asyncio.timeout(SEND_TIMEOUT.total_seconds()):
                pool = self._pool or await self._connect()
                await pool.enqueue_job("wake", queue, _queue_name=_arq_name(queue), _expires=EXPIRES)
        except Exception as e:  # noqa: BLE001 -- whatever Redis says, the job is queued
            self._silent_until = time.monotonic() + PAUSE_AFTER_FAILURE.total_seconds()
            log.warning("Wake-up not sent", queue=queue, reason=type(e).__name__)
            await self.aclose()
            return
        if is_first:
            self._silent_until = 0.0

    async def listen(self, queue: str, ear: Ear) -> None:
        """Run an arq worker, and another one whenever Redis ends it."""
        # arq logs every message; one line for each wake-up says nothing.
        logging.getLogger("arq").setLevel(logging.WARNING)
        failures = 0
        while True:
            started = time.monotonic()
            try:
                await self._listen_once(queue, ear)
            except Exception as e:  # noqa: BLE001 -- a lost Redis leaves polling
                failures = failures + 1 if time.monotonic() - started < LONGEST_BACK_OFF_S else 1
                log.warning("Wake-ups lost", queue=queue, reason=type(e).__name__)
            # What was sent meanwhile may be gone.
            ear.wake()
            await asyncio.sleep(random.uniform(0.5, 1) * min(0.1 * 2**failures, LONGEST_BACK_OFF_S))  # noqa: S311

    async def is_alive(self) -> bool:
        """Whether Redis answers, for health and status."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT.total_seconds()):
                pool = self._pool or await self._connect()
                await pool.ping()
        except Exception:  # noqa: BLE001 -- no is no
            await self.aclose()
            return False
        return True

    async def aclose(self) -> None:
        """Close connections; a later `wake` opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(Exception):
                await pool.aclose(close_connection_pool=True)

    async def _connect(self) -> ArqRedis:
        self._pool = await create_pool(self._settings, job_serializer=_serialize, job_deserializer=json.loads)
        return self._pool

    async def _listen_once(self, queue: str, ear: Ear) -> None:
        """Run an arq worker until Redis or a cancellation ends it."""
        pool = await create_pool(self._settings, job_serializer=_serialize, job_deserializer=json.loads)
        worker = self._worker(queue, ear, pool)
        main = asyncio.create_task(worker.main())
        try:
            # Not cancelled where it stands: redis-py does not give back a connection whose UNWATCH is cut short.
            await asyncio.shield(main)
        finally:
            worker.end_soon()
            await asyncio.wait({main}, timeout=END_TIMEOUT_S)
            tasks = [main, *worker.tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(Exception):  # Redis may be what is missing
                await pool.aclose(close_connection_pool=True)

    def _worker(self, queue: str, ear: Ear, pool: ArqRedis) -> _EarWorker:
        async def wake(_context: dict[str, Any], _queue: str) -> None:
            ear.wake()

        return _EarWorker(
            ear,
            functions=[func(wake, name="wake", max_tries=1, keep_result=0, timeout=10)],
            queue_name=_arq_name(queue),
            redis_pool=pool,
            handle_signals=False,
            poll_delay=POLL_DELAY_S,
            job_serializer=_serialize,
            job_deserializer=json.loads,
            max_tries=1,
            keep_result=0,
        )


class _EarWorker(Worker):  # type: ignore[misc]  # arq has no types
    """An arq worker that takes messages while an ear is open."""

    def __init__(self, ear: Ear, **settings: Any) -> None:
        self._ear = ear
        super().__init__(**settings)

    @property
    def allow_pick_jobs(self) -> bool:
        """Whether arq may take messages now."""
        return self._ear.is_open

    @allow_pick_jobs.setter
    def allow_pick_jobs(self, value: bool) -> None:
        # arq sets it at its start and at signals, which we handle ourselves.
        pass

    def end_soon(self) -> None:
        """Let `main` return after the messages in hand, which is what arq calls a burst of none."""
        self.burst, self.max_burst_jobs = True, 0

    @override
    def __repr__(self) -> str:
        return f"<wake-ups of {self.queue_name}>"


def redis_settings(url: str) -> RedisSettings:
    """Read ``redis://``, ``rediss://`` or ``unix://``; a server that does not answer is known after one try."""
    settings = RedisSettings.from_dsn(url)
    settings.conn_timeout = 1
    settings.conn_retries = 0
    return settings


def _arq_name(queue: str) -> str:
    return f"gateway:{queue}"


def _serialize(value: dict[str, Any]) -> bytes:
    # arq's default is pickle: whoever can write to Redis could run code here. What arq says of a message that has expired
    # holds an exception.
    return json.dumps(value, default=repr).encode()
