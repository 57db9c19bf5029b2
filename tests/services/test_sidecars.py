"""A table stored beside its result: every value and every fact comes back, whatever becomes of the writing."""

import asyncio
from collections.abc import AsyncIterable
from contextlib import aclosing
from pathlib import Path

import pyarrow as pa
import pytest

from gateway.errors import NotFoundError
from gateway.services.sidecars import Sidecar, StoredTables
from gateway.storage.results import LocalResultStore, StoreFullError, Written
from gateway.vo.formats.base import Complete, Ending, Info, Overflow, TableHeader, arrow_schema
from gateway.vo.pages import Page
from tests.support.every_type import FIELDS, every_type
from tests.support.files import files_below

BATCH = every_type()
KEY = "job/1.1/rows.parquet"
HEADER = TableHeader(tuple(FIELDS), (Info("QUERY", "SELECT <é>", "text"),), "t", "All types")
ROWS = BATCH.num_rows


def values(batch: pa.RecordBatch) -> str:
    """All values as text: NaN equals nothing, and minus zero too much."""
    return repr([column.to_pylist() for column in batch.columns])


@pytest.fixture
def store(tmp_path: Path) -> LocalResultStore:
    return LocalResultStore(tmp_path)


async def written(
    store: LocalResultStore, *batches: pa.RecordBatch, ending: Ending, max_bytes: int = 1 << 30
) -> str | None:
    async with aclosing(Sidecar(store, KEY, HEADER, max_bytes=max_bytes)) as sidecar:
        for batch in batches:
            await sidecar.add(batch)
        await sidecar.end(ending)
        return await sidecar.finish()


async def test_every_type_comes_back_with_all_that_is_known(store: LocalResultStore) -> None:
    assert await written(store, BATCH, BATCH, ending=Overflow(2 * ROWS)) == KEY
    table = await StoredTables(store).open(KEY, Page())
    assert (table.header.fields, table.header.infos) == (HEADER.fields, HEADER.infos)
    assert (table.header.name, table.header.description) == (HEADER.name, HEADER.description)
    found = [batch async for batch in table]
    assert table.ending == Overflow(2 * ROWS)
    for batch in found:
        assert batch.schema.equals(arrow_schema(HEADER.fields))
        assert values(batch) == values(BATCH)
    assert len(found) == 2


async def test_a_part_crosses_from_one_batch_to_the_next(store: LocalResultStore) -> None:
    await written(store, BATCH, BATCH, ending=Complete())
    table = await StoredTables(store).open(KEY, Page(offset=ROWS - 1, maxrec=2))
    assert table.ending is None  # two batches: it is known with the last
    found = [batch async for batch in table]
    assert [batch.num_rows for batch in found] == [1, 1]
    assert values(found[0]) == values(BATCH.slice(ROWS - 1, 1))
    assert values(found[1]) == values(BATCH.slice(0, 1))
    assert table.ending == Overflow(2)
    await table.aclose()


async def test_a_footer_larger_than_what_is_read_first_is_read_whole(store: LocalResultStore) -> None:
    header = TableHeader(HEADER.fields, (Info("QUERY", "x" * 200_000),))
    async with aclosing(Sidecar(store, KEY, header, max_bytes=1 << 30)) as sidecar:
        await sidecar.add(BATCH)
        await sidecar.end(Complete())
        assert await sidecar.finish() == KEY
    table = await StoredTables(store).open(KEY, Page())
    assert len(table.header.infos[0].value) == 200_000
    assert sum([batch.num_rows async for batch in table]) == ROWS


async def test_what_is_not_finished_leaves_nothing(store: LocalResultStore, tmp_path: Path) -> None:
    async with aclosing(Sidecar(store, KEY, HEADER, max_bytes=1 << 30)) as sidecar:
        await sidecar.add(BATCH)
    assert files_below(tmp_path) == []
    with pytest.raises(NotFoundError):
        await StoredTables(store).open(KEY, Page())


class SlowlyFull(LocalResultStore):
    """Takes its time to find out that it is full."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go = asyncio.Event()

    async def write(self, key: str, pieces: AsyncIterable[bytes]) -> Written:
        await self.go.wait()
        raise StoreFullError("full")


async def test_who_waits_to_give_more_rows_goes_on_when_the_store_fails(tmp_path: Path) -> None:
    store = SlowlyFull(tmp_path)
    async with asyncio.timeout(5), aclosing(Sidecar(store, KEY, HEADER, max_bytes=1 << 30)) as sidecar:
        await sidecar.add(BATCH)
        waiting = asyncio.create_task(sidecar.add(BATCH))
        await asyncio.sleep(0)
        assert not waiting.done()
        store.go.set()
        await waiting
        await sidecar.add(BATCH)
        await sidecar.end(Complete())
        assert await sidecar.finish() is None
