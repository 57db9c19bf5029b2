"""Are the columns positions in degrees? Looks at some rows, then, where an index is to be used, at all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from gateway.db.sql import qualified
from gateway.errors import IngestError
from gateway.ingest.positions import is_radians
from gateway.ingest.register.indexes import Position
from gateway.ingest.register.relation import Relation
from gateway.vo.tableset import Field

SAMPLE_ROWS = 10_000
"""Rows looked at, from the start of the table and from all over it."""

FEWEST = 20
"""Positions below which nothing is concluded from their range."""

PATIENCE = "60s"
"""Longest time for looking at a sample: a view may be slow."""

HOURS = frozenset({"h", "hr", "hour", "hours", "hourangle", "h:m:s", "hms", "hh:mm:ss", '"h:m:s"'})
"""Units of right ascensions in hours."""

DECLINATIONS = frozenset({"dec", "de", "decl", "declination", "dej2000", "decj2000", "s_dec", "delta", "delta_j2000"})
RIGHT_ASCENSIONS = frozenset({"ra", "right_ascension", "raj2000", "s_ra", "alpha", "alpha_j2000"})


@dataclass(frozen=True, slots=True)
class Sample:
    """Ranges of some positions."""

    count: int
    ra_min: float
    ra_max: float
    dec_min: float
    dec_max: float


def check_fields(ra: Field, dec: Field) -> None:
    """Refuse columns whose units or names say that they are no positions in degrees.

    Raises
    ------
    IngestError
        The text says what to do.
    """
    for field in (ra, dec):
        unit = (field.unit or "").strip().lower()
        if is_radians(field) or unit in {"radian", "radians"}:
            raise IngestError(
                f"{field.name} is in radians, and positions are needed in degrees; {_view(f'degrees({field.name})', field.name)}"
            )
        if unit in HOURS:
            raise IngestError(
                f"{field.name} is in hours, and positions are needed in degrees; {_view(f'15 * {field.name}', field.name)}"
            )
    if ra.name == dec.name:
        raise IngestError(f"--ra and --dec name the same column, {ra.name}")
    if ra.name.lower() in DECLINATIONS and dec.name.lower() in RIGHT_ASCENSIONS:
        raise IngestError(
            f"--ra {ra.name} --dec {dec.name} seem to be swapped; repeat with --ra {dec.name} --dec {ra.name}"
        )
    if (ra.ucd or "").lower().startswith("pos.eq.dec") or (dec.ucd or "").lower().startswith("pos.eq.ra"):
        raise IngestError(
            f"--ra {ra.name} and --dec {dec.name} are swapped: their UCDs are {ra.ucd or 'unknown'} and {dec.ucd or 'unknown'};"
            f" repeat with --ra {dec.name} --dec {ra.name}"
        )


def _view(expression: str, name: str) -> str:
    return f"register a view that has {expression} AS {name}, or add a generated column"


async def sample(connection: Any, relation: Relation, position: Position) -> Sample | None:
    """Look at some rows; ``None``: PostgreSQL took too long, or none has a position."""
    ra, dec = position.expressions
    columns = f"SELECT {ra} AS ra, {dec} AS dec FROM {qualified(relation.schema, relation.name)}"
    source = f"({columns} LIMIT {SAMPLE_ROWS})"
    if relation.kind in "rpm" and (relation.rows or 0) > SAMPLE_ROWS:
        share = min(100.0, 100.0 * SAMPLE_ROWS / (relation.rows or 1))
        source += f" UNION ALL ({columns} TABLESAMPLE SYSTEM ({share:.6f}) LIMIT {2 * SAMPLE_ROWS})"
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE}'")
            row = await connection.fetchrow(
                f"SELECT count(*), min(ra), max(ra), min(dec), max(dec) FROM ({source}) s"
                " WHERE ra = ra AND dec = dec AND ra <> 'NaN' AND dec <> 'NaN'"
            )
    except asyncpg.QueryCanceledError:
        return None
    return Sample(*row) if row[0] else None


def judge(found: Sample, ra: Field, dec: Field) -> None:
    """Refuse positions that cannot be right ascension and declination in degrees, or hardly.

    What only seems wrong is refused unless the columns' units say degrees.

    Raises
    ------
    IngestError
        The text says what is wrong, and what to do.
    """
    if found.dec_min < -90 or found.dec_max > 90:
        shown = f"{dec.name} has values from {found.dec_min:g} to {found.dec_max:g}, and declinations are between -90 and 90 degrees"
        if found.ra_min >= -90 and found.ra_max <= 90:
            raise IngestError(f"{shown}: are the columns swapped? Then repeat with --ra {dec.name} --dec {ra.name}")
        raise IngestError(f"{shown}; is the column no declination, or not in degrees?")
    if found.ra_min < -360 or found.ra_max > 720:
        raise IngestError(
            f"{ra.name} has values from {found.ra_min:g} to {found.ra_max:g}, and right ascensions are between 0 and 360 degrees"
        )
    if _says_degrees(ra) and _says_degrees(dec):
        return
    if found.count < FEWEST:
        return
    unless = (
        "If they are degrees, say so, by a comment that ends in [deg] on both columns "
        "(COMMENT ON COLUMN ... IS '... [deg]'), or by their units in --describe"
    )
    ra_width, dec_width = found.ra_max - found.ra_min, found.dec_max - found.dec_min
    if (
        -math.pi <= found.ra_min
        and found.ra_max <= 2 * math.pi + 1e-6
        and max(abs(found.dec_min), abs(found.dec_max)) <= math.pi / 2 + 1e-6
        and (ra_width > math.pi or dec_width > 1)
    ):
        raise IngestError(
            f"{ra.name} and {dec.name} seem to be in radians (from {found.ra_min:.3g} to {found.ra_max:.3g}, and from"
            f" {found.dec_min:.3g} to {found.dec_max:.3g}), and positions are needed in degrees; "
            f"{_view(f'degrees({ra.name})', ra.name)}. {unless}"
        )
    if found.ra_min >= 0 and found.ra_max <= 24 and ra_width > 20 and dec_width > 5:
        raise IngestError(
            f"{ra.name} seems to be in hours (from {found.ra_min:.3g} to {found.ra_max:.3g}), and positions are needed in"
            f" degrees; {_view(f'15 * {ra.name}', ra.name)}. {unless}"
        )


def _says_degrees(field: Field) -> bool:
    return (field.unit or "").strip().lower() in {"deg", "degree", "degrees"}


@dataclass(frozen=True, slots=True)
class Counts:
    """What a whole table holds."""

    rows: int
    missing: int
    beyond: int

    def sentences(self, names: Sequence[str], *, has_extension: bool = False) -> list[str]:
        """Say what the operator should know of it; the indexes of extensions know that a circle has no end."""
        said = []
        if self.missing:
            said.append(f"{self.missing:,} of {self.rows:,} rows have no position; no search by position finds them")
        if self.beyond and has_extension:
            said.append(
                f"{self.beyond:,} of {self.rows:,} rows have {names[0]} outside [0, 360] or {names[1]} beyond the poles; a {names[0]} "
                f"is found all the same, a {names[1]} beyond the poles maybe not"
            )
        elif self.beyond:
            said.append(
                f"{self.beyond:,} of {self.rows:,} rows have {names[0]} outside [0, 360] or {names[1]} beyond the poles; searches "
                "through an index would miss some, so the table is published without one. Correct the values, for example by "
                f"UPDATE ... SET {names[0]} = {names[0]} + 360 WHERE {names[0]} < 0, and register again with --replace"
            )
        return said


async def count(connection: Any, relation: Relation, position: Position) -> Counts:
    """Read all positions once: only if every one is in range does an index find what a scan finds."""
    ra, dec = position.expressions
    row = await connection.fetchrow(
        f"SELECT count(*), count(*) FILTER (WHERE ra IS NULL OR dec IS NULL OR ra = 'NaN' OR dec = 'NaN'),"
        " count(*) FILTER (WHERE (ra < 0 OR ra > 360 OR abs(dec) > 90) AND ra <> 'NaN' AND dec <> 'NaN')"
        f" FROM (SELECT {ra} AS ra, {dec} AS dec FROM {qualified(relation.schema, relation.name)}) s"
    )
    return Counts(*row)
