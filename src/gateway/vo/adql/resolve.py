"""Give every name of a query its meaning, and every expression its type.

The tree of the parser is changed in place: published names become physical ones, ``*`` becomes columns, NATURAL and USING
become ON, each item of a select list gets a name. What is found stands in ``node.meta``:

``typed``
    `Typed` of every expression.
``source``, ``column``
    `Source` and physical name of every column.
``cast``
    PostgreSQL's type that an item of a select list must be turned into.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from sqlglot import exp

from gateway.vo.adql import functions
from gateway.vo.adql.extensions import EXTENSIONS
from gateway.vo.adql.lexer import Source as Text
from gateway.vo.adql.parser import CONDITIONS
from gateway.vo.adql.scopes import (
    Catalog,
    Columns,
    Found,
    Merged,
    Relation,
    Scope,
    Source,
    SourceColumn,
    did_you_mean,
    published_columns,
)
from gateway.vo.adql.types import (
    CHAR,
    CIRCLE,
    DECIMAL,
    DOUBLE,
    FLOAT,
    GEOMETRIES,
    INT,
    IS_TRUE,
    LONG,
    NULL,
    POINT,
    POLYGON,
    SHORT,
    TIMESTAMP,
    UNICODE_CHAR,
    UNKNOWN,
    Kind,
    Typed,
    canonical_sql,
    integer_literal,
    is_integer,
    number,
    promoted,
    typed,
    unify,
)
from gateway.vo.tableset import Datatype, Table, Tableset, VOType, adql_identifier

MAX_NAME = 63
"""Longest name in PostgreSQL, bytes; longer ones would be cut and could meet."""

CAST_RESULTS: dict[str, VOType] = {
    "SMALLINT": SHORT,
    "INTEGER": INT,
    "BIGINT": LONG,
    "REAL": FLOAT,
    "DOUBLE PRECISION": DOUBLE,
    "TIMESTAMP": TIMESTAMP,
    "POINT": POINT,
    "CIRCLE": CIRCLE,
    "POLYGON": POLYGON,
}

CASTS: dict[str, frozenset[Kind]] = {
    **dict.fromkeys(("SMALLINT", "INTEGER", "BIGINT", "REAL", "DOUBLE PRECISION"), frozenset({Kind.NUMBER, Kind.TEXT})),
    **dict.fromkeys(("CHAR", "VARCHAR"), frozenset({Kind.NUMBER, Kind.TEXT, Kind.TIMESTAMP, Kind.BOOLEAN})),
    "TIMESTAMP": frozenset({Kind.TEXT, Kind.TIMESTAMP}),
    **dict.fromkeys(("POINT", "CIRCLE", "POLYGON"), frozenset({Kind.TEXT})),
}
"""What may be turned into each type (ADQL 2.1, "CAST")."""

COMPARABLE = frozenset({Kind.NUMBER, Kind.TEXT, Kind.TIMESTAMP, Kind.BOOLEAN, Kind.NULL})


@dataclass(frozen=True, slots=True)
class Output:
    """Column of a query's result."""

    name: str
    """As it goes out."""
    physical: str
    """As it is printed."""
    typed: Typed


@dataclass(slots=True)
class Resolved:
    """What is known of a whole query."""

    outputs: list[Output]
    tables: list[Table] = field(default_factory=list)


@dataclass(slots=True)
class Place:
    """Where an expression stands: what it can see and whether it may aggregate."""

    scope: Scope
    aggregates: str | None = None
    """Why an aggregate function is refused here; ``None``: it is allowed."""


class Resolver:
    """Resolves one query."""

    def __init__(self, text: Text, tableset: Tableset, *, strict: bool) -> None:
        self.text = text
        self.catalog = Catalog.of(tableset)
        self.strict = strict
        self.tables: dict[int, Table] = {}
        self.common: list[Source] = []

    # -- errors ---------------------------------------------------------------------------------

    def fail(self, node: exp.Expr, reason: str) -> NoReturn:
        """Raise an error where a node stands."""
        raise self.text.error(reason, place_of(node))

    def extension(self, form: str, node: exp.Expr) -> None:
        """Note that an extension is used; refuse it when strict."""
        if self.strict:
            self.fail(node, f"{EXTENSIONS[form].form} is an extension of this service, not ADQL 2.1")

    def spelt(self, parts: Sequence[exp.Identifier]) -> str:
        """Qualified name as it was written, for messages."""
        return ".".join(_in_quotes(part.this) if part.quoted else part.this for part in parts)

    # -- queries --------------------------------------------------------------------------------

    def whole_query(self, query: exp.Query) -> Resolved:
        """Resolve a query with its common table expressions."""
        with_ = query.args.get("with_")
        if with_ is not None:
            for common in with_.expressions:
                self.common_table(common)
        outputs = self.query(query, None)
        return Resolved(outputs, list(self.tables.values()))

    def common_table(self, node: exp.CTE) -> None:
        """``name AS (query)``: later queries can name it."""
        name = node.args["alias"].this
        if any(source.is_called([name]) for source in self.common):
            self.fail(name, f"two common table expressions are called {name.this!r}")
        outputs = self.query(node.this, None)
        physical = unique(name.this, {source.alias for source in self.common})
        node.args["alias"].set("this", quoted(physical))
        self.common.append(Source(physical, name.this, name.quoted, columns_of(outputs)))

    def query(self, query: exp.Query, outer: Scope | None) -> list[Output]:
        """Resolve a query of any kind; ``outer`` is what its expressions can see around it."""
        if isinstance(query, exp.Select):
            return self.select(query, outer)
        if isinstance(query, exp.Subquery):
            return self.query(query.this, outer)
        if isinstance(query, exp.SetOperation):
            return self.set_operation(query, outer)
        return self.fail(query, "this kind of query is not supported")

    def set_operation(self, query: exp.SetOperation, outer: Scope | None) -> list[Output]:
        """UNION, EXCEPT, INTERSECT: as many columns, of the same types; described as on the left."""
        left, right = self.query(query.this, outer), self.query(query.expression, outer)
        word = type(query).__name__.upper()
        if len(left) != len(right):
            self.fail(query, f"{word} of {len(left)} and {len(right)} columns; both queries need the same number")
        outputs = []
        for place, (one, other) in enumerate(zip(left, right, strict=True), 1):
            common = unify(one.typed, other.typed)
            if common is None:
                self.fail(
                    query,
                    f"column {place} of {word} is a {one.typed.kind} on the left ({one.name}) and a {other.typed.kind} on "
                    f"the right ({other.name}); cast one of them",
                )
            if common.kind is Kind.OTHER and word != "UNION" and query.args.get("distinct"):
                self.fail(query, f"column {place} of {word} is an array, which cannot be compared")
            if common.sql != UNKNOWN:  # else a further operand tells
                common = settled(common)
            outputs.append(Output(one.name, one.physical, common))
        if any(o.typed.sql != s.typed.sql for o, s in zip(outputs, left, strict=True)):
            force_types(query.this, [output.typed.sql for output in outputs])
        if any(o.typed.sql != s.typed.sql for o, s in zip(outputs, right, strict=True)):
            force_types(query.expression, [output.typed.sql for output in outputs])
        if (order := query.args.get("order")) is not None:
            for term in order.expressions:
                self.order_by_output(term, outputs, word)
        return outputs

    def order_by_output(self, term: exp.Ordered, outputs: list[Output], word: str) -> None:
        """ORDER BY after a set operator: a position or a name of the result."""
        node = term.this
        if self.position(node, len(outputs)):
            return
        if isinstance(node, exp.Column) and len(parts_of(node)) == 1:
            name = node.this
            places = [place for place, output in enumerate(outputs, 1) if names(name, output.name)]
            if len(places) == 1:
                term.set("this", exp.Literal.number(places[0]))
                return
            known = [output.name for output in outputs]
            problem = "ambiguous" if places else "not a column of the result"
            self.fail(node, f"{self.spelt([name])} is {problem}{'' if places else did_you_mean(name.this, known)}")
        self.fail(term, f"after {word}, ORDER BY takes a name or a position of the result's columns only")

    def position(self, node: exp.Expr, count: int) -> bool:
        """Whether a term of ORDER BY is a position among the select list; refuse one outside it."""
        if not (isinstance(node, exp.Literal) and not node.is_string):
            return False
        if not node.this.isdigit() or not 1 <= int(node.this) <= count:
            self.fail(node, f"ORDER BY {node.this}: there is no such column; the result has {count}")
        return True

    def select(self, select: exp.Select, outer: Scope | None) -> list[Output]:
        """Resolve ``SELECT ...``."""
        scope = self.from_clause(select, outer)
        if (where := select.args.get("where")) is not None:
            self.condition(where.this, Place(scope, "in WHERE; use HAVING"))
        free = Place(scope)
        items = self.select_list(select, free)
        group = select.args.get("group")
        if group is not None:
            self.group_by(group, items, Place(scope, "in GROUP BY"))
        if (having := select.args.get("having")) is not None:
            self.condition(having.this, free)
        outputs = self.outputs(items)
        if (order := select.args.get("order")) is not None:
            self.order_by(order, items, outputs, free, is_distinct=bool(select.args.get("distinct")))
        if select.args.get("distinct"):
            for item, output in zip(items, outputs, strict=True):
                if output.typed.kind is Kind.OTHER and not output.typed.field.type.is_array:
                    self.fail(item, f"DISTINCT cannot compare {output.name}")
        self.check_grouping(select, items, scope)
        select.set("expressions", [labelled(item, output) for item, output in zip(items, outputs, strict=True)])
        return outputs

    # -- FROM -----------------------------------------------------------------------------------

    def from_clause(self, select: exp.Select, outer: Scope | None) -> Scope:
        """Tables of a query."""
        return Scope(self.relations(select.args["from_"].this, select.args.get("joins") or [], outer, []), outer)

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
            self.fail(join, "FULL JOIN needs an equality of columns in ON; other conditions alone are not supported")
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
                self.fail(name, f"the columns {name.this} on both sides have types that cannot be compared")
            conditions.append(exp.EQ(this=self.reference(one), expression=self.reference(other)))
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
            self.fail(name, f"the {side} side of the join has {count} {self.spelt([name])}")
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
        name = self.spelt(parts)
        if found:
            choices = " or ".join(sorted(table.qualified_name for table in found))
            self.fail(node, f"table {name} is ambiguous: {choices}")
        plain = ".".join(part.this for part in parts)
        return self.fail(node, f"unknown table {name}{self.catalog.close_to(plain)}")

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
                    self.fail(name, f"two tables are called {name.this}; give each an alias of its own")
        elif any(source.table is table and not source.has_alias for source in known):
            self.fail(name, f"{table.qualified_name} stands in FROM twice; give each an alias: {name.this} AS a")
        used = {source.alias for source in known} | (outer.aliases() if outer is not None else set())
        source = Source(unique(name.this, used), name.this, bool(name.quoted), columns, table, has_alias)
        node.set("alias", exp.TableAlias(this=quoted(source.alias)))
        known.append(source)
        return source

    # -- select list, GROUP BY, ORDER BY --------------------------------------------------------

    def select_list(self, select: exp.Select, place: Place) -> list[exp.Expr]:
        """Resolve the items and write out what ``*`` means; each keeps its wanted name in ``meta["name"]``."""
        items: list[exp.Expr] = []
        for item in select.expressions:
            if isinstance(item, exp.Star):
                for relation in place.scope.relations:
                    items += [self.starred(found) for found in relation.star()]
            elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
                source = self.qualifier(item, parts_of(item)[:-1], place.scope)
                items += [self.starred((source, column)) for column in source.columns]
            else:
                items.append(self.select_item(item, place))
        return items

    def starred(self, found: Found) -> exp.Expr:
        """Column that a star stands for."""
        node = self.reference(found)
        node.meta["name"] = found_column(found).name
        return node

    def select_item(self, item: exp.Expr, place: Place) -> exp.Expr:
        """One written item."""
        holder = item if isinstance(item, exp.Alias) else exp.Alias(this=item)
        spelt = holder.this.this.this if isinstance(holder.this, exp.Column) else None
        text = holder.this.meta.get("text")
        value = self.visit(holder.this, place)
        node: exp.Expr = holder.this
        if value.kind is Kind.BOOLEAN and isinstance(node, CONDITIONS):
            self.fail(node, "expected a value, found a condition")
        if isinstance(item, exp.Alias):
            node.meta["alias"] = item.args["alias"].this
            node.meta["alias_quoted"] = item.args["alias"].quoted
        node.meta["name"] = node.meta.get("alias") or spelt
        node.meta["text"] = text
        return node

    def outputs(self, items: list[exp.Expr]) -> list[Output]:
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
            outputs.append(Output(name, physical, Typed(value.renamed(name), value.sql)))
        return outputs

    def group_by(self, group: exp.Group, items: list[exp.Expr], place: Place) -> None:
        """Resolve GROUP BY; a name that no table has may be one of the select list."""
        terms = group.expressions
        for index, node in enumerate(terms):
            if isinstance(node, exp.Literal):
                self.fail(node, "GROUP BY takes columns and expressions, not positions or constants")
            if isinstance(node, exp.Column) and len(parts_of(node)) == 1:
                name = node.this
                found = any(relation.named(name) for scope in place.scope.chain() for relation in scope.relations)
                aliased = [item for item in items if "alias" in item.meta and names(name, item.meta["alias"])]
                if not found and len(aliased) == 1:
                    self.extension("GROUP BY", node)
                    if any(own_aggregates(aliased[0])):
                        self.fail(node, f"{name.this} is an aggregate; GROUP BY cannot use it")
                    copy = aliased[0].copy()
                    group.set("expressions", copy, index)
                    continue
            self.visit(node, place)

    def order_by(
        self,
        order: exp.Order,
        items: list[exp.Expr],
        outputs: list[Output],
        place: Place,
        *,
        is_distinct: bool,
    ) -> None:
        """Resolve ORDER BY: a position, a name of the result, else an expression."""
        for term in order.expressions:
            node = term.this
            if self.position(node, len(items)):
                continue
            if isinstance(node, exp.Column) and len(parts_of(node)) == 1:
                name = node.this
                places = [place for place, output in enumerate(outputs, 1) if names(name, output.name)]
                places = [p for p in places if "alias" in items[p - 1].meta] or places
                if len(places) == 1:
                    term.set("this", exp.Literal.number(places[0]))
                    continue
                if len(places) > 1:
                    self.fail(node, f"{self.spelt([name])} is ambiguous: several columns of the result are called so")
            value = self.visit(node, place)
            self.check_comparable(term.this, value, "ORDER BY")
            if isinstance(term.this, exp.Literal) or value.kind is Kind.NULL:
                self.fail(term, "ORDER BY a constant has no meaning")
            if is_distinct:
                key = key_of(term.this)
                same = [place for place, item in enumerate(items, 1) if key_of(item) == key]
                if not same:
                    self.fail(term, "with DISTINCT, ORDER BY can use only what the select list has")
                term.set("this", exp.Literal.number(same[0]))

    def check_grouping(self, select: exp.Select, items: list[exp.Expr], scope: Scope) -> None:
        """With aggregates, all else must be grouped."""
        group = select.args.get("group")
        having = select.args.get("having")
        order = select.args.get("order")
        ordered = [term.this for term in order.expressions] if order is not None else []
        parts = [*items, *([having.this] if having is not None else []), *ordered]
        if group is None and having is None and not any(any(own_aggregates(part)) for part in parts):
            return
        keys = {key_of(term) for term in group.expressions} if group is not None else set()
        local = {id(source) for source in scope.sources}
        for part in parts:
            self.check_grouped(part, keys, local)

    def check_grouped(self, node: exp.Expr, keys: set[object], local: set[int]) -> None:
        """Refuse a column that is neither grouped nor inside an aggregate."""
        if isinstance(node, exp.AggFunc):
            return
        if isinstance(node, exp.Column):
            source = node.meta.get("source")
            if source is not None and id(source) in local and key_of(node) not in keys:
                name = f"{source.shown}.{adql_identifier(node.meta['published'])}"
                self.fail(node, f"column {name} must stand in GROUP BY or inside an aggregate function")
            return
        if (
            keys
            and not isinstance(node, (exp.Identifier, exp.Literal))
            and "typed" in node.meta
            and key_of(node) in keys
        ):
            return
        for child in children(node):
            self.check_grouped(child, keys, local)

    # -- columns --------------------------------------------------------------------------------

    def reference(self, found: Found) -> exp.Expr:
        """Node for a column that was found."""
        if isinstance(found, Merged):
            nodes = [self.reference(part) for part in found.parts]
            if len(nodes) == 1:
                return nodes[0]
            merged = exp.Coalesce(this=nodes[0], expressions=nodes[1:])
            merged.meta["typed"] = found.column.typed
            return merged
        source, column = found
        node = exp.Column(this=quoted(column.physical), table=quoted(source.alias))
        node.meta.update(typed=column.typed, source=source, column=column.physical, published=column.name)
        return node

    def qualifier(self, node: exp.Expr, parts: list[exp.Identifier], scope: Scope) -> Source:
        """Find the one thing in FROM that a qualifier means."""
        for level in scope.chain():
            found = [source for source in level.sources if source.is_called(parts)]
            if len(found) == 1:
                return found[0]
            if found:
                self.fail(node, f"{self.spelt(parts)} is ambiguous: {' or '.join(source.shown for source in found)}")
        known = [source.shown for level in scope.chain() for source in level.sources]
        hint = did_you_mean(parts[-1].this, known) or f"; FROM has {', '.join(known[:5])}"
        return self.fail(node, f"{self.spelt(parts)} is no table or alias in FROM{hint}")

    def column(self, node: exp.Column, place: Place) -> Typed:
        """Resolve a column in place."""
        parts = parts_of(node)
        if len(parts) > 1:
            source = self.qualifier(node, parts[:-1], place.scope)
            columns = source.columns.named(parts[-1])
            found: list[Found] = [(source, column) for column in columns]
            if not found:
                hint = did_you_mean(parts[-1].this, [column.name for column in source.columns])
                self.fail(node, f"{source.shown} has no column {self.spelt(parts[-1:])}{hint}")
        else:
            found = self.unqualified(node, parts[0], place.scope)
        if len(found) > 1:
            self.fail(node, f"column {self.spelt(parts)} is ambiguous: {' or '.join(candidates(found))}")
        only = found[0]
        value = found_column(only).typed
        if isinstance(only, Merged):
            replacement = self.reference(only)
            replacement.meta.setdefault("at", node.meta.get("at"))
            replacement.meta.setdefault("name", None)
            node.replace(replacement)
            return value
        source, column = only
        for key in ("db", "catalog"):
            node.args.pop(key, None)
        node.set("this", quoted(column.physical))
        node.set("table", quoted(source.alias))
        meta = node.meta
        meta["typed"], meta["source"], meta["column"], meta["published"] = value, source, column.physical, column.name
        return value

    def unqualified(self, node: exp.Column, name: exp.Identifier, scope: Scope) -> list[Found]:
        """Columns that a bare name can mean, in the innermost scope that has any."""
        for level in scope.chain():
            found = [item for relation in level.relations for item in relation.named(name)]
            if found:
                return found
        known = [column.name for level in scope.chain() for source in level.sources for column in source.columns]
        hint = did_you_mean(name.this, known)
        if not hint and name.quoted:
            hint = "; strings stand in single quotes"
        return self.fail(node, f"unknown column {self.spelt([name])}{hint}")

    # -- expressions ----------------------------------------------------------------------------

    def condition(self, node: exp.Expr, place: Place) -> None:
        """Resolve something that must be true or false."""
        value = self.visit(node, place)
        if value.kind is not Kind.BOOLEAN:
            self.fail(node, f"expected a condition, found a {value.kind}")

    def visit(self, node: exp.Expr, place: Place) -> Typed:
        """Resolve an expression and everything below it, once: afterwards its columns have physical names."""
        known: Typed | None = node.meta.get("typed")
        if known is not None:
            return known
        value = VISITORS[type(node)](self, node, place)
        if "typed" not in node.meta:
            node.meta["typed"] = value
        return value

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
            self.fail(node, f"{operator} needs numbers, found a {value.kind}")
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
                self.fail(operand, f"|| needs strings, found a {value.kind}; use CAST(... AS VARCHAR)")
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
        self.compare(node, node.this, left, node.expression, right)
        return IS_TRUE

    def compare(self, node: exp.Expr, left_node: exp.Expr, left: Typed, right_node: exp.Expr, right: Typed) -> None:
        """Check that two values can be compared; mend what the extensions allow."""
        self.check_comparable(left_node, left, "comparison")
        self.check_comparable(right_node, right, "comparison")
        if comparable(left, right):
            return
        for one, other_node, other in ((left, right_node, right), (right, left_node, left)):
            if one.kind is Kind.TIMESTAMP and other.kind is Kind.TEXT and isinstance(other_node, exp.Literal):
                self.extension("TIMESTAMP", other_node)
                self.check_timestamp(other_node)
                other_node.meta["typed"] = typed(TIMESTAMP)
                other_node.meta["timestamp"] = True
                return
            if one.kind is Kind.BOOLEAN and isinstance(other_node, exp.Literal):
                truth = TRUTH.get(other_node.this.lower())
                if truth is not None:
                    self.extension("BOOLEAN", other_node)
                    replacement = exp.Boolean(this=truth)
                    replacement.meta["typed"] = IS_TRUE
                    other_node.replace(replacement)
                    return
        self.fail(node, f"a {left.kind} cannot be compared with a {right.kind}; use CAST")

    def check_comparable(self, node: exp.Expr, value: Typed, what: str) -> None:
        """Refuse values that have no order."""
        if value.kind in GEOMETRIES:
            self.fail(node, f"{what}: a {value.kind} cannot be compared; use CONTAINS, INTERSECTS or DISTANCE")
        if value.kind not in COMPARABLE:
            self.fail(node, f"{what}: an array cannot be compared")

    def between(self, node: exp.Between, place: Place) -> Typed:
        """``x BETWEEN low AND high``."""
        value = self.visit(node.this, place)
        for key in ("low", "high"):
            bound = self.visit(node.args[key], place)
            self.compare(node, node.this, value, node.args[key], bound)
        return IS_TRUE

    def membership(self, node: exp.In, place: Place) -> Typed:
        """``x IN (...)``."""
        value = self.visit(node.this, place)
        query = node.args.get("query")
        if query is None:
            for item in list(node.expressions):
                self.compare(item, node.this, value, item, self.visit(item, place))
            return IS_TRUE
        outputs = self.query(query.this, place.scope)
        if len(outputs) != 1:
            self.fail(query, f"a subquery after IN has one column; this one has {len(outputs)}")
        self.check_comparable(node.this, value, "IN")
        if not comparable(value, outputs[0].typed):
            self.fail(query, f"a {value.kind} cannot be compared with the subquery's {outputs[0].typed.kind}")
        if outputs[0].typed.sql == UNKNOWN:
            force_types(query.this, [settled(value).sql])
        return IS_TRUE

    def pattern(self, node: exp.Binary, place: Place) -> Typed:
        """LIKE, ILIKE."""
        for operand in (node.this, node.expression):
            value = self.visit(operand, place)
            if value.kind not in {Kind.TEXT, Kind.NULL}:
                self.fail(operand, f"{type(node).__name__.upper()} needs strings, found a {value.kind}")
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
            self.fail(node, f"a subquery used as a value has one column; this one has {len(outputs)}")
        return settled(outputs[0].typed)

    def aggregate(self, node: exp.AggFunc, place: Place) -> Typed:
        """COUNT, SUM, AVG, MIN, MAX."""
        name = type(node).__name__.upper()
        if place.aggregates is not None:
            self.fail(node, f"the aggregate function {name} cannot stand {place.aggregates}")
        argument = node.this
        if isinstance(argument, exp.Star):
            return typed(LONG)
        if isinstance(argument, exp.Distinct):
            argument = argument.expressions[0]
        value = self.visit(argument, Place(place.scope, f"inside {name}"))
        if name == "COUNT":
            if isinstance(node.this, exp.Distinct):
                self.check_comparable(argument, value, "COUNT(DISTINCT)")
            return typed(LONG)
        if name in {"SUM", "AVG"}:
            if value.kind not in {Kind.NUMBER, Kind.NULL}:
                self.fail(node, f"{name} needs numbers, found a {value.kind}")
            unit = value.field.unit
            return typed(LONG if name == "SUM" and is_integer(value) else DOUBLE, unit=unit)
        if value.kind not in {Kind.NUMBER, Kind.TEXT, Kind.TIMESTAMP, Kind.NULL}:
            self.fail(node, f"{name} needs numbers, strings or timestamps, found a {value.kind}")
        return typed(value.field.type, settled(value).sql, unit=value.field.unit, ucd=value.field.ucd)

    def cast(self, node: exp.Cast, place: Place) -> Typed:
        """``CAST(x AS type)``."""
        value = self.visit(node.this, place)
        to = node.args["to"].args["kind"]
        if value.kind is not Kind.NULL and value.kind not in CASTS[to]:
            wanted = " or ".join(sorted(CASTS[to]))
            self.fail(node, f"CAST to {to} takes a {wanted}, found a {value.kind}")
        if to == "TIMESTAMP" and isinstance(node.this, exp.Literal):
            self.check_timestamp(node.this)
        if to in {"CHAR", "VARCHAR"}:
            length = node.args["to"].expressions
            size = f"{length[0].this}*" if length else "*"
            return typed(VOType(value.field.type.datatype if value.kind is Kind.TEXT else Datatype.CHAR, size), "text")
        unit = value.field.unit if value.kind is Kind.NUMBER else None
        return typed(CAST_RESULTS[to], unit=unit)

    def check_timestamp(self, node: exp.Literal) -> None:
        """Refuse a literal that is no timestamp (DALI 1.1, "Timestamp")."""
        form = TIMESTAMP_FORM.fullmatch(node.this.strip())
        if form is None or not is_instant(f"{form[1]}T{form[2] or '00:00:00'}"):
            self.fail(node, f"{node.this!r} is no timestamp; write it as '2024-03-01T12:30:00'")

    def case(self, node: exp.Case, place: Place) -> Typed:
        """CASE."""
        subject = node.args.get("this")
        value = self.visit(subject, place) if subject is not None else None
        results: list[exp.Expr] = []
        for arm in node.args["ifs"]:
            if value is None or subject is None:
                self.condition(arm.this, place)
            else:
                self.compare(arm.this, subject, value, arm.this, self.visit(arm.this, place))
            results.append(arm.args["true"])
        if (default := node.args.get("default")) is not None:
            results.append(default)
        return self.common_type(results, place, "CASE")

    def coalesce(self, node: exp.Coalesce, _: Place) -> Typed:
        """Type a merged column of a FULL JOIN, already resolved."""
        value: Typed = node.meta["typed"]
        return value

    def common_type(self, nodes: Sequence[exp.Expr], place: Place, what: str) -> Typed:
        """One type for several values."""
        common = NULL
        for item in list(nodes):
            value = self.visit(item, place)
            both = unify(common, value)
            if both is None:
                self.fail(item, f"{what} has a {common.kind} and a {value.kind}; all values need one type")
            common = both
        common = settled(common)
        unit = nodes[0].meta["typed"].field.unit if all_same_unit(nodes) else None
        return typed(common.field.type, common.sql, unit=unit)

    def call(self, node: exp.Anonymous, place: Place) -> Typed:
        """Call of a function."""
        name = node.this.upper()
        if name in functions.NOT_BUILT:
            self.fail(node, functions.NOT_BUILT[name])
        if name in functions.GEOMETRY_FUNCTIONS or name == functions.RANGE:
            return self.geometry(node, name, place)
        if name == "COALESCE":
            if not node.expressions:
                self.fail(node, "COALESCE needs at least one argument")
            return self.common_type(node.expressions, place, name)
        if name == "NULLIF":
            if len(node.expressions) != 2:
                self.fail(node, f"NULLIF takes two arguments, found {len(node.expressions)}")
            values = [self.visit(item, place) for item in list(node.expressions)]
            if values[0].kind is Kind.NULL:
                self.fail(node, "NULLIF of NULL is NULL; leave it out")
            self.compare(node, node.expressions[0], values[0], node.expressions[1], values[1])
            return typed(values[0].field.type, settled(values[0]).sql, unit=values[0].field.unit)
        function = functions.FUNCTIONS.get(name)
        if function is None:
            self.fail(node, f"unknown function {node.this}{did_you_mean(name, functions.names(), str)}")
        node.set("this", name)
        arguments = [self.visit(item, place) for item in list(node.expressions)]
        most = len(function.parameters)
        if not most - function.optional <= len(arguments) <= most:
            self.fail(node, f"{name} is called as {function.signature}; found {len(arguments)} arguments")
        for parameter, argument, item in zip(function.parameters, arguments, node.expressions, strict=False):
            if not functions.fits(parameter, argument):
                what = "a whole number" if parameter.is_integer else f"a {parameter.kind}"
                self.fail(item, f"argument {parameter.name} of {function.signature} is {what}, found a {argument.kind}")
        return function.result(arguments)

    def geometry(self, node: exp.Anonymous, name: str, place: Place) -> Typed:
        """Call of a geometry function."""
        node.set("this", name)
        items = list(node.expressions)
        if name in functions.CONSTRUCTORS and items:
            self.drop_coordinate_system(node, items, place)
        arguments = [self.visit(item, place) for item in list(node.expressions)]
        result = functions.geometry_result(name, arguments)
        if result is None:
            forms = " or ".join(functions.GEOMETRY_FUNCTIONS[name].signatures)
            shown = ", ".join(argument.kind for argument in arguments) or "nothing"
            self.fail(node, f"{name} is called as {forms}; found {shown}")
        return result

    def drop_coordinate_system(self, node: exp.Anonymous, items: list[exp.Expr], place: Place) -> None:
        """Take away the deprecated first argument; only ICRS is known."""
        first = items[0]
        if isinstance(first, exp.Literal) and first.is_string:
            if first.this.strip().upper() not in functions.COORDINATE_SYSTEMS:
                self.fail(first, f"coordinate system {first.this!r} is not supported; all positions are ICRS")
            node.set("expressions", items[1:])
        elif isinstance(first, exp.Column) and len(items) in {3, 4, 7} and node.this != "BOX":
            value = self.visit(first, place)
            if value.kind is Kind.TEXT:
                self.fail(first, "a coordinate system is a string literal, 'ICRS'; or leave it out")


TIMESTAMP_FORM = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}:\d{2})(\.\d+)?)?Z?", re.ASCII)
"""Timestamps as ADQL 2.1, "CAST", has them; a blank instead of T is how many people write them."""

SYMBOLS: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}

TRUTH = {"1": True, "0": False, "true": True, "false": False, "t": True, "f": False}
"""What clients compare boolean columns with."""

VISITORS: dict[type[exp.Expr], Callable[..., Typed]] = {
    exp.Column: Resolver.column,
    exp.Literal: Resolver.literal,
    exp.Null: Resolver.null,
    exp.Boolean: Resolver.boolean,
    exp.Paren: Resolver.paren,
    exp.Neg: Resolver.negation,
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div), Resolver.arithmetic),
    exp.DPipe: Resolver.concatenation,
    **dict.fromkeys((exp.And, exp.Or), Resolver.connection),
    exp.Not: Resolver.negated,
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE), Resolver.comparison),
    exp.Between: Resolver.between,
    exp.In: Resolver.membership,
    **dict.fromkeys((exp.Like, exp.ILike), Resolver.pattern),
    exp.Is: Resolver.null_test,
    exp.Exists: Resolver.exists,
    exp.Subquery: Resolver.scalar,
    **dict.fromkeys((exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max), Resolver.aggregate),
    exp.Cast: Resolver.cast,
    exp.Case: Resolver.case,
    exp.Coalesce: Resolver.coalesce,
    exp.Anonymous: Resolver.call,
}
"""Each method takes the nodes it is listed for."""


def is_instant(text: str) -> bool:
    """Whether an ISO 8601 text names an instant that exists."""
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def quoted(name: str) -> exp.Identifier:
    """Make an identifier that is printed in quotes."""
    return exp.Identifier(this=name, quoted=True)


def _in_quotes(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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


def columns_of(outputs: Sequence[Output]) -> Columns:
    """Tell what a subquery offers."""
    return Columns(SourceColumn(output.name, output.physical, settled(output.typed)) for output in outputs)


def labelled(item: exp.Expr, output: Output) -> exp.Alias:
    """Item of a select list under its printed name."""
    alias = exp.Alias(this=item, alias=quoted(output.physical))
    alias.meta["typed"] = item.meta["typed"]
    return alias


def settled(value: Typed) -> Typed:
    """Type of a column: literals and NULL have found their type by then."""
    if value.sql == DECIMAL:
        return Typed(value.field, "double precision")
    return Typed(value.field, "text") if value.sql == UNKNOWN else value


def comparable(left: Typed, right: Typed) -> bool:
    """Whether PostgreSQL has an order for both together."""
    return left.kind is right.kind or Kind.NULL in (left.kind, right.kind)


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


def generated_name(item: exp.Expr, place: int) -> str:
    """Legal name for an expression without one."""
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


def own_aggregates(node: exp.Expr) -> Iterator[exp.Expr]:
    """Find the aggregates of a node that are not in a subquery."""
    if isinstance(node, exp.AggFunc):
        yield node
    elif not isinstance(node, exp.Query):
        for child in children(node):
            yield from own_aggregates(child)


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


def unit_of(symbol: str, node: exp.Binary) -> str | None:
    """Infer the unit of an arithmetic expression where it is plain: sums of one unit, multiples by plain numbers."""
    one: str | None = node.this.meta["typed"].field.unit
    other: str | None = node.expression.meta["typed"].field.unit
    if symbol in "+-":
        return one if one == other else None
    if isinstance(node.expression.unnest(), exp.Literal):
        return one
    return other if symbol == "*" and isinstance(node.this.unnest(), exp.Literal) else None


def all_same_unit(nodes: Sequence[exp.Expr]) -> bool:
    """Whether several values have one unit."""
    return len({node.meta["typed"].field.unit for node in nodes if node.meta["typed"].kind is not Kind.NULL}) == 1
