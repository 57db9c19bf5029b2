"""Streaming reader of VOTable 1.1 to 1.5: uploads, and files that are larger than memory.

The first TABLE of the document is read; what follows it is only checked for being well-formed. Rows come as
record batches in the canonical types of `vo.formats.base`. Decisions where the standard leaves room:

- An empty TD is null, also for text (VOT-15, VOT-22). In BINARY, which has no flags, an empty text, an empty
  array and a NaN are null; in BINARY2 they are what they are.
- Text arrays (``arraysize="5x3"``) come as one text, the strings one after another as VOTable stores them.
- A text field with xtype timestamp holds timestamps; a cell that is none is an error.
- ``datatype="char"`` without arraysize is one character; longer text is an error that says what to declare.
- A lone bit comes as a boolean: that is what astropy makes of a column of booleans.
- ``VALUES/@null`` counts for scalars and for text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from gateway.errors import UploadError
from gateway.vo.formats.base import Info, arrow_schema
from gateway.vo.formats.cells import text_bytes
from gateway.vo.tableset import Field
from gateway.vo.votable.events import Document, Mode, ReaderLimits
from gateway.vo.votable.split import split_rows, unescape

__all__ = ["ReaderLimits", "VOTableReader"]

HEADER_BYTES = 4 << 10
"""Bytes taken at once before the rows begin: rows in the same piece go the slow way."""
BLOCK_BYTES = 1 << 20
"""Bytes taken at once among the rows."""
BATCH_ROWS = 65_536
"""Rows of a record batch, at most."""
BATCH_BYTES = 16 << 20
"""Bytes of a record batch, about; wide tables have fewer rows in each."""
_ROW_END = b"</TR>"


class VOTableReader:
    """Reads the first table of a VOTable.

    The constructor reads up to the first row; iterating gives the rows, once. Everything wrong with the
    document is an `UploadError` that says where and what to change.

    Parameters
    ----------
    file
        The document, unpacked; read from its present place to its end.
    limits
        Bounds beyond which the document is refused by name of the bound.
    """

    def __init__(self, file: BinaryIO, limits: ReaderLimits | None = None) -> None:
        self._file = file
        self._limits = limits or ReaderLimits()
        self._document = Document(self._limits)
        self._taken = 0
        self._pending = b""
        self._is_ended = False
        self.rows = 0
        """Rows read so far."""
        while self._document.mode is Mode.HEADER:
            self._parse_next(HEADER_BYTES)
        self._is_ascii = [field.type.is_text and not field.type.is_timestamp for field in self.fields]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Columns, in order."""
        return tuple(spec.field for spec in self._document.specs)

    @property
    def description(self) -> str | None:
        """Description of the table."""
        return self._document.description

    @property
    def name(self) -> str | None:
        """Name of the table."""
        return self._document.name

    @property
    def infos(self) -> tuple[Info, ...]:
        """INFOs read so far; those behind the table come last."""
        return tuple(self._document.infos)

    @property
    def is_ascii(self) -> tuple[bool, ...]:
        """Whether all text of a column is 7-bit, so far; false for columns that are not text."""
        return tuple(self._is_ascii)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Rows, up to 65,536 in a batch; a table without rows has no batch."""
        schema = arrow_schema(self.fields)
        gathered: list[pa.RecordBatch] = []
        rows = size = 0
        for columns in self._pieces():
            batch = pa.RecordBatch.from_arrays(columns, schema=schema)
            self._note(batch)
            gathered.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= BATCH_ROWS or size >= BATCH_BYTES:
                yield from _joined(gathered)
                gathered, rows, size = [], 0, 0
        yield from _joined(gathered)

    def _note(self, batch: pa.RecordBatch) -> None:
        """Count rows, and keep in mind whether text is 7-bit."""
        self.rows += batch.num_rows
        if self._limits.max_rows is not None and self.rows > self._limits.max_rows:
            raise UploadError(f"the table has more than {self._limits.max_rows} rows, the most allowed")
        for i, column in enumerate(batch.columns):
            self._is_ascii[i] = self._is_ascii[i] and bytes(text_bytes(column)).isascii()

    def _pieces(self) -> Iterator[list[pa.Array]]:
        """Columns of some rows at a time, until the document ends."""
        while True:
            columns = self._document.take(self.rows + 1)
            if columns is None and self._is_ended:
                break
            if columns is None and self._document.mode is Mode.TABLEDATA:
                columns = self._next_rows()
            elif columns is None:
                self._parse_next(BLOCK_BYTES)
            if columns:
                yield columns
        self._document.check_rows(self.rows)

    # From here on: bytes into the parser.

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._taken += len(data)
        if self._limits.max_bytes is not None and self._taken > self._limits.max_bytes:
            raise UploadError(f"the document has more than {self._limits.max_bytes} bytes, the most allowed")
        return data

    def _parse_next(self, size: int) -> None:
        """Parse the next bytes by events."""
        data, self._pending = self._pending or self._read(size), b""
        self._is_ended = not data
        self._document.parse(data, is_final=not data)

    def _next_rows(self) -> list[pa.Array] | None:
        """Columns of the next block of rows, cut out of its bytes; ``None`` if it had to be parsed by events."""
        document = self._document
        text, self._pending = self._pending, b""
        if len(text) < BLOCK_BYTES:
            text += self._read(BLOCK_BYTES)
        stop = text.find(b"</TABLEDATA")
        last = text.rfind(_ROW_END, 0, stop if stop >= 0 else len(text))
        if not document.is_plain or last < 0:
            self._pending = text
            self._parse_next(BLOCK_BYTES)
            return None
        if not document.is_between_rows:  # a row that an earlier piece left open ends as it began, by events
            end = text.find(_ROW_END) + len(_ROW_END)
            document.parse(text[:end], is_final=False)
            document.is_plain &= document.is_between_rows
            self._pending = text[end:]
            return None
        block, rest = text[: last + len(_ROW_END)], text[last + len(_ROW_END) :]
        columns = split_rows(block, len(document.specs))
        if columns is None:
            document.is_plain = False
            document.parse(block, is_final=False)
        else:
            document.parse_silently(block)
            columns = document.convert([unescape(column) for column in columns], self.rows + 1)
        if stop >= 0:
            document.parse(rest, is_final=False)
        else:
            self._pending = rest
        return columns


def _joined(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if len(batches) == 1:
        yield batches[0]
    elif batches:
        yield from pa.Table.from_batches(batches).combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
