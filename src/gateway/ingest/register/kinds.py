"""Types of PostgreSQL as VOTable has them: the nearest one, or none."""

from __future__ import annotations

from gateway.ingest.register.relation import StoredColumn
from gateway.vo.tableset import Datatype, VOType

UNICODE = VOType(Datatype.UNICODE_CHAR, "*")
CHAR = VOType(Datatype.CHAR, "*")
TIMESTAMP = VOType(Datatype.CHAR, "*", "timestamp")

EXACT: dict[str, VOType] = {
    "bool": VOType(Datatype.BOOLEAN),
    "int2": VOType(Datatype.SHORT),
    "int4": VOType(Datatype.INT),
    "int8": VOType(Datatype.LONG),
    "float4": VOType(Datatype.FLOAT),
    "float8": VOType(Datatype.DOUBLE),
    "numeric": VOType(Datatype.DOUBLE),
    "oid": VOType(Datatype.LONG),
    "timestamp": TIMESTAMP,
    "timestamptz": TIMESTAMP,
    "date": TIMESTAMP,
    "interval": VOType(Datatype.DOUBLE),
    "uuid": VOType(Datatype.CHAR, "36"),
    "char": CHAR,
    "json": UNICODE,
    "jsonb": UNICODE,
    "xml": UNICODE,
    "money": UNICODE,
    "time": CHAR,
    "timetz": CHAR,
    "macaddr": CHAR,
    "macaddr8": CHAR,
}
"""Scalar types by their internal names."""

AS_TEXT = frozenset("SENIVRG")
"""Categories of ``pg_type`` whose values are published as their text: strings, enumerations, addresses, bits, ranges, shapes."""

ELEMENTS = {"bool": "bool", "int2": "int2", "int4": "int4", "int8": "int8", "float4": "float4", "float8": "float8"} | {
    "numeric": "float8"
}
"""Elements of arrays that become arrays; arrays of others become their text."""

LONGEST_EXACT = 18
"""Decimal digits that always fit a 64-bit integer."""


def vo_type(column: StoredColumn) -> VOType | None:
    """Nearest type of VOTable; ``None``: values of the type mean nothing outside PostgreSQL.

    Whether text is 7-bit is not known without reading all of it, so it is unicodeChar, except where the type itself tells.
    """
    if column.base.endswith("[]"):
        element = column.base[:-2]
        if element in ELEMENTS:
            return VOType(EXACT[ELEMENTS[element]].datatype, "*")
        return UNICODE if element in EXACT or column.category in AS_TEXT else None
    if column.labels is not None:
        return CHAR if all(label.isascii() for label in column.labels) else UNICODE
    if column.base == "numeric" and _is_whole(column.modifier):
        return VOType(Datatype.LONG)
    if column.base in EXACT:
        return EXACT[column.base]
    if column.category == "S":
        is_bounded = column.base in {"varchar", "bpchar"} and column.modifier > 4
        return VOType(Datatype.UNICODE_CHAR, f"{column.modifier - 4}*" if is_bounded else "*")
    if column.category in "IV":
        return CHAR
    return UNICODE if column.category in AS_TEXT else None


def _is_whole(modifier: int) -> bool:
    """Whether a numeric has no decimals and fits a 64-bit integer (PostgreSQL keeps precision and scale in one number)."""
    if modifier < 4:
        return False
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    return scale == 0 and precision <= LONGEST_EXACT


def unit_of(column: StoredColumn) -> str | None:
    """Give the unit that the type itself has: an interval is published in seconds."""
    return "s" if column.base == "interval" else None


def notes(columns: tuple[StoredColumn, ...]) -> list[str]:
    """Tell what is published otherwise than it is stored."""
    said = []
    for words, bases in (
        ("as double, with 15 digits", {"numeric", "numeric[]"}),
        ("in seconds", {"interval"}),
        ("as text", {"json", "jsonb", "xml"}),
    ):
        found = [
            column.name
            for column in columns
            if column.base in bases and not (column.base == "numeric" and _is_whole(column.modifier))
        ]
        if found:
            said.append(f"{', '.join(found)}: published {words}")
    left_out = [f"{column.name} ({column.sql_type})" for column in columns if vo_type(column) is None]
    if left_out:
        said.append(f"left out, because VOTable has nothing like their types: {', '.join(left_out)}")
    return said
