"""A job's table a second time, as Parquet beside its result: any other format and any row range are made from it.

The rows are in the canonical types of `vo.formats.base`, columns named by their places; what is known of the table lies in the
file's metadata. Only this module reads and writes such files.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from typing_extensions import override

from gateway.errors import ServiceError, TransientError
from gateway.storage.results import ResultStore, StoredObject
from gateway.vo.formats.base import Complete, Ending, Info, Overflow, TableHeader, arrow_schema
from gateway.vo.formats.columnar import Drain
from gateway.vo.pages import Page
from gateway.vo.tableset import Datatype, Field, VOType

log = structlog.get_logger()

NAME = "rows.parquet"

SMALL_BATCH_BYTES = 64 * 1024
"""Writing so little takes less time than handing it to a thread and back."""

TAIL_BYTES = 64 * 1024
"""Read at the end of a file at first: holds the footer of most."""

_HEADER, _OVERFLOW = b"gateway.header", b"gateway.overflow"


# -- writing ------------------------------------------------------------------------------------------------------


class Sidecar:
    """Writes a sidecar to the result store while its rows go into the result.

    It is a convenience: what goes wrong with it is noted, and the result is there without it.

    Parameters
    ----------
    results, key
        Where it goes.
    max_bytes
        Size beyond which it is given up.
    """

    def __init__(self, results: ResultStore, key: str, header: TableHeader, *, max_bytes: int) -> None:
        self._results = results
        self._key = key
        self._max_bytes = max_bytes
        self._schema = pa.schema(
            [pa.field(str(place), field.type) for place, field in enumerate(arrow_schema(header.fields))],
            metadata={_HEADER: _dump(header)},
        )
        self._rows: asyncio.Queue[pa.RecordBatch | Ending] = asyncio.Queue(maxsize=1)
        self._is_ended = False
        self._is_whole = False
        self._is_over = max_bytes == 0
        self._writing = None if self._is_over else asyncio.create_task(self._write())

    async def add(self, batch: pa.RecordBatch) -> None:
        """Take some rows; they are written while the caller goes on with them."""
        if not self._is_over:
            await self._rows.put(batch)

    async def end(self, ending: Ending) -> None:
        """Take note that there are no more rows; may be told again."""
        if not (self._is_ended or self._is_over):
            self._is_ended = True
            await self._rows.put(ending)

    async def finish(self) -> str | None:
        """Wait until all is written, after `end`; gives the key, ``None`` if there is no sidecar."""
        if self._writing is not None:
            await self._writing
        return self._key if self._is_whole else None

    async def aclose(self) -> None:
        """Give up what is not finished."""
        if self._writing is not None and not self._writing.done():
            self._writing.cancel()
            await asyncio.wait((self._writing,))

    async def _write(self) -> None:
        try:
            async with aclosing(self._pieces()) as pieces:
                await self._results.write(self._key, pieces)
            self._is_whole = True
        except _TooLargeError:
            log.info("Sidecar too large", key=self._key, max_bytes=self._max_bytes)
        except (TransientError, OSError, pa.ArrowException) as e:
            log.warning("Sidecar not written", key=self._key, reason=repr(e))
        finally:
            self._is_over = True
            while not self._rows.empty():  # whoever waits to put more goes on
                self._rows.get_nowait()

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        drain = Drain()
        # no dictionaries: of most columns of a catalog they triple the time and save nothing
        writer = pq.ParquetWriter(drain, self._schema, compression="zstd", use_dictionary=False, write_statistics=False)
        while isinstance(rows := await self._rows.get(), pa.RecordBatch):
            batch = pa.RecordBatch.from_arrays(rows.columns, schema=self._schema)
            if batch.nbytes < SMALL_BATCH_BYTES:
                writer.write_batch(batch)
            else:
                await asyncio.to_thread(writer.write_batch, batch)
            yield self._checked(drain)
        writer.add_key_value_metadata({_OVERFLOW.decode(): str(int(isinstance(rows, Overflow)))})
        writer.close()
        yield self._checked(drain)

    def _checked(self, drain: Drain) -> bytes:
        if drain.tell() > self._max_bytes:
            raise _TooLargeError
        return drain.empty()


class _TooLargeError(Exception):
    """There is more than is kept."""


def _dump(header: TableHeader) -> bytes:
    known = {"fields": header.fields, "infos": header.infos, "name": header.name, "description": header.description}
    return json.dumps(known, default=dataclasses.asdict).encode()


def _load(text: bytes) -> TableHeader:
    known: dict[str, Any] = json.loads(text)
    fields = [Field(**one | {"type": _type(**one["type"])}) for one in known["fields"]]
    infos = [Info(**one) for one in known["infos"]]
    return TableHeader(tuple(fields), tuple(infos), known["name"], known["description"])


def _type(datatype: str, arraysize: str | None, xtype: str | None) -> VOType:
    return VOType(Datatype(datatype), arraysize, xtype)


# -- reading ------------------------------------------------------------------------------------------------------


class StoredTable:
    """Rows of a sidecar, or a range of them; as `ResultTable`, but from the result store.

    One row group at a time is in memory.
    """

    header: TableHeader
    """Fields and INFOs."""
    ending: Ending | None
    """How the rows end, once that is known: from the start if all of them come as one batch."""
    nrows: int
    """Rows given so far."""

    def __init__(
        self,
        header: TableHeader,
        batches: AsyncGenerator[pa.RecordBatch, None],
        ending: Ending,
        *,
        is_one_batch: bool,
    ) -> None:
        self.header = header
        self.ending = ending if is_one_batch else None
        self.nrows = 0
        self._batches = batches
        self._last = ending

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        try:
            batch = await anext(self._batches)
        except StopAsyncIteration:
            self.ending = self._last
            raise
        self.nrows += batch.num_rows
        return batch

    async def aclose(self) -> None:
        """Stop reading."""
        await self._batches.aclose()


class StoredTables:
    """Sidecars in the result store."""

    def __init__(self, results: ResultStore) -> None:
        self._results = results

    async def open(self, key: str, page: Page) -> StoredTable:
        """Open the rows of a page.

        Raises
        ------
        NotFoundError
            There is no such object any more.
        BackendUnavailableError
            The store does not answer.
        """
        stored = await self._results.open(key)
        metadata = await _metadata(stored)
        notes = metadata.metadata or {}
        header = _load(notes[_HEADER])
        rows = page.rows(metadata.num_rows)
        ending: Ending = Complete()
        if rows.stop < metadata.num_rows or page.maxrec == 0:
            ending = Overflow(len(rows))
        elif notes.get(_OVERFLOW) == b"1":
            ending = Overflow(metadata.num_rows)
        header = dataclasses.replace(header, parameters=page.parameters)
        groups = list(_groups(metadata, rows))
        batches = _batches(stored, metadata, groups, arrow_schema(header.fields))
        return StoredTable(header, batches, ending, is_one_batch=len(groups) < 2)


def _groups(metadata: pq.FileMetaData, rows: range) -> Iterator[tuple[int, slice]]:
    """Row groups that have some of the rows, and which of theirs."""
    first = 0
    for number in range(metadata.num_row_groups):
        count = metadata.row_group(number).num_rows
        start, stop = max(rows.start, first), min(rows.stop, first + count)
        if start < stop:
            yield number, slice(start - first, stop - first)
        first += count


async def _batches(
    stored: StoredObject, metadata: pq.FileMetaData, groups: Sequence[tuple[int, slice]], schema: pa.Schema
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Read row groups, one batch of each."""
    for number, wanted in groups:
        place = _place(metadata, number)
        content = await _read(stored, place.start, place.stop)
        columns = await asyncio.to_thread(_decode, metadata, number, _Window(content, place.start, stored.size))
        yield pa.RecordBatch.from_arrays([column[wanted] for column in columns], schema=schema)


async def _metadata(stored: StoredObject) -> pq.FileMetaData:
    start = max(0, stored.size - TAIL_BYTES)
    tail = await _read(stored, start, stored.size)
    # Parquet ends with the length of its footer, four bytes, and its name
    footer = 8 + int.from_bytes(tail[-8:-4], "little")
    if footer > len(tail):
        start = max(0, stored.size - footer)
        tail = await _read(stored, start, stored.size)
    try:
        return pq.read_metadata(pa.PythonFile(_Window(tail, start, stored.size), mode="r"))
    except pa.ArrowException as e:
        raise ServiceError("a stored result cannot be read") from e


def _place(metadata: pq.FileMetaData, number: int) -> range:
    """Bytes of a row group."""
    group = metadata.row_group(number)
    columns = [group.column(place) for place in range(group.num_columns)]
    starts = [
        min(offset for offset in (one.dictionary_page_offset, one.data_page_offset) if offset is not None)
        for one in columns
    ]
    return range(
        min(starts), max(start + one.total_compressed_size for start, one in zip(starts, columns, strict=True))
    )


def _decode(metadata: pq.FileMetaData, number: int, window: _Window) -> Sequence[pa.Array]:
    with pq.ParquetFile(pa.PythonFile(window, mode="r"), metadata=metadata) as file:
        return [_whole(column) for column in file.read_row_group(number, use_threads=False).columns]


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


async def _read(stored: StoredObject, start: int, stop: int) -> bytes:
    async with aclosing(stored.chunks(start, stop)) as chunks:
        return b"".join([chunk async for chunk in chunks])


class _Window(io.RawIOBase):
    """A part of a file that looks like the file: reading elsewhere is a mistake."""

    def __init__(self, content: bytes, start: int, size: int) -> None:
        super().__init__()
        self._content = memoryview(content)
        self._start = start
        self._size = size
        self._position = start

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset
        return self._position

    @override
    def read(self, size: int | None = -1) -> bytes:
        stop = self._size if size is None or size < 0 else min(self._size, self._position + size)
        here = self._position - self._start
        if here < 0 or stop - self._start > len(self._content):
            raise OSError("a stored result was read outside of what was fetched")
        self._position = max(stop, self._position)
        return bytes(self._content[here : stop - self._start])
