"""What columns mean: from comments, from an existing TAP_SCHEMA, from a description in Felis format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg

from gateway.db.sql import qualified
from gateway.errors import IngestError
from gateway.ingest.describe import SchemaDescription, TableDescription
from gateway.ingest.register.relation import Relation, StoredColumn
from gateway.vo.tableset import Field

COMMENT = re.compile(
    r"(?P<text>.*?)\s*(?:\[(?P<unit>[^\[\]]*)\]\s*(?:\{(?P<ucd>[^{}]*)\})?|\{(?P<ucd_first>[^{}]*)\}\s*(?:\[(?P<unit_last>[^\[\]]*)\])?)\s*",
    re.DOTALL,
)
"""``text [unit] {ucd}``: unit and UCD in this form, in either order, at the end."""

UCD = re.compile(
    r"[a-z][a-z0-9]*(?:[.][A-Za-z0-9_-]+)+(?:;[a-z][a-z0-9]*(?:[.][A-Za-z0-9_-]+)+)*|[A-Z]+(?:_[A-Z0-9/.-]+)+"
)
"""UCD1+ words, or a UCD of the first kind."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one source says of a column; ``None``: nothing."""

    description: str | None = None
    unit: str | None = None
    ucd: str | None = None
    utype: str | None = None
    xtype: str | None = None
    is_principal: bool | None = None
    is_std: bool = False
    index: int | None = None

    def apply(self, known: Field) -> Field:
        """Describe a field: what is said here wins. The type is PostgreSQL's; an xtype tells shapes from arrays."""
        is_shape = known.type.is_array and self.xtype is not None
        return replace(
            known,
            type=replace(known.type, xtype=self.xtype) if is_shape else known.type,
            unit=self.unit or known.unit,
            ucd=self.ucd or known.ucd,
            utype=self.utype or known.utype,
            description=self.description or known.description,
        )


@dataclass(frozen=True, slots=True)
class SaidOfTable:
    """What one source says of a table."""

    description: str | None = None
    utype: str | None = None
    index: int | None = None
    columns: Mapping[str, Said] = field(default_factory=dict)
    """By name of the column, lower case."""
    origin: tuple[tuple[str, str], ...] = ()
    """Whence the data are, as `Table.origin` has it."""

    def of(self, column: StoredColumn) -> Said:
        """Tell what is said of a column."""
        return self.columns.get(column.name.lower(), Said())


def from_comment(comment: str | None) -> Said:
    """Read a column's comment, ``description [unit] {ucd}``.

    Brackets whose content is no unit, and braces whose content is no UCD, belong to the description.
    """
    if not comment or not comment.strip():
        return Said()
    text = comment.strip()
    match = COMMENT.fullmatch(text)
    if match is None:
        return Said(description=text)
    unit = match["unit"] if match["unit"] is not None else match["unit_last"]
    ucd = match["ucd"] if match["ucd"] is not None else match["ucd_first"]
    unit, ucd = (unit or "").strip(), (ucd or "").strip()
    if (unit and not is_unit(unit)) or (ucd and not UCD.fullmatch(ucd)):
        return Said(description=text)
    return Said(description=match["text"].strip() or None, unit=unit or None, ucd=ucd or None)


def is_unit(text: str) -> bool:
    """Whether a text is a unit, in any of the usual spellings."""
    from astropy import units

    for form in ("vounit", "fits", "cds", "generic"):
        try:
            units.Unit(text, format=form, parse_strict="raise")
        except (ValueError, TypeError):
            continue
        return True
    return text.lower() in {"mag", "deg", "hms", "h:m:s", "hours", "radians", "degrees"}


def from_comments(relation: Relation) -> SaidOfTable:
    """Read the comments of a table and its columns."""
    columns = {column.name.lower(): from_comment(column.comment) for column in relation.columns}
    return SaidOfTable(description=relation.comment, columns=columns)


async def from_tap_schema(connection: Any, schema: str, relation: Relation, published: str) -> SaidOfTable:
    """Read what a TAP_SCHEMA of another service says of a table.

    Parameters
    ----------
    schema
        Schema of PostgreSQL in which its ``tables`` and ``columns`` lie.
    published
        Name to publish under: the table is looked up by it, and by its name in PostgreSQL.

    Raises
    ------
    IngestError
        There is no such TAP_SCHEMA, or it does not have the table.
    """
    try:
        async with connection.transaction():
            tables = await connection.fetch(f"SELECT * FROM {qualified(schema, 'tables')}")
            columns = await connection.fetch(f"SELECT * FROM {qualified(schema, 'columns')}")
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as e:
        raise IngestError(
            f"--from-tap-schema {schema}: PostgreSQL has no tables {schema}.tables and {schema}.columns"
        ) from e
    except asyncpg.InsufficientPrivilegeError as e:
        raise IngestError(f"--from-tap-schema {schema}: {relation.user} may not read it ({e})") from e
    wanted = (published, f"{relation.schema}.{relation.name}", relation.name)
    by_name = {_plain(row["table_name"]): row for row in tables}
    row = next((by_name[name.lower()] for name in wanted if name.lower() in by_name), None)
    if row is None:
        last = {name.rpartition(".")[2]: one for name, one in by_name.items()}
        row = last.get(relation.name.lower())
    if row is None:
        raise IngestError(
            f"--from-tap-schema {schema}: its tables do not have {published} or {relation.shown}; it has "
            + (", ".join(sorted(by_name)[:20]) or "none")
        )
    here = [one for one in columns if one["table_name"] == row["table_name"]]
    return SaidOfTable(
        description=row.get("description"),
        utype=row.get("utype"),
        index=row.get("table_index"),
        columns={_plain(one["column_name"]): _said(one) for one in here},
    )


def _plain(name: str) -> str:
    return name.replace('"', "").lower()


def _said(row: Any) -> Said:
    principal = row.get("principal")
    return Said(
        description=row.get("description"),
        unit=row.get("unit"),
        ucd=row.get("ucd"),
        utype=row.get("utype"),
        xtype=row.get("xtype"),
        is_principal=None if principal is None else bool(principal),
        is_std=bool(row.get("std") or 0),
        index=row.get("column_index"),
    )


def from_description(description: SchemaDescription, described: TableDescription) -> SaidOfTable:
    """Read what a description in Felis format says of a table."""
    columns = {
        column.name.lower(): Said(
            description=column.description,
            unit=column.unit_ivoa or column.unit_fits,
            ucd=column.ucd,
            utype=column.utype,
            xtype=column.xtype,
            is_principal=column.is_principal,
            is_std=column.is_std,
            index=column.index,
        )
        for column in described.columns
    }
    origin = description.origin_of(described)
    return SaidOfTable(described.description, described.utype, described.index, columns, origin)
