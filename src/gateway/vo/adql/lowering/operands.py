"""Find out what the operands of geometry are: points, circles, polygons and coverage maps, constant or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, TypeVar

from sqlglot import exp

from gateway.vo.adql.functions.allowed import GEOMETRY_FUNCTIONS, RANGE
from gateway.vo.adql.functions.signatures import sky
from gateway.vo.adql.lowering.shapes import (
    Coverage,
    Disc,
    Outline,
    Point,
    Shape,
    constant_region,
    footprint_source,
    indexed_source,
)
from gateway.vo.adql.lowering.surroundings import Context
from gateway.vo.adql.nodes import array_literal, as_doubles, clone, constant, element
from gateway.vo.adql.parsing.lexer import Source as Text
from gateway.vo.adql.tree import place_of
from gateway.vo.adql.types import Kind, Typed
from gateway.vo.moc import ORDER as MOC_ORDER
from gateway.vo.moc import Moc, MocError, parse_moc
from gateway.vo.regions import (
    Circle,
    Polygon,
    Range,
    Region,
    RegionError,
    box,
    check_position,
)

T = TypeVar("T")


class RegionIndex(Protocol):
    """Covers regions by ranges of HEALPix indices."""

    def ranges(self, region: Region) -> Sequence[tuple[int, int]]:
        """Ranges of order-29 nested indices, both ends included, that cover a region."""
        ...

    def moc(self, region: Region, order: int) -> Sequence[tuple[int, int]]:
        """Ranges of order-29 nested indices, both ends included, of the cells of an order that a region meets."""
        ...

    def cells(self, region: Region) -> Sequence[int]:
        """Numbers of which those of every footprint that meets a region have at least one."""
        ...

    def map_cells(self, moc: Moc) -> Sequence[int]:
        """Numbers of which those of every footprint that meets a coverage map have at least one."""
        ...


class OperandLowerer(ABC):
    """Reads the shapes of one query; all other expressions are its heir's."""

    def __init__(self, text: Text, index: RegionIndex | None) -> None:
        self.text = text
        self.index = index
        self.context = Context()

    @abstractmethod
    def lower(self, node: exp.Expr, *, is_filter: bool = False) -> exp.Expr:
        """Lower an expression."""

    @abstractmethod
    def double(self, node: exp.Expr) -> exp.Expr:
        """Lower a number and make it a double."""

    @abstractmethod
    def geometry_value(self, node: exp.Expr, name: str) -> exp.Expr:
        """Lower a geometry function as a value."""

    def fail(self, node: exp.Expr, reason: str) -> NoReturn:
        """Raise an error where a node stands."""
        raise self.text.error(reason, place_of(node))

    def checked(self, node: exp.Expr, make: Callable[[], T]) -> T:
        """Make a region of constants; tell where it is written if it is none."""
        try:
            return make()
        except RegionError as e:
            self.fail(node, e.message)

    def shape(self, node: exp.Expr) -> Shape:
        """Find out what a geometry expression is."""
        node = node.unnest()
        value: Typed = node.meta["typed"]
        name = node.name if isinstance(node, exp.Anonymous) else ""
        if name == "POINT":
            return self.point(node, *node.expressions)
        if name == "CIRCLE":
            return self.disc(node)
        if value.field.type.xtype == "moc":
            return self.coverage(node)
        if name == RANGE:
            numbers = [constant(item) or 0.0 for item in node.expressions]
            return Outline(exp.Null(), box=Range(*numbers))
        if name in {"POLYGON", "BOX"}:
            return self.polygon(node) if name == "POLYGON" else self.box(node)
        lowered = self.geometry_value(node, name) if name in GEOMETRY_FUNCTIONS else self.lower(node)
        if value.kind is Kind.POLYGON:
            return Outline(as_doubles(lowered, value), source=footprint_source(node))
        array = as_doubles(lowered, value)
        ra, dec = element(array, 0), element(array, 1)
        if value.kind is Kind.POINT:
            return Point(ra, dec, array=array)
        return Disc(Point(ra, dec), element(array, 2), array=array)

    def point(self, node: exp.Expr, ra: exp.Expr, dec: exp.Expr) -> Point:
        """Position from two expressions."""
        values = constant(ra), constant(dec)
        fixed = None
        if values[0] is not None and values[1] is not None:
            fixed = (values[0], values[1])
            self.checked(node, lambda: check_position(*fixed))
        elif values[1] is not None:
            self.checked(dec, lambda: check_position(0.0, values[1] or 0.0))
        elif values[0] is not None:
            self.checked(ra, lambda: check_position(values[0] or 0.0, 0.0))
        source = indexed_source(ra, dec)
        return Point(self.double(ra), self.double(dec), fixed, source)

    def disc(self, node: exp.Expr) -> Disc:
        """CIRCLE(...)."""
        *position, radius = node.expressions
        centre = self.shape(position[0]) if len(position) == 1 else self.point(node, *position)
        assert isinstance(centre, Point)
        size = constant(radius)
        if size is not None:
            self.checked(radius, lambda: Circle(0.0, 0.0, size))
        return Disc(centre, self.double(radius), size)

    def polygon(self, node: exp.Expr) -> Outline:
        """POLYGON(...)."""
        items = node.expressions
        if items[0].meta["typed"].kind is Kind.POINT:
            points = [self.shape(item) for item in items]
        else:
            points = [self.point(node, ra, dec) for ra, dec in zip(items[::2], items[1::2], strict=True)]
        vertices = []
        numbers = []
        for point in points:
            assert isinstance(point, Point)
            numbers += [point.ra, point.dec]
            if point.constant is not None:
                vertices.append(point.constant)
        if len(vertices) == len(points):
            polygon = self.checked(node, lambda: Polygon(tuple(vertices)))
            return Outline(array_literal([n for vertex in vertices for n in vertex]), polygon)
        return Outline(sky("polygon", exp.Array(expressions=numbers)))

    def box(self, node: exp.Expr) -> Outline:
        """BOX(...), which is a polygon."""
        *position, width, height = node.expressions
        centre = self.shape(position[0]) if len(position) == 1 else self.point(node, *position)
        assert isinstance(centre, Point)
        sizes = constant(width), constant(height)
        if centre.constant is not None and sizes[0] is not None and sizes[1] is not None:
            fixed, wide, high = centre.constant, sizes[0], sizes[1]
            polygon = self.checked(node, lambda: box(*fixed, wide, high))
            return Outline(array_literal([n for vertex in polygon.vertices for n in vertex]), polygon)
        return Outline(sky("box", centre.ra, centre.dec, self.double(width), self.double(height)))

    def coverage(self, node: exp.Expr) -> Coverage:
        """MOC(...), of constants."""
        if not (isinstance(node, exp.Anonymous) and node.this == "MOC"):
            self.fail(node, "a coverage map is written out, MOC(order, geometry) or MOC('order/cells ...')")
        items = node.expressions
        if len(items) == 1:
            if not isinstance(items[0], exp.Literal):
                self.fail(items[0], "a coverage map is a string literal, as in MOC('3/10 12-14')")
            try:
                return Coverage(parse_moc(items[0].this))
            except MocError as e:
                self.fail(items[0], e.message)
        order, region = constant(items[0]), constant_region(self.shape(items[1]))
        if order is None or not 0 <= order <= MOC_ORDER:
            self.fail(items[0], f"the order of a MOC is a whole number from 0 to {MOC_ORDER}")
        if region is None:
            self.fail(items[1], "a MOC is made of a constant point, circle, box or polygon")
        if self.index is None:
            self.fail(node, "MOC of a geometry needs the index of the sky; write MOC('order/cells ...')")
        index, depth = self.index, int(order)
        return Coverage(Moc(tuple(self.checked(node, lambda: index.moc(region, depth))), depth))

    def array(self, shape: Shape) -> exp.Expr:
        """Value of a shape as PostgreSQL keeps it."""
        assert not isinstance(shape, Coverage)
        if shape.array is not None:
            return clone(shape.array)
        if isinstance(shape, Point):
            return sky("point", shape.ra, shape.dec)
        return sky("circle", shape.centre.ra, shape.centre.dec, shape.radius)
