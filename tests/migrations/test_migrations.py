import asyncio
import time
from uuid import uuid4

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from gateway.db import migrate
from gateway.db.roles import QUERY_ROLE
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError
from tests.support.servers import as_user
from tests.support.timed import timed

CHAINS = (migrate.CONTROL, migrate.CATALOG)


async def upgrade(control_url: str, catalog_url: str | None = None) -> None:
    await asyncio.to_thread(migrate.upgrade, control_url=control_url, catalog_url=catalog_url or control_url)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.name)
async def test_a_migrated_database_is_what_the_code_describes(chain: migrate.Chain, empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    assert await asyncio.to_thread(migrate.drift, chain, url=empty_database_url) == []


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.name)
def test_the_newest_file_is_the_head_that_alembic_sees(chain: migrate.Chain) -> None:
    scripts = ScriptDirectory.from_config(migrate.configuration(chain))
    assert scripts.get_heads() == [chain.head()]
    assert len(scripts.get_bases()) == 1


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.name)
async def test_every_revision_can_be_undone(chain: migrate.Chain, empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    await asyncio.to_thread(migrate.downgrade, chain, "base", url=empty_database_url)
    await upgrade(empty_database_url)
    assert await asyncio.to_thread(migrate.drift, chain, url=empty_database_url) == []


async def test_current_tells_both_revisions(empty_database_url: str) -> None:
    def read() -> dict[str, str | None]:
        return migrate.current(control_url=empty_database_url, catalog_url=empty_database_url)

    assert await asyncio.to_thread(read) == {"control": None, "catalog": None}
    await upgrade(empty_database_url)
    assert await asyncio.to_thread(read) == {"control": migrate.CONTROL.head(), "catalog": migrate.CATALOG.head()}


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.name)
async def test_a_database_of_a_newer_version_is_left_as_it_is(chain: migrate.Chain, empty_database_url: str) -> None:
    # F19: an older process that starts again during a rolling update
    await upgrade(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(f"UPDATE {chain.schema}.alembic_version SET version_num = 'fffffffffffe'")
    await upgrade(empty_database_url)
    assert await connection.fetchval(f"SELECT version_num FROM {chain.schema}.alembic_version") == "fffffffffffe"
    await connection.close()


async def test_control_and_catalog_may_be_two_databases(empty_database_url: str, database_url: str) -> None:
    await upgrade(database_url, empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT to_regnamespace('gateway')") is None
    assert await connection.fetchval("SELECT count(*) FROM tap_schema.tables") == 6
    await connection.close()


async def test_processes_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    await asyncio.gather(*(upgrade(empty_database_url) for _ in range(4)))
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT version FROM tap_schema.version") == 2  # tap_schema and ivoa, once
    await connection.close()


@timed
async def test_a_second_upgrade_is_quick(empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    started = time.perf_counter()
    await upgrade(empty_database_url)
    assert time.perf_counter() - started < 0.3


async def test_changed_functions_are_installed_without_a_revision(empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("UPDATE tap_schema.version SET sky_digest = 'older', standard_digest = 'older'")
    await upgrade(empty_database_url)
    row = await connection.fetchrow("SELECT * FROM tap_schema.version")
    assert "older" not in {row["sky_digest"], row["standard_digest"]}
    await connection.close()


@pytest.mark.usefixtures("database_template")  # the role exists: an administrator made it
async def test_an_owner_without_superuser_rights_can_migrate(empty_database_url: str) -> None:
    user, url = await make_user(empty_database_url, "CREATEROLE")
    server = await asyncpg.connect(empty_database_url)
    await server.execute(f"GRANT {QUERY_ROLE} TO {user} WITH ADMIN OPTION")
    await upgrade(url)
    owner = await asyncpg.connect(url)
    await owner.execute(f"SET ROLE {QUERY_ROLE}")
    assert await owner.fetchval("SELECT count(*) FROM tap_schema.tables") == 6
    await owner.close()
    await drop_user(server, user)


async def test_a_user_who_cannot_become_the_query_role_is_told_what_to_ask_for(empty_database_url: str) -> None:
    user, url = await make_user(empty_database_url)
    with pytest.raises(migrate.MigrationError, match=f"CREATE ROLE {QUERY_ROLE} NOLOGIN; GRANT {QUERY_ROLE} TO"):
        await upgrade(url)
    await drop_user(await asyncpg.connect(empty_database_url), user)


async def test_a_user_who_may_not_create_schemas_is_told_what_to_ask_for(empty_database_url: str) -> None:
    user, url = await make_user(empty_database_url)
    server = await asyncpg.connect(empty_database_url)
    name = DatabaseURL.parse(empty_database_url).database
    await server.execute(f"REVOKE CREATE ON DATABASE {name} FROM {user}")
    with pytest.raises(migrate.MigrationError, match="GRANT CREATE ON DATABASE"):
        await upgrade(url)
    await drop_user(server, user)


async def test_a_server_that_is_down_is_told_apart(tmp_path: object) -> None:
    with pytest.raises(BackendUnavailableError):
        await upgrade(f"postgresql://postgres@/nothing?host={tmp_path}")


async def make_user(url: str, attributes: str = "") -> tuple[str, str]:
    """Make a user with the right to create schemas, and the address under which it logs in."""
    server = await asyncpg.connect(url)
    user = f"user_{uuid4().hex}"
    parsed = DatabaseURL.parse(url)
    await server.execute(f"CREATE ROLE {user} LOGIN {attributes}; GRANT CREATE ON DATABASE {parsed.database} TO {user}")
    await server.close()
    return user, as_user(url, user)


async def drop_user(server: asyncpg.Connection, user: str) -> None:
    await server.execute(f"DROP OWNED BY {user} CASCADE; DROP ROLE {user}")
    await server.close()
