"""What is known of the query around a condition: which tables drive a join, and which are looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlglot import exp

from gateway.vo.adql.resolving.scopes import Source
from gateway.vo.adql.tree import children, conjuncts


@dataclass(slots=True)
class Context:
    """What is known of the query around a condition."""

    filtered: frozenset[int] = frozenset()
    """Sources that conditions of their own cut down: these drive a join, the other side is looked up."""
    local: frozenset[str] = frozenset()
    """Printed names of the tables of this query, not of those around it."""
    windowed: set[int] = field(default_factory=set)
    """Sources of which a constant region already cuts out a part."""
    inner: Callable[[Source], bool] | None = None
    """In ON of an outer join: whether a source is on the side that is looked up."""


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
