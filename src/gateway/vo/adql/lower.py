"""Turn what ADQL says into what PostgreSQL runs: casts, functions, geometry through the index of the sky.

Works on the resolved tree, in place. Geometry is translated here and nowhere else: a constant region against the indexed
position of a table becomes a few literal ranges of HEALPix indices and the exact test; two positions that vary become the
window of declination zones and the exact test. The added condition never changes the answer: it follows from the test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeVar

from sqlglot import exp

from gateway.vo.adql.functions import FUNCTIONS, GEOMETRY_FUNCTIONS, RANGE, sky
from gateway.vo.adql.lexer import Source as Text
from gateway.vo.adql.parser import balanced
from gateway.vo.adql.resolve import children, conjuncts, place_of, quoted
from gateway.vo.adql.scopes import Source
from gateway.vo.adql.types import DECIMAL, SQL_TIMESTAMP, UNKNOWN, Kind, Typed, cast, data_type, is_integer
from gateway.vo.regions import Circle, Polygon, Range, Region, RegionError, box, check_position, half_spaces
from gateway.vo.tableset import SkyIndex

ZONES_PER_DEGREE = 120
"""As ``sky.zone`` has it."""

NARROW = 0.49 / ZONES_PER_DEGREE
"""Radius, degrees, up to which a circle meets at most two zones: the cheaper form of the window."""

ROUNDING = 2e-15
"""Slack of a position's distance from the plane of an edge: the rim counts as inside, and doubles are rounded."""


T = TypeVar("T")


class RegionIndex(Protocol):
    """Covers regions by ranges of HEALPix indices."""

    def ranges(self, region: Region) -> Sequence[tuple[int, int]]:
        """Ranges of order-29 nested indices, both ends included, that cover a region."""
        ...

    def cells(self, region: Region) -> Sequence[int]:
        """Numbers of which those of every footprint that meets a region have at least one."""
        ...


@dataclass(frozen=True, slots=True)
class Point:
    """Position: two expressions, and what is known of them."""

    ra: exp.Expr
    dec: exp.Expr
    constant: tuple[float, float] | None = None
    source: Source | None = None
    """Table whose indexed position this is."""
    array: exp.Expr | None = None
    """The point itself, where it is a value and not made of two numbers."""


@dataclass(frozen=True, slots=True)
class Disc:
    """Circle: a position and a radius in degrees."""

    centre: Point
    radius: exp.Expr
    constant_radius: float | None = None
    array: exp.Expr | None = None
    """The circle itself, where it is a value and not made of numbers."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Polygon: an array of coordinates."""

    array: exp.Expr
    constant: Polygon | None = None
    source: Source | None = None
    """Table whose indexed footprint this is."""
    box: Range | None = None
    """Set where this is no polygon at all, but a box between meridians and parallels."""


Shape = Point | Disc | Outline


@dataclass(slots=True)
class Context:
    """What is known of the query around a condition."""

    filtered: frozenset[int] = frozenset()
    """Sources that conditions of their own cut down: these drive a join, the other side is looked up."""
    local: frozenset[str] = frozenset()
    """Printed names of the tables of this query, not of those around it."""
    inner: Callable[[Source], bool] | None = None
    """In ON of an outer join: whether a source is on the side that is looked up."""


class Lowerer:
    """Lowers one query."""

    def __init__(self, text: Text, index: RegionIndex | None) -> None:
        self.text = text
        self.index = index
        self.context = Context()

    def fail(self, node: exp.Expr, reason: str) -> NoReturn:
        """Raise an error where a node stands."""
        raise self.text.error(reason, place_of(node))

    # -- queries --------------------------------------------------------------------------------

    def query(self, node: exp.Expr) -> None:
        """Lower a query of any kind."""
        if (with_ := node.args.get("with_")) is not None:
            for common in with_.expressions:
                self.query(common.this)
        if isinstance(node, exp.Select):
            outer, self.context = self.context, Context(filtered_sources(node), local_aliases(node))
            self.select(node)
            self.context = outer
        elif isinstance(node, exp.SetOperation):
            self.query(node.this)
            self.query(node.expression)
        elif isinstance(node, exp.Subquery):
            self.query(node.this)

    def select(self, node: exp.Select) -> None:
        """Lower all clauses of a select."""
        self.table(node.args["from_"].this)
        for join in node.args.get("joins") or ():
            self.join(join)
        for index, item in enumerate(node.expressions):
            self.item(item, index)
        if (where := node.args.get("where")) is not None:
            where.set("this", self.lower(where.this, is_filter=True))
        if (having := node.args.get("having")) is not None:  # no index serves it, and its columns are not grouped
            having.set("this", self.lower(having.this))
        if (group := node.args.get("group")) is not None:
            group.set("expressions", [self.lower(term) for term in group.expressions])
        if (order := node.args.get("order")) is not None:
            for term in order.expressions:
                if not isinstance(term.this, exp.Literal):
                    term.set("this", self.lower(term.this))

    def table(self, node: exp.Expr) -> None:
        """Lower what stands in FROM."""
        for join in node.args.get("joins") or ():
            self.join(join)
        if isinstance(node, exp.Subquery):
            if isinstance(node.this, exp.Query) and not node.this.args.get("joins"):
                self.query(node.this)
            else:
                self.table(node.this)

    def join(self, join: exp.Join) -> None:
        """Lower one join."""
        self.table(join.this)
        if (on := join.args.get("on")) is None:
            return
        aliases = aliases_of(join.this)
        match join.args.get("side"):
            case "LEFT":
                self.context.inner = lambda source: source.alias in aliases
            case "RIGHT":
                self.context.inner = lambda source: source.alias not in aliases
            case _:
                self.context.inner = None
        join.set("on", self.lower(on, is_filter=True))
        self.context.inner = None

    def item(self, item: exp.Expr, _: int) -> None:
        """Lower an item of a select list, and cast it where it must have another type."""
        value: Typed = item.this.meta["typed"]
        node = self.lower(item.this)
        wanted = item.meta.get("cast")
        if wanted is None and value.sql == DECIMAL:
            wanted = "double precision"
        elif wanted is None and value.sql == UNKNOWN:
            wanted = "text"
        if wanted is not None and wanted != value.sql:
            node = converted(node, value.sql, wanted)
        item.set("this", node)

    # -- expressions ----------------------------------------------------------------------------

    def lower(self, node: exp.Expr, *, is_filter: bool = False) -> exp.Expr:
        """Lower an expression.

        Parameters
        ----------
        node
            Resolved expression.
        is_filter
            Whether rows pass only if it is true, so that an index may serve it.
        """
        kind = type(node)
        if kind in LEAVES:
            return self.literal(node) if kind is exp.Literal else node
        if kind in COMPARISONS:
            special = self.comparison(node, is_filter=is_filter)
            if special is not None:
                return special
        method = METHODS.get(kind)
        if method is not None:
            return method(self, node)
        keeps = is_filter and kind in KEEPS_FILTER
        for key, value in node.args.items():
            if isinstance(value, list):
                node.set(key, [self.lower(v, is_filter=keeps) if isinstance(v, exp.Expr) else v for v in value])
            elif isinstance(value, exp.Expr):
                node.set(key, self.lower(value, is_filter=keeps))
        return node

    def literal(self, node: exp.Expr) -> exp.Expr:
        """Lower a literal; a string beside a timestamp is one."""
        return cast(node, SQL_TIMESTAMP) if node.meta.get("timestamp") else node

    def double(self, node: exp.Expr) -> exp.Expr:
        """Lower a number and make it a double."""
        value: Typed = node.meta["typed"]
        lowered = self.lower(node)
        return lowered if value.sql == "double precision" else cast(lowered, "double precision")

    def arithmetic(self, node: exp.Expr) -> exp.Expr:
        """``+ - * /``: literals such as 1.5 are doubles in ADQL."""
        sqls = [node.this.meta["typed"].sql, node.expression.meta["typed"].sql]
        for key, sql, other in (("this", *sqls), ("expression", *reversed(sqls))):
            lowered = self.lower(node.args[key])
            if sql == UNKNOWN and other not in {UNKNOWN, DECIMAL}:
                lowered = cast(lowered, other)
            elif sql == UNKNOWN or (sql == DECIMAL and other not in {"double precision", "real"}):
                lowered = cast(lowered, "double precision")
            node.set(key, lowered)
        return node

    def pattern(self, node: exp.Expr) -> exp.Expr:
        """LIKE: a backslash is a character like any other."""
        node.set("this", self.lower(node.this))
        node.set("expression", self.lower(node.expression))
        pattern = node.expression
        if isinstance(pattern, exp.Literal) and "\\" not in pattern.this:
            return node
        return exp.Escape(this=node, expression=exp.Literal.string(""))

    def membership(self, node: exp.Expr) -> exp.Expr:
        """IN."""
        node.set("this", self.lower(node.this))
        if (query := node.args.get("query")) is not None:
            self.query(query.this)
        else:
            node.set("expressions", [self.lower(item) for item in node.expressions])
        return node

    def subquery(self, node: exp.Expr) -> exp.Expr:
        """EXISTS, or a subquery as a value."""
        self.query(node.this)
        return node

    def aggregate(self, node: exp.Expr) -> exp.Expr:
        """SUM and AVG of doubles are doubles; of whole numbers they are summed exactly."""
        argument = node.this
        if isinstance(argument, exp.Star):
            return node
        is_distinct = isinstance(argument, exp.Distinct)
        inner = argument.expressions[0] if is_distinct else argument
        value: Typed = inner.meta["typed"]
        whole = is_integer(value)
        lowered = self.lower(inner)
        if isinstance(node, (exp.Sum, exp.Avg)):
            needs_cast = not whole and value.sql != "double precision"
        else:
            needs_cast = value.sql == DECIMAL
        if needs_cast:
            lowered = cast(lowered, "double precision")
        elif value.sql == UNKNOWN:
            lowered = cast(lowered, "text")
        node.set("this", exp.Distinct(expressions=[lowered]) if is_distinct else lowered)
        if isinstance(node, exp.Sum) and value.sql == "bigint":
            return cast(node, "bigint")
        if isinstance(node, exp.Avg) and whole:
            return cast(node, "double precision")
        return node

    def cast(self, node: exp.Expr) -> exp.Expr:
        """CAST."""
        to = node.args["to"]
        word = to.args["kind"]
        value: Typed = node.this.meta["typed"]
        if word in {"POINT", "CIRCLE", "POLYGON"}:
            return self.parsed_geometry(node, word)
        lowered = self.lower(node.this)
        if word in {"CHAR", "VARCHAR"}:
            if value.kind is Kind.TIMESTAMP:
                form = exp.Literal.string('YYYY-MM-DD"T"HH24:MI:SS.US')
                lowered = exp.Anonymous(
                    this="to_char", expressions=[converted(lowered, value.sql, SQL_TIMESTAMP), form]
                )
            if value.sql == DECIMAL:
                lowered = cast(lowered, "double precision")
            if to.expressions:
                lowered = exp.Cast(this=lowered, to=exp.DataType(this=exp.DType.VARCHAR, expressions=to.expressions))
            return cast(lowered, "text")
        if word == "TIMESTAMP":
            return converted(lowered, value.sql, SQL_TIMESTAMP)
        return cast(lowered, word.lower())

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

    def case(self, node: exp.Expr) -> exp.Expr:
        """CASE: all results have one type."""
        sql = node.meta["typed"].sql
        if (subject := node.args.get("this")) is not None:
            node.set("this", self.lower(subject))
        for arm in node.args["ifs"]:
            arm.set("this", self.lower(arm.this))
            arm.set("true", self.as_type(arm.args["true"], sql))
        if (default := node.args.get("default")) is not None:
            node.set("default", self.as_type(default, sql))
        return node

    def as_type(self, node: exp.Expr, sql: str) -> exp.Expr:
        """Lower a value and give it a type."""
        value: Typed = node.meta["typed"]
        lowered = self.lower(node)
        return lowered if value.sql in {sql, UNKNOWN} else converted(lowered, value.sql, sql)

    def call(self, node: exp.Expr) -> exp.Expr:
        """Call of a function."""
        name = node.this
        if name in GEOMETRY_FUNCTIONS:
            return self.geometry_value(node, name)
        if name.upper() in {"COALESCE", "NULLIF"}:
            sql = node.meta["typed"].sql
            arguments = [self.as_type(item, sql) for item in node.expressions]
            return exp.Anonymous(this=name.upper(), expressions=arguments)
        function = FUNCTIONS[name]
        arguments = []
        for parameter, item in zip(function.parameters, node.expressions, strict=False):
            value: Typed = item.meta["typed"]
            if parameter.kind is not Kind.NUMBER:
                lowered = self.lower(item)
                arguments.append(lowered if value.sql == "text" and not _is_null(item) else cast(lowered, "text"))
            elif parameter.is_integer:
                arguments.append(self.lower(item) if value.sql == "integer" else cast(self.lower(item), "integer"))
            else:
                arguments.append(self.double(item))
        assert function.lower is not None
        return function.lower(arguments)

    # -- geometry -------------------------------------------------------------------------------

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
            case "CENTROID":
                shape = self.shape(items[0])
                if isinstance(shape, Outline):
                    return sky("centroid", shape.array)
                centre = shape if isinstance(shape, Point) else shape.centre
                return sky("point", centre.ra, centre.dec)
            case _:
                return self.array(self.shape(node))

    def array(self, shape: Shape) -> exp.Expr:
        """Value of a shape as PostgreSQL keeps it."""
        if shape.array is not None:
            return clone(shape.array)
        if isinstance(shape, Point):
            return sky("point", shape.ra, shape.dec)
        return sky("circle", shape.centre.ra, shape.centre.dec, shape.radius)

    def area(self, shape: Shape) -> exp.Expr:
        """AREA, square degrees."""
        if isinstance(shape, Outline):
            return sky("polygon_area", shape.array)
        if isinstance(shape, Disc):
            return sky("circle_area", shape.radius)
        # ADQL 2.1, "AREA": a point has none; an unknown point has an unknown area
        return exp.Mul(
            this=exp.Literal.number(0), expression=exp.Paren(this=exp.Add(this=shape.ra, expression=shape.dec))
        )

    def distance_points(self, node: exp.Expr) -> tuple[Point, Point]:
        """Both positions of DISTANCE."""
        items = node.expressions
        if len(items) == 4:
            return self.point(node, items[0], items[1]), self.point(node, items[2], items[3])
        first, second = self.shape(items[0]), self.shape(items[1])
        assert isinstance(first, Point)
        assert isinstance(second, Point)
        return first, second

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
        return Outline(exp.Array(expressions=numbers))

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

    # -- relations of shapes --------------------------------------------------------------------

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

    def through_cells(self, test: exp.Expr, one: Shape, other: Shape, *, is_meeting: bool) -> exp.Expr:
        """Let the index of footprints find the rows for a test of a table's footprint against a constant region.

        A footprint that is too large for a polygon is known by its cells alone. They decide whether it meets a region, or
        contains a point; that it lies in a region, or has all of one in it, they cannot tell.
        """
        for footprint, region in ((one, constant_region(other)), (other, constant_region(one))):
            if not isinstance(footprint, Outline) or footprint.source is None or region is None or self.index is None:
                continue
            table = footprint.source.table
            assert table is not None
            assert table.sky is not None
            if table.sky.cells is None:
                continue
            column = exp.Column(this=quoted(table.sky.cells), table=quoted(footprint.source.alias))
            cells = "{" + ",".join(map(str, self.index.cells(region))) + "}"
            found = exp.ArrayOverlaps(
                this=column, expression=exp.Cast(this=exp.Literal.string(cells), to=data_type("bigint[]"))
            )
            if is_meeting:
                unknown = exp.Is(this=clone(footprint.array), expression=exp.Null())
                test = exp.Paren(this=exp.Or(this=unknown, expression=test))
            return exp.Paren(this=exp.And(this=found, expression=test))
        return test

    def contains(self, inside: Shape, outside: Shape, *, is_filter: bool) -> exp.Expr:
        """Whether the first shape lies wholly in the second; rims count."""
        match inside, outside:
            case Point(), Point():
                return exp.EQ(this=self.distance(inside, outside), expression=exp.Literal.number(0))
            case Point(), Disc(centre=centre, radius=radius, constant_radius=size):
                return self.within(inside, centre, radius, size, operator=exp.LTE, is_filter=is_filter)
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

    def range_test(self, bounds: Range, outline: Outline) -> exp.Expr:
        """Whether a box between meridians and parallels meets a polygon."""
        numbers = (bounds.ra_min, bounds.ra_max, bounds.dec_min, bounds.dec_max)
        return sky("range_meets_polygon", outline.array, *map(number, numbers))

    def distance(self, one: Point, other: Point) -> exp.Expr:
        """Distance of two positions, degrees."""
        return sky("distance", clone(one.ra), clone(one.dec), clone(other.ra), clone(other.dec))

    def within(
        self,
        one: Point,
        other: Point,
        limit: exp.Expr,
        radius: float | None,
        *,
        operator: type[exp.Binary],
        is_filter: bool,
    ) -> exp.Expr:
        """Whether two positions are at most (or less than) so far apart."""
        test = operator(this=self.distance(one, other), expression=limit)
        if not is_filter or (one.constant and other.constant) or (radius is not None and not 0 <= radius < 180):
            return test
        fixed, moving = (one, other) if one.constant is not None else (other, one)
        window = None
        if fixed.constant is not None and radius is not None:
            window = self.window(moving, Circle(*fixed.constant, radius))
        window = window or self.zones(one, other, limit, radius)
        return exp.Paren(this=exp.And(this=window, expression=test)) if window is not None else test

    def in_polygon(self, point: Point, outline: Outline, *, is_filter: bool) -> exp.Expr:
        """Whether a position is in a polygon."""
        polygon = outline.constant
        normals = half_spaces(polygon) if polygon is not None else None
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

    def window(self, point: Point, region: Region) -> exp.Expr | None:
        """Ranges of the HEALPix index that a region can have; ``None`` if the table has no such index."""
        source = point.source
        if source is None or source.table is None or source.table.sky is None or self.index is None:
            return None
        column = source.table.sky.healpix
        if column is None:
            return None
        ranges = self.index.ranges(region)
        if not ranges:
            return exp.Boolean(this=False)
        arms: list[exp.Expr] = [
            exp.Between(
                this=exp.Column(this=quoted(column), table=quoted(source.alias)), low=number(low), high=number(high)
            )
            for low, high in ranges
        ]
        return exp.Paren(this=balanced(exp.Or, arms))

    def zones(self, one: Point, other: Point, limit: exp.Expr, radius: float | None) -> exp.Expr | None:
        """Window of declination zones around one position on the index of the other."""
        indexed = [p for p in (one, other) if (index := sky_index(p)) is not None and index.has_zones]
        if self.context.inner is not None:
            indexed = [p for p in indexed if p.source is not None and self.context.inner(p.source)]
        needed = {id(source) for source in sources_of(limit)}  # a radius that varies must be known before the look-up
        indexed = [p for p in indexed if id(p.source) not in needed]
        if not indexed:
            return None
        looked_up = max(reversed(indexed), key=self.lookup_rank)
        around = other if looked_up is one else one
        if around.source is not None and around.source is looked_up.source:
            return None
        function = "near_narrow" if radius is not None and radius <= NARROW else "near"
        return sky(
            function, clone(looked_up.ra), clone(looked_up.dec), clone(around.ra), clone(around.dec), clone(limit)
        )

    def lookup_rank(self, point: Point) -> tuple[bool, bool, int]:
        """Which side of a join is looked up: a table of this query, without conditions of its own, then the larger."""
        source = point.source
        assert source is not None
        nrows = source.table.nrows if source.table is not None else None
        return source.alias in self.context.local, id(source) not in self.context.filtered, nrows or 0


LEAVES: frozenset[type[exp.Expr]] = frozenset(
    {exp.Column, exp.Literal, exp.Null, exp.Boolean, exp.Star, exp.Identifier, exp.DataType}
)

REVERSED: dict[type[exp.Expr], type[exp.Binary]] = {
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
}
"""The operator that says the same with its operands exchanged."""

COMPARISONS: frozenset[type[exp.Expr]] = frozenset(REVERSED)
KEEPS_FILTER: frozenset[type[exp.Expr]] = frozenset({exp.And, exp.Or, exp.Paren})
ARITHMETIC: frozenset[type[exp.Expr]] = frozenset({exp.Add, exp.Sub, exp.Mul, exp.Div})

METHODS: dict[type[exp.Expr], Callable[..., exp.Expr]] = {
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div), Lowerer.arithmetic),
    **dict.fromkeys((exp.Like, exp.ILike), Lowerer.pattern),
    exp.In: Lowerer.membership,
    **dict.fromkeys((exp.Exists, exp.Subquery), Lowerer.subquery),
    **dict.fromkeys((exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max), Lowerer.aggregate),
    exp.Cast: Lowerer.cast,
    exp.Case: Lowerer.case,
    exp.Anonymous: Lowerer.call,
}


def _is_null(node: exp.Expr) -> bool:
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


def sky_index(point: Point) -> SkyIndex | None:
    """Index of the table whose position this is."""
    return point.source.table.sky if point.source is not None and point.source.table is not None else None


def indexed_source(ra: exp.Expr, dec: exp.Expr) -> Source | None:
    """Source whose indexed position two columns are."""
    ra, dec = ra.unnest(), dec.unnest()
    if not (isinstance(ra, exp.Column) and isinstance(dec, exp.Column)):
        return None
    source: Source = ra.meta["source"]
    if source is not dec.meta["source"] or source.table is None or source.table.sky is None:
        return None
    index = source.table.sky
    return source if (ra.meta["column"], dec.meta["column"]) == (index.ra, index.dec) else None


def footprint_source(node: exp.Expr) -> Source | None:
    """Source whose indexed footprint a column is."""
    if not isinstance(node, exp.Column):
        return None
    source: Source = node.meta["source"]
    if source.table is None or source.table.sky is None or source.table.sky.region is None:
        return None
    return source if node.meta["column"] == source.table.sky.region else None


def constant_region(shape: Shape) -> Region | None:
    """Region of a shape that is made of numbers alone; a point is a circle of radius 0."""
    match shape:
        case Point(constant=(ra, dec)):
            return Circle(ra, dec, 0.0)
        case Disc(centre=Point(constant=(ra, dec)), constant_radius=float() | int() as radius):
            return Circle(ra, dec, radius)
        case Outline(constant=polygon, box=bounds):
            return polygon or bounds
        case _:
            return None


def filtered_sources(select: exp.Select) -> frozenset[int]:
    """Find sources that have conditions of their own in WHERE or in ON of inner joins."""
    joins = select.args.get("joins") or ()
    if not joins:
        return frozenset()
    where = select.args.get("where")
    parts = list(conjuncts(where.this)) if where is not None else []
    for join in joins:
        if not join.args.get("side"):
            parts += conjuncts(join.args.get("on"))
    found = set()
    for part in parts:
        sources = {id(source) for source in sources_of(part)}
        if len(sources) == 1:
            found |= sources
    return frozenset(found)


def sources_of(node: exp.Expr) -> list[Source]:
    """List the sources of the columns of an expression."""
    if isinstance(node, exp.Column):
        return [node.meta["source"]] if "source" in node.meta else []
    return [source for child in children(node) for source in sources_of(child)]


def local_aliases(select: exp.Select) -> frozenset[str]:
    """List the printed names of the tables of a query."""
    nodes = [select.args["from_"].this, *(join.this for join in select.args.get("joins") or ())]
    return frozenset(alias for node in nodes for alias in aliases_of(node))


def aliases_of(node: exp.Expr) -> frozenset[str]:
    """Collect printed names of what stands in FROM below a node."""
    alias = node.args.get("alias")
    found = {alias.this.this} if alias is not None else set()
    if alias is None and isinstance(node, exp.Subquery):
        found |= aliases_of(node.this)
    for join in node.args.get("joins") or ():
        found |= aliases_of(join.this)
    return frozenset(found)


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


def shape_of_text(text: str, word: str) -> list[float] | None:
    """Numbers of a DALI shape; ``None`` if they do not make one."""
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        return None
    count = len(numbers)
    fits = {"POINT": count == 2, "CIRCLE": count == 3}.get(word, count >= 6 and count % 2 == 0)
    return numbers if fits else None


def region_of(numbers: Sequence[float]) -> None:
    """Check the numbers of a shape."""
    if len(numbers) == 2:
        check_position(*numbers)
    elif len(numbers) == 3:
        Circle(*numbers)
    else:
        Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)))
