"""DALI 1.1: the parameter bag that every protocol reads, and the literals of its values.

Handlers read GET, POST form and multipart into one `ParamBag`; request types (`vo.tap.TapRequest`, ...)
are made from it and from nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import MultipleValuesError, ParameterError


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """File part of a multipart request, already on disk.

    Attributes
    ----------
    name
        Name of the part, exactly as sent.
    path
        Where its bytes lie; whoever made the bag removes it.
    size
        Bytes.
    filename
        Name the client gave to the file, if any.
    """

    name: str
    path: Path
    size: int
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class ParamBag:
    """Parameters of one request in the order sent; names compare without case (DALI 1.1, "Parameters")."""

    items: tuple[tuple[str, str], ...] = ()
    """Pairs (name in upper case, value as sent)."""
    parts: tuple[UploadedPart, ...] = ()
    """File parts of a multipart body."""

    @classmethod
    def of(cls, items: Iterable[tuple[str, str]], parts: Iterable[UploadedPart] = ()) -> ParamBag:
        """Make a bag from pairs in any case."""
        return cls(tuple((name.upper(), value) for name, value in items), tuple(parts))

    def all(self, name: str) -> tuple[str, ...]:
        """All values of a parameter, in the order sent."""
        return tuple(value for key, value in self.items if key == name.upper())

    def one(self, name: str) -> str | None:
        """Value of a single-valued parameter; ``None`` if absent.

        Raises
        ------
        MultipleValuesError
            The parameter was given more than once.
        """
        values = self.all(name)
        if len(values) > 1:
            raise MultipleValuesError(name.upper(), values)
        return values[0] if values else None

    def part(self, name: str) -> UploadedPart | None:
        """File part of that exact name."""
        return next((part for part in self.parts if part.name == name), None)


@dataclass(frozen=True, slots=True)
class Parameter:
    """Parameter of a protocol, for people and for the OpenAPI document."""

    name: str
    description: str
    is_repeatable: bool = False
    example: str | None = None


_UNSIGNED = re.compile(r"\s*\+?[0-9]{1,18}\s*\Z")


def parse_maxrec(bag: ParamBag) -> int | None:
    """Read MAXREC, a non-negative integer; ``None`` if absent or empty (DALI 1.1, "MAXREC")."""
    return parse_count(bag, "MAXREC")


def parse_count(bag: ParamBag, name: str) -> int | None:
    """Read a parameter that counts rows, a non-negative integer; ``None`` if absent or empty."""
    text = bag.one(name)
    if text is None or not text.strip():
        return None
    if not _UNSIGNED.match(text):
        raise ParameterError(name, text, "give a whole number of rows, 0 or more")
    return int(text)


RUN_ID_LENGTH = 64
"""Longest RUNID (DALI 1.1, "RUNID")."""


def parse_run_id(bag: ParamBag) -> str | None:
    """Read RUNID, the client's own label of at most 64 characters."""
    text = bag.one("RUNID")
    if text is not None and len(text) > RUN_ID_LENGTH:
        raise ParameterError("RUNID", text, f"at most {RUN_ID_LENGTH} characters are kept; shorten it")
    return text or None


def normal_media_type(text: str) -> str:
    """Lower-case type/subtype, tidy the parameters, and mend a ``+`` that URL decoding turned into a space."""
    kind, _, parameters = text.strip().partition(";")
    kind = kind.strip().lower().replace("x-votable xml", "x-votable+xml")
    tidy = [part.strip().replace(" ", "") for part in parameters.split(";") if part.strip()]
    return ";".join([kind, *tidy])
