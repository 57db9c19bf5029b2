"""Tables as bytes of an output format, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import partial

import pyarrow as pa
import structlog

from gateway.db.faults import incident
from gateway.errors import GatewayError
from gateway.services.rows import Rows
from gateway.services.spool import RowSpool, row_spool
from gateway.storage.threads import in_thread
from gateway.vo.formats.base import Broken, Format, SpooledWriter, Writer

log = structlog.get_logger()

SMALL_BATCH_BYTES = 64 * 1024
"""Writing so little takes less time than handing it to a thread and back."""

SPOOL_BYTES = 8 << 30
"""Most disk that the rows of one table may take, for formats that cannot stream: the 20 million rows that one query
may give, of 400 bytes each."""


async def serialise(table: Rows, form: Format, *, spool_bytes: int = SPOOL_BYTES) -> AsyncGenerator[bytes, None]:
    """Write a table in a format; the table is closed at the end.

    While one piece is being sent, a thread writes the next and the database fetches the one after it. A format that
    must know all rows first (FITS) has them on disk meanwhile; the query has then ended before the first piece.

    Parameters
    ----------
    spool_bytes
        Most disk that rows may take in such a format.

    Raises
    ------
    GatewayError
        Before the first piece only; later errors are told inside the table.
    TruncatedError
        The rows broke off and the format has no way to say so: cut the body.
    """
    if form.make_spooled is None:
        pieces = _streamed(table, form.make(table.header))
    else:
        pieces = _spooled(table, form.make_spooled(table.header), spool_bytes)
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
    finally:
        await table.aclose()


async def _streamed(table: Rows, writer: Writer) -> AsyncGenerator[bytes, None]:
    piece = writer.start()
    if table.ending is not None:  # all of it at once; else the head goes out while the first rows are written
        piece += await _advance(table, writer) or b""
    while table.ending is None:
        ahead = asyncio.ensure_future(_advance(table, writer))
        try:
            if piece:
                yield piece
            piece = await ahead or b""
        except Exception as e:  # noqa: BLE001 - the edge of the stream: whatever broke it is told in its own format
            piece = writer.end(_broken(e))
            break
        finally:
            ahead.cancel()
    else:
        piece += writer.end(table.ending)
    yield piece


async def _advance(table: Rows, writer: Writer) -> bytes | None:
    batch: pa.RecordBatch | None = await anext(table, None)
    if batch is None:
        return None
    if batch.nbytes < SMALL_BATCH_BYTES:
        return writer.batch(batch)
    return await asyncio.to_thread(writer.batch, batch)


async def _spooled(table: Rows, writer: SpooledWriter, max_bytes: int) -> AsyncGenerator[bytes, None]:
    async with row_spool(max_bytes) as spool:
        while (batch := await anext(table, None)) is not None:
            await in_thread(partial(_keep, batch, writer, spool))
        await in_thread(spool.finish)
        ending = table.ending
        assert ending is not None
        assert not isinstance(ending, Broken)
        await table.aclose()  # others may have its slot and connection while this is being sent
        pieces = _rewritten(spool, writer)
        piece: bytes | None = writer.start(ending)
        while piece is not None:
            ahead = asyncio.ensure_future(in_thread(partial(next, pieces, None)))
            try:
                yield piece
                piece = await ahead
            finally:
                if not ahead.done():
                    ahead.cancel()
                    await asyncio.wait((ahead,))


def _keep(batch: pa.RecordBatch, writer: SpooledWriter, spool: RowSpool) -> None:
    writer.survey(batch)
    spool.write(batch)


def _rewritten(spool: RowSpool, writer: SpooledWriter) -> Iterator[bytes]:
    for number in range(writer.passes):
        for batch in spool.read():
            yield writer.batch(batch, number)
    yield writer.end()


def _broken(error: Exception) -> Broken:
    if isinstance(error, GatewayError):
        log.warning("Result broke off", reason=error.message)
        return Broken(error.message)
    return Broken(incident("Result broke off", detail=repr(error)).message)
