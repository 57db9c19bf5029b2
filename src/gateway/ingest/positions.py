"""Which columns hold positions, and the sky index made from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.errors import IngestError
from gateway.sky.index import order29
from gateway.vo.tableset import INTEGER_DATATYPES, REAL_DATATYPES, Field

WELL_KNOWN = (
    ("ra", "dec"),
    ("ra", "de"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("_raj2000", "_dej2000"),
    ("ra_j2000", "dec_j2000"),
    ("ra_icrs", "de_icrs"),
    ("ra_icrs", "dec_icrs"),
    ("raicrs", "deicrs"),
    ("s_ra", "s_dec"),
    ("coord_ra", "coord_dec"),
    ("ra_deg", "dec_deg"),
    ("radeg", "decdeg"),
    ("radeg", "dedeg"),
    ("ramean", "decmean"),
    ("alpha_j2000", "delta_j2000"),
    ("alphawin_j2000", "deltawin_j2000"),
    ("right_ascension", "declination"),
)
"""Pairs of column names, lower case, that mean right ascension and declination; most trusted first."""

_RADIANS = re.compile(r"^rad(?:ians?)?(?=$|[/. ]|\*(?!\*))", re.IGNORECASE)
"""``rad`` as the whole unit or its first factor (``rad/yr``), not ``rad**2`` or ``mrad``."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Places of right ascension and declination among the columns, degrees."""

    ra: int
    dec: int


@dataclass(slots=True)
class PositionCounts:
    """What was odd about positions, counted while they pass."""

    missing: int = 0
    """Rows without a position, or with a declination beyond the poles: not in the index."""
    beyond: int = 0
    """Rows with a right ascension outside [0, 360]: indexed at the same place modulo 360."""
    notes: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """Say it."""
        said = list(self.notes)
        if self.missing:
            said.append(
                f"{self.missing} rows have no usable position; they are kept, and no search by position finds them"
            )
        if self.beyond:
            said.append(
                f"{self.beyond} rows have a right ascension outside [0, 360]; the values are kept and searches find them, "
                "but joins by position have no index and read the whole table"
            )
        return said


def find_positions(fields: Sequence[Field], *, ra: str | None, dec: str | None) -> tuple[Positions | None, list[str]]:
    """Find the columns with the positions: as asked, by UCD, or by well-known names.

    Returns
    -------
    tuple
        The positions, ``None`` where there are none in degrees, and notes for the operator.

    Raises
    ------
    IngestError
        A column that was asked for does not exist or holds no numbers.
    """
    if (ra is None) != (dec is None):
        raise IngestError("give both --ra and --dec, or neither")
    if ra is not None and dec is not None:
        pair: Positions | None = Positions(_named(fields, ra), _named(fields, dec))
    else:
        pair = _by_ucd(fields) or _by_name(fields)
    if pair is None:
        return None, ["no position columns were found; name them with --ra and --dec to make searches by position fast"]
    radians = [fields[place].name for place in (pair.ra, pair.dec) if is_radians(fields[place])]
    if radians:
        hint = (
            f"{' and '.join(radians)} are in radians, so there is no index for searches by position; "
            "repeat with --convert-radians to publish degrees"
        )
        return None, [hint]
    return pair, []


def _named(fields: Sequence[Field], name: str) -> int:
    exact = [place for place, item in enumerate(fields) if item.name == name]
    found = exact or [place for place, item in enumerate(fields) if item.name.casefold() == name.casefold()]
    if not found:
        raise IngestError(f"there is no column {name!r}; columns are {', '.join(item.name for item in fields)}")
    if not _may_be_degrees(fields[found[0]]):
        raise IngestError(f"column {name!r} holds no numbers in degrees, so it cannot be a position")
    return found[0]


def _may_be_degrees(item: Field) -> bool:
    """Whether values are single numbers: decimal ones, or whole ones that no unit makes something else (milliarcseconds)."""
    if item.type.is_array:
        return False
    is_whole = item.type.datatype in INTEGER_DATATYPES and (item.unit or "deg").strip().lower().startswith("deg")
    return is_whole or item.type.datatype in REAL_DATATYPES


def _by_ucd(fields: Sequence[Field]) -> Positions | None:
    for ra, dec in (
        ("pos.eq.ra;meta.main", "pos.eq.dec;meta.main"),
        ("pos_eq_ra_main", "pos_eq_dec_main"),
        ("pos.eq.ra", "pos.eq.dec"),
    ):
        places = [
            [place for place, item in enumerate(fields) if (item.ucd or "").lower() == ucd and _may_be_degrees(item)]
            for ucd in (ra, dec)
        ]
        if all(len(found) == 1 for found in places):
            return Positions(places[0][0], places[1][0])
    return None


def _by_name(fields: Sequence[Field]) -> Positions | None:
    places = {item.name.lower(): place for place, item in reversed(list(enumerate(fields))) if _may_be_degrees(item)}
    for ra, dec in WELL_KNOWN:
        if ra in places and dec in places:
            return Positions(places[ra], places[dec])
    return None


def is_radians(item: Field) -> bool:
    """Whether a column's unit is, or starts with, radian."""
    return item.type.datatype in REAL_DATATYPES and bool(_RADIANS.match((item.unit or "").strip()))


def in_degrees(item: Field) -> Field:
    """Describe a column of radians after its conversion."""
    return replace(item, unit=_RADIANS.sub("deg", (item.unit or "").strip()))


def to_degrees(column: pa.Array) -> pa.Array:
    """Turn radians into degrees, in double precision whatever the type."""
    if pa.types.is_list(column.type):
        return pa.ListArray.from_arrays(
            column.offsets, to_degrees(column.values), mask=column.is_null() if column.null_count else None
        )
    degrees = pa.array(np.degrees(column.cast(pa.float64()).fill_null(0.0).to_numpy()))
    return pc.if_else(column.is_valid(), degrees, None).cast(column.type, safe=False)


def healpix(ra: pa.Array, dec: pa.Array, counts: PositionCounts) -> pa.Array:
    """Order-29 nested HEALPix indexes of positions in degrees; null where there is no position."""
    lon = ra.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy()
    lat = dec.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy()
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(lon) & (np.abs(lat) <= 90)
        outside = usable & ((lon < 0) | (lon > 360))
    counts.missing += int(len(usable) - usable.sum())
    counts.beyond += int(outside.sum())
    index = order29(np.where(usable, np.mod(np.where(usable, lon, 0.0), 360.0), 0.0), np.where(usable, lat, 0.0))
    return pa.array(index, pa.int64(), mask=~usable)
