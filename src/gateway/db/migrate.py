"""Bring both databases up to date: two chains of migrations, the SQL functions of the sky, and the query role.

Everything of one database happens in one transaction under an advisory lock: several processes may start
at once, and a migration that fails leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog

from gateway.db.faults import is_unreachable
from gateway.db.roles import (
    CAN_CLOSE,
    CLOSE_STATEMENTS,
    OPEN_FUNCTIONS,
    QUERY_ROLE,
    ROLE_STATEMENTS,
    membership_instructions,
    role_instructions,
)
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError, GatewayError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, MetaData

log = structlog.get_logger()

OLDEST_POSTGRESQL = 14
"""``client_connection_check_interval`` came with 14; without it a dead client's query runs on (F1)."""

LOCK = 0x67617465776179
"""Key of the advisory lock: the bytes of "gateway"."""

REVISION_FILE = re.compile(r"\d{8}_\d{4}_(?P<revision>[0-9a-f]+)_[a-z0-9_]+\.py\Z")


class MigrationError(GatewayError):
    """A database cannot be migrated; the text says what its administrator has to change."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One database's line of migrations.

    Attributes
    ----------
    name
        Folder below ``migrations/versions``.
    schema
        Schema that holds Alembic's own table, and that must exist before it.
    modules
        Modules that add tables to the chain's metadata.
    others
        Further schemas that are the chain's own.
    """

    name: str
    schema: str
    metadata_name: str
    modules: tuple[str, ...]
    others: tuple[str, ...] = ()

    def metadata(self) -> MetaData:
        """Tables as the code wants them."""
        for module in self.modules:
            importlib.import_module(module)
        metadata: MetaData = getattr(importlib.import_module("gateway.db.schema.base"), self.metadata_name)
        return metadata

    def includes(self, name: str | None, kind: str, _parents: object) -> bool:
        """Whether a comparison with the database looks at this object; schemas of others are not ours."""
        return name in {self.schema, *self.others} if kind == "schema" else True

    def comparison(self) -> dict[str, Any]:
        """Options under which Alembic looks at the database."""
        return {
            "version_table_schema": self.schema,
            "include_schemas": True,
            "include_name": self.includes,
            "compare_type": True,
            "compare_server_default": True,
        }

    def folder(self) -> Traversable:
        """Folder of the revision files."""
        return resources.files("gateway.db.migrations").joinpath("versions", self.name)

    def revisions(self) -> list[str]:
        """Revisions that this version knows, oldest first, read from the file names: start-up need not import Alembic."""
        if not self.folder().is_dir():
            return []
        names = sorted(entry.name for entry in self.folder().iterdir())
        return [match["revision"] for name in names if (match := REVISION_FILE.match(name))]

    def head(self) -> str | None:
        """Newest revision that this version knows."""
        return revisions[-1] if (revisions := self.revisions()) else None


CONTROL = Chain("control", "gateway", "CONTROL", ("gateway.db.schema.jobs",))
CATALOG = Chain(
    "catalog",
    "tap_schema",
    "CATALOG",
    ("gateway.db.schema.tap_schema", "gateway.db.schema.images"),
    others=("gateway_images",),
)


def upgrade(*, control_url: str, catalog_url: str, query_url: str | None = None) -> None:
    """Migrate both databases to the newest revision; quick when they are there already.

    Parameters
    ----------
    control_url, catalog_url
        Addresses with the owner's rights, as ``psql`` takes them; may be the same.
    query_url
        Address under which queries reach the catalog, if it is another one: its user must be able to become the
        query role.

    Raises
    ------
    MigrationError
        PostgreSQL is too old, behind a transaction pooler, or lacks a right.
    BackendUnavailableError
        A database does not answer.
    """
    asyncio.run(_upgrade_all(control_url, catalog_url, query_url))


async def _upgrade_all(control_url: str, catalog_url: str, query_url: str | None) -> None:
    for chain, url in ((CONTROL, control_url), (CATALOG, catalog_url)):
        if not await _is_current(chain, url):
            await _run(chain, url, _upgrade)
    if query_url is not None:
        async with _probe(query_url) as connection:
            await _refuse_unfit(connection, query_url)
            await _refuse_without_role(connection)


def current(*, control_url: str, catalog_url: str) -> dict[str, str | None]:
    """Revision of each chain, ``None`` where nothing is migrated yet."""

    async def read() -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for chain, url in ((CONTROL, control_url), (CATALOG, catalog_url)):
            async with _probe(url) as connection:
                found[chain.name] = await _revision(chain, connection)
        return found

    return asyncio.run(read())


def open_functions(catalog_url: str) -> list[str]:
    """List the dangerous functions of PostgreSQL that the query role may call; empty on the embedded server."""

    async def read() -> list[str]:
        async with _probe(catalog_url) as connection:
            return [name for (name,) in await connection.fetch(OPEN_FUNCTIONS)]

    return asyncio.run(read())


def drift(chain: Chain, *, url: str) -> list[Any]:
    """Differences between a migrated database and what the code describes; empty when all is well."""
    found: list[Any] = []

    def compare(chain: Chain, connection: Connection) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.runtime.migration import MigrationContext

        context = MigrationContext.configure(connection, opts=chain.comparison())
        found.extend(compare_metadata(context, chain.metadata()))

    asyncio.run(_run(chain, url, compare))
    return found


def downgrade(chain: Chain, revision: str, *, url: str) -> None:
    """Go back to a revision, or to nothing with ``base``. What later revisions held is lost."""

    def back(chain: Chain, connection: Connection) -> None:
        from alembic import command

        command.downgrade(configuration(chain, connection), revision)

    asyncio.run(_run(chain, url, back))


def draft(chain: Chain, message: str, *, url: str) -> None:
    """Write a new revision file from the difference between a migrated database and the code.

    For developers: rename nothing, read all of it, and keep what expands apart from what contracts.
    """

    def write(chain: Chain, connection: Connection) -> None:
        from alembic import command

        command.revision(configuration(chain, connection), message, autogenerate=True)

    asyncio.run(_run(chain, url, write))


def configuration(chain: Chain, connection: Connection | None = None) -> Config:
    """Alembic's configuration of one chain, for a connection where its commands need one."""
    from alembic.config import Config

    config = Config(attributes={"chain": chain, "connection": connection})
    config.set_main_option("script_location", "gateway.db:migrations")
    config.set_main_option("version_locations", str(chain.folder()))
    config.set_main_option("path_separator", "os")
    config.set_main_option(
        "file_template", "%%(year)d%%(month).2d%%(day).2d_%%(hour).2d%%(minute).2d_%%(rev)s_%%(slug)s"
    )
    return config


# -- is there anything to do? -----------------------------------------------------------------------------------


async def _is_current(chain: Chain, url: str) -> bool:
    async with _probe(url) as connection:
        await _refuse_unfit(connection, url)
        revision = await _revision(chain, connection)
        if revision is not None and revision not in chain.revisions():
            # A newer version has been here, and runs beside us for a while (F19). What it added does not disturb us.
            log.warning("Database is newer than this program", chain=chain.name, revision=revision)
            return True
        if revision != chain.head():
            return False
        if chain is CONTROL:
            return True
        digests = await connection.fetchrow("SELECT sky_digest, standard_digest FROM tap_schema.version")
        if digests != (_digest(_sky_files()), _digest(_standard_statements())):
            return False
        return not await connection.fetchval(CAN_CLOSE)


@asynccontextmanager
async def _probe(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await _connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def _connect(url: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(
            DatabaseURL.parse(url).with_application_name("gw:migrate").asyncpg(), statement_cache_size=0
        )
    except Exception as e:
        if is_unreachable(e):
            raise BackendUnavailableError("the database does not answer") from e
        raise


async def _revision(chain: Chain, connection: asyncpg.Connection) -> str | None:
    if await connection.fetchval("SELECT to_regclass($1)", f"{chain.schema}.alembic_version") is None:
        return None
    revision: str | None = await connection.fetchval(f"SELECT version_num FROM {chain.schema}.alembic_version")
    return revision


async def _refuse_unfit(connection: asyncpg.Connection, url: str) -> None:
    number = int(await connection.fetchval("SELECT current_setting('server_version_num')"))
    if number < OLDEST_POSTGRESQL * 10_000:
        raise MigrationError(
            f"this is PostgreSQL {number // 10_000}; the gateway needs PostgreSQL {OLDEST_POSTGRESQL} or newer"
        )
    if await _is_behind_transaction_pooler(connection, url):
        raise MigrationError(
            "the database is reached through a pooler in transaction mode, which loses temporary tables, roles and "
            "limits between statements; connect to PostgreSQL itself, or set the pooler to session mode "
            "(PgBouncer: pool_mode=session)"
        )


async def _refuse_without_role(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute(f"SET ROLE {QUERY_ROLE}")
        await connection.fetchval("SELECT version FROM tap_schema.version")
    except asyncpg.PostgresError as e:
        raise MigrationError(membership_instructions(str(e))) from e


async def _is_behind_transaction_pooler(connection: asyncpg.Connection, url: str) -> bool:
    # PostgreSQL itself hands out the process id of the backend at log-in; a pooler hands out a number of its own.
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    if backend == connection.get_server_pid():
        return False
    # In session mode the backend is ours until we leave; in transaction mode the next client may get it.
    async with _probe(url) as other:
        return any([await other.fetchval("SELECT pg_backend_pid()") == backend for _ in range(3)])


# -- doing it ---------------------------------------------------------------------------------------------------


async def _run(chain: Chain, url: str, action: Callable[[Chain, Connection], None]) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: _connect(url), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            await connection.run_sync(lambda sync: action(chain, sync))
    finally:
        await engine.dispose()


def _upgrade(chain: Chain, connection: Connection) -> None:
    from alembic import command

    _prepare(chain, connection)
    command.upgrade(configuration(chain, connection), "heads")
    if chain is CATALOG:
        _install(connection)


def _prepare(chain: Chain, connection: Connection) -> None:
    """Make what must be there before the first migration: the schema of Alembic's table, the query role."""
    from sqlalchemy.exc import DBAPIError

    try:
        # IF NOT EXISTS would ask for the right to create even where nothing is left to do.
        if connection.exec_driver_sql(f"SELECT to_regnamespace('{chain.schema}')").scalar_one() is None:
            connection.exec_driver_sql(f"CREATE SCHEMA {chain.schema}")
    except DBAPIError as e:
        raise MigrationError(
            f"this user may not create the schema {chain.schema!r}; let an administrator run: "
            "GRANT CREATE ON DATABASE <this database> TO <this user>"
        ) from e
    if chain is not CATALOG:
        return
    try:
        _execute_script(connection, ROLE_STATEMENTS)
    except (DBAPIError, asyncpg.PostgresError) as e:
        raise MigrationError(role_instructions()) from e


def _install(connection: Connection) -> None:
    """Install what belongs to the code and not to a revision: the SQL functions and TAP_SCHEMA's own description."""
    for column, statements in (("sky_digest", _sky_files()), ("standard_digest", _standard_statements())):
        digest = _digest(statements)
        if connection.exec_driver_sql(f"SELECT {column} FROM tap_schema.version").scalar_one() == digest:
            continue
        for statement in statements:
            _execute_script(connection, statement)
        connection.exec_driver_sql(f"UPDATE tap_schema.version SET {column} = '{digest}'")
    _execute_script(connection, CLOSE_STATEMENTS)


def _execute_script(connection: Connection, script: str) -> None:
    """Run SQL text of one or more statements, with no parameters and nothing escaped."""
    driver: Any = connection.connection.dbapi_connection
    driver.run_async(lambda raw: raw.execute(script))


def _sky_files() -> list[str]:
    folder = resources.files("gateway.db.migrations").joinpath("sky")
    if not folder.is_dir():
        return []
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [entry.read_text(encoding="utf-8") for entry in files] + [
        f"GRANT USAGE ON SCHEMA sky TO {QUERY_ROLE}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sky TO {QUERY_ROLE}"
    ]


def _standard_statements() -> list[str]:
    from gateway.db.registry import publish_schema_statements
    from gateway.db.schema.images import OBSCORE, view_statements
    from gateway.db.schema.standard import STANDARD

    return [*publish_schema_statements(STANDARD), *view_statements(), *publish_schema_statements(OBSCORE)]


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
