"""Streams as gzip, packed only as far as that makes them arrive sooner.

Most clients of the Virtual Observatory send ``Accept-Encoding: gzip`` always, but zlib packs 40 to 100 MB/s and
unpacks 200: on a fast network that takes several times as long as the query. gzip may change its mind, though: every
block of it says whether it is packed. So a stream starts with stored blocks, which cost a copy and a checksum, and
is packed while its client takes less than zlib gives.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

SLOW = 16e6
"""A client that takes fewer bytes a second than this gains by packing."""

SMALL = 32 * 1024
"""So little is packed in no time, whatever the network."""

TELLING = 256 * 1024
"""Fewer bytes go into the buffers of the network at once: how long they take tells nothing of the client."""

LEVEL = 1
"""The fastest of zlib: TABLEDATA becomes a third, CSV a half, BINARY2 two thirds."""

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952: deflate, no name, no time, any system
_LAST_BLOCK = b"\x01\x00\x00\xff\xff"  # RFC 1951: final, stored, empty
_STORED_BYTES = 0xFFFF

_NO_WEIGHT = re.compile(r"0(\.0{0,3})?")


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an ``Accept-Encoding`` header asks for gzip (RFC 9110, 12.5.3).

    ``*`` counts too, unless gzip itself is refused.
    """
    weights: dict[str, bool] = {}
    for item in accept_encoding.lower().split(","):
        coding, *parameters = (word.strip() for word in item.split(";"))
        refused = any(
            name.strip() == "q" and _NO_WEIGHT.fullmatch(value.strip())
            for name, _, value in (parameter.partition("=") for parameter in parameters)
        )
        weights[coding] = not refused
    for name in ("gzip", "x-gzip", "*"):
        if name in weights:
            return weights[name]
    return False


class Gzip:
    """One stream as gzip: `piece` for each piece, `end` for the last bytes.

    The caller tells with `sent` how the client keeps up.
    """

    def __init__(self) -> None:
        self._start = _HEADER
        self._crc = 0
        self._size = 0
        self._is_slow = False

    def sent(self, nbytes: int, seconds: float) -> None:
        """Take note that the client took so many bytes in so long."""
        if nbytes >= TELLING:
            self._is_slow = nbytes < SLOW * seconds

    def piece(self, data: bytes) -> bytes:
        """Encode a piece; several milliseconds for a large one, the interpreter's lock not held."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        start, self._start = self._start, b""
        if self._is_slow or len(data) < SMALL:
            deflate = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
            # A flushed piece ends on a byte and refers to nothing before it: another kind of block may follow.
            return b"".join((start, deflate.compress(data), deflate.flush(zlib.Z_SYNC_FLUSH)))
        return b"".join((start, *_stored(data)))

    def end(self) -> bytes:
        """Bytes after the last piece: without them no client takes the stream for whole."""
        size = self._size & 0xFFFFFFFF
        return self._start + _LAST_BLOCK + self._crc.to_bytes(4, "little") + size.to_bytes(4, "little")


def _stored(data: bytes) -> Iterator[bytes | memoryview]:
    """Blocks that hold the data as it is (RFC 1951, 3.2.4)."""
    view = memoryview(data)
    for first in range(0, len(view), _STORED_BYTES):
        block = view[first : first + _STORED_BYTES]
        yield b"\x00" + len(block).to_bytes(2, "little") + (len(block) ^ 0xFFFF).to_bytes(2, "little")
        yield block
