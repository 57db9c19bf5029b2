"""Types of expressions: what VOTable says of them and what PostgreSQL makes of them.

ADQL 2.1, "Type system". A `Typed` is known for every expression after names are resolved.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from sqlglot import exp

from gateway.vo.tableset import INTEGER_DATATYPES, Datatype, Field, VOType


class Kind(StrEnum):
    """Coarse type: what may be done with a value."""

    NUMBER = "number"
    TEXT = "string"
    TIMESTAMP = "timestamp"
    BOOLEAN = "boolean"
    POINT = "point"
    CIRCLE = "circle"
    POLYGON = "polygon"
    NULL = "NULL"
    OTHER = "array"


GEOMETRIES = frozenset({Kind.POINT, Kind.CIRCLE, Kind.POLYGON})

SHORT = VOType(Datatype.SHORT)
INT = VOType(Datatype.INT)
LONG = VOType(Datatype.LONG)
FLOAT = VOType(Datatype.FLOAT)
DOUBLE = VOType(Datatype.DOUBLE)
BOOLEAN = VOType(Datatype.BOOLEAN)
CHAR = VOType(Datatype.CHAR, "*")
UNICODE_CHAR = VOType(Datatype.UNICODE_CHAR, "*")
TIMESTAMP = VOType(Datatype.CHAR, "*", "timestamp")
POINT = VOType(Datatype.DOUBLE, "2", "point")
CIRCLE = VOType(Datatype.DOUBLE, "3", "circle")
POLYGON = VOType(Datatype.DOUBLE, "*", "polygon")
MOC = VOType(Datatype.CHAR, "*", "moc")

DECIMAL = "decimal"
"""SQL type of a literal such as ``1.5``: PostgreSQL takes it as numeric, but beside a double it becomes one by itself."""

UNKNOWN = "unknown"
"""SQL type of NULL."""

SQL_TIMESTAMP = "timestamp without time zone"

_SQL: dict[Datatype, str] = {
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

_RANKS = {"smallint": 0, "integer": 1, "bigint": 2, "numeric": 3, DECIMAL: 3, "real": 4, "double precision": 5}
_NUMBERS = {
    "smallint": SHORT,
    "integer": INT,
    "bigint": LONG,
    "numeric": DOUBLE,
    DECIMAL: DOUBLE,
    "real": FLOAT,
    "double precision": DOUBLE,
}

DATA_TYPES = {
    "smallint": exp.DType.SMALLINT,
    "integer": exp.DType.INT,
    "bigint": exp.DType.BIGINT,
    "real": exp.DType.FLOAT,
    "double precision": exp.DType.DOUBLE,
    "numeric": exp.DType.DECIMAL,
    "text": exp.DType.TEXT,
    "boolean": exp.DType.BOOLEAN,
    SQL_TIMESTAMP: exp.DType.TIMESTAMP,
}


def kind_of(type_: VOType, sql: str) -> Kind:
    """Coarse type of a VOTable type."""
    if sql == UNKNOWN:
        return Kind.NULL
    match type_.xtype:
        case "timestamp":
            return Kind.TIMESTAMP
        case "point":
            return Kind.POINT
        case "circle":
            return Kind.CIRCLE
        case "polygon":
            return Kind.POLYGON
        case _:
            pass
    if type_.is_text:
        return Kind.TEXT
    if type_.is_array or type_.datatype in {Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX, Datatype.BIT}:
        return Kind.OTHER
    return Kind.BOOLEAN if type_.datatype is Datatype.BOOLEAN else Kind.NUMBER


@dataclass(frozen=True, slots=True)
class Typed:
    """Field of an expression and its type in PostgreSQL."""

    field: Field
    sql: str
    """Base name as ``format_type`` spells it, without length or precision."""
    kind: Kind = dataclasses.field(init=False, compare=False)
    """What may be done with the value."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", kind_of(self.field.type, self.sql))

    def renamed(self, name: str) -> Field:
        """Its field under another name."""
        return self.field if self.field.name == name else dataclasses.replace(self.field, name=name)


@lru_cache(4096)
def typed(type_: VOType, sql: str | None = None, *, unit: str | None = None, ucd: str | None = None) -> Typed:
    """Type of a computed expression."""
    return Typed(Field("", type_, unit=unit, ucd=ucd), sql or canonical_sql(type_))


NULL = Typed(Field("", CHAR), UNKNOWN)
IS_TRUE = Typed(Field("", BOOLEAN), "boolean")


def canonical_sql(type_: VOType) -> str:
    """PostgreSQL's type whose values become the canonical Arrow type of a field."""
    if type_.is_timestamp:
        return SQL_TIMESTAMP
    base = _SQL[type_.datatype]
    is_list = type_.datatype in {Datatype.BIT, Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX}
    return f"{base}[]" if type_.is_array or is_list else base


def base_sql(sql_type: str) -> str:
    """Type as ``format_type`` spells it, without its length: ``numeric(10,3)[]`` is ``numeric[]``."""
    before, parenthesis, rest = sql_type.partition("(")
    return before + rest.partition(")")[2] if parenthesis else sql_type


def number(sql: str, *, unit: str | None = None) -> Typed:
    """Type of a number of a PostgreSQL type."""
    return typed(_NUMBERS[sql], sql, unit=unit)


def promoted(left: str, right: str) -> str:
    """PostgreSQL's type of an arithmetic expression."""
    if UNKNOWN in {left, right}:
        other = right if left == UNKNOWN else left
        return "double precision" if other in (UNKNOWN, DECIMAL) else other
    high, low = (left, right) if _RANKS.get(left, 3) >= _RANKS.get(right, 3) else (right, left)
    if high == DECIMAL or (high == "numeric" and low == DECIMAL):
        return "double precision"
    if high == "real" and low != "real":
        return "double precision"
    return high


def is_integer(value: Typed) -> bool:
    """Whether a value is a single whole number."""
    return value.kind is Kind.NUMBER and value.field.type.datatype in INTEGER_DATATYPES


def integer_literal(text: str) -> Typed:
    """Type of a whole number as it is written."""
    size = int(text)
    return number("integer" if size < 2**31 else "bigint" if size < 2**63 else DECIMAL)


def data_type(sql: str) -> exp.DataType:
    """Node of one of the canonical types of PostgreSQL."""
    if sql.endswith("[]"):
        return exp.DataType(this=exp.DType.ARRAY, expressions=[data_type(sql[:-2])], nested=True)
    return exp.DataType(this=DATA_TYPES[sql])


def cast(node: exp.Expr, sql: str) -> exp.Expr:
    """``CAST(node AS sql)``."""
    return exp.Cast(this=node, to=data_type(sql))


def unify(left: Typed, right: Typed) -> Typed | None:
    """Find the common type of two values in one column, described as the left one; ``None`` if there is none."""
    if left.sql == UNKNOWN:
        return Typed(dataclasses.replace(left.field, type=right.field.type), right.sql)
    if right.sql == UNKNOWN:
        return left
    if left.kind is not right.kind:
        return None
    field = left.field
    if left.kind is Kind.NUMBER:
        if left.sql == right.sql and left.sql != DECIMAL:
            return left
        common = promoted(left.sql, right.sql)
        return Typed(dataclasses.replace(field, type=_NUMBERS[common]), common)
    if left.field.type == right.field.type:
        return left if left.sql == right.sql else Typed(field, canonical_sql(field.type))
    if left.kind is Kind.TEXT:
        wide = Datatype.UNICODE_CHAR in {field.type.datatype, right.field.type.datatype}
        return Typed(dataclasses.replace(field, type=UNICODE_CHAR if wide else CHAR), "text")
    if left.kind is Kind.OTHER:
        return None
    if left.kind is Kind.TIMESTAMP:
        return Typed(dataclasses.replace(field, type=TIMESTAMP), SQL_TIMESTAMP)
    return left


def settled(value: Typed) -> Typed:
    """Type of a column: literals and NULL have found their type by then."""
    if value.sql == DECIMAL:
        return Typed(value.field, "double precision")
    return Typed(value.field, "text") if value.sql == UNKNOWN else value


def comparable(left: Typed, right: Typed) -> bool:
    """Whether PostgreSQL has an order for both together."""
    return left.kind is right.kind or Kind.NULL in (left.kind, right.kind)


NATIVE = frozenset(
    {
        *DATA_TYPES,
        "character varying",
        "character",
        "timestamp with time zone",
        *(f"{element}[]" for element in ("smallint", "integer", "bigint", "real", "double precision", "boolean")),
    }
)
"""Types of PostgreSQL, without length, with which ADQL's operators and functions work as they are."""


def stored_sql(sql_type: str, type_: VOType) -> tuple[str, bool]:
    """Type of a column's values in a query, and whether it is another than the one they are stored in.

    A table that is only registered may have any type (uuid, json, enum, a domain): its values are those of the
    nearest type that VOTable has.
    """
    base = base_sql(sql_type)
    return (base, False) if base in NATIVE else (canonical_sql(type_), True)
