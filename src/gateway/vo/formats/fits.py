"""FITS: one binary table extension (FITS 4.0, "Binary-table extension").

Its header comes first and tells the number of rows, the width of text and the numbers that stand for null. All of
that is known only at the end, so all rows are looked at once before any is written.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from gateway.errors import NotSupportedError
from gateway.vo.formats.base import Broken, Complete, Ending, Overflow, TableHeader, TruncatedError, canonical_columns
from gateway.vo.formats.cards import BLOCK, Header
from gateway.vo.formats.fitscolumns import Census, Heap, Inline, Plan, column_plan
from gateway.vo.formats.names import distinct
from gateway.vo.votable.binary import records_of

MOST_COLUMNS = 999
"""FITS 4.0, "Mandatory keywords": TFIELDS."""

SMALL_HEAP = 2**31
"""Bytes that descriptors of 32 bits reach."""

PIECE_ROWS = 16_384
"""Rows that are made at once, as for VOTable."""


class FitsWriter:
    """Table as FITS, in two passes over its rows if some cells vary in size: the rows, then the heap.

    Nulls are NaN, TNULL, a zero byte for logical values, empty text or an empty array; a null bit is 0. Text of
    `unicodeChar` is UTF-8, beyond what FITS promises, as astropy reads it. ``QSTATUS`` is OK or OVERFLOW; the INFOs
    are comments. UCD, utype, xtype and description stand in ``TUCDn``, ``TUTYPn``, ``TXTYPn``, ``TCOMMn``, which
    TOPCAT reads.
    """

    def __init__(self, header: TableHeader) -> None:
        if len(header.fields) > MOST_COLUMNS:
            raise NotSupportedError(
                f"the table has {len(header.fields)} columns and FITS at most {MOST_COLUMNS}; "
                "ask for fewer or for another RESPONSEFORMAT"
            )
        self._header = header
        self._census = [Census(field) for field in header.fields]
        self._rows = 0
        self._plans: list[Plan] = []
        self._heap_offset = 0
        self._sent = 0

    @property
    def passes(self) -> int:
        """Two if there is a heap."""
        return 2 if any(isinstance(plan, Heap) for plan in self._plans) else 1

    def survey(self, batch: pa.RecordBatch) -> None:
        """Take note of sizes and nulls."""
        for census, column in zip(self._census, canonical_columns(batch, self._header.fields), strict=True):
            census.add(column)
        self._rows += batch.num_rows

    def start(self, ending: Complete | Overflow) -> bytes:
        """Write both headers."""
        is_wide = sum(census.most_heap_bytes for census in self._census) >= SMALL_HEAP
        self._plans = [column_plan(census, self._rows, is_wide=is_wide) for census in self._census]
        primary = Header()
        primary.flag("SIMPLE", value=True, comment="FITS standard")
        primary.number("BITPIX", 8)
        primary.number("NAXIS", 0, "the table is the first extension")
        primary.flag("EXTEND", value=True)
        return primary.to_bytes() + self._table_header(ending).to_bytes()

    def _table_header(self, ending: Complete | Overflow) -> Header:
        cards = Header()
        cards.text("XTENSION", "BINTABLE", "binary table")
        cards.number("BITPIX", 8)
        cards.number("NAXIS", 2)
        cards.number("NAXIS1", sum(plan.row_bytes for plan in self._plans), "bytes of a row")
        cards.number("NAXIS2", self._rows, "rows")
        cards.number("PCOUNT", sum(plan.heap_bytes for plan in self._plans), "bytes of the heap")
        cards.number("GCOUNT", 1)
        cards.number("TFIELDS", len(self._plans), "columns")
        cards.text("EXTNAME", self._header.name)
        cards.text("QSTATUS", "OVERFLOW" if isinstance(ending, Overflow) else "OK", "QUERY_STATUS of DALI")
        fields = self._header.fields
        names = distinct([field.name for field in fields], is_folded=True)
        for i, (field, plan, name) in enumerate(zip(fields, self._plans, names, strict=True), start=1):
            cards.text(f"TTYPE{i}", name)
            cards.text(f"TFORM{i}", plan.form)
            if plan.null is not None:
                cards.number(f"TNULL{i}", plan.null)
            cards.text(f"TDIM{i}", plan.dimensions)
            for keyword, value in (
                ("TUNIT", field.unit),
                ("TUCD", field.ucd),
                ("TUTYP", field.utype),
                ("TXTYP", field.type.xtype),
                ("TCOMM", field.description),
            ):
                cards.text(f"{keyword}{i}", value or None)
        if isinstance(ending, Overflow):
            cards.comment(f"The table was cut after MAXREC={ending.maxrec} rows; more rows match.")
        for info in self._header.infos:
            cards.comment(f"{info.name}: {info.value}")
        return cards

    def batch(self, batch: pa.RecordBatch, number: int) -> bytes:
        """Rows in the first pass, their cells in the heap in the second."""
        columns = canonical_columns(batch, self._header.fields)
        write = self._row_bytes if number == 0 else self._heap_bytes
        pieces = [
            write([column.slice(start, PIECE_ROWS) for column in columns], min(PIECE_ROWS, batch.num_rows - start))
            for start in range(0, batch.num_rows, PIECE_ROWS)
        ]
        self._sent += sum(map(len, pieces))
        return b"".join(pieces)

    def _row_bytes(self, columns: Sequence[pa.Array], rows: int) -> bytes:
        run = []
        for column, plan in zip(columns, self._plans, strict=True):
            match plan:
                case Inline(dtype=dtype, values=values):
                    run.append((dtype, values(column)))
                case Heap(dtype=dtype):
                    cells = plan.cells(column)
                    run.append((dtype, plan.descriptors(column, cells, self._heap_offset)))
                    self._heap_offset += len(cells.data)
        return records_of(run, rows).tobytes()

    def _heap_bytes(self, columns: Sequence[pa.Array], _: int) -> bytes:
        # In the very order in which the first pass counted.
        return b"".join(
            plan.cells(column).data.tobytes()
            for column, plan in zip(columns, self._plans, strict=True)
            if isinstance(plan, Heap)
        )

    def end(self) -> bytes:
        """Zeros up to a whole block."""
        return bytes(-self._sent % BLOCK)


class GatheringFitsWriter:
    """The same for small tables: all rows are kept in memory, and all bytes come at the end."""

    def __init__(self, header: TableHeader) -> None:
        self._writer = FitsWriter(header)
        self._batches: list[pa.RecordBatch] = []

    def start(self) -> bytes:
        """Nothing."""
        return b""

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Nothing."""
        self._writer.survey(batch)
        self._batches.append(batch)
        return b""

    def end(self, ending: Ending) -> bytes:
        """Write the whole file, or refuse to end well."""
        if isinstance(ending, Broken):
            raise TruncatedError(ending.message)
        pieces = [self._writer.start(ending)]
        pieces += [self._writer.batch(rows, number) for number in range(self._writer.passes) for rows in self._batches]
        return b"".join([*pieces, self._writer.end()])
