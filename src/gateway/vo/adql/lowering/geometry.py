"""Turn geometry into what PostgreSQL runs, through the index of the sky.

Geometry is translated here and in the modules that this one builds on, and nowhere else: ``operands`` finds out what the shapes
are, ``windows`` how an index finds the rows, ``relations`` makes the exact tests; here are the functions and comparisons of ADQL.
"""

from __future__ import annotations

from sqlglot import exp
from typing_extensions import override

from gateway.vo.adql.functions.signatures import sky
from gateway.vo.adql.lowering.relations import RelationLowerer
from gateway.vo.adql.lowering.shapes import (
    Coverage,
    Disc,
    Outline,
    Point,
    Shape,
    region_of,
    shape_of_text,
)
from gateway.vo.adql.nodes import array_literal, constant, element
from gateway.vo.adql.types import cast


class GeometryLowerer(RelationLowerer):
    """Lowers the geometry of one query; all other expressions are its heir's."""

    def comparison(self, node: exp.Expr, *, is_filter: bool) -> exp.Expr | None:
        """``1 = CONTAINS(...)``, ``DISTANCE(...) < r`` and their reversals; ``None`` for any other comparison."""
        kind = type(node)
        one: exp.Expr
        for one, other, operator in (
            (node.this.unnest(), node.expression, kind),
            (node.expression.unnest(), node.this, REVERSED[kind]),
        ):
            if not isinstance(one, exp.Anonymous):
                continue
            if one.this in {"CONTAINS", "INTERSECTS"} and operator in {exp.EQ, exp.NEQ}:
                truth = constant(other)
                if truth not in {0, 1}:
                    return None
                if (truth == 1) is (operator is exp.EQ):
                    return self.relation(one, is_filter=is_filter)
                return exp.Not(this=exp.Paren(this=self.relation(one, is_filter=False)))
            if one.this == "DISTANCE" and operator in {exp.LT, exp.LTE}:
                first, second = self.distance_points(one)
                radius = constant(other)
                limit = self.double(other)
                return self.within(first, second, limit, radius, operator=operator, is_filter=is_filter)
        return None

    @override
    def geometry_value(self, node: exp.Expr, name: str) -> exp.Expr:
        """Geometry function as a value."""
        items = node.expressions
        match name:
            case "CONTAINS" | "INTERSECTS":
                return cast(exp.Paren(this=self.relation(node, is_filter=False)), "integer")
            case "DISTANCE":
                first, second = self.distance_points(node)
                return sky("distance", first.ra, first.dec, second.ra, second.dec)
            case "COORD1" | "COORD2":
                point = self.shape(items[0])
                assert isinstance(point, Point)
                return point.ra if name == "COORD1" else point.dec
            case "AREA":
                return self.area(self.shape(items[0]))
            case "COORDSYS":
                known = exp.Not(
                    this=exp.Is(this=exp.Paren(this=self.array(self.shape(items[0]))), expression=exp.Null())
                )
                return exp.Case(ifs=[exp.If(this=known, true=exp.cast(exp.Literal.string("ICRS"), "text"))])
            case "MOC":
                return exp.cast(exp.Literal.string(self.coverage(node).moc.ascii()), "text")
            case "CENTROID":
                shape = self.shape(items[0])
                if isinstance(shape, Outline):
                    return sky("centroid", shape.array)
                assert not isinstance(shape, Coverage)
                centre = shape if isinstance(shape, Point) else shape.centre
                return sky("point", centre.ra, centre.dec)
            case _:
                return self.array(self.shape(node))

    def parsed_geometry(self, node: exp.Expr, word: str) -> exp.Expr:
        """CAST of a string to a shape: its numbers, blank-separated (DALI 1.1, "Spherical geometry")."""
        outer = shape_of_text(node.this.this, word) if isinstance(node.this, exp.Literal) else None
        if isinstance(node.this, exp.Literal):
            if outer is None:
                numbers = {"POINT": "two numbers", "CIRCLE": "three numbers"}.get(
                    word, "at least six numbers, in pairs"
                )
                self.fail(node.this, f"{node.this.this!r} is no {word.lower()}; expected {numbers} in degrees")
            self.checked(node, lambda: region_of(outer))
            return array_literal(outer)
        return sky("parse_" + word.lower(), self.lower(node.this))

    def area(self, shape: Shape) -> exp.Expr:
        """AREA, square degrees."""
        if isinstance(shape, Outline):
            return sky("polygon_area", shape.array)
        if isinstance(shape, Disc):
            return sky("circle_area", element(self.array(shape), 2))
        assert isinstance(shape, Point)
        # ADQL 2.1, "AREA": a point has none; an unknown point has an unknown area
        return exp.Mul(this=exp.Literal.number(0), expression=element(self.array(shape), 0))

    def distance_points(self, node: exp.Expr) -> tuple[Point, Point]:
        """Both positions of DISTANCE."""
        items = node.expressions
        if len(items) == 4:
            return self.point(node, items[0], items[1]), self.point(node, items[2], items[3])
        first, second = self.shape(items[0]), self.shape(items[1])
        assert isinstance(first, Point)
        assert isinstance(second, Point)
        return first, second


REVERSED: dict[type[exp.Expr], type[exp.Binary]] = {
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
}
"""The operator that says the same with its operands exchanged."""
