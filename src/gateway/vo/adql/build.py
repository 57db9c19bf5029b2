"""Queries that we make ourselves, as trees like those that the parser makes: no text is ever put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

from gateway.vo.adql.functions.allowed import RANGE
from gateway.vo.adql.parsing.terms import balanced
from gateway.vo.regions import Circle, Polygon, Range, Region


def column(name: str) -> exp.Column:
    """Make a column of the one table of a query, by its exact published name."""
    return exp.Column(this=exp.Identifier(this=name, quoted=True))


def number(value: float) -> exp.Expr:
    """Make a number with all its digits."""
    literal = exp.Literal(this=repr(abs(value)), is_string=False)
    return exp.Neg(this=literal) if value < 0 else literal


def text(value: str) -> exp.Literal:
    """Make a string."""
    return exp.Literal(this=value, is_string=True)


def region(shape: Region) -> exp.Expr:
    """Make a constant region; the box between meridians and parallels is one that no text can have."""
    match shape:
        case Circle():
            return _call("CIRCLE", (shape.ra, shape.dec, shape.radius))
        case Polygon():
            return _call("POLYGON", [coordinate for vertex in shape.vertices for coordinate in vertex])
        case Range():
            return _call(RANGE, (shape.ra_min, shape.ra_max, shape.dec_min, shape.dec_max))


def meets(name: str, shape: Region) -> exp.Expr:
    """Make the condition that the footprint in a column meets a region."""
    test = exp.Anonymous(this="INTERSECTS", expressions=[column(name), region(shape)])
    return exp.EQ(this=test, expression=number(1))


def contains(ra: exp.Expr, dec: exp.Expr, shape: Region) -> exp.Expr:
    """Make the condition that a position, degrees, is in a region."""
    point = exp.Anonymous(this="POINT", expressions=[ra, dec])
    return exp.EQ(this=exp.Anonymous(this="CONTAINS", expressions=[point, region(shape)]), expression=number(1))


def distance(ra: exp.Expr, dec: exp.Expr, centre: tuple[float, float]) -> exp.Expr:
    """Make the distance of a position from a constant one, degrees."""
    return exp.Anonymous(this="DISTANCE", expressions=[ra, dec, number(centre[0]), number(centre[1])])


def converted(value: exp.Expr, type_: str) -> exp.Expr:
    """Make a value of another type, named as ADQL names it."""
    return exp.Cast(this=value, to=exp.DataType(this=exp.DType.USERDEFINED, kind=type_))


def named(value: exp.Expr, name: str) -> exp.Expr:
    """Give a value a name in the result."""
    return exp.Alias(this=value, alias=exp.Identifier(this=name, quoted=True))


def any_of(conditions: Sequence[exp.Expr]) -> exp.Expr:
    """Make the condition that one of some conditions holds."""
    return conditions[0] if len(conditions) == 1 else exp.Paren(this=balanced(exp.Or, list(conditions)))


def select(
    items: Iterable[str | exp.Expr],
    table: tuple[str, str],
    conditions: Sequence[exp.Expr],
    *,
    order: exp.Expr | None = None,
    top: int | None = None,
) -> exp.Select:
    """Make a query of one table whose rows fulfil all conditions.

    Parameters
    ----------
    items
        Names of columns, or other values.
    table
        Schema and name, exactly as published.
    order
        What is least in the first row.
    top
        So many rows, and no more.
    """
    schema, name = (exp.Identifier(this=part, quoted=True) for part in table)
    chosen = [column(item) if isinstance(item, str) else item for item in items]
    query = exp.Select(expressions=chosen, from_=exp.From(this=exp.Table(this=name, db=schema)))
    if conditions:
        query.set("where", exp.Where(this=balanced(exp.And, list(conditions))))
    if order is not None:
        query.set("order", exp.Order(expressions=[exp.Ordered(this=order, desc=False, nulls_first=False)]))
    if top is not None:
        query.set("limit", exp.Limit(expression=number(top)))
    return query


def _call(name: str, numbers: Iterable[float]) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=[number(one) for one in numbers])
