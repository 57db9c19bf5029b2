"""Cells as text, a column at a time: what TABLEDATA, CSV and TSV have in common.

Everything is done by Arrow's kernels; no Python object is made for a cell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.vo.tableset import Datatype, Field


@lru_cache(maxsize=None, typed=True)
def constant(value: str | bytes | float | None, type_: pa.DataType | None = None) -> pa.Scalar:
    """Make a scalar once.

    Where pandas is not installed, pyarrow looks for it anew whenever it makes one, for 0.1 ms: no kernel is to be
    given plain Python values.
    """
    return pa.scalar(value, type_)


NO_TEXT = pa.scalar(None, pa.string())
"""Null among texts."""


@dataclass(frozen=True, slots=True)
class Literals:
    """How a format spells what is not a plain number."""

    true: str
    false: str
    nan: str = "NaN"
    plus_infinity: str = "+Inf"
    minus_infinity: str = "-Inf"


TABLEDATA = Literals(true="T", false="F")
"""VOTable 1.4, "Definitions of Primitive Datatypes" (VOT-12, VOT-13)."""

FIRST_INSTANT_US = -62_135_596_800_000_000
"""0001-01-01T00:00:00, microseconds since 1970."""
LAST_INSTANT_US = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999: DALI's timestamp has four digits for the year."""


def cell_text(column: pa.Array, field: Field, literals: Literals) -> pa.Array:
    """Text of each cell, null where the cell is; array elements are separated by one blank.

    Numbers keep every digit: integers as they are, floats in the shortest form that reads back to the
    same bits.
    """
    if field.type.is_timestamp and pa.types.is_timestamp(column.type):
        return timestamp_text(column)
    if pa.types.is_list(column.type):
        return _list_text(column, field, literals)
    return _scalar_text(column, literals)


def _scalar_text(column: pa.Array, literals: Literals) -> pa.Array:
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, constant(literals.true), constant(literals.false))
    if pa.types.is_floating(column.type):
        return _float_text(column, literals)
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _float_text(column: pa.Array, literals: Literals) -> pa.Array:
    text = column.cast(pa.string())
    if pc.all(pc.is_finite(column), min_count=0).as_py():
        return text
    is_positive = pc.greater(column, constant(0.0, column.type))
    infinity = pc.if_else(is_positive, constant(literals.plus_infinity), constant(literals.minus_infinity))
    text = pc.if_else(pc.is_inf(column), infinity, text)
    return pc.if_else(pc.is_nan(column), constant(literals.nan), text)


def timestamp_text(column: pa.Array) -> pa.Array:
    """``YYYY-MM-DDThh:mm:ss``, with six decimals where the instant has a fraction (DALI 1.1, "Timestamp").

    Instants outside of the years 1 to 9999, which DALI cannot write, become null.
    """
    ticks = column.cast(pa.int64())
    limits = pc.min_max(ticks).as_py()
    if limits["min"] is not None and (limits["min"] < FIRST_INSTANT_US or limits["max"] > LAST_INSTANT_US):
        fits = pc.and_(
            pc.greater_equal(ticks, constant(FIRST_INSTANT_US)), pc.less_equal(ticks, constant(LAST_INSTANT_US))
        )
        column = pc.if_else(fits, column, constant(None, column.type))
        ticks = column.cast(pa.int64())
    text = pc.binary_replace_slice(column.cast(pa.string()), start=10, stop=11, replacement="T")
    return pc.if_else(is_whole_second(ticks), pc.utf8_slice_codeunits(text, 0, 19), text)


def is_whole_second(ticks: pa.Array) -> pa.Array:
    """Whether instants, in microseconds, have no fraction of a second."""
    second = constant(1_000_000)
    return pc.equal(pc.multiply(pc.divide(ticks, second), second), ticks)


def flat_list(column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Offsets (int64, one more than cells) and elements of a list column; a null cell has no elements.

    Arrow lets a null cell and a slice keep elements that do not count; here they are gone. Null elements
    of floating arrays become NaN, of others zero.
    """
    lengths = pc.list_value_length(column).fill_null(constant(0, pa.int32())).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(column) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    elements = column.flatten()
    if elements.null_count:
        elements = elements.fill_null(constant(math.nan if pa.types.is_floating(elements.type) else 0, elements.type))
    return offsets, elements


def _list_text(column: pa.Array, field: Field, literals: Literals) -> pa.Array:
    offsets, elements = flat_list(column)
    is_bit = field.type.datatype is Datatype.BIT
    text = pc.if_else(elements, constant("1"), constant("0")) if is_bit else _scalar_text(elements, literals)
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), text)
    joined = pc.binary_join(lists, constant(" "))
    return pc.if_else(column.is_valid(), joined, NO_TEXT) if column.null_count else joined


def text_bytes(column: pa.Array) -> memoryview:
    """UTF-8 bytes of all cells of a string or binary column, one after another."""
    _, offsets, values = column.buffers()
    if values is None or len(column) == 0:
        return memoryview(b"")
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(values)[bounds[0] : bounds[-1]]


def has_any(column: pa.Array, *needles: bytes) -> bool:
    """Whether some cell of a string column holds one of these byte sequences; false alarms are possible."""
    haystack = bytes(text_bytes(column))
    return any(needle in haystack for needle in needles)


def has_control(column: pa.Array) -> bool:
    """Whether some cell of a string column holds a character below U+0020."""
    return bool((np.frombuffer(text_bytes(column), np.uint8) < 0x20).any())


def join_rows(cells: list[pa.Array], between_cells: str, between_rows: str, *, null: str = "") -> memoryview:
    """All rows as one text, with ``null`` for null cells. There is at least one row."""
    rows = (
        pc.binary_join_element_wise(*cells, constant(between_cells), null_handling="replace", null_replacement=null)
        if len(cells) > 1
        else cells[0].fill_null(constant(null))
    )
    everything = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows)
    return text_bytes(pc.binary_join(everything, constant(between_rows)))
