"""Publish tables and views that PostgreSQL already has, where they are: nothing in them is rewritten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.ingest.describe import read_description
from gateway.ingest.progress import Phase, Progress, ProgressSink, ignore
from gateway.ingest.register.draft import Wish, check_name, make_draft, published_name
from gateway.ingest.register.publishing import make_table, publish
from gateway.ingest.register.registered import Registered, drop_stale, list_registered, unregister_table
from gateway.ingest.register.relation import find_relation
from gateway.ingest.register.serving import serve
from gateway.ingest.register.session import name_lock, register_session
from gateway.vo.tableset import Schema, adql_identifier


@dataclass(frozen=True, slots=True)
class RegisterReport:
    """What a registration did."""

    table: str
    """Qualified name, as queries write it."""
    what: str
    """``table``, ``view``, ..."""
    rows: int | None
    """Number of rows; an estimate where it was not counted."""
    columns: int
    seconds: float
    index: str | None
    """Index that searches by position use; ``None``: none."""
    notes: tuple[str, ...] = ()
    """What the operator should know, in full sentences."""
    statements: tuple[str, ...] = ()
    """SQL that somebody with more rights should run, to make searches by position fast."""


def register_table(
    table: str,
    *,
    admin_url: str,
    ra: str | None = None,
    dec: str | None = None,
    name: str | None = None,
    describe: Path | str | None = None,
    from_tap_schema: str | None = None,
    columns: Sequence[str] = (),
    hide: Sequence[str] = (),
    replace: bool = False,
    index: bool = True,
    progress: ProgressSink | None = None,
) -> RegisterReport:
    """Publish a table or view that PostgreSQL already has.

    Parameters
    ----------
    table
        Its name in PostgreSQL, ``schema.table``.
    admin_url
        Catalog database, as a user who may publish; to make the index and to grant, as the owner of the table.
    ra, dec
        Columns with the position, ICRS degrees, right ascension in [0, 360]; found by UCD or name if ``None``.
    name
        Name to publish as; that in PostgreSQL if ``None``.
    describe
        YAML file in Felis format; what it says wins over the other sources.
    from_tap_schema
        Schema of PostgreSQL with a TAP_SCHEMA of another service, whose descriptions win over comments.
    columns, hide
        Columns to publish, all if empty; columns not to publish.
    replace
        Whether what is published under the name gives way; only if it is not an ingested table.
    index
        Whether an index for searches by position is made where there is none.
    progress
        Told how far it is.

    Raises
    ------
    IngestError
        The table cannot be published as asked; the text says what to change. Nothing is published.
    BackendUnavailableError
        PostgreSQL does not answer, or went away.
    """
    wish = Wish(
        table,
        ra,
        dec,
        name,
        tuple(columns),
        tuple(hide),
        from_tap_schema,
        replace,
        index,
        read_description(Path(describe)) if describe else None,
    )
    return asyncio.run(_register(wish, admin_url, progress or ignore))


async def _register(wish: Wish, admin_url: str, progress: ProgressSink) -> RegisterReport:
    started = time.monotonic()
    async with register_session(admin_url) as connection:
        progress(Progress(Phase.CHECKING, 0, 0, 0))
        relation = await find_relation(connection, wish.table)
        schema, name = published_name(wish, relation)
        published = f"{adql_identifier(schema)}.{adql_identifier(name)}"
        async with name_lock(connection, published):
            await check_name(connection, published, relation, is_replaced=wish.replace)
            notes: list[str] = []
            draft = await make_draft(connection, wish, relation, published, name, notes)
            served = await serve(connection, wish, relation, draft, admin_url, progress, notes)
            table = await make_table(connection, relation, draft, served, schema, name)
            described = wish.description.description if wish.description else None
            await publish(connection, relation, table, Schema(schema, (), description=described), replace=wish.replace)
            if wish.replace and relation.is_ours:
                notes += await drop_stale(connection, relation, draft)
    return RegisterReport(
        table=published,
        what=relation.word,
        rows=table.nrows,
        columns=len(table.columns),
        seconds=time.monotonic() - started,
        index=served.index,
        notes=tuple(dict.fromkeys(notes)),
        statements=tuple(served.statements),
    )


__all__ = ["RegisterReport", "Registered", "list_registered", "register_table", "unregister_table"]
