"""How far an ingest has come, for whoever draws the bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Part of an ingest, in this order."""

    CHECKING = "checking"
    """A table that PostgreSQL has already is looked at; not counted."""
    READING = "reading"
    """Files are read, positions indexed and rows sorted; counted in bytes of the files."""
    LOADING = "loading"
    """Rows go into PostgreSQL; counted in rows."""
    INDEXING = "indexing"
    """Indexes are built and the table is published; counted in steps."""


@dataclass(frozen=True, slots=True)
class Progress:
    """State of an ingest: ``done`` of ``total`` in the unit of the phase, and the rows seen so far."""

    phase: Phase
    done: int
    total: int
    rows: int


ProgressSink = Callable[[Progress], None]
"""Called often, from any thread, never at the same time twice."""


def ignore(progress: Progress) -> None:
    """Show nothing."""
