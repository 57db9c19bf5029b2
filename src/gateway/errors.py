"""The one tree of errors: what happened, never how a protocol spells it.

::

    GatewayError
    ├── UsageError             the request is wrong; the text says what to change
    │   ├── ParameterError         a parameter has a value that is not allowed
    │   │   └── MultipleValuesError    a single-valued parameter came more than once
    │   ├── QueryError             ADQL is wrong, at a line and column
    │   ├── UploadError            a table or file that came with the request is unusable
    │   ├── IngestError            a file or its description cannot be published
    │   ├── IllegalMoveError       the job's phase does not allow this
    │   ├── NotSupportedError      a valid request that this version does not serve yet
    │   └── NoOverlapError         the region and the data have nothing in common
    ├── NotFoundError · AuthenticationError · AuthorizationError · QuotaError
    ├── DatasetError           a file of the archive cannot be read or placed; the text says why
    ├── TransientError         trying again later may work
    │   ├── OverloadedError
    │   ├── BackendUnavailableError
    │   └── TimeLimitError
    └── ServiceError           our fault; the detail stays in the log

Each protocol's spelling stands in ``routers/faults.py``. This module imports nothing of ours.
"""

from __future__ import annotations

from typing_extensions import override


class GatewayError(Exception):
    """Root of every error that the gateway raises on purpose.

    The message is written for the person who made the request: it says what was found and what to
    change, and holds no secret, path, SQL or trace.
    """

    @property
    def message(self) -> str:
        """Text for the person who made the request."""
        return str(self)


class UsageError(GatewayError):
    """The request is wrong; its sender can mend it."""


class ParameterError(UsageError):
    """A parameter has a value that the standard or this service does not allow."""

    def __init__(self, name: str, value: str, reason: str) -> None:
        shown = value if len(value) <= 100 else value[:97] + "..."
        super().__init__(f"{name}={shown!r}: {reason}")
        self.name = name
        self.reason = reason


class MultipleValuesError(ParameterError):
    """A single-valued parameter was given more than once (DALI 1.1, "Multi-Valued Parameters")."""

    def __init__(self, name: str, values: tuple[str, ...]) -> None:
        super().__init__(name, ", ".join(values), "give this parameter only once")


class QueryError(UsageError):
    """An ADQL query is wrong.

    Attributes
    ----------
    line, column
        1-based position of the first offending character, or ``None`` when the fault has no place.
    """

    def __init__(self, reason: str, *, line: int | None = None, column: int | None = None) -> None:
        place = f"line {line}, column {column}: " if line is not None else ""
        super().__init__(f"{place}{reason}")
        self.reason = reason
        self.line = line
        self.column = column

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Keep line and column across processes."""
        return (_query_error, (self.reason, self.line, self.column))


def _query_error(reason: str, line: int | None, column: int | None) -> QueryError:
    return QueryError(reason, line=line, column=column)


class UploadError(UsageError):
    """A table or file that came with the request cannot be used."""


class IngestError(UsageError):
    """A file or its description cannot be published; the text names the file and the place in it."""


class IllegalMoveError(UsageError):
    """The job's phase does not allow this request (UWS 1.1, "Service machinery errors")."""


class NotSupportedError(UsageError):
    """A valid request that this version does not serve yet."""


class NoOverlapError(UsageError):
    """What was asked for and the data have nothing in common."""


class DatasetError(GatewayError):
    """A file of the archive cannot be read, or not be placed on the sky; its caller can do nothing about it."""


class NotFoundError(GatewayError):
    """Nothing of that name is here."""


class AuthenticationError(GatewayError):
    """Credentials are needed, or those given are not valid."""


class AuthorizationError(GatewayError):
    """The caller may not do this."""


class QuotaError(GatewayError):
    """The caller has used up an allowance.

    Attributes
    ----------
    retry_after_s
        Seconds after which trying again makes sense.
    """

    def __init__(self, reason: str, *, retry_after_s: int = 10) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class TransientError(GatewayError):
    """Trying the same request again later may work.

    Attributes
    ----------
    retry_after_s
        Seconds after which trying again makes sense.
    """

    def __init__(self, reason: str, *, retry_after_s: int = 5) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class OverloadedError(TransientError):
    """All slots are taken."""


class BackendUnavailableError(TransientError):
    """A database, queue or store does not answer."""


class TimeLimitError(TransientError):
    """The request ran into its time limit."""


class ServiceError(GatewayError):
    """Our fault. The message that goes out is general; the detail stays in the log."""
