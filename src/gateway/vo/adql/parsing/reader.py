"""Step over the tokens of a query, and say what is wrong where they are not the right ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from sqlglot import exp

from gateway.vo.adql.parsing.extensions import EXTENSIONS
from gateway.vo.adql.parsing.hints import MISPLACED, hint_for
from gateway.vo.adql.parsing.lexer import MAX_DEPTH, Kind, Source, Token, tokenize
from gateway.vo.adql.parsing.words import CLAUSE_WORDS, HINTS, QUERY_GOES_ON

FIXED = (Kind.WORD, Kind.SYMBOL)
"""Tokens that are spelt in one way only."""


class Reader:
    """One pass over the tokens of one query."""

    def __init__(self, source: Source, *, strict: bool) -> None:
        self.source = source
        self.strict = strict
        self.tokens = tokenize(source)
        self.keys = [text if kind in FIXED else None for kind, text, _, _ in self.tokens]
        self.place = 0
        self.depth = 0
        self.height = 0  # of the expression that was parsed last
        self.closing = self._pair_parentheses()

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
        self.unclosed = open_places
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
        shown = spelt if len(spelt) <= 60 else spelt[:57] + "..."
        return f"the string {shown}" if token.kind is Kind.STRING else f"'{shown}'"

    def fail(self, expected: str, hint: str | None = None) -> NoReturn:
        """Refuse the next token."""
        ends = self.keys[self.place] in MISPLACED or self.tokens[self.place].kind is Kind.END
        if ends and "')'" in expected and self.keys[self.place - 1] != ",":
            hint = hint or self.last_unclosed()
        hint = hint or hint_for(self.tokens, self.keys, self.place, expected)
        self.fail_at(self.place, f"expected {expected}, found {self.found()}" + (f"; {hint}" if hint else ""))

    def last_unclosed(self) -> str:
        """Say which parenthesis before this place has no closing one; empty if each has."""
        for place in reversed(self.unclosed):
            if place < self.place:
                line, column = self.source.position(self.tokens[place].start)
                return f"the '(' in line {line}, column {column} has no ')'"
        return ""

    def fail_at(self, place: int, reason: str) -> NoReturn:
        """Raise an error at a token."""
        raise self.source.error(reason, self.tokens[place].start)

    def extension(self, form: str, place: int) -> None:
        """Note that an extension is used; refuse it when strict."""
        if self.strict:
            self.fail_at(place, EXTENSIONS[form].refusal)

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
        if token.kind is Kind.WORD and token.text not in HINTS and token.text not in CLAUSE_WORDS:
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

    def unsigned(self, what: str) -> str:
        """Step over an integer without sign."""
        token = self.tokens[self.place]
        if token.kind is not Kind.INTEGER:
            hint = "write it without parentheses" if self.keys[self.place] == "(" else None
            self.fail(f"{what}, a whole number without sign", hint)
        if int(token.text) >= 2**63:
            self.fail_at(self.place, f"{token.text} is too large a number of rows")
        self.place += 1
        return str(int(token.text))

    def listed(self, item: Callable[[], exp.Expr]) -> list[exp.Expr]:
        """``item, item, ...``."""
        items = [item()]
        while self.accept(","):
            items.append(item())
        return items

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


def identifier(token: Token) -> exp.Identifier:
    """Name as it is spelt, and whether it stood in quotes."""
    node = exp.Identifier(this=token.text, quoted=token.kind is Kind.QUOTED)
    node.meta["at"] = token.start
    return node


def _quoted(text: str) -> str:
    return text if text.isalpha() and text.isupper() else f"'{text}'"
