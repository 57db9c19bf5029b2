"""The registry of published tables: TAP_SCHEMA read into a `Tableset`, and the statements that change it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

import asyncpg
import structlog

from gateway.db.extension_indexes import Positions, find_extension_indexes
from gateway.db.faults import UNAVAILABLE, is_unreachable
from gateway.db.roles import QUERY_ROLE
from gateway.db.schema import standard
from gateway.db.sql import identifier, literal, qualified
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError
from gateway.vo.tableset import (
    Column,
    Datatype,
    ExtensionIndex,
    Field,
    ForeignKey,
    Schema,
    SkyIndex,
    Table,
    Tableset,
    VOType,
    adql_identifier,
)

log = structlog.get_logger()

FRESHNESS = timedelta(milliseconds=500)
"""Longest time for which a copy is used unasked: a table that another process publishes is seen within it."""

CONNECT_TIMEOUT_S = 5.0
"""Waiting longer for a log-in helps nobody: the caller hears that the database does not answer."""


class Registry:
    """Reads what is published, keeps it while its version stands still."""

    def __init__(self, url: str, *, freshness: timedelta = FRESHNESS) -> None:
        self._url = DatabaseURL.parse(url).with_application_name("gw:registry").asyncpg()
        self._freshness_s = freshness.total_seconds()
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection | None = None
        self._tableset: Tableset | None = None
        self._checked = -float("inf")

    async def load(self) -> Tableset:
        """Give all published tables, TAP_SCHEMA itself among them.

        Raises
        ------
        BackendUnavailableError
            The catalog database does not answer.
        """
        if self._tableset is not None and time.monotonic() - self._checked < self._freshness_s:
            return self._tableset
        async with self._lock:
            if self._tableset is None or time.monotonic() - self._checked >= self._freshness_s:
                self._tableset = await self._refreshed()
            return self._tableset

    async def aclose(self) -> None:
        """Give the connection back."""
        async with self._lock:
            self._disconnect()

    async def _refreshed(self) -> Tableset:
        if self._connection is not None:
            try:
                return await self._read()
            except Exception as e:  # noqa: BLE001 - asyncpg has many words for a server that was restarted meanwhile
                log.info("Registry connects again", detail=str(e))
                self._disconnect()
        try:
            return await self._read()
        except BaseException as e:
            self._disconnect()
            if is_unreachable(e):
                raise BackendUnavailableError(UNAVAILABLE) from e
            raise

    async def _read(self) -> Tableset:
        if self._connection is None:
            self._connection = await asyncpg.connect(self._url, timeout=CONNECT_TIMEOUT_S)
        asked = time.monotonic()
        version = await self._connection.fetchval("SELECT version FROM tap_schema.version", timeout=CONNECT_TIMEOUT_S)
        if self._tableset is None or str(version) != self._tableset.version:
            self._tableset = await read_tableset(self._connection)
        self._checked = asked
        return self._tableset

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


async def read_tableset(connection: asyncpg.Connection) -> Tableset:
    """Read TAP_SCHEMA as one consistent picture."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        version = await connection.fetchval("SELECT version FROM tap_schema.version")
        schemas = await connection.fetch(
            "SELECT * FROM tap_schema.schemas ORDER BY schema_name = 'tap_schema', schema_index NULLS LAST, schema_name"
        )
        tables = await connection.fetch("SELECT * FROM tap_schema.tables ORDER BY table_index NULLS LAST, table_name")
        columns = await connection.fetch(
            "SELECT * FROM tap_schema.columns ORDER BY column_index NULLS LAST, column_name"
        )
        keys = await connection.fetch(
            "SELECT k.*, array_agg(ARRAY[c.from_column, c.target_column] ORDER BY c.from_column) AS pairs"
            " FROM tap_schema.keys k JOIN tap_schema.key_columns c USING (key_id) GROUP BY k.key_id ORDER BY k.key_id"
        )
        extensions = await _extension_indexes(connection, tables)
    return _tableset(str(version), schemas, tables, columns, keys, extensions)


async def _extension_indexes(
    connection: asyncpg.Connection, tables: Iterable[asyncpg.Record]
) -> dict[str, ExtensionIndex]:
    """Find the indexes of extensions that queries may use, by the names of tables that have no index of ours."""
    bare = [
        row
        for row in tables
        if row["sky_ra"] is not None
        and row["sky_dec"] is not None
        and row["sky_healpix"] is None
        and row["sky_region"] is None
        and not row["sky_has_zones"]
    ]
    if not bare:
        return {}
    found = await find_extension_indexes(
        connection,
        [Positions(row["physical_schema"], row["physical_name"], row["sky_ra"], row["sky_dec"]) for row in bare],
    )
    return {
        row["table_name"]: one.index
        for row, one in zip(bare, found, strict=True)
        if one is not None and one.is_callable and one.is_readable
    }


def _tableset(
    version: str,
    schemas: Iterable[asyncpg.Record],
    tables: Iterable[asyncpg.Record],
    columns: Iterable[asyncpg.Record],
    keys: Iterable[asyncpg.Record],
    extensions: Mapping[str, ExtensionIndex],
) -> Tableset:
    columns_of: dict[str, list[Column]] = defaultdict(list)
    for row in columns:
        columns_of[row["table_name"]].append(_column(row))
    keys_of: dict[str, list[ForeignKey]] = defaultdict(list)
    for row in keys:
        keys_of[row["from_table"]].append(_key(row))
    tables_of: dict[str, list[Table]] = defaultdict(list)
    for row in tables:
        name = row["table_name"]
        tables_of[row["schema_name"]].append(_table(row, columns_of[name], keys_of[name], extensions.get(name)))
    return Tableset(tuple(_schema(row, tables_of[row["schema_name"]]) for row in schemas), version)


def _schema(row: asyncpg.Record, tables: Sequence[Table]) -> Schema:
    return Schema(
        name=unquoted(row["schema_name"]),
        tables=tuple(tables),
        description=row["description"],
        utype=row["utype"],
        title=row["title"],
        index=row["schema_index"],
    )


def _table(
    row: asyncpg.Record, columns: Sequence[Column], keys: Sequence[ForeignKey], extension: ExtensionIndex | None
) -> Table:
    schema = row["schema_name"]
    return Table(
        schema=unquoted(schema),
        name=unquoted(row["table_name"].removeprefix(f"{schema}.")),
        columns=tuple(columns),
        physical_schema=row["physical_schema"],
        physical_name=row["physical_name"],
        type=row["table_type"],
        description=row["description"],
        utype=row["utype"],
        title=row["title"],
        nrows=row["nrows"],
        sky=_sky(row, extension),
        keys=tuple(keys),
        index=row["table_index"],
        origin=tuple((term, value) for term, value in json.loads(row["origin"] or "[]")),
    )


def _sky(row: asyncpg.Record, extension: ExtensionIndex | None) -> SkyIndex | None:
    if row["sky_ra"] is None or row["sky_dec"] is None:
        return None
    return SkyIndex(
        row["sky_ra"],
        row["sky_dec"],
        row["sky_healpix"],
        row["sky_has_zones"],
        row["sky_region"],
        row["sky_cells"],
        extension,
    )


def _column(row: asyncpg.Record) -> Column:
    return Column(
        field=Field(
            name=unquoted(row["column_name"]),
            type=VOType(Datatype(row["datatype"]), row["arraysize"], row["xtype"]),
            unit=row["unit"],
            ucd=row["ucd"],
            utype=row["utype"],
            description=row["description"],
        ),
        physical=row["physical_name"],
        sql_type=row["sql_type"],
        is_indexed=bool(row["indexed"]),
        is_principal=bool(row["principal"]),
        is_std=bool(row["std"]),
        index=row["column_index"],
    )


def _key(row: asyncpg.Record) -> ForeignKey:
    return ForeignKey(
        key_id=row["key_id"],
        target_table=row["target_table"],
        columns=tuple((unquoted(here), unquoted(there)) for here, there in row["pairs"]),
        description=row["description"],
        utype=row["utype"],
    )


# -- writing ----------------------------------------------------------------------------------------------------


def publish_statements(schema: Schema, table: Table, *, replace: bool, grants: bool = True) -> list[str]:
    """Give the SQL that publishes a table that exists, to run in one transaction as its owner.

    Parameters
    ----------
    schema
        Schema to publish it in; made if new. Its description, utype, title and index are written where they
        are not ``None``. Its ``tables`` are not looked at.
    table
        Table with all its published columns and foreign keys.
    replace
        Whether a published table of that name gives way; else the statements fail on it (unique_violation).
    grants
        Whether the query role is allowed to read the table; else whoever may has to run `grant_statements`.

    Returns
    -------
    list of str
        Statements with all values in them. Run them with nothing interpreted (no parameters), in order.
    """
    return [
        _BUMP,
        _schema_statement(schema),
        *_table_statements(table, replace=replace),
        *(grant_statements(table) if grants else ()),
        *_key_statements(table),
        *_closing_statements(),
    ]


def publish_schema_statements(schema: Schema) -> list[str]:
    """Give the SQL that publishes a schema with all its tables, each in place of what it was."""
    return [
        _BUMP,
        _schema_statement(schema),
        *(
            statement
            for table in schema.tables
            for statement in (*_table_statements(table, replace=True), *grant_statements(table))
        ),
        *(statement for table in schema.tables for statement in _key_statements(table)),
        *_closing_statements(),
    ]


def unpublish_statements(qualified_name: str) -> list[str]:
    """Give the SQL that takes a table off the list; the table itself stays.

    Parameters
    ----------
    qualified_name
        Name as `Table.qualified_name` gives it.
    """
    name = literal(qualified_name)
    return [
        _BUMP,
        # The table may be gone already, or be published under a second name.
        f"""
        DO $$
        DECLARE physical regclass;
        BEGIN
            SELECT to_regclass(format('%I.%I', t.physical_schema, t.physical_name)) INTO physical
            FROM tap_schema.tables t
            WHERE t.table_name = {_dollar_safe(name)} AND NOT EXISTS (
                SELECT FROM tap_schema.tables o
                WHERE o.table_name <> t.table_name
                  AND (o.physical_schema, o.physical_name) = (t.physical_schema, t.physical_name));
            IF physical IS NOT NULL THEN
                EXECUTE format('REVOKE ALL ON %s FROM {QUERY_ROLE}', physical);
            END IF;
        EXCEPTION
            -- A registered table of somebody else, who granted the right and may take it back.
            WHEN insufficient_privilege THEN NULL;
        END $$
        """,
        f"DELETE FROM tap_schema.tables WHERE table_name = {name}",
        """
        DELETE FROM tap_schema.schemas s
        WHERE NOT EXISTS (SELECT FROM tap_schema.tables t WHERE t.schema_name = s.schema_name)
        """,
    ]


_BUMP = "UPDATE tap_schema.version SET version = version + 1, changed = clock_timestamp()"
"""Comes first: the row's lock lines publishers up, so that they cannot block each other in a ring."""


def _schema_statement(schema: Schema) -> str:
    return f"""
        INSERT INTO tap_schema.schemas AS old (schema_name, utype, description, schema_index, title)
        VALUES ({_values(adql_identifier(schema.name), schema.utype, schema.description, schema.index, schema.title)})
        ON CONFLICT (schema_name) DO UPDATE SET
            utype = coalesce(EXCLUDED.utype, old.utype),
            description = coalesce(EXCLUDED.description, old.description),
            schema_index = coalesce(EXCLUDED.schema_index, old.schema_index),
            title = coalesce(EXCLUDED.title, old.title)
        """


_TABLE_COLUMNS = (
    "schema_name, table_type, utype, description, table_index, title, physical_schema, physical_name, nrows,"
    " sky_ra, sky_dec, sky_healpix, sky_has_zones, sky_region, sky_cells, origin"
)


def _table_statements(table: Table, *, replace: bool) -> Iterator[str]:
    name = literal(table.qualified_name)
    sky = table.sky
    values = _values(
        adql_identifier(table.schema),
        table.type,
        table.utype,
        table.description,
        table.index,
        table.title,
        table.physical_schema,
        table.physical_name,
        table.nrows,
        sky.ra if sky else None,
        sky.dec if sky else None,
        sky.healpix if sky else None,
        sky.has_zones if sky else False,
        sky.region if sky else None,
        sky.cells if sky else None,
        json.dumps(table.origin, ensure_ascii=False) if table.origin else None,
    )
    insert = f"INSERT INTO tap_schema.tables (table_name, {_TABLE_COLUMNS}) VALUES ({name}, {values})"
    if replace:
        # An update and not a deletion, which would take along the foreign keys of other tables to this one.
        insert += f" ON CONFLICT (table_name) DO UPDATE SET ({_TABLE_COLUMNS}) = ROW({values})"
        yield f"DELETE FROM tap_schema.columns WHERE table_name = {name}"
        yield f"DELETE FROM tap_schema.keys WHERE from_table = {name}"
    yield insert
    yield (
        "INSERT INTO tap_schema.columns (table_name, column_name, datatype, arraysize, xtype, size, description, utype,"
        " unit, ucd, indexed, principal, std, column_index, physical_name, sql_type) VALUES "
        + ", ".join(f"({name}, {_column_values(column, place)})" for place, column in enumerate(table.columns, start=1))
    )


def _column_values(column: Column, place: int) -> str:
    field = column.field
    return _values(
        adql_identifier(field.name),
        field.type.datatype.value,
        field.type.arraysize,
        field.type.xtype,
        size_of(field.type),
        field.description,
        field.utype,
        field.unit,
        field.ucd,
        int(column.is_indexed),
        int(column.is_principal),
        int(column.is_std),
        place if column.index is None else column.index,
        column.physical,
        column.sql_type,
    )


def size_of(kind: VOType) -> int | None:
    """Value of the deprecated column "size" (TAP 1.1, "TAP_SCHEMA": N for arraysize N or N*, else null)."""
    length = (kind.arraysize or "").removesuffix("*")
    return int(length) if length.isdecimal() else None


def _key_statements(table: Table) -> Iterator[str]:
    source = literal(table.qualified_name)
    for key in table.keys:
        key_id, target = literal(key.key_id), literal(key.target_table)
        # A key whose target is not on offer would name a table that nobody can find (TAP-75).
        yield (
            "INSERT INTO tap_schema.keys (key_id, from_table, target_table, description, utype)"
            f" SELECT {key_id}, {source}, {target}, {_values(key.description, key.utype)}"
            f" WHERE EXISTS (SELECT FROM tap_schema.tables WHERE table_name = {target})"
        )
        for here, there in key.columns:
            yield (
                "INSERT INTO tap_schema.key_columns (key_id, from_column, target_column)"
                f" SELECT {key_id}, {_values(adql_identifier(here), adql_identifier(there))}"
                f" WHERE EXISTS (SELECT FROM tap_schema.keys WHERE key_id = {key_id})"
            )


def grant_statements(table: Table, also: Iterable[str] = ()) -> Iterator[str]:
    """Give the SQL that lets the query role read what is published of a table, and nothing else of it.

    Parameters
    ----------
    also
        Physical columns that are published under another name of the table.
    """
    relation = qualified(table.physical_schema, table.physical_name)
    yield f"GRANT USAGE ON SCHEMA {identifier(table.physical_schema)} TO {QUERY_ROLE}"
    if table.physical_schema == standard.NAME:
        # The registry reads the physical names as the query role.
        yield f"GRANT SELECT ON {relation} TO {QUERY_ROLE}"
        return
    readable = dict.fromkeys(column.physical for column in table.columns)
    readable |= dict.fromkeys(also)
    if table.sky is not None:
        readable |= dict.fromkeys(
            name for name in (table.sky.ra, table.sky.dec, table.sky.healpix, table.sky.cells) if name
        )
        if table.sky.extension is not None:
            yield f"GRANT USAGE ON SCHEMA {identifier(table.sky.extension.schema)} TO {QUERY_ROLE}"
            readable |= dict.fromkeys([table.sky.extension.point] if table.sky.extension.point else [])
    yield f"REVOKE ALL ON {relation} FROM {QUERY_ROLE}"
    yield f"GRANT SELECT ({', '.join(map(identifier, readable))}) ON {relation} TO {QUERY_ROLE}"


def _closing_statements() -> Iterator[str]:
    # A replaced table may lack a column that a key of another table names, and a description may name one that no
    # file has (TAP-75).
    yield (
        "DELETE FROM tap_schema.keys k USING tap_schema.key_columns p WHERE p.key_id = k.key_id AND NOT ("
        "EXISTS (SELECT FROM tap_schema.columns c WHERE (c.table_name, c.column_name) = (k.target_table, p.target_column))"
        " AND EXISTS (SELECT FROM tap_schema.columns c WHERE (c.table_name, c.column_name) = (k.from_table, p.from_column)))"
    )
    # char says that every value is ASCII; TAP_SCHEMA's own columns have to keep that promise too.
    for name in standard.TABLE_NAMES:
        table = f"{standard.NAME}.{name}"
        yield (
            f"UPDATE tap_schema.columns SET datatype = 'unicodeChar' WHERE table_name = '{table}' AND datatype = 'char'"
            f" AND column_name IN (SELECT key FROM {table} AS row, jsonb_each_text(to_jsonb(row))"
            " WHERE octet_length(value) <> length(value))"
        )


def _values(*values: str | int | bool | None) -> str:
    return ", ".join(map(literal, values))


def _dollar_safe(text: str) -> str:
    """Keep a literal from ending the dollar-quoted body around it."""
    return text.replace("$", "' || chr(36) || '")


def unquoted(name: str) -> str:
    """Undo `adql_identifier`."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
