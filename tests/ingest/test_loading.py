"""The encoder of binary COPY, judged by PostgreSQL: what comes back is what went in."""

import asyncio
from datetime import datetime
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import asyncpg
import numpy as np
import pyarrow as pa
import pytest

from gateway.db.loading import PhysicalTable, copy_batches, sql_type
from gateway.db.urls import DatabaseURL
from tests.support.catalogs import assert_same

instant = datetime.fromisoformat

COLUMNS: dict[str, pa.Array] = {
    "boolean": pa.array([True, False, None, True]),
    "short": pa.array([-(2**15), 2**15 - 1, None, 0], pa.int16()),
    "int": pa.array([-(2**31), 2**31 - 1, None, 0], pa.int32()),
    "long": pa.array([-(2**63), 2**63 - 1, None, 0], pa.int64()),
    "float": pa.array([float("nan"), -0.0, None, float("inf")], pa.float32()),
    "double": pa.array([1e-320, -0.0, None, float("-inf")]),
    "text": pa.array(["", "héllo\tworld\n", None, "中"]),
    "instant": pa.array(
        [instant("0001-01-01T00:00:00"), instant("9999-12-31T23:59:59.999999"), None, instant("2000-01-01T00:00:00")],
        pa.timestamp("us"),
    ),
    "bits": pa.array([[True, False], [], None, [False]], pa.list_(pa.bool_())),
    "ints": pa.array([[1, -1], [], None, [2**31 - 1]], pa.list_(pa.int32())),
    "longs": pa.array([[2**63 - 1], [], None, [1, 2, 3]], pa.list_(pa.int64())),
    "shorts": pa.array([[1], [], None, [2]], pa.list_(pa.int16())),
    "floats": pa.array([[1.5, float("nan")], [], None, [0.0]], pa.list_(pa.float32())),
    "doubles": pa.array([[1.5], [], None, [0.1, 0.2]], pa.list_(pa.float64())),
}
ROWS = pa.table({"n": pa.array([0, 1, 2, 3], pa.int32()), **COLUMNS})


def through_postgres(url: str, rows: pa.Table, batches: list[pa.RecordBatch]) -> pa.Table:
    async def load() -> None:
        connection = await asyncpg.connect(DatabaseURL.parse(url).asyncpg())
        try:
            async with connection.transaction():
                table = PhysicalTable("public", "t", [(item.name, sql_type(item.type)) for item in rows.schema])
                await connection.execute(table.create())
                await copy_batches(connection, ("public", "t"), rows.schema, batches, freeze=True)
        finally:
            await connection.close()

    asyncio.run(load())
    names = ", ".join(f'"{name}"' for name in rows.column_names)
    with adbc.connect(DatabaseURL.parse(url).libpq()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {names} FROM t ORDER BY n")
        return cursor.fetch_arrow_table()


def test_every_type_survives(empty_database_url: str) -> None:
    assert_same(through_postgres(empty_database_url, ROWS, ROWS.to_batches()), ROWS)


def test_slices_of_batches_survive(empty_database_url: str) -> None:
    whole = ROWS.to_batches()[0]
    assert_same(
        through_postgres(empty_database_url, ROWS, [whole.slice(0, 1), whole.slice(1, 2), whole.slice(3)]), ROWS
    )


@pytest.mark.parametrize("names", [["n"], ["n", "long"], ["n", "text"], ["n", "doubles"]])
def test_few_columns_survive(empty_database_url: str, names: list[str]) -> None:
    rows = ROWS.select(names)
    assert_same(through_postgres(empty_database_url, rows, rows.to_batches()), rows)


def test_many_random_rows_survive(empty_database_url: str) -> None:
    random = np.random.default_rng(11)
    count = 20_000

    def some(values: Any) -> pa.Array:
        return pa.array(values, mask=random.random(count) < 0.3)

    rows = pa.table(
        {
            "n": pa.array(np.arange(count, dtype="i4")),
            "a": some(random.normal(size=count)),
            "b": some(random.integers(-(2**63), 2**63 - 1, count)),
            "c": some(np.array([f"{x:x}" * (x % 5) for x in random.integers(0, 10**9, count)])),
            "d": some(random.random(count) < 0.5),
            "e": pa.array([None if x % 7 == 0 else [float(x)] * (x % 4) for x in range(count)], pa.list_(pa.float64())),
        }
    )
    assert_same(through_postgres(empty_database_url, rows, rows.to_batches(max_chunksize=3_000)), rows)


def test_no_rows_are_an_empty_table(empty_database_url: str) -> None:
    rows = ROWS.slice(0, 0)
    assert through_postgres(empty_database_url, rows, []).num_rows == 0


def test_an_error_of_the_source_reaches_the_caller_and_the_connection_lives(empty_database_url: str) -> None:
    def broken() -> Any:
        yield ROWS.select(["n"]).to_batches()[0]
        raise ValueError("broken here")

    async def load() -> int:
        connection = await asyncpg.connect(DatabaseURL.parse(empty_database_url).asyncpg())
        try:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("CREATE TABLE t (n integer)")
            with pytest.raises(ValueError, match="broken here"):
                await copy_batches(connection, ("public", "t"), ROWS.select(["n"]).schema, broken())
            await transaction.rollback()
            return int(await connection.fetchval("SELECT count(*) FROM pg_tables WHERE tablename = 't'"))
        finally:
            await connection.close()

    assert asyncio.run(load()) == 0
