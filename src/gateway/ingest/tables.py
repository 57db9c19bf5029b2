"""Files into a published table: all of it or nothing.

The rows are read, checked, given their sky index and sorted before PostgreSQL sees any; then one transaction
creates the table, fills it by COPY, indexes it and publishes it. Whatever ends the process before the
commit, PostgreSQL forgets the rest.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow as pa

from gateway.db.loading import PhysicalTable, copy_batches, quote, sql_type
from gateway.db.registry import publish_statements, unpublish_statements
from gateway.db.sql import literal
from gateway.errors import IngestError, NotFoundError
from gateway.ingest.connection import admin_connection
from gateway.ingest.describe import SchemaDescription, read_description
from gateway.ingest.names import HEALPIX, parse_table_name
from gateway.ingest.plan import Plan, make_plan
from gateway.ingest.progress import Phase, Progress, ProgressSink, ignore
from gateway.ingest.sorting import Sorter
from gateway.tables import open_table
from gateway.vo.tableset import Datatype, Schema, Table, adql_identifier

MEMORY_BUDGET = 256 << 20
"""Bytes of rows held in memory; what is more is sorted on disk."""

INDEX_MEMORY = "256MB"
"""``maintenance_work_mem`` of the load: an index of ten million rows is sorted in memory."""

LOCK_PATIENCE_S = 15.0
"""How long to wait for another ingest of the same table: a killed one is noticed within `LOST_CLIENT_CHECK`."""

SWAP_PATIENCE_S = 600.0
"""How long to wait for queries on a table that is replaced: the longest synchronous query is far shorter."""

SWAP_TRY = "2s"
"""How long one try for the table's lock may hold up the queries behind it."""

MARK = "loaded by gateway ingest"
"""Comment on every table made here: only such a table is ever dropped."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did."""

    rows: int
    seconds: float
    table: str
    """Qualified name, as queries write it."""
    warnings: tuple[str, ...] = ()
    """What the operator should know, in full sentences."""


def ingest_table(
    files: Sequence[Path | str],
    *,
    name: str,
    admin_url: str,
    describe: Path | str | None = None,
    replace: bool = False,
    ra: str | None = None,
    dec: str | None = None,
    convert_radians: bool = False,
    progress: ProgressSink | None = None,
    memory_budget: int = MEMORY_BUDGET,
    folder: Path | None = None,
) -> IngestReport:
    """Publish files as one table; see `publish_files`. For callers without an event loop."""
    return asyncio.run(
        publish_files(
            files,
            name=name,
            admin_url=admin_url,
            describe=describe,
            replace=replace,
            ra=ra,
            dec=dec,
            convert_radians=convert_radians,
            progress=progress,
            memory_budget=memory_budget,
            folder=folder,
        )
    )


def drop_table(name: str, admin_url: str) -> None:
    """Unpublish a table and remove its rows; see `remove_table`. For callers without an event loop."""
    asyncio.run(remove_table(name, admin_url))


async def publish_files(
    files: Sequence[Path | str],
    *,
    name: str,
    admin_url: str,
    describe: Path | str | None = None,
    replace: bool = False,
    ra: str | None = None,
    dec: str | None = None,
    convert_radians: bool = False,
    progress: ProgressSink | None = None,
    memory_budget: int = MEMORY_BUDGET,
    folder: Path | None = None,
) -> IngestReport:
    """Publish files as one table, with an index for searches by position where it has positions.

    Parameters
    ----------
    files
        Table files of any kind that `gateway.tables` knows, with the same columns.
    name
        Name to publish as, ``schema.table``.
    admin_url
        Catalog database, as a user who may create tables and publish.
    describe
        YAML file in Felis format; what it says wins over what the files say.
    replace
        Whether a published table of that name gives way, at the very end and in one step.
    ra, dec
        Columns with the position, ICRS degrees; found by UCD or name if ``None``.
    convert_radians
        Publish columns in radians as degrees.
    progress
        Told how far it is, from this and other threads.
    memory_budget
        Bytes of rows held in memory.
    folder
        Where rows are sorted that do not fit in memory; the system's temporary folder if ``None``.

    Raises
    ------
    IngestError
        The files cannot be published as asked; the text says what to change. Nothing has changed.
    BackendUnavailableError
        PostgreSQL does not answer, or went away; nothing has changed.
    """
    started = time.monotonic()
    if not files:
        raise IngestError("name at least one file")
    schema, table = parse_table_name(name)
    description = read_description(Path(describe)) if describe else None
    load = Load(progress or ignore, replace=replace)
    async with admin_connection(admin_url) as connection:
        # Before hours of reading, not after.
        await load.check_name(connection, schema, table)
    plan = await asyncio.to_thread(
        make_plan,
        [Path(file) for file in files],
        schema=schema,
        name=table,
        description=description,
        ra=ra,
        dec=dec,
        convert_radians=convert_radians,
        folder=folder,
    )
    sorter = Sorter(plan.arrow_schema(), HEALPIX, memory_budget=memory_budget, folder=folder)
    try:
        if plan.positions:
            await asyncio.to_thread(load.sort, plan, sorter, folder)
            batches = load.sorted(sorter)
        else:
            # Nothing to sort by: straight from the file to PostgreSQL.
            batches = load.read(plan, folder)
        async with admin_connection(admin_url) as connection:
            await load.publish(connection, plan, batches, description)
    finally:
        sorter.close()
    return IngestReport(
        rows=load.rows,
        seconds=time.monotonic() - started,
        table=f"{adql_identifier(schema)}.{adql_identifier(table)}",
        warnings=tuple(dict.fromkeys(plan.notes + plan.counts.sentences())),
    )


async def remove_table(name: str, admin_url: str) -> None:
    """Unpublish a table and remove its rows.

    Raises
    ------
    NotFoundError
        No table of that name is published.
    IngestError
        It was not made by `publish_files`.
    """
    schema, table = parse_table_name(name)
    async with admin_connection(admin_url) as connection:
        load = Load(ignore, replace=True)
        async with connection.transaction():
            await load.lock(connection, schema, table)
            found = await load.published(connection, schema, table)
            if found is None:
                raise NotFoundError(f"there is no published table {adql_identifier(schema)}.{adql_identifier(table)}")
            await load.swap(connection, [f"DROP TABLE {found}"])
            for statement in unpublish_statements(f"{adql_identifier(schema)}.{adql_identifier(table)}"):
                await connection.execute(statement)


async def _lost_keys(connection: Any, table: Table) -> list[str]:
    """Tell the foreign keys that could not be published, since what they name is not there."""
    rows = await connection.fetch("SELECT key_id FROM tap_schema.keys WHERE from_table = $1", table.qualified_name)
    stored = {row[0] for row in rows}
    return [
        f"the key {key.key_id} of the description is not published: {key.target_table} is not, or lacks a column of the key; "
        f"publish it, then {table.qualified_name} again with --replace"
        for key in table.keys
        if key.key_id not in stored
    ]


class Load:
    """One ingest: counts rows, tells progress, runs the transaction."""

    def __init__(self, progress: ProgressSink, *, replace: bool) -> None:
        self._progress = progress
        self._replace = replace
        self.rows = 0

    # -- reading ---------------------------------------------------------------------------------------------

    def read(self, plan: Plan, folder: Path | None) -> Iterator[pa.RecordBatch]:
        """Rows of all files, as they are loaded."""
        total, done = sum(source.size for source in plan.sources), 0
        schema = plan.arrow_schema()
        self.rows = 0
        for source in plan.sources:
            with open_table(source.path, hints=source.hints, folder=folder) as table:
                for batch in plan.batches(table, source, schema):
                    self.rows += batch.num_rows
                    self._progress(Progress(Phase.READING, min(total, done + table.position()), total, self.rows))
                    yield batch
            done += source.size
        self._progress(Progress(Phase.READING, total, total, self.rows))

    def sort(self, plan: Plan, sorter: Sorter, folder: Path | None) -> None:
        """Read all rows into a sorter."""
        for batch in self.read(plan, folder):
            sorter.add(batch)

    def sorted(self, sorter: Sorter) -> Iterator[pa.RecordBatch]:
        """Give rows in the order of the sky, and tell how many have gone to PostgreSQL."""
        total, done = self.rows, 0
        for batch in sorter.batches():
            yield batch
            done += batch.num_rows
            self._progress(Progress(Phase.LOADING, done, total, total))

    # -- loading ---------------------------------------------------------------------------------------------

    async def check_name(self, connection: Any, schema: str, table: str) -> None:
        """Refuse a name that is taken, and a database that is not ready."""
        if await connection.fetchval("SELECT to_regclass('tap_schema.tables') IS NULL"):
            raise IngestError("this database has no TAP_SCHEMA yet; run gateway migrate first")
        found = await self.published(connection, schema, table)
        if found and not self._replace:
            name = f"{adql_identifier(schema)}.{adql_identifier(table)}"
            raise IngestError(f"{name} is published already; choose another name, or repeat with --replace")

    async def published(self, connection: Any, schema: str, table: str) -> str | None:
        """Physical name in SQL of a published table; ``None`` if the name is free."""
        row = await connection.fetchrow(
            "SELECT table_name, physical_schema, physical_name, obj_description(to_regclass(format('%I.%I', physical_schema,"
            " physical_name)), 'pg_class') AS mark FROM tap_schema.tables WHERE lower(table_name) = lower($1)",
            f"{adql_identifier(schema)}.{adql_identifier(table)}",
        )
        if row is None:
            return None
        if row["table_name"] != f"{adql_identifier(schema)}.{adql_identifier(table)}":
            raise IngestError(
                f"the table is published as {row['table_name']}; names that differ only by case are one name"
            )
        if row["mark"] != MARK:
            raise IngestError(
                f"{row['physical_schema']}.{row['physical_name']} was not made by gateway ingest, so it is neither replaced nor removed"
            )
        return f"{quote(row['physical_schema'])}.{quote(row['physical_name'])}"

    async def lock(self, connection: Any, schema: str, table: str) -> None:
        """Be the only one who ingests this table, until the transaction ends."""
        key = f"gateway ingest {schema.lower()}.{table.lower()}"
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while not await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", key):
            if time.monotonic() > deadline:
                raise IngestError(f"another ingest of {schema}.{table} is running; wait for its end, or stop it")
            await asyncio.sleep(0.25)

    async def publish(
        self,
        connection: Any,
        plan: Plan,
        batches: Iterator[pa.RecordBatch],
        description: SchemaDescription | None,
    ) -> None:
        """Create, fill, index and publish the table, in one transaction."""
        async with connection.transaction():
            await self.lock(connection, plan.schema, plan.name)
            await self.check_name(connection, plan.schema, plan.name)
            old = await self.published(connection, plan.schema, plan.name)
            final = f"{quote(plan.physical_schema)}.{quote(plan.physical_name)}"
            if await connection.fetchval("SELECT to_regclass($1)::text", final) and final != old:
                raise IngestError(
                    f"PostgreSQL already has a table {plan.physical_schema}.{plan.physical_name} that is not ours; choose another name"
                )
            await self._make_schema(connection, plan.physical_schema)
            columns = [(item.name, sql_type(item.type)) for item in plan.arrow_schema()]
            staging = f"gw_new_{secrets.token_hex(6)}" if old else plan.physical_name
            target = PhysicalTable(plan.physical_schema, staging, columns)
            await connection.execute(target.create())
            await connection.execute(f"COMMENT ON TABLE {target.sql} IS {literal(MARK)}")
            # Rows are encoded only now, while PostgreSQL is busy with those before: a fifth faster than before the sort.
            await copy_batches(connection, (target.schema, target.name), plan.arrow_schema(), batches, freeze=True)
            indexed = await self._index(connection, plan, target)
            if old:
                await self.swap(
                    connection, [f"DROP TABLE {old}", f"ALTER TABLE {target.sql} RENAME TO {quote(plan.physical_name)}"]
                )
            table = plan.table(nrows=self.rows, indexed=indexed)
            schema = Schema(plan.schema, (), description=description.description if description else None)
            for statement in publish_statements(schema, table, replace=self._replace):
                await connection.execute(statement)
            plan.notes += await _lost_keys(connection, table)

    async def _make_schema(self, connection: Any, schema: str) -> None:
        # Asked first, because IF NOT EXISTS demands the right to create even where there is nothing to do.
        exists = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
        if await connection.fetchval(exists, schema):
            return
        # Two ingests into one new schema line up here: the second would fail when the first commits (unique_violation).
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"gateway schema {schema}")
        if not await connection.fetchval(exists, schema):
            await connection.execute(f"CREATE SCHEMA {quote(schema)}")

    async def _index(self, connection: Any, plan: Plan, target: PhysicalTable) -> frozenset[str]:
        """Build all indexes; give the columns that lead one."""
        indexes = list(_indexes(plan))
        total = len(indexes) + 1
        await connection.execute(f"SET LOCAL maintenance_work_mem = '{INDEX_MEMORY}'")
        indexed = set()
        tag = secrets.token_hex(3)
        for done, index in enumerate(indexes):
            self._progress(Progress(Phase.INDEXING, done, total, self.rows))
            name = quote(f"{plan.physical_name[:40]}_{tag}_{done}")
            create = f"INDEX {name} ON {target.sql} ({', '.join(index.expressions)})"
            if not await self._unique(connection, create, index):
                await connection.execute(f"CREATE {create}")
                if index.is_unique:
                    plan.notes.append(f"the primary key {index.label} of the description is not unique in the files")
            if index.column:
                indexed.add(index.column)
        self._progress(Progress(Phase.INDEXING, total - 1, total, self.rows))
        await connection.execute(f"ANALYZE {target.sql}")
        self._progress(Progress(Phase.INDEXING, total, total, self.rows))
        return frozenset(indexed)

    async def _unique(self, connection: Any, create: str, index: Index) -> bool:
        if not index.is_unique:
            return False
        try:
            async with connection.transaction():
                await connection.execute(f"CREATE UNIQUE {create}")
        except asyncpg.UniqueViolationError:
            return False
        return True

    async def swap(self, connection: Any, statements: Sequence[str]) -> None:
        """Run statements that need a table for themselves, without holding up queries for long."""
        deadline = time.monotonic() + SWAP_PATIENCE_S
        while True:
            try:
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = '{SWAP_TRY}'")
                    for statement in statements:
                        await connection.execute(statement)
                    await connection.execute("SET LOCAL lock_timeout = 0")
            except asyncpg.LockNotAvailableError as e:
                if time.monotonic() > deadline:
                    raise IngestError("queries keep using the old table; try again when they have ended") from e
                await asyncio.sleep(1)
            else:
                return


@dataclass(frozen=True, slots=True)
class Index:
    """An index to build."""

    expressions: tuple[str, ...]
    column: str | None
    """Physical name of the column that leads it."""
    is_unique: bool = False
    label: str = ""


def _indexes(plan: Plan) -> Iterator[Index]:
    """Indexes of a table: sky, identifier, and what its description asks for; none twice."""
    physical = dict(zip((item.name for item in plan.fields), plan.columns, strict=True))
    if plan.positions:
        ra, dec = (_as_double(plan, place) for place in (plan.positions.ra, plan.positions.dec))
        yield Index((quote(HEALPIX),), None)
        if not plan.counts.beyond:
            # Row-by-row matches by position look in zones of declination, for right ascensions in [0, 360].
            yield Index((f"sky.zone({dec})", ra), None)
    wanted: list[tuple[tuple[str, ...], bool]] = []
    if plan.described:
        key = plan.described.resolve(plan.described.primary_key)
        wanted += [(key, True)] if key else []
        wanted += [(plan.described.resolve(index.columns), False) for index in plan.described.indexes]
    wanted += [
        ((item.name,), False)
        for item in plan.fields
        if (item.ucd or "").lower() == "meta.id;meta.main" and not item.type.is_array
    ]
    seen = set()
    for names, is_unique in wanted:
        columns = tuple(physical[name] for name in names if name in physical)
        if columns and len(columns) == len(names) and columns not in seen:
            seen.add(columns)
            yield Index(tuple(map(quote, columns)), columns[0], is_unique, ", ".join(names))


def _as_double(plan: Plan, place: int) -> str:
    """Column as translated queries write it where they need doubles: an index serves only the very same expression."""
    name = quote(plan.columns[place])
    is_double = plan.fields[place].type.datatype is Datatype.DOUBLE
    return name if is_double else f"(CAST({name} AS double precision))"
