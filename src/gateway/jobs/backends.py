"""Ends the database sessions of killed claims on the catalog (reliability F1, F21, I6)."""

from __future__ import annotations

import structlog

from gateway.jobs.store import CONNECTION_ERRORS, connect

log = structlog.get_logger()

TERMINATE = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()
"""


class Backends:
    """Sessions on the catalog database, found by the name that each claim gives to its own.

    A killed child's sessions notice that they are alone only when they write or, with
    ``client_connection_check_interval``, at its next tick; this ends them now.
    """

    def __init__(self, url: str) -> None:
        """Take the address under which queries log in: one may end sessions of one's own user."""
        self._url = url

    async def terminate(self, label: str) -> int:
        """End the sessions of one claim; returns how many there were.

        Failing is no error: the sessions end by themselves a little later.
        """
        try:
            connection = await connect(self._url, "gw:backends")
            try:
                count: int = await connection.fetchval(TERMINATE, label)
            finally:
                await connection.close(timeout=2)
        except CONNECTION_ERRORS as e:
            log.warning("Sessions not ended", label=label, reason=type(e).__name__)
            return 0
        if count:
            log.info("Sessions ended", label=label, count=count)
        return count
