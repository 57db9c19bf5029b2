"""VOSI 1.1: availability, and the tables that can be queried (VODataService 1.2).

Only the root element is in VOSI's namespace, its children are in none; availability is the exception.
Documents are made of text: a schema of 2,000 columns takes milliseconds, not the quarter of a second that
an XML library of objects needs.

VOSI 1.1 asks for ``version="1.1"`` on the root of a tableset, but the schema that it names, VODataService,
forbids it; validators follow the schema, and so does this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gateway.vo.markup import attribute, element
from gateway.vo.tableset import Column, ForeignKey, Schema, Table, Tableset, adql_identifier
from gateway.vo.uws import instant_text

_PROLOGUE = '<?xml version="1.0" encoding="UTF-8"?>\n'
_TABLES_ROOT = (
    ' xmlns:vosi="http://www.ivoa.net/xml/VOSITables/v1.0"'
    ' xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)


def availability(
    *,
    available: bool,
    up_since: datetime | None = None,
    down_at: datetime | None = None,
    back_at: datetime | None = None,
    notes: Iterable[str] = (),
) -> bytes:
    """Document that tells whether the service works now (VOSI 1.1, "Availability"); instants are aware."""
    body = "".join(
        (
            element("vosi:available", "true" if available else "false"),
            element("vosi:upSince", instant_text(up_since) or None),
            element("vosi:downAt", instant_text(down_at) or None),
            element("vosi:backAt", instant_text(back_at) or None),
            *(element("vosi:note", note) for note in notes),
        )
    )
    namespace = "http://www.ivoa.net/xml/VOSIAvailability/v1.0"
    return f'{_PROLOGUE}<vosi:availability xmlns:vosi="{namespace}">{body}</vosi:availability>\n'.encode()


def tables(tableset: Tableset, *, detail: str = "max") -> bytes:
    """Document of all tables (VOSI 1.1, "Table metadata"), kept with the set.

    Parameters
    ----------
    tableset
        What the caller may see.
    detail
        ``min`` leaves out columns and keys.
    """
    kept, name = tableset.renderings, f"vosi:{detail}"
    if name not in kept:
        kept[name] = _tables(tableset, detail)
    return kept[name]


def _tables(tableset: Tableset, detail: str) -> bytes:
    body = "".join(_schema(schema, is_full=detail != "min") for schema in tableset.schemas)
    return f"{_PROLOGUE}<vosi:tableset{_TABLES_ROOT}>\n{body}</vosi:tableset>\n".encode()


def table(described: Table) -> bytes:
    """Document of one table in full (VOSI 1.1, "Table metadata")."""
    return (_PROLOGUE + _table("vosi:table", _TABLES_ROOT, described, is_full=True)).encode()


def _schema(schema: Schema, *, is_full: bool) -> str:
    return (
        "<schema>"
        + element("name", adql_identifier(schema.name))
        + element("title", schema.title or None)
        + element("description", schema.description or None)
        + element("utype", schema.utype or None)
        + "\n"
        + "".join(_table("table", "", item, is_full=is_full) for item in schema.tables)
        + "</schema>\n"
    )


def _table(tag: str, root: str, described: Table, *, is_full: bool) -> str:
    return (
        f'<{tag}{root} type="{attribute(described.type)}">'
        + element("name", described.qualified_name)
        + element("title", described.title or None)
        + element("description", described.description or None)
        + element("utype", described.utype or None)
        + element("nrows", None if described.nrows is None else str(described.nrows))
        + "\n"
        + ("".join(map(_column, described.columns)) + "".join(map(_key, described.keys)) if is_full else "")
        + f"</{tag}>\n"
    )


def _column(column: Column) -> str:
    field = column.field
    return (
        f'<column std="{"true" if column.is_std else "false"}">'
        + element("name", adql_identifier(field.name))
        + element("description", field.description or None)
        + element("unit", field.unit or None)
        + element("ucd", field.ucd or None)
        + element("utype", field.utype or None)
        + f'<dataType xsi:type="vs:VOTableType"{_shape(column)}>{field.type.datatype.value}</dataType>'
        + ("<flag>indexed</flag>" if column.is_indexed else "")
        + ("<flag>principal</flag>" if column.is_principal else "")
        + "</column>\n"
    )


def _shape(column: Column) -> str:
    arraysize, xtype = column.field.type.arraysize, column.field.type.xtype
    return (f' arraysize="{attribute(arraysize)}"' if arraysize else "") + (
        f' extendedType="{attribute(xtype)}"' if xtype else ""
    )


def _key(key: ForeignKey) -> str:
    pairs = "".join(
        "<fkColumn>"
        + element("fromColumn", adql_identifier(here))
        + element("targetColumn", adql_identifier(there))
        + "</fkColumn>"
        for here, there in key.columns
    )
    return (
        "<foreignKey>"
        + element("targetTable", key.target_table)
        + pairs
        + element("description", key.description or None)
        + element("utype", key.utype or None)
        + "</foreignKey>\n"
    )
