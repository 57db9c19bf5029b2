"""Tables as bytes of an output format, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pyarrow as pa
import structlog

from gateway.db.faults import incident
from gateway.errors import GatewayError
from gateway.services.queries import ResultTable
from gateway.vo.formats.base import Broken, Format, Writer

log = structlog.get_logger()

SMALL_BATCH_BYTES = 64 * 1024
"""Writing so little takes less time than handing it to a thread and back."""


async def serialise(table: ResultTable, form: Format) -> AsyncGenerator[bytes, None]:
    """Write a table in a format; the table is closed at the end.

    While one piece is being sent, a thread writes the next and the database fetches the one after it.

    Raises
    ------
    GatewayError
        Before the first piece only; later errors are told inside the table.
    TruncatedError
        The rows broke off and the format has no way to say so: cut the body.
    """
    writer = form.make(table.header)
    try:
        piece = writer.start() + (await _advance(table, writer) or b"")
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
    finally:
        await table.aclose()


async def _advance(table: ResultTable, writer: Writer) -> bytes | None:
    batch: pa.RecordBatch | None = await anext(table, None)
    if batch is None:
        return None
    if batch.nbytes < SMALL_BATCH_BYTES:
        return writer.batch(batch)
    return await asyncio.to_thread(writer.batch, batch)


def _broken(error: Exception) -> Broken:
    if isinstance(error, GatewayError):
        log.warning("Result broke off", reason=error.message)
        return Broken(error.message)
    return Broken(incident("Result broke off", detail=repr(error)).message)
