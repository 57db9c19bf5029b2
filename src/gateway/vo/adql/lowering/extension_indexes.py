"""Conditions by which PostgreSQL uses an index of q3c or pgSphere that a registered table has already.

Each follows from the exact test that stands beside it: circles are a little larger, polygons are looked up by the circle around
them. Functions and operators are named with their schema, as the sessions of queries have no other on their path. That
is also why q3c's own conditions are written out here: its `q3c_radial_query` and `q3c_join` are SQL texts that
name q3c's other functions without a schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from sqlglot import exp

from gateway.vo.adql.lowering.shapes import SLACK_DEG, WIDEST_DEG, Point, around
from gateway.vo.adql.nodes import clone, number
from gateway.vo.adql.parsing.terms import balanced
from gateway.vo.adql.tree import quoted
from gateway.vo.adql.types import cast
from gateway.vo.regions import Circle, Region
from gateway.vo.tableset import Extension, ExtensionIndex

Q3C_LEAST_DEG = 0.1
"""Radius, degrees, from which on q3c's ranges of a circle are asked for, and not the pixels around it.

Up to 1e-5 degrees these ranges lose positions (q3c 2.0: at 0.001" nearly all), from 1e-4 on never in our trials; the
pixels around a circle lose none at any radius, and are few rows up to a tenth of a degree.
"""

Q3C_RANGES = 50
"""Ranges of pixels, wholly and partly inside a circle, that q3c gives at most."""

Q3C_NEIGHBOURS = 4
"""Pixels, at most, that a small circle touches."""


def in_circle(point: Point, region: Region) -> exp.Expr | None:
    """Condition that a position of a table may be in a region; ``None`` where a scan is as good.

    Parameters
    ----------
    point
        Position of a table that has the index of an extension.
    region
        ICRS, degrees.
    """
    circle = region if isinstance(region, Circle) else around(region)
    if circle is None or circle.radius + SLACK_DEG > WIDEST_DEG:
        return None
    index, radius = _index(point), circle.radius + SLACK_DEG
    match index.extension:
        case Extension.Q3C if radius < Q3C_LEAST_DEG:
            return _in_neighbours(point, number(circle.ra), number(circle.dec), number(radius))
        case Extension.Q3C:
            centre = [number(circle.ra), number(circle.dec), number(radius)]

            def border(place: int, *, is_inside: bool) -> exp.Expr:
                flags = [number(place), number(int(is_inside))]
                return _call(index, "q3c_radial_query_it", *map(clone, centre), *flags)

            arms = [
                exp.And(
                    this=exp.GTE(this=_pixel(point), expression=border(2 * one, is_inside=is_inside)),
                    expression=exp.LT(this=_pixel(point), expression=border(2 * one + 1, is_inside=is_inside)),
                )
                for is_inside in (True, False)
                for one in range(Q3C_RANGES)
            ]
            return exp.Paren(this=balanced(exp.Or, [exp.Paren(this=arm) for arm in arms]))
        case Extension.PGSPHERE:
            return _on_disc(point, number(circle.ra), number(circle.dec), number(radius))
        case _:
            assert_never(index.extension)


def close_by(point: Point, other: Point, limit: exp.Expr) -> exp.Expr:
    """Condition that a position of a table may be within a radius of another that varies from row to row.

    Parameters
    ----------
    point
        Position of a table that has the index of an extension, by which it is looked up.
    other
        The other position.
    limit
        Radius, degrees; it may vary too.
    """
    index = _index(point)
    where = _known(other.ra), _known(other.dec)
    radius = exp.Paren(this=exp.Add(this=clone(limit), expression=number(SLACK_DEG)))
    match index.extension:
        case Extension.Q3C:
            pixels = _in_neighbours(point, *where, radius)
            return exp.Paren(this=exp.And(this=pixels, expression=_told(point, *where, radius)))
        case Extension.PGSPHERE:
            return _within_any(point, *where, radius)
        case _:
            assert_never(index.extension)


def _within_any(point: Point, ra: exp.Expr, dec: exp.Expr, radius: exp.Expr) -> exp.Expr:
    """Look for a position in a circle of any size, of which pgSphere has none beyond 90 degrees.

    What is farther than that from the centre is within 90 degrees of the opposite point; for a smaller circle the radius there
    is NULL, which finds nothing and costs nothing. So does a negative one, at which pgSphere would fail.
    """
    right_angle = number(90)
    near = exp.Least(this=clone(radius), expressions=[right_angle])
    is_circle = exp.GTE(this=clone(radius), expression=number(0))
    is_wide = exp.GTE(this=clone(radius), expression=clone(right_angle))
    opposite = exp.Paren(this=exp.Add(this=clone(ra), expression=number(180))), exp.Neg(this=exp.Paren(this=clone(dec)))
    here = _on_disc(point, ra, dec, exp.Case(ifs=[exp.If(this=is_circle, true=near)]))
    there = _on_disc(point, *opposite, exp.Case(ifs=[exp.If(this=is_wide, true=clone(right_angle))]))
    return exp.Paren(this=exp.Or(this=here, expression=there))


def _in_neighbours(point: Point, ra: exp.Expr, dec: exp.Expr, radius: exp.Expr) -> exp.Expr:
    """Look for a position in the pixels around another, as ``q3c_join`` does."""
    index = _index(point)
    centre = [ra, dec, radius]

    def border(place: int) -> exp.Expr:
        return _call(index, "q3c_nearby_it", *map(clone, centre), number(place))

    arms: list[exp.Expr] = [
        exp.Paren(
            this=exp.And(
                this=exp.GTE(this=_pixel(point), expression=border(2 * one)),
                expression=exp.LTE(this=_pixel(point), expression=border(2 * one + 1)),
            )
        )
        for one in range(Q3C_NEIGHBOURS)
    ]
    return exp.Paren(this=balanced(exp.Or, arms))


def _told(point: Point, ra: exp.Expr, dec: exp.Expr, radius: exp.Expr) -> exp.Expr:
    """Let q3c tell the planner how many rows there will be, which ranges that vary do not; true for every row."""
    schema = quoted(_index(point).schema).sql("postgres")
    pair = exp.Cast(
        this=exp.Anonymous(this="ROW", expressions=[*_columns(point), clone(ra), clone(dec)]),
        to=exp.DataType(this=exp.DType.USERDEFINED, kind=f"{schema}.q3c_type"),
    )
    return exp.Paren(this=exp.Operator(this=clone(radius), operator=f"{schema}.==<<>>==", expression=pair))


def _on_disc(point: Point, ra: exp.Expr, dec: exp.Expr, radius: exp.Expr) -> exp.Expr:
    index = _index(point)
    disc = _call(index, "scircle", _spoint(index, ra, dec), _radians(radius))
    if index.point is not None:
        assert point.source is not None
        here: exp.Expr = exp.Column(this=quoted(index.point), table=quoted(point.source.alias))
    else:
        here = _spoint(index, *_columns(point))
    return exp.Paren(
        this=exp.Operator(this=here, operator=f"{quoted(index.schema).sql('postgres')}.<@", expression=disc)
    )


def _index(point: Point) -> ExtensionIndex:
    assert point.source is not None
    assert point.source.table is not None
    assert point.source.table.sky is not None
    assert point.source.table.sky.extension is not None
    return point.source.table.sky.extension


def _columns(point: Point) -> Iterator[exp.Expr]:
    """Give right ascension and declination as the expression of the index has them."""
    assert point.source is not None
    assert point.source.table is not None
    index, sky = _index(point), point.source.table.sky
    assert sky is not None
    for name in (sky.ra, sky.dec):
        column = exp.Column(this=quoted(name), table=quoted(point.source.alias))
        yield cast(column, "double precision") if index.is_cast else column


def _pixel(point: Point) -> exp.Expr:
    return _call(_index(point), "q3c_ang2ipix", *_columns(point))


def _spoint(index: ExtensionIndex, ra: exp.Expr, dec: exp.Expr) -> exp.Expr:
    return _call(index, "spoint", _radians(ra), _radians(dec))


def _radians(degrees: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="radians", expressions=[degrees])


def _known(coordinate: exp.Expr) -> exp.Expr:
    """Make NaN, which both extensions stumble over, NULL, which finds nothing."""
    nan = cast(exp.Literal.string("NaN"), "double precision")
    return exp.Nullif(this=clone(coordinate), expression=nan)


def _call(index: ExtensionIndex, name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Dot(this=quoted(index.schema), expression=exp.Anonymous(this=name, expressions=list(arguments)))
