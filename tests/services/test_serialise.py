import io
from contextlib import aclosing

import asyncpg
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse

from gateway.services.access import ANONYMOUS
from gateway.services.queries import QueryService
from gateway.services.serialise import serialise
from gateway.vo.formats import CSV, PARQUET, TABLEDATA, VOTABLE, Format
from gateway.vo.formats.base import TruncatedError
from gateway.vo.tap import TapRequest
from tests.db.support import active, until
from tests.services.support import BIG

LATE_ERROR = "SELECT id, id + 1 AS a, id + 2 AS b, 1 / (299000 - id) AS x FROM survey.big"


async def body(service: QueryService, query: str, form: Format, maxrec: int | None = None) -> list[bytes]:
    table = await service.open(TapRequest(query, maxrec=maxrec), ANONYMOUS)
    return [piece async for piece in serialise(table, form)]


async def test_a_small_table_is_one_piece(service: QueryService) -> None:
    (piece,) = await body(service, "SELECT id, name FROM survey.stars ORDER BY id", CSV)
    assert piece.decode().splitlines() == ["id,name", "1,a", "2,b", "3,"]


async def test_a_large_table_comes_in_pieces(service: QueryService) -> None:
    pieces = await body(service, BIG, VOTABLE)
    assert len(pieces) > 1
    table = parse(io.BytesIO(b"".join(pieces))).get_first_table().array
    assert sorted(table["id"].tolist()) == list(range(1, 300_001))


async def test_overflow_is_told(service: QueryService) -> None:
    (piece,) = await body(service, "SELECT id FROM survey.stars", TABLEDATA, maxrec=2)
    assert b'value="OVERFLOW"' in piece


async def test_overflow_of_a_large_table_is_told(service: QueryService) -> None:
    pieces = await body(service, BIG, VOTABLE, maxrec=299_999)
    assert b'value="OVERFLOW"' in pieces[-1]


async def test_a_table_without_rows_is_a_table(service: QueryService) -> None:
    pieces = await body(service, "SELECT id FROM survey.stars", VOTABLE, maxrec=0)
    assert len(parse(io.BytesIO(b"".join(pieces))).get_first_table().array) == 0


async def test_parquet_has_its_rows(service: QueryService) -> None:
    assert pq.read_table(io.BytesIO(b"".join(await body(service, BIG, PARQUET)))).num_rows == 300_000


async def test_an_error_behind_the_first_rows_is_told_in_the_table(service: QueryService) -> None:
    pieces = await body(service, LATE_ERROR, VOTABLE)
    assert b'value="ERROR"' in pieces[-1]
    assert b"division by zero" in pieces[-1]


async def test_a_format_that_cannot_tell_is_cut(service: QueryService) -> None:
    with pytest.raises(TruncatedError):
        await body(service, LATE_ERROR, CSV)


async def test_the_end_gives_everything_back(service: QueryService) -> None:
    for _ in range(5):
        await body(service, BIG, CSV)
    assert await body(service, "SELECT id FROM survey.stars", CSV)


async def test_a_reader_who_leaves_ends_the_query(service: QueryService, owner: asyncpg.Connection) -> None:  # F6
    table = await service.open(TapRequest("SELECT a.id FROM survey.big AS a, survey.big AS b"), ANONYMOUS)
    async with aclosing(table), aclosing(serialise(table, VOTABLE)) as pieces:
        await anext(pieces)
        assert await active(owner, "gw:sync") == 1

    async def is_quiet() -> bool:
        return await active(owner, "gw:sync") == 0

    await until(is_quiet)
    for _ in range(3):
        assert await body(service, "SELECT id FROM survey.stars", CSV)
