"""What PostgreSQL expects a query to cost, asked without running it."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import structlog

from gateway.db.roles import QUERY_ROLE
from gateway.db.sql import identifier
from gateway.db.urls import DatabaseURL

log = structlog.get_logger()

PATIENCE_S = 2.0
"""Longest wait for an answer, seconds: planning takes milliseconds, and the job can be queued without it."""


class Planner:
    """Asks for the planner's estimate, over one connection."""

    def __init__(self, url: str, *, role: str = QUERY_ROLE) -> None:
        self._url = DatabaseURL.parse(url).with_application_name("gw:planner").asyncpg()
        self._role = role
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection | None = None

    async def cost(self, sql: str) -> float | None:
        """Estimate one statement of our own making, in the planner's units; ``None`` where it cannot be told now.

        A page read in sequence is 1; a second of work is some 100,000.
        """
        try:
            async with asyncio.timeout(PATIENCE_S), self._lock:
                return await self._explain(sql)
        except Exception as e:  # noqa: BLE001 - whatever it is, the query itself will tell, or find the server back
            log.info("No estimate", detail=str(e))
            self._disconnect()
            return None

    async def aclose(self) -> None:
        """Close the connection."""
        self._disconnect()

    async def _explain(self, sql: str) -> float:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url, timeout=PATIENCE_S, statement_cache_size=0)
        async with self._connection.transaction(readonly=True):
            await self._connection.execute(f"SET LOCAL ROLE {identifier(self._role)}")
            # Planned, never run: there is no ANALYZE.
            (plan,) = json.loads(await self._connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}"))
        return float(plan["Plan"]["Total Cost"])

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
