"""CSV and TSV: a row of names, then rows of text (RFC 4180; TAP 1.1, "Table Data")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from gateway.vo.formats.base import Broken, Ending, TableHeader, TruncatedError, canonical_columns
from gateway.vo.formats.cells import Literals, cell_text, constant, has_any, join_rows

LITERALS = Literals(true="true", false="false", plus_infinity="Infinity", minus_infinity="-Infinity")
"""Spellings that Python, Java, JavaScript, R, pandas and PostgreSQL all read."""

PIECE_ROWS = 16_384
"""Rows that are serialised at once, as for VOTable."""


QUOTE = pa.scalar('"')


def csv_cells(text: pa.Array) -> pa.Array:
    """Quote what needs it. An empty text is ``""``, a null is nothing, so that both come back."""
    is_empty = pc.equal(text, constant(""))
    if not has_any(text, b",", b'"', b"\n", b"\r"):
        return pc.if_else(is_empty, constant('""'), text)
    needs_quotes = pc.or_(pc.match_substring_regex(text, '[,"\r\n]'), is_empty)
    doubled = pc.replace_substring(text, '"', '""')
    quoted = pc.binary_join_element_wise(QUOTE, doubled, QUOTE, constant(""))
    return pc.if_else(needs_quotes, quoted, text)


def tsv_cells(text: pa.Array) -> pa.Array:
    """Put a blank for each tab and line end, which TSV cannot hold (TAP-57)."""
    return pc.replace_substring_regex(text, "[\t\r\n]", " ") if has_any(text, b"\t", b"\r", b"\n") else text


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are told apart."""

    separator: str
    protect: Callable[[pa.Array], pa.Array]
    """Makes text safe to stand in a cell."""


CSV = Dialect(",", csv_cells)
TSV = Dialect("\t", tsv_cells)


class DelimitedWriter:
    """CSV or TSV. There is no place to tell an overflow in band; a broken table is cut off."""

    def __init__(self, header: TableHeader, dialect: Dialect = CSV, *, has_names: bool = True) -> None:
        self._header = header
        self._dialect = dialect
        self._has_names = has_names

    def start(self) -> bytes:
        """Row of column names."""
        if not self._has_names:
            return b""
        names = self._dialect.protect(pa.array([field.name for field in self._header.fields], pa.string()))
        return (self._dialect.separator.join(names.to_pylist()) + "\n").encode()

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Rows, each with its line end."""
        columns = canonical_columns(batch, self._header.fields)
        return b"".join(
            self._rows([column.slice(start, PIECE_ROWS) for column in columns])
            for start in range(0, batch.num_rows, PIECE_ROWS)
        )

    def _rows(self, columns: list[pa.Array]) -> bytes:
        cells = [
            self._dialect.protect(text) if field.type.is_text else text
            for field, text in (
                (field, cell_text(column, field, LITERALS))
                for field, column in zip(self._header.fields, columns, strict=True)
            )
        ]
        if len(cells) == 1:
            # A row that is an empty line would be skipped by most readers.
            cells = [cells[0].fill_null(constant('""'))] if self._dialect is CSV else cells
        return b"".join((join_rows(cells, self._dialect.separator, "\n"), b"\n"))

    def end(self, ending: Ending) -> bytes:
        """Nothing, or the refusal to end well."""
        if isinstance(ending, Broken):
            raise TruncatedError(ending.message)
        return b""
