"""Processes that look into files: several at once, and one that dies takes no other file with it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import ParamSpec, TypeVar

from gateway.ingest.images.examine import Examined, Refusal, Task, examine
from gateway.ingest.images.rules import Rules

FILES_A_PROCESS = 100
"""Files for which starting a process pays: it takes a second, and a file about twenty milliseconds."""

WINDOW = 4
"""Files in hand for each process: the database is never waited for, and little is lost when a process dies."""

CRASHED = "looking into it ended the process (no memory left, or a fault in a library)"

P = ParamSpec("P")
T = TypeVar("T")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def examined(
    tasks: Iterable[Task], rules: Rules, *, processes: int
) -> AsyncGenerator[tuple[Task, Examined | Refusal], None]:
    """Look into files, and give what is in them in their order.

    Parameters
    ----------
    processes
        How many look at once; with one, it is this process that looks.
    """
    if processes <= 1:
        for task in tasks:
            yield task, await asyncio.to_thread(examine, task, rules)
        return
    pool = open_pool(processes)
    todo, flying = iter(tasks), deque[tuple[Task, Future[Examined | Refusal]]]()
    try:
        while True:
            while len(flying) < WINDOW * processes and (following := next(todo, None)) is not None:
                flying.append((following, submit(pool, examine, following, rules)))
            if not flying:
                return
            task, future = flying.popleft()
            try:
                result = await asyncio.wrap_future(future)
            except BrokenProcessPool:
                # Any file in hand may be the one that killed a process: look at each alone.
                suspects = [task, *(other for other, _ in flying)]
                flying.clear()
                for suspect in suspects:
                    pool, result = await _alone(pool, suspect, rules, processes)
                    yield suspect, result
                continue
            yield task, result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def _alone(
    pool: ProcessPoolExecutor, task: Task, rules: Rules, processes: int
) -> tuple[ProcessPoolExecutor, Examined | Refusal]:
    for _ in range(2):  # the first pool may be broken already
        try:
            return pool, await asyncio.wrap_future(submit(pool, examine, task, rules))
        except BrokenProcessPool:
            was_broken = pool
            pool = open_pool(processes)
            was_broken.shutdown(wait=False)
    return pool, Refusal(CRASHED)


def open_pool(processes: int) -> ProcessPoolExecutor:
    """Make a pool whose processes end when this one does, however it does."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_follow_parent)


def submit(pool: ProcessPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Call a function in a process of a pool, which Ctrl-C will not reach: it is this process that stops in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a process that starts now inherits it
    try:
        return pool.submit(function, *args, **kwargs)
    except BrokenProcessPool as e:
        broken: Future[T] = Future()
        broken.set_exception(e)
        return broken
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow_parent() -> None:
    """End when the parent has ended: after a kill -9 nobody else would say so."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
