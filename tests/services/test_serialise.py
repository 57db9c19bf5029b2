import asyncio
import io
import tempfile
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path

import asyncpg
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse

from gateway.errors import GatewayError, NotSupportedError, OverloadedError
from gateway.services.access import ANONYMOUS
from gateway.services.queries import QueryService
from gateway.services.serialise import serialise
from gateway.vo.formats import ARROW, BINARY, CSV, FITS, FORMATS, HTML, NDJSON, PARQUET, TABLEDATA, VOTABLE, Format
from gateway.vo.formats.base import TruncatedError
from gateway.vo.tap import TapRequest
from tests.db.support import active, until
from tests.services.support import BIG, LIMITS
from tests.support.every_type import astropy_fits

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


# -- formats that must see all rows first ---------------------------------------------------------------------


def open_files() -> list[str]:
    """Files without a name that this process holds open."""
    links = []
    for number in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.append(str(number.readlink()))
    return [link for link in links if link.endswith("(deleted)")]


async def test_fits_comes_in_pieces_and_has_its_rows(service: QueryService) -> None:
    before = open_files()
    pieces = await body(service, BIG, FITS)
    assert len(pieces) > 2
    assert sorted(astropy_fits(b"".join(pieces))["id"].tolist()) == list(range(1, 300_001))
    assert open_files() == before


async def test_overflow_is_told_in_fits(service: QueryService) -> None:
    assert b"QSTATUS = 'OVERFLOW'" in b"".join(await body(service, BIG, FITS, maxrec=200_000))
    assert b"QSTATUS = 'OVERFLOW'" in b"".join(await body(service, BIG, FITS, maxrec=0))


async def test_an_error_behind_the_first_rows_leaves_no_fits_at_all(service: QueryService) -> None:
    before = open_files()
    table = await service.open(TapRequest(LATE_ERROR), ANONYMOUS)
    with pytest.raises(GatewayError, match="division by zero"):
        await anext(serialise(table, FITS))
    assert open_files() == before


async def test_rows_beyond_the_limit_of_the_spool_are_refused_with_a_way_out(service: QueryService) -> None:
    before = open_files()
    table = await service.open(TapRequest(BIG), ANONYMOUS)
    with pytest.raises(NotSupportedError, match=r"more than the 1 MiB .* votable"):
        [piece async for piece in serialise(table, FITS, spool_bytes=2**20)]
    assert open_files() == before
    assert await body(service, "SELECT id FROM survey.stars", CSV)


@pytest.mark.parametrize("query", ["SELECT id FROM survey.stars", BIG], ids=["at the end", "in the middle"])
async def test_a_full_disk_is_told_before_the_first_byte(
    service: QueryService, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full.open("wb"))
    table = await service.open(TapRequest(query), ANONYMOUS)
    with pytest.raises(OverloadedError, match="no room on disk"):
        await anext(serialise(table, FITS))
    monkeypatch.undo()
    assert await body(service, "SELECT id FROM survey.stars", FITS)


async def test_slots_are_free_while_fits_is_sent(service: QueryService) -> None:
    async with AsyncExitStack() as streams:
        for _ in range(LIMITS["slots"]):
            table = await service.open(TapRequest(BIG), ANONYMOUS)
            pieces = await streams.enter_async_context(aclosing(serialise(table, FITS)))
            await anext(pieces)
        assert await body(service, "SELECT id FROM survey.stars", CSV)


async def test_a_reader_who_leaves_in_the_middle_of_fits_leaves_nothing(service: QueryService) -> None:
    before = open_files()
    for pieces_read in (1, 2):
        table = await service.open(TapRequest(BIG), ANONYMOUS)
        async with aclosing(serialise(table, FITS)) as pieces:
            for _ in range(pieces_read):
                await anext(pieces)
    assert open_files() == before


async def test_a_reader_who_leaves_before_fits_begins_ends_the_query(
    service: QueryService, owner: asyncpg.Connection
) -> None:  # F6
    before = open_files()
    table = await service.open(TapRequest("SELECT a.id FROM survey.big AS a, survey.big AS b"), ANONYMOUS)
    pieces = serialise(table, FITS)
    waiting = asyncio.ensure_future(anext(pieces))
    while open_files() == before:
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await pieces.aclose()

    async def is_quiet() -> bool:
        return await active(owner, "gw:sync") == 0

    await until(is_quiet)
    assert open_files() == before


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.key)
async def test_every_format_serves_a_large_table(service: QueryService, form: Format) -> None:
    assert len(b"".join(await body(service, BIG, form))) > 10_000


@pytest.mark.parametrize("form", [NDJSON, ARROW, PARQUET], ids=lambda form: form.key)
async def test_other_formats_that_cannot_tell_are_cut(service: QueryService, form: Format) -> None:
    with pytest.raises(TruncatedError):
        await body(service, LATE_ERROR, form)


@pytest.mark.parametrize("form", [BINARY, HTML], ids=lambda form: form.key)
async def test_other_formats_that_can_tell_do(service: QueryService, form: Format) -> None:
    assert b"division by zero" in (await body(service, LATE_ERROR, form))[-1]


async def test_a_page_links_to_the_same_query_in_other_formats(service: QueryService) -> None:
    (page,) = await body(service, "SELECT id FROM survey.stars", HTML, maxrec=2)
    assert (
        b"?REQUEST=doQuery&amp;LANG=ADQL&amp;QUERY=SELECT+id+FROM+survey.stars&amp;MAXREC=2&amp;RESPONSEFORMAT=csv"
        in page
    )
