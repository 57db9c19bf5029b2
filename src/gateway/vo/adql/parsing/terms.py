"""Parse expressions and conditions, by operator precedence (Pratt)."""

from __future__ import annotations

from abc import abstractmethod
from typing import NoReturn

from sqlglot import exp

from gateway.vo.adql.parsing.lexer import Kind, Token
from gateway.vo.adql.parsing.reader import Reader
from gateway.vo.adql.parsing.words import (
    BEFORE_A_STRING,
    CAST_TYPES,
    FOREIGN_FUNCTIONS,
    FUNCTION_WORDS,
    OTHER_TYPES,
    VALUE_HINTS,
)

MAX_HEIGHT = 120
"""Deepest tree of an expression. A chain like ``a + b - c ...`` is as deep as it is long; the later passes are recursive
and need up to five Python frames for each level."""

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
    "%": PRODUCT,
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

MAX_LENGTH_OF_TYPE = 10_485_760
"""Longest ``varchar(n)`` of PostgreSQL."""


class ExpressionParser(Reader):
    """Parses the expressions of one query."""

    height = 0
    """Height of the expression that was parsed last."""

    @abstractmethod
    def query(self) -> exp.Query:
        """Query inside an expression."""

    def value(self) -> exp.Expr:
        """Expression that is not a condition."""
        start = self.place
        return self.as_value(self.expression(), start)

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
            if isinstance(bare, exp.Anonymous):
                self.fail_at(start, f"expected a condition; compare the function: 1 = {bare.name}(...)")
            if self.keys[self.place] is None and self.tokens[self.place].kind is not Kind.END:
                self.fail("an operator")
            self.fail_at(start, "expected a condition, such as x > 1, found a value")
        return node

    def as_value(self, node: exp.Expr, start: int) -> exp.Expr:
        """Check that an operand is a value."""
        if is_condition(node):
            opening = self.last_unclosed()
            self.fail_at(start, "expected a value, found a condition" + (f"; {opening}" if opening else ""))
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
                    joins = next(node.find_all(exp.DPipe), None) is not None
                    hint = "write OR; || joins strings" if joins else "compare twice, as in 1 < x AND x < 2"
                    self.fail("AND, OR or the end of the condition", hint if self.keys[self.place] in BINARY else None)
            elif binds == CONCATENATION:
                node = self.connected(exp.DPipe, key, binds, node, start)
            else:
                left = self.as_value(node, start)
                operator, right_start = self.place - 1, self.place
                right = self.as_value(self.expression(binds), right_start)
                if key == "%":
                    self.extension(key, operator)
                    node = exp.Anonymous(this="MOD", expressions=[left, right])
                else:
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
        if word == "CURRENT_TIMESTAMP":
            self.extension(word, self.place)
            self.place += 1
            self.height = 1
            return self.at(exp.CurrentTimestamp(), token)
        if self.keys[self.place + 1] == "(" and word in FOREIGN_FUNCTIONS:
            self.foreign(self.place)
        if word in VALUE_HINTS and (word not in BEFORE_A_STRING or self.tokens[self.place + 1].kind is Kind.STRING):
            self.fail_at(self.place, f"expected an expression, found {word}; {VALUE_HINTS[word]}")
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
            if token.text.upper() in FOREIGN_FUNCTIONS:
                self.foreign(self.place - 1)
            return self.call(token.text, token)
        self.height = 1
        node = exp.Column(**dict(zip(("this", "table", "db", "catalog"), reversed(parts), strict=False)))
        return self.at(node, token)

    def foreign(self, place: int) -> NoReturn:
        """Refuse a function of other dialects, and say what ADQL has instead."""
        name = self.tokens[place].text
        self.fail_at(place, f"ADQL has no function {name}; {FOREIGN_FUNCTIONS[name.upper()]}")

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
            shown = ", ".join(sorted((CAST_TYPES - OTHER_TYPES - {"DOUBLE"}) | {"DOUBLE PRECISION"}))
            self.fail(f"a type ({shown})")
        if word in OTHER_TYPES:
            self.extension("CAST TYPES", self.place)
        self.place += 1
        if word == "DOUBLE":
            self.expect("PRECISION")
            word = "DOUBLE PRECISION"
        elif word == "CHARACTER":
            word = "VARCHAR" if self.accept("VARYING") else "CHAR"
        else:
            word = {"INT": "INTEGER", "FLOAT": "DOUBLE PRECISION"}.get(word, word)
        length = []
        if word in {"CHAR", "VARCHAR"} and self.accept("("):
            length = [exp.Literal.number(self.length())]
            self.expect(")")
        return exp.DataType(this=exp.DType.USERDEFINED, kind=word, expressions=length)

    def length(self) -> str:
        """Length of a string's type."""
        text = self.unsigned("a length")
        if not 1 <= int(text) <= MAX_LENGTH_OF_TYPE:
            self.fail_at(self.place - 1, f"the length {text} is not between 1 and {MAX_LENGTH_OF_TYPE:,}")
        return text

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
