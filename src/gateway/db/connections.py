"""One ADBC connection to PostgreSQL, as blocking calls; threads and pooling are the engine's business.

Measured with driver 1.13 over a unix socket: logging in 2.4 ms (45 ms with a new database of the driver, which reads
``pg_type``), ``BEGIN`` with settings, a one-row query and ``ROLLBACK`` together 0.1 ms.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import pyarrow as pa

# Only this reader keeps the SQLSTATE of an error that comes after the first batch; pyarrow's makes an OSError of it.
from adbc_driver_manager._reader import AdbcRecordBatchReader

from gateway.db.sql import identifier
from gateway.db.urls import DatabaseURL

BATCH_BYTES = 4 * 2**20
"""Bytes of COPY after which a batch is full: large enough that the cost per batch vanishes, small enough that a
stalled stream holds little."""

SESSION_SETTINGS = {
    # A query whose process was killed ends within this time; without it it would run on (F1, F4).
    "client_connection_check_interval": "'1s'",
    # Compiling costs 50 to 200 ms as soon as an estimate is large, more than it gives back on most queries.
    "jit": "off",
    "timezone": "'UTC'",
    # Nothing of the operator's can be named without its schema, and no temporary table hides a system one.
    "search_path": "pg_catalog, pg_temp",
    # Ends a transaction whose process hangs between two statements.
    "idle_in_transaction_session_timeout": "'10min'",
}
"""Settings of every session, as SQL spells them."""

CONNECT_OPTIONS = {
    "connect_timeout": "5",
    # A server that vanished without a word is noticed after a minute, also while it owes us rows.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}


class Database:
    """Where connections come from; holds what the driver knows of the server's types.

    Each connection has one of the driver's databases for itself. The driver counts a database's open connections in
    a plain integer, which threads that log in and leave at the same moment get wrong (apache/arrow-adbc#4753). A
    database costs 45 ms when it is new, so it is kept for the next connection.
    """

    def __init__(self, url: DatabaseURL, *, role: str) -> None:
        settings = SESSION_SETTINGS | {"role": identifier(role)}
        # Not in the address as ``options``: a pooler may drop those without a word, and the role with them.
        self._setup = "; ".join(f"SET {name} = {value}" for name, value in settings.items())
        given = {name for name, _ in url.options}
        options = tuple(pair for pair in CONNECT_OPTIONS.items() if pair[0] not in given)
        self._uri = DatabaseURL(url.authority, url.database, url.options + options).libpq()
        self._lock = threading.Lock()
        self._free: list[adbc.AdbcDatabase] = []

    def connect(self) -> Connection:
        """Log in.

        Raises
        ------
        adbc_driver_manager.Error
            The server does not answer or refuses.
        """
        with self._lock:
            database = self._free.pop() if self._free else None
        database = database or adbc_driver_postgresql.connect(self._uri)
        try:
            connection = Connection(adbc.AdbcConnection(database), lambda: self._keep(database))
        except BaseException:
            self._keep(database)
            raise
        try:
            connection.script(self._setup)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Let go; connections must be closed before."""
        with self._lock:
            free, self._free = self._free, []
        for database in free:
            database.close()

    def _keep(self, database: adbc.AdbcDatabase) -> None:
        with self._lock:
            self._free.append(database)


class Connection:
    """One session of PostgreSQL. Only `cancel` may be called while another call runs."""

    def __init__(self, connection: adbc.AdbcConnection, closed: Callable[[], None]) -> None:
        self._connection = connection
        self._closed = closed

    def script(self, sql: str) -> None:
        """Run statements that give no rows, in one round trip."""
        with adbc.AdbcStatement(self._connection) as statement:
            statement.set_sql_query(sql)
            statement.execute_update()

    def query(self, sql: str) -> Rows:
        """Start a query that the driver sends as ``COPY (...) TO STDOUT``.

        The driver prepares it first by the extended protocol, which refuses more than one statement.
        """
        statement = adbc.AdbcStatement(self._connection)
        try:
            statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            statement.set_sql_query(sql)
            handle, _ = statement.execute_query()
            return Rows(statement, AdbcRecordBatchReader._import_from_c(handle.address))  # noqa: SLF001
        except BaseException:
            statement.close()
            raise

    def copy_in(self, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Fill a temporary table; the batches' columns are matched by name.

        Whatever error the batches raise comes out as itself.
        """
        source = _Source(batches)
        with adbc.AdbcStatement(self._connection) as statement:
            statement.set_options(
                **{
                    "adbc.ingest.target_table": table,
                    "adbc.ingest.mode": "adbc.ingest.mode.append",
                    "adbc.ingest.temporary": "true",
                }
            )
            statement.bind_stream(pa.RecordBatchReader.from_batches(schema, source.batches()))
            try:
                statement.execute_update()
            except adbc.Error:
                if source.error is not None:
                    raise source.error from None
                raise

    def cancel(self) -> None:
        """Ask the server to stop the running statement; harmless if there is none."""
        self._connection.cancel()

    def close(self) -> None:
        """Leave. The server ends what still runs, a statement that is blocked on sending to us included."""
        self._connection.close()
        closed, self._closed = self._closed, lambda: None
        closed()


class Rows:
    """Rows of a running query."""

    def __init__(self, statement: adbc.AdbcStatement, reader: AdbcRecordBatchReader) -> None:
        self._statement = statement
        self._reader = reader
        self.schema: pa.Schema = reader.schema

    def read(self) -> pa.RecordBatch | None:
        """Wait for the next batch; ``None`` after the last."""
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            return None

    def close(self) -> None:
        """Give memory back; the statement is over or will be ended with its connection."""
        self._reader.close()
        self._statement.close()


class _Source:
    """Keeps the error of an iterator that C code drives, which would turn it into text."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = batches
        self.error: BaseException | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except BaseException as e:
            self.error = e
            raise
