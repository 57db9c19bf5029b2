"""PostgreSQL and Valkey from wheels, under a supervisor of our own.

One *keeper* process per home folder owns both servers. Whoever uses them holds a connection to the
keeper's socket for as long as it lives; the kernel closes it on any death, ``kill -9`` included. When the
last user has gone, the keeper waits a few seconds, stops the servers and ends. See `keeper` for the
other side.

This package imports the standard library only: it stands in front of every command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.embedded.lease import Lease, Servers, take_lease

if TYPE_CHECKING:
    from gateway.settings import Settings

__all__ = ["Lease", "Servers", "embedded_servers", "take_lease"]


@contextmanager
def embedded_servers(
    settings: Settings,
    *,
    postgres: bool | None = None,
    valkey: bool | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Settings]:
    """Hold the embedded servers that the settings call for.

    Parameters
    ----------
    settings
        Settings in force; a server is started for each URL that is not set.
    postgres, valkey
        Start it or not, whatever the settings say; ``None`` leaves it to them.
    progress
        Called with a short text at each step of a start that is not instant.

    Yields
    ------
    Settings
        The same settings with ``database_url`` and ``redis_url`` filled in.

    Raises
    ------
    BackendUnavailableError
        A server cannot be started; the text says why and what to do.
    """
    want_postgres = settings.database_url is None if postgres is None else postgres
    want_valkey = settings.redis_url is None if valkey is None else valkey
    if not (want_postgres or want_valkey):
        yield settings
        return
    with take_lease(settings.home_path, postgres=want_postgres, valkey=want_valkey, progress=progress) as lease:
        yield resolve(settings, lease.servers)


def resolve(settings: Settings, servers: Servers) -> Settings:
    """Fill the URLs of embedded servers into settings."""
    from pydantic import SecretStr

    urls = {"database_url": servers.database_url, "redis_url": servers.redis_url}
    return settings.model_copy(update={name: SecretStr(url) for name, url in urls.items() if url is not None})
