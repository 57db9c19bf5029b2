"""GROUP BY: with aggregates, all else must be grouped."""

from __future__ import annotations

from sqlglot import exp

from gateway.vo.adql.resolving.problems import Problems
from gateway.vo.adql.resolving.scopes import Scope
from gateway.vo.adql.tree import children, has_aggregates, is_aggregate, key_of
from gateway.vo.tableset import adql_identifier


def check_grouping(problems: Problems, select: exp.Select, items: list[exp.Expr], scope: Scope) -> None:
    """With aggregates, all else must be grouped."""
    group = select.args.get("group")
    having = select.args.get("having")
    order = select.args.get("order")
    ordered = [term.this for term in order.expressions] if order is not None else []
    parts = [*items, *([having.this] if having is not None else []), *ordered]
    if group is None and having is None and not any(map(has_aggregates, parts)):
        return
    keys = {key_of(term) for term in group.expressions} if group is not None else set()
    local = {id(source) for source in scope.sources}
    for part in parts:
        _check_grouped(problems, part, keys, local)


def check_own_columns(problems: Problems, node: exp.Expr, name: str, scope: Scope) -> None:
    """Refuse an aggregate of columns of outer queries alone: to SQL it would be an aggregate of that query."""
    if scope.parent is None:
        return
    outer = {id(source) for around in scope.parent.chain() for source in around.sources}
    found = {id(column.meta["source"]) for column in node.find_all(exp.Column) if "source" in column.meta}
    if found and found <= outer:
        problems.fail(node, f"{name} in a subquery needs a column of that subquery")


def _check_grouped(problems: Problems, node: exp.Expr, keys: set[object], local: set[int]) -> None:
    """Refuse a column that is neither grouped nor inside an aggregate."""
    if is_aggregate(node):
        return
    if isinstance(node, exp.Column):
        source = node.meta.get("source")
        if source is not None and id(source) in local and key_of(node) not in keys:
            name = f"{source.shown}.{adql_identifier(node.meta['published'])}"
            problems.fail(node, f"column {name} must stand in GROUP BY or inside an aggregate function")
        return
    if keys and not isinstance(node, (exp.Identifier, exp.Literal)) and "typed" in node.meta and key_of(node) in keys:
        return
    for child in children(node):
        _check_grouped(problems, child, keys, local)
