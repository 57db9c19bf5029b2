"""Between the types of PostgreSQL and the canonical ones of `gateway.vo.formats.base`."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from gateway.vo.formats.base import arrow_type
from gateway.vo.tableset import Datatype, VOType

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
}


def sql_type(kind: VOType) -> str:
    """Type of the PostgreSQL column that holds such values, as ``format_type`` spells it."""
    if kind.is_text:
        return "timestamp without time zone" if kind.is_timestamp else "text"
    element = _SQL_TYPES[kind.datatype]
    return f"{element}[]" if pa.types.is_list(arrow_type(kind)) else element


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
    return pc.cast(column, kind)
