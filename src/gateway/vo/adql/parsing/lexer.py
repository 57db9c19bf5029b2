"""Cut the text of a query into tokens, and refuse at once what is too long.

ADQL 2.1, "Lexical elements". Positions are offsets; a line and a column are worked out only for an error.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from gateway.errors import QueryError
from gateway.vo.tableset import RESERVED_WORDS

MAX_LENGTH = 100_000
"""Longest query, in bytes of UTF-8: ten times what real ones need, and lexed in well under 100 ms."""

MAX_TOKENS = 20_000
"""Most tokens of a query: an IN list of some 9,900 numbers still passes."""

MAX_DEPTH = 64
"""Deepest nesting of parentheses, functions and subqueries; keeps every recursive pass far from Python's limit."""


MAX_DIGITS = 400
"""Longest number; the largest double has 309 digits before the point."""


MAX_MESSAGE = 500
"""Longest reason of an error, characters: names and texts of a query, which it may quote, can be much longer."""


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
        if len(reason) > MAX_MESSAGE:
            reason = f"{reason[: MAX_MESSAGE // 2]} ... {reason[-MAX_MESSAGE // 3 :]}"
        return QueryError(reason, line=line, column=column)


BLANKS = r"(?:[ \t\r\n\f]+|--[^\r\n]*)*+"
"""Blanks and comments, if any."""

TOKEN = re.compile(
    BLANKS
    + r"""
    (?:
      (?P<word>[A-Za-z][A-Za-z0-9_]*)
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<string>'[^']*(?:''[^']*)*')
    | (?P<quoted>"[^"]*(?:""[^"]*)*")
    | (?P<symbol><=|>=|<>|!=|\|\||[-+*/%(),.=<>;])
    | (?P<end>\Z)
    )
    """,
    re.VERBOSE,
)

SUGGESTIONS = {
    "[": "names stand in double quotes; arrays cannot be indexed in ADQL",
    "::": "use CAST(x AS type) to convert",
    ":": "angles are numbers in degrees; ivo_hms_to_degrees('01:23:45') and ivo_dms_to_degrees('-12:34:56') convert",
    "`": 'put names in double quotes, as in "my name"',
    "{": "ADQL has no braces",
    "^": "use POWER(x, y)",
    "!": "use <> or != for inequality, NOT for negation",
    "_": 'a name begins with a letter; put it in double quotes, as in "_name"',
    "$": "dollar signs may stand only inside quotes",
    "&": "write AND between conditions",
    "|": "write OR between conditions, || between strings",
    "#": "comments begin with --",
    "~": "compare strings with LIKE or ILIKE",
    "?": "a query has no parameters; write the value",
    "@": "a query has no parameters; write the value",
    "\ufeff": "remove this invisible character",
    "\u200b": "remove this invisible character",
    "\u2264": "write <=",
    "\u2265": "write >=",
    "\u2260": "write <>",
    "\u00d7": "write *",
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4", "a string stands in straight single quotes, as in 'text'"),
    **dict.fromkeys("\u201c\u201d\u201e\u2033", 'a name stands in straight double quotes, as in "name"'),
    **dict.fromkeys("\u00a0\u2002\u2003\u2009\u202f\u3000", "replace this special blank by an ordinary one"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "write the minus sign of the keyboard, -"),
}
"""What to do about characters that other dialects of SQL have, or that word processors put in the place of others."""


def tokenize(source: Source) -> list[Token]:
    """Cut a query into tokens; the last one is of kind ``END``.

    Raises
    ------
    QueryError
        The text is too long, has too many tokens, or holds what ADQL does not know.
    """
    text = source.text
    _refuse_too_long(text)
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
            raise _unknown_character(source, re.compile(BLANKS).match(text, place).end())  # type: ignore[union-attr]
        group = found.lastgroup or "end"
        start, place = found.span(group)
        piece = text[start:place]
        if group == "end":
            break
        if group == "word":
            upper = piece.upper()
            add(Token(Kind.WORD, upper, start, place) if upper in WORDS else Token(Kind.NAME, piece, start, place))
        elif group == "symbol":
            if piece == "/" and text.startswith("/*", start):
                raise source.error("found '/*'; comments begin with -- and end with the line", start)
            add(Token(Kind.SYMBOL, piece, start, place))
        elif group == "number":
            add(_number(source, piece, start, place))
        elif group == "string":
            add(Token(Kind.STRING, piece[1:-1].replace("''", "'"), start, place))
        else:
            add(_delimited(source, piece, start, place))
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
    if len(text) > MAX_DIGITS:
        raise source.error(f"this number has {len(text)} characters; at most {MAX_DIGITS} are allowed", start)
    value = float(text)
    if math.isinf(value):
        raise source.error(f"the number {text} is too large for a double", start)
    if value == 0 and any(digit in "123456789" for digit in text.lower().partition("e")[0]):
        raise source.error(f"the number {text} is too close to zero for a double; write 0", start)
    return Token(Kind.INTEGER if text.isdigit() else Kind.DECIMAL, text, start, end)


def _delimited(source: Source, text: str, start: int, end: int) -> Token:
    name = text[1:-1].replace('""', '"')
    if not name:
        raise source.error('found "", a name without any character', start)
    return Token(Kind.QUOTED, name, start, end)


def _refuse_too_long(text: str) -> None:
    size = len(text)
    if size <= MAX_LENGTH and not text.isascii():
        size = len(text.encode(errors="surrogatepass"))
    if size > MAX_LENGTH:
        raise QueryError(f"the query has {size:,} bytes; at most {MAX_LENGTH:,} are allowed")


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
    pair = source.text[place : place + 2]
    hint = SUGGESTIONS.get(pair) or SUGGESTIONS.get(character, "it may stand only inside quotes")
    return source.error(f"found {character!r}, which ADQL does not know here; {hint}", place)
