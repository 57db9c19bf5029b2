"""Columns of a FITS binary table: what must be known of them first, and how their cells become bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.errors import NotSupportedError
from gateway.vo.formats.cells import constant, is_whole_second, timestamp_text
from gateway.vo.tableset import INTEGER_DATATYPES, Datatype, Field
from gateway.vo.votable.binary import Cells, Fixed, Varying, array_length, ascii_cells, codec, padded, utf8_cells
from gateway.vo.votable.nulls import NULL_VALUES

_CODES: Mapping[Datatype, tuple[str, int]] = {
    Datatype.BOOLEAN: ("L", 1),
    Datatype.BIT: ("X", 1),
    Datatype.UNSIGNED_BYTE: ("B", 1),
    Datatype.SHORT: ("I", 2),
    Datatype.INT: ("J", 4),
    Datatype.LONG: ("K", 8),
    Datatype.FLOAT: ("E", 4),
    Datatype.DOUBLE: ("D", 8),
    Datatype.FLOAT_COMPLEX: ("C", 8),
    Datatype.DOUBLE_COMPLEX: ("M", 16),
}
"""Letter of TFORM and bytes of one element."""

WASTE_BYTES = 128 << 20
"""Text stands in the rows, all cells as wide as the widest, unless that wastes so many bytes in a column.

Text in the heap keeps a file small when one cell in a million is long, but astropy is slow with it and gives arrays of
letters.
"""

INSTANT_WIDTHS = (19, 26)
"""Characters of a timestamp without and with microseconds."""


class Census:
    """What is known of a column once all rows have been seen."""

    def __init__(self, field: Field) -> None:
        self.field = _spelled(field)
        self.has_nulls = False
        self.longest = 0
        """Most elements, or bytes of text, in a cell."""
        self.total = 0
        """Elements, or bytes of text, in all cells."""
        self.unused = _null_candidates(field.type.datatype)
        """Numbers that could stand for null."""

    def add(self, column: pa.Array) -> None:
        """Take note of some cells."""
        self.has_nulls |= column.null_count > 0
        if self.field.type.is_timestamp:
            self._add_instants(column)
        elif self.field.type.is_text:
            is_utf8 = self.field.type.datatype is Datatype.UNICODE_CHAR
            self._add_lengths(pc.binary_length(column) if is_utf8 else pc.utf8_length(column))
        elif array_length(self.field.type.arraysize) is None:
            self._add_lengths(pc.list_value_length(column))
        elif self.field.type.datatype in INTEGER_DATATYPES:
            values = column.flatten() if pa.types.is_list(column.type) else column
            self.unused = [
                number for number in self.unused if not pc.any(pc.equal(values, constant(number, values.type))).as_py()
            ]

    @property
    def most_heap_bytes(self) -> int:
        """Bytes of all cells, wherever they will stand."""
        return self.total * (1 if self.field.type.is_text else _CODES[self.field.type.datatype][1])

    def _add_instants(self, column: pa.Array) -> None:
        is_whole = pc.all(is_whole_second(column.cast(pa.int64())), min_count=0).as_py()
        self.longest = max(self.longest, INSTANT_WIDTHS[not is_whole])
        self.total += self.longest * len(column)

    def _add_lengths(self, lengths: pa.Array) -> None:
        self.longest = max(self.longest, pc.max(lengths).as_py() or 0)
        self.total += pc.sum(lengths).as_py() or 0


def _spelled(field: Field) -> Field:
    """Field in a type that FITS has: bits of varying number are logical values."""
    if field.type.datatype is Datatype.BIT and array_length(field.type.arraysize) is None:
        return replace(field, type=replace(field.type, datatype=Datatype.BOOLEAN))
    return field


def _null_candidates(datatype: Datatype) -> list[int]:
    match datatype:
        case Datatype.UNSIGNED_BYTE:
            return [-1]  # with room for it, since all 256 may be real
        case Datatype.SHORT | Datatype.INT | Datatype.LONG:
            most = 2 ** (8 * _CODES[datatype][1] - 1)
            return [-most, NULL_VALUES[datatype], most - 1]
        case _:
            return []


@dataclass(frozen=True, slots=True)
class Inline:
    """Column whose cells stand in the rows."""

    form: str
    dtype: tuple[Any, ...]
    """Type and shape in a row, as numpy takes them after the name of a record's field."""
    values: Callable[[pa.Array], np.ndarray]
    row_bytes: int
    heap_bytes: int = 0
    null: int | None = None
    dimensions: str | None = None


@dataclass(frozen=True, slots=True)
class Heap:
    """Column whose cells stand behind the rows, which hold their number of elements and their place."""

    form: str
    cells: Callable[[pa.Array], Cells]
    counts: Callable[[pa.Array, Cells], np.ndarray]
    heap_bytes: int
    dtype: tuple[Any, ...]
    row_bytes: int
    null: int | None = None
    dimensions: str | None = None

    def descriptors(self, column: pa.Array, cells: Cells, start: int) -> np.ndarray:
        """Pairs (elements, place in bytes from the start of the heap), where these cells begin at ``start``."""
        return np.stack([self.counts(column, cells), cells.offsets[:-1] + start], axis=1)


Plan = Inline | Heap


def column_plan(census: Census, rows: int, *, is_wide: bool) -> Plan:
    """Decide how a column is written.

    Parameters
    ----------
    census
        What is known of it.
    rows
        Of the table.
    is_wide
        Whether the heap of the table needs places of 64 bits.

    Raises
    ------
    NotSupportedError
        No number is left that could stand for null.
    """
    if census.field.type.is_text:
        return _text_plan(census, rows, is_wide=is_wide)
    letter, size = _CODES[census.field.type.datatype]
    length = array_length(census.field.type.arraysize)
    null = _null(census) if length is not None and census.field.type.datatype in INTEGER_DATATYPES else None
    field = census.field
    if null == -1:
        field, letter, size = _as(field, Datatype.SHORT), *_CODES[Datatype.SHORT]
    match codec(field, null or 0):
        case Varying(cells=cells, counts=counts):
            return _heap(letter, census, cells, counts, size, is_wide=is_wide)
        case Fixed(dtype=dtype, values=values):
            assert length is not None
            return Inline(
                form=f"{length}{letter}",
                dtype=dtype,
                values=_logical(values) if letter == "L" else values,
                row_bytes=np.dtype([("cell", *dtype)]).itemsize,
                null=null,
                dimensions=_dimensions(field) if letter != "X" else None,
            )


def _as(field: Field, datatype: Datatype) -> Field:
    return replace(field, type=replace(field.type, datatype=datatype))


def _null(census: Census) -> int | None:
    if not census.has_nulls:
        return None
    if not census.unused:
        raise NotSupportedError(
            f"column {census.field.name} holds every number that could stand for null in FITS; "
            "ask for RESPONSEFORMAT=votable or another format"
        )
    return census.unused[0]


def _dimensions(field: Field) -> str | None:
    """TDIM, the first axis fastest as in VOTable."""
    axes = (field.type.arraysize or "").split("x")
    return f"({','.join(axes)})" if len(axes) > 1 else None


def _logical(values: Callable[[pa.Array], np.ndarray]) -> Callable[[pa.Array], np.ndarray]:
    """Logical cells, where null is a zero byte."""

    def with_zeros(column: pa.Array) -> np.ndarray:
        letters = values(column)
        letters[letters == ord("?")] = 0
        return letters

    return with_zeros


def _heap(
    letter: str,
    census: Census,
    cells: Callable[[pa.Array], Cells],
    counts: Callable[[pa.Array, Cells], np.ndarray],
    size: int,
    *,
    is_wide: bool,
) -> Heap:
    # Complex numbers are counted as pairs by Arrow, as one by FITS.
    items = 2 if letter in {"C", "M"} else 1
    kind, descriptor = ("Q", ">i8") if is_wide else ("P", ">i4")
    return Heap(
        form=f"1{kind}{letter}({census.longest // items})",
        cells=cells,
        counts=counts,
        heap_bytes=census.total // items * size,
        dtype=(descriptor, (2,)),
        row_bytes=2 * np.dtype(descriptor).itemsize,
    )


def _text_plan(census: Census, rows: int, *, is_wide: bool) -> Plan:
    type_ = census.field.type
    most = array_length(type_.arraysize)
    to_cells = utf8_cells if type_.datatype is Datatype.UNICODE_CHAR else ascii_cells

    def cells(column: pa.Array) -> Cells:
        if not type_.is_timestamp:
            return to_cells(column)
        text = timestamp_text(column)
        return to_cells(text if most is None else pc.utf8_slice_codeunits(text, 0, most))

    width = max(census.longest, 1)
    if type_.is_timestamp:
        width = min(width, most or width)
    elif width * rows - census.total > WASTE_BYTES:
        return _heap("A", census, cells, lambda _, found: found.lengths, 1, is_wide=is_wide)
    return Inline(
        form=f"{width}A",
        dtype=(np.uint8, (width,)),
        values=lambda column: padded(census.field, cells(column), width),
        row_bytes=width,
    )
