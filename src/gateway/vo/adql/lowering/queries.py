"""Turn what ADQL says into what PostgreSQL runs: casts, functions, queries; geometry is done by ``geometry.py``.

Works on the resolved tree, in place.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp
from typing_extensions import override

from gateway.vo.adql.functions.allowed import GEOMETRY_FUNCTIONS
from gateway.vo.adql.functions.signatures import Function, Parameter, sky
from gateway.vo.adql.lowering import nearest
from gateway.vo.adql.lowering.cells import cell_condition, readable_cells
from gateway.vo.adql.lowering.geometry import REVERSED, GeometryLowerer
from gateway.vo.adql.lowering.operands import RegionIndex
from gateway.vo.adql.lowering.stored import published_value
from gateway.vo.adql.lowering.surroundings import Context, aliases_of, filtered_sources, local_aliases
from gateway.vo.adql.nodes import constant, converted, is_null
from gateway.vo.adql.types import DECIMAL, GEOMETRIES, SQL_TIMESTAMP, UNKNOWN, Kind, Typed, cast, is_integer

__all__ = ["Lowerer", "RegionIndex", "constant"]


class Lowerer(GeometryLowerer):
    """Lowers one query."""

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
        search = nearest.search(node) if self.index is not None else None
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
            group.set("expressions", [self.sort_key(term) for term in group.expressions])
        if (order := node.args.get("order")) is not None:
            for term in order.expressions:
                if not isinstance(term.this, exp.Literal) or term.this.is_string:  # else a position
                    term.set("this", self.sort_key(term.this))
        if search is not None and self.index is not None and id(search.source) not in self.context.windowed:
            nearest.by_rings(node, search, self.index)

    def sort_key(self, term: exp.Expr) -> exp.Expr:
        """Lower a term of GROUP BY or ORDER BY; PostgreSQL takes a bare constant there for a position."""
        value: Typed = term.meta["typed"]
        inner = term
        while isinstance(inner, (exp.Paren, exp.Neg)):
            inner = inner.this
        lowered = self.lower(term)
        if not isinstance(inner, (exp.Literal, exp.Boolean, exp.Null)):
            return lowered
        return cast(lowered, {DECIMAL: "double precision", UNKNOWN: "text"}.get(value.sql, value.sql))

    def table(self, node: exp.Expr) -> None:
        """Lower what stands in FROM."""
        for join in node.args.get("joins") or ():
            self.join(join)
        if isinstance(node, exp.Subquery):
            if isinstance(node.this, (exp.Select, exp.SetOperation)):
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

    @override
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
            if kind is exp.Column:
                return published_value(node)
            return self.literal(node) if kind is exp.Literal else node
        if is_filter and (condition := cell_condition(node, self.context.local)) is not None:
            return condition
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

    @override
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

    def negation(self, node: exp.Expr) -> exp.Expr:
        """``-x``; of NULL it is NULL, of which PostgreSQL would not know the type."""
        lowered = self.lower(node.this)
        if node.this.meta["typed"].sql == UNKNOWN:
            return lowered
        node.set("this", lowered)
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

    def case(self, node: exp.Expr) -> exp.Expr:
        """CASE: all results have one type."""
        sql = node.meta["typed"].sql
        if (subject := node.args.get("this")) is not None:
            sqls = [one.meta["typed"].sql for one in (subject, *(arm.this for arm in node.args["ifs"]))]
            known = next((one for one in sqls if one != UNKNOWN), UNKNOWN)
            lowered = self.lower(subject)
            is_bare = sqls[0] == UNKNOWN != known
            node.set("this", cast(lowered, "double precision" if known == DECIMAL else known) if is_bare else lowered)
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
        if (cells := readable_cells(node, self.context.local)) is not None:
            return cells.value()
        form: Function = node.meta["form"]
        arguments = [
            self.argument(parameter, item) for parameter, item in zip(form.parameters, node.expressions, strict=False)
        ]
        return form.lower(arguments)

    def argument(self, parameter: Parameter, item: exp.Expr) -> exp.Expr:
        """Lower an argument of a function and give it the type that the function takes."""
        value: Typed = item.meta["typed"]
        if parameter.kind in GEOMETRIES:
            if value.kind is Kind.NULL:
                return cast(self.lower(item), "double precision[]")
            return self.array(self.shape(item))
        if parameter.kind is Kind.TIMESTAMP:
            lowered = self.lower(item)
            if value.kind is Kind.TEXT and not isinstance(item, exp.Literal):
                return sky("parse_timestamp", lowered)
            return converted(lowered, value.sql, SQL_TIMESTAMP)
        if parameter.kind is not Kind.NUMBER:
            lowered = self.lower(item)
            is_plain = parameter.is_literal or (value.sql == "text" and not is_null(item))
            return lowered if is_plain else cast(lowered, "text")
        if parameter.is_integer:
            return self.lower(item) if value.sql == parameter.sql else cast(self.lower(item), parameter.sql)
        return self.double(item)


LEAVES: frozenset[type[exp.Expr]] = frozenset(
    {exp.Column, exp.Literal, exp.Null, exp.Boolean, exp.Star, exp.Identifier, exp.DataType}
)


COMPARISONS: frozenset[type[exp.Expr]] = frozenset(REVERSED)
KEEPS_FILTER: frozenset[type[exp.Expr]] = frozenset({exp.And, exp.Or, exp.Paren})


METHODS: dict[type[exp.Expr], Callable[..., exp.Expr]] = {
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div), Lowerer.arithmetic),
    **dict.fromkeys((exp.Like, exp.ILike), Lowerer.pattern),
    exp.In: Lowerer.membership,
    **dict.fromkeys((exp.Exists, exp.Subquery), Lowerer.subquery),
    **dict.fromkeys((exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max), Lowerer.aggregate),
    exp.Neg: Lowerer.negation,
    exp.Cast: Lowerer.cast,
    exp.Case: Lowerer.case,
    exp.Anonymous: Lowerer.call,
}
