"""Give every expression of a query its type."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

from gateway.vo.adql.resolving.calls import Calls
from gateway.vo.adql.resolving.comparisons import Comparisons
from gateway.vo.adql.resolving.grouping import check_own_columns
from gateway.vo.adql.resolving.outputs import Output, force_types
from gateway.vo.adql.resolving.problems import Problems
from gateway.vo.adql.resolving.references import References
from gateway.vo.adql.resolving.scopes import Place, Scope
from gateway.vo.adql.tree import is_constant
from gateway.vo.adql.types import (
    CHAR,
    DECIMAL,
    DOUBLE,
    IS_TRUE,
    LONG,
    NULL,
    TIMESTAMP,
    UNICODE_CHAR,
    UNKNOWN,
    Kind,
    Typed,
    comparable,
    integer_literal,
    is_integer,
    number,
    promoted,
    settled,
    typed,
)
from gateway.vo.tableset import Datatype
from gateway.vo.units import combined


class Expressions:
    """Resolves the expressions of one query."""

    def __init__(self, problems: Problems, query: Callable[[exp.Query, Scope | None], list[Output]]) -> None:
        self.problems = problems
        self.query = query
        self.references = References(problems)
        self.comparisons = Comparisons(problems)
        self.calls = Calls(problems, self.comparisons, visit=self.visit, condition=self.condition)

    def condition(self, node: exp.Expr, place: Place) -> None:
        """Resolve something that must be true or false."""
        value = self.visit(node, place)
        if value.kind is not Kind.BOOLEAN:
            self.problems.fail(node, f"expected a condition, found a {value.kind}")

    def visit(self, node: exp.Expr, place: Place) -> Typed:
        """Resolve an expression and everything below it, once: afterwards its columns have physical names."""
        known: Typed | None = node.meta.get("typed")
        if known is not None:
            return known
        value = VISITORS[type(node)](self, node, place)
        if "typed" not in node.meta:
            node.meta["typed"] = value
        return value

    def column(self, node: exp.Column, place: Place) -> Typed:
        """Name of a column."""
        return self.references.column(node, place.scope)

    def literal(self, node: exp.Literal, _: Place) -> Typed:
        """Type a number or a string."""
        if node.is_string:
            return typed(CHAR if node.this.isascii() else UNICODE_CHAR)
        return integer_literal(node.this) if node.this.isdigit() else number(DECIMAL)

    def null(self, _node: exp.Null, _: Place) -> Typed:
        """NULL."""
        return NULL

    def boolean(self, _node: exp.Boolean, _: Place) -> Typed:
        """Type TRUE or FALSE."""
        return IS_TRUE

    def now(self, _node: exp.CurrentTimestamp, _: Place) -> Typed:
        """Type CURRENT_TIMESTAMP."""
        return typed(TIMESTAMP, "timestamp with time zone")

    def paren(self, node: exp.Paren, place: Place) -> Typed:
        """Parentheses."""
        return self.visit(node.this, place)

    def negation(self, node: exp.Neg, place: Place) -> Typed:
        """``-x``."""
        value = self.numeric(node.this, place, "-")
        return typed(value.field.type, value.sql, unit=value.field.unit)

    def numeric(self, node: exp.Expr, place: Place, operator: str) -> Typed:
        """Operand of arithmetic."""
        value = self.visit(node, place)
        if value.kind not in {Kind.NUMBER, Kind.NULL}:
            joined = operator == "+" and value.kind is Kind.TEXT
            hint = "; join strings with ||" if joined else ""
            self.problems.fail(node, f"{operator} needs numbers, found a {value.kind}{hint}")
        return value

    def arithmetic(self, node: exp.Binary, place: Place) -> Typed:
        """``+ - * /``."""
        symbol = SYMBOLS[type(node)]
        left = self.numeric(node.this, place, symbol)
        right = self.numeric(node.expression, place, symbol)
        return number(promoted(left.sql, right.sql), unit=unit_of(symbol, node))

    def concatenation(self, node: exp.DPipe, place: Place) -> Typed:
        """``||``."""
        wide = False
        for operand in (node.this, node.expression):
            value = self.visit(operand, place)
            if value.kind not in {Kind.TEXT, Kind.NULL}:
                self.problems.fail(operand, f"|| needs strings, found a {value.kind}; use CAST(... AS VARCHAR)")
            wide |= value.field.type.datatype is Datatype.UNICODE_CHAR
        return typed(UNICODE_CHAR if wide else CHAR)

    def connection(self, node: exp.Connector, place: Place) -> Typed:
        """AND, OR."""
        self.condition(node.this, place)
        self.condition(node.expression, place)
        return IS_TRUE

    def negated(self, node: exp.Not, place: Place) -> Typed:
        """NOT."""
        self.condition(node.this, place)
        return IS_TRUE

    def comparison(self, node: exp.Binary, place: Place) -> Typed:
        """``= <> < > <= >=``."""
        left = self.visit(node.this, place)
        right = self.visit(node.expression, place)
        self.comparisons.check(node, node.this, left, node.expression, right)
        return IS_TRUE

    def between(self, node: exp.Between, place: Place) -> Typed:
        """``x BETWEEN low AND high``."""
        value = self.visit(node.this, place)
        for key in ("low", "high"):
            bound = self.visit(node.args[key], place)
            self.comparisons.check(node, node.this, value, node.args[key], bound)
        self.comparisons.check_alike(node, node.this, [node.args["low"], node.args["high"]])
        return IS_TRUE

    def membership(self, node: exp.In, place: Place) -> Typed:
        """``x IN (...)``."""
        value = self.visit(node.this, place)
        query = node.args.get("query")
        if query is None:
            for item in list(node.expressions):
                self.comparisons.check(item, node.this, value, item, self.visit(item, place))
            self.comparisons.check_alike(node, node.this, node.expressions)
            return IS_TRUE
        outputs = self.query(query.this, place.scope)
        if len(outputs) != 1:
            self.problems.fail(query, f"a subquery after IN has one column; this one has {len(outputs)}")
        self.comparisons.check_operand(node.this, value, "IN")
        if not comparable(value, outputs[0].typed):
            self.problems.fail(query, f"a {value.kind} cannot be compared with the subquery's {outputs[0].typed.kind}")
        if outputs[0].typed.sql == UNKNOWN:
            force_types(query.this, [settled(value).sql])
        return IS_TRUE

    def pattern(self, node: exp.Binary, place: Place) -> Typed:
        """LIKE, ILIKE."""
        for operand in (node.this, node.expression):
            value = self.visit(operand, place)
            if value.kind not in {Kind.TEXT, Kind.NULL}:
                self.problems.fail(operand, f"{type(node).__name__.upper()} needs strings, found a {value.kind}")
        return IS_TRUE

    def null_test(self, node: exp.Is, place: Place) -> Typed:
        """``x IS NULL``."""
        self.visit(node.this, place)
        node.expression.meta["typed"] = NULL
        return IS_TRUE

    def exists(self, node: exp.Exists, place: Place) -> Typed:
        """``EXISTS (query)``."""
        self.query(node.this, place.scope)
        return IS_TRUE

    def scalar(self, node: exp.Subquery, place: Place) -> Typed:
        """Subquery as a value."""
        outputs = self.query(node.this, place.scope)
        if len(outputs) != 1:
            self.problems.fail(node, f"a subquery used as a value has one column; this one has {len(outputs)}")
        return settled(outputs[0].typed)

    def aggregate(self, node: exp.AggFunc, place: Place) -> Typed:
        """COUNT, SUM, AVG, MIN, MAX."""
        name = type(node).__name__.upper()
        if place.aggregates is not None:
            self.problems.fail(node, f"the aggregate function {name} cannot stand {place.aggregates}")
        argument = node.this
        if isinstance(argument, exp.Star):
            return typed(LONG, ucd="meta.number")
        if isinstance(argument, exp.Distinct):
            argument = argument.expressions[0]
        value = self.visit(argument, Place(place.scope, f"inside {name}"))
        check_own_columns(self.problems, node, name, place.scope)
        if name == "COUNT":
            if isinstance(node.this, exp.Distinct):
                self.comparisons.check_operand(argument, value, "COUNT(DISTINCT)")
            return typed(LONG, ucd="meta.number")
        if name in {"SUM", "AVG"}:
            if value.kind not in {Kind.NUMBER, Kind.NULL}:
                self.problems.fail(node, f"{name} needs numbers, found a {value.kind}")
            kind = LONG if name == "SUM" and is_integer(value) else DOUBLE
            return typed(kind, unit=value.field.unit, ucd=ucd_of(name, value.field.ucd))
        if value.kind not in {Kind.NUMBER, Kind.TEXT, Kind.TIMESTAMP, Kind.NULL}:
            self.problems.fail(node, f"{name} needs numbers, strings or timestamps, found a {value.kind}")
        return typed(value.field.type, settled(value).sql, unit=value.field.unit, ucd=ucd_of(name, value.field.ucd))

    def call(self, node: exp.Expr, place: Place) -> Typed:
        """CAST, CASE, and calls of functions."""
        return self.calls.resolve(node, place)

    def merged(self, node: exp.Coalesce, _: Place) -> Typed:
        """Type a merged column of a FULL JOIN, already resolved."""
        value: Typed = node.meta["typed"]
        return value


SYMBOLS: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}

VISITORS: dict[type[exp.Expr], Callable[..., Typed]] = {
    exp.Column: Expressions.column,
    exp.Literal: Expressions.literal,
    exp.Null: Expressions.null,
    exp.Boolean: Expressions.boolean,
    exp.CurrentTimestamp: Expressions.now,
    exp.Paren: Expressions.paren,
    exp.Neg: Expressions.negation,
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div), Expressions.arithmetic),
    exp.DPipe: Expressions.concatenation,
    **dict.fromkeys((exp.And, exp.Or), Expressions.connection),
    exp.Not: Expressions.negated,
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE), Expressions.comparison),
    exp.Between: Expressions.between,
    exp.In: Expressions.membership,
    **dict.fromkeys((exp.Like, exp.ILike), Expressions.pattern),
    exp.Is: Expressions.null_test,
    exp.Exists: Expressions.exists,
    exp.Subquery: Expressions.scalar,
    **dict.fromkeys((exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max), Expressions.aggregate),
    exp.Cast: Expressions.call,
    exp.Case: Expressions.call,
    exp.Coalesce: Expressions.merged,
    exp.Anonymous: Expressions.call,
}
"""Each method takes the nodes it is listed for."""


def unit_of(symbol: str, node: exp.Binary) -> str | None:
    """Infer the unit of an arithmetic expression where it is plain; a constant beside a value is meant in its unit."""
    one: str | None = node.this.meta["typed"].field.unit
    other: str | None = node.expression.meta["typed"].field.unit
    is_plain = is_constant(node.expression)
    if symbol in "+-":
        if is_plain or one == other:
            return one
        return other if is_constant(node.this) else None
    if is_plain:
        return one
    if other is None:
        return None
    if is_constant(node.this):
        return other if symbol == "*" else combined(other, other, -2)
    return None if one is None else combined(one, other, 1 if symbol == "*" else -1)


STATISTICS: Mapping[str, str] = {"AVG": "stat.mean", "MIN": "stat.min", "MAX": "stat.max"}
"""Words that UCDs have for aggregates."""


def ucd_of(name: str, ucd: str | None) -> str | None:
    """UCD of an aggregate: what it is of, and which statistic; never the main one of its table."""
    if ucd is None or name not in STATISTICS:
        return None
    words = [word for word in ucd.split(";") if word.lower() != "meta.main"]
    return ";".join([*words, STATISTICS[name]]) if words else None
