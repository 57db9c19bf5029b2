"""Tables that are published where they are: what has become of them, and how they are taken back."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import asyncpg

from gateway.db.registry import read_tableset, unpublish_statements
from gateway.db.sql import qualified
from gateway.errors import NotFoundError
from gateway.ingest.names import parse_table_name
from gateway.ingest.register import indexes
from gateway.ingest.register.draft import Draft
from gateway.ingest.register.relation import Relation
from gateway.ingest.register.session import name_lock, register_session
from gateway.ingest.tables import MARK
from gateway.vo.tableset import Table, adql_identifier


@dataclass(frozen=True, slots=True)
class Registered:
    """Table that is published where it was."""

    name: str
    physical: str
    rows: int | None
    is_indexed: bool
    faults: tuple[str, ...]
    """What has changed since, in words; empty if all is well."""


_LIST = """
SELECT t.table_name AS name, t.physical_schema || '.' || t.physical_name AS physical, t.nrows AS rows,
    t.sky_has_zones AS is_indexed, r.oid::bigint AS oid, t.sky_ra IS NOT NULL AS has_position,
    (SELECT array_agg(c.column_name ORDER BY c.column_index) FROM tap_schema.columns c
     LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = c.physical_name AND NOT a.attisdropped
     WHERE c.table_name = t.table_name AND a.attname IS NULL) AS gone,
    (SELECT array_agg(c.column_name ORDER BY c.column_index) FROM tap_schema.columns c
     JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = c.physical_name AND NOT a.attisdropped
     WHERE c.table_name = t.table_name AND format_type(a.atttypid, a.atttypmod) <> c.sql_type) AS changed
FROM tap_schema.tables t
LEFT JOIN LATERAL (SELECT to_regclass(format('%I.%I', t.physical_schema, t.physical_name)) AS oid) r ON true
WHERE t.schema_name NOT IN ('tap_schema', 'ivoa')
    AND obj_description(r.oid, 'pg_class') IS DISTINCT FROM $1
ORDER BY 1
"""


def list_registered(admin_url: str) -> list[Registered]:
    """List the tables that are published where they were, and what has happened to them since."""

    async def work() -> list[Registered]:
        async with register_session(admin_url) as connection:
            helped = {
                table.qualified_name
                for table in (await read_tableset(connection)).tables
                if table.sky is not None and table.sky.extension is not None
            }
            return [_registered(row, helped) for row in await connection.fetch(_LIST, MARK)]

    return asyncio.run(work())


def _registered(row: Any, helped: Collection[str]) -> Registered:
    faults = []
    if row["oid"] is None:
        faults.append("the table is gone")
    else:
        faults += [f"column {name} is gone" for name in row["gone"] or ()]
        faults += [f"column {name} has another type" for name in row["changed"] or ()]
    is_indexed = row["is_indexed"] or row["name"] in helped
    return Registered(row["name"], row["physical"], row["rows"], is_indexed, tuple(faults))


def unregister_table(name: str, admin_url: str) -> tuple[str, ...] | None:
    """Unpublish a registered table; the table stays, and the indexes that were made for it go.

    Returns
    -------
    tuple of str or None
        What was done, in sentences; ``None`` if a table of this name was made by `gateway ingest`.

    Raises
    ------
    NotFoundError
        No table of this name is published.
    """
    return asyncio.run(_unregister(name, admin_url))


async def _unregister(name: str, admin_url: str) -> tuple[str, ...] | None:
    schema, table = parse_table_name(name)
    published = f"{adql_identifier(schema)}.{adql_identifier(table)}"
    async with register_session(admin_url) as connection:
        known = {item.qualified_name.lower(): item for item in (await read_tableset(connection)).tables}
        found = known.get(published.lower())
        if found is None:
            close = difflib.get_close_matches(published.lower(), known, n=3)
            hint = f"; did you mean {' or '.join(known[one].qualified_name for one in close)}?" if close else ""
            raise NotFoundError(f"there is no published table {published}{hint}")
        physical = qualified(found.physical_schema, found.physical_name)
        mark, oid = await connection.fetchrow(
            "SELECT obj_description(to_regclass($1), 'pg_class'), to_regclass($1)::oid::bigint", physical
        )
        if mark == MARK:
            return None
        async with name_lock(connection, found.qualified_name):
            async with connection.transaction():
                for statement in unpublish_statements(found.qualified_name):
                    await connection.execute(statement)
            if oid is None:
                return (f"{found.physical_schema}.{found.physical_name} itself was gone already",)
            return await _drop_indexes(connection, found, oid)


async def _drop_indexes(connection: Any, table: Table, oid: int) -> tuple[str, ...]:
    where = f"{table.physical_schema}.{table.physical_name}"
    said = [f"{where} itself was not touched"]
    if await _times_published(connection, table.physical_schema, table.physical_name):
        return (*said, "it is still published under another name, so its indexes stay")
    oids = [
        row[0]
        for row in await connection.fetch("SELECT relid::oid::bigint FROM pg_partition_tree($1::bigint::oid)", oid)
    ]
    try:
        dropped = await indexes.drop_ours(connection, oids or [oid])
    except asyncpg.InsufficientPrivilegeError as e:
        return (*said, f"its index for searches by position stays, because this user may not drop it ({e})")
    if dropped:
        said.append(f"the index that gateway register had made was dropped: {', '.join(dropped)}")
    return tuple(said)


async def drop_stale(connection: Any, relation: Relation, draft: Draft) -> list[str]:
    """Drop indexes that were made for positions in other columns."""
    if await _times_published(connection, relation.schema, relation.name) > 1:
        return []
    oids = [relation.oid]
    keep: frozenset[str] = frozenset()
    if draft.position is not None:
        parts = list((await indexes.parts_of(connection, relation, draft.position)).walk())
        oids, keep = [part.oid for part in parts], frozenset(part.index_sql for part in parts)
    dropped = await indexes.drop_ours(connection, oids, keep=keep)
    return (
        [f"an index for other columns, which gateway register had made, was dropped: {', '.join(dropped)}"]
        if dropped
        else []
    )


async def _times_published(connection: Any, schema: str, name: str) -> int:
    count: int = await connection.fetchval(
        "SELECT count(*) FROM tap_schema.tables WHERE physical_schema = $1 AND physical_name = $2", schema, name
    )
    return count
