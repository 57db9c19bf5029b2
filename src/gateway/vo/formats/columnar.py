"""What Parquet and Arrow streams have in common: a file that only remembers, and the types of columns."""

from __future__ import annotations

import io

import pyarrow as pa
from typing_extensions import override

from gateway.vo.formats.base import arrow_type
from gateway.vo.tableset import Datatype, Field


class Drain(io.RawIOBase):
    """File that remembers only what was written since it was last emptied."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    @override
    def writable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # any buffer
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def empty(self) -> bytes:
        """Bytes written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def plain_field(field: Field) -> pa.Field:
    """Column as programs without VO knowledge expect it: canonical, but bytes without sign."""
    type_ = arrow_type(field.type)
    if field.type.datatype is Datatype.UNSIGNED_BYTE:
        type_ = pa.list_(pa.uint8()) if field.type.is_array else pa.uint8()
    return pa.field(field.name, type_)
