"""Names of columns: as published, and as PostgreSQL keeps them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from gateway.errors import IngestError

MAX_PHYSICAL_BYTES = 63
"""Longest identifier of a stock PostgreSQL (NAMEDATALEN - 1); longer ones are cut in silence, and then clash."""

HIDDEN_PREFIX = "gw_"
"""Start of the names of columns that the gateway adds and never publishes."""

HEALPIX = "gw_hpx29"
"""Hidden column with the order-29 nested HEALPix index."""

MAX_COLUMNS = 1599
"""PostgreSQL holds 1,600 columns a table; one may be the hidden index."""

SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Columns that every PostgreSQL table has already."""

RESERVED_SCHEMAS = frozenset({"tap_schema", "tap_upload", "ivoa", "gateway", "sky", "information_schema", "public"})
"""Schemas that are not a survey's: of the standards, of the gateway, of PostgreSQL."""


def published_names(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Choose the names under which columns are published.

    Returns
    -------
    tuple
        The names, those of the file wherever possible, and a note for each that is not. No two are equal
        when case is ignored, because unquoted names in a query have no case.
    """
    taken: set[str] = set()
    chosen, notes = [], []
    for place, name in enumerate(names, start=1):
        clean = "".join(" " if not c.isprintable() else c for c in name).strip() or f"column_{place}"
        unique, number = clean, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{clean}_{number}"
        taken.add(unique.casefold())
        chosen.append(unique)
        if unique != name:
            notes.append(f"column {place}, {name!r} in the file, is published as {unique!r}")
    return chosen, notes


def physical_names(names: Iterable[str]) -> list[str]:
    """Choose names for PostgreSQL: lower case, plain, unique, at most 63 bytes."""
    taken = set(SYSTEM_COLUMNS)
    return [_unique(physical_name(name), taken) for name in names]


def physical_name(name: str) -> str:
    """Make a plain lower-case identifier from any name; not unique by itself."""
    plain = re.sub(r"[^a-z0-9_]", "_", name.lower())
    if not plain or not plain[0].isalpha() or plain.startswith(HIDDEN_PREFIX):
        plain = f"c_{plain}"
    if len(plain) <= MAX_PHYSICAL_BYTES:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain[: MAX_PHYSICAL_BYTES - 9]}_{digest}"


def _unique(plain: str, taken: set[str]) -> str:
    unique, number = plain, 1
    while unique in taken:
        number += 1
        suffix = f"_{number}"
        unique = plain[: MAX_PHYSICAL_BYTES - len(suffix)] + suffix
    taken.add(unique)
    return unique


def parse_table_name(text: str) -> tuple[str, str]:
    """Split ``schema.table``, either of them maybe in double quotes, as people write it.

    Raises
    ------
    IngestError
        It has no schema, or the schema is not free for surveys.
    """
    match = re.fullmatch(r'\s*("(?:[^"]|"")+"|[^".]+)\.("(?:[^"]|"")+"|[^"]+)\s*', text)
    if not match:
        raise IngestError(f"{text!r} is no table name; write schema.table, for example survey.stars")
    schema, table = (part[1:-1].replace('""', '"') if part.startswith('"') else part.strip() for part in match.groups())
    if any(not part.isprintable() or not part.strip() for part in (schema, table)):
        raise IngestError(f"{text!r} is no table name; write schema.table with printable characters")
    plain = physical_name(schema)
    if schema.lower() in RESERVED_SCHEMAS or plain in RESERVED_SCHEMAS or plain.startswith("pg_"):
        raise IngestError(f"the schema {schema!r} is reserved; publish the table under another one, for example survey")
    return schema, table
