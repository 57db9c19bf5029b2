"""Queries that we make ourselves, as trees like those that the parser makes: no text is ever put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

from gateway.vo.adql.functions.allowed import RANGE
from gateway.vo.adql.parsing.terms import balanced
from gateway.vo.regions import Circle, Polygon, Range, Region


def column(name: str) -> exp.Column:
    """Make a column of the one table of a query."""
    return exp.Column(this=exp.Identifier(this=name, quoted=False))


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


def any_of(conditions: Sequence[exp.Expr]) -> exp.Expr:
    """Make the condition that one of some conditions holds."""
    return conditions[0] if len(conditions) == 1 else exp.Paren(this=balanced(exp.Or, list(conditions)))


def select(names: Iterable[str], table: tuple[str, str], conditions: Sequence[exp.Expr]) -> exp.Select:
    """Make a query of columns of one table whose rows fulfil all conditions.

    Parameters
    ----------
    table
        Schema and name, as published.
    """
    schema, name = (exp.Identifier(this=part, quoted=False) for part in table)
    query = exp.Select(expressions=[column(one) for one in names], from_=exp.From(this=exp.Table(this=name, db=schema)))
    if conditions:
        query.set("where", exp.Where(this=balanced(exp.And, list(conditions))))
    return query


def _call(name: str, numbers: Iterable[float]) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=[number(one) for one in numbers])
