"""Servers for the whole test session: one embedded PostgreSQL and Valkey, shared by all pytest-xdist workers.

``GATEWAY_TEST_DATABASE_SERVER`` names another PostgreSQL (URL of a superuser's database), so that the suite can run
against any version; then only Valkey is embedded.
"""

import asyncio
import hashlib
import importlib.util
import os
import secrets
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from gateway.embedded import Lease, take_lease

SOURCE = Path(__file__).parents[2] / "src" / "gateway"

HOME = "GATEWAY_TEST_HOME"
"""Variable by which xdist's workers learn the folder of the session's servers."""

BUILD_LOCK = 0x74656D70
"""Advisory lock of the one process that builds the template."""

GRACE = 10.0
"""Seconds between two users of the session's servers: xdist replaces a crashed worker meanwhile."""


def on_database(url: str, name: str) -> str:
    """The same server's URL, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(name)}"))


def as_user(url: str, user: str) -> str:
    """The same database's URL for another user, who needs no password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))


def migrations_digest() -> str:
    """A name for the present migrations: changes when anything that makes the schema does."""
    digest = hashlib.sha256()
    for path in sorted([*(SOURCE / "db").rglob("*.py"), *(SOURCE / "db").rglob("*.sql")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def migrate(url: str) -> None:
    """Bring a database to the present schema."""
    if importlib.util.find_spec("gateway.db.migrate") is not None:
        from gateway.db import migrate as migrating

        migrating.upgrade(control_url=url, catalog_url=url)


class Administrator:
    """One connection to a PostgreSQL server, used from any thread and inside or outside of event loops."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="administrator", daemon=True)
        self._thread.start()
        self._connection = self._wait(asyncpg.connect(url, timeout=10))

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        for statement in statements:
            self._wait(self._connection.execute(statement))

    def has_database(self, name: str) -> bool:
        """Whether a database exists."""
        query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
        return bool(self._wait(self._connection.fetchval(query, name)))

    def create(self, template: str) -> str:
        """Clone a template; returns the URL of the clone."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return on_database(self.url, name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever still uses it."""
        self.execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def template(self) -> str:
        """Name of the migrated template; the first to ask builds it, the others wait."""
        name = f"template_{migrations_digest()}"
        self.execute(f"SELECT pg_advisory_lock({BUILD_LOCK})")
        try:
            if not self.has_database(name):
                new = f"{name}_new"
                self.execute(f"DROP DATABASE IF EXISTS {new} WITH (FORCE)", f"CREATE DATABASE {new}")
                migrate(on_database(self.url, new))
                self.execute(f"ALTER DATABASE {new} RENAME TO {name}")
        finally:
            self.execute(f"SELECT pg_advisory_unlock({BUILD_LOCK})")
        return name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def take_servers() -> tuple[Lease, str]:
    """Hold the session's servers; returns the lease and the URL of a superuser's database."""
    given = os.environ.get("GATEWAY_TEST_DATABASE_SERVER")
    lease = take_lease(Path(os.environ[HOME]), postgres=given is None, grace=GRACE, durable=False)
    if given is None:
        assert lease.servers.database_url is not None
        return lease, on_database(lease.servers.database_url, "postgres")
    return lease, given
