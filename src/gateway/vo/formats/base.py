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
bit                    list<bool>, one element for a scalar
arrays                 list<element>, flattened, first axis fastest
floatComplex           list<float32>, pairs (re, im), also for a scalar; doubleComplex likewise float64
=====================  ======================================

Nulls are Arrow nulls; a null inside an array is allowed for floats only (it means NaN).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from gateway.errors import ServiceError
from gateway.vo.descriptors import ServiceDescriptor
from gateway.vo.tableset import Datatype, Field, VOType

_ELEMENTS: dict[Datatype, pa.DataType] = {
    Datatype.BOOLEAN: pa.bool_(),
    Datatype.BIT: pa.bool_(),
    Datatype.UNSIGNED_BYTE: pa.int16(),
    Datatype.SHORT: pa.int16(),
    Datatype.INT: pa.int32(),
    Datatype.LONG: pa.int64(),
    Datatype.CHAR: pa.string(),
    Datatype.UNICODE_CHAR: pa.string(),
    Datatype.FLOAT: pa.float32(),
    Datatype.DOUBLE: pa.float64(),
    Datatype.FLOAT_COMPLEX: pa.float32(),
    Datatype.DOUBLE_COMPLEX: pa.float64(),
}
COMPLEX_DATATYPES = frozenset({Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX})


def arrow_type(type_: VOType) -> pa.DataType:
    """Canonical Arrow type of a field's values; the table above."""
    if type_.is_text:
        return pa.timestamp("us") if type_.is_timestamp else pa.string()
    element = _ELEMENTS[type_.datatype]
    is_list = type_.is_array or type_.datatype in COMPLEX_DATATYPES or type_.datatype is Datatype.BIT
    return pa.list_(element) if is_list else element


def arrow_schema(fields: Iterable[Field]) -> pa.Schema:
    """Canonical Arrow schema of a table; names may repeat, columns are told apart by their place."""
    return pa.schema([pa.field(field.name, arrow_type(field.type)) for field in fields])


def described(field: Field) -> dict[str, str]:
    """Properties of a field that it has, under the names that VOTable gives them; for formats that are no VOTables."""
    values = {
        "name": field.name,
        "datatype": field.type.datatype.value,
        "arraysize": field.type.arraysize,
        "xtype": field.type.xtype,
        "unit": field.unit,
        "ucd": field.ucd,
        "utype": field.utype,
        "description": field.description,
    }
    return {name: value for name, value in values.items() if value}


def canonical_columns(batch: pa.RecordBatch, fields: Sequence[Field]) -> list[pa.Array]:
    """Columns of a batch in the canonical types, by place.

    Raises
    ------
    ServiceError
        The batch does not fit the fields: whoever made it has a fault.
    """
    if batch.num_columns != len(fields):
        raise ServiceError(f"a result with {len(fields)} fields came with {batch.num_columns} columns")
    columns = []
    for field, column in zip(fields, batch.columns, strict=True):
        wanted = arrow_type(field.type)
        try:
            columns.append(column if column.type == wanted else column.cast(wanted))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
            raise ServiceError(f"column {field.name!r} came as {column.type} and cannot become {wanted}") from e
    return columns


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
    services: tuple[ServiceDescriptor, ...] = ()
    """Services that take the rows; told by formats that can."""
    parameters: tuple[tuple[str, str], ...] | None = None
    """Names and values that, sent to the URL of the answer with another RESPONSEFORMAT, give the same table again;
    ``None``: nothing does, for example because of an uploaded table."""


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


class SpooledWriter(Protocol):
    """Serialise one table in a format whose first bytes tell of its last row.

    Calls come in this order: ``survey`` with every batch, ``start``, then ``passes`` times over ``batch`` with every
    batch again, cut as before, and ``end``. Whoever calls keeps the rows meanwhile.
    """

    @property
    def passes(self) -> int:
        """How often all rows are needed after ``start``."""
        ...

    def survey(self, batch: pa.RecordBatch) -> None:
        """Take note of some rows."""
        ...

    def start(self, ending: Complete | Overflow) -> bytes:
        """Bytes before the first row. There is no broken table: nothing is sent before the rows have ended."""
        ...

    def batch(self, batch: pa.RecordBatch, number: int) -> bytes:
        """Bytes of some rows in a pass, the first of which is number 0."""
        ...

    def end(self) -> bytes:
        """Bytes after the last row of the last pass."""
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
    make_spooled
        Makes the writer for tables of any size, if the format cannot do without keeping the rows. That of `make`
        keeps them in memory, which is for small tables only.
    """

    key: str
    media_type: str
    aliases: tuple[str, ...]
    extension: str
    make: Callable[[TableHeader], Writer]
    ivo_id: str | None = None
    make_spooled: Callable[[TableHeader], SpooledWriter] | None = None
