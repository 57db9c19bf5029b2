"""HDUs of a FITS file: what they are, where they lie, and their pixels, read no further than needed."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from gateway.errors import DatasetError, GatewayError

if TYPE_CHECKING:
    from astropy.io.fits import Header

BLOCK = 2880
"""Bytes of a FITS block."""

MOST_TILE_BYTES = 256 * 2**20
"""Largest tile that is unpacked: a few bytes can announce gigabytes (reliability A10)."""

DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""Type of the pixels for each BITPIX."""

SMALL_READ = 4 * 2**20
"""Bytes that are read in one go rather than in rows."""

MOST_WASTE = 8
"""How many times what is wanted may be read, when that saves reads."""

MOST_HDUS = 10_000
"""HDUs of one file that are looked at."""

MOST_AXES = 999
"""Axes that an image may have (FITS 4.0, "Mandatory keywords")."""

MOST_HEADER_BYTES = 8 * 2**20
"""Longest header, 100,000 cards: real ones have some thousands, and a file without an END is read no further."""

SIMPLE, XTENSION, END = b"SIMPLE  =", b"XTENSION=", b"END     "
"""How a FITS file begins, how each further HDU, and how a header ends."""


@dataclass(frozen=True, slots=True)
class HduRecord:
    """One HDU of a file: all that is needed to read its pixels without looking at the others."""

    number: int
    """Place in the file; 0 is the primary HDU."""
    offset: int
    """Where its header begins, bytes."""
    data_offset: int
    """Where its data begin, bytes."""
    cards: str
    """Header, as of the image that it holds: 80 characters a card."""
    is_image: bool
    """Whether it holds pixels, plain or compressed."""
    is_compressed: bool
    """Whether it is a table of compressed tiles."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> HduRecord:
        """Read what `to_json` wrote."""
        return cls(**record)

    def to_json(self) -> dict[str, Any]:
        """Spell it for the database and for children."""
        return {name: getattr(self, name) for name in self.__slots__}

    def with_cards(self, cards: Mapping[str, Any]) -> HduRecord:
        """Put cards into the header of an image that are wrong or missing there."""
        if not (cards and self.is_image):
            return self
        header = Hdu(self).header.copy()
        header.update(cards)
        return replace(self, cards=header.tostring(padding=False))


@dataclass(frozen=True)
class Hdu:
    """An HDU with its header parsed."""

    record: HduRecord

    @cached_property
    def header(self) -> Header:
        """Header of the image."""
        from astropy.io.fits import Header

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cards against the standard are common, and their text is kept
            return Header.fromstring(self.record.cards)

    @property
    def number(self) -> int:
        """Place in the file; 0 is the primary HDU."""
        return self.record.number

    @property
    def name(self) -> str:
        """EXTNAME in upper case, or nothing."""
        return str(self.header.get("EXTNAME", "")).strip().upper()

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis, the last FITS axis first."""
        if not self.record.is_image:
            return ()
        return tuple(int(self.header[f"NAXIS{axis}"]) for axis in range(int(self.header["NAXIS"]), 0, -1))

    @property
    def itemsize(self) -> int:
        """Bytes of a pixel."""
        return abs(int(self.header["BITPIX"])) // 8


def with_frame(hdu: Hdu, primary: Hdu) -> Header:
    """Header of an image, with the frame of the primary header where it has none of its own (INHERIT convention)."""
    header = hdu.header
    if hdu.number == 0 or "RADESYS" in header or "EQUINOX" in header:
        return header
    if not header.get("INHERIT", False):
        return header
    found = header.copy()
    for keyword in ("RADESYS", "EQUINOX"):
        if keyword in primary.header:
            found[keyword] = primary.header[keyword]
    return found


def scan(file: IO[bytes]) -> tuple[HduRecord, ...]:
    """Find all HDUs of a file.

    Raises
    ------
    DatasetError
        It is no FITS file, it is damaged, or shorter than its headers say.

    Notes
    -----
    The walk from header to header is our own: astropy believes what a header says of its size before anybody can check it.
    """
    with _quiet("it is not a readable FITS file"):
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if file.read(len(SIMPLE)) != SIMPLE:
            raise DatasetError("it is not a FITS file: it is empty" if size == 0 else "it is not a FITS file")
        records: list[HduRecord] = []
        offset = 0
        while True:
            if len(records) == MOST_HDUS:
                raise DatasetError(f"it has more than {MOST_HDUS} HDUs")
            record, span = _record(file, len(records), offset, size)
            records.append(record)
            offset = record.data_offset + span + -span % BLOCK
            file.seek(min(offset, size))
            if file.read(len(XTENSION)) != XTENSION:  # the end, or what FITS calls special records
                return tuple(records)


def _record(file: IO[bytes], number: int, offset: int, size: int) -> tuple[HduRecord, int]:
    """Read one HDU's header; gives the bytes of its data too, without what fills the last block."""
    from astropy.io import fits

    text = _header_text(file, number, offset)
    header = fits.Header.fromstring(text)
    data_offset = offset + len(text)
    span = _data_size(header, number)
    if data_offset + span > size:
        raise DatasetError(
            f"it is cut off: HDU {number} should end at byte {data_offset + span}, but the file ends at byte {size}"
        )
    kind = str(header.get("XTENSION", "IMAGE")).strip()
    is_compressed = kind == "BINTABLE" and header.get("ZIMAGE") is True
    is_image = kind in {"IMAGE", "IUEIMAGE"} and header.get("GROUPS") is not True
    if is_compressed:
        _check_tiles(header, number)
        table = fits.BinTableHDU.readfrom(_Part(file, offset))
        header = fits.CompImageHDU(bintable=table, do_not_scale_image_data=True).header
    has_pixels = (is_image or is_compressed) and all(_sizes(header, number, "")) and int(header["NAXIS"]) > 0
    cards = header.tostring(padding=False)
    return HduRecord(number, offset, data_offset, cards, has_pixels, is_compressed), span


def _header_text(file: IO[bytes], number: int, offset: int) -> str:
    file.seek(offset)
    blocks: list[bytes] = []
    while len(blocks) * BLOCK < MOST_HEADER_BYTES:
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise DatasetError(f"it is cut off in the header of HDU {number}")
        blocks.append(block)
        if any(block.startswith(END, card) for card in range(0, BLOCK, 80)):
            return b"".join(blocks).decode("ascii", "replace").replace("\ufffd", "?")
    raise DatasetError(f"the header of HDU {number} has no end")


def _data_size(header: Header, number: int) -> int:
    """Bytes of data that a header announces (FITS 4.0, "Extension size")."""
    bitpix = header.get("BITPIX")
    if type(bitpix) is not int or bitpix not in DTYPES:
        raise DatasetError(f"HDU {number} is damaged: BITPIX = {bitpix!r} is not allowed")
    sizes = _sizes(header, number, "")
    parameters, groups = header.get("PCOUNT", 0), header.get("GCOUNT", 1)
    if type(parameters) is not int or type(groups) is not int or parameters < 0 or groups < 0:
        raise DatasetError(f"HDU {number} is damaged: PCOUNT = {parameters!r}, GCOUNT = {groups!r}")
    if number == 0 and header.get("GROUPS") is not True:
        parameters, groups = 0, 1  # they have no meaning here
    if number == 0 and header.get("GROUPS") is True and sizes[:1] == [0]:
        sizes = sizes[1:]
    return abs(bitpix) // 8 * groups * (parameters + (math.prod(sizes) if sizes else 0))


def _sizes(header: Header, number: int, prefix: str) -> list[int]:
    """Sizes of the axes, the first FITS axis first; with prefix Z those of a compressed image."""
    count = header.get(f"{prefix}NAXIS")
    if type(count) is not int or not 0 <= count <= MOST_AXES:
        raise DatasetError(f"HDU {number} is damaged: {prefix}NAXIS = {count!r} is not allowed")
    sizes = [header.get(f"{prefix}NAXIS{axis}") for axis in range(1, count + 1)]
    for axis, size in enumerate(sizes, start=1):
        if type(size) is not int or size < 0:
            raise DatasetError(f"HDU {number} is damaged: {prefix}NAXIS{axis} = {size!r} is not allowed")
    return sizes


def read_pixels(file: IO[bytes], record: HduRecord, box: Sequence[slice]) -> npt.NDArray[Any]:
    """Read a box of an image as stored: neither BSCALE nor BZERO is applied, byte order is big-endian.

    Parameters
    ----------
    file
        Open for reading and seeking.
    record
        From `scan` of the same file.
    box
        Half-open ranges, one for each axis, the last FITS axis first.

    Raises
    ------
    DatasetError
        The pixels cannot be had.
    """
    with _quiet(f"the pixels of HDU {record.number} cannot be read"):
        found = _read_tiles(file, record, box) if record.is_compressed else _read_rows(file, record, box)
    expected = tuple(one.stop - one.start for one in box)
    if found.shape != expected:
        raise DatasetError(f"the pixels of HDU {record.number} cannot be read: {found.shape} came for {expected}")
    return found.astype(found.dtype.newbyteorder(">"), copy=False)


def _read_tiles(file: IO[bytes], record: HduRecord, box: Sequence[slice]) -> npt.NDArray[Any]:
    from astropy.io import fits

    table = fits.BinTableHDU.readfrom(_Part(file, record.offset))
    _check_tiles(table.header, record.number)
    hdu = fits.CompImageHDU(bintable=table, do_not_scale_image_data=True)
    return np.asarray(hdu.section[tuple(box)])


def _read_rows(file: IO[bytes], record: HduRecord, box: Sequence[slice]) -> npt.NDArray[Any]:
    """Read a box of a plain image front to back, so that a compressed stream need not be unpacked twice."""
    hdu = Hdu(record)
    dtype = np.dtype(DTYPES[int(hdu.header["BITPIX"])])
    if len(hdu.shape) == 1:
        return _read(file, record.data_offset + box[0].start * dtype.itemsize, dtype, (box[0].stop - box[0].start,))
    *outer, rows, columns = box
    ny, nx = hdu.shape[-2:]
    height, width = rows.stop - rows.start, columns.stop - columns.start
    found = np.empty(tuple(one.stop - one.start for one in box), dtype)
    # Whole rows in one go, unless most of what would be read is not wanted.
    in_one = height * nx * dtype.itemsize <= max(SMALL_READ, MOST_WASTE * height * width * dtype.itemsize)
    for place in np.ndindex(found.shape[:-2]):
        plane = 0
        for size, part, index in zip(hdu.shape[:-2], outer, place, strict=True):
            plane = plane * size + part.start + index
        first = record.data_offset + (plane * ny + rows.start) * nx * dtype.itemsize
        if in_one:
            found[place] = _read(file, first, dtype, (height, nx))[:, columns]
            continue
        for row in range(height):
            start = first + (row * nx + columns.start) * dtype.itemsize
            found[(*place, row)] = _read(file, start, dtype, (width,))
    return found


def _read(file: IO[bytes], start: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    file.seek(start)
    size = math.prod(shape) * dtype.itemsize
    content = file.read(size)
    if len(content) != size:
        raise DatasetError(f"the file is cut off: it ends {size - len(content)} bytes before its pixels do")
    return np.frombuffer(content, dtype).reshape(shape)


def _check_tiles(header: Header, number: int) -> None:
    """Refuse tiles that cannot be, or would take more memory than any real image needs."""
    bitpix = header.get("ZBITPIX")
    if type(bitpix) is not int or bitpix not in DTYPES:
        raise DatasetError(f"HDU {number} is damaged: ZBITPIX = {bitpix!r} is not allowed")
    sizes = _sizes(header, number, "Z")
    tile = [header.get(f"ZTILE{axis}", size if axis == 1 else 1) for axis, size in enumerate(sizes, start=1)]
    if not all(type(length) is int and length > 0 for length in tile):
        raise DatasetError(f"HDU {number} is damaged: its tiles have the size {tile}")
    size = math.prod(min(pair) for pair in zip(tile, sizes, strict=True)) * abs(bitpix) // 8
    if size > MOST_TILE_BYTES:
        raise DatasetError(
            f"HDU {number} has tiles of {size / 2**20:.0f} MiB; at most {MOST_TILE_BYTES >> 20} are unpacked"
        )


class _Part(io.RawIOBase):
    """A file from some byte on, for readers that begin at the beginning."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file = file
        self._start = start
        self._file.seek(start)
        self.mode = "rb"
        self.name = "part"

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        offset += self._start if whence == io.SEEK_SET else 0
        return self._file.seek(offset, whence) - self._start

    @override
    def tell(self) -> int:
        return self._file.tell() - self._start

    @override
    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)

    @override
    def readinto(self, buffer: Any, /) -> int:
        piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


@contextmanager
def _quiet(what: str) -> Iterator[None]:
    """Keep astropy's warnings to itself and turn what it cannot read into one error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (GatewayError, MemoryError):
            raise
        except Exception as e:
            lines = str(e).strip().splitlines() or [type(e).__name__]
            raise DatasetError(f"{what}: {lines[0][:200]}") from e
