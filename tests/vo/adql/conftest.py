from collections.abc import Iterator

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pytest

from tests.support.servers import Administrator
from tests.vo.adql import tables


class Postgres:
    """The tables of ``tables.py`` in PostgreSQL."""

    def __init__(self, connection: adbc.Connection) -> None:
        self.connection = connection

    def table(self, sql: str) -> pa.Table:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def rows(self, sql: str) -> list[tuple]:
        return list(zip(*(column.to_pylist() for column in self.table(sql).columns), strict=True))


@pytest.fixture(scope="session")
def postgres(database_server: Administrator, database_template: str) -> Iterator[Postgres]:
    url = database_server.create(database_template)
    with adbc.connect(url, autocommit=True) as connection:
        with connection.cursor() as cursor:
            for statement in ["SET timezone = 'UTC'", *tables.statements()]:
                cursor.execute(statement)
        yield Postgres(connection)
    database_server.drop(url)
