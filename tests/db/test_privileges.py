"""What the query role may do: the second line behind the translator (A3, A5)."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from gateway.db import migrate
from gateway.db.roles import DANGEROUS, QUERY_ROLE, open_functions_report
from gateway.db.urls import DatabaseURL
from gateway.vo.adql.functions import allowed
from tests.db.support import admin
from tests.support.servers import as_user

CALLABLE = """
    SELECT p.proname::text, pg_get_function_identity_arguments(p.oid) AS arguments
    FROM pg_proc p WHERE has_function_privilege($1, p.oid, 'EXECUTE')
"""

CALLS = [
    "pg_sleep(0)",
    "pg_sleep_for('0 s')",
    "set_config('statement_timeout', '0', true)",
    "pg_terminate_backend(0)",
    "pg_cancel_backend(0)",
    "pg_notify('x', 'y')",
    "pg_advisory_lock(1)",
    "pg_try_advisory_xact_lock(1)",
    "pg_advisory_unlock_all()",
    "pg_export_snapshot()",
    "pg_logical_emit_message(true, 'x', 'y')",
    "pg_stat_reset()",
    "pg_reload_conf()",
    "pg_switch_wal()",
    "lo_creat(-1)",
    "lo_from_bytea(0, 'x')",
    "lo_get(1)",
    "lo_import('/etc/passwd')",
    "lo_export(1, '/tmp/x')",
    "lo_unlink(1)",
    "pg_read_file('/etc/passwd')",
    "pg_read_binary_file('/etc/passwd')",
    "pg_ls_dir('/')",
    "pg_stat_file('/etc/passwd')",
    "query_to_xml('SELECT 1', true, true, '')",
    "table_to_xml('pg_class', true, true, '')",
    "database_to_xml(true, true, '')",
    "ts_stat('SELECT 1')",
    "ts_rewrite('a'::tsquery, 'SELECT 1')",
]


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with admin(database_url) as connection:
        yield connection


@pytest.fixture
async def on_embedded(owner: asyncpg.Connection) -> None:
    if not await owner.fetchval("SELECT EXISTS (SELECT FROM pg_settings WHERE sourcefile LIKE '%/gateway.conf')"):
        pytest.skip("not the embedded server")


@asynccontextmanager
async def plain_owner(url: str) -> AsyncIterator[str]:
    """A user who owns the database as on a managed server: no superuser, and the query role was made for it."""
    user, name = f"user_{uuid4().hex}", DatabaseURL.parse(url).database
    async with admin(url) as server:
        await server.execute(f"CREATE ROLE {user} LOGIN; ALTER DATABASE {name} OWNER TO {user}")
        await server.execute(f"GRANT {QUERY_ROLE} TO {user}")
        yield as_user(url, user)
        await server.execute(
            f"ALTER DATABASE {name} OWNER TO CURRENT_USER; DROP OWNED BY {user} CASCADE; DROP ROLE {user}"
        )


@pytest.mark.usefixtures("on_embedded")
async def test_the_role_cannot_call_what_acts_on_more_than_rows(owner: asyncpg.Connection) -> None:  # A3
    await owner.execute(f"SET ROLE {QUERY_ROLE}")
    for call in CALLS:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for function"):
            await owner.fetch(f"SELECT * FROM {call} AS x")


@pytest.mark.usefixtures("on_embedded")
async def test_nothing_dangerous_is_open_on_the_embedded_server(database_url: str, owner: asyncpg.Connection) -> None:
    assert await asyncio.to_thread(migrate.open_functions, database_url) == []
    pattern = re.compile("|".join(DANGEROUS))
    found = {row["proname"] for row in await owner.fetch(CALLABLE, QUERY_ROLE)}
    assert [name for name in found if pattern.fullmatch(name)] == []
    assert {"sqrt", "random", "current_setting"} <= found  # what the translator and the view of images need


async def test_what_the_list_names_is_there_and_nothing_of_adql_is_in_it(owner: asyncpg.Connection) -> None:
    names = {name for (name,) in await owner.fetch("SELECT DISTINCT proname::text FROM pg_proc")}
    of_extensions = {"dblink.*", "crosstab.*", "connectby"}
    unknown = [one for one in DANGEROUS if one not in of_extensions and not any(re.fullmatch(one, n) for n in names)]
    release = await owner.fetchval("SELECT current_setting('server_version_num')::int / 10000")
    assert unknown == [] or release < 18
    pattern = re.compile("|".join(DANGEROUS), re.IGNORECASE)
    assert [name for name in allowed.names() if pattern.fullmatch(name)] == []


@pytest.mark.usefixtures("on_embedded")
async def test_functions_of_an_extension_are_closed_as_well(empty_database_url: str) -> None:
    async with admin(empty_database_url) as owner:
        available = await owner.fetchval("SELECT count(*) FROM pg_available_extensions WHERE name = 'dblink'")
        if not available:
            pytest.skip("this server has no dblink")
        await owner.execute("CREATE EXTENSION dblink")
    await upgrade(empty_database_url)
    async with admin(empty_database_url) as owner:
        assert not await owner.fetchval(
            f"SELECT has_function_privilege('{QUERY_ROLE}', 'dblink(text,text)', 'EXECUTE')"
        )


@pytest.mark.usefixtures("on_embedded")
async def test_what_was_opened_again_is_closed_by_the_next_migration(
    database_url: str, owner: asyncpg.Connection
) -> None:
    await owner.execute("GRANT EXECUTE ON FUNCTION pg_sleep(float8) TO PUBLIC")
    assert await asyncio.to_thread(migrate.open_functions, database_url) == ["pg_sleep"]
    await upgrade(database_url)
    assert await asyncio.to_thread(migrate.open_functions, database_url) == []


@pytest.mark.usefixtures("database_template")  # the role exists: an administrator made it
async def test_a_plain_owner_is_told_what_stays_open(empty_database_url: str) -> None:
    async with plain_owner(empty_database_url) as url:
        await upgrade(url)  # which neither fails nor changes what others may do
        names = await asyncio.to_thread(migrate.open_functions, url)
        assert {"pg_sleep", "set_config", "query_to_xml", "pg_terminate_backend", "ts_stat"} <= set(names)
        assert {"pg_read_file", "lo_import"}.isdisjoint(names)  # PostgreSQL keeps these for superusers
        async with admin(url) as owner:
            assert await owner.fetchval("SELECT set_config('application_name', 'x', false)") == "x"


def test_the_report_is_short_and_names_the_worst() -> None:
    text = open_functions_report(["lo_creat", "pg_sleep", "set_config", *(f"pg_log_{n}" for n in range(100))])
    assert text.startswith(f"the role {QUERY_ROLE!r} may call set_config, pg_sleep and 101 more,")
    assert len(text) < 400
    assert "lo_creat, pg_log_0" in open_functions_report(["lo_creat", "pg_log_0"])


WRITING = [
    "DELETE FROM tap_schema.tables",
    "UPDATE tap_schema.columns SET description = ''",
    "SELECT * FROM tap_schema.tables FOR UPDATE",
    "SELECT * INTO public.x FROM tap_schema.tables",
    "WITH x AS (DELETE FROM tap_schema.tables RETURNING *) SELECT * FROM x",
    "COPY tap_schema.tables TO '/tmp/x'",
    "COPY tap_schema.tables TO PROGRAM 'id'",
    "COPY tap_schema.tables FROM PROGRAM 'id'",
    "LOCK TABLE tap_schema.tables",
    "TRUNCATE tap_schema.tables",
    "CREATE SCHEMA x",
    "ALTER ROLE gateway_query SUPERUSER",
    "DROP EXTENSION plpgsql",
    "SELECT * FROM pg_authid",
    "SELECT * FROM gateway.job",
    "INSERT INTO tap_schema.schemas (schema_name) VALUES ('a')",
    "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DO $$ BEGIN DELETE FROM tap_schema.tables; END $$",
]


async def test_the_role_and_a_read_only_transaction_refuse_each_for_themselves(
    owner: asyncpg.Connection,
) -> None:  # A4, A5
    await owner.execute(f"SET ROLE {QUERY_ROLE}")
    for statement in WRITING:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
            await owner.execute(f"BEGIN READ ONLY; {statement}")
        await owner.execute("ROLLBACK")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.execute(f"BEGIN READ WRITE; {statement}")
        await owner.execute("ROLLBACK")


async def test_a_read_only_transaction_refuses_also_who_may_write(owner: asyncpg.Connection) -> None:  # A5
    for statement in WRITING:
        if not statement.startswith(("SELECT * FROM pg_authid", "SELECT * FROM gateway", "COPY", "LOCK")):
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await owner.execute(f"BEGIN READ ONLY; {statement}")
            await owner.execute("ROLLBACK")


async def upgrade(url: str) -> None:
    await asyncio.to_thread(migrate.upgrade, control_url=url, catalog_url=url)
