"""What went wrong in PostgreSQL, as errors of ours: ADQL's words for the caller, the detail for the log."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Wrong:
    """What a query, or the data that it meets, does wrong, in words for its author."""

    text: str
    cases: tuple[tuple[str, str], ...] = ()
    """Beginnings of PostgreSQL's own message, in English, and what to say instead of ``text``. They only make the answer
    more exact: a server that speaks another language gives ``text``."""

    def said(self, message: str) -> str:
        """Choose the words for a message of PostgreSQL."""
        return next((said for beginning, said in self.cases if message.startswith(beginning)), self.text)


WRONG: Mapping[str, Wrong] = {
    "0A000": Wrong(
        "the database cannot do this; a FULL JOIN, for example, needs an equality in its ON",
        (
            ("FULL JOIN", "FULL JOIN needs an equality of columns in its ON"),
            ("cannot convert", "CAST of NaN or of an infinite number to a whole number"),
        ),
    ),
    "21000": Wrong("a subquery that stands for a value gives more than one row"),
    "22000": Wrong("a value in the query or in the data does not fit what is done with it"),
    "22001": Wrong("a text is too long for the type it is cast to"),
    "22003": Wrong(
        "a number is out of the range of its type",
        (
            (
                "input is out of range",
                "ACOS or ASIN of a number outside -1 to 1, or SIN, COS, TAN or COT of an infinite number",
            ),
            (
                "value out of range: overflow",
                "a result of + - * / or of EXP, POWER, DEGREES, CAST, SUM or AVG is out of the range of DOUBLE or REAL",
            ),
            (
                "value out of range: underflow",
                "a result of + - * / or of EXP, POWER, RADIANS or CAST is too close to zero for DOUBLE or REAL",
            ),
            (
                "smallint out of range",
                "a result of + - * / or of CAST or SUM is out of the range of SMALLINT; cast a value to BIGINT or DOUBLE PRECISION first",
            ),
            (
                "integer out of range",
                "a result of + - * / or of CAST or SUM is out of the range of INTEGER; cast a value to BIGINT or DOUBLE PRECISION first",
            ),
            (
                "bigint out of range",
                "a result of + - * / or of CAST or SUM is out of the range of BIGINT; cast a value to DOUBLE PRECISION first",
            ),
            ('value "', "CAST of a text to a whole number that is out of the range of its type"),
            ('"', "CAST of a value that is out of the range of the type"),
            ("cannot convert", "CAST of NaN or of an infinite number to a whole number"),
        ),
    ),
    "22004": Wrong("a NULL stands where a value is needed"),
    "22007": Wrong("a text is not a timestamp, for example '2020-01-31T12:00:00'"),
    "22008": Wrong("a timestamp is out of range, or its month, day, hour, minute or second is"),
    "22011": Wrong("a part of a text has a negative length"),
    "22012": Wrong("division by zero, in / or MOD; leave such rows out, for example by WHERE or NULLIF"),
    "22019": Wrong("the ESCAPE of a LIKE is not one character"),
    "2201B": Wrong("a regular expression is not valid"),
    "2201E": Wrong(
        "LOG or LOG10 of a number that is not positive",
        (
            ("cannot take logarithm of zero", "LOG or LOG10 of zero"),
            ("cannot take logarithm of a neg", "LOG or LOG10 of a negative number"),
        ),
    ),
    "2201F": Wrong(
        "SQRT of a negative number, or POWER of a negative number with an exponent that is not whole, or of zero with a "
        "negative one",
        (
            ("cannot take square root", "SQRT of a negative number"),
            ("a negative number raised", "POWER of a negative number with an exponent that is not whole"),
            ("zero raised", "POWER of zero with a negative exponent"),
        ),
    ),
    "2201G": Wrong("a histogram needs at least one bin, and limits that are different and finite"),
    "2201W": Wrong("TOP has a negative number"),
    "2201X": Wrong("OFFSET has a negative number"),
    "22021": Wrong("a text holds a character that the database cannot store"),
    "22023": Wrong("a function was given an argument that it does not accept"),
    "22025": Wrong("a LIKE pattern ends in its escape character, or its ESCAPE is not one character"),
    "2202E": Wrong("an array has another size than is needed here"),
    "22P02": Wrong(
        "a text cannot be read as the type it is cast to or compared with",
        tuple(
            (f"invalid input syntax for type {sql}:", f"CAST of a text that is not {adql}")
            for sql, adql in {
                "smallint": "a SMALLINT",
                "integer": "an INTEGER",
                "bigint": "a BIGINT",
                "real": "a REAL",
                "double precision": "a DOUBLE PRECISION",
                "numeric": "a number",
                "boolean": "a truth value",
            }.items()
        ),
    ),
    "22P05": Wrong("a text holds a character that the database cannot store"),
    "53400": Wrong(
        "the query needs more temporary disk space than it may use; select fewer rows or columns, or sort less"
    ),
    "54000": Wrong("the query asks for a text, list or sort that is larger than the database can hold"),
    "54001": Wrong("the query is too complex; take it apart"),
    "54011": Wrong("the query has more columns than the database can hold (about 1,600); select fewer"),
    "54023": Wrong("a function was given too many arguments"),
    "XX000": Wrong("", (("invalid memory alloc request size", "a text or list would become larger than 1 GB"),)),
}
"""By SQLSTATE. An empty text is not said: what is left over is a fault of ours."""

OURS = "SKY01"
"""SQLSTATE under which our own SQL functions complain: their text, and no other, is written for the caller."""

OUR_FUNCTION = re.compile(r'(?:\bsky\.|")([a-z0-9_]+)(?:\(|")')
"""Name of one of our SQL functions where the context of an error tells it."""

ADQL_NAMES: Mapping[str, str] = {
    "mod": "MOD",
    "round": "ROUND",
    "truncate": "TRUNCATE",
    "distance": "DISTANCE",
    "parse_point": "CAST AS POINT",
    "parse_circle": "CAST AS CIRCLE",
    "parse_polygon": "CAST AS POLYGON",
}
"""What our SQL functions are in ADQL, where one of PostgreSQL's errors can come out of them."""

CHANGED = frozenset({"3F000", "42501", "42703", "42P01"})
"""No such schema, no right, no such column, no such table: something is not any more what it was when it was published."""

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
    if state == OURS:
        return QueryError(primary_message(error))
    if words := words_for(state, error):
        return QueryError(words)
    if state.startswith("53"):
        log.error("Catalog database out of resources", sqlstate=state, detail=str(error))
        return OverloadedError("the database is out of memory, disk space or connections; try again later")
    if state in CHANGED:
        return changed(state, str(error))
    return incident("Query failed in PostgreSQL", sqlstate=state, detail=str(error))


def words_for(state: str, error: Error) -> str:
    """Say in ADQL's terms what the query or its data did wrong; nothing of PostgreSQL's text is in it.

    Returns
    -------
    str
        Empty if the fault is not theirs.
    """
    wrong = WRONG.get(state) or (WRONG["22000"] if state.startswith("22") else None)
    if wrong is None:
        return ""
    words = wrong.said(diagnostic(error, "PG_DIAG_MESSAGE_PRIMARY"))
    place = OUR_FUNCTION.search(diagnostic(error, "PG_DIAG_CONTEXT"))
    name = ADQL_NAMES.get(place[1]) if place else None
    if not (name and words):
        return words
    return f"{name} of a text that is not a list of numbers" if state == "22P02" else f"{name}: {words}"


def changed(state: str, detail: str) -> ServiceError:
    """Tell, and log for the operator, that a table was altered behind our back."""
    number = secrets.token_hex(4)
    log.error(
        "Published table has changed",
        incident=number,
        sqlstate=state,
        detail=detail,
        cure="gateway status lists what has changed; gateway register TABLE --replace publishes it as it is now",
    )
    return ServiceError(
        "a table or column of this query has changed since it was published, and its operator has to register it again "
        f"(gateway register ... --replace; incident {number}); other columns and tables still work"
    )


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
    return diagnostic(error, "PG_DIAG_MESSAGE_PRIMARY") or "a function refused its arguments"


def diagnostic(error: Error, wanted: str) -> str:
    """Give one field of what PostgreSQL said; empty if it said nothing there."""
    for name, value in error.details or ():
        if (name.decode() if isinstance(name, bytes) else name) == wanted:
            return bytes(value).decode("utf-8", "replace")
    return ""
