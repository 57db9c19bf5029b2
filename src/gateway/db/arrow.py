"""Arrow types of result columns: the canonical ones, whatever the driver makes of PostgreSQL's."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from gateway.vo.tableset import Datatype, Field, VOType

_ELEMENTS = {
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
    Datatype.CHAR: pa.string(),
    Datatype.UNICODE_CHAR: pa.string(),
}
_ALWAYS_LISTS = frozenset({Datatype.BIT, Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX})


def arrow_type(kind: VOType) -> pa.DataType:
    """Canonical Arrow type of a field (see `gateway.vo.formats.base`)."""
    if kind.is_timestamp:
        return pa.timestamp("us")
    element = _ELEMENTS[kind.datatype]
    return pa.list_(element) if kind.is_array or kind.datatype in _ALWAYS_LISTS else element


_SQL_TYPES = {
    Datatype.BOOLEAN: "boolean",
    Datatype.BIT: "boolean",
    Datatype.UNSIGNED_BYTE: "smallint",
    Datatype.SHORT: "smallint",
    Datatype.INT: "integer",
    Datatype.LONG: "bigint",
    Datatype.FLOAT: "real",
    Datatype.DOUBLE: "double precision",
    Datatype.FLOAT_COMPLEX: "real",
    Datatype.DOUBLE_COMPLEX: "double precision",
    Datatype.CHAR: "text",
    Datatype.UNICODE_CHAR: "text",
}


def sql_type(kind: VOType) -> str:
    """Type of the PostgreSQL column that holds such values, as ``format_type`` spells it."""
    if kind.is_timestamp:
        return "timestamp without time zone"
    element = _SQL_TYPES[kind.datatype]
    return f"{element}[]" if kind.is_array or kind.datatype in _ALWAYS_LISTS else element


def arrow_schema(fields: Sequence[Field]) -> pa.Schema:
    """Give the schema of canonical batches; names as in the fields, maybe twice the same."""
    return pa.schema([pa.field(field.name, arrow_type(field.type)) for field in fields])


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Give a batch the names and types of a schema, by position.

    Costs nothing where the types are right already, as translated queries see to.

    Raises
    ------
    pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError
        A column cannot be cast.
    """
    return pa.RecordBatch.from_arrays(
        [_cast(column, field.type) for column, field in zip(batch.columns, schema, strict=True)], schema=schema
    )


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type.equals(kind):
        return column
    if isinstance(column, pa.ExtensionArray):
        # Types unknown to Arrow, such as numeric, travel as text.
        column = column.storage
    if pa.types.is_list(kind) and pa.types.is_list(column.type):
        return _cast_list(column, kind)
    return pc.cast(column, kind)


def _cast_list(column: pa.ListArray, kind: pa.ListType) -> pa.ListArray:
    values = _cast(column.values, kind.value_type)
    mask = column.is_null() if column.null_count else None
    # A slice keeps its parent's values; the offsets still point into them.
    return pa.ListArray.from_arrays(column.offsets, values, type=kind, mask=mask)
