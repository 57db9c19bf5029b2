"""The administrator's connection of an ingest, and what can go wrong with it."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError, IngestError

LOST_CLIENT_CHECK = "5s"
"""How often PostgreSQL looks, while it builds an index, whether this process still lives."""


@asynccontextmanager
async def admin_connection(admin_url: str) -> AsyncIterator[Any]:
    """Connect as the administrator; what goes wrong becomes an error of ours."""
    url = DatabaseURL.parse(admin_url).with_application_name("gw:ingest").asyncpg()
    connection: Any = None
    try:
        connection = await asyncpg.connect(
            url, timeout=10, server_settings={"client_connection_check_interval": LOST_CLIENT_CHECK}
        )
        yield connection
    except asyncpg.DiskFullError as e:
        raise IngestError(
            f"PostgreSQL has no disk space left ({e.message or e}); free some and repeat: nothing was published"
        ) from e
    except asyncpg.ProgramLimitExceededError as e:
        raise IngestError(
            f"a row is too large for PostgreSQL ({e}); split the table into several with a common key"
        ) from e
    except asyncpg.InsufficientPrivilegeError as e:
        raise IngestError(
            f"the database user may not do this ({e}); use one who owns the catalog database (GATEWAY_CATALOG_ADMIN_URL)"
        ) from e
    except asyncpg.UndefinedFunctionError as e:
        raise IngestError(f"this database lacks a function of the gateway ({e}); run gateway migrate first") from e
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as e:
        raise BackendUnavailableError(f"PostgreSQL went away ({e}); nothing was published, try again") from e
    except (ConnectionError, TimeoutError, asyncpg.PostgresError) as e:
        if isinstance(e, asyncpg.PostgresError) and connection is not None:
            raise
        raise BackendUnavailableError(f"the catalog database does not answer ({e})") from e
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise IngestError(f"no disk space left ({e}); nothing was published") from e
        if connection is None:
            raise BackendUnavailableError(f"the catalog database does not answer ({e})") from e
        raise
    finally:
        if connection is not None:
            # Not close(): it would wait for a COPY that was interrupted.
            connection.terminate() if connection.is_in_transaction() else await connection.close()
