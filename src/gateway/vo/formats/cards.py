"""Header cards of FITS (FITS 4.0, "Keyword records")."""

from __future__ import annotations

import re
from collections.abc import Iterator

BLOCK = 2880
"""Bytes; headers and data are padded to whole blocks."""

_CARD = 80
_LONGEST = 68
"""Characters of a text value that fit on one card."""


def printable(text: str) -> str:
    """Text as a header can hold it: ASCII from blank to tilde."""
    return re.sub(r"[^\x20-\x7e]", "?", text)


class Header:
    """Cards in the order in which they are added."""

    def __init__(self) -> None:
        self._cards: list[str] = []

    def number(self, keyword: str, value: int, comment: str = "") -> None:
        """Add a card with a whole number."""
        self._add(f"{keyword:<8}= {value:>20}", comment)

    def flag(self, keyword: str, *, value: bool, comment: str = "") -> None:
        """Add a card with a logical value."""
        self._add(f"{keyword:<8}= {'T' if value else 'F':>20}", comment)

    def text(self, keyword: str, value: str | None, comment: str = "") -> None:
        """Add a text, on several cards if it is long (FITS 4.0, "Continued string keywords"); nothing for ``None``."""
        if value is None:
            return
        first, *others = _parts(printable(value))
        self._add(f"{keyword:<8}= '{first:<8}'", comment if not others else "")
        for part in others:
            self._add(f"CONTINUE  '{part}'")

    def comment(self, text: str) -> None:
        """Add a comment of any length."""
        for line in text.splitlines() or [""]:
            shown = printable(line.replace("\t", " "))
            for start in range(0, len(shown) or 1, _CARD - 8):
                self._add(f"COMMENT {shown[start : start + _CARD - 8]}")

    def to_bytes(self) -> bytes:
        """Header with its END, whole blocks."""
        text = "".join([*self._cards, "END".ljust(_CARD)])
        return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")

    def _add(self, card: str, comment: str = "") -> None:
        if comment:
            card = f"{card} / {comment}"
        self._cards.append(card[:_CARD].ljust(_CARD))


def _parts(text: str) -> Iterator[str]:
    """Text with its quotes doubled, in parts that fit on a card; all but the last end with ``&``."""
    pieces = [character.replace("'", "''") for character in text.rstrip()]
    part = ""
    for i, piece in enumerate(pieces):
        is_last = i == len(pieces) - 1
        if len(part) + len(piece) > _LONGEST - (not is_last):
            yield f"{part}&"
            part = ""
        part += piece
    yield part
