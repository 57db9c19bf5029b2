"""FITS binary tables (FITS 4.0, "Binary-table extension"), read in blocks of rows.

astropy reads the headers; the rows are decoded here from the bytes, because every value has to arrive
exactly: 64-bit integers with their nulls, unsigned ones with their offset, bits, variable-length arrays.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gateway.errors import IngestError
from gateway.tables.base import Hints, TableFile, open_seekable
from gateway.tables.columns import Place, first_line
from gateway.vo.tableset import Datatype, Field, VOType

BLOCK_BYTES = 8 << 20
"""Bytes of rows read at once."""

Array = npt.NDArray[Any]

CODES: dict[str, tuple[str, Datatype]] = {
    "L": ("u1", Datatype.BOOLEAN),
    "X": ("u1", Datatype.BIT),
    "B": ("u1", Datatype.UNSIGNED_BYTE),
    "I": (">i2", Datatype.SHORT),
    "J": (">i4", Datatype.INT),
    "K": (">i8", Datatype.LONG),
    "E": (">f4", Datatype.FLOAT),
    "D": (">f8", Datatype.DOUBLE),
    "C": (">f4", Datatype.FLOAT_COMPLEX),
    "M": (">f8", Datatype.DOUBLE_COMPLEX),
    "A": ("u1", Datatype.CHAR),
}
INTEGERS = {"B", "I", "J", "K"}
UNSIGNED = {
    ("B", -128): Datatype.SHORT,
    ("I", 2**15): Datatype.INT,
    ("J", 2**31): Datatype.LONG,
    ("K", 2**63): Datatype.LONG,
}
"""TZERO that turns the sign over (FITS 4.0, "Scaling"), and the type that holds the result."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One column as its header cards describe it.

    ``repeat`` counts elements (of the heap's array where ``descriptor`` is set, then 0), ``offset`` bytes in the row.
    """

    name: str
    code: str
    repeat: int
    offset: int
    width: int
    descriptor: str | None
    null: int | None
    scale: float
    zero: float
    kind: VOType

    @property
    def is_array(self) -> bool:
        """Whether a cell holds a list."""
        return self.kind.is_array or self.kind.datatype in {
            Datatype.BIT,
            Datatype.FLOAT_COMPLEX,
            Datatype.DOUBLE_COMPLEX,
        }


@dataclass(slots=True)
class FitsTable:
    """`TableFile` of the first binary table of a FITS file."""

    name: str
    fields: tuple[Field, ...]
    description: str | None
    size: int
    stream: IO[bytes]
    layouts: tuple[Layout, ...]
    start: int
    rows: int
    row_bytes: int
    heap: int
    notes: list[str] = field(default_factory=list)
    is_guessed: bool = False
    empty: frozenset[str] = frozenset()
    _row: int = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Rows in file order."""
        step = max(1, BLOCK_BYTES // max(1, self.row_bytes))
        names = [item.name for item in self.fields]
        for start in range(0, self.rows, step):
            self._row = start
            count = min(step, self.rows - self._row)
            self.stream.seek(self.start + self._row * self.row_bytes)
            data = self.stream.read(count * self.row_bytes)
            if len(data) < count * self.row_bytes:
                row = self._row + len(data) // self.row_bytes + 1
                raise IngestError(
                    f"{self.name}, row {row}: the file ends here, but its header promises {self.rows} rows; get it again"
                )
            block = np.frombuffer(data, np.uint8).reshape(count, self.row_bytes)
            columns = [self._column(block, layout) for layout in self.layouts]
            yield pa.RecordBatch.from_arrays(columns, names=names)
        self._row = self.rows

    def position(self) -> int:
        """Bytes read, judged by the rows."""
        return self.size * self._row // max(1, self.rows)

    def _column(self, block: Array, layout: Layout) -> pa.Array:
        place = Place(self.name, layout.name, self._row + 1)
        cells = np.ascontiguousarray(block[:, layout.offset : layout.offset + layout.width])
        if layout.descriptor:
            return self._variable(cells, layout, place)
        if layout.code == "A":
            return text(cells)
        if layout.code == "X":
            bits = np.unpackbits(cells, axis=1, count=layout.repeat).astype(bool)
            return _lists(pa.array(bits.reshape(-1)), np.full(len(cells), layout.repeat))
        raw = cells.reshape(-1).view(CODES[layout.code][0])
        values = scalars(raw, layout)
        if not layout.is_array:
            return values
        return _lists(values, np.full(len(cells), len(raw) // max(1, len(cells))))

    def _variable(self, cells: Array, layout: Layout, place: Place) -> pa.Array:
        """Gather the arrays that descriptors point at (FITS 4.0, "Variable-length arrays")."""
        pairs = cells.reshape(-1).view(layout.descriptor or ">i4").reshape(-1, 2).astype(np.int64)
        dtype = np.dtype(CODES[layout.code][0])
        width = dtype.itemsize * (2 if layout.code in "CM" else 1)
        lengths, starts = pairs[:, 0] * width, pairs[:, 1]
        ends = starts + lengths
        used = lengths > 0
        if (pairs < 0).any():
            raise place.error(
                "an array lies before the start of the heap; the file is broken", int((pairs < 0).any(axis=1).argmax())
            )
        low, high = (int(starts[used].min()), int(ends[used].max())) if used.any() else (0, 0)
        if high - low <= max(4 * int(lengths.sum()), BLOCK_BYTES):
            self.stream.seek(self.heap + low)
            heap = self.stream.read(high - low)
            if len(heap) < high - low:
                raise place.error("an array lies beyond the end of the file", int((ends - low > len(heap)).argmax()))
            data = _gather(np.frombuffer(heap, np.uint8), starts - low, lengths)
        else:
            data = self._scattered(starts, lengths, place)
        if layout.code == "A":
            return text_of(data, lengths)
        values = scalars(data.view(dtype), layout)
        return _lists(values, lengths // dtype.itemsize)

    def _scattered(self, starts: Array, lengths: Array, place: Place) -> Array:
        pieces = []
        for index, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            self.stream.seek(self.heap + start)
            pieces.append(self.stream.read(length))
            if len(pieces[-1]) < length:
                raise place.error("an array lies beyond the end of the file", index)
        return np.frombuffer(b"".join(pieces), np.uint8)


def _gather(heap: Array, starts: Array, lengths: Array) -> Array:
    """Bytes of many pieces, one after the other."""
    total = int(lengths.sum())
    firsts = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return heap[firsts + np.arange(total)]


def _lists(values: pa.Array, counts: Array) -> pa.Array:
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def scalars(raw: Array, layout: Layout) -> pa.Array:
    """Decode numbers and logical values; TNULL becomes null, TSCAL and TZERO are applied."""
    if layout.code == "L":
        # FITS 4.0, "Logical": T, F, or a zero byte for the undefined value.
        return pa.array(raw == ord("T"), mask=(raw != ord("T")) & (raw != ord("F")))
    absent = raw == layout.null if layout.null is not None and layout.code in INTEGERS else None
    native = raw.astype(raw.dtype.newbyteorder("="))
    if layout.scale == 1 and layout.zero == 0:
        values = native
    elif layout.code in INTEGERS and layout.scale == 1 and (layout.code, layout.zero) in UNSIGNED:
        values = _turned(native, layout)
    else:
        values = native * layout.scale + layout.zero
    return pa.array(values, mask=absent)


def _turned(native: Array, layout: Layout) -> Array:
    """Values of a column stored with its sign bit turned over."""
    if layout.code == "K":
        return native.view(np.uint64) ^ np.uint64(2**63)
    return native.astype(np.int64) + int(layout.zero)


def text(cells: Array) -> pa.Array:
    """Decode fixed-width strings: they end at the first NUL, and blanks at their end are padding."""
    width = cells.shape[1]
    upto = np.where((cells == 0).any(axis=1), (cells == 0).argmax(axis=1), width)
    inked = (cells != ord(" ")) & (np.arange(width) < upto[:, None])
    lengths = np.where(inked.any(axis=1), width - inked[:, ::-1].argmax(axis=1), 0)
    return _utf8(cells[np.arange(width) < lengths[:, None]], lengths)


def text_of(data: Array, lengths: Array) -> pa.Array:
    """Decode strings of the heap, one after the other in ``data``."""
    whole, ends = data.tobytes(), np.cumsum(lengths).tolist()
    cells = [
        whole[end - length : end].split(b"\0")[0].rstrip(b" ")
        for end, length in zip(ends, lengths.tolist(), strict=True)
    ]
    return _utf8(np.frombuffer(b"".join(cells), np.uint8), np.array([len(cell) for cell in cells], np.int64))


def _utf8(data: Array, lengths: Array) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    # FITS allows ASCII only; files with UTF-8 exist, and `columns.check_text` refuses anything else by its row.
    return pa.Array.from_buffers(
        pa.string(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    )


@contextmanager
def open_fits(path: Path, *, hints: Hints, folder: Path | None) -> Iterator[TableFile]:  # noqa: ARG001
    """Open the first binary table of a FITS file."""
    with open_seekable(path, folder) as stream:
        yield _table(path, stream)


def _table(path: Path, stream: IO[bytes]) -> FitsTable:
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's remarks on the spelling of cards are not the operator's business
        try:
            hdus = fits.open(stream, memmap=False, lazy_load_hdus=True, disable_image_compression=True)
            tables = [(number, hdu) for number, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)]
            headers = [(number, hdu.header, hdu.fileinfo()["datLoc"]) for number, hdu in tables]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise IngestError(
                f"{path.name}: cannot be read as FITS ({first_line(e)}); get or write the file again"
            ) from e
    plain = [item for item in headers if not (item[1].get("ZIMAGE") or item[1].get("ZTABLE"))]
    if not plain:
        what = (
            "its tables are tile-compressed; unpack them first (funpack)"
            if headers
            else "it has no binary table (BINTABLE)"
        )
        raise IngestError(f"{path.name}: {what}")
    number, header, start = plain[0]
    notes = [f"only the first table of {path.name} is read (HDU {number})"] if len(plain) > 1 else []
    layouts, skipped = read_layouts(header, path.name)
    notes += skipped
    row_bytes = header["NAXIS1"]
    fields = tuple(_field(header, number, layout) for number, layout in layouts)
    return FitsTable(
        path.name,
        fields,
        None,
        path.stat().st_size,
        stream,
        tuple(layout for _, layout in layouts),
        start,
        header["NAXIS2"],
        row_bytes,
        start + header.get("THEAP", row_bytes * header["NAXIS2"]),
        notes,
    )


def read_layouts(header: Any, file: str) -> tuple[list[tuple[int, Layout]], list[str]]:
    """Read how the columns lie in a row; give them by column number, and notes on those without values."""
    layouts, notes, offset = [], [], 0
    for number in range(1, header["TFIELDS"] + 1):
        name = str(header.get(f"TTYPE{number}", "")).strip() or f"column_{number}"
        form = str(header.get(f"TFORM{number}", "")).strip().upper()
        place = Place(file, name, 1)
        match = re.fullmatch(r"(\d*)([LXBIJKAEDCMPQ])(?:([LXBIJKAEDCM])?(?:\(\d*\))?)?.*", form)
        if not match:
            raise place.error(f"TFORM{number} is {form!r}, which FITS does not define; correct the header")
        repeat = int(match[1] or 1)
        width = _width(match[2], repeat)
        if repeat == 0:
            notes.append(f"column {name!r} of {file} has no width and is left out")
        else:
            layouts.append((number, _layout(header, number, name, match, offset, place)))
        offset += width
    if offset != header["NAXIS1"]:
        raise IngestError(
            f"{file}: its columns take {offset} bytes a row, but NAXIS1 says {header['NAXIS1']}; the header is broken"
        )
    return layouts, notes


def _width(code: str, repeat: int) -> int:
    if code == "X":
        return math.ceil(repeat / 8)
    if code in "PQ":
        return repeat * (8 if code == "P" else 16)
    return repeat * np.dtype(CODES[code][0]).itemsize * (2 if code in "CM" else 1)


def _layout(header: Any, number: int, name: str, match: re.Match[str], offset: int, place: Place) -> Layout:
    repeat, code = int(match[1] or 1), match[2]
    descriptor = {"P": ">i4", "Q": ">i8"}.get(code)
    if descriptor:
        if match[3] in (None, "X"):
            raise place.error(
                f"TFORM{number} is {match[0]!r}: variable-length arrays of bits cannot be stored; store bytes or booleans"
            )
        code = match[3]
    scale, zero = float(header.get(f"TSCAL{number}", 1)), float(header.get(f"TZERO{number}", 0))
    if code in "LXA":
        scale, zero = 1.0, 0.0
    datatype = CODES[code][1]
    if (scale, zero) != (1, 0):
        datatype = (
            UNSIGNED.get((code, int(zero)), Datatype.DOUBLE) if scale == 1 and code in INTEGERS else Datatype.DOUBLE
        )
        if code in "CM":
            raise place.error("scaled complex numbers cannot be stored; store them without TSCAL and TZERO")
    null = header.get(f"TNULL{number}")
    return Layout(
        name,
        code,
        repeat,
        offset,
        _width(match[2], repeat),
        descriptor,
        int(null) if null is not None else None,
        scale,
        zero,
        VOType(datatype, _arraysize(header, number, code, repeat, place, is_variable=descriptor is not None)),
    )


def _arraysize(header: Any, number: int, code: str, repeat: int, place: Place, *, is_variable: bool) -> str | None:
    if is_variable:
        return "*"
    axes = [int(axis) for axis in re.findall(r"\d+", str(header.get(f"TDIM{number}", "")))]
    if math.prod(axes) != repeat:
        axes = []
    if code == "A":
        if len(axes) > 1 and math.prod(axes[1:]) > 1:
            raise place.error("arrays of strings cannot be stored; make a column of each, or join them into one text")
        return f"{repeat}*"
    if len(axes) > 1:
        return "x".join(map(str, axes))
    return str(repeat) if repeat > 1 or code == "X" else None


def _field(header: Any, number: int, layout: Layout) -> Field:
    def card(*names: str) -> str | None:
        values = (str(header.get(f"{name}{number}", "")).strip() for name in names)
        return next((value for value in values if value), None)

    # TUCD, TUTYP, TXTYP, TCOMM and TDESC are conventions of STILTS and CFITSIO's users, TDOC of LSST's afw.
    description = card("TCOMM", "TDESC", "TDOC")
    if layout.code == "X" and header.get("FLAGCOL") == number:
        description = _flags(header, layout.repeat, description)
    kind = layout.kind
    if xtype := card("TXTYP"):
        kind = VOType(kind.datatype, kind.arraysize, xtype if not (kind.is_text and xtype == "timestamp") else None)
    return Field(layout.name, kind, card("TUNIT"), card("TUCD"), card("TUTYP"), description)


def _flags(header: Any, count: int, description: str | None) -> str | None:
    """Name the bits of an LSST flag column: TFLAGn and TFDOCn describe bit n."""
    named = [
        f"{bit}: {header[f'TFLAG{bit}']}" + (f" ({header[f'TFDOC{bit}']})" if header.get(f"TFDOC{bit}") else "")
        for bit in range(1, count + 1)
        if header.get(f"TFLAG{bit}")
    ]
    return "; ".join(filter(None, [description, f"bits {', '.join(named)}" if named else None])) or None
