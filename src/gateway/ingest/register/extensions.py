"""Indexes of q3c and pgSphere that a table has already: taken instead of one of ours."""

from __future__ import annotations

from typing import Any

import asyncpg

from gateway.db.extension_indexes import FUNCTIONS, Found, Positions, find_extension_indexes
from gateway.db.roles import QUERY_ROLE
from gateway.db.sql import identifier
from gateway.ingest.register.indexes import Position
from gateway.ingest.register.relation import Relation
from gateway.vo.tableset import Extension

SPOKEN = {Extension.Q3C: "q3c", Extension.PGSPHERE: "pgSphere"}
"""What their users call the extensions."""


async def find(connection: Any, relation: Relation, position: Position, notes: list[str]) -> Found | None:
    """Find an index of an extension that queries may use, and let the query role use it.

    Parameters
    ----------
    notes
        What the operator should know is added to it.
    """
    wanted = [Positions(relation.schema, relation.name, position.ra.name, position.dec.name)]
    (found,) = await find_extension_indexes(connection, wanted)
    if found is None:
        notes += await _unusable(connection, relation)
        return None
    if not found.is_callable:
        try:
            async with connection.transaction():
                await connection.execute(f"GRANT USAGE ON SCHEMA {identifier(found.index.schema)} TO {QUERY_ROLE}")
        except asyncpg.InsufficientPrivilegeError:
            pass  # told below
        (found,) = await find_extension_indexes(connection, wanted)
    assert found is not None
    spoken = SPOKEN[found.index.extension]
    if not found.is_callable:
        notes.append(
            f"there is a {spoken} index, {found.name}, but {QUERY_ROLE} may not use the extension; to have it used, let its owner run "
            f"GRANT USAGE ON SCHEMA {identifier(found.index.schema)} TO {QUERY_ROLE}, and GRANT EXECUTE on its functions "
            f"{', '.join(FUNCTIONS[found.index.extension])} if these are closed; then register again with --replace"
        )
        return None
    notes.append(f"searches by position use the {spoken} index that there is, {found.name}")
    return found


async def _unusable(connection: Any, relation: Relation) -> list[str]:
    """Tell of indexes that are not on the positions as they are published."""
    said = []
    rows = await connection.fetch(
        "SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) ~ 'q3c_' AS is_q3c FROM pg_index i"
        " JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_opclass o ON o.oid = i.indclass[0]"
        " WHERE i.indrelid = $1::bigint::oid AND (pg_get_indexdef(i.indexrelid) ~ 'q3c_' OR o.opcname = 'spoint') ORDER BY 1",
        relation.oid,
    )
    for row in rows:
        maker, form = (
            ("q3c", "(q3c_ang2ipix(ra, dec))")
            if row["is_q3c"]
            else (
                "pgSphere",
                "USING gist (spoint(radians(ra), radians(dec))), or on a column that is generated as that,",
            )
        )
        said.append(
            f"there is a {maker} index, {row['name']}, which queries cannot use: only one {form} of the very columns with the"
            " position, without a condition, is sure to find every row"
        )
    return said
