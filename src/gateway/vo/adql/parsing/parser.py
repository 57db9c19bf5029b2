"""Strict parser of ADQL 2.1: text in, a tree of stock sqlglot nodes out.

Recursive descent for the clauses, operator precedence (Pratt) for expressions. Nothing is guessed or dropped: what the
grammar and the table of extensions do not know is an error with line, column, what was found and what was expected.

Each name and function carries its place in ``node.meta["at"]``, an offset into the text.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp
from typing_extensions import override

from gateway.vo.adql.parsing.lexer import Kind, Source
from gateway.vo.adql.parsing.reader import identifier
from gateway.vo.adql.parsing.terms import ExpressionParser
from gateway.vo.adql.parsing.words import HINTS, JOIN_WORDS

__all__ = ["MAX_TABLES", "Parser", "parse_tokens"]

MAX_SET_OPERANDS = 64
"""Longest chain of UNION, EXCEPT, INTERSECT, for the same reason."""

MAX_TABLES = 100
"""Most tables in one FROM clause; PostgreSQL's planner takes seconds for more."""


def parse_tokens(source: Source, *, strict: bool) -> exp.Query:
    """Parse a whole query.

    Parameters
    ----------
    source
        Text of the query.
    strict
        Refuse the extensions.

    Raises
    ------
    QueryError
        The text is not a query of ADQL.
    """
    return Parser(source, strict=strict).whole_query()


class Parser(ExpressionParser):
    """Parses one query."""

    def whole_query(self) -> exp.Query:
        """``[WITH ...] select [;]`` and nothing after it."""
        if self.tokens[0].kind is Kind.END:
            self.fail_at(0, "the query is empty; begin with SELECT")
        with_ = self.common_tables() if self.accept("WITH") else None
        query = self.query()
        if self.keys[self.place] == ";":
            self.extension("SEMICOLON", self.place)
            self.place += 1
            if self.tokens[self.place].kind is not Kind.END:
                self.fail_at(self.place, f"found {self.found()} after the semicolon; give one query at a time")
        if self.tokens[self.place].kind is not Kind.END:
            self.fail("the end of the query")
        if with_ is not None:
            query.set("with_", with_)
        return query

    def common_tables(self) -> exp.With:
        """``name AS (query), ...`` after WITH."""
        tables = []
        while True:
            if self.tokens[self.place].text.upper() == "RECURSIVE":
                self.fail_at(self.place, "recursive common table expressions are not supported")
            name = self.name("the name of a common table expression")
            self.expect("AS")
            self.expect("(", "'(' and a query")
            with self.nested():
                query = self.query()
            self.expect(")")
            tables.append(exp.CTE(this=query, alias=exp.TableAlias(this=name)))
            if not self.accept(","):
                return exp.With(expressions=tables)

    @override
    def query(self) -> exp.Query:
        """Query with its set operators, ORDER BY and OFFSET."""
        query = self.set_expression()
        order = self.order_by() if self.keys[self.place] == "ORDER" else None
        offset = None
        if self.accept("OFFSET"):
            offset = exp.Offset(expression=exp.Literal.number(self.unsigned("the number of rows to skip")))
        if order or offset:
            if (
                query.args.get("order")
                or query.args.get("offset")
                or (isinstance(query, exp.Select) and query.meta.get("parenthesised") and query.args.get("limit"))
            ):  # of a query in parentheses
                query = wrapped(query)
            if order:
                query.set("order", order)
            if offset:
                query.set("offset", offset)
        return query

    def set_expression(self) -> exp.Query:
        """``term {UNION | EXCEPT [ALL] term}``, left to right."""
        left = self.set_term()
        count = 1
        while self.keys[self.place] in {"UNION", "EXCEPT"}:
            count = self.count_operand(count)
            kind = exp.Union if self.keys[self.place] == "UNION" else exp.Except
            self.place += 1
            left = self.set_operation(kind, left, self.set_term)
        return left

    def set_term(self) -> exp.Query:
        """``primary {INTERSECT [ALL] primary}``."""
        left = self.set_primary()
        count = 1
        while self.accept("INTERSECT"):
            count = self.count_operand(count)
            left = self.set_operation(exp.Intersect, left, self.set_primary)
        return left

    def count_operand(self, count: int) -> int:
        """One more operand of a set operator."""
        if count >= MAX_SET_OPERANDS:
            self.fail_at(self.place, f"more than {MAX_SET_OPERANDS} queries are combined; simplify the query")
        return count + 1

    def set_operation(
        self, kind: type[exp.SetOperation], left: exp.Query, parse_right: Callable[[], exp.Query]
    ) -> exp.Query:
        """Combine two queries."""
        at = self.tokens[self.place - 1].start
        keep_all = self.accept("ALL")
        if self.keys[self.place] not in {"SELECT", "("}:
            self.fail("a query (SELECT ...)")
        node = kind(this=operand(left), expression=operand(parse_right()), distinct=not keep_all)
        node.meta["at"] = at
        return node

    def set_primary(self) -> exp.Query:
        """Plain query, or any in parentheses."""
        if self.keys[self.place] == "SELECT":
            return self.select()
        if self.accept("("):
            with self.nested():
                query = self.query()
            self.expect(")")
            query.meta["parenthesised"] = True
            return query
        return self.fail("SELECT")

    def select(self) -> exp.Select:
        """``SELECT ... FROM ... WHERE ... GROUP BY ... HAVING ...``."""
        at = self.tokens[self.place].start
        self.place += 1
        args: dict[str, object] = {}
        if self.accept("DISTINCT"):
            args["distinct"] = exp.Distinct()
        else:
            self.accept("ALL")
        if self.accept("TOP"):
            args["limit"] = exp.Limit(expression=exp.Literal.number(self.unsigned("the number of rows after TOP")))
            if self.keys[self.place] in {"DISTINCT", "ALL"}:
                self.fail_at(self.place, f"{self.found()} stands before TOP: SELECT DISTINCT TOP n ...")
        args["expressions"] = self.select_list()
        self.expect("FROM", "',', AS or FROM")
        args["from_"], args["joins"] = self.tables()
        if self.accept("WHERE"):
            args["where"] = exp.Where(this=self.condition())
        if self.accept("GROUP"):
            self.expect("BY")
            args["group"] = exp.Group(expressions=self.listed(self.value))
        if self.accept("HAVING"):
            args["having"] = exp.Having(this=self.condition())
        node = exp.Select(**args)
        node.meta["at"] = at
        return node

    def select_list(self) -> list[exp.Expr]:
        """``*`` alone, or items; as an extension both."""
        start = self.place
        items = self.listed(self.select_item)
        if len(items) > 1 and any(isinstance(item, exp.Star) for item in items):
            self.extension("*, x", start)
        return items

    def select_item(self) -> exp.Expr:
        """``expression [[AS] name]``, ``table.*`` or ``*``."""
        if (star := self.qualified_star()) is not None:
            return star
        if self.keys[self.place] == "*":
            self.place += 1
            return self.at(exp.Star(), self.tokens[self.place - 1])
        if self.keys[self.place] == "FROM":
            self.fail("an expression")
        node = self.value()
        if self.accept("AS"):
            return exp.Alias(this=node, alias=self.name("a name after AS"))
        if self.at_name():
            return exp.Alias(this=node, alias=self.name("a name"))
        return node

    def qualified_star(self) -> exp.Column | None:
        """``table.*``, or ``None`` if something else is next."""
        place = self.place
        while self.tokens[place].kind in (Kind.NAME, Kind.QUOTED) and self.keys[place + 1] == ".":
            place += 2
        if place == self.place or self.keys[place] != "*":
            return None
        parts = [identifier(token) for token in self.tokens[self.place : place : 2]]
        if len(parts) > 3:
            self.fail_at(self.place, "a table's name has at most three parts")
        node = exp.Column(this=exp.Star(), **dict(zip(("table", "db", "catalog"), reversed(parts), strict=False)))
        node.meta["at"] = self.tokens[self.place].start
        self.place = place + 1
        return node

    def tables(self) -> tuple[exp.From, list[exp.Join]]:
        """Parse what stands after FROM."""
        first, joins = self.joined()
        while self.accept(","):
            table, more = self.joined()
            joins += [exp.Join(this=table), *more]
            self.count_tables(joins)
        return exp.From(this=first), joins

    def count_tables(self, joins: list[exp.Join]) -> None:
        """Refuse too many tables."""
        if len(joins) >= MAX_TABLES:
            self.fail_at(self.place - 1, f"more than {MAX_TABLES} tables are joined; simplify the query")

    def joined(self) -> tuple[exp.Expr, list[exp.Join]]:
        """One table and what is joined to it."""
        first = self.table()
        joins: list[exp.Join] = []
        while self.keys[self.place] in JOIN_WORDS:
            joins.append(self.join())
            self.count_tables(joins)
        return first, joins

    def join(self) -> exp.Join:
        """``[NATURAL] [INNER | LEFT | RIGHT | FULL [OUTER]] JOIN table [ON ... | USING (...)]``."""
        start = self.place
        args: dict[str, object] = {}
        cross = self.accept("CROSS")
        natural = not cross and self.accept("NATURAL")
        if not cross and not self.accept("INNER"):
            for side in ("LEFT", "RIGHT", "FULL"):
                if self.accept(side):
                    args["side"] = side
                    self.accept("OUTER")
                    break
        self.expect("JOIN")
        right = self.table()
        if not cross and not natural and self.keys[self.place] in JOIN_WORDS:
            right = self.nested_join(right)
        args["this"] = right
        if cross:
            self.extension("CROSS JOIN", start)
            args["kind"] = "CROSS"
        elif natural:
            args["method"] = "NATURAL"
        elif self.accept("ON"):
            args["on"] = self.condition()
        elif self.accept("USING"):
            self.expect("(")
            args["using"] = self.listed(lambda: self.name("a column's name"))
            self.expect(")")
        else:
            self.fail("ON or USING after a joined table")
        if natural and self.keys[self.place] in {"ON", "USING"}:
            self.fail_at(self.place, f"{self.found()} cannot follow NATURAL JOIN, which joins by all common names")
        node = exp.Join(**args)
        node.meta["at"] = self.tokens[start].start
        return node

    def nested_join(self, first: exp.Expr) -> exp.Expr:
        """``b JOIN c ON ...`` on the right of a JOIN whose own ON follows."""
        joins: list[exp.Join] = []
        with self.nested():
            while self.keys[self.place] in JOIN_WORDS:
                joins.append(self.join())
                self.count_tables(joins)
        first.set("joins", joins)
        return exp.Subquery(this=first)

    def table(self) -> exp.Expr:
        """Table's name, subquery with a name, or joined tables in parentheses."""
        at = self.tokens[self.place].start
        if self.keys[self.place] == "(":
            if self.is_query(self.place):
                return self.derived_table()
            return self.joined_in_parentheses()
        parts = [self.name("a table's name")]
        while self.accept("."):
            parts.append(self.name("a table's name after '.'"))
        if len(parts) > 3:
            raise self.source.error("a table's name has at most three parts: catalog.schema.table", at)
        if self.keys[self.place] == "(":
            self.fail_at(self.place, "functions cannot stand in FROM")
        node = exp.Table(**dict(zip(("this", "db", "catalog"), reversed(parts), strict=False)))
        node.meta["at"] = at
        if (alias := self.table_alias()) is not None:
            node.set("alias", alias)
        return node

    def joined_in_parentheses(self) -> exp.Expr:
        """``(table JOIN table ...)``, and with a name ``SELECT *`` of it (SQL-92, "query expression")."""
        at = self.tokens[self.place].start
        self.place += 1
        with self.nested():
            first, joins = self.joined()
        self.expect(")")
        is_joined = isinstance(first, exp.Subquery) and first.args.get("alias") is None
        if not joins and not is_joined:
            self.fail_at(self.place - 1, "parentheses in FROM hold a subquery or joined tables")
        if (alias := self.table_alias()) is not None:
            query = exp.Select(expressions=[exp.Star()], from_=exp.From(this=first), joins=joins)
            query.meta["at"] = at
            node = exp.Subquery(this=query, alias=alias)
            node.meta["at"] = at
            return node
        if not joins:
            return first
        first.set("joins", joins)
        return exp.Subquery(this=first)

    def derived_table(self) -> exp.Subquery:
        """``(query) [AS] name``."""
        at = self.tokens[self.place].start
        self.place += 1
        with self.nested():
            query = self.query()
        self.expect(")")
        alias = self.table_alias()
        if alias is None:
            self.fail("a name for the subquery, as in (SELECT ...) AS q")
        node = exp.Subquery(this=query, alias=alias)
        node.meta["at"] = at
        return node

    def table_alias(self) -> exp.TableAlias | None:
        """``[AS] name``."""
        if not self.accept("AS"):
            if not self.at_name():
                return None
            if self.tokens[self.place].text.upper() in HINTS and self.tokens[self.place].kind is Kind.NAME:
                self.fail("a name or the next clause")
        alias = exp.TableAlias(this=self.name("a name after AS"))
        if self.keys[self.place] == "(":
            self.fail_at(self.place, "names of columns after a table's alias are not supported; name them inside")
        return alias

    def order_by(self) -> exp.Order:
        """``ORDER BY term [ASC | DESC], ...``."""
        self.place += 1
        self.expect("BY")
        return exp.Order(expressions=self.listed(self.order_term))

    def order_term(self) -> exp.Expr:
        """One term of ORDER BY; NULLs are placed as PostgreSQL's indexes have them."""
        at = self.tokens[self.place].start
        node = self.value()
        descending = self.accept("DESC")
        if not descending:
            self.accept("ASC")
        if self.tokens[self.place].text.upper() == "NULLS":
            self.fail_at(self.place, "NULLS FIRST and NULLS LAST are not supported")
        ordered = exp.Ordered(this=node, desc=descending, nulls_first=descending)
        ordered.meta["at"] = at
        return ordered


def operand(query: exp.Query) -> exp.Query:
    """Operand of a set operator, in parentheses where PostgreSQL needs them."""
    plain = isinstance(query, exp.Select) or not query.meta.get("parenthesised")
    if plain and not any(query.args.get(key) for key in ("limit", "offset", "order")):
        return query
    return exp.Subquery(this=query)


def wrapped(query: exp.Query) -> exp.Select:
    """``SELECT * FROM (query)``, which takes clauses of its own."""
    inner = exp.Subquery(this=query, alias=exp.TableAlias(this=exp.Identifier(this="q", quoted=False)))
    star = exp.Star()
    return exp.Select(expressions=[star], from_=exp.From(this=inner))
