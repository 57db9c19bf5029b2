"""What UWS clients send to control jobs and lists, read from text (UWS 1.1, "The UWS REST Binding")."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.errors import ParameterError
from gateway.jobs.phases import Phase
from gateway.vo.dali import ParamBag

_NUMBER = re.compile(r"\+?[0-9]+(\.[0-9]*)?\Z")
_DIGITS = 18
"""More digits than these are beyond every limit of ours, and not worth converting."""


@dataclass(frozen=True, slots=True)
class ListFilter:
    """Which jobs of a list are asked for; all conditions hold at once (UWS-26)."""

    phases: frozenset[Phase]
    after: datetime | None = None
    last: int | None = None

    @classmethod
    def from_params(cls, bag: ParamBag) -> ListFilter:
        """Read PHASE (any number), AFTER and LAST.

        Raises
        ------
        ParameterError
            A value is malformed.
        """
        phases = frozenset(parse_phase(text) for text in bag.all("PHASE"))
        after, last = bag.one("AFTER"), bag.one("LAST")
        return cls(
            # ARCHIVED jobs are listed only when asked for (UWS-22, 23).
            phases=phases or frozenset(Phase) - {Phase.ARCHIVED},
            after=None if after is None else parse_instant("AFTER", after),
            last=None if last is None else _parse_last(last),
        )


def parse_phase(text: str) -> Phase:
    """Read a phase."""
    try:
        return Phase(text.strip().upper())
    except ValueError as e:
        raise ParameterError("PHASE", text, f"use one of {', '.join(Phase)}") from e


def parse_instant(name: str, text: str) -> datetime:
    """Read an instant in ISO 8601; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ParameterError(name, text, "give an instant in UTC as in 2030-12-31T23:59:59Z") from e


def parse_execution_duration(text: str, *, at_most: timedelta) -> timedelta:
    """Read seconds, cut to whole ones from 1 to the longest there is, which is also what 0 gets: it asks for no limit (UWS-15)."""
    text = text.strip()
    if not _NUMBER.match(text):
        raise ParameterError("EXECUTIONDURATION", text, "give whole seconds, or 0 for as long as the service allows")
    whole = text.lstrip("+").partition(".")[0]
    seconds = int(whole) if len(whole) <= _DIGITS else math.inf
    limit = at_most.total_seconds()
    if not text.strip("+0."):
        return at_most
    return timedelta(seconds=min(max(seconds, 1), limit))


def parse_wait(text: str, *, at_most: timedelta) -> float:
    """Read seconds to wait, clamped; any negative number means as long as the service allows (UWS-27, 30)."""
    text = text.strip()
    if text.startswith("-") and _NUMBER.match(text[1:]):
        return at_most.total_seconds()
    if not _NUMBER.match(text):
        raise ParameterError("WAIT", text, "give seconds, or -1 for as long as the service allows")
    return min(float(text), at_most.total_seconds())


def _parse_last(text: str) -> int:
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or not digits.strip("0"):
        raise ParameterError("LAST", text, "give a number of jobs, 1 or more")
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS
