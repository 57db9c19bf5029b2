"""Indexes that the owners of tables made with q3c or pgSphere, found in PostgreSQL's own catalogs.

They are looked up whenever TAP_SCHEMA is read, and not written down in it: what the catalogs say today is true, also after the
owner has dropped an index or an extension. The conditions for which such an index is used follow from the exact test
whatever the index holds. So it may be found too often, which costs a little, but never makes an answer wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.db.roles import QUERY_ROLE
from gateway.vo.tableset import Extension, ExtensionIndex

FUNCTIONS = {
    Extension.Q3C: ("q3c_ang2ipix", "q3c_radial_query_it", "q3c_nearby_it", "q3c_seloper"),
    Extension.PGSPHERE: ("spoint", "scircle", "spoint_contained_by_circle"),
}
"""What translated queries call; the last of pgSphere's is behind its operator."""

_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_ARGUMENT = rf"({_NAME}|\({_NAME}\)::double precision)"

EXPRESSIONS = {
    Extension.Q3C: re.compile(rf"(?:{_NAME}\.)?q3c_ang2ipix\({_ARGUMENT}, {_ARGUMENT}\)"),
    Extension.PGSPHERE: re.compile(rf"(?:{_NAME}\.)?spoint\(radians\({_ARGUMENT}\), radians\({_ARGUMENT}\)\)"),
}
"""How PostgreSQL prints what such indexes are on."""


@dataclass(frozen=True, slots=True)
class Found:
    """Index of an extension on the positions of a table."""

    name: str
    index: ExtensionIndex
    is_callable: bool
    """Whether the query role may call the extension's functions."""
    is_readable: bool
    """Whether the query role may read the column that is indexed, where it is a column of its own."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Columns of a table that hold its positions."""

    schema: str
    table: str
    ra: str
    dec: str


_INSTALLED = f"""
SELECT e.extname AS extension, n.nspname AS schema,
    has_schema_privilege('{QUERY_ROLE}', n.oid, 'USAGE') AND bool_and(has_function_privilege('{QUERY_ROLE}', p.oid, 'EXECUTE'))
        AS is_callable
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.classid = 'pg_proc'::regclass
JOIN pg_proc p ON p.oid = d.objid AND p.proname = ANY ($1::text[])
WHERE e.extname IN ('q3c', 'pg_sphere')
GROUP BY 1, n.oid, 2
"""

# Below a table are its partitions, below a view what it reads.
_INDEXES = f"""
WITH RECURSIVE asked AS (
    SELECT a.place, c.oid
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS a(schema, name, place)
    JOIN pg_namespace n ON n.nspname = a.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = a.name
), below AS (
    SELECT place, oid, 0 AS depth FROM asked
    UNION
    SELECT b.place, n.oid, b.depth + 1
    FROM below b CROSS JOIN LATERAL (
        SELECT h.inhrelid AS oid FROM pg_inherits h WHERE h.inhparent = b.oid
        UNION ALL
        SELECT d.refobjid FROM pg_rewrite r
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
        WHERE r.ev_class = b.oid AND d.refobjid <> b.oid
    ) n
    WHERE b.depth < 8
)
SELECT b.place - 1 AS place, c.relname AS name,
    coalesce(pg_get_expr(g.adbin, g.adrelid), pg_get_indexdef(i.indexrelid, 1, false)) AS key,
    CASE WHEN g.adbin IS NOT NULL THEN a.attname END AS point,
    coalesce(has_column_privilege('{QUERY_ROLE}', b.oid, a.attnum, 'SELECT'), true) AS is_readable
FROM below b
JOIN pg_index i ON i.indrelid = b.oid AND i.indisvalid AND i.indpred IS NULL
JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_attribute a ON a.attrelid = b.oid AND a.attnum = i.indkey[0] AND a.attnum > 0 AND a.attgenerated = 's'
LEFT JOIN pg_attrdef g ON g.adrelid = b.oid AND g.adnum = a.attnum
WHERE i.indkey[0] = 0 OR (g.adbin IS NOT NULL AND b.depth = 0)
ORDER BY b.place, b.depth, c.relname
"""


async def find_extension_indexes(connection: Any, tables: Sequence[Positions]) -> list[Found | None]:
    """Find an index of q3c or pgSphere on the positions of each table; ``None`` for one that has none.

    A stored point is only taken if PostgreSQL itself generates it from the two columns: any other may differ from them.
    """
    installed = {
        Extension(row["extension"]): row
        for row in await connection.fetch(_INSTALLED, [name for names in FUNCTIONS.values() for name in names])
    }
    found: list[Found | None] = [None] * len(tables)
    if not installed or not tables:
        return found
    rows = await connection.fetch(_INDEXES, [one.schema for one in tables], [one.table for one in tables])
    for row in rows:
        if found[row["place"]] is None:
            found[row["place"]] = _read(row, tables[row["place"]], installed)
    return found


def _read(row: Mapping[str, Any], table: Positions, installed: Mapping[Extension, Mapping[str, Any]]) -> Found | None:
    for extension, there in installed.items():
        match = EXPRESSIONS[extension].fullmatch(row["key"])
        if match is None or (row["point"] is not None and extension is Extension.Q3C):
            continue
        if [_column(argument) for argument in match.groups()] != [table.ra, table.dec]:
            continue
        index = ExtensionIndex(extension, there["schema"], _is_cast(match.groups()), row["point"])
        return Found(row["name"], index, there["is_callable"], row["is_readable"])
    return None


def _is_cast(arguments: Iterable[str]) -> bool:
    # One cast is enough: that of the other is no change where PostgreSQL left it out.
    return any(argument.endswith("::double precision") for argument in arguments)


def _column(argument: str) -> str:
    name = argument.removeprefix("(").removesuffix(")::double precision")
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
