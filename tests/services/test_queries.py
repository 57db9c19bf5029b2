import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
import pyarrow as pa
import pytest

from gateway.errors import NotSupportedError, OverloadedError, ParameterError, QueryError, TimeLimitError, UploadError
from gateway.services.access import ANONYMOUS
from gateway.services.queries import QueryService
from gateway.vo.formats.base import Complete, Overflow
from gateway.vo.tap import TapRequest, UploadRef
from tests.db.support import active, until
from tests.services.support import BIG, SLOW, read, rows, service_on


async def ending(service: QueryService, query: str, maxrec: int | None) -> tuple[int, object]:
    table = await service.open(TapRequest(query, maxrec=maxrec), ANONYMOUS)
    nrows = sum(found.num_rows for found in await read(table))
    assert table.nrows == nrows
    return nrows, table.ending


# -- results ---------------------------------------------------------------------------------------------------------


async def test_a_query_gives_fields_and_rows(service: QueryService) -> None:
    table = await service.open(TapRequest("SELECT id, ra AS Foo FROM survey.stars ORDER BY id"), ANONYMOUS)
    assert [field.name for field in table.header.fields] == ["id", "Foo"]  # TAP-52
    assert table.header.fields[1].unit == "deg"
    (found,) = await read(table)
    assert found.schema.types == [pa.int64(), pa.float64()]
    assert found.schema.names == ["id", "Foo"]
    assert found["Foo"].to_pylist() == [10.0, 11.0, None]


async def test_the_header_says_what_was_asked(service: QueryService) -> None:
    table = await service.open(TapRequest("SELECT 1 AS a FROM survey.stars"), ANONYMOUS)
    infos = {info.name: info.value for info in table.header.infos}
    await table.aclose()
    assert infos["query"] == "SELECT 1 AS a FROM survey.stars"
    assert infos["standardID"] == "ivo://ivoa.net/std/TAP"
    assert infos["publisher"] == "us"


async def test_tap_schema_is_a_table_like_others(service: QueryService) -> None:  # TAP-70, TAP-73
    found = await rows(service, 'SELECT TOP 1 "size" FROM TAP_SCHEMA.columns')
    assert list(found[0]) == ["size"]
    with pytest.raises(QueryError):
        await rows(service, "SELECT size FROM TAP_SCHEMA.columns")


async def test_every_table_of_tap_schema_can_be_read_whole(service: QueryService) -> None:  # TAP-30
    described = await service.tableset(ANONYMOUS)
    tables = [table for table in described.tables if table.schema == "tap_schema"]
    assert len(tables) == 5
    for table in tables:
        assert len(await rows(service, f"SELECT * FROM {table.qualified_name}", maxrec=5)) > 0


async def test_no_rows_are_a_complete_table(service: QueryService) -> None:  # TAP-10
    assert await ending(service, "SELECT id FROM survey.stars WHERE id < 0", None) == (0, Complete())


@pytest.mark.parametrize(
    ("query", "maxrec", "expected"),
    [
        ("SELECT id FROM survey.stars", 1, (1, Overflow(1))),
        ("SELECT id FROM survey.stars", 2, (2, Overflow(2))),
        ("SELECT id FROM survey.stars", 3, (3, Complete())),
        ("SELECT id FROM survey.stars", 4, (3, Complete())),
        ("SELECT TOP 2 id FROM survey.stars", 3, (2, Complete())),
        ("SELECT TOP 2 id FROM survey.stars", 2, (2, Complete())),
        ("SELECT TOP 3 id FROM survey.stars", 2, (2, Overflow(2))),
        ("SELECT id FROM survey.stars", 0, (0, Overflow(0))),  # TAP-34
        (BIG, 299_999, (299_999, Overflow(299_999))),
        (BIG, 300_000, (300_000, Complete())),
        (BIG, None, (300_000, Complete())),
    ],
)
async def test_maxrec_cuts_and_says_so(
    service: QueryService, query: str, maxrec: int | None, expected: tuple[int, object]
) -> None:  # TAP-33
    assert await ending(service, query, maxrec) == expected


@pytest.mark.parametrize(("maxrec", "cut"), [(None, 2), (1, 1), (100, 3)])
async def test_default_and_hard_limits_are_maxrecs_too(
    database_url: str, owner: asyncpg.Connection, maxrec: int | None, cut: int
) -> None:  # TAP-35
    async with service_on(database_url, maxrec_default=2, maxrec_hard=3) as service:
        assert await ending(service, BIG, maxrec) == (cut, Overflow(cut))


async def test_the_ending_of_a_small_table_is_known_before_its_rows(service: QueryService) -> None:
    table = await service.open(TapRequest("SELECT id FROM survey.stars", maxrec=2), ANONYMOUS)
    assert table.ending == Overflow(2)
    await table.aclose()


async def test_an_overflow_keeps_the_connection(service: QueryService, owner: asyncpg.Connection) -> None:
    async def pids() -> list[int]:
        return await owner.fetch(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'gw:idle' AND datname = current_database() ORDER BY 1"
        )

    await ending(service, BIG, 299_999)
    before = await pids()
    await ending(service, BIG, 299_999)
    assert await pids() == before != []


# -- refusals --------------------------------------------------------------------------------------------------------


async def test_a_wrong_query_tells_its_place(service: QueryService) -> None:
    with pytest.raises(QueryError) as caught:
        await rows(service, "SELECT nothing\nFROM survey.stars")
    assert (caught.value.line, caught.value.column) == (1, 8)


@pytest.mark.parametrize("name", ["survey.hidden", "gateway.job", "pg_catalog.pg_authid", "tap_schema.version"])
async def test_unpublished_tables_are_unknown(service: QueryService, name: str) -> None:  # A4
    with pytest.raises(QueryError):
        await rows(service, f"SELECT * FROM {name}")


async def test_a_query_that_is_too_long_is_not_read(service: QueryService) -> None:  # A8
    with pytest.raises(QueryError, match="10000"):
        await rows(service, "SELECT 1" + " " * 10_000)


async def test_a_check_finds_an_unknown_format(service: QueryService) -> None:
    with pytest.raises(ParameterError):
        await service.check(TapRequest("SELECT id FROM survey.stars", response_format="nonsense"), ANONYMOUS)


async def test_a_check_runs_nothing(service: QueryService) -> None:
    translation = await service.check(TapRequest("SELECT id FROM survey.stars"), ANONYMOUS)
    assert [field.name for field in translation.fields] == ["id"]


async def test_a_slot_is_waited_for_and_then_refused(service: QueryService) -> None:  # L3
    held = [await service.open(TapRequest(BIG), ANONYMOUS) for _ in range(2)]
    with pytest.raises(OverloadedError) as caught:
        await rows(service, BIG)
    assert caught.value.retry_after_s > 0
    for table in held:
        await table.aclose()
    assert len(await rows(service, "SELECT id FROM survey.stars")) == 3


async def test_failed_queries_give_their_slot_back(service: QueryService) -> None:
    for _ in range(5):
        with pytest.raises(QueryError):
            await rows(service, "SELECT 1/0 AS a FROM survey.stars")
    assert len(await rows(service, "SELECT id FROM survey.stars")) == 3


async def test_the_time_limit_is_an_error_before_the_first_row(service: QueryService) -> None:
    with pytest.raises(TimeLimitError):
        await service.open(TapRequest(SLOW), ANONYMOUS, time_limit=timedelta(seconds=0.3))


async def test_a_caller_who_leaves_ends_the_query(service: QueryService, owner: asyncpg.Connection) -> None:  # F5
    opening = asyncio.create_task(service.open(TapRequest(SLOW), ANONYMOUS, label="gw:left"))
    await until(lambda: active(owner, "gw:left"))
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert await active(owner, "gw:left") == 0
    assert len(await rows(service, "SELECT id FROM survey.stars")) == 3


async def test_closing_twice_is_harmless(service: QueryService) -> None:
    table = await service.open(TapRequest(BIG), ANONYMOUS)
    await table.aclose()
    await table.aclose()


async def test_the_service_tells_why_it_is_down(service: QueryService, tmp_path: Path) -> None:
    assert await service.fault() is None
    async with service_on(f"postgresql://postgres@/nothing?host={tmp_path}") as down:
        assert "does not answer" in str(await down.fault())


async def test_uploads_by_url_are_not_fetched(service: QueryService) -> None:
    request = TapRequest("SELECT * FROM TAP_UPLOAD.t", uploads=(UploadRef("t", "http://example.org/t.vot"),))
    with pytest.raises(NotSupportedError, match="param:t"):
        await service.open(request, ANONYMOUS)


async def test_a_missing_part_is_named(service: QueryService) -> None:
    request = TapRequest("SELECT * FROM TAP_UPLOAD.t", uploads=(UploadRef("t", "param:x"),))
    with pytest.raises(UploadError, match="'x'"):
        await service.open(request, ANONYMOUS)
