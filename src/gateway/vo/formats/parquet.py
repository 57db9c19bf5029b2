"""Parquet with the table's VO metadata beside the rows (VOParquet 1.0)."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.vo.formats.base import Broken, Ending, Overflow, TableHeader, TruncatedError, canonical_columns
from gateway.vo.formats.columnar import Drain, plain_field
from gateway.vo.votable.document import metadata_document

ROW_GROUP_BYTES = 16 << 20
"""Rows that are gathered before they are written, in Arrow's memory.

Row groups of a few MiB compress and skip well; more would cost memory for each open stream.
"""


class ParquetWriter:
    """Parquet, zstd, a row group every few MiB. An overflow is told in the footer's metadata."""

    def __init__(self, header: TableHeader) -> None:
        self._header = header
        self._drain = Drain()
        metadata = {
            "IVOA.VOTable-Parquet.version": "1.0",
            "IVOA.VOTable-Parquet.content": metadata_document(header),
        }
        self._schema = pa.schema([plain_field(field) for field in header.fields], metadata=metadata)
        # Without dictionaries: for most columns of a catalogue they double the time and save nothing.
        self._writer = pq.ParquetWriter(self._drain, self._schema, compression="zstd", use_dictionary=False)
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
