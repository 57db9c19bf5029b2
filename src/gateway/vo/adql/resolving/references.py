"""Find the columns that names mean, and make nodes that refer to them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.vo.adql.resolving.problems import Problems
from gateway.vo.adql.resolving.scopes import Found, Merged, Scope, Source, SourceColumn, did_you_mean
from gateway.vo.adql.tree import parts_of, quoted, spelt
from gateway.vo.adql.types import Typed
from gateway.vo.tableset import adql_identifier


@dataclass(frozen=True, slots=True)
class References:
    """Resolves the names of columns in one query."""

    problems: Problems

    def column(self, node: exp.Column, scope: Scope) -> Typed:
        """Resolve a column in place."""
        parts = parts_of(node)
        if len(parts) > 1:
            source = self.qualifier(node, parts[:-1], scope)
            columns = source.columns.named(parts[-1])
            found: list[Found] = [(source, column) for column in columns]
            if not found:
                hint = self.elsewhere(parts[-1], scope) or suggestion(
                    parts[-1], [column.name for column in source.columns]
                )
                self.problems.fail(node, f"{source.shown} has no column {spelt(parts[-1:])}{hint}")
        else:
            found = self.unqualified(node, parts[0], scope)
        if len(found) > 1:
            self.problems.fail(node, f"column {spelt(parts)} is ambiguous: {' or '.join(candidates(found))}")
        only = found[0]
        value = found_column(only).typed
        if isinstance(only, Merged):
            replacement = reference(only)
            replacement.meta.setdefault("at", node.meta.get("at"))
            replacement.meta.setdefault("name", None)
            node.replace(replacement)
            return value
        source, column = only
        if len(parts) > 2:
            for key in ("db", "catalog"):
                node.args.pop(key, None)
        node.set("this", quoted(column.physical))
        node.set("table", quoted(source.alias))
        meta = node.meta
        meta["typed"], meta["source"], meta["column"], meta["published"] = value, source, column.physical, column.name
        return value

    def qualifier(self, node: exp.Expr, parts: list[exp.Identifier], scope: Scope) -> Source:
        """Find the one thing in FROM that a qualifier means."""
        for level in scope.chain():
            found = [source for source in level.sources if source.is_called(parts)]
            if len(found) == 1:
                return found[0]
            if found:
                self.problems.fail(
                    node, f"{spelt(parts)} is ambiguous: {' or '.join(source.shown for source in found)}"
                )
        known = {source.name: source.shown for level in scope.chain() for source in level.sources}
        hint = (
            did_you_mean(parts[-1].this, known, known.__getitem__)
            or f"; FROM has {', '.join(list(known.values())[:5])}"
        )
        return self.problems.fail(node, f"{spelt(parts)} is no table or alias in FROM{hint}")

    def unqualified(self, node: exp.Column, name: exp.Identifier, scope: Scope) -> list[Found]:
        """Columns that a bare name can mean, in the innermost scope that has any."""
        for level in scope.chain():
            found = [item for relation in level.relations for item in relation.named(name)]
            if found:
                return found
        if name.this.lower() in scope.labels:
            self.problems.fail(
                node,
                f"{spelt([name])} is a name of the select list, which stands only in ORDER BY and alone there; repeat the expression here",
            )
        known = [column.name for level in scope.chain() for source in level.sources for column in source.columns]
        return self.problems.fail(node, f"unknown column {spelt([name])}{suggestion(name, known)}")

    def elsewhere(self, name: exp.Identifier, scope: Scope) -> str:
        """Say which other table of FROM has a column of this name."""
        for source in scope.sources:
            if source.columns.named(name):
                return f"; did you mean {source.shown}.{spelt([name])}?"
        return ""


CONSTANTS: Mapping[str, str] = {
    **dict.fromkeys(("icrs", "fk4", "fk5", "galactic"), "a coordinate system stands in single quotes: 'ICRS'"),
    "nan": "write CAST('NaN' AS DOUBLE PRECISION)",
    **dict.fromkeys(("inf", "infinity"), "write CAST('Infinity' AS DOUBLE PRECISION)"),
}
"""What to write for names that are rather meant as values."""


def suggestion(name: exp.Identifier, known: Sequence[str]) -> str:
    """Say what may be meant by a name that no column has, as the end of a message."""
    wanted = name.this.lower()
    hint = did_you_mean(name.this, known)
    if name.quoted and not any(wanted == text.lower() for text in known):
        text = exp.Literal.string(name.this).sql()
        return f"{hint[:-1]}, or the string {text}?" if hint else f"; strings stand in single quotes: {text}"
    if hint:
        return hint
    if wanted in CONSTANTS:
        return f"; {CONSTANTS[wanted]}"
    parts = list(dict.fromkeys(text for text in known if wanted in re.split(r"[\W_]", text.lower())))
    if parts:
        return f"; did you mean {' or '.join(adql_identifier(text) for text in parts[:3])}?"
    return "; TAP_SCHEMA.columns lists what there is"


def reference(found: Found) -> exp.Expr:
    """Node for a column that was found."""
    if isinstance(found, Merged):
        nodes = [reference(part) for part in found.parts]
        if len(nodes) == 1:
            return nodes[0]
        merged = exp.Coalesce(this=nodes[0], expressions=nodes[1:])
        merged.meta["typed"] = found.column.typed
        return merged
    source, column = found
    node = exp.Column(this=quoted(column.physical), table=quoted(source.alias))
    node.meta.update(typed=column.typed, source=source, column=column.physical, published=column.name)
    return node


def found_column(found: Found) -> SourceColumn:
    """Tell the column of what was found."""
    return found.column if isinstance(found, Merged) else found[1]


def parts_of_found(found: Found) -> tuple[tuple[Source, SourceColumn], ...]:
    """Tell the columns of tables behind what was found."""
    return found.parts if isinstance(found, Merged) else (found,)


def candidates(found: Sequence[Found]) -> list[str]:
    """Qualified names to choose from."""
    pairs = [pair for item in found for pair in parts_of_found(item)]
    return [f"{source.shown}.{adql_identifier(column.name)}" for source, column in pairs]
