"""The suite's own servers."""

import asyncpg
import pytest
from redis import Redis


async def test_database_is_one_of_its_own(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE public.mine ()")
    await connection.close()


@pytest.mark.parametrize("_turn", [1, 2])
async def test_database_has_nothing_of_other_tests(database_url: str, _turn: int) -> None:
    connection = await asyncpg.connect(database_url)
    assert not await connection.fetchval("SELECT to_regclass('public.mine')")
    await connection.close()


@pytest.mark.parametrize("_turn", [1, 2])
def test_valkey_is_empty(redis_url: str, _turn: int) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_database_can_be_left_in_use(database_url: str) -> None:
    assert database_url.startswith("postgresql://")
