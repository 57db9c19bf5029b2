"""What is to be published of a table: its name, its columns and what they mean, its positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import IngestError
from gateway.ingest.describe import SchemaDescription
from gateway.ingest.names import parse_table_name, published_names
from gateway.ingest.positions import find_positions, is_radians
from gateway.ingest.register import checks, kinds, metadata
from gateway.ingest.register.indexes import Position
from gateway.ingest.register.relation import Relation, StoredColumn
from gateway.ingest.tables import MARK
from gateway.vo.tableset import Field


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks for."""

    table: str
    ra: str | None
    dec: str | None
    name: str | None
    columns: tuple[str, ...]
    hide: tuple[str, ...]
    from_tap_schema: str | None
    replace: bool
    index: bool
    description: SchemaDescription | None


def published_name(wish: Wish, relation: Relation) -> tuple[str, str]:
    """Choose schema and name to publish as: those asked for, else those in PostgreSQL."""
    if wish.name is not None:
        return parse_table_name(wish.name)
    try:
        return parse_table_name(f"{_as_quoted(relation.schema)}.{_as_quoted(relation.name)}")
    except IngestError as e:
        raise IngestError(
            f"{e.message.partition(';')[0]}; choose the name to publish as with --name, for example --name survey.{relation.name}"
        ) from e


def _as_quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def check_name(connection: Any, published: str, relation: Relation, *, is_replaced: bool) -> None:
    """Refuse a name that is taken."""
    row = await connection.fetchrow(
        "SELECT table_name, physical_schema, physical_name, obj_description(to_regclass(format('%I.%I', physical_schema,"
        " physical_name)), 'pg_class') = $2 AS is_ingested FROM tap_schema.tables WHERE lower(table_name) = lower($1)",
        published,
        MARK,
    )
    if row is None:
        return
    if row["is_ingested"]:
        raise IngestError(
            f"{row['table_name']} is published already, from files by gateway ingest; choose another name with --name, or run "
            f"gateway drop table {row['table_name']} first, which removes its rows"
        )
    if row["table_name"] != published:
        raise IngestError(f"the table is published as {row['table_name']}; names that differ only by case are one name")
    if not is_replaced:
        same = (row["physical_schema"], row["physical_name"]) == (relation.schema, relation.name)
        what = "" if same else f" and is {row['physical_schema']}.{row['physical_name']} in PostgreSQL"
        raise IngestError(
            f"{published} is published already{what}; to publish it anew, with the options that you give now, repeat with --replace"
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """Columns to publish, and what is known of table and position."""

    stored: tuple[StoredColumn, ...]
    fields: tuple[Field, ...]
    said: tuple[metadata.Said, ...]
    """Of each column, what tells its rank among the others."""
    description: str | None
    utype: str | None
    index: int | None
    origin: tuple[tuple[str, str], ...]
    position: Position | None
    position_fields: tuple[Field, Field] | None


async def make_draft(
    connection: Any, wish: Wish, relation: Relation, published: str, name: str, notes: list[str]
) -> Draft:
    """Decide what is published of a table.

    Parameters
    ----------
    published, name
        Name to publish as, with its schema as queries write it, and without.
    notes
        What the operator should know is added to it.

    Raises
    ------
    IngestError
        A column or description that was asked for is not there, or does not fit.
    """
    chosen = _chosen(wish, relation)
    notes += kinds.notes(chosen)
    sources = [metadata.from_comments(relation)]
    if wish.from_tap_schema is not None:
        sources.append(await metadata.from_tap_schema(connection, wish.from_tap_schema, relation, published))
    if wish.description is not None:
        described = wish.description.find(name)
        notes += wish.description.notes(described)
        sources.append(metadata.from_description(wish.description, described))
    _note_unknown(sources[1:], relation, notes)

    def field(column: StoredColumn) -> Field | None:
        kind = kinds.vo_type(column)
        if kind is None:
            return None
        known = Field(column.name, kind, unit=kinds.unit_of(column))
        for source in sources:
            known = source.of(column).apply(known)
        return known

    pairs = [(column, known) for column in chosen if (known := field(column)) is not None]
    if not pairs:
        raise IngestError(f"{relation.shown} has no column that can be published")
    unique, renamed = published_names(column.name for column, _ in pairs)
    notes += [text.replace("in the file", "in PostgreSQL") for text in renamed]
    stored = tuple(column for column, _ in pairs)
    fields = tuple(replace(known, name=new) for (_, known), new in zip(pairs, unique, strict=True))
    position, of_position = _position(wish, relation, stored, fields, field, notes)
    return Draft(
        stored=stored,
        fields=fields,
        said=tuple(_last_word(sources, column) for column in stored),
        description=next((s.description for s in reversed(sources) if s.description), None),
        utype=next((s.utype for s in reversed(sources) if s.utype), None),
        index=next((s.index for s in reversed(sources) if s.index is not None), None),
        origin=next((s.origin for s in reversed(sources) if s.origin), ()),
        position=position,
        position_fields=of_position,
    )


def _last_word(sources: Sequence[metadata.SaidOfTable], column: StoredColumn) -> metadata.Said:
    """Find what the best source that knows a column says of it."""
    name = column.name.lower()
    return next((source.columns[name] for source in reversed(sources) if name in source.columns), metadata.Said())


def _chosen(wish: Wish, relation: Relation) -> tuple[StoredColumn, ...]:
    wanted = {relation.find(name).name for name in wish.columns} or {column.name for column in relation.columns}
    hidden = {relation.find(name).name for name in wish.hide}
    return tuple(column for column in relation.columns if column.name in wanted and column.name not in hidden)


def _note_unknown(sources: Sequence[metadata.SaidOfTable], relation: Relation, notes: list[str]) -> None:
    known = {column.name.lower() for column in relation.columns}
    absent = sorted({name for source in sources for name in source.columns if name not in known})
    if absent:
        notes.append(f"described, but {relation.shown} has no such columns: {', '.join(absent)}")


def _position(
    wish: Wish,
    relation: Relation,
    stored: tuple[StoredColumn, ...],
    fields: tuple[Field, ...],
    describe: Any,
    notes: list[str],
) -> tuple[Position | None, tuple[Field, Field] | None]:
    """Find the columns with the position: as asked (also hidden ones), by UCD, or by well-known names."""
    if (wish.ra is None) != (wish.dec is None):
        raise IngestError("give both --ra and --dec, or neither")
    if wish.ra is not None and wish.dec is not None:
        pair = relation.find(wish.ra), relation.find(wish.dec)
        described = [describe(column) for column in pair]
        for column, known in zip(pair, described, strict=True):
            if known is None or not known.type.is_number:
                raise IngestError(
                    f"column {column.name!r} of {relation.shown} is of type {column.sql_type} and no number, so it cannot be a"
                    " position; register a view, or add a generated column, that has it as a number in degrees"
                )
        of_pair = described[0], described[1]
    else:
        found, remarks = find_positions(fields, ra=None, dec=None)
        if found is None:
            radians = [item.name for item in fields if is_radians(item)]
            notes += (
                [
                    "no position columns in degrees were found; name them with --ra and --dec to make searches by position fast"
                ]
                if radians
                else remarks
            )
            return None, None
        pair = stored[found.ra], stored[found.dec]
        of_pair = fields[found.ra], fields[found.dec]
        notes.append(f"positions are taken from {pair[0].name} and {pair[1].name}")
    checks.check_fields(*of_pair)
    return Position(*pair), of_pair
