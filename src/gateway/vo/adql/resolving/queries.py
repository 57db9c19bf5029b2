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

from dataclasses import dataclass, field

from sqlglot import exp

from gateway.vo.adql.nodes import clone
from gateway.vo.adql.parsing.lexer import Source as Text
from gateway.vo.adql.parsing.terms import CONDITIONS
from gateway.vo.adql.resolving.expressions import Expressions
from gateway.vo.adql.resolving.grouping import check_grouping
from gateway.vo.adql.resolving.outputs import Output, force_types, labelled, outputs_of
from gateway.vo.adql.resolving.problems import Problems
from gateway.vo.adql.resolving.references import found_column, reference
from gateway.vo.adql.resolving.scopes import Catalog, Found, Place, Scope, did_you_mean
from gateway.vo.adql.resolving.tables import FromClauses
from gateway.vo.adql.tree import (
    has_aggregates,
    key_of,
    names,
    parts_of,
    spelt,
)
from gateway.vo.adql.types import UNKNOWN, Kind, settled, unify
from gateway.vo.tableset import Table, Tableset


@dataclass(slots=True)
class Resolved:
    """What is known of a whole query."""

    outputs: list[Output]
    tables: list[Table] = field(default_factory=list)


class Resolver:
    """Resolves one query."""

    def __init__(self, text: Text, tableset: Tableset, *, strict: bool) -> None:
        self.problems = Problems(text, strict)
        self.expressions = Expressions(self.problems, self.query)
        self.from_ = FromClauses(
            self.problems, Catalog.of(tableset), query=self.query, condition=self.expressions.condition
        )

    def whole_query(self, query: exp.Query) -> Resolved:
        """Resolve a query with its common table expressions."""
        with_ = query.args.get("with_")
        if with_ is not None:
            for common in with_.expressions:
                self.from_.common_table(common)
        outputs = self.query(query, None)
        return Resolved(outputs, list(self.from_.tables.values()))

    def query(self, query: exp.Query, outer: Scope | None) -> list[Output]:
        """Resolve a query of any kind; ``outer`` is what its expressions can see around it."""
        if isinstance(query, exp.Select):
            return self.select(query, outer)
        if isinstance(query, exp.Subquery):
            return self.query(query.this, outer)
        if isinstance(query, exp.SetOperation):
            return self.set_operation(query, outer)
        return self.problems.fail(query, "this kind of query is not supported")

    def set_operation(self, query: exp.SetOperation, outer: Scope | None) -> list[Output]:
        """UNION, EXCEPT, INTERSECT: as many columns, of the same types; described as on the left."""
        left, right = self.query(query.this, outer), self.query(query.expression, outer)
        word = type(query).__name__.upper()
        if len(left) != len(right):
            self.problems.fail(
                query, f"{word} of {len(left)} and {len(right)} columns; both queries need the same number"
            )
        outputs = []
        for place, (one, other) in enumerate(zip(left, right, strict=True), 1):
            common = unify(one.typed, other.typed)
            if common is None:
                self.problems.fail(
                    query,
                    f"column {place} of {word} is a {one.typed.kind} on the left ({one.name}) and a {other.typed.kind} on "
                    f"the right ({other.name}); cast one of them",
                )
            if common.kind is Kind.OTHER and word != "UNION" and query.args.get("distinct"):
                self.problems.fail(query, f"column {place} of {word} is an array, which cannot be compared")
            if common.sql != UNKNOWN:  # else a further operand tells
                common = settled(common)
            outputs.append(Output(one.name, one.physical, common, one.written))
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
            self.problems.fail(node, f"{spelt([name])} is {problem}{'' if places else did_you_mean(name.this, known)}")
        self.problems.fail(term, f"after {word}, ORDER BY takes a name or a position of the result's columns only")

    def position(self, node: exp.Expr, count: int) -> bool:
        """Whether a term of ORDER BY is a position among the select list; refuse one outside it."""
        if not (isinstance(node, exp.Literal) and not node.is_string):
            return False
        if not node.this.isdigit() or not 1 <= int(node.this) <= count:
            self.problems.fail(node, f"ORDER BY {node.this}: there is no such column; the result has {count}")
        return True

    def select(self, select: exp.Select, outer: Scope | None) -> list[Output]:
        """Resolve ``SELECT ...``."""
        scope = self.from_.scope(select, outer)
        if (where := select.args.get("where")) is not None:
            self.expressions.condition(where.this, Place(scope, "in WHERE; use HAVING, or a subquery (SELECT ...)"))
        free = Place(scope)
        items = self.select_list(select, free)
        group = select.args.get("group")
        if group is not None:
            self.group_by(group, items, Place(scope, "in GROUP BY"))
        if (having := select.args.get("having")) is not None:
            self.expressions.condition(having.this, free)
        outputs = outputs_of(items)
        if (order := select.args.get("order")) is not None:
            self.order_by(order, items, outputs, free, is_distinct=bool(select.args.get("distinct")))
        if select.args.get("distinct"):
            for item, output in zip(items, outputs, strict=True):
                if output.typed.kind is Kind.OTHER and not output.typed.field.type.is_array:
                    self.problems.fail(item, f"DISTINCT cannot compare {output.name}")
        check_grouping(self.problems, select, items, scope)
        select.set("expressions", [labelled(item, output) for item, output in zip(items, outputs, strict=True)])
        return outputs

    def select_list(self, select: exp.Select, place: Place) -> list[exp.Expr]:
        """Resolve the items and write out what ``*`` means; each keeps its wanted name in ``meta["name"]``."""
        items: list[exp.Expr] = []
        for item in select.expressions:
            if isinstance(item, exp.Star):
                for relation in place.scope.relations:
                    items += [self.starred(found) for found in relation.star()]
            elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
                source = self.expressions.references.qualifier(item, parts_of(item)[:-1], place.scope)
                items += [self.starred((source, column)) for column in source.columns]
            else:
                items.append(self.select_item(item, place))
        return items

    def starred(self, found: Found) -> exp.Expr:
        """Column that a star stands for."""
        node = reference(found)
        node.meta["name"] = found_column(found).name
        return node

    def select_item(self, item: exp.Expr, place: Place) -> exp.Expr:
        """One written item."""
        holder = item if isinstance(item, exp.Alias) else exp.Alias(this=item)
        bare = holder.this.unnest()
        spelt = bare.this.this if isinstance(bare, exp.Column) else None
        value = self.expressions.visit(holder.this, place)
        node: exp.Expr = holder.this
        if value.kind is Kind.BOOLEAN and isinstance(node, CONDITIONS):
            self.problems.fail(node, "expected a value, found a condition")
        if isinstance(item, exp.Alias):
            node.meta["alias"] = item.args["alias"].this
            node.meta["alias_quoted"] = item.args["alias"].quoted
        node.meta["name"] = node.meta.get("alias") or spelt
        return node

    def group_by(self, group: exp.Group, items: list[exp.Expr], place: Place) -> None:
        """Resolve GROUP BY; a name that no table has may be one of the select list."""
        terms = group.expressions
        for index, node in enumerate(terms):
            if isinstance(node, exp.Literal):
                self.problems.fail(node, "GROUP BY takes columns and expressions, not positions or constants")
            if isinstance(node, exp.Column) and len(parts_of(node)) == 1:
                name = node.this
                found = any(relation.named(name) for scope in place.scope.chain() for relation in scope.relations)
                aliased = [item for item in items if "alias" in item.meta and names(name, item.meta["alias"])]
                if not found and len(aliased) == 1:
                    self.problems.extension("GROUP BY", node)
                    if has_aggregates(aliased[0]):
                        self.problems.fail(node, f"{name.this} is an aggregate; GROUP BY cannot use it")
                    group.set("expressions", clone(aliased[0]), index)
                    continue
            self.expressions.visit(node, place)

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
                    self.problems.fail(
                        node, f"{spelt([name])} is ambiguous: several columns of the result are called so"
                    )
            value = self.expressions.visit(node, place)
            self.expressions.comparisons.check_operand(term.this, value, "ORDER BY")
            if isinstance(term.this, exp.Literal) or value.kind is Kind.NULL:
                self.problems.fail(term, "ORDER BY a constant has no meaning")
            if is_distinct:
                key = key_of(term.this)
                same = [place for place, item in enumerate(items, 1) if key_of(item) == key]
                if not same:
                    self.problems.fail(term, "with DISTINCT, ORDER BY can use only what the select list has")
                term.set("this", exp.Literal.number(same[0]))
