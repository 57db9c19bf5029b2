"""Check positions, and find or make the index for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.db.roles import QUERY_ROLE
from gateway.ingest.progress import Phase, Progress, ProgressSink
from gateway.ingest.register import checks, extensions, indexes
from gateway.ingest.register.draft import Draft, Wish
from gateway.ingest.register.indexes import Position
from gateway.ingest.register.relation import Relation
from gateway.vo.tableset import ExtensionIndex


@dataclass(frozen=True, slots=True)
class Served:
    """How searches by position will find their rows."""

    index: str | None = None
    extension: ExtensionIndex | None = None
    """Set where the index is one of an extension."""
    rows: int | None = None
    """Number of rows, where all were counted."""
    statements: tuple[str, ...] = ()


async def serve(
    connection: Any,
    wish: Wish,
    relation: Relation,
    draft: Draft,
    admin_url: str,
    progress: ProgressSink,
    notes: list[str],
) -> Served:
    """Check positions; find the index for them, or make it."""
    position = draft.position
    if relation.has_row_security:
        notes.append(f"{relation.shown} has row security: queries see the rows that its policies show to {QUERY_ROLE}")
    if position is None or draft.position_fields is None:
        return Served()
    found = await checks.sample(connection, relation, position)
    if found is not None:
        checks.judge(found, *draft.position_fields)
    if relation.kind == "f":
        notes.append(
            "a foreign table has no index here: every search by position reads all of it from the other server"
        )
        return Served()
    part = await indexes.parts_of(connection, relation, position)
    oids = [one.oid for one in part.walk()]
    name = await indexes.is_served(connection, relation, position)
    extension = None
    if name is None:
        extension = await extensions.find(connection, relation, position, notes)
    unfinished = [one for one in await indexes.find_ours(connection, oids) if not one.is_valid]
    if name is None and extension is None and not (wish.index and relation.may_index):
        return _unserved(wish, relation, notes, await _by_hand(connection, relation, part, position))
    progress(Progress(Phase.CHECKING, 0, 0, relation.rows or 0))
    counts = await checks.count(connection, relation, position)
    notes += counts.sentences(
        [column.name for column in (position.ra, position.dec)], has_extension=extension is not None
    )
    if extension is not None:
        return Served(index=extension.name, extension=extension.index, rows=counts.rows)
    if counts.beyond:
        return Served(rows=counts.rows)
    if name is None:
        if unfinished:
            notes.append("an index that an interruption had left unfinished was replaced")
        await indexes.build(connection, part, position, admin_url=admin_url, progress=progress, rows=counts.rows)
        name = await indexes.is_served(connection, relation, position)
        if name is None:
            notes.append(
                "the index was made, but PostgreSQL's planner does not use it; searches by position read the whole table"
            )
    return Served(index=name, rows=counts.rows)


async def _by_hand(connection: Any, relation: Relation, part: indexes.Part, position: Position) -> list[str]:
    if relation.kind == "v":
        return await indexes.tables_behind(connection, relation, position)
    return indexes.hand_made(part, position)


def _unserved(wish: Wish, relation: Relation, notes: list[str], statements: list[str]) -> Served:
    why = (
        "you asked for none"
        if not wish.index
        else "a view has none of its own"
        if relation.kind == "v"
        else f"{relation.user} does not own the table ({relation.owner} does)"
        if not relation.is_ours
        else f"{relation.user} may not create in the schema {relation.schema}"
    )
    who = "let the owner of the table run the statements below" if not relation.is_ours else "run the statements below"
    cure = f"; {who}, then register again with --replace" if statements else ""
    notes.append(f"there is no index for searches by position, because {why}: each of them reads the whole table{cure}")
    return Served(statements=tuple(statements))
