"""What a query gives: the columns of its result, their names and their types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.vo.adql.resolving.scopes import Columns, SourceColumn
from gateway.vo.adql.tree import quoted, unique
from gateway.vo.adql.types import Typed, canonical_sql, settled


@dataclass(frozen=True, slots=True)
class Output:
    """Column of a query's result."""

    name: str
    """As it goes out."""
    physical: str
    """As it is printed."""
    typed: Typed
    written: str | None = None
    """Its name in the query, if it had to be another one because there are two."""


def outputs_of(items: list[exp.Expr]) -> list[Output]:
    """Name the columns of a select list, each once."""
    used: set[str] = set()
    printed: set[str] = set()
    outputs = []
    for place, item in enumerate(items, 1):
        wanted = item.meta.get("name") or generated_name(item, place)
        name = wanted
        suffix = 2
        while name.lower() in used:
            name = f"{wanted}_{suffix}"
            suffix += 1
        used.add(name.lower())
        physical = unique(name, printed)
        printed.add(physical)
        value: Typed = item.meta["typed"]
        outputs.append(
            Output(name, physical, Typed(value.renamed(name), value.sql), None if name == wanted else wanted)
        )
    return outputs


def generated_name(item: exp.Expr, place: int) -> str:
    """Legal name for an expression without one."""
    label = item.meta.get("label")
    if label is not None and label.isascii() and label.replace("_", "").isalnum():
        return str(label)
    node = item.unnest()
    if isinstance(node, (exp.AggFunc, exp.Anonymous)):
        function = (node.this if isinstance(node, exp.Anonymous) else type(node).__name__).lower()
        argument = node.this if isinstance(node, exp.AggFunc) else next(iter(node.expressions), None)
        if isinstance(argument, exp.Star):
            return f"{function}_all"
        column = argument.meta.get("published") if isinstance(argument, exp.Column) else None
        simple = isinstance(node, exp.AggFunc) or len(node.expressions) == 1
        if column and simple and column.isascii() and column.replace("_", "").isalnum():
            return f"{function}_{column}"
        return f"{function}_{place}"
    return f"column_{place}"


def columns_of(outputs: Sequence[Output]) -> Columns:
    """Tell what a subquery offers."""
    return Columns(
        SourceColumn(output.name, output.physical, settled(output.typed), output.written) for output in outputs
    )


def labelled(item: exp.Expr, output: Output) -> exp.Alias:
    """Item of a select list under its printed name."""
    alias = exp.Alias(this=item, alias=quoted(output.physical))
    alias.meta["typed"] = item.meta["typed"]
    return alias


def force_types(query: exp.Expr, sqls: Sequence[str]) -> None:
    """Have the select lists of a query cast to types."""
    if isinstance(query, exp.Select):
        for item, sql in zip(query.expressions, sqls, strict=True):
            item.meta["cast"] = sql
    elif isinstance(query, exp.SetOperation):
        force_types(query.this, sqls)
        force_types(query.expression, sqls)
    else:
        force_types(query.this, sqls)


def canonical_types(outputs: Sequence[Output]) -> list[str]:
    """Types of the outermost select list."""
    return [canonical_sql(output.typed.field.type) for output in outputs]
