"""Arrow IPC stream: the rows as they travel inside, for programs that read columns."""

from __future__ import annotations

import pyarrow as pa

from gateway.vo.formats.base import Broken, Ending, Overflow, TableHeader, TruncatedError, canonical_columns, described
from gateway.vo.formats.columnar import Drain, plain_field
from gateway.vo.tableset import Field

STATUS = "QUERY_STATUS"
"""Key of the status in the metadata of the last batch."""


def described_field(field: Field) -> pa.Field:
    """Column with its VO metadata under the names that VOTable gives them; any value may be null."""
    metadata = {name: _utf8(value) for name, value in described(field).items() if name != "name"}
    return plain_field(field).with_metadata(metadata)


class ArrowWriter:
    """Arrow IPC stream, not compressed.

    The schema's metadata are the INFOs. A last batch without rows has the status in its own metadata, ``OK`` or
    ``OVERFLOW``: a reader that wants to be sure that all rows are there looks for it, since Arrow itself takes a
    stream that was cut between two batches for a whole one.
    """

    def __init__(self, header: TableHeader) -> None:
        self._header = header
        self._drain = Drain()
        infos = {_utf8(info.name): _utf8(info.value) for info in header.infos}
        self._schema = pa.schema([described_field(field) for field in header.fields], metadata=infos)
        self._writer = pa.ipc.new_stream(self._drain, self._schema)

    def start(self) -> bytes:
        """Nothing yet: the schema goes out with the first batch."""
        return self._drain.empty()

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """One record batch."""
        columns = [
            column if column.type == field.type else column.cast(field.type)
            for column, field in zip(canonical_columns(batch, self._header.fields), self._schema, strict=True)
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        return self._drain.empty()

    def end(self, ending: Ending) -> bytes:
        """Status, and the end of the stream."""
        if isinstance(ending, Broken):
            raise TruncatedError(ending.message)
        status = "OVERFLOW" if isinstance(ending, Overflow) else "OK"
        nothing = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in self._schema], schema=self._schema)
        self._writer.write_batch(nothing, custom_metadata={STATUS: status})
        self._writer.close()
        return self._drain.empty()


def _utf8(text: str) -> bytes:
    """Text as UTF-8 whatever it holds."""
    return text.encode("utf-8", "replace")
