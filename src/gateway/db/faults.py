"""What went wrong in PostgreSQL, as errors of ours: ADQL's words for the caller, the detail for the log."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta

import asyncpg
import structlog
from adbc_driver_manager import AdbcStatusCode, Error

from gateway.errors import (
    BackendUnavailableError,
    GatewayError,
    OverloadedError,
    QueryError,
    ServiceError,
    TimeLimitError,
)

log = structlog.get_logger()

UNREACHABLE_CLASSES = ("08", "57P", "25P03")
"""SQLSTATE: connection exceptions; the server shuts down, starts up or dropped us (57P01 to 57P05, 25P03)."""

CONFLICTS = frozenset({"40001", "40P01", "55P03", "55006"})
"""Another transaction, or the replay on a standby, was in the way; the same query works a moment later."""

CANCELLED = "57014"

WRONG: Mapping[str, str] = {
    "21000": "a subquery that stands for a value gives more than one row",
    "22001": "a text is too long for the type it is cast to",
    "22003": "a number is out of the range of its type",
    "22007": "a text is not a timestamp, for example '2020-01-31T12:00:00'",
    "22008": "a timestamp or interval is out of range",
    "22011": "SUBSTRING has a negative length",
    "22012": "division by zero; leave such rows out, for example by WHERE or NULLIF",
    "22019": "the ESCAPE of a LIKE is not one character",
    "2201B": "a regular expression is not valid",
    "2201E": "the logarithm of a number that is not positive",
    "2201F": "a power or square root of a negative number",
    "2201W": "TOP has a negative number",
    "2201X": "OFFSET has a negative number",
    "22025": "a LIKE pattern ends in its escape character",
    "22P02": "a text cannot be read as the type it is cast to or compared with",
    "0A000": "the database cannot do this; a FULL JOIN, for example, needs an equality in its ON",
    "53400": "the query needs more temporary disk space than it may use; select fewer rows or columns, or sort less",
    "54001": "the query is too complex; take it apart",
}
"""SQLSTATE of what the query or the data it meets does wrong, in words for its author."""

OURS = frozenset({"P0001", "22023"})
"""SQLSTATE under which our own SQL functions complain; their text is written for the caller."""

UNAVAILABLE = "the catalog database does not answer; try again in a moment"

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""All that asyncpg raises. The third is no subclass of the second, and comes, among others, when a session is ended at the
very moment at which its next statement is sent."""


def is_unreachable(error: BaseException) -> bool:
    """Whether the database could not be reached or went away, so that trying again later may work."""
    match error:
        case asyncpg.PostgresError():
            return (error.sqlstate or "").startswith(UNREACHABLE_CLASSES)
        case Error():
            if error.sqlstate is not None:
                return str(error.sqlstate).startswith(UNREACHABLE_CLASSES)
            # libpq reports a lost connection, and every refused log-in, without an SQLSTATE.
            return bool(error.status_code == AdbcStatusCode.IO)
        case _:
            return isinstance(error, DRIVER_ERRORS)


def translated(error: Error, *, time_limit: timedelta, is_late: bool) -> GatewayError:
    """Turn an error of the driver into one of ours, and log what only we should know.

    Parameters
    ----------
    time_limit
        Limit of the query, named to its author.
    is_late
        Whether that limit has passed. It tells a time-out from a cancellation, which PostgreSQL tells apart in
        words only, and those may be in any language.
    """
    state = error.sqlstate or ""
    if is_unreachable(error):
        log.warning("Catalog database unreachable", detail=str(error))
        return BackendUnavailableError(UNAVAILABLE)
    if state == CANCELLED:
        if is_late:
            return TimeLimitError(time_limit_text(time_limit))
        return BackendUnavailableError("the query was cancelled by the operator of the database; try again later")
    if state in CONFLICTS:
        return BackendUnavailableError("the database was busy changing what the query reads; send it again")
    if state in OURS:
        return QueryError(primary_message(error))
    if state in WRONG:
        return QueryError(WRONG[state])
    if state.startswith("22"):
        return QueryError("a value in the query or in the data does not fit what is done with it")
    if state.startswith("53"):
        log.error("Catalog database out of resources", sqlstate=state, detail=str(error))
        return OverloadedError("the database is out of memory, disk space or connections; try again later")
    return incident("Query failed in PostgreSQL", sqlstate=state, detail=str(error))


def incident(event: str, **details: object) -> ServiceError:
    """Log a fault of ours under a number, and make the error that gives no more than the number away."""
    number = secrets.token_hex(4)
    log.error(event, incident=number, **details)
    return ServiceError(f"the query failed inside the service; its operator finds the reason under incident {number}")


def time_limit_text(limit: timedelta) -> str:
    """Tell a caller about the limit that stopped the query."""
    return (
        f"the query was stopped at its time limit of {limit.total_seconds():g} s; ask for fewer rows, use indexed "
        "columns in WHERE, or run it as a job with a longer EXECUTIONDURATION"
    )


def primary_message(error: Error) -> str:
    """Give the message alone, without position, statement or hint."""
    for name, value in error.details or ():
        if name == "PG_DIAG_MESSAGE_PRIMARY":
            return bytes(value).decode("utf-8", "replace")
    return "a function refused its arguments"
