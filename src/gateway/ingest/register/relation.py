"""A table or view as PostgreSQL has it: found by its name, described by the system catalogs, never changed."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from gateway.errors import IngestError

NAME = re.compile(r'\s*(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)\s*')
"""``schema.table``, each part maybe in double quotes."""

KINDS = {"r": "table", "p": "partitioned table", "m": "materialised view", "v": "view", "f": "foreign table"}
"""``pg_class.relkind`` of what can be published."""

FORBIDDEN = frozenset({"tap_schema", "ivoa", "gateway", "gateway_images", "sky", "information_schema", "pg_catalog"})
"""Schemas of the gateway and of PostgreSQL: nothing in them is a survey's."""


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """Column as PostgreSQL has it."""

    name: str
    sql_type: str
    """As ``format_type`` spells it."""
    base: str
    """``pg_type.typname`` of the type, below any domains; of an array, with ``[]`` and of its elements."""
    category: str
    """``pg_type.typcategory`` of the base type; of an array, of its elements."""
    modifier: int
    """Length or precision as PostgreSQL encodes it; -1: none."""
    labels: tuple[str, ...] | None
    """Values of an enumeration; ``None`` for other types."""
    comment: str | None


@dataclass(frozen=True, slots=True)
class Relation:
    """Table or view as PostgreSQL has it."""

    oid: int
    schema: str
    name: str
    kind: str
    """``pg_class.relkind``."""
    comment: str | None
    columns: tuple[StoredColumn, ...]
    rows: int | None
    """Estimated number of rows; ``None``: never counted."""
    owner: str
    user: str
    """Who we are."""
    is_ours: bool
    """Whether we have the owner's rights."""
    may_create: bool
    """Whether we may create in its schema, which an index needs."""
    is_readable: bool
    has_row_security: bool

    @property
    def shown(self) -> str:
        """Name for messages."""
        return f"{self.schema}.{self.name}"

    @property
    def word(self) -> str:
        """What it is."""
        return KINDS[self.kind]

    @property
    def may_index(self) -> bool:
        """Whether it can have an index, and we may make one."""
        return self.kind in "rpm" and self.is_ours and self.may_create

    def find(self, name: str) -> StoredColumn:
        """Look up a column: exactly, else without case.

        Raises
        ------
        IngestError
            There is none; the text names those that are like it.
        """
        for column in self.columns:
            if column.name == name:
                return column
        for column in self.columns:
            if column.name.casefold() == name.casefold():
                return column
        names = [column.name for column in self.columns]
        raise IngestError(f"{self.word} {self.shown} has no column {name!r}{suggestion(name, names)}")


def suggestion(name: str, known: list[str]) -> str:
    """Tell which names are like one that does not exist, or which there are."""
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(by_lower[one] for one in close)}?"
    listed = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return f"; there are {listed}" if known else "; there are none"


_FIND = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
    obj_description(c.oid, 'pg_class') AS comment, c.relrowsecurity AS has_row_security,
    CASE WHEN c.relkind = 'p'
         THEN (SELECT sum(greatest(l.reltuples, 0)) FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid
               WHERE t.isleaf)::bigint
         ELSE nullif(c.reltuples, -1)::bigint END AS rows,
    pg_get_userbyid(c.relowner) AS owner, current_user::text AS me, pg_has_role(c.relowner, 'USAGE') AS is_ours,
    has_schema_privilege(n.oid, 'CREATE') AS may_create,
    has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT') AS is_readable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE lower(n.nspname) = lower($1) AND lower(c.relname) = lower($2) AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
ORDER BY (n.nspname = $1)::int + (c.relname = $2)::int DESC
"""

_COLUMNS = """
WITH RECURSIVE chain AS (
    SELECT a.attnum, a.atttypid AS oid, a.atttypmod AS modifier
    FROM pg_attribute a WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT c.attnum, t.typbasetype, t.typtypmod FROM chain c JOIN pg_type t ON t.oid = c.oid AND t.typtype = 'd'
)
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS sql_type, chain.modifier,
    CASE WHEN e.oid IS NULL THEN b.typname::text ELSE e.typname || '[]' END AS base,
    coalesce(e.typcategory, b.typcategory)::text AS category,
    CASE WHEN b.typtype = 'e' THEN
        (SELECT array_agg(l.enumlabel::text ORDER BY l.enumsortorder) FROM pg_enum l WHERE l.enumtypid = b.oid) END AS labels,
    col_description(a.attrelid, a.attnum) AS comment
FROM pg_attribute a
JOIN chain ON chain.attnum = a.attnum
JOIN pg_type b ON b.oid = chain.oid AND b.typtype <> 'd'
LEFT JOIN pg_type e ON b.typcategory = 'A' AND e.oid = b.typelem
WHERE a.attrelid = $1::bigint::oid
ORDER BY a.attnum
"""


async def find_relation(connection: Any, text: str) -> Relation:
    """Find a table or view by its name as people write it.

    Raises
    ------
    IngestError
        There is none of this name, or it cannot be published, or not be read.
    """
    match = NAME.fullmatch(text)
    if match is None or match[1] is None:
        raise IngestError(f"{text!r} is no name of a table; write schema.table, for example public.stars")
    schema, name = (part[1:-1].replace('""', '"') if part.startswith('"') else part.strip() for part in match.groups())
    if schema.lower() in FORBIDDEN or schema.lower().startswith("pg_"):
        raise IngestError(
            f"the schema {schema!r} is the gateway's or PostgreSQL's own; nothing in it can be registered"
        )
    rows = await connection.fetch(_FIND, schema, name)
    if not rows:
        raise IngestError(await _absence(connection, schema, name))
    row = rows[0]
    if len(rows) > 1 and (row["schema"], row["name"]) != (schema, name):
        others = ", ".join(f'"{one["schema"]}"."{one["name"]}"' for one in rows)
        raise IngestError(f"{text!r} can be any of {others}; write one of them with its quotes")
    if not row["is_readable"]:
        raise IngestError(
            f"the user {row['me']} may not read {row['schema']}.{row['name']}, which belongs to {row['owner']}; let its owner run: "
            f"GRANT USAGE ON SCHEMA {_quote(row['schema'])} TO {_quote(row['me'])}; "
            f"GRANT SELECT ON {_quote(row['schema'])}.{_quote(row['name'])} TO {_quote(row['me'])};"
        )
    columns = await connection.fetch(_COLUMNS, row["oid"])
    return Relation(
        oid=row["oid"],
        schema=row["schema"],
        name=row["name"],
        kind=row["kind"],
        comment=row["comment"],
        columns=tuple(
            StoredColumn(
                name=column["name"],
                sql_type=column["sql_type"],
                base=column["base"],
                category=column["category"],
                modifier=column["modifier"],
                labels=None if column["labels"] is None else tuple(column["labels"]),
                comment=column["comment"],
            )
            for column in columns
        ),
        rows=row["rows"],
        owner=row["owner"],
        user=row["me"],
        is_ours=row["is_ours"],
        may_create=row["may_create"],
        is_readable=row["is_readable"],
        has_row_security=row["has_row_security"],
    )


async def _absence(connection: Any, schema: str, name: str) -> str:
    """Tell what there is instead of a table that is not there."""
    kind = await connection.fetchval(
        "SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE lower(n.nspname) = lower($1) AND lower(c.relname) = lower($2)",
        schema,
        name,
    )
    if kind is not None:
        return f"{schema}.{name} is no table or view"
    where = f"in the database {await connection.fetchval('SELECT current_database()')}"
    known = await connection.fetch(
        "SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND NOT c.relispartition AND n.nspname !~ '^pg_'"
        " AND n.nspname <> ALL ($1::text[]) ORDER BY 1, 2 LIMIT 10000",
        list(FORBIDDEN),
    )
    names = [f"{row['schema']}.{row['name']}" for row in known]
    same = [full for full, row in zip(names, known, strict=True) if row["name"].lower() == name.lower()]
    hint = f"; did you mean {' or '.join(same[:3])}?" if same else suggestion(f"{schema}.{name}", names)
    return f"there is no table {schema}.{name} {where}{hint}"


def _quote(name: str) -> str:
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'
