"""What every output format is: a description, and a writer ``batches -> bytes`` in constant memory.

A record batch that reaches a writer has one column per field, in order, in the canonical Arrow type of
the field:

=====================  ======================================
VOTable datatype       Arrow type
=====================  ======================================
boolean                bool
unsignedByte, short    int16
int / long             int32 / int64
float / double         float32 / float64
char, unicodeChar      string
xtype timestamp        timestamp[us], UTC, no zone
bit                    list<bool>
arrays                 list<element>, flattened, first axis fastest
floatComplex arrays    list<float32>, pairs (re, im); doubleComplex likewise float64
=====================  ======================================

Nulls are Arrow nulls; a null inside an array is allowed for floats only (it means NaN).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from gateway.vo.tableset import Field


@dataclass(frozen=True, slots=True)
class Info:
    """INFO of a VOTable, or a metadata entry where a format has such: name, value, text."""

    name: str
    value: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class TableHeader:
    """All that is known of a result before its first row."""

    fields: tuple[Field, ...]
    infos: tuple[Info, ...] = ()
    name: str = "result"
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """All rows are there."""


@dataclass(frozen=True, slots=True)
class Overflow:
    """Rows were cut at ``maxrec`` (DALI 1.1, "Overflow")."""

    maxrec: int


@dataclass(frozen=True, slots=True)
class Broken:
    """An error ended the rows after the first were sent; ``message`` may be shown to the caller."""

    message: str


Ending = Complete | Overflow | Broken


class Writer(Protocol):
    """Serialise one table. Calls come in this order: ``start``, ``batch`` any number of times, ``end``.

    Each call returns the bytes that are ready, maybe none. Writers do no input or output and may be
    called from any one thread at a time.
    """

    def start(self) -> bytes:
        """Bytes before the first row."""
        ...

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Bytes of some rows."""
        ...

    def end(self, ending: Ending) -> bytes:
        """Bytes after the last row.

        A format that cannot tell a broken table from a whole one raises `TruncatedError` for `Broken`, so
        that the body is cut instead of ending well-formed.
        """
        ...


class TruncatedError(Exception):
    """The format has no way to say that the table is broken: cut the body."""


@dataclass(frozen=True, slots=True)
class Format:
    """Output format as it is advertised and asked for.

    Attributes
    ----------
    key
        Short name, for example ``votable``.
    media_type
        Content-Type of the answer unless the client asked for one of `aliases` by its media type.
    aliases
        Further media types and short names that select this format.
    extension
        File name ending with its dot.
    ivo_id
        Identifier of the output format in TAPRegExt 1.0, where one exists.
    make
        Makes the writer.
    """

    key: str
    media_type: str
    aliases: tuple[str, ...]
    extension: str
    make: Callable[[TableHeader], Writer]
    ivo_id: str | None = None
