"""Look at and make nodes of a query's tree: the small questions that every pass asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from gateway.vo.adql.functions.udf import AGGREGATES
from gateway.vo.adql.nodes import in_quotes

MAX_NAME = 63
"""Longest name in PostgreSQL, bytes; longer ones would be cut and could meet."""


def quoted(name: str) -> exp.Identifier:
    """Make an identifier that is printed in quotes."""
    return exp.Identifier(this=name, quoted=True)


def spelt(parts: Sequence[exp.Identifier]) -> str:
    """Qualified name as it was written, for messages."""
    return ".".join(in_quotes(part.this) if part.quoted else part.this for part in parts)


def unique(name: str, used: set[str]) -> str:
    """Make a name that PostgreSQL keeps whole and that is not yet used."""
    if name not in used and len(name.encode()) <= MAX_NAME:
        return name
    base = name if len(name.encode()) <= MAX_NAME - 8 else "name"
    number_ = 2
    while f"{base}_{number_}" in used:
        number_ += 1
    return f"{base}_{number_}"


def parts_of(node: exp.Expr) -> list[exp.Identifier]:
    """Parts of a qualified name, outermost first."""
    return [node.args[key] for key in ("catalog", "db", "table", "this") if node.args.get(key) is not None]


def names(identifier: exp.Identifier, name: str) -> bool:
    """Whether an identifier means a name."""
    return bool(identifier.this == name if identifier.quoted else identifier.this.lower() == name.lower())


def place_of(node: exp.Expr) -> int:
    """Where an expression begins, as an offset."""
    place = node.meta.get("at")
    first = next(children(node), None)
    while place is None and first is not None:
        place = first.meta.get("at")
        first = next(children(first), None)
    if isinstance(node, exp.Binary) and not isinstance(node, exp.Connector):
        return min(place or 0, place_of(node.this)) if node.this.meta else place or 0
    return place or 0


def children(node: exp.Expr) -> Iterator[exp.Expr]:
    """Nodes right below."""
    for value in node.args.values():
        if isinstance(value, list):
            yield from (item for item in value if isinstance(item, exp.Expr))
        elif isinstance(value, exp.Expr):
            yield value


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a node is the call of an aggregate function."""
    return isinstance(node, exp.AggFunc) or (isinstance(node, exp.Anonymous) and node.this.upper() in AGGREGATES)


def has_aggregates(node: exp.Expr) -> bool:
    """Whether a node has aggregates that are not in a subquery."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if is_aggregate(node):
            return True
        if not isinstance(node, (exp.Column, exp.Literal, exp.Query)):
            waiting += children(node)
    return False


def key_of(node: exp.Expr) -> object:
    """Equal for expressions that are written alike; resolved columns are compared by what they mean."""
    node = node.unnest()
    if isinstance(node, exp.Column) and "source" in node.meta:
        return (id(node.meta["source"]), node.meta["column"])
    if isinstance(node, exp.Literal):
        return (node.this, node.is_string)
    return node.sql(copy=False)


def conjuncts(node: exp.Expr | None) -> Iterator[exp.Expr]:
    """Conditions that must all hold."""
    if node is None:
        return
    if isinstance(node, exp.Paren):
        yield from conjuncts(node.this)
    elif isinstance(node, exp.And):
        yield from conjuncts(node.this)
        yield from conjuncts(node.expression)
    else:
        yield node


def is_equality(node: exp.Expr) -> bool:
    """Whether a condition equates columns of two different tables."""
    if not isinstance(node, exp.EQ):
        return False
    left, right = ({c.meta.get("source") for c in side.find_all(exp.Column)} for side in (node.this, node.expression))
    return bool(left) and bool(right) and not left & right


def is_constant(node: exp.Expr) -> bool:
    """Whether an expression is a number or string as it is written, with its sign and parentheses."""
    while isinstance(node, (exp.Paren, exp.Neg)):
        node = node.this
    return isinstance(node, exp.Literal)
