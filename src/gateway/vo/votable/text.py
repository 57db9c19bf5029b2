"""Text of cells, read as the types that their fields promise, a column at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.errors import UploadError
from gateway.vo.formats.base import arrow_type
from gateway.vo.formats.cells import has_any
from gateway.vo.tableset import Datatype
from gateway.vo.votable.binary import utf16_cells
from gateway.vo.votable.schema import FieldSpec


class CellError(UploadError):
    """A cell cannot be read."""

    def __init__(self, row: int, spec: FieldSpec, value: str | None, reason: str) -> None:
        shown = "" if value is None else f"{value if len(value) <= 40 else value[:37] + '...'!r} "
        super().__init__(f"row {row}, column {spec.field.name}: {shown}{reason}")


_REASONS = {
    Datatype.UNSIGNED_BYTE: "is not a whole number from 0 to 255",
    Datatype.SHORT: "is not a whole number from -32768 to 32767 (short)",
    Datatype.INT: "is not a whole number of 32 bits (int)",
    Datatype.LONG: "is not a whole number of 64 bits (long)",
}


def read_column(spec: FieldSpec, column: pa.Array, first_row: int) -> pa.Array:
    """Read the text of cells as the canonical type of their field.

    An empty cell is null, whatever its type (VOT-15); so is the value that ``VALUES/@null`` names (VOT-21).

    Parameters
    ----------
    spec
        What the FIELD says.
    column
        Text of the cells.
    first_row
        Number of the first of them, from 1, for messages.

    Raises
    ------
    CellError
        A cell is not what the FIELD promises.
    """
    type_ = spec.field.type
    if type_.is_text and not type_.is_timestamp:
        column = _empty_to_null(spec, column)
        _check_length(spec, column, first_row)
        return column
    column = _empty_to_null(spec, pc.ascii_trim_whitespace(column) if _has_blanks(column) else column)
    if pa.types.is_list(arrow_type(type_)):
        return _read_lists(spec, column, first_row)
    return _read_scalars(spec, column, lambda place: first_row + place)


def _has_blanks(column: pa.Array) -> bool:
    return has_any(column, b" ", b"\n", b"\t", b"\r")


def _empty_to_null(spec: FieldSpec, column: pa.Array) -> pa.Array:
    is_null = pc.equal(pc.binary_length(column), 0)
    if spec.null is not None:
        is_null = pc.or_(is_null, pc.equal(column, spec.null))
    return pc.if_else(is_null, pa.scalar(None, pa.string()), column) if pc.any(is_null).as_py() else column


def _check_length(spec: FieldSpec, column: pa.Array, first_row: int) -> None:
    """Refuse text that does not fit a fixed arraysize: cutting it would lose data, BINARY2 could not hold it."""
    if (length := spec.length) is None:
        return
    # UTF-16 has two units for a character beyond the first plane.
    is_wide = spec.field.type.datatype is Datatype.UNICODE_CHAR
    lengths = pa.array(utf16_cells(column).lengths // 2) if is_wide else pc.utf8_length(column)
    is_long = pc.greater(lengths, length).fill_null(False)
    if pc.any(is_long, min_count=0).as_py():
        place = pc.index(is_long, True).as_py()
        reason = f'has more than {length} characters; declare arraysize="*" in the FIELD'
        raise CellError(first_row + place, spec, column[place].as_py(), reason)


def _read_scalars(spec: FieldSpec, column: pa.Array, row: Callable[[int], int]) -> pa.Array:
    """Read one value per cell; ``row`` tells the row of a place, for messages."""
    type_ = spec.field.type
    if type_.is_timestamp:
        return _read_timestamps(spec, column, row)
    if type_.datatype in {Datatype.BOOLEAN, Datatype.BIT}:
        return _read_booleans(spec, column, row)
    element = arrow_type(type_)
    element = element.value_type if pa.types.is_list(element) else element
    reason = _REASONS.get(type_.datatype, "is not a number")
    values = _cast(spec, column, element, row, reason, lambda text: pc.replace_substring_regex(text, r"^\+", ""))
    if type_.datatype is Datatype.UNSIGNED_BYTE:
        _check_bytes(spec, values, row)
    return _apply_null(spec, values)


def _cast(
    spec: FieldSpec,
    column: pa.Array,
    element: pa.DataType,
    row: Callable[[int], int],
    reason: str,
    mend: Callable[[pa.Array], pa.Array],
) -> pa.Array:
    """Cast, with a second try after the costly mending of rare spellings."""
    try:
        return column.cast(element)
    except pa.ArrowInvalid:
        mended = mend(column)
    try:
        return mended.cast(element)
    except pa.ArrowInvalid:
        place = _first_bad(mended, element)
        raise CellError(row(place), spec, column[place].as_py(), reason) from None


def _first_bad(column: pa.Array, element: pa.DataType) -> int:
    """Place of the first value that cannot be cast, found by halving."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(element)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low


def _check_bytes(spec: FieldSpec, values: pa.Array, row: Callable[[int], int]) -> None:
    is_wrong = pc.or_(pc.less(values, 0), pc.greater(values, 255)).fill_null(False)
    if pc.any(is_wrong, min_count=0).as_py():
        place = pc.index(is_wrong, True).as_py()
        raise CellError(row(place), spec, str(values[place].as_py()), _REASONS[Datatype.UNSIGNED_BYTE])


def null_value(spec: FieldSpec, element: pa.DataType) -> pa.Scalar | None:
    """Return ``VALUES/@null`` as a number, if the column has numbers and it is one."""
    if spec.null is None or not (pa.types.is_integer(element) or pa.types.is_floating(element)):
        return None
    try:
        return pa.scalar(spec.null.strip().removeprefix("+")).cast(element)
    except pa.ArrowInvalid:
        return None


def _apply_null(spec: FieldSpec, values: pa.Array) -> pa.Array:
    null = None if spec.field.type.is_array else null_value(spec, values.type)
    return values if null is None else pc.if_else(pc.equal(values, null), pa.scalar(None, values.type), values)


_TRUE, _FALSE, _UNKNOWN = (pa.array(words) for words in (["t", "true", "1"], ["f", "false", "0"], ["?"]))


def _read_booleans(spec: FieldSpec, column: pa.Array, row: Callable[[int], int]) -> pa.Array:
    """Read every spelling that VOTable knows (VOT-13)."""
    words = pc.ascii_lower(column)
    is_true, is_false = pc.is_in(words, _TRUE), pc.is_in(words, _FALSE)
    is_null = pc.or_(words.is_null(), pc.is_in(words, _UNKNOWN))
    is_wrong = pc.invert(pc.or_(pc.or_(is_true, is_false), is_null))
    if pc.any(is_wrong, min_count=0).as_py():
        place = pc.index(is_wrong, True).as_py()
        raise CellError(
            row(place), spec, column[place].as_py(), "is not a truth value; write T, F, true, false, 1 or 0"
        )
    return pc.if_else(is_null, pa.scalar(None, pa.bool_()), is_true)


def _mend_timestamps(text: pa.Array) -> pa.Array:
    """Take off a Z and digits beyond the microsecond."""
    text = pc.replace_substring_regex(text, r"Z$", "")
    return pc.replace_substring_regex(text, r"(\.\d{6})\d+$", r"\1")


def _read_timestamps(spec: FieldSpec, column: pa.Array, row: Callable[[int], int]) -> pa.Array:
    reason = "is not a timestamp; write YYYY-MM-DDThh:mm:ss with or without a fraction"
    return _cast(spec, column, pa.timestamp("us"), row, reason, _mend_timestamps)


def _read_lists(spec: FieldSpec, column: pa.Array, first_row: int) -> pa.Array:
    """Read arrays; axes are flattened, the first runs fastest."""
    is_bit = spec.field.type.datatype is Datatype.BIT
    words = _bits(column) if is_bit else pc.ascii_split_whitespace(column)
    check_lengths(spec, words, first_row)
    offsets = words.offsets.to_numpy()

    def row(place: int) -> int:
        return first_row + int(np.searchsorted(offsets, place + offsets[0], side="right")) - 1

    elements = _read_scalars(spec, words.flatten(), row)
    if elements.null_count:
        if not pa.types.is_floating(elements.type):
            place = pc.index(elements.is_null(), True).as_py()
            raise CellError(row(place), spec, None, "an element of the array is null; only floats can be (NaN)")
        elements = elements.fill_null(float("nan"))
    return rebuild_lists(words, elements)


def _bits(column: pa.Array) -> pa.Array:
    """Split bits, which may stand together or apart, into single characters."""
    apart = pc.replace_substring_regex(pc.replace_substring_regex(column, r"\s+", ""), "(.)", r"\1 ")
    return pc.ascii_split_whitespace(pc.ascii_trim_whitespace(apart))


def rebuild_lists(like: pa.Array, elements: pa.Array) -> pa.Array:
    """Put other elements into lists of the same lengths and nulls."""
    lengths = pc.list_value_length(like).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(like) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    mask = like.is_null() if like.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets), elements, mask=mask)


def check_lengths(spec: FieldSpec, lists: pa.Array, first_row: int) -> None:
    """Refuse arrays that have not as many elements as the FIELD says.

    Raises
    ------
    CellError
        Names the first such row.
    """
    lengths = pc.list_value_length(lists)
    length, step = spec.length, spec.step
    if length is not None:
        is_wrong, wanted = pc.not_equal(lengths, length), str(length)
    elif step > 1:
        whole = pc.multiply(pc.divide(lengths, step), step)
        is_wrong, wanted = pc.not_equal(lengths, whole), f"a multiple of {step}"
    else:
        return
    if pc.any(is_wrong, min_count=0).as_py():
        place = pc.index(is_wrong, True).as_py()
        type_ = spec.field.type
        declared = f"datatype {type_.datatype.value}" + (f" and arraysize {type_.arraysize}" if type_.arraysize else "")
        reason = f"the cell has {lengths[place].as_py()} numbers, {declared} mean {wanted}"
        raise CellError(first_row + place, spec, None, reason)
