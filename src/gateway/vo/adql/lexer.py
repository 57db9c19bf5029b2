"""Cut the text of a query into tokens, and refuse at once what is too long.

ADQL 2.1, "Lexical elements". Positions are offsets; a line and a column are worked out only for an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from gateway.errors import QueryError
from gateway.vo.tableset import RESERVED_WORDS

MAX_LENGTH = 100_000
"""Longest query, in characters: ten times what real ones need, and lexed in well under 100 ms."""

MAX_TOKENS = 20_000
"""Most tokens of a query: an IN list of some 9,900 numbers still passes."""

MAX_DEPTH = 64
"""Deepest nesting of parentheses, functions and subqueries; keeps every recursive pass far from Python's limit."""


class Kind(IntEnum):
    """What a token is."""

    WORD = 1
    """Reserved word, upper case."""
    NAME = 2
    """Regular identifier as spelt."""
    QUOTED = 3
    """Delimited identifier without its quotes."""
    STRING = 4
    """String literal without its quotes."""
    INTEGER = 5
    DECIMAL = 6
    SYMBOL = 7
    END = 8


class Token(NamedTuple):
    """One token: its kind, its meaning, and where it begins and ends (offsets, half-open)."""

    kind: Kind
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a query, able to say where something stands in it."""

    text: str

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of an offset."""
        before = self.text[:offset].replace("\r\n", " \n").replace("\r", "\n")
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

    def error(self, reason: str, offset: int) -> QueryError:
        """Error that tells the reason and its place."""
        line, column = self.position(offset)
        return QueryError(reason, line=line, column=column)


TOKEN = re.compile(
    r"""
      (?P<space>(?:[ \t\r\n\f]+|--[^\r\n]*)+)
    | (?P<word>[A-Za-z][A-Za-z0-9_]*)
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<string>'[^']*(?:''[^']*)*')
    | (?P<quoted>"[^"]*(?:""[^"]*)*")
    | (?P<symbol><=|>=|<>|!=|\|\||[-+*/(),.=<>;])
    """,
    re.VERBOSE,
)

SUGGESTIONS = {
    "[": "arrays cannot be indexed in ADQL",
    "%": "use MOD(x, y) for a remainder; % is a wildcard only inside the string of LIKE",
    ":": "use CAST(x AS type) to convert",
    "`": 'put names in double quotes, as in "my name"',
    "{": "ADQL has no braces",
    "^": "use POWER(x, y)",
    "!": "use <> or != for inequality, NOT for negation",
    "_": 'a name begins with a letter; put it in double quotes, as in "_name"',
    "$": "dollar signs may stand only inside quotes",
}
"""What to do about characters that other dialects of SQL have."""


def tokenize(source: Source) -> list[Token]:
    """Cut a query into tokens; the last one is of kind ``END``.

    Raises
    ------
    QueryError
        The text is too long, has too many tokens, or holds what ADQL does not know.
    """
    text = source.text
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the query has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed")
    if "\0" in text:
        raise source.error("the query holds a NUL character; remove it", text.index("\0"))
    if not text.isascii():
        _refuse_surrogates(source)
    tokens: list[Token] = []
    add = tokens.append
    match = TOKEN.match
    place, end = 0, len(text)
    while place < end:
        found = match(text, place)
        if found is None:
            raise _unknown_character(source, place)
        group = found.lastgroup
        start, place = place, found.end()
        if group == "space":
            continue
        if group == "word":
            word = found.group()
            upper = word.upper()
            add(Token(Kind.WORD, upper, start, place) if upper in WORDS else Token(Kind.NAME, word, start, place))
        elif group == "symbol":
            if found.group() == "/" and text.startswith("/*", start):
                raise source.error("found '/*'; comments begin with -- and end with the line", start)
            add(Token(Kind.SYMBOL, found.group(), start, place))
        elif group == "number":
            add(_number(source, found.group(), start, place))
        elif group == "string":
            add(Token(Kind.STRING, found.group()[1:-1].replace("''", "'"), start, place))
        else:
            add(_delimited(source, found.group(), start, place))
        if len(tokens) > MAX_TOKENS:
            raise source.error(f"the query has more than {MAX_TOKENS:,} words and symbols; make it shorter", start)
    add(Token(Kind.END, "", end, end))
    return tokens


WORDS = RESERVED_WORDS


def _number(source: Source, text: str, start: int, end: int) -> Token:
    following = source.text[end : end + 1]
    if following and (following.isalnum() or following == "_"):
        hint = "; hexadecimal numbers are not supported" if text == "0" and following in "xX" else ""
        raise source.error(f"found {(text + following)!r}, which is neither a number nor a name{hint}", start)
    return Token(Kind.INTEGER if text.isdigit() else Kind.DECIMAL, text, start, end)


def _delimited(source: Source, text: str, start: int, end: int) -> Token:
    name = text[1:-1].replace('""', '"')
    if not name:
        raise source.error('found "", a name without any character', start)
    return Token(Kind.QUOTED, name, start, end)


def _refuse_surrogates(source: Source) -> None:
    try:
        source.text.encode()
    except UnicodeEncodeError as e:
        raise source.error("the query holds half of a character (a lone surrogate); remove it", e.start) from None


def _unknown_character(source: Source, place: int) -> QueryError:
    character = source.text[place]
    if character == "'":
        return source.error("this string has no closing quote; write '' for a quote inside a string", place)
    if character == '"':
        return source.error('this name has no closing quote; write "" for a quote inside a name', place)
    hint = SUGGESTIONS.get(character, "it may stand only inside quotes")
    return source.error(f"found {character!r}, which ADQL does not know here; {hint}", place)
