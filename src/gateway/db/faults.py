"""What went wrong in PostgreSQL, as errors of ours: ADQL's words for the caller, the detail for the log."""

from __future__ import annotations

import asyncpg

UNREACHABLE_CLASSES = ("08", "57P")
"""SQLSTATE: connection exceptions; the server shuts down, starts up or dropped us (57P01 to 57P05)."""


def is_unreachable(error: BaseException) -> bool:
    """Whether the database could not be reached or went away, so that trying again later may work."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(UNREACHABLE_CLASSES)
    return isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | ConnectionError)
