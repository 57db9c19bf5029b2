"""Say what to change where a query does not go on as it should: the end of a message, after what was expected and found."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from gateway.vo.adql.parsing.lexer import Kind, Token
from gateway.vo.adql.parsing.words import CLAUSES, HINTS, SET_OPERATORS

PAIRS: Mapping[tuple[str | None, str | None], str] = {
    (",", ")"): "remove the comma before it",
    **{(",", word): "remove the comma before it" for word in ("FROM", "WHERE", "GROUP", "HAVING", "ORDER")},
    ("=", "="): "write = once",
    ("=", ">"): "write >=",
    ("=", "<"): "write <=",
    ("<", "="): "write <= without a blank",
    (">", "="): "write >= without a blank",
    ("<", ">"): "write <> without a blank",
    ("*", "*"): "write POWER(x, y)",
    ("NOT", "NULL"): "write IS NOT NULL",
    ("NOT", "EXISTS"): "NOT EXISTS stands without a value before it",
    (".", "."): "write schema.table",
    ("IS", "TRUE"): "write = TRUE",
    ("IS", "FALSE"): "write = FALSE",
}
"""What to do about two words or symbols one after the other, of which the second is wrong."""

MISPLACED = frozenset({"FROM", "WHERE", "GROUP", "HAVING", "ORDER"})
"""Words that begin a clause."""


def hint_for(tokens: Sequence[Token], keys: Sequence[str | None], place: int, expected: str) -> str | None:
    """Say what to do about the token at a place; ``None`` if nothing is known.

    Parameters
    ----------
    tokens, keys
        All tokens of the query, and the texts of those that are words or symbols.
    place
        Index of the token that is wrong.
    expected
        What should stand there, as the message has it.
    """
    token, key = tokens[place], keys[place]
    if token.kind in (Kind.WORD, Kind.NAME, Kind.SYMBOL) and token.text.upper() in HINTS:
        return HINTS[token.text.upper()]
    before = keys[place - 1] if place else None
    if (before, key) in PAIRS:
        return PAIRS[before, key]
    if token.kind is Kind.END and before == ",":
        return "remove the comma at the end"
    if key == "(" and place and tokens[place - 1].text.upper() == "OVER":
        return HINTS["OVER"]
    if token.kind is Kind.STRING and "name" in expected:
        return "names stand without quotes, or in double quotes"
    return misspelt(tokens, place) or out_of_order(key, expected)


def out_of_order(key: str | None, expected: str) -> str | None:
    """Say where a clause belongs that stands too late or too early."""
    if key == ")" and expected == "the end of the query":
        return "there is no '(' for it"
    if expected not in {"the end of the query", "')'", "',', AS or FROM"}:
        return None
    if expected == "the end of the query" and key in {"/", "-", "+"}:
        return "names with other characters than letters, digits and _ stand in double quotes"
    if key in SET_OPERATORS:
        return f"a query with ORDER BY or OFFSET stands in parentheses before {key}"
    if key in MISPLACED:
        return "clauses come in the order SELECT, FROM, WHERE, GROUP BY, HAVING, ORDER BY, OFFSET, each once"
    return None


def misspelt(tokens: Sequence[Token], place: int) -> str | None:
    """Say which word of a clause is misspelt here, or right before, where it was taken for an alias."""
    for token in tokens[place : None if place == 0 else place - 2 : -1]:
        if token.kind is Kind.NAME:
            meant = difflib.get_close_matches(token.text.upper()[:20], CLAUSES, 1, 0.7)
            if meant and meant[0] != token.text.upper():
                return f"did you mean {meant[0]} instead of {token.text[:20]}?"
    return None
