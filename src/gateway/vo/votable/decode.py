"""BINARY and BINARY2: bytes into columns (VOTable 1.4, "Binary Serialization").

Rows of fixed width are one numpy record array. Otherwise a short loop finds where each row and each cell of
varying length begins, and the cells are cut out column by column.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pybase64

from gateway.errors import UploadError
from gateway.vo.formats.base import arrow_type
from gateway.vo.formats.cells import has_any, text_bytes
from gateway.vo.tableset import Datatype
from gateway.vo.votable.binary import NUMPY_TYPES
from gateway.vo.votable.schema import FieldSpec
from gateway.vo.votable.split import cut
from gateway.vo.votable.text import CellError, check_lengths, null_value, read_column

_COUNT = struct.Struct(">I")


class Base64Decoder:
    """Decodes a stream of base64 text that comes in pieces."""

    def __init__(self) -> None:
        self._carry = b""
        self._is_padded = False

    def decode(self, text: str) -> bytes:
        """Bytes of all complete groups of four characters; white space does not count.

        Raises
        ------
        UploadError
            The text is not base64.
        """
        try:
            letters = self._carry + text.encode("ascii").translate(None, b" \t\r\n")
            whole = len(letters) - len(letters) % 4
            data = pybase64.b64decode(letters[:whole], validate=True)
        except ValueError:
            raise UploadError("the STREAM of the table is not valid base64") from None
        if data and self._is_padded:
            raise UploadError("the STREAM of the table is not valid base64: it goes on after its padding")
        self._is_padded = self._is_padded or letters[:whole].endswith(b"=")
        self._carry = letters[whole:]
        return data

    def finish(self) -> None:
        """Check that nothing is left over."""
        if self._carry:
            raise UploadError("the STREAM of the table is not valid base64: it ends in the middle of a group")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Bytes of one column's cells."""

    spec: FieldSpec
    width: int | None
    """Bytes of each cell; ``None``: a count, then that many elements."""

    @property
    def element_width(self) -> int:
        """Bytes of one counted element."""
        return _element_width(self.spec)


def _element_width(spec: FieldSpec) -> int:
    datatype = spec.field.type.datatype
    if spec.field.type.is_text:
        return 2 if datatype is Datatype.UNICODE_CHAR else 1
    if datatype is Datatype.BIT:
        return 1
    items = 2 if datatype in {Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX} else 1
    return np.dtype(NUMPY_TYPES[datatype]).itemsize * items


def _layout(spec: FieldSpec) -> _Layout:
    length = spec.length
    if length is None:
        return _Layout(spec, None)
    if spec.field.type.datatype is Datatype.BIT:
        return _Layout(spec, (length + 7) // 8)
    items = 2 if spec.field.type.datatype in {Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX} else 1
    return _Layout(spec, length // items * _element_width(spec))


class RowDecoder:
    """Turns the bytes of rows into canonical columns."""

    def __init__(self, specs: Sequence[FieldSpec], *, has_flags: bool, max_cell_bytes: int) -> None:
        self._layouts = [_layout(spec) for spec in specs]
        self._flag_bytes = (len(specs) + 7) // 8 if has_flags else 0
        self._has_flags = has_flags
        self._max_cell_bytes = max_cell_bytes
        self._carry = b""
        # Bytes before each count within a row, the width of what is counted, and whether those are bits.
        self._plan: list[tuple[int, int, bool]] = []
        gap = self._flag_bytes
        for layout in self._layouts:
            if layout.width is None:
                self._plan.append((gap, layout.element_width, layout.spec.field.type.datatype is Datatype.BIT))
                gap = 0
            else:
                gap += layout.width
            if layout.width is not None and layout.width > max_cell_bytes:
                raise UploadError(
                    f"column {layout.spec.field.name}: arraysize {layout.spec.field.type.arraysize} means cells of "
                    f"more than {max_cell_bytes} bytes, the most allowed"
                )
        self._tail = gap

    def decode(self, data: bytes, first_row: int) -> list[pa.Array]:
        """Columns of all rows that are complete now; the rest is kept.

        Parameters
        ----------
        data
            Next bytes of the stream.
        first_row
            Number of the first row among them, from 1, for messages.

        Returns
        -------
        list
            Empty while no row is complete.
        """
        data = self._carry + data if self._carry else data
        rows, starts, counts = self._find(data, first_row)
        end = int(rows[-1])
        self._carry = data[end:]
        if len(rows) == 1:
            return []
        return self._columns(data, rows[:-1], starts, counts, first_row)

    def finish(self, rows: int) -> None:
        """Check that the stream ended with a row."""
        if self._carry:
            raise UploadError(f"the STREAM of the table ends in the middle of row {rows + 1}")

    def _find(self, data: bytes, first_row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where rows begin (with the end of the last), and where counted cells begin and how much they count."""
        if not self._plan:
            count = len(data) // self._tail
            return np.arange(count + 1) * self._tail, np.empty((count, 0), np.int64), np.empty((count, 0), np.int64)
        rows, found = self._scan(data, first_row)
        whole = (len(rows) - 1) * len(self._plan)
        pairs = np.array(found[:whole], np.int64).reshape(-1, len(self._plan), 2)
        return np.array(rows, np.int64), pairs[:, :, 0], pairs[:, :, 1]

    def _scan(self, data: bytes, first_row: int) -> tuple[list[int], list[tuple[int, int]]]:
        """Walk through the rows: the one loop that cannot be told to numpy."""
        plan, tail, size, unpack = self._plan, self._tail, len(data), _COUNT.unpack_from
        rows, found = [0], []
        place = 0
        while True:
            try:
                for gap, width, is_bits in plan:
                    place += gap
                    (count,) = unpack(data, place)
                    place += 4
                    found.append((place, count))
                    place += (count + 7) // 8 if is_bits else count * width
            except struct.error:
                break
            place += tail
            if place > size:
                break
            rows.append(place)
        if place - size > self._max_cell_bytes:
            raise UploadError(
                f"row {first_row + len(rows) - 1} claims an array of more than {self._max_cell_bytes} bytes; "
                "the stream is broken or the arraysize of a FIELD is wrong"
            )
        return rows, found

    def _columns(
        self, data: bytes, rows: np.ndarray, starts: np.ndarray, counts: np.ndarray, first_row: int
    ) -> list[pa.Array]:
        raw = np.frombuffer(data, np.uint8)
        columns, counted = [], 0
        base, offset = rows, self._flag_bytes
        for number, layout in enumerate(self._layouts):
            mask = self._mask(raw, rows, number)
            if layout.width is None:
                first, count = starts[:, counted], counts[:, counted]
                is_bits = layout.spec.field.type.datatype is Datatype.BIT
                base = first + ((count + 7) // 8 if is_bits else count * layout.element_width)
                cells = cut(data, first, base, pa.binary())
                column = self._varying(layout.spec, cells, count, mask, first_row)
                counted, offset = counted + 1, 0
            else:
                column = self._fixed(layout.spec, _gather(raw, base + offset, layout.width), mask, first_row)
                offset += layout.width
            columns.append(column)
        return columns

    def _mask(self, raw: np.ndarray, rows: np.ndarray, number: int) -> np.ndarray | None:
        """Null flags of a column; ``None``: no null."""
        if not self._has_flags:
            return None
        mask = (raw[rows + number // 8] >> (7 - number % 8) & 1).astype(bool)
        return mask if mask.any() else None

    def _fixed(self, spec: FieldSpec, cells: np.ndarray, mask: np.ndarray | None, first_row: int) -> pa.Array:
        """Column of cells that are the lines of a table of bytes."""
        type_ = spec.field.type
        if type_.is_text:
            width = cells.shape[1]
            places = np.arange(len(cells) + 1, dtype=np.int32) * width
            buffers = [None, pa.py_buffer(places), pa.py_buffer(np.ascontiguousarray(cells))]
            return self._text(spec, pa.Array.from_buffers(pa.binary(), len(cells), buffers), mask, first_row)
        if spec.is_lone_bit:  # the highest one; astropy sets another
            return pa.array(cells[:, 0] != 0, mask=mask)
        if type_.datatype is Datatype.BIT:
            bits = np.unpackbits(cells, axis=1)[:, : spec.length].astype(bool)
            return _lists(pa.array(bits.ravel()), np.full(len(cells), spec.length), mask)
        values = np.ascontiguousarray(cells).view(NUMPY_TYPES[type_.datatype])
        if pa.types.is_list(arrow_type(type_)):
            return _lists(self._elements(spec, values.ravel(), first_row), np.full(len(values), spec.length), mask)
        return self._scalars(spec, values.ravel(), mask, first_row)

    def _varying(
        self, spec: FieldSpec, cells: pa.Array, counts: np.ndarray, mask: np.ndarray | None, first_row: int
    ) -> pa.Array:
        type_ = spec.field.type
        if type_.is_text:
            return self._text(spec, cells, mask, first_row)
        if not self._has_flags and (counts == 0).any():
            mask = counts == 0  # BINARY has no other null for an array
        data = np.frombuffer(text_bytes(cells), np.uint8)
        if type_.datatype is Datatype.BIT:
            bits = np.unpackbits(data).astype(bool)
            keep = np.concatenate([np.arange(-(-count // 8) * 8) < count for count in counts] or [np.empty(0, bool)])
            return _lists(pa.array(bits[keep]), counts, mask)
        elements = self._elements(spec, data.view(NUMPY_TYPES[type_.datatype]), first_row)
        items = 2 if type_.datatype in {Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX} else 1
        lists = _lists(elements, counts * items, mask)
        check_lengths(spec, lists, first_row)
        return lists

    def _text(self, spec: FieldSpec, cells: pa.Array, mask: np.ndarray | None, first_row: int) -> pa.Array:
        """Characters up to the first NUL; in BINARY an empty text is null, for want of another one."""
        is_wide = spec.field.type.datatype is Datatype.UNICODE_CHAR
        text = _utf16_text(cells) if is_wide else _char_text(cells)
        if has_any(text, b"\0"):
            text = pc.replace_substring_regex(text, r"(?s)\x00.*", "")
        if spec.field.type.is_timestamp:
            text = read_column(spec, text, first_row)
        elif not self._has_flags or spec.null is not None:
            is_null = pc.equal(text, "" if spec.null is None else spec.null)
            if not self._has_flags:
                is_null = pc.or_(is_null, pc.equal(text, ""))
            text = pc.if_else(is_null, pa.scalar(None, pa.string()), text)
        return text if mask is None else pc.if_else(pa.array(mask), pa.scalar(None, text.type), text)

    def _elements(self, spec: FieldSpec, values: np.ndarray, first_row: int) -> pa.Array:
        """Elements of arrays, without nulls."""
        if spec.field.type.datatype is Datatype.BOOLEAN:
            return self._booleans(spec, values, first_row).fill_null(False)
        element = arrow_type(spec.field.type).value_type
        return pa.array(values.astype(values.dtype.newbyteorder("=")), from_pandas=False).cast(element)

    def _scalars(self, spec: FieldSpec, values: np.ndarray, mask: np.ndarray | None, first_row: int) -> pa.Array:
        wanted = arrow_type(spec.field.type)
        if spec.field.type.datatype is Datatype.BOOLEAN:
            column = self._booleans(spec, values, first_row)
        else:
            column = pa.array(values.astype(values.dtype.newbyteorder("=")), from_pandas=False).cast(wanted)
        if (null := null_value(spec, wanted)) is not None:
            column = pc.if_else(pc.equal(column, null), pa.scalar(None, wanted), column)
        if not self._has_flags and pa.types.is_floating(wanted):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, wanted), column)  # VOT-16
        return column if mask is None else pc.if_else(pa.array(mask), pa.scalar(None, wanted), column)

    def _booleans(self, spec: FieldSpec, values: np.ndarray, first_row: int) -> pa.Array:
        """Letters, as VOT-13 lists them."""
        is_true, is_null = np.isin(values, list(b"Tt1")), np.isin(values, list(b"\0 ?"))
        is_wrong = ~(is_true | is_null | np.isin(values, list(b"Ff0")))
        if is_wrong.any():
            place = int(is_wrong.argmax())
            row = first_row + place // (spec.length or 1)
            raise CellError(row, spec, None, f"byte {int(values[place])} is not a boolean; T, F and ? are")
        return pa.array(is_true, mask=is_null)


def _gather(raw: np.ndarray, places: np.ndarray, width: int) -> np.ndarray:
    """So many bytes from each place, one line each."""
    if not len(places) or not width:
        return np.empty((len(places), width), np.uint8)
    step = int(places[1] - places[0]) if len(places) > 1 else width
    if step * (len(places) - 1) == places[-1] - places[0] and (np.diff(places) == step).all():
        first = int(places[0])
        return np.lib.stride_tricks.as_strided(raw[first:], (len(places), width), (step, 1), writeable=False)
    lines: np.ndarray = np.lib.stride_tricks.sliding_window_view(raw, width)[places]
    return lines


def _lists(elements: pa.Array, lengths: np.ndarray, mask: np.ndarray | None) -> pa.Array:
    """Make lists of such lengths; what null ones hold does not count."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    nulls = None if mask is None else pa.array(mask)
    return pa.ListArray.from_arrays(pa.array(offsets), elements, mask=nulls)


def _char_text(cells: pa.Array) -> pa.Array:
    """Bytes as text: ASCII as promised, else UTF-8 as newer writers do, else Latin-1 as old ones did."""
    try:
        return cells.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_guess(cell) for cell in cells.to_pylist()], pa.string())


def _guess(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell.decode("latin-1")


def _utf16_text(cells: pa.Array) -> pa.Array:
    """Big-endian UTF-16 as text; lone halves of pairs become U+FFFD."""
    raw = bytes(text_bytes(cells))
    units = np.frombuffer(raw, ">u2")
    if ((units & 0xF800) == 0xD800).any():  # characters beyond the first plane are rare
        return pa.array([cell.decode("utf-16-be", "replace") for cell in cells.to_pylist()], pa.string())
    ends = np.zeros(len(units) + 1, np.int32)
    np.cumsum(1 + (units >= 0x80) + (units >= 0x800), out=ends[1:])  # bytes of each character in UTF-8
    places = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset : cells.offset + len(cells) + 1]
    offsets = ends[(places - places[0]) // 2]
    text = raw.decode("utf-16-be").encode()
    return pa.Array.from_buffers(pa.string(), len(cells), [None, pa.py_buffer(offsets), pa.py_buffer(text)])
