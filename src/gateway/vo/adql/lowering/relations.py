"""CONTAINS, INTERSECTS and DISTANCE as conditions: the exact test, and a look-up in an index where there is one."""

from __future__ import annotations

from sqlglot import exp

from gateway.vo.adql.functions.signatures import sky
from gateway.vo.adql.lowering.shapes import (
    Coverage,
    Disc,
    Outline,
    Point,
    Shape,
    sky_index,
)
from gateway.vo.adql.lowering.windows import WINDOW_RANGES, WindowLowerer
from gateway.vo.adql.nodes import clone, in_ranges, number
from gateway.vo.adql.parsing.terms import balanced
from gateway.vo.adql.tree import quoted
from gateway.vo.moc import ORDER as MOC_ORDER
from gateway.vo.moc import Moc, fewer
from gateway.vo.regions import (
    Circle,
    Range,
    half_spaces,
)

ROUNDING = 2e-15
"""Slack of a position's distance from the plane of an edge: the rim counts as inside, and doubles are rounded."""


class RelationLowerer(WindowLowerer):
    """Lowers the relations of shapes."""

    def relation(self, node: exp.Expr, *, is_filter: bool) -> exp.Expr:
        """CONTAINS or INTERSECTS as a condition."""
        first, second = (self.shape(item) for item in node.expressions)
        if node.this == "CONTAINS":
            test = self.contains(first, second, is_filter=is_filter)
        else:
            test = self.intersects(first, second, is_filter=is_filter)
        if not is_filter:
            return test
        return self.through_cells(test, first, second, is_meeting=node.this == "INTERSECTS" or isinstance(first, Point))

    def contains(self, inside: Shape, outside: Shape, *, is_filter: bool) -> exp.Expr:
        """Whether the first shape lies wholly in the second; rims count."""
        match inside, outside:
            case Point(), Coverage(moc=moc):
                return self.in_moc(inside, moc, is_filter=is_filter)
            case Coverage(moc=one), Coverage(moc=other):
                return exp.Boolean(this=other.contains(one))
            case Coverage(moc=moc), _:
                return exp.Not(this=self.meets_moc(outside, moc, is_outside=True, rims_count=False))
            case _, Coverage(moc=moc):
                return exp.Not(this=self.meets_moc(inside, moc.complement(), is_outside=False, rims_count=False))
            case Point(), Point():
                return exp.EQ(this=self.distance(inside, outside), expression=exp.Literal.number(0))
            case Point(), Disc(centre=centre, radius=radius, constant_radius=size):
                # what is no radius makes an unknown circle; it must not hide the number from the index
                bound = sky("radius", clone(radius)) if size is None else None
                return self.within(inside, centre, radius, size, operator=exp.LTE, is_filter=is_filter, bound=bound)
            case Point(), Outline():
                return self.in_polygon(inside, outside, is_filter=is_filter)
            case (Disc() | Outline(), Point()):
                return sky("is_point", self.array(inside), self.array(outside))
            case Disc(), Disc():
                return sky("circle_in_circle", self.array(inside), self.array(outside))
            case Disc(), Outline():
                return sky("circle_in_polygon", self.array(inside), outside.array)
            case Outline(), Disc():
                return sky("polygon_in_circle", inside.array, self.array(outside))
            case _:
                return sky("polygon_in_polygon", self.array(inside), self.array(outside))

    def intersects(self, one: Shape, other: Shape, *, is_filter: bool) -> exp.Expr:
        """Whether two shapes have a position in common."""
        match one, other:
            case Point(), _:
                return self.contains(one, other, is_filter=is_filter)
            case _, Point():
                return self.contains(other, one, is_filter=is_filter)
            case Coverage(moc=first), Coverage(moc=second):
                return exp.Boolean(this=first.meets(second))
            case (Coverage(moc=moc), shape) | (shape, Coverage(moc=moc)):
                return self.meets_moc(shape, moc, is_outside=False, rims_count=True)
            case Outline(), Outline(box=Range() as bounds):
                return self.range_test(bounds, one)
            case Disc(), Disc():
                return sky("circles_meet", self.array(one), self.array(other))
            case Disc(), Outline():
                return sky("circle_meets_polygon", self.array(one), other.array)
            case Outline(), Disc():
                return sky("circle_meets_polygon", self.array(other), one.array)
            case _:
                return sky("polygons_meet", self.array(one), self.array(other))

    def within(
        self,
        one: Point,
        other: Point,
        limit: exp.Expr,
        radius: float | None,
        *,
        operator: type[exp.Binary],
        is_filter: bool,
        bound: exp.Expr | None = None,
    ) -> exp.Expr:
        """Whether two positions are at most (or less than) so far apart; ``bound``, if given, is what is tested."""
        test = operator(this=self.distance(one, other), expression=bound or limit)
        if not is_filter or (one.constant and other.constant) or (radius is not None and not 0 <= radius < 180):
            return test
        fixed, moving = (one, other) if one.constant is not None else (other, one)
        window = None
        if fixed.constant is not None and radius is not None:
            window = self.window(moving, Circle(*fixed.constant, radius))
        window = window or self.zones(one, other, limit, radius)
        return exp.Paren(this=exp.And(this=window, expression=test)) if window is not None else test

    def distance(self, one: Point, other: Point) -> exp.Expr:
        """Distance of two positions, degrees."""
        return sky("distance", clone(one.ra), clone(one.dec), clone(other.ra), clone(other.dec))

    def in_polygon(self, point: Point, outline: Outline, *, is_filter: bool) -> exp.Expr:
        """Whether a position is in a polygon."""
        polygon = outline.constant
        # Each side repeats the position: one that is computed must not multiply, nested perhaps, with every side.
        is_plain = not any(node.find(exp.Anonymous, exp.Case, exp.Query) for node in (point.ra, point.dec))
        normals = half_spaces(polygon) if polygon is not None and is_plain else None
        test: exp.Expr
        if normals is None or len(normals) > 16:  # beyond that, the loop of the function is no slower
            test = sky("in_polygon", clone(point.ra), clone(point.dec), outline.array)
        else:
            sides: list[exp.Expr] = [
                exp.GTE(
                    this=sky("side", clone(point.ra), clone(point.dec), *(number(n) for n in normal)),
                    expression=number(-ROUNDING),
                )
                for normal in normals
            ]
            test = balanced(exp.And, sides)
        window = self.window(point, polygon) if is_filter and polygon is not None else None
        return exp.Paren(this=exp.And(this=window, expression=test) if window is not None else test)

    def in_moc(self, point: Point, moc: Moc, *, is_filter: bool) -> exp.Expr:
        """Whether a position is in a coverage map."""
        source = point.source
        index = sky_index(point)
        column = index.healpix if index is not None else None
        cell: exp.Expr
        if source is not None and column is not None:
            cell = exp.Column(this=quoted(column), table=quoted(source.alias))
        else:
            cell = sky("healpix_index", exp.Literal.number(MOC_ORDER), self.array(point))
        test: exp.Expr = exp.ArrayContainsAll(this=multirange(moc), expression=cell)
        if source is None or column is None or not is_filter or not moc.ranges:
            return exp.Paren(this=test)
        self.context.windowed.add(id(source))
        few = fewer(moc.ranges, WINDOW_RANGES)
        window = in_ranges(source.alias, column, few)
        return window if few == moc.ranges else exp.Paren(this=exp.And(this=window, expression=test))

    def meets_moc(self, shape: Shape, moc: Moc, *, is_outside: bool, rims_count: bool) -> exp.Expr:
        """Whether a shape, or what lies outside it, has a position in common with a coverage map."""
        if isinstance(shape, Point):
            array = sky("circle", shape.ra, shape.dec, exp.Literal.number(0))
        else:
            assert not (isinstance(shape, Outline) and shape.box is not None)
            array = self.array(shape)
        flags = exp.Boolean(this=is_outside), exp.Boolean(this=rims_count)
        return sky("meets_moc", array, multirange(moc), *flags)

    def range_test(self, bounds: Range, outline: Outline) -> exp.Expr:
        """Whether a box between meridians and parallels meets a polygon."""
        numbers = (bounds.ra_min, bounds.ra_max, bounds.dec_min, bounds.dec_max)
        return sky("range_meets_polygon", outline.array, *map(number, numbers))


def multirange(moc: Moc) -> exp.Expr:
    """Ranges of a coverage map as a literal."""
    text = "{" + ",".join(f"[{low},{high}]" for low, high in moc.ranges) + "}"
    return exp.Cast(this=exp.Literal.string(text), to=exp.DataType(this=exp.DType.INT8MULTIRANGE))
