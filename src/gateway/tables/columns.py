"""Columns of files as the gateway knows them: VO types, canonical Arrow types, and the way there.

The canonical types are those of `gateway.vo.formats.base`. What a file has beyond them is turned into the
smallest type that holds every value (unsigned into the next larger signed), or refused with the row and
column; nothing is rounded or wrapped in silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.errors import IngestError
from gateway.vo.tableset import TEXT_DATATYPES, Datatype, VOType

_SCALARS: dict[Datatype, pa.DataType] = {
    Datatype.BOOLEAN: pa.bool_(),
    Datatype.BIT: pa.bool_(),
    Datatype.UNSIGNED_BYTE: pa.int16(),
    Datatype.SHORT: pa.int16(),
    Datatype.INT: pa.int32(),
    Datatype.LONG: pa.int64(),
    Datatype.FLOAT: pa.float32(),
    Datatype.DOUBLE: pa.float64(),
    Datatype.FLOAT_COMPLEX: pa.float32(),
    Datatype.DOUBLE_COMPLEX: pa.float64(),
}
_ALWAYS_LISTS = {Datatype.BIT, Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX}

TEXT = VOType(Datatype.CHAR, "*")
TIMESTAMP = VOType(Datatype.CHAR, "*", "timestamp")

_DATATYPES: tuple[tuple[Callable[[pa.DataType], bool], VOType], ...] = (
    (pa.types.is_boolean, VOType(Datatype.BOOLEAN)),
    (pa.types.is_uint8, VOType(Datatype.UNSIGNED_BYTE)),
    (pa.types.is_int8, VOType(Datatype.SHORT)),
    (pa.types.is_int16, VOType(Datatype.SHORT)),
    (pa.types.is_uint16, VOType(Datatype.INT)),
    (pa.types.is_int32, VOType(Datatype.INT)),
    (pa.types.is_uint32, VOType(Datatype.LONG)),
    (pa.types.is_int64, VOType(Datatype.LONG)),
    (pa.types.is_uint64, VOType(Datatype.LONG)),
    (pa.types.is_float16, VOType(Datatype.FLOAT)),
    (pa.types.is_float32, VOType(Datatype.FLOAT)),
    (pa.types.is_float64, VOType(Datatype.DOUBLE)),
    (pa.types.is_decimal, VOType(Datatype.DOUBLE)),
    (pa.types.is_duration, VOType(Datatype.DOUBLE)),
    (pa.types.is_null, VOType(Datatype.DOUBLE)),
    (pa.types.is_timestamp, TIMESTAMP),
    (pa.types.is_date, TIMESTAMP),
    (pa.types.is_time, TEXT),
    (pa.types.is_string, TEXT),
    (pa.types.is_large_string, TEXT),
    (pa.types.is_string_view, TEXT),
    (pa.types.is_binary, TEXT),
    (pa.types.is_large_binary, TEXT),
)

NULL_WORDS = ["", "null", "NULL", "Null", "None", "N/A", "NA", "n/a", "\\N", "--"]
"""What stands for "no value" in columns of text files that are not text themselves; in a text column only an
unquoted empty cell does, since a star may well be called NA."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column of a batch lies, for errors; ``first_row`` counts from 1."""

    file: str
    column: str
    first_row: int

    def error(self, reason: str, index: int | None = None) -> IngestError:
        """Make the error for a value of the batch (0-based index), or for the column as a whole."""
        row = "" if index is None else f", row {self.first_row + index}"
        return IngestError(f"{self.file}{row}, column {self.column!r}: {reason}")


def arrow_type(kind: VOType) -> pa.DataType:
    """Canonical Arrow type of a VO type."""
    if kind.is_timestamp:
        return pa.timestamp("us")
    if kind.datatype in TEXT_DATATYPES:
        return pa.string()
    scalar = _SCALARS[kind.datatype]
    return pa.list_(scalar) if kind.is_array or kind.datatype in _ALWAYS_LISTS else scalar


def vo_type(arrow: pa.DataType, place: Place) -> VOType:
    """VO type that holds every value of an Arrow type (any, not only canonical ones).

    Raises
    ------
    IngestError
        A type that no VO table has, for example a structure.
    """
    if isinstance(arrow, pa.BaseExtensionType):
        return vo_type(arrow.storage_type, place)
    if pa.types.is_dictionary(arrow):
        return vo_type(arrow.value_type, place)
    if _is_list(arrow):
        return _list_type(arrow, place)
    for matches, kind in _DATATYPES:
        if matches(arrow):
            return kind
    raise place.error(
        f"values of type {arrow} cannot be stored; split them into columns of numbers or text, or leave the column out"
    )


def _is_list(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_list(arrow) or pa.types.is_large_list(arrow) or pa.types.is_fixed_size_list(arrow))


def _list_type(arrow: pa.DataType, place: Place) -> VOType:
    element = arrow.value_type
    if _is_list(element):
        raise place.error(f"arrays of arrays ({arrow}) cannot be stored; flatten them to one dimension")
    kind = vo_type(element, place)
    if kind.datatype in TEXT_DATATYPES or pa.types.is_null(element):
        raise place.error(f"arrays of {element} cannot be stored; join them into one text, or make a column of each")
    return VOType(kind.datatype, str(arrow.list_size) if pa.types.is_fixed_size_list(arrow) else "*")


def convert(column: pa.Array, kind: VOType, place: Place) -> pa.Array:
    """Turn a column of a batch into the canonical type of a VO type.

    Raises
    ------
    IngestError
        A value does not fit; the text names its row.
    """
    target = arrow_type(kind)
    column = _plain(column)
    if column.type == target and not pa.types.is_list(target):
        return column
    try:
        return _converted(column, target, place)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError) as e:
        index = _first_bad(column, target, place)
        if index is None:
            raise place.error(f"values of type {column.type} cannot become {name_of(kind)}: {first_line(e)}") from e
        value = column[index].as_py()
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        raise place.error(f"{shown} is no {name_of(kind)}{_advice(column.type, kind)}", index) from e


def name_of(kind: VOType) -> str:
    """Word for a type in a message."""
    if kind.is_timestamp:
        return "timestamp (like 2024-05-31T12:00:00)"
    if kind.is_text:
        return "text"
    return f"{kind.datatype.value}{' array' if kind.is_array else ''}"


def first_line(error: Exception) -> str:
    """First line of a library's message, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _advice(source: pa.DataType, kind: VOType) -> str:
    if pa.types.is_unsigned_integer(source):
        return " (there are no unsigned 64-bit integers in the Virtual Observatory); store the column as text or double"
    if pa.types.is_integer(source) and kind.datatype in {Datatype.FLOAT, Datatype.DOUBLE}:
        return " without losing digits; describe the column as long"
    return "; correct the value, or describe the column with another datatype"


def _plain(column: pa.Array) -> pa.Array:
    """Undo extension types and dictionaries."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _first_bad(column: pa.Array, target: pa.DataType, place: Place) -> int | None:
    """Index of the first value that does not convert, by bisection."""

    def fails(start: int, stop: int) -> bool:
        try:
            _converted(column.slice(start, stop - start), target, place)
        except (pa.ArrowException, OverflowError, ValueError):
            return True
        return False

    low, high = 0, len(column)
    if not fails(low, high) or fails(0, 0):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(low, middle) else (middle, high)
    return low


def _converted(column: pa.Array, target: pa.DataType, place: Place) -> pa.Array:
    source = column.type
    if source == target and not pa.types.is_list(target):
        return column
    if pa.types.is_null(source):
        return pa.nulls(len(column), target)
    if pa.types.is_list(target):
        return _converted_list(column, target, place)
    if _is_list(source):
        raise ValueError("a list is no single value")
    if pa.types.is_string(target):
        return column.cast(target)
    if pa.types.is_string(source) or pa.types.is_large_string(source) or pa.types.is_binary(source):
        return _parsed(column.cast(pa.string()), target)
    if pa.types.is_timestamp(target):
        return _instants(column)
    if pa.types.is_duration(source):
        return pc.divide(column.cast(pa.duration("ns"), safe=False).cast(pa.int64()).cast(target, safe=False), 1e9)
    if pa.types.is_decimal(source) or (pa.types.is_floating(source) and pa.types.is_floating(target)):
        return column.cast(pa.float64()).cast(target, safe=False)
    if pa.types.is_boolean(target) and not (
        pa.types.is_integer(source) and _all(pc.is_in(column, pa.array([0, 1, None], source)))
    ):
        raise ValueError("neither 0 nor 1")
    return column.cast(target)


def _all(flags: pa.Array) -> bool:
    return bool(pc.all(flags, min_count=0).as_py())


def _instants(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        # Values with a zone count from the same UTC epoch; the zone was only for display.
        counts = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
        return counts.cast(pa.timestamp("us"))
    return column.cast(pa.timestamp("us"))


def _converted_list(column: pa.Array, target: pa.DataType, place: Place) -> pa.Array:
    if not _is_list(column.type):
        raise ValueError("a single value is no list")
    if not pa.types.is_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if column.offset or column.null_count:
        # Slices and nulls may hide elements that belong to no row.
        column = pa.concat_arrays([column.take(pa.array(np.arange(len(column))))])
    start, stop = column.offsets[0].as_py(), column.offsets[-1].as_py()
    elements = _converted(column.values.slice(start, stop - start), target.value_type, place)
    if elements.null_count:
        if not pa.types.is_floating(target.value_type):
            raise ValueError("a null inside an array of integers")
        elements = elements.fill_null(math.nan)
    offsets = pc.subtract(column.offsets, pa.scalar(start, pa.int32()))
    if not column.null_count:
        return pa.ListArray.from_arrays(offsets, elements)
    return pa.ListArray.from_arrays(offsets, elements, mask=column.is_null())


_TRUE = ["true", "t", "1"]
_FALSE = ["false", "f", "0"]


def _parsed(column: pa.Array, target: pa.DataType) -> pa.Array:
    """Read numbers, booleans and instants from text."""
    words = without_null_words(pc.utf8_trim_whitespace(column))
    if pa.types.is_boolean(target):
        lower = pc.utf8_lower(words)
        truth = pc.is_in(lower, pa.array(_TRUE))
        if not _all(pc.or_(truth, pc.is_in(lower, pa.array([*_FALSE, None])))):
            raise ValueError("neither true nor false")
        return pc.if_else(words.is_valid(), truth, None)
    if pa.types.is_timestamp(target):
        return pc.replace_substring_regex(words, r"Z$", "").cast(target)
    words = pc.replace_substring_regex(words, r"^\+", "")
    return words.cast(target)


def without_null_words(words: pa.Array) -> pa.Array:
    """Turn the words for "no value" into nulls."""
    return pc.if_else(pc.is_in(words, pa.array(NULL_WORDS)), None, words)


def check_text(column: pa.Array, place: Place) -> bool:
    """Tell whether all values of a text column are 7-bit ASCII; refuse what PostgreSQL cannot store.

    Raises
    ------
    IngestError
        Bytes that are not UTF-8, or a NUL character.
    """
    _, offsets, values = column.buffers()
    if values is None or not len(column):
        return True
    bounds = np.frombuffer(offsets, np.int32)
    data = np.frombuffer(values, np.uint8)[bounds[column.offset] : bounds[column.offset + len(column)]]
    if not data.size:
        return True
    if not data.all():
        bad = pc.index(pc.match_substring(column.cast(pa.binary()), b"\0"), True).as_py()
        if bad >= 0:
            raise place.error("the text holds a NUL character, which PostgreSQL cannot store; remove it", bad)
    if data.max() < 0x80:
        return True
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as e:
        bad = next(i for i in range(len(column)) if not _is_utf8(column[i]))
        raise place.error("the text is not UTF-8; convert the file to UTF-8", bad) from e
    return False


def check_lengths(column: pa.Array, kind: VOType, place: Place) -> None:
    """Refuse arrays of another length than the type promises.

    Raises
    ------
    IngestError
        An array has another; the text names its row.
    """
    size = kind.arraysize or ""
    if not size or size.endswith("*"):
        return
    expected = 1
    for axis in size.split("x"):
        expected *= int(axis)
    right = pc.equal(pc.list_value_length(column), expected).fill_null(True)
    if not pc.all(right, min_count=0).as_py():
        index = pc.index(right, False).as_py()
        raise place.error(
            f"the array has {len(column[index])} elements, not {expected} as in other rows or the description", index
        )


def _is_utf8(value: pa.StringScalar) -> bool:
    buffer = value.as_buffer()
    try:
        (buffer.to_pybytes() if buffer is not None else b"").decode()
    except UnicodeDecodeError:
        return False
    return True
