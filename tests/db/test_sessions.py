import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pyarrow as pa
import pytest

from gateway.db.connections import Database
from gateway.db.engine import CatalogEngine
from gateway.db.registry import publish_statements
from gateway.db.roles import QUERY_ROLE
from gateway.db.sessions import RowStream
from gateway.db.urls import DatabaseURL
from gateway.errors import (
    BackendUnavailableError,
    GatewayError,
    OverloadedError,
    QueryError,
    ServiceError,
    TimeLimitError,
    UploadError,
)
from gateway.vo.tableset import SkyIndex, Table
from tests.campaigns.proxy import FaultProxy
from tests.db.support import (
    MAKE_STARS,
    MINUTE,
    SURVEY,
    active,
    admin,
    batch,
    column,
    engine_on,
    execute_all,
    rows,
    stars,
    until,
)
from tests.support.servers import as_user
from tests.support.timed import timed

OURS = "pg_stat_activity WHERE application_name = 'gw:test' AND datname = current_database()"
"""Sessions of the tests here; other test processes have databases on the same server."""

# A set in FROM would be written to disk first; one in SELECT flows.
ENDLESS = "SELECT count(*) FROM (SELECT generate_series(1, 10000000000)) AS s"
ENDLESS_ROWS = "SELECT generate_series(1, 1000000000) AS g"
MANY = "SELECT g::bigint AS id, g * 0.5::float8 AS x FROM (SELECT generate_series(1, 3000000) AS g) AS s"


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with admin(database_url) as connection:
        await connection.execute(MAKE_STARS)
        yield connection


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[CatalogEngine]:
    async with engine_on(database_url) as engine:
        yield engine


async def pid(engine: CatalogEngine) -> object:
    return (await rows(engine, "SELECT pg_backend_pid() AS pid"))[0]["pid"]


# -- reading ------------------------------------------------------------------------------------------------------


async def test_a_query_gives_its_rows(engine: CatalogEngine) -> None:
    assert await rows(engine, "SELECT 1 AS a, 'é' AS b") == [{"a": 1, "b": "é"}]


async def test_a_query_without_rows_still_has_columns(engine: CatalogEngine) -> None:  # TAP-10
    async with engine.session(time_limit=MINUTE, label="gw:test") as session:
        stream = await session.execute("SELECT 1 AS a WHERE false")
        assert stream.schema.names == ["a"]
        assert [found async for found in stream if found.num_rows] == []


async def test_many_rows_come_in_small_batches(engine: CatalogEngine) -> None:
    async with engine.session(time_limit=MINUTE, label="gw:test") as session:
        batches = [found async for found in await session.execute(MANY)]
    assert sum(found.num_rows for found in batches) == 3_000_000
    assert len(batches) > 5
    assert max(found.nbytes for found in batches) < 8 * 2**20
    assert batches[-1]["id"][-1].as_py() == 3_000_000


async def test_connections_are_used_again(engine: CatalogEngine) -> None:
    assert await pid(engine) == await pid(engine)


async def test_two_statements_in_one_text_are_refused(engine: CatalogEngine) -> None:  # R9, A1
    with pytest.raises(ServiceError):
        await rows(engine, "SELECT 1; SELECT 2")


async def test_settings_of_a_session(engine: CatalogEngine) -> None:
    names = (
        "statement_timeout work_mem application_name transaction_read_only client_connection_check_interval TimeZone"
        " role search_path jit"
    )
    selected = ", ".join(f"current_setting('{name}') AS \"{name}\"" for name in names.split())
    (found,) = await rows(engine, f"SELECT {selected}", time_limit=timedelta(seconds=7))
    assert found == {
        "statement_timeout": "7s",
        "work_mem": "64MB",
        "application_name": "gw:test",
        "transaction_read_only": "on",
        "client_connection_check_interval": "1s",
        "TimeZone": "UTC",
        "role": "gateway_query",
        "search_path": "pg_catalog, pg_temp",
        "jit": "off",
    }


# -- the role -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM survey.hidden",
        "SELECT secret FROM survey.stars",
        "SELECT * FROM survey.stars",  # which has columns that are not published
        "SELECT * FROM gateway.job",
        "SELECT rolpassword FROM pg_authid",
    ],
)
async def test_the_role_reads_nothing_unpublished(engine: CatalogEngine, owner: asyncpg.Connection, sql: str) -> None:
    await execute_all(owner, publish_statements(SURVEY, stars(), replace=False))
    with pytest.raises(ServiceError):
        await rows(engine, sql)


async def test_the_role_reads_what_is_published(engine: CatalogEngine, owner: asyncpg.Connection) -> None:
    await execute_all(owner, publish_statements(SURVEY, stars(), replace=False))
    assert len(await rows(engine, "SELECT id, ra, dec, name FROM survey.stars WHERE gw_hpx29 > 0")) == 2
    assert len(await rows(engine, "SELECT count(*) FROM tap_schema.columns")) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE survey.stars SET id = 0",
        "CREATE TABLE survey.more (a int)",
        "INSERT INTO tap_schema.schemas VALUES ('a')",
        "TRUNCATE survey.stars",
        "CREATE TABLE public.more (a int)",
    ],
)
async def test_the_role_writes_nothing_even_where_the_transaction_may(
    database_url: str, owner: asyncpg.Connection, statement: str
) -> None:
    await execute_all(owner, publish_statements(SURVEY, stars(), replace=False))
    await owner.execute("SET ROLE gateway_query")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute(statement)
    await owner.execute("RESET ROLE")


async def test_a_session_without_uploads_cannot_make_tables(engine: CatalogEngine) -> None:
    table, batches = small_upload()
    async with engine.session(time_limit=MINUTE, label="gw:test") as session:
        with pytest.raises(ServiceError):
            await session.upload(table, batches, schema=batches[0].schema)


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT 1 / (g - 500000) AS a FROM generate_series(1, 500000) g", "division by zero"),
        ("SELECT (g * 1e10)::int AS a FROM generate_series(1, 5) g", "out of the range"),
        ("SELECT ('x' || g)::int AS a FROM generate_series(1, 5) g", "text that is not an INTEGER"),
        ("SELECT ln(g) AS a FROM generate_series(-1, 5) g", "LOG10 of a negative number"),
        ("SELECT sqrt(g::float8) AS a FROM generate_series(-1, 5) g", "SQRT of a negative number"),
        ("SELECT (SELECT g FROM generate_series(1, 2) g) AS a", "more than one row"),
        ("SELECT ('2020-13-' || g)::timestamp AS a FROM generate_series(1, 2) g", "timestamp"),
    ],
)
async def test_what_the_data_makes_wrong_is_told_in_words(engine: CatalogEngine, sql: str, text: str) -> None:
    with pytest.raises(QueryError, match=text):
        await rows(engine, sql)


async def test_an_error_after_the_first_batch_keeps_its_meaning(engine: CatalogEngine) -> None:
    late = "SELECT 1 / (900000 - g) AS a FROM (SELECT generate_series(1, 1000000) AS g) s"
    async with engine.session(time_limit=MINUTE, label="gw:test") as session:
        stream = await session.execute(late)
        assert (await anext(stream)).num_rows > 0
        with pytest.raises(QueryError, match="division by zero"):
            await asyncio.wait_for(count(stream), 10)


async def count(stream: RowStream) -> int:
    return sum([found.num_rows async for found in stream])


@pytest.mark.parametrize("sql", ["SELECT secret_function(1)", "SELECT nothing FROM tap_schema.tables", "SELEKT"])
async def test_faults_of_ours_give_no_sql_away(engine: CatalogEngine, sql: str) -> None:
    with pytest.raises(ServiceError, match=r"incident [0-9a-f]{8}\b") as caught:
        await rows(engine, sql)
    assert not {"secret_function", "nothing", "SELEKT", "tap_schema"} & set(caught.value.message.split())


@timed
async def test_the_time_limit_is_named(engine: CatalogEngine) -> None:
    started = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"time limit of 0\.3 s"):
        await rows(engine, ENDLESS, time_limit=timedelta(seconds=0.3))
    assert time.monotonic() - started < 2


async def test_the_time_limit_holds_while_rows_flow(engine: CatalogEngine) -> None:
    with pytest.raises(TimeLimitError):
        await rows(engine, ENDLESS_ROWS, time_limit=timedelta(seconds=0.5))


async def test_a_query_cancelled_by_the_operator_is_no_time_limit(
    engine: CatalogEngine, owner: asyncpg.Connection
) -> None:
    running = asyncio.create_task(rows(engine, ENDLESS))
    await until(lambda: active(owner, "gw:test"))
    await owner.execute(f"SELECT pg_cancel_backend(pid) FROM {OURS}")
    with pytest.raises(BackendUnavailableError, match="cancelled"):
        await running


async def test_after_an_error_the_next_query_works(engine: CatalogEngine) -> None:
    with pytest.raises(QueryError):
        await rows(engine, "SELECT 1 / 0")
    assert await rows(engine, "SELECT 1 AS a") == [{"a": 1}]


# -- leaving early ------------------------------------------------------------------------------------------------


@timed
async def test_a_cancelled_task_ends_the_statement(engine: CatalogEngine, owner: asyncpg.Connection) -> None:  # F5
    running = asyncio.create_task(rows(engine, ENDLESS))
    await until(lambda: active(owner, "gw:test"))
    started = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: idle(owner))
    assert time.monotonic() - started < 3
    assert await rows(engine, "SELECT 1 AS a") == [{"a": 1}]


async def test_a_task_cancelled_between_two_statements_ends_the_next_one(
    database_url: str, owner: asyncpg.Connection
) -> None:  # F5: PostgreSQL forgets a cancellation that finds it idle; one query of a hundred went on to its time limit
    async with (
        FaultProxy.before(database_url, random.Random(1)) as (proxy, url),
        engine_on(url, size=12) as engine,
    ):
        await asyncio.gather(*(rows(engine, "SELECT 1 AS a") for _ in range(12)))
        proxy.delay_s = 0.05
        running = [asyncio.create_task(rows(engine, ENDLESS)) for _ in range(12)]
        for task in running:  # at all moments of the way to the first row
            await asyncio.sleep(0.03)
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await until(lambda: idle(owner))


async def test_a_stream_left_halfway_ends_the_statement(engine: CatalogEngine, owner: asyncpg.Connection) -> None:  # F6
    async with engine.session(time_limit=MINUTE, label="gw:test") as session:
        stream = await session.execute(ENDLESS_ROWS)
        await anext(stream)
        await asyncio.sleep(0.3)  # the server is blocked on sending by now
        await stream.aclose()
    await until(lambda: idle(owner))
    assert await rows(engine, "SELECT 1 AS a") == [{"a": 1}]


async def test_a_hundred_cancellations_leak_nothing(engine: CatalogEngine, owner: asyncpg.Connection) -> None:
    async def one(after_s: float) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(after_s):
                await rows(engine, ENDLESS_ROWS)

    for number in range(50):
        await asyncio.gather(one(number / 2000), one(number / 1000))
    await until(lambda: idle(owner))
    assert (
        await owner.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'gw:%' AND datname = current_database()"
        )
        <= 2
    )
    assert await rows(engine, "SELECT 1 AS a") == [{"a": 1}]


async def test_a_full_pool_says_so_in_time(database_url: str) -> None:  # F25
    async with (
        engine_on(database_url, size=1, patience=timedelta(seconds=0.1)) as engine,
        engine.session(time_limit=MINUTE, label="gw:test"),
    ):
        with pytest.raises(OverloadedError):
            await rows(engine, "SELECT 1")


async def idle(owner: asyncpg.Connection) -> bool:
    return not await active(owner, "gw:test")


# -- a server that goes away ----------------------------------------------------------------------------------------


async def test_a_connection_that_died_in_the_pool_is_replaced(
    engine: CatalogEngine, owner: asyncpg.Connection
) -> None:  # F8
    first = await pid(engine)
    await owner.execute("SELECT pg_terminate_backend($1)", first)
    assert await pid(engine) != first


async def test_a_backend_that_dies_in_the_middle_is_an_unavailable_database(
    engine: CatalogEngine, owner: asyncpg.Connection
) -> None:
    running = asyncio.create_task(rows(engine, ENDLESS))
    await until(lambda: active(owner, "gw:test"))
    await owner.execute(f"SELECT pg_terminate_backend(pid) FROM {OURS}")
    with pytest.raises(BackendUnavailableError):
        await running
    assert await rows(engine, "SELECT 1 AS a") == [{"a": 1}]


async def test_no_server_is_an_unavailable_database(tmp_path: object) -> None:
    async with engine_on(f"postgresql://postgres@/nothing?host={tmp_path}") as engine:
        with pytest.raises(BackendUnavailableError):
            await rows(engine, "SELECT 1")


# -- uploads --------------------------------------------------------------------------------------------------------


def small_upload() -> tuple[Table, list[pa.RecordBatch]]:
    table = Table("TAP_UPLOAD", "t", (column("a", "int", "integer"),), "pg_temp", "gw_upload_1")
    return table, [batch(a=pa.array([1, 2, None], pa.int32()))]


async def test_uploads_of_every_type_come_back(engine: CatalogEngine) -> None:  # TAP-41
    columns = {
        "b": ("boolean", "boolean", None, pa.array([True, None], pa.bool_())),
        "u": ("unsignedByte", "smallint", None, pa.array([255, None], pa.int16())),
        "i": ("int", "integer", None, pa.array([-(2**31), None], pa.int32())),
        "l": ("long", "bigint", None, pa.array([2**63 - 1, None], pa.int64())),
        "f": ("float", "real", None, pa.array([1.5, None], pa.float32())),
        "d": ("double", "double precision", None, pa.array([0.1, None], pa.float64())),
        "nan": ("double", "double precision", None, pa.array([float("inf"), None], pa.float64())),
        "c": ("unicodeChar", "text", "*", pa.array(["é\t\\N\n", None], pa.string())),
        "empty": ("char", "text", "*", pa.array(["", None], pa.string())),
        "bits": ("bit", "boolean[]", "3", pa.array([[True, False, True], None], pa.list_(pa.bool_()))),
        "fa": ("float", "real[]", "*", pa.array([[1.0, float("inf")], []], pa.list_(pa.float32()))),
        "da": ("double", "double precision[]", "2x2", pa.array([[1.0, 2.0, 3.0, 4.0], None], pa.list_(pa.float64()))),
        "ia": ("int", "integer[]", "*", pa.array([[1, 2], None], pa.list_(pa.int32()))),
        "sa": ("short", "smallint[]", "*", pa.array([[1, 2], None], pa.list_(pa.int16()))),
        "la": ("long", "bigint[]", "*", pa.array([[1, 2], None], pa.list_(pa.int64()))),
        "t": (
            "char",
            "timestamp",
            "*",
            pa.array([1_577_934_245_000_678, None], pa.timestamp("us")),
        ),
        'my "col"': ("int", "integer", None, pa.array([7, None], pa.int32())),
    }
    table = Table(
        "TAP_UPLOAD",
        "t",
        tuple(column(name, kind, sql, size) for name, (kind, sql, size, _) in columns.items()),
        "pg_temp",
        "gw_upload_1",
    )
    given = pa.RecordBatch.from_arrays([values for *_, values in columns.values()], names=list(columns))
    async with engine.session(time_limit=MINUTE, label="gw:test", can_write_temp=True) as session:
        await session.upload(table, [given], schema=given.schema)
        stream = await session.execute('SELECT * FROM pg_temp."gw_upload_1"')
        (found,) = [found async for found in stream]
    assert found.schema.types == given.schema.types
    assert found.to_pylist() == given.to_pylist()


async def test_an_upload_is_gone_after_its_session(engine: CatalogEngine) -> None:  # TAP-39
    table, batches = small_upload()
    async with engine.session(time_limit=MINUTE, label="gw:test", can_write_temp=True) as session:
        await session.upload(table, batches, schema=batches[0].schema)
    with pytest.raises(ServiceError):
        await rows(engine, "SELECT * FROM pg_temp.gw_upload_1")


async def test_uploads_of_one_name_are_apart(engine: CatalogEngine) -> None:  # TAP-39
    async def one(number: int) -> object:
        table, _ = small_upload()
        given = batch(a=pa.array([number], pa.int32()))
        async with engine.session(time_limit=MINUTE, label="gw:test", can_write_temp=True) as session:
            await session.upload(table, [given], schema=given.schema)
            await asyncio.sleep(0.05)
            stream = await session.execute("SELECT a FROM pg_temp.gw_upload_1")
            return [found.to_pylist() async for found in stream]

    assert await asyncio.gather(one(1), one(2)) == [[[{"a": 1}]], [[{"a": 2}]]]


async def test_an_error_of_the_reader_comes_out_as_itself(engine: CatalogEngine) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield batch(a=pa.array([1], pa.int32()))
        raise UploadError("row 2 is not a row")

    table, batches = small_upload()
    with pytest.raises(UploadError, match="row 2"):
        async with engine.session(time_limit=MINUTE, label="gw:test", can_write_temp=True) as session:
            await session.upload(table, broken(), schema=batches[0].schema)


async def test_the_query_beside_an_upload_is_read_only(engine: CatalogEngine) -> None:
    table, batches = small_upload()
    async with engine.session(time_limit=MINUTE, label="gw:test", can_write_temp=True) as session:
        await session.upload(table, batches, schema=batches[0].schema)
        stream = await session.execute("SELECT current_setting('transaction_read_only') AS a")
        assert (await anext(stream))["a"].to_pylist() == ["on"]


async def test_positions_of_an_upload_are_indexed(engine: CatalogEngine) -> None:
    columns = (column("ra", "double", "double precision"), column("dec", "double", "double precision"))
    sky = SkyIndex("ra", "dec", healpix="gw_hpx29", has_zones=True)
    table = Table("TAP_UPLOAD", "t", columns, "pg_temp", "gw_upload_1", sky=sky)
    given = batch(ra=[10.0, 20.0], dec=[1.0, 2.0], gw_hpx29=[5, 6])
    async with engine.session(time_limit=MINUTE, label="gw:test", can_write_temp=True) as session:
        await session.upload(table, [given], schema=given.schema)
        stream = await session.execute(
            "SELECT count(*) AS n, (SELECT reltuples FROM pg_class WHERE oid = 'pg_temp.gw_upload_1'::regclass) AS rows"
            " FROM pg_indexes WHERE tablename = 'gw_upload_1'"
        )
        assert (await anext(stream)).to_pylist() == [{"n": 2, "rows": 2.0}]


async def test_a_session_that_nobody_uses_ends_quietly(engine: CatalogEngine) -> None:
    async with engine.session(time_limit=MINUTE, label="gw:test"):
        pass
    assert await rows(engine, "SELECT 1 AS a") == [{"a": 1}]


async def test_errors_are_gateway_errors(engine: CatalogEngine) -> None:
    with pytest.raises(GatewayError):
        await rows(engine, "SELECT pg_sleep(1) FROM nothing")


async def test_a_user_without_the_right_to_limit_temporary_files_can_query(
    database_url: str, owner: asyncpg.Connection
) -> None:
    user = f"user_{uuid4().hex}"
    await owner.execute(f"CREATE ROLE {user} LOGIN")
    async with engine_on(as_user(database_url, user), role=user) as engine:
        found = await rows(engine, "SELECT current_user AS a, current_setting('temp_file_limit') AS b")
    assert found == [{"a": user, "b": "-1"}]
    await owner.execute(f"DROP ROLE {user}")


async def test_many_that_log_in_and_leave_at_once_harm_nobody(database_url: str, owner: asyncpg.Connection) -> None:
    database = Database(DatabaseURL.parse(database_url).with_application_name("gw:crowd"), role=QUERY_ROLE)

    def come_and_go() -> None:
        for _ in range(40):
            database.connect().close()

    await asyncio.gather(*(asyncio.to_thread(come_and_go) for _ in range(6)))
    database.close()
    still_there = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gw:crowd' AND datname = current_database()"
    )

    async def none_left() -> bool:
        return await owner.fetchval(still_there) == 0

    await until(none_left)
