"""Parquet with the table's VO metadata beside the rows (VOParquet 1.0)."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

from gateway.vo.formats.base import Broken, Ending, Overflow, TableHeader, TruncatedError, arrow_type, canonical_columns
from gateway.vo.tableset import Datatype, Field
from gateway.vo.votable.document import metadata_document

ROW_GROUP_BYTES = 16 << 20
"""Rows that are gathered before they are written, in Arrow's memory.

Row groups of a few MiB compress and skip well; more would cost memory for each open stream.
"""


class _Drain(io.RawIOBase):
    """File that remembers only what was written since it was last emptied."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    @override
    def writable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # any buffer
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def empty(self) -> bytes:
        """Bytes written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def parquet_field(field: Field) -> pa.Field:
    """Column as Parquet has it: canonical, but bytes without sign."""
    type_ = arrow_type(field.type)
    if field.type.datatype is Datatype.UNSIGNED_BYTE:
        type_ = pa.list_(pa.uint8()) if field.type.is_array else pa.uint8()
    return pa.field(field.name, type_)


class ParquetWriter:
    """Parquet, zstd, a row group every few MiB. An overflow is told in the footer's metadata."""

    def __init__(self, header: TableHeader) -> None:
        self._header = header
        self._drain = _Drain()
        metadata = {
            "IVOA.VOTable-Parquet.version": "1.0",
            "IVOA.VOTable-Parquet.content": metadata_document(header),
        }
        self._schema = pa.schema([parquet_field(field) for field in header.fields], metadata=metadata)
        self._writer = pq.ParquetWriter(self._drain, self._schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0

    def start(self) -> bytes:
        """Parquet's magic bytes."""
        return self._drain.empty()

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Row group, when enough rows have gathered."""
        columns = [
            column.cast(field.type)
            for column, field in zip(canonical_columns(batch, self._header.fields), self._schema, strict=True)
        ]
        self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._write_group()
        return self._drain.empty()

    def _write_group(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._waiting_bytes = [], 0

    def end(self, ending: Ending) -> bytes:
        """Last row group and the footer."""
        if isinstance(ending, Broken):
            raise TruncatedError(ending.message)
        self._write_group()
        status = "OVERFLOW" if isinstance(ending, Overflow) else "OK"
        self._writer.add_key_value_metadata({"QUERY_STATUS": status})
        self._writer.close()
        return self._drain.empty()
