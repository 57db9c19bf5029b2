"""Connections to the control database: short statements, bounded waits, one error when it is away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Self

import asyncpg

from gateway.db.faults import DRIVER_ERRORS, is_unreachable
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError
from gateway.jobs.store.announcer import Announcer

ACQUIRE_TIMEOUT_S = 5.0
"""Longest wait for a pooled connection; then the caller hears 503 (F25)."""

COMMAND_TIMEOUT_S = 15.0
"""Longest single statement: all are short, so that a silent network is noticed (F8)."""

IDLE_LIMIT = "5s"
"""Longest pause inside a transaction. A process that is frozen there, or whose machine vanished, would else keep its
locks, and no other worker could claim (F3)."""

STALL_LIMIT = timedelta(seconds=5)
"""Longest pause between two messages of one statement. The driver sends "parse" and "execute" apart, and between them a
session counts as active: no time-out of PostgreSQL ends it, whatever it has locked (F3)."""

NAMES = ("gw:jobs", "gw:worker")
"""``application_name`` of the sessions of stores."""

CONNECTION_ERRORS = (BackendUnavailableError, *DRIVER_ERRORS)
"""All that `connect`, and the connection that it gives, can raise."""

UNREACHABLE = "The job database does not answer; try again in a few seconds"

CROSSED = "The job is being changed from two sides at once; try again"


async def connect(url: str, name: str) -> asyncpg.Connection:
    """Open a connection of one's own to the control database.

    Raises
    ------
    BackendUnavailableError
        It does not answer.
    """
    try:
        return await asyncpg.connect(
            DatabaseURL.parse(url).with_application_name(name).asyncpg(),
            timeout=ACQUIRE_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
        )
    except Exception as e:
        if is_unreachable(e):
            raise BackendUnavailableError(UNREACHABLE) from e
        raise


class Pooled:
    """Holds the pool that all statements of a store share."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._announcer = Announcer(self._connection)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, connections: int = 8, name: str = NAMES[0]) -> AsyncIterator[Self]:
        """Hold a pool of connections.

        Parameters
        ----------
        url
            Control database, migrated.
        connections
            Most connections held.
        name
            ``application_name`` of the sessions, one of `NAMES`.
        """
        pool = asyncpg.create_pool(
            DatabaseURL.parse(url).with_application_name(name).asyncpg(),
            min_size=0,  # so that a gateway starts, and answers, while the database is away
            max_size=connections,
            timeout=ACQUIRE_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            init=_use_json,
            reset=_keep,
            server_settings={"idle_in_transaction_session_timeout": IDLE_LIMIT},
        )
        async with pool:
            store = cls(pool)
            try:
                yield store
            finally:
                await store._announcer.aclose()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection
        except asyncpg.DeadlockDetectedError as e:
            raise BackendUnavailableError(CROSSED) from e
        except Exception as e:
            if is_unreachable(e):
                raise BackendUnavailableError(UNREACHABLE) from e
            raise

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._connection() as connection, connection.transaction():
            yield connection


async def _keep(_connection: asyncpg.Connection) -> None:
    """Leave a session as it is: no statement of ours changes it, and each would wait for the reset."""


async def _use_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
