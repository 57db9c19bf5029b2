"""Numbers that stand for null where a serialisation has no other way (VOTable 1.4, BINARY; VOT-16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from gateway.errors import NotSupportedError
from gateway.vo.formats.cells import constant
from gateway.vo.tableset import Datatype, Field

NULL_VALUES: Mapping[Datatype, int] = {
    Datatype.SHORT: -32_017,
    Datatype.INT: -2_147_301_713,
    Datatype.LONG: -9_223_301_713_190_271_331,
}
"""Chosen before the first row is seen, so not among the numbers that people choose: the least and the greatest,
-1, -99, -9999 are all found in catalogues, some as values and some as somebody's null."""


def with_room_for_null(field: Field) -> Field:
    """Field as it is sent: an unsignedByte, all of whose 256 values may be real, becomes a short."""
    if field.type.datatype is Datatype.UNSIGNED_BYTE and _can_be_null(field):
        return replace(field, type=replace(field.type, datatype=Datatype.SHORT))
    return field


def null_value(field: Field) -> int | None:
    """Tell the number that stands for null, if the field needs one."""
    return NULL_VALUES.get(field.type.datatype) if _can_be_null(field) else None


def _can_be_null(field: Field) -> bool:
    """Whether a null takes the place of numbers; an array of varying length is empty instead."""
    return not (field.type.arraysize or "").endswith("*")


def refuse_null_values(columns: Sequence[pa.Array], fields: Sequence[Field], nulls: Sequence[int | None]) -> None:
    """Let no value pass that would be read as null.

    Raises
    ------
    NotSupportedError
        A column has such a value; the text names it, and formats that can carry it.
    """
    for column, field, null in zip(columns, fields, nulls, strict=True):
        if null is None:
            continue
        values = column.flatten() if pa.types.is_list(column.type) else column
        if pc.any(pc.equal(values, constant(null, values.type))).as_py():
            raise NotSupportedError(
                f"column {field.name} holds {null}, the number that stands for null in VOTable BINARY; "
                "ask for RESPONSEFORMAT=votable (BINARY2) or another format"
            )
