"""Writers of VOTable 1.4 in its two streaming serialisations."""

from __future__ import annotations

import pyarrow as pa

from gateway.vo.formats.base import Ending, TableHeader, canonical_columns
from gateway.vo.votable.base64 import Base64Encoder
from gateway.vo.votable.binary import RowEncoder
from gateway.vo.votable.document import head_xml, tail_xml
from gateway.vo.votable.tabledata import encode_rows

PIECE_ROWS = 16_384
"""Rows that are serialised at once: enough to forget the cost of a call, few enough for the caches."""


class Binary2Writer:
    """VOTable with BINARY2 rows: fast, compact, with true nulls."""

    def __init__(self, header: TableHeader) -> None:
        self._header = header
        self._rows = RowEncoder(header.fields)
        self._base64 = Base64Encoder()

    def start(self) -> bytes:
        """Document up to the first row."""
        return f'{head_xml(self._header)}<DATA><BINARY2><STREAM encoding="base64">\n'.encode()

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Rows; a line feed ends each batch, so that lines stay finite."""
        columns = canonical_columns(batch, self._header.fields)
        pieces = [
            self._base64.encode(self._rows.encode([column.slice(start, PIECE_ROWS) for column in columns]))
            for start in range(0, batch.num_rows, PIECE_ROWS)
        ]
        return b"".join([*pieces, b"\n"]) if pieces else b""

    def end(self, ending: Ending) -> bytes:
        """Document after the last row."""
        return self._base64.finish() + f"</STREAM></BINARY2></DATA>\n{tail_xml(self._header, ending)}".encode()


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
