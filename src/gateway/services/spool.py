"""Rows on disk, for formats that must see all of them before the first is written."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pyarrow as pa
import structlog

from gateway.errors import NotSupportedError, OverloadedError

log = structlog.get_logger()


class RowSpool:
    """Record batches in a temporary file: written one after another, then read as often as wanted.

    Its methods block, and belong in a thread.

    Parameters
    ----------
    max_bytes
        Most that the file may take.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # It has no name: whatever happens to this process, nothing stays behind.
        self._file = tempfile.TemporaryFile(prefix="gw-rows-")  # noqa: SIM115 - closed by `close`
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows.

        Raises
        ------
        NotSupportedError
            There are more than the limit lets in.
        OverloadedError
            The disk is full.
        """
        if self._file.tell() + batch.nbytes > self._max_bytes:
            raise NotSupportedError(
                f"the rows take more than the {self._max_bytes >> 20:,} MiB that this format may keep on disk; ask for "
                "fewer rows or columns, or for a RESPONSEFORMAT that streams, for example votable or parquet"
            )
        with _on_disk():
            if self._writer is None:
                self._writer = pa.ipc.new_stream(self._file, batch.schema)
            self._writer.write_batch(batch)

    def finish(self) -> None:
        """Make sure that all rows are there; to be called once, after the last.

        Raises
        ------
        OverloadedError
            The disk is full.
        """
        with _on_disk():
            if self._writer is not None:
                self._writer.close()
            self._file.flush()

    def read(self) -> Iterator[pa.RecordBatch]:
        """All batches, as they were written."""
        if self._writer is None:
            return
        self._file.seek(0)
        yield from pa.ipc.open_stream(self._file)

    def close(self) -> None:
        """Give the disk back."""
        with suppress(OSError):  # what still waits to be written on a full disk is not wanted any more
            self._file.close()


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as e:
        log.warning("Rows not kept", reason=repr(e))
        raise OverloadedError(
            "there is no room on disk for the rows; try again later, or ask for a RESPONSEFORMAT that streams, for "
            "example votable or parquet"
        ) from e


@asynccontextmanager
async def row_spool(max_bytes: int) -> AsyncIterator[RowSpool]:
    """Spool that is gone at the end."""
    spool = RowSpool(max_bytes)
    try:
        yield spool
    finally:
        spool.close()
