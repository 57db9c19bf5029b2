"""Errors of the drivers, and what they mean."""

import asyncpg
import pytest

from gateway.db.faults import DRIVER_ERRORS, is_unreachable

FAMILIES = [
    kind
    for kind in vars(asyncpg.exceptions).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
]


def test_driver_errors_are_all_that_asyncpg_can_raise() -> None:
    assert len(FAMILIES) > 100
    assert [kind for kind in FAMILIES if not issubclass(kind, DRIVER_ERRORS)] == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncpg.AdminShutdownError("terminating connection"), True),
        (asyncpg.ConnectionDoesNotExistError("closed in the middle"), True),
        (asyncpg.IdleInTransactionSessionTimeoutError("5 s"), True),
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (TimeoutError(), True),
        (ConnectionRefusedError(), True),
        (asyncpg.UniqueViolationError("twice"), False),
        (asyncpg.DivisionByZeroError("1/0"), False),
        (KeyError("ours"), False),
    ],
)
def test_unreachable_is_what_may_work_later(error: Exception, expected: bool) -> None:
    assert is_unreachable(error) is expected
