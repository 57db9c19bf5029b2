from collections.abc import Iterator

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pytest

from tests.support.servers import Administrator


class Database:
    """A database with the functions of the sky, spoken to in tables."""

    def __init__(self, connection: adbc.Connection) -> None:
        self.connection = connection

    def run(self, *statements: str) -> None:
        for statement in statements:
            with self.connection.cursor() as cursor:
                cursor.execute(statement)

    def rows(self, sql: str) -> list[tuple]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(zip(*(column.to_pylist() for column in cursor.fetch_arrow_table().columns), strict=True))

    def column(self, sql: str) -> list:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table().column(0).to_pylist()

    def load(self, name: str, **columns: object) -> None:
        """Make a table, in place of one of that name that another test has left."""
        self.run(f"DROP TABLE IF EXISTS {name}")
        with self.connection.cursor() as cursor:
            cursor.adbc_ingest(name, pa.table(columns), mode="create")

    def explain(self, sql: str, options: str = "COSTS") -> str:
        with self.connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(f"EXPLAIN ({options}) {sql}")
            return "\n".join(cursor.fetch_arrow_table().column(0).to_pylist())


@pytest.fixture(scope="session")
def sky_database(database_server: Administrator, database_template: str) -> Iterator[Database]:
    """A migrated database, shared by the tests of a session."""
    url = database_server.create(database_template)
    with adbc.connect(url, autocommit=True) as connection:
        database = Database(connection)
        database.run("SET jit = off", "SET timezone = 'UTC'")
        yield database
    database_server.drop(url)
