"""Strict parser of ADQL 2.1: text in, a tree of stock sqlglot nodes out.

Recursive descent for the clauses, operator precedence (Pratt) for expressions. Nothing is guessed or dropped: what the
grammar and the table of extensions do not know is an error with line, column, what was found and what was expected.

Each name and function carries its place in ``node.meta["at"]``, an offset into the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from sqlglot import exp

from gateway.vo.adql.extensions import EXTENSIONS
from gateway.vo.adql.lexer import MAX_DEPTH, Kind, Source, Token, tokenize

MAX_HEIGHT = 120
"""Deepest tree of an expression. A chain like ``a + b - c ...`` is as deep as it is long; the later passes are recursive
and need up to five Python frames for each level."""

MAX_SET_OPERANDS = 64
"""Longest chain of UNION, EXCEPT, INTERSECT, for the same reason."""

MAX_TABLES = 100
"""Most tables in one FROM clause; PostgreSQL's planner takes seconds for more."""

OR, AND, NOT, COMPARISON, CONCATENATION, SUM, PRODUCT, SIGN = range(1, 9)

POWERS: dict[str, int] = {
    "OR": OR,
    "AND": AND,
    **dict.fromkeys(("=", "<>", "!=", "<", ">", "<=", ">=", "BETWEEN", "IN", "LIKE", "ILIKE", "IS", "NOT"), COMPARISON),
    "||": CONCATENATION,
    "+": SUM,
    "-": SUM,
    "*": PRODUCT,
    "/": PRODUCT,
}
"""How strongly an operator binds the operand on its left."""

BINARY: dict[str, type[exp.Binary]] = {
    "=": exp.EQ,
    "<>": exp.NEQ,
    "!=": exp.NEQ,
    "<": exp.LT,
    ">": exp.GT,
    "<=": exp.LTE,
    ">=": exp.GTE,
    "+": exp.Add,
    "-": exp.Sub,
    "*": exp.Mul,
    "/": exp.Div,
}

CONDITIONS = (
    exp.And,
    exp.Or,
    exp.Not,
    exp.EQ,
    exp.NEQ,
    exp.LT,
    exp.GT,
    exp.LTE,
    exp.GTE,
    exp.Between,
    exp.In,
    exp.Like,
    exp.ILike,
    exp.Escape,
    exp.Is,
    exp.Exists,
)
"""Nodes that are true or false, never a value of a column."""

AGGREGATES: dict[str, type[exp.AggFunc]] = {
    "COUNT": exp.Count,
    "SUM": exp.Sum,
    "AVG": exp.Avg,
    "MIN": exp.Min,
    "MAX": exp.Max,
}

FUNCTION_WORDS = frozenset(
    """
    ABS ACOS AREA ASIN ATAN ATAN2 BOX CEILING CENTROID CIRCLE COALESCE CONTAINS COORD1 COORD2 COORDSYS COS COT DEGREES
    DISTANCE EXP FLOOR INTERSECTS IN_UNIT LOG LOG10 LOWER MOD NULLIF PI POINT POLYGON POWER RADIANS RAND REGION ROUND SIN
    SQRT TAN TRUNCATE UPPER
    """.split()
)
"""Reserved words that are names of functions."""

SET_OPERATORS = frozenset({"UNION", "EXCEPT", "INTERSECT"})
QUERY_GOES_ON = SET_OPERATORS | {"ORDER", "OFFSET", ")"}
JOIN_WORDS = frozenset({"NATURAL", "INNER", "LEFT", "RIGHT", "FULL", "JOIN", "CROSS"})

HINTS = {
    "LIMIT": "ADQL has no LIMIT; write SELECT TOP n, and OFFSET n at the end",
    "ESCAPE": "LIKE has no ESCAPE clause in ADQL",
    "INTO": "a query cannot write a table",
    "OVER": "window functions are not supported",
    "FETCH": "write SELECT TOP n instead of FETCH",
    "COLLATE": "COLLATE is not supported",
    "WITH": "WITH may stand only at the very beginning of the query",
    "FOR": "a query cannot lock rows",
    "ONLY": "ONLY is not supported",
    ";": "give one query at a time",
}
"""What to do about words of other dialects of SQL where they cannot stand."""


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


def is_condition(node: exp.Expr) -> bool:
    """Whether a node is true or false rather than a value."""
    while isinstance(node, exp.Paren):
        node = node.this
    return isinstance(node, CONDITIONS)


def balanced(kind: type[exp.Connector | exp.DPipe], operands: list[exp.Expr]) -> exp.Expr:
    """Join operands of an associative operator by a tree of least height."""
    while len(operands) > 1:
        pairs = [kind(this=left, expression=right) for left, right in zip(operands[::2], operands[1::2], strict=False)]
        operands = [*pairs, operands[-1]] if len(operands) % 2 else [*pairs]
    return operands[0]


class Parser:
    """One pass over the tokens of one query."""

    def __init__(self, source: Source, *, strict: bool) -> None:
        self.source = source
        self.strict = strict
        self.tokens = tokenize(source)
        self.keys = [token.text if token.kind in (Kind.WORD, Kind.SYMBOL) else None for token in self.tokens]
        self.place = 0
        self.depth = 0
        self.height = 0  # of the expression that was parsed last
        self.closing = self._pair_parentheses()

    # -- tokens ---------------------------------------------------------------------------------

    def _pair_parentheses(self) -> dict[int, int]:
        """For each opening parenthesis the place of its closing one; too deep ones are refused."""
        open_places: list[int] = []
        pairs: dict[int, int] = {}
        for place, key in enumerate(self.keys):
            if key == "(":
                open_places.append(place)
                if len(open_places) > MAX_DEPTH:
                    self.fail_at(place, f"more than {MAX_DEPTH} nested parentheses; simplify the query")
            elif key == ")" and open_places:
                pairs[open_places.pop()] = place
        return pairs

    def accept(self, key: str) -> bool:
        """Step over a word or symbol if it is next."""
        if self.keys[self.place] == key:
            self.place += 1
            return True
        return False

    def expect(self, key: str, expected: str | None = None) -> None:
        """Step over a word or symbol that must be next."""
        if not self.accept(key):
            self.fail(expected or _quoted(key))

    def found(self, place: int | None = None) -> str:
        """Say what stands at a place."""
        token = self.tokens[self.place if place is None else place]
        if token.kind is Kind.END:
            return "the end of the query"
        if token.kind is Kind.WORD:
            return token.text
        spelt = self.source.text[token.start : token.end]
        return f"'{spelt if len(spelt) <= 60 else spelt[:57] + '...'}'"

    def fail(self, expected: str) -> NoReturn:
        """Refuse the next token."""
        key = self.keys[self.place]
        token = self.tokens[self.place]
        hint = HINTS.get(token.text.upper()) if token.kind in (Kind.WORD, Kind.NAME, Kind.SYMBOL) else None
        if hint is None and key == ")" and self.place and self.keys[self.place - 1] == ",":
            hint = "remove the comma before it"
        self.fail_at(self.place, f"expected {expected}, found {self.found()}" + (f"; {hint}" if hint else ""))

    def fail_at(self, place: int, reason: str) -> NoReturn:
        """Raise an error at a token."""
        raise self.source.error(reason, self.tokens[place].start)

    def extension(self, form: str, place: int) -> None:
        """Note that an extension is used; refuse it when strict."""
        if self.strict:
            self.fail_at(place, f"{EXTENSIONS[form].form} is an extension of this service, not ADQL 2.1")

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Go one level deeper."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail_at(self.place, f"more than {MAX_DEPTH} levels deep; simplify the query")
        yield
        self.depth -= 1

    def name(self, what: str) -> exp.Identifier:
        """Step over an identifier."""
        token = self.tokens[self.place]
        if token.kind is Kind.NAME or token.kind is Kind.QUOTED:
            self.place += 1
            return identifier(token)
        if token.kind is Kind.WORD and token.text not in HINTS:
            spelt = self.source.text[token.start : token.end]
            self.fail_at(
                self.place,
                f"expected {what}, found the reserved word {spelt.upper()}; if it is a name, write it in double quotes: "
                f'"{spelt}"',
            )
        return self.fail(what)

    def at_name(self) -> bool:
        """Whether an identifier is next."""
        return self.tokens[self.place].kind in (Kind.NAME, Kind.QUOTED)

    # -- queries --------------------------------------------------------------------------------

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

    def unsigned(self, what: str) -> str:
        """Step over an integer without sign."""
        token = self.tokens[self.place]
        if token.kind is not Kind.INTEGER:
            self.fail(f"{what}, a whole number without sign")
        if int(token.text) >= 2**63:
            self.fail_at(self.place, f"{token.text} is too large a number of rows")
        self.place += 1
        return str(int(token.text))

    def select_list(self) -> list[exp.Expr]:
        """``*`` alone, or items."""
        if self.keys[self.place] == "*":
            star = exp.Star()
            star.meta["at"] = self.tokens[self.place].start
            self.place += 1
            if self.keys[self.place] == ",":
                self.fail_at(self.place, "'*' stands alone; name the table, as in SELECT t.*, x FROM t")
            return [star]
        return self.listed(self.select_item)

    def listed(self, item: Callable[[], exp.Expr]) -> list[exp.Expr]:
        """``item, item, ...``."""
        items = [item()]
        while self.accept(","):
            items.append(item())
        return items

    def select_item(self) -> exp.Expr:
        """``expression [[AS] name]`` or ``table.*``."""
        if (star := self.qualified_star()) is not None:
            return star
        start = self.tokens[self.place].start
        if self.keys[self.place] in {"FROM", "*"}:
            self.fail("an expression")
        node = self.value()
        end = self.tokens[self.place - 1].end
        node.meta["text"] = (start, end)
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

    # -- FROM -----------------------------------------------------------------------------------

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
        args["this"] = self.table()
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

    def table(self) -> exp.Expr:
        """Table's name, subquery with a name, or joined tables in parentheses."""
        at = self.tokens[self.place].start
        if self.keys[self.place] == "(":
            if self.is_query(self.place):
                return self.derived_table()
            self.place += 1
            with self.nested():
                first, joins = self.joined()
            self.expect(")")
            if not joins:
                self.fail_at(self.place - 1, "parentheses in FROM hold a subquery or joined tables")
            first.set("joins", joins)
            return exp.Subquery(this=first)
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
        if not self.accept("AS") and not self.at_name():
            return None
        if self.tokens[self.place].text.upper() in HINTS and self.tokens[self.place].kind is Kind.NAME:
            self.fail("a name or the next clause")
        alias = exp.TableAlias(this=self.name("a name after AS"))
        if self.keys[self.place] == "(":
            self.fail_at(self.place, "names of columns after a table's alias are not supported; name them inside")
        return alias

    def is_query(self, place: int) -> bool:
        """Whether the parenthesis at a place holds a query (and not a value, or joined tables)."""
        inner = place
        while self.keys[inner] == "(":
            inner += 1
        if self.keys[inner] != "SELECT":
            return False
        for opening in range(inner - 1, place, -1):
            closing = self.closing.get(opening)
            if closing is None or self.keys[closing + 1] not in QUERY_GOES_ON:
                return False
        return True

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

    # -- expressions ----------------------------------------------------------------------------

    def value(self) -> exp.Expr:
        """Expression that is not a condition."""
        start = self.place
        node = self.expression()
        if is_condition(node):
            self.fail_at(start, "expected a value, found a condition")
        return node

    def condition(self) -> exp.Expr:
        """Expression that is a condition."""
        start = self.place
        return self.as_condition(self.expression(), start)

    def as_condition(self, node: exp.Expr, start: int) -> exp.Expr:
        """Check that a node is a condition; a column may turn out to be boolean."""
        bare = node.unnest() if isinstance(node, exp.Paren) else node
        if isinstance(bare, (exp.Column, exp.Boolean)):
            self.extension("BOOLEAN", start)
        elif not is_condition(node):
            if isinstance(bare, exp.Anonymous) and bare.name in {"CONTAINS", "INTERSECTS"}:
                self.fail_at(start, f"expected a condition; compare the function: 1 = {bare.name}(...)")
            if self.keys[self.place] is None and self.tokens[self.place].kind is not Kind.END:
                self.fail("an operator")
            self.fail_at(start, "expected a condition, such as x > 1, found a value")
        return node

    def as_value(self, node: exp.Expr, start: int) -> exp.Expr:
        """Check that an operand is a value."""
        if is_condition(node):
            self.fail_at(start, "expected a value, found a condition")
        return node

    def grow(self, *heights: int) -> None:
        """Note the height of a node above others."""
        self.height = max(heights) + 1
        if self.height > MAX_HEIGHT:
            self.fail_at(self.place - 1, "this expression is too long or too deep; simplify it")

    def expression(self, power: int = 0) -> exp.Expr:
        """Operands and operators that bind stronger than ``power``."""
        start = self.place
        node = self.operand()
        while True:
            key = self.keys[self.place]
            if key is None or (binds := POWERS.get(key, 0)) <= power:
                return node
            self.place += 1
            height = self.height
            if binds <= AND:
                node = self.connected(exp.And if binds == AND else exp.Or, key, binds, node, start)
            elif binds == COMPARISON:
                node = self.predicate(key, self.as_value(node, start), start)
                self.grow(height, self.height)
                if POWERS.get(self.keys[self.place] or "", 0) == COMPARISON:
                    self.fail("AND, OR or the end of the condition")
            elif binds == CONCATENATION:
                node = self.connected(exp.DPipe, key, binds, node, start)
            else:
                left = self.as_value(node, start)
                operator, right_start = self.place - 1, self.place
                right = self.as_value(self.expression(binds), right_start)
                node = BINARY[key](this=left, expression=right)
                if key == "/":
                    node.set("typed", True)  # else sqlglot casts, to divide integers as other engines do
                node.meta["at"] = self.tokens[operator].start
                self.grow(height, self.height)

    def connected(
        self,
        kind: type[exp.Connector | exp.DPipe],
        key: str,
        power: int,
        first: exp.Expr,
        start: int,
    ) -> exp.Expr:
        """Operands of AND, OR or ``||``, as a flat tree: thousands of them are no deeper than a dozen levels."""
        check = self.as_value if kind is exp.DPipe else self.as_condition
        operands = [check(first, start)]
        height = self.height
        place = self.place
        while True:
            start = self.place
            operands.append(check(self.expression(power), start))
            height = max(height, self.height)
            if not self.accept(key):
                break
        self.grow(height + len(operands).bit_length() - 1)
        node = balanced(kind, operands)
        node.meta["at"] = self.tokens[place - 1].start
        return node

    def predicate(self, key: str, left: exp.Expr, start: int) -> exp.Expr:
        """Parse what follows the left operand of a comparison, BETWEEN, IN, LIKE or IS."""
        at = self.tokens[self.place - 1].start
        negated = key == "NOT"
        if negated:
            key = self.keys[self.place] or ""
            if key not in {"BETWEEN", "IN", "LIKE", "ILIKE"}:
                self.fail("BETWEEN, IN, LIKE or ILIKE after NOT")
            self.place += 1
        node: exp.Expr
        if key in BINARY:
            node = BINARY[key](this=left, expression=self.operand_of_predicate())
        elif key == "BETWEEN":
            low = self.operand_of_predicate()
            height = self.height
            self.expect("AND", "AND and the upper limit")
            node = exp.Between(this=left, low=low, high=self.operand_of_predicate())
            self.height = max(height, self.height)
        elif key == "IN":
            node = self.membership(left)
        elif key == "IS":
            return self.null_test(left, start, at)
        else:
            node = (exp.Like if key == "LIKE" else exp.ILike)(this=left, expression=self.operand_of_predicate())
        node.meta["at"] = at
        return exp.Not(this=node) if negated else node

    def operand_of_predicate(self) -> exp.Expr:
        """Right operand of a comparison."""
        start = self.place
        return self.as_value(self.expression(COMPARISON), start)

    def membership(self, left: exp.Expr) -> exp.In:
        """``IN (value, ...)`` or ``IN (query)``."""
        if self.keys[self.place] != "(":
            self.fail("'(' and values or a query after IN")
        if self.is_query(self.place):
            return exp.In(this=left, query=self.subquery())
        self.place += 1
        with self.nested():
            values = self.listed(self.value)
        self.expect(")", "',' or ')'")
        return exp.In(this=left, expressions=values)

    def null_test(self, left: exp.Expr, start: int, at: int) -> exp.Expr:
        """``IS [NOT] NULL``."""
        if not isinstance(left, exp.Column):
            self.extension("IS NULL", start)
        negated = self.accept("NOT")
        self.expect("NULL", "NULL or NOT NULL after IS")
        node = exp.Is(this=left, expression=exp.Null())
        node.meta["at"] = at
        return exp.Not(this=node) if negated else node

    def subquery(self) -> exp.Subquery:
        """Query in parentheses."""
        at = self.tokens[self.place].start
        self.place += 1
        with self.nested():
            query = self.query()
        self.expect(")")
        self.height = 1
        node = exp.Subquery(this=query)
        node.meta["at"] = at
        return node

    def operand(self) -> exp.Expr:
        """One operand with its signs."""
        token = self.tokens[self.place]
        kind = token.kind
        if kind is Kind.NAME or kind is Kind.QUOTED:
            return self.column_or_function()
        if kind is Kind.INTEGER or kind is Kind.DECIMAL:
            self.place += 1
            self.height = 1
            return self.at(exp.Literal(this=token.text, is_string=False), token)
        if kind is Kind.STRING:
            self.place += 1
            self.height = 1
            if self.tokens[self.place].kind is Kind.STRING:
                self.fail_at(self.place, "two strings in a row; join them with ||")
            return self.at(exp.Literal(this=token.text, is_string=True), token)
        if kind is Kind.SYMBOL:
            return self.symbol(token)
        if kind is Kind.WORD:
            return self.word(token)
        return self.fail("an expression")

    @staticmethod
    def at(node: exp.Expr, token: Token) -> exp.Expr:
        """Note where a node stands."""
        node.meta["at"] = token.start
        return node

    def symbol(self, token: Token) -> exp.Expr:
        """Sign, or an expression in parentheses."""
        if token.text == "(":
            if self.is_query(self.place):
                self.extension("SCALAR SUBQUERY", self.place)
                return self.subquery()
            self.place += 1
            with self.nested():
                node = self.expression()
            self.expect(")")
            self.grow(self.height)
            return exp.Paren(this=node)
        if token.text in {"-", "+"}:
            self.place += 1
            start = self.place
            with self.nested():
                node = self.as_value(self.expression(SIGN), start)
            if token.text == "+":
                return self.at(exp.Paren(this=node), token) if isinstance(node, exp.Neg) else node
            self.grow(self.height)
            return self.at(exp.Neg(this=node), token)
        return self.fail("an expression")

    def word(self, token: Token) -> exp.Expr:
        """Expression that begins with a reserved word."""
        word = token.text
        if word in AGGREGATES:
            return self.aggregate(word, token)
        if word in FUNCTION_WORDS:
            self.place += 1
            if self.keys[self.place] != "(":
                spelt = self.source.text[token.start : token.end]
                self.fail_at(
                    self.place,
                    f"expected '(' after the function {word}, found {self.found()}; if {spelt} is a name, write it in "
                    f'double quotes: "{spelt}"',
                )
            if word == "NULLIF":
                self.extension("NULLIF", self.place - 1)
            return self.call(word, token)
        if word == "NULL":
            self.place += 1
            self.height = 1
            return self.at(exp.Null(), token)
        if word == "NOT":
            self.place += 1
            start = self.place
            with self.nested():
                node = self.as_condition(self.expression(NOT), start)
            self.grow(self.height)
            return exp.Not(this=node)
        if word == "EXISTS":
            self.place += 1
            if not (self.keys[self.place] == "(" and self.is_query(self.place)):
                self.fail("'(' and a query after EXISTS")
            return self.at(exp.Exists(this=self.subquery().this), token)
        if word == "CAST":
            return self.cast(token)
        if word == "CASE":
            return self.case(token)
        if word in {"TRUE", "FALSE"}:
            self.extension("BOOLEAN", self.place)
            self.place += 1
            self.height = 1
            return self.at(exp.Boolean(this=word == "TRUE"), token)
        if word in {"FROM", "WHERE", "GROUP", "HAVING", "ORDER", "UNION", "AND", "OR", "AS", "DISTINCT"}:
            return self.fail("an expression")
        return self.name("an expression")  # says how to quote a reserved word

    def column_or_function(self) -> exp.Expr:
        """``[[[catalog.]schema.]table.]column`` or a function's call."""
        token = self.tokens[self.place]
        parts = [self.name("a name")]
        while self.accept("."):
            parts.append(self.name("a name after '.'"))
            if len(parts) > 4:
                raise self.source.error("a column's name has at most four parts", token.start)
        if self.keys[self.place] == "(":
            if len(parts) > 1:
                self.fail_at(self.place, "a function's name has no qualifier")
            if token.kind is Kind.QUOTED:
                self.fail_at(self.place - 1, "a function's name stands without quotes")
            return self.call(token.text, token)
        self.height = 1
        node = exp.Column(**dict(zip(("this", "table", "db", "catalog"), reversed(parts), strict=False)))
        return self.at(node, token)

    def call(self, name: str, token: Token) -> exp.Expr:
        """Call of a function; the opening parenthesis is next."""
        self.place += 1
        arguments: list[exp.Expr] = []
        highest = 0
        if not self.accept(")"):
            with self.nested():
                while True:
                    if self.keys[self.place] == "*":
                        self.fail("an argument")
                    if self.keys[self.place] == "DISTINCT":
                        self.fail_at(self.place, f"DISTINCT cannot stand in {name}(...)")
                    arguments.append(self.value())
                    highest = max(highest, self.height)
                    if not self.accept(","):
                        break
            self.expect(")", "',' or ')'")
        self.grow(highest)
        return self.at(exp.Anonymous(this=name, expressions=arguments), token)

    def aggregate(self, word: str, token: Token) -> exp.Expr:
        """``COUNT(*)`` or ``COUNT | SUM | AVG | MIN | MAX ([DISTINCT | ALL] value)``."""
        self.place += 1
        self.expect("(", f"'(' after {word}")
        with self.nested():
            argument: exp.Expr
            if word == "COUNT" and self.accept("*"):
                argument = exp.Star()
                self.height = 1
            elif self.accept("DISTINCT"):
                argument = exp.Distinct(expressions=[self.value()])
            else:
                self.accept("ALL")
                argument = self.value()
        self.expect(")")
        self.grow(self.height)
        node = AGGREGATES[word](this=argument)
        if word == "COUNT":
            node.set("big_int", True)
        return self.at(node, token)

    def cast(self, token: Token) -> exp.Expr:
        """``CAST(value AS type)``."""
        self.place += 1
        self.expect("(", "'(' after CAST")
        with self.nested():
            value = self.value()
        self.expect("AS", "AS and a type")
        to = self.target_type()
        self.expect(")")
        self.grow(self.height)
        return self.at(exp.Cast(this=value, to=to), token)

    def target_type(self) -> exp.DataType:
        """Type to cast to (ADQL 2.1, "CAST"), kept by its ADQL name."""
        token = self.tokens[self.place]
        word = token.text.upper()
        if token.kind is not Kind.WORD or word not in CAST_TYPES:
            self.fail(f"a type: {', '.join(sorted(CAST_TYPES))}")
        self.place += 1
        if word == "DOUBLE":
            self.expect("PRECISION")
            word = "DOUBLE PRECISION"
        elif word == "CHARACTER":
            word = "VARCHAR" if self.accept("VARYING") else "CHAR"
        elif word == "INT":
            word = "INTEGER"
        length = []
        if word in {"CHAR", "VARCHAR"} and self.accept("("):
            length = [exp.Literal.number(self.unsigned("a length"))]
            self.expect(")")
        return exp.DataType(this=exp.DType.USERDEFINED, kind=word, expressions=length)

    def case(self, token: Token) -> exp.Expr:
        """``CASE [value] WHEN ... THEN ... [ELSE ...] END``."""
        self.extension("CASE", self.place)
        self.place += 1
        highest = 0
        with self.nested():
            subject = None if self.keys[self.place] == "WHEN" else self.value()
            arms = []
            self.expect("WHEN")
            while True:
                test = self.condition() if subject is None else self.value()
                highest = max(highest, self.height)
                self.expect("THEN")
                arms.append(exp.If(this=test, true=self.value()))
                highest = max(highest, self.height)
                if not self.accept("WHEN"):
                    break
            default = self.value() if self.accept("ELSE") else None
            highest = max(highest, self.height)
        self.expect("END", "WHEN, ELSE or END")
        self.grow(highest)
        node = exp.Case(ifs=arms)
        if subject is not None:
            node.set("this", subject)
        if default is not None:
            node.set("default", default)
        return self.at(node, token)


CAST_TYPES = frozenset(
    """
    BIGINT CHAR CHARACTER CIRCLE DOUBLE INT INTEGER POINT POLYGON REAL SMALLINT TIMESTAMP VARCHAR
    """.split()
)
"""Words that begin a type."""


def identifier(token: Token) -> exp.Identifier:
    """Name as it is spelt, and whether it stood in quotes."""
    node = exp.Identifier(this=token.text, quoted=token.kind is Kind.QUOTED)
    node.meta["at"] = token.start
    return node


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


def _quoted(text: str) -> str:
    return text if text.isalpha() and text.isupper() else f"'{text}'"
