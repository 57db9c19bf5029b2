"""Names and values inside SQL text."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Quote a name for PostgreSQL, exactly as it is."""
    if "\0" in name:
        raise ValueError("a name in PostgreSQL cannot hold NUL")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """Quote the name of a relation with its schema."""
    return f"{identifier(schema)}.{identifier(name)}"


def literal(value: str | int | bool | None) -> str:
    """Write a value as an SQL literal; text needs ``standard_conforming_strings``, on since PostgreSQL 9.1."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            # PostgreSQL stores no NUL; metadata of files may hold one as padding.
            return "'" + value.replace("\0", "").replace("'", "''") + "'"
