"""Slots that a caller has in all processes together (reliability R10, L3)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import asyncpg
import pytest

from gateway.db.leases import Leases
from gateway.errors import OverloadedError
from gateway.services.access import Caller
from gateway.services.slots import CallerSlots

ALICE = Caller("192.0.2.1", address="192.0.2.1")
BOB = Caller("192.0.2.2", address="192.0.2.2")
LOCAL = Caller("local", address="127.0.0.1")

PATIENCE = timedelta(seconds=0.4)


def slots(leases: Leases, *, includes_loopback: bool = False, patience: timedelta = PATIENCE) -> CallerSlots:
    return CallerSlots(leases, per_caller=2, patience=patience, includes_loopback=includes_loopback)


@pytest.fixture
async def one(database_url: str) -> AsyncIterator[Leases]:
    async with Leases.open(database_url, lease=timedelta(seconds=30)) as leases:
        yield leases


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Leases]:
    """The same in another process."""
    async with Leases.open(database_url, lease=timedelta(seconds=30)) as leases:
        yield leases


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def taken(database: asyncpg.Connection) -> int:
    count: int = await database.fetchval("SELECT count(*) FROM gateway.slot WHERE lease_until > clock_timestamp()")
    return count


async def test_caller_has_so_many_places_in_all_processes_together(
    one: Leases, other: Leases, database: asyncpg.Connection
) -> None:
    async with slots(one).take(ALICE), slots(other).take(ALICE):
        for leases in (one, other):
            with pytest.raises(OverloadedError, match="sync_slots_per_caller") as refused:
                async with slots(leases).take(ALICE):
                    pass
            assert refused.value.retry_after_s
        async with slots(one).take(BOB):
            assert await taken(database) == 3
    assert await taken(database) == 0
    async with slots(one).take(ALICE):
        pass


async def test_request_waits_for_a_place_that_another_process_gives_back(one: Leases, other: Leases) -> None:
    async with AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(slots(other).take(ALICE))

        async def wait() -> float:
            started = time.monotonic()
            async with slots(one, patience=timedelta(seconds=10)).take(ALICE):
                return time.monotonic() - started

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await held.aclose()
        assert await waiting >= 0.3


async def test_no_race_gives_more_than_there_are(one: Leases, other: Leases, database: asyncpg.Connection) -> None:
    for _ in range(20):
        tries = (leases.take("c", most=3) for leases in (one, other) * 10)
        places = [place for place in await asyncio.gather(*tries) if place is not None]
        assert 1 <= len(places) <= 3
        assert len({place.number for place in places}) == len(places) == await taken(database)
        for place in places:
            await one.give_back(place)
    assert await taken(database) == 0


async def test_place_of_a_process_that_died_heals_within_its_lease(
    database_url: str, other: Leases, database: asyncpg.Connection
) -> None:  # F4, I8
    async with Leases.open(database_url, lease=timedelta(seconds=1)) as dying:
        for _ in range(2):
            assert await dying.take(ALICE.key, most=2)
    assert await taken(database) == 2  # nobody renews them any more
    async with slots(other, patience=timedelta(seconds=5)).take(ALICE):
        pass


async def test_place_is_kept_for_longer_than_a_lease_while_its_holder_lives(
    database_url: str, database: asyncpg.Connection
) -> None:
    async with (
        Leases.open(database_url, lease=timedelta(seconds=0.9)) as leases,
        slots(leases).take(ALICE),
    ):
        await asyncio.sleep(1.5)
        assert await taken(database) == 1


async def test_place_taken_over_is_not_given_back_by_its_former_holder(
    one: Leases, other: Leases, database: asyncpg.Connection
) -> None:
    former = await one.take("c", most=1)
    assert former is not None
    await database.execute("UPDATE gateway.slot SET lease_until = clock_timestamp() - interval '1 s'")
    assert await other.take("c", most=1)
    await one.give_back(former)
    assert await taken(database) == 1


@pytest.mark.parametrize(("includes_loopback", "expected"), [(False, 0), (True, 1)])
async def test_callers_of_this_machine_are_counted_by_setting(
    one: Leases, database: asyncpg.Connection, includes_loopback: bool, expected: int
) -> None:
    for caller in (LOCAL, Caller("six", address="::1"), Caller("socket")):
        async with slots(one, includes_loopback=includes_loopback).take(caller):
            assert await taken(database) == expected


async def test_nobody_is_refused_while_the_database_is_away(tmp_path: object) -> None:
    async with Leases.open(f"postgresql://postgres@/none?host={tmp_path}", lease=timedelta(seconds=30)) as leases:
        for _ in range(3):
            async with slots(leases).take(ALICE):
                pass


async def test_request_cancelled_while_it_waits_leaves_nothing(one: Leases, database: asyncpg.Connection) -> None:
    async def hold() -> None:
        async with slots(one, patience=timedelta(seconds=9)).take(ALICE):
            await asyncio.sleep(9)

    for delay in (0, 0.001, 0.002, 0.005, 0.05):
        tasks = [asyncio.create_task(hold()) for _ in range(5)]
        await asyncio.sleep(delay)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.wait_for(asyncio.gather(*one._late), 5)
    assert await taken(database) == 0
