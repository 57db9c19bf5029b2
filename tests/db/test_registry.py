import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.db.registry import Registry, publish_statements, size_of, unpublish_statements, unquoted
from gateway.db.roles import QUERY_ROLE
from gateway.db.sql import identifier, literal
from gateway.errors import BackendUnavailableError
from gateway.vo.tableset import Datatype, ForeignKey, Schema, Table, Tableset, VOType, adql_identifier
from tests.db.support import MAKE_STARS, SURVEY, admin, column, execute_all, stars


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with admin(database_url) as connection:
        await connection.execute(MAKE_STARS)
        yield connection


async def load(url: str) -> Tableset:
    registry = Registry(url)
    try:
        return await registry.load()
    finally:
        await registry.aclose()


async def publish(owner: asyncpg.Connection, table: Table, *, schema: Schema = SURVEY, replace: bool = False) -> None:
    await execute_all(owner, publish_statements(schema, table, replace=replace))


async def test_tap_schema_describes_itself(database_url: str) -> None:
    tableset = await load(database_url)
    names = [table.qualified_name for table in tableset.tables]
    own = [f"tap_schema.{name}" for name in ("schemas", "tables", "columns", "keys", "key_columns")]
    assert names == ["ivoa.obscore", *own]
    assert all(column.is_std for table in tableset.tables for column in table.columns)


async def test_the_five_keys_of_tap_schema_are_listed(database_url: str) -> None:  # TAP-74
    tableset = await load(database_url)
    found = {
        (table.name, here, key.target_table.removeprefix("tap_schema."), there)
        for table in tableset.tables
        for key in table.keys
        for here, there in key.columns
    }
    assert found == {
        ("tables", "schema_name", "schemas", "schema_name"),
        ("columns", "table_name", "tables", "table_name"),
        ("keys", "from_table", "tables", "table_name"),
        ("keys", "target_table", "tables", "table_name"),
        ("key_columns", "key_id", "keys", "key_id"),
    }


async def test_size_is_stored_under_its_quoted_name(database_url: str, owner: asyncpg.Connection) -> None:  # TAP-73
    stored = await owner.fetchval("SELECT column_name FROM tap_schema.columns WHERE physical_name = 'size'")
    assert stored == '"size"'
    columns = (await load(database_url)).find("tap_schema.columns")
    assert columns is not None
    assert "size" in {column.name for column in columns.columns}


@pytest.mark.parametrize(
    ("datatype", "arraysize", "size"),
    [("double", None, None), ("char", "*", None), ("char", "8", 8), ("char", "8*", 8), ("double", "2x3", None)],
)
def test_size_follows_arraysize(datatype: str, arraysize: str | None, size: int | None) -> None:  # TAP-72
    assert size_of(VOType(Datatype(datatype), arraysize)) == size


async def test_a_published_table_is_read_back_as_it_was(database_url: str, owner: asyncpg.Connection) -> None:
    table = stars(
        title="Stars", utype="a.b", index=3, origin=(("creator", 'É. "N"'), ("creator", "B"), ("citation", "it's"))
    )
    await publish(owner, table)
    found = (await load(database_url)).find("survey.stars")
    assert found is not None
    places = tuple(dataclasses.replace(c, index=place) for place, c in enumerate(table.columns, start=1))
    assert found == dataclasses.replace(table, columns=places)


async def test_schemas_of_the_survey_come_before_tap_schema(database_url: str, owner: asyncpg.Connection) -> None:
    await publish(owner, stars())
    assert [schema.name for schema in (await load(database_url)).schemas] == ["ivoa", "survey", "tap_schema"]


async def test_odd_names_are_stored_as_adql_writes_them(database_url: str, owner: asyncpg.Connection) -> None:
    await owner.execute('CREATE TABLE survey.t1 ("2MASS $$ ""x"" a" text)')
    odd = '2MASS $$ "x" a'
    table = Table("my survey", "date", (column(odd, "char", "text", "*"),), "survey", "t1")
    await publish(owner, table, schema=Schema("my survey", ()))
    assert await owner.fetchval("SELECT table_name FROM tap_schema.tables WHERE physical_name = 't1'") == (
        '"my survey"."date"'
    )
    found = (await load(database_url)).find('"my survey"."date"')
    assert found is not None
    assert (found.schema, found.name, found.columns[0].name) == ("my survey", "date", odd)
    await execute_all(owner, unpublish_statements('"my survey"."date"'))
    assert (await load(database_url)).find('"my survey"."date"') is None


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_names_survive_quoting(name: str) -> None:
    assert unquoted(adql_identifier(name)) == name
    assert identifier(name)[1:-1].replace('""', '"') == name


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_values_survive_quoting(value: str) -> None:
    assert literal(value)[1:-1].replace("''", "'") == value


async def test_quotes_in_a_description_stay_text(database_url: str, owner: asyncpg.Connection) -> None:
    nasty = "it's \\'; DROP TABLE survey.stars; -- $$ :x %s é"
    await publish(owner, stars(description=nasty))
    found = (await load(database_url)).find("survey.stars")
    assert found is not None
    assert found.description == nasty


async def test_publishing_twice_fails_unless_replacing(owner: asyncpg.Connection) -> None:
    await publish(owner, stars())
    with pytest.raises(asyncpg.UniqueViolationError):
        await publish(owner, stars())
    await publish(owner, stars(), replace=True)


async def test_replacing_keeps_the_keys_of_other_tables(database_url: str, owner: asyncpg.Connection) -> None:
    key = ForeignKey("hidden_stars", "survey.stars", (("id", "id"),))
    await publish(owner, stars())
    await publish(owner, Table("survey", "hidden", (column("id", "long", "bigint"),), "survey", "hidden", keys=(key,)))
    await publish(owner, stars(description="new"), replace=True)
    found = (await load(database_url)).find("survey.hidden")
    assert found is not None
    assert found.keys == (key,)


async def test_a_key_to_a_column_that_went_away_goes_too(  # TAP-75
    database_url: str, owner: asyncpg.Connection
) -> None:
    key = ForeignKey("hidden_stars", "survey.stars", (("id", "id"),))
    await publish(owner, stars())
    await publish(owner, Table("survey", "hidden", (column("id", "long", "bigint"),), "survey", "hidden", keys=(key,)))
    await publish(owner, stars(columns=stars().columns[1:]), replace=True)
    found = (await load(database_url)).find("survey.hidden")
    assert found is not None
    assert found.keys == ()


@pytest.mark.parametrize("pair", [("nothing", "id"), ("id", "nothing")])
async def test_a_key_with_a_column_that_is_not_there_is_not_listed(  # TAP-75
    database_url: str, owner: asyncpg.Connection, pair: tuple[str, str]
) -> None:
    key = ForeignKey("hidden_stars", "survey.stars", (pair,))
    await publish(owner, stars())
    await publish(owner, Table("survey", "hidden", (column("id", "long", "bigint"),), "survey", "hidden", keys=(key,)))
    found = (await load(database_url)).find("survey.hidden")
    assert found is not None
    assert found.keys == ()


async def test_unpublishing_takes_the_table_and_its_empty_schema_away(
    database_url: str, owner: asyncpg.Connection
) -> None:
    await publish(owner, stars())
    await execute_all(owner, unpublish_statements("survey.stars"))
    assert [schema.name for schema in (await load(database_url)).schemas] == ["ivoa", "tap_schema"]
    assert not await owner.fetchval(f"SELECT has_table_privilege('{QUERY_ROLE}', 'survey.stars', 'SELECT')")
    assert not await owner.fetchval(f"SELECT has_column_privilege('{QUERY_ROLE}', 'survey.stars', 'id', 'SELECT')")


async def test_a_dropped_table_can_be_unpublished(database_url: str, owner: asyncpg.Connection) -> None:
    await publish(owner, stars())
    await owner.execute("DROP TABLE survey.stars")
    await execute_all(owner, unpublish_statements("survey.stars"))
    assert (await load(database_url)).find("survey.stars") is None


async def test_a_failed_publication_leaves_nothing(database_url: str, owner: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await publish(owner, stars(physical_name="nothing"))
    assert (await load(database_url)).find("survey.stars") is None


async def test_text_beyond_ascii_makes_tap_schema_say_unicode_char(
    database_url: str, owner: asyncpg.Connection
) -> None:
    def kinds(tableset: Tableset) -> dict[str, Datatype]:
        table = tableset.find("tap_schema.tables")
        assert table is not None
        return {column.name: column.field.type.datatype for column in table.columns}

    await publish(owner, stars())
    assert kinds(await load(database_url))["description"] is Datatype.CHAR
    await publish(owner, stars(description="Étoiles"), replace=True)
    after = kinds(await load(database_url))
    assert after["description"] is Datatype.UNICODE_CHAR
    assert after["table_name"] is Datatype.CHAR


async def test_what_another_process_publishes_is_seen_within_a_second(
    database_url: str, owner: asyncpg.Connection
) -> None:
    registry = Registry(database_url)
    assert (await registry.load()).find("survey.stars") is None
    await publish(owner, stars())
    await asyncio.sleep(0.6)
    assert (await registry.load()).find("survey.stars") is not None
    await registry.aclose()


async def test_an_unchanged_registry_gives_the_same_object(database_url: str) -> None:
    registry = Registry(database_url, freshness=timedelta(0))
    assert await registry.load() is await registry.load()
    await registry.aclose()


async def test_the_registry_survives_a_lost_connection(database_url: str, owner: asyncpg.Connection) -> None:
    registry = Registry(database_url, freshness=timedelta(0))
    before = await registry.load()
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'gw:registry' AND datname = current_database()"
    )
    assert (await registry.load()).version == before.version
    await registry.aclose()


async def test_a_registry_without_a_server_says_so(tmp_path: object) -> None:
    registry = Registry(f"postgresql://postgres@/nothing?host={tmp_path}")
    with pytest.raises(BackendUnavailableError):
        await registry.load()
