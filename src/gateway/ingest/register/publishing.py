"""Write a registered table into TAP_SCHEMA, and let the query role read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import asyncpg

from gateway.db.registry import grant_statements, publish_statements, read_tableset
from gateway.db.roles import QUERY_ROLE
from gateway.db.sql import identifier, qualified
from gateway.errors import IngestError
from gateway.ingest.register import indexes
from gateway.ingest.register.draft import Draft
from gateway.ingest.register.relation import Relation
from gateway.ingest.register.serving import Served
from gateway.vo.tableset import Column, ForeignKey, Schema, SkyIndex, Table


async def make_table(
    connection: Any, relation: Relation, draft: Draft, served: Served, schema: str, name: str
) -> Table:
    """Describe a registered table as it is published."""
    lead = await indexes.indexed_columns(connection, relation.oid)
    some_principal = any(said.is_principal for said in draft.said)
    columns = tuple(
        Column(
            field=field,
            physical=column.name,
            sql_type=column.sql_type,
            is_indexed=column.name in lead,
            is_principal=bool(said.is_principal) if some_principal else True,
            is_std=said.is_std,
            index=place,
        )
        for place, (column, field, said) in enumerate(zip(draft.stored, draft.fields, draft.said, strict=True), start=1)
    )
    if draft.said and all(said.index is not None for said in draft.said):
        columns = tuple(replace(column, index=said.index) for column, said in zip(columns, draft.said, strict=True))
    sky = None
    if draft.position is not None:
        sky = SkyIndex(
            draft.position.ra.name,
            draft.position.dec.name,
            has_zones=served.index is not None and served.extension is None,
            extension=served.extension,
        )
    return Table(
        schema=schema,
        name=name,
        columns=columns,
        physical_schema=relation.schema,
        physical_name=relation.name,
        type="view" if relation.kind in "vm" else "table",
        description=draft.description,
        utype=draft.utype,
        nrows=served.rows if served.rows is not None else await _estimate(connection, relation),
        sky=sky,
        keys=await _keys(connection, relation, columns, f"{schema}.{name}"),
        index=draft.index,
        origin=draft.origin,
    )


async def _estimate(connection: Any, relation: Relation) -> int | None:
    """Estimate the number of rows: as PostgreSQL last counted, or as its planner guesses."""
    if relation.rows is not None:
        return relation.rows
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {qualified(relation.schema, relation.name)}")
    return int(json.loads(plan)[0]["Plan"]["Plan Rows"])


async def _keys(connection: Any, relation: Relation, columns: Sequence[Column], name: str) -> tuple[ForeignKey, ...]:
    """Foreign keys of PostgreSQL to tables that are published."""
    rows = await connection.fetch(
        "SELECT k.conname, n.nspname, c.relname,"
        " (SELECT array_agg(a.attname::text ORDER BY u.place) FROM unnest(k.conkey) WITH ORDINALITY u(number, place)"
        "  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number) AS here,"
        " (SELECT array_agg(a.attname::text ORDER BY u.place) FROM unnest(k.confkey) WITH ORDINALITY u(number, place)"
        "  JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number) AS there"
        " FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE k.contype = 'f' AND k.conrelid = $1::bigint::oid ORDER BY 1",
        relation.oid,
    )
    if not rows:
        return ()
    mine = {column.physical: column.name for column in columns}
    published = (await read_tableset(connection)).tables
    keys = []
    for row in rows:
        target = next(
            (t for t in published if (t.physical_schema, t.physical_name) == (row["nspname"], row["relname"])), None
        )
        if target is None:
            continue
        theirs = {column.physical: column.name for column in target.columns}
        if all(one in mine for one in row["here"]) and all(one in theirs for one in row["there"]):
            pairs = tuple((mine[one], theirs[other]) for one, other in zip(row["here"], row["there"], strict=True))
            keys.append(ForeignKey(f"{name}.{row['conname']}", target.qualified_name, pairs))
    return tuple(keys)


async def publish(connection: Any, relation: Relation, table: Table, schema: Schema, *, replace: bool) -> None:
    """Write a table into TAP_SCHEMA, all or nothing.

    Raises
    ------
    IngestError
        The query role may not read the table, and we may not allow it.
    """
    async with connection.transaction():
        for statement in publish_statements(schema, table, replace=replace, grants=False):
            await connection.execute(statement)
        for statement in grant_statements(table, await _under_other_names(connection, relation, table)):
            try:
                async with connection.transaction():
                    await connection.execute(statement)
            except asyncpg.InsufficientPrivilegeError:
                continue  # it may have the right all the same
        await _check_grants(connection, relation, table)


async def _under_other_names(connection: Any, relation: Relation, table: Table) -> list[str]:
    """List the columns that are published of the same relation elsewhere: they stay readable."""
    rows = await connection.fetch(
        "SELECT c.physical_name FROM tap_schema.tables t JOIN tap_schema.columns c USING (table_name)"
        " WHERE (t.physical_schema, t.physical_name) = ($1, $2) AND t.table_name <> $3"
        " UNION SELECT unnest(ARRAY[t.sky_ra, t.sky_dec]) FROM tap_schema.tables t"
        " WHERE (t.physical_schema, t.physical_name) = ($1, $2) AND t.table_name <> $3",
        relation.schema,
        relation.name,
        table.qualified_name,
    )
    stored = {column.name for column in relation.columns}
    return sorted({row[0] for row in rows} & stored)


async def _check_grants(connection: Any, relation: Relation, table: Table) -> None:
    """See whether the query role can read all that is published, by asking for it as that role.

    Raises
    ------
    IngestError
        It cannot, and we may not grant it; the text has the statements for who may.
    """
    columns = ", ".join(identifier(column.physical) for column in table.columns)
    name = qualified(relation.schema, relation.name)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {QUERY_ROLE}")
            await connection.execute(f"EXPLAIN SELECT {columns} FROM {name}")
            await connection.execute("RESET ROLE")
    except asyncpg.InsufficientPrivilegeError as e:
        grants = "".join(f" {statement};" for statement in grant_statements(table) if statement.startswith("GRANT"))
        raise IngestError(
            f"the role under which queries run, {QUERY_ROLE}, may not read {relation.shown} ({e}), and {relation.user} may not "
            f"allow it; let {relation.owner}, its owner, run:{grants} Then register again"
        ) from e
