"""Writers of VOTable 1.4 in its three streaming serialisations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from gateway.vo.formats.base import Ending, TableHeader, canonical_columns
from gateway.vo.votable.base64 import Base64Encoder
from gateway.vo.votable.binary import RowEncoder
from gateway.vo.votable.document import head_xml, tail_xml
from gateway.vo.votable.nulls import null_value, refuse_null_values, with_room_for_null
from gateway.vo.votable.tabledata import encode_rows

PIECE_ROWS = 16_384
"""Rows that are serialised at once: enough to forget the cost of a call, few enough for the caches."""


class Binary2Writer:
    """VOTable with BINARY2 rows: fast, compact, with true nulls."""

    def __init__(self, header: TableHeader) -> None:
        self._header = header
        self._stream = _Stream(RowEncoder(header.fields))

    def start(self) -> bytes:
        """Document up to the first row."""
        return f'{head_xml(self._header)}<DATA><BINARY2><STREAM encoding="base64">\n'.encode()

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Rows; a line feed ends each batch, so that lines stay finite."""
        return self._stream.encode(canonical_columns(batch, self._header.fields), batch.num_rows)

    def end(self, ending: Ending) -> bytes:
        """Document after the last row."""
        return self._stream.finish() + f"</STREAM></BINARY2></DATA>\n{tail_xml(self._header, ending)}".encode()


class BinaryWriter:
    """VOTable with BINARY rows, for readers that do not know BINARY2.

    Whole numbers have no null of their own: one number of each type stands for it, and is told as
    ``VALUES/@null`` (VOT-16). All values of an unsignedByte may be real ones, therefore it is sent as short. Null text
    comes back empty and a null bit as 0: BINARY knows no better.
    """

    def __init__(self, header: TableHeader) -> None:
        self._header = replace(header, fields=tuple(map(with_room_for_null, header.fields)))
        self._nulls = [null_value(field) for field in self._header.fields]
        self._stream = _Stream(RowEncoder(self._header.fields, self._nulls))

    def start(self) -> bytes:
        """Document up to the first row."""
        return f'{head_xml(self._header, self._nulls)}<DATA><BINARY><STREAM encoding="base64">\n'.encode()

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Rows; a line feed ends each batch, so that lines stay finite.

        Raises
        ------
        NotSupportedError
            A value is the very number that stands for null.
        """
        columns = canonical_columns(batch, self._header.fields)
        refuse_null_values(columns, self._header.fields, self._nulls)
        return self._stream.encode(columns, batch.num_rows)

    def end(self, ending: Ending) -> bytes:
        """Document after the last row."""
        return self._stream.finish() + f"</STREAM></BINARY></DATA>\n{tail_xml(self._header, ending)}".encode()


class _Stream:
    """Content of a STREAM: rows as bytes, in base64."""

    def __init__(self, rows: RowEncoder) -> None:
        self._rows = rows
        self._base64 = Base64Encoder()

    def encode(self, columns: Sequence[pa.Array], rows: int) -> bytes:
        pieces = [
            self._base64.encode(self._rows.encode([column.slice(start, PIECE_ROWS) for column in columns]))
            for start in range(0, rows, PIECE_ROWS)
        ]
        return b"".join([*pieces, b"\n"]) if pieces else b""

    def finish(self) -> bytes:
        return self._base64.finish()


class TabledataWriter:
    """VOTable with rows as XML elements: for eyes, and for readers that know nothing else."""

    def __init__(self, header: TableHeader) -> None:
        self._header = header

    def start(self) -> bytes:
        """Document up to the first row."""
        return f"{head_xml(self._header)}<DATA><TABLEDATA>\n".encode()

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Rows, one a line."""
        columns = canonical_columns(batch, self._header.fields)
        pieces = [
            encode_rows([column.slice(start, PIECE_ROWS) for column in columns], self._header.fields)
            for start in range(0, batch.num_rows, PIECE_ROWS)
        ]
        return b"".join(pieces)

    def end(self, ending: Ending) -> bytes:
        """Document after the last row."""
        return f"</TABLEDATA></DATA>\n{tail_xml(self._header, ending)}".encode()
