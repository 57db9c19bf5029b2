"""Resolve FROM: which tables a query reads, how they are joined, and what columns they offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from gateway.vo.adql.resolving.outputs import Output, columns_of
from gateway.vo.adql.resolving.problems import Problems
from gateway.vo.adql.resolving.references import found_column, parts_of_found, reference
from gateway.vo.adql.resolving.scopes import (
    Catalog,
    Columns,
    Found,
    Merged,
    Place,
    Relation,
    Scope,
    Source,
    SourceColumn,
    published_columns,
)
from gateway.vo.adql.tree import conjuncts, is_equality, parts_of, place_of, quoted, spelt, unique
from gateway.vo.adql.types import comparable, unify
from gateway.vo.tableset import Table

Query = Callable[[exp.Query, Scope | None], list[Output]]
"""Resolves a subquery; the scope is what it can see around it."""

Condition = Callable[[exp.Expr, Place], None]
"""Resolves a condition."""


class FromClauses:
    """Resolves the FROM clauses of one query, and remembers what they read."""

    def __init__(self, problems: Problems, catalog: Catalog, *, query: Query, condition: Condition) -> None:
        self.problems = problems
        self.catalog = catalog
        self.query = query
        self.condition = condition
        self.tables: dict[int, Table] = {}
        self.common: list[Source] = []

    def common_table(self, node: exp.CTE) -> None:
        """``name AS (query)``: later queries can name it."""
        name = node.args["alias"].this
        if any(source.is_called([name]) for source in self.common):
            self.problems.fail(name, f"two common table expressions are called {name.this!r}")
        outputs = self.query(node.this, None)
        physical = unique(name.this, {source.alias for source in self.common})
        node.args["alias"].set("this", quoted(physical))
        self.common.append(Source(physical, name.this, name.quoted, columns_of(outputs)))

    def scope(self, select: exp.Select, outer: Scope | None) -> Scope:
        """Tables of a query."""
        labels = frozenset(item.alias.lower() for item in select.expressions if isinstance(item, exp.Alias))
        return Scope(
            self.relations(select.args["from_"].this, select.args.get("joins") or [], outer, []), outer, labels
        )

    def relations(
        self, first: exp.Expr, joins: Sequence[exp.Join], outer: Scope | None, known: list[Source]
    ) -> list[Relation]:
        """Resolve a table with all that is joined to it or stands after a comma; ``known`` grows by what is found."""
        relations = [self.table(first, outer, known)]
        for join in joins:
            right = self.table(join.this, outer, known)
            if any(join.args.get(key) for key in ("on", "using", "method", "kind")):
                relations.append(self.join(join, relations.pop(), right, outer))
            else:
                relations.append(right)
        return relations

    def join(self, join: exp.Join, left: Relation, right: Relation, outer: Scope | None) -> Relation:
        """Two relations as one."""
        both = left.joined_with(right)
        common = join.args.get("using")
        if join.args.get("method") == "NATURAL":
            known = [found_column(found) for found in left.star()]
            common = [
                exp.Identifier(this=column.name, quoted=True)
                for column in known
                if right.named(exp.Identifier(this=column.name, quoted=True))
            ]
            for identifier in common:
                identifier.meta["at"] = place_of(join)
            join.set("method", None)
            if not common:
                join.set("kind", "CROSS" if not join.args.get("side") else None)
                join.set("on", None if not join.args.get("side") else exp.Boolean(this=True))
        if common:
            self.merge(join, common, left, right, both)
        elif (on := join.args.get("on")) is not None and not isinstance(on, exp.Boolean):
            self.condition(on, Place(Scope([both], outer), "in ON"))
        if join.args.get("side") == "FULL" and not any(is_equality(part) for part in conjuncts(join.args.get("on"))):
            self.problems.fail(
                join,
                "FULL JOIN needs an equality of columns in ON; for other conditions write LEFT JOIN, and add what is left of the "
                "other table by UNION ALL and NOT EXISTS",
            )
        return both

    def merge(
        self, join: exp.Join, common: Sequence[exp.Identifier], left: Relation, right: Relation, both: Relation
    ) -> None:
        """Turn USING into ON, and note the columns that become one."""
        conditions: list[exp.Expr] = []
        side = join.args.get("side")
        for name in common:
            one = self.only(name, left, "left")
            other = self.only(name, right, "right")
            if not comparable(found_column(one).typed, found_column(other).typed):
                self.problems.fail(name, f"the columns {name.this} on both sides have types that cannot be compared")
            conditions.append(exp.EQ(this=reference(one), expression=reference(other)))
            parts = {"RIGHT": parts_of_found(other), "FULL": (*parts_of_found(one), *parts_of_found(other))}.get(
                side or "", parts_of_found(one)
            )
            column = found_column(one)
            if side == "FULL" and (common_type := unify(column.typed, found_column(other).typed)) is not None:
                column = SourceColumn(column.name, column.physical, common_type)
            both.merged.pop(name.this.lower(), None)
            both.merged[name.this.lower()] = Merged(column, parts)
            for source, column in (*parts_of_found(one), *parts_of_found(other)):
                both.hidden.add((id(source), column.physical))
        on = conditions[0]
        for condition in conditions[1:]:
            on = exp.And(this=on, expression=condition)
        join.set("using", None)
        join.set("on", on)

    def only(self, name: exp.Identifier, relation: Relation, side: str) -> Found:
        """Find the one column of a name on one side of a join."""
        found = relation.named(name)
        if len(found) != 1:
            count = "no column" if not found else "more than one column"
            self.problems.fail(name, f"the {side} side of the join has {count} {spelt([name])}")
        return found[0]

    def table(self, node: exp.Expr, outer: Scope | None, known: list[Source]) -> Relation:
        """One table, subquery, or joined tables in parentheses; ``known`` has those before it."""
        if (joins := node.args.pop("joins", None)) is not None:
            relation = self.relations(node, joins, outer, known)[0]
            node.set("joins", joins)
            return relation
        if isinstance(node, exp.Table):
            return Relation([self.named_table(node, outer, known)])
        assert isinstance(node, exp.Subquery)
        if node.args.get("alias") is None:
            return self.table(node.this, outer, known)
        outputs = self.query(node.this, outer)
        return Relation([self.add_source(node, node.args["alias"].this, columns_of(outputs), outer, known)])

    def named_table(self, node: exp.Table, outer: Scope | None, known: list[Source]) -> Source:
        """Table of the tableset, or a common table expression."""
        parts = parts_of(node)
        if len(parts) == 1:
            for common in reversed(self.common):
                if common.is_called(parts):
                    node.set("this", quoted(common.alias))
                    alias = node.args.get("alias")
                    return self.add_source(node, alias.this if alias else parts[0], common.columns, outer, known)
        table = self.find_table(node, parts)
        self.tables[id(table)] = table
        alias = node.args.get("alias")
        for key in ("catalog", "db"):
            node.args.pop(key, None)
        node.set("this", quoted(table.physical_name))
        node.set("db", quoted(table.physical_schema))
        name = alias.this if alias else exp.Identifier(this=table.name, quoted=False)
        if not alias:
            name.meta["at"] = place_of(node)
        return self.add_source(node, name, published_columns(table), outer, known, table, has_alias=alias is not None)

    def find_table(self, node: exp.Table, parts: list[exp.Identifier]) -> Table:
        """Look a table up by its name."""
        found = self.catalog.find(parts)
        if len(found) == 1:
            return found[0]
        name = spelt(parts)
        if found:
            choices = " or ".join(sorted(table.qualified_name for table in found))
            self.problems.fail(node, f"table {name} is ambiguous: {choices}")
        plain = ".".join(part.this for part in parts)
        hint = self.catalog.close_to(plain, [source.name for source in self.common])
        if len(parts) == 1 and parts[0].quoted and "." in plain:
            hint += " Each part of a name has quotes of its own."
        return self.problems.fail(node, f"unknown table {name}{hint}")

    def add_source(
        self,
        node: exp.Expr,
        name: exp.Identifier,
        columns: Columns,
        outer: Scope | None,
        known: list[Source],
        table: Table | None = None,
        *,
        has_alias: bool = True,
    ) -> Source:
        """Give something in FROM the name it is printed with."""
        if has_alias or table is None:
            for source in known:
                if (source.has_alias or source.table is None) and source.is_called([name]):
                    self.problems.fail(name, f"two tables are called {name.this}; give each an alias of its own")
        elif any(source.table is table and not source.has_alias for source in known):
            self.problems.fail(
                name, f"{table.qualified_name} stands in FROM twice; give each an alias: {name.this} AS a"
            )
        used = {source.alias for source in known} | (outer.aliases() if outer is not None else set())
        source = Source(unique(name.this, used), name.this, bool(name.quoted), columns, table, has_alias)
        node.set("alias", exp.TableAlias(this=quoted(source.alias)))
        known.append(source)
        return source
