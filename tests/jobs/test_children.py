"""Killable children: what crosses the pipe, and what ends them (reliability R8)."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.children import ChildDiedError, ChildPool, ChildSettings
from gateway.errors import OverloadedError, ParameterError, QueryError, ServiceError, TimeLimitError
from tests.support.timed import timed

WORK = "tests.jobs.work"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc or prctl")


@pytest.fixture
async def pool() -> AsyncIterator[ChildPool]:
    async with ChildPool.open(ChildSettings(memory_bytes=400 << 20), size=2, warm=1) as pool:
        yield pool


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: object, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_value_comes_back_and_prints_do_not_disturb(pool: ChildPool) -> None:
    value = {"text": "étoile\n", "list": [1, 2.5, None], "nested": {"a": True}}
    assert await pool.call(f"{WORK}:echo", value=value) == {"value": value}


async def test_long_value_crosses_the_pipe(pool: ChildPool) -> None:
    text = "x" * 5_000_000
    assert await pool.call(f"{WORK}:echo", value=text) == {"value": text}


async def test_coroutine_function_is_awaited(pool: ChildPool) -> None:
    assert await pool.call(f"{WORK}:sleep", seconds=0.01) == "slept"


async def test_child_is_used_again(pool: ChildPool) -> None:
    assert await pool.call(f"{WORK}:pid") == await pool.call(f"{WORK}:pid")


async def test_error_keeps_its_class_text_and_place(pool: ChildPool) -> None:
    with pytest.raises(QueryError, match="line 3, column 14: no such column") as query:
        await pool.call(f"{WORK}:fail", kind="query")
    assert (query.value.line, query.value.column, query.value.reason) == (3, 14, "no such column")
    with pytest.raises(ParameterError, match="MAXREC='-1': give a whole number") as parameter:
        await pool.call(f"{WORK}:fail", kind="parameter")
    assert parameter.value.name == "MAXREC"
    with pytest.raises(OverloadedError) as overloaded:
        await pool.call(f"{WORK}:fail", kind="overloaded")
    assert overloaded.value.retry_after_s == 7


async def test_foreign_error_becomes_ours_without_its_text(pool: ChildPool) -> None:
    with pytest.raises(ServiceError, match="ZeroDivisionError") as error:
        await pool.call(f"{WORK}:fail", kind="a secret")
    assert "secret" not in str(error.value)


async def test_error_does_not_cost_the_child(pool: ChildPool) -> None:
    before = await pool.call(f"{WORK}:pid")
    with pytest.raises(QueryError):
        await pool.call(f"{WORK}:fail", kind="query")
    assert await pool.call(f"{WORK}:pid") == before


async def test_reports_arrive_in_order(pool: ChildPool) -> None:
    told: list[dict[str, int]] = []
    assert await pool.call(f"{WORK}:tell", count=3, on_report=told.append) == 3
    assert told == [{"rows": 0}, {"rows": 1}, {"rows": 2}]


async def test_segfault_is_told_and_the_next_call_works(pool: ChildPool) -> None:
    with pytest.raises(ChildDiedError) as died:
        await pool.call(f"{WORK}:segfault")
    assert died.value.signal is signal.SIGSEGV
    assert await pool.call(f"{WORK}:echo", a=1) == {"a": 1}


async def test_exit_code_is_told(pool: ChildPool) -> None:
    with pytest.raises(ChildDiedError) as died:
        await pool.call(f"{WORK}:exit_with", code=3)
    assert (died.value.exit_code, died.value.signal) == (3, None)


@LINUX
async def test_memory_limit_kills_and_says_so(pool: ChildPool) -> None:
    with pytest.raises(ChildDiedError, match="memory") as died:
        await pool.call(f"{WORK}:allocate", megabytes=600)
    assert died.value.memory_bytes is not None
    assert died.value.memory_bytes > 400 << 20


@LINUX
async def test_child_that_keeps_much_memory_is_replaced(pool: ChildPool) -> None:
    before = await pool.call(f"{WORK}:pid")
    await pool.call(f"{WORK}:keep", megabytes=250)
    assert await pool.call(f"{WORK}:pid") != before


@timed
async def test_deadline_ends_blocking_code(pool: ChildPool) -> None:
    started = time.monotonic()
    with pytest.raises(TimeLimitError):
        await pool.call(f"{WORK}:hang", seconds=30, within=timedelta(seconds=0.3))
    assert time.monotonic() - started < 3


async def test_cancelling_kills_the_whole_group(pool: ChildPool, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    call = asyncio.create_task(pool.call(f"{WORK}:spawn_and_hang", path=str(file)))
    await until(lambda: file.exists() and file.read_text())
    grandchild = int(file.read_text())
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: not is_running(grandchild))


async def test_setup_runs_once_in_each_child_and_modules_are_warm() -> None:
    settings = ChildSettings(
        memory_bytes=1 << 30, preload=("colorsys",), setup=f"{WORK}:remember", setup_arguments={"value": "secret"}
    )
    assert "secret" not in repr(settings)
    async with ChildPool.open(settings, size=1) as pool:
        assert await pool.call(f"{WORK}:modules", name="colorsys")
        assert await pool.call(f"{WORK}:recall") == "secret"


async def test_child_that_cannot_start_is_told() -> None:
    settings = ChildSettings(memory_bytes=1 << 30, setup=f"{WORK}:fail", setup_arguments={"kind": "query"})
    async with ChildPool.open(settings, size=1) as pool:
        with pytest.raises(ServiceError, match="could not be started"):
            await pool.call(f"{WORK}:pid")


async def test_child_that_is_killed_while_it_starts_costs_a_retry_and_not_the_work() -> None:
    settings = ChildSettings(memory_bytes=1 << 30, setup=f"{WORK}:segfault")
    async with ChildPool.open(settings, size=1) as pool:
        with pytest.raises(OverloadedError, match="could not be started"):
            await pool.call(f"{WORK}:pid")


async def test_calls_beyond_the_size_wait(pool: ChildPool) -> None:
    calls = [asyncio.create_task(pool.call(f"{WORK}:sleep", seconds=0.2)) for _ in range(4)]
    started = time.monotonic()
    await asyncio.gather(*calls)
    assert time.monotonic() - started >= 0.4


async def test_closing_leaves_no_process(pool: ChildPool) -> None:
    async with ChildPool.open(ChildSettings(memory_bytes=1 << 30), size=2) as other:
        pids = await asyncio.gather(other.call(f"{WORK}:pid"), other.call(f"{WORK}:pid"))
    await until(lambda: not any(map(is_running, pids)))


PARENT = """
import asyncio
from gateway.children import ChildPool, ChildSettings
async def main():
    async with ChildPool.open(ChildSettings(memory_bytes=1 << 30), size=1) as pool:
        print(await pool.call("tests.jobs.work:pid"), flush=True)
        await pool.call("tests.jobs.work:hang", seconds=60)
asyncio.run(main())
"""


async def test_child_dies_with_a_killed_parent() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert is_running(child)
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    await until(lambda: not is_running(child))
    parent._transport.close()
