"""Make and read plain expressions: numbers, arrays, constants, copies."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from gateway.vo.adql.types import SQL_TIMESTAMP, Typed, cast, data_type

ARITHMETIC: frozenset[type[exp.Expr]] = frozenset({exp.Add, exp.Sub, exp.Mul, exp.Div})


def is_null(node: exp.Expr) -> bool:
    """Whether an expression is a plain NULL."""
    return isinstance(node.unnest(), exp.Null)


def number(value: float) -> exp.Expr:
    """Literal of a number, with all its digits."""
    text = repr(value)
    return (
        exp.Literal(this=text, is_string=False)
        if value >= 0
        else exp.Neg(this=exp.Literal(this=text[1:], is_string=False))
    )


def clone(node: exp.Expr) -> exp.Expr:
    """Copy of an expression that shares its notes (a deep copy would copy whole tables with them)."""
    args = {
        key: [clone(v) if isinstance(v, exp.Expr) else v for v in value]
        if isinstance(value, list)
        else clone(value)
        if isinstance(value, exp.Expr)
        else value
        for key, value in node.args.items()
    }
    copy = type(node)(**args)
    copy.meta.update(node.meta)
    return copy


def converted(node: exp.Expr, sql: str, wanted: str) -> exp.Expr:
    """Expression of one PostgreSQL type as another."""
    if sql == "timestamp with time zone" and wanted == SQL_TIMESTAMP:
        return exp.AtTimeZone(this=exp.Paren(this=node), zone=exp.Literal.string("UTC"))
    return node if sql == wanted else cast(node, wanted)


def constant(node: exp.Expr) -> float | None:
    """Value of an expression of numbers alone, as PostgreSQL would have it; ``None`` for any other."""
    if isinstance(node, exp.Paren):
        return constant(node.this)
    if isinstance(node, exp.Literal):
        if node.is_string:
            return None
        return int(node.this) if node.this.isdigit() else float(node.this)
    if isinstance(node, exp.Neg):
        value = constant(node.this)
        return None if value is None else -value
    if type(node) in ARITHMETIC:
        one, other = constant(node.this), constant(node.expression)
        return None if one is None or other is None else _computed(type(node), one, other)
    return None


def _computed(kind: type[exp.Expr], one: float, other: float) -> float | None:
    if kind is exp.Add:
        return one + other
    if kind is exp.Sub:
        return one - other
    if kind is exp.Mul:
        return one * other
    if other == 0:
        return None  # PostgreSQL tells
    if isinstance(one, int) and isinstance(other, int):  # whole numbers are divided towards zero
        return abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)
    return one / other


def in_quotes(name: str) -> str:
    """Name between quotes, as both ADQL and PostgreSQL read it."""
    return '"' + name.replace('"', '""') + '"'


def in_ranges(table: str, column: str, ranges: Sequence[tuple[int, int]]) -> exp.Expr:
    """Whether a table's column of whole numbers is in one of some ranges, both ends included; ready to stand beside AND.

    It is printed here, as one node: dozens of ranges as trees would take as long as all the rest of a query.
    """
    name = f"{in_quotes(table)}.{in_quotes(column)}"
    arms = [f"{name} BETWEEN {low:d} AND {high:d}" for low, high in ranges]
    return exp.Paren(this=exp.Var(this=" OR ".join(arms)))


def as_doubles(node: exp.Expr, value: Typed) -> exp.Expr:
    """Array of a shape as doubles."""
    return node if value.sql == "double precision[]" else cast(node, "double precision[]")


def element(array: exp.Expr, place: int) -> exp.Expr:
    """One number of an array, counted from 0."""
    inner = clone(array)
    base = inner if isinstance(inner, exp.Column) else exp.Paren(this=inner)
    return exp.Bracket(this=base, expressions=[exp.Literal.number(place)])


def array_literal(numbers: Sequence[float]) -> exp.Expr:
    """Constant array of doubles."""
    text = "{" + ",".join(repr(float(number)) for number in numbers) + "}"
    return exp.Cast(this=exp.Literal.string(text), to=data_type("double precision[]"))
