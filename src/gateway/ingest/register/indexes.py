"""The index that makes searches by position fast on a table that is only registered.

It is the one of declination zones, an expression index: ``(sky.zone(dec), ra)``; it serves regions and joins by position.
Measured on 2 million rows, beside one of ``sky.healpix_index(29, ra, dec)``: it is built in 0.9 s, the other in 5.4 s, and cones
of 0.05 to 20 degrees take as long with either (0.6 and 1.1 ms, 24 and 31 ms at 5 degrees). So it is the only one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.db.sql import identifier, literal, qualified
from gateway.ingest.connection import admin_connection
from gateway.ingest.names import physical_name
from gateway.ingest.progress import Phase, Progress, ProgressSink
from gateway.ingest.register.relation import Relation, StoredColumn

MARK = "made by gateway register"
"""Comment on every index made here: only such an index is ever dropped."""

PREFIX = "gw_zone_"
"""Start of the names of our indexes. One that is invalid has no comment yet: the name tells that it is ours."""

MEMORY = "256MB"
"""``maintenance_work_mem`` of the build."""

POLL_S = 0.5
"""How often the progress of a build is looked up."""

PROBE_ZONE = 7919
"""Zone that a trial query asks for: a number that stands out in its plan."""


@dataclass(frozen=True, slots=True)
class Position:
    """Columns with the position."""

    ra: StoredColumn
    dec: StoredColumn

    @property
    def expressions(self) -> tuple[str, str]:
        """Right ascension and declination as translated queries write them."""
        ra, dec = (_double(column) for column in (self.ra, self.dec))
        return ra, dec

    @property
    def key(self) -> str:
        """What the index is on."""
        ra, dec = self.expressions
        return f"(sky.zone({dec}), {ra if ra.startswith(chr(34)) else f'({ra})'})"


def _double(column: StoredColumn) -> str:
    name = identifier(column.name)
    return name if column.sql_type == "double precision" else f"CAST({name} AS double precision)"


@dataclass(frozen=True, slots=True)
class Part:
    """Table, or partition of one, and the index that it needs."""

    oid: int
    schema: str
    name: str
    kind: str
    index: str
    """Name of the index, in the same schema."""
    parts: tuple[Part, ...] = ()

    @property
    def sql(self) -> str:
        """Its name in SQL."""
        return qualified(self.schema, self.name)

    @property
    def index_sql(self) -> str:
        """The index's name in SQL."""
        return qualified(self.schema, self.index)

    def walk(self) -> Iterator[Part]:
        """Give it and all below it, those below first."""
        for part in self.parts:
            yield from part.walk()
        yield self


def index_name(schema: str, table: str, position: Position) -> str:
    """Name of an index: the same for the same table and columns, so that a broken one is found again."""
    key = f"{schema}\0{table}\0{position.ra.name}\0{position.dec.name}"
    return f"{PREFIX}{physical_name(table)[:40]}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"


async def parts_of(connection: Any, relation: Relation, position: Position) -> Part:
    """List a table's partitions, as a tree; foreign ones are left out, as they have no indexes."""

    async def part(oid: int, schema: str, name: str, kind: str) -> Part:
        below: list[Part] = []
        if kind == "p":
            rows = await connection.fetch(
                "SELECT c.oid::bigint AS oid, n.nspname, c.relname, c.relkind::text AS kind FROM pg_inherits i"
                " JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE i.inhparent = $1::bigint::oid AND c.relkind IN ('r', 'p') ORDER BY 2, 3",
                oid,
            )
            below = [await part(*row) for row in rows]
        return Part(oid, schema, name, kind, index_name(schema, name, position), tuple(below))

    return await part(relation.oid, relation.schema, relation.name, relation.kind)


def ddl(part: Part, position: Position) -> list[str]:
    """Statements that an owner may run by hand. With partitions they are built one by one, without stopping writers."""
    if part.kind != "p":
        return [f"CREATE INDEX CONCURRENTLY {identifier(part.index)} ON {part.sql} {position.key};"]
    statements = [f"CREATE INDEX {identifier(part.index)} ON ONLY {part.sql} {position.key};"]
    for below in part.parts:
        statements += ddl(below, position)
        statements.append(f"ALTER INDEX {part.index_sql} ATTACH PARTITION {below.index_sql};")
    return statements


def hand_made(part: Part, position: Position) -> list[str]:
    """All that the owner of a table has to run to have it indexed."""
    return [*ddl(part, position), f"ANALYZE {part.sql};"]


async def is_served(connection: Any, relation: Relation, position: Position) -> str | None:
    """Find the index that searches by position would use.

    Asks PostgreSQL's planner, so that indexes of tables behind a view and of partitions are found, whoever made them.
    """
    ra, dec = position.expressions
    query = (
        f"SELECT 1 FROM {qualified(relation.schema, relation.name)}"
        f" WHERE sky.zone({dec}) = {PROBE_ZONE} AND {ra} >= 10.25 AND {ra} <= 10.5"
    )
    async with connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}"))
    # Partitions on other servers have no index, and need none for the others to have one.
    scans = [scan for scan in _scans(plan[0]["Plan"]) if scan["Node Type"] != "Foreign Scan"]
    found = [scan["Index Name"] for scan in scans if f"= {PROBE_ZONE}" in scan.get("Index Cond", "")]
    return str(found[0]) if found and len(found) == len(scans) else None


def _scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """List the scans of a plan that say how rows are found."""
    kind = plan["Node Type"]
    if kind.endswith("Scan") and kind not in {"Bitmap Heap Scan", "Subquery Scan"}:
        yield plan
    for below in plan.get("Plans", ()):
        yield from _scans(below)


async def indexed_columns(connection: Any, oid: int) -> frozenset[str]:
    """Columns that lead a valid index."""
    rows = await connection.fetch(
        "SELECT DISTINCT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE i.indrelid = $1::bigint::oid AND i.indisvalid AND i.indpred IS NULL",
        oid,
    )
    return frozenset(row[0] for row in rows)


@dataclass(frozen=True, slots=True)
class Built:
    """Index of ours as it is found."""

    sql: str
    is_valid: bool
    is_attached: bool


async def find_ours(connection: Any, oids: Sequence[int]) -> list[Built]:
    """Find indexes that were made here, also those that an interruption left unfinished."""
    rows = await connection.fetch(
        "SELECT n.nspname AS schema, c.relname AS name, i.indisvalid AS is_valid, c.relispartition AS is_attached"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE i.indrelid = ANY ($1::text[]::oid[])"
        " AND (obj_description(c.oid, 'pg_class') = $2 OR (NOT i.indisvalid AND c.relname LIKE $3)) ORDER BY c.relispartition",
        [str(oid) for oid in oids],
        MARK,
        PREFIX.replace("_", r"\_") + "%",
    )
    return [Built(qualified(row["schema"], row["name"]), row["is_valid"], row["is_attached"]) for row in rows]


async def drop_ours(
    connection: Any, oids: Sequence[int], *, only_invalid: bool = False, keep: frozenset[str] = frozenset()
) -> list[str]:
    """Drop our indexes except some, without stopping readers or writers; gives their names."""
    dropped = []
    for index in await find_ours(connection, oids):
        if index.sql in keep:
            continue
        if only_invalid and index.is_valid:
            continue
        if index.is_attached and not only_invalid:
            continue  # goes with the one above it
        # The index of a partitioned table, and those attached to it, cannot be dropped concurrently.
        if index.is_attached or await _is_partitioned(connection, index.sql):
            await connection.execute(f"DROP INDEX IF EXISTS {index.sql}")
        else:
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.sql}")
        dropped.append(index.sql.replace('"', ""))
    return dropped


async def _is_partitioned(connection: Any, index: str) -> bool:
    return bool(await connection.fetchval("SELECT relkind = 'I' FROM pg_class WHERE oid = to_regclass($1)", index))


async def build(
    connection: Any, part: Part, position: Position, *, admin_url: str, progress: ProgressSink, rows: int
) -> None:
    """Build the index of a table and of all its partitions; what is built already stays."""
    await connection.execute(f"SET maintenance_work_mem = '{MEMORY}'")
    await drop_ours(connection, [one.oid for one in part.walk() if one.kind != "p"], only_invalid=True)
    await _build(connection, part, position, admin_url, progress, rows)
    await connection.execute(f"ANALYZE {part.sql}")


async def _build(
    connection: Any, part: Part, position: Position, admin_url: str, progress: ProgressSink, rows: int
) -> None:
    only = "ONLY " if part.kind == "p" else ""
    concurrently = "" if part.kind == "p" else "CONCURRENTLY "
    if await connection.fetchval("SELECT to_regclass($1) IS NULL", part.index_sql):
        async with _watched(connection, admin_url, progress, rows):
            await connection.execute(
                f"CREATE INDEX {concurrently}{identifier(part.index)} ON {only}{part.sql} {position.key}"
            )
        await connection.execute(f"COMMENT ON INDEX {part.index_sql} IS {literal(MARK)}")
    for below in part.parts:
        await _build(connection, below, position, admin_url, progress, rows)
        attached = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass($1) AND inhparent = to_regclass($2))",
            below.index_sql,
            part.index_sql,
        )
        if not attached:
            await connection.execute(f"ALTER INDEX {part.index_sql} ATTACH PARTITION {below.index_sql}")


@asynccontextmanager
async def _watched(connection: Any, admin_url: str, progress: ProgressSink, rows: int) -> AsyncIterator[None]:
    """Tell how far the build in this connection has come, asked through another one."""
    backend = await connection.fetchval("SELECT pg_backend_pid()")

    async def watch() -> None:
        async with admin_connection(admin_url) as other:
            while True:
                row = await other.fetchrow(
                    "SELECT blocks_done, blocks_total, tuples_done, tuples_total FROM pg_stat_progress_create_index WHERE pid = $1",
                    backend,
                )
                if row is not None:
                    done, total = row["blocks_done"], row["blocks_total"]
                    if row["tuples_total"] > 0:
                        done, total = row["tuples_done"], row["tuples_total"]
                    if total:
                        progress(Progress(Phase.INDEXING, min(done, total), total, rows))
                await asyncio.sleep(POLL_S)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        # A display that failed is no reason to lose the index.
        await asyncio.gather(watching, return_exceptions=True)


async def tables_behind(connection: Any, relation: Relation, position: Position) -> list[str]:
    """Statements that may make a view fast: indexes on the tables behind it that have columns of those names."""
    rows = await connection.fetch(
        "SELECT DISTINCT n.nspname AS schema, c.relname AS name FROM pg_rewrite r"
        " JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass"
        " JOIN pg_class c ON c.oid = d.refobjid AND c.relkind IN ('r', 'm') JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE r.ev_class = $1::bigint::oid AND 2 = (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid"
        " AND NOT a.attisdropped AND a.attname IN ($2, $3))",
        relation.oid,
        position.ra.name,
        position.dec.name,
    )
    return [
        statement
        for row in rows
        for part in [Part(0, row["schema"], row["name"], "r", index_name(row["schema"], row["name"], position))]
        for statement in hand_made(part, position)
    ]
