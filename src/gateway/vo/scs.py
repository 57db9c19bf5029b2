"""Simple Cone Search 1.03, with what the draft of 1.1 adds: the request, and the ADQL that answers it.

Every published table with positions is a service of its own. The three columns that the standard asks for carry their roles as
UCD1 words, which 1.03 demands and every client knows; all other columns keep their UCD1+.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from gateway.errors import ParameterError
from gateway.vo import obscore
from gateway.vo.adql.build import column, contains, converted, distance, named, number, select, text
from gateway.vo.dali import ParamBag, Parameter, parse_maxrec
from gateway.vo.formats.base import Info
from gateway.vo.markup import element
from gateway.vo.regions import Circle, RegionError, check_position
from gateway.vo.shapes import parse_numbers
from gateway.vo.tableset import Column, Datatype, Field, Table
from gateway.vo.votable.document import PROLOGUE, infos_xml, status_xml

STANDARD_ID = "ivo://ivoa.net/std/ConeSearch"

XML_TYPE = ("cs:ConeSearch", "http://www.ivoa.net/xml/ConeSearch/v1.0")
"""Type of the capability, and the namespace of its prefix."""

CONTENT_TYPE = "text/xml;content=x-votable"
"""What answers are unless another format is asked for (SCS 1.03, "Successful response")."""

MOST_RADIUS = 180.0
"""Degrees: the whole sky."""

ID, RA, DEC = "ID_MAIN", "POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN"
"""Roles that exactly one column each has (SCS 1.03, "Successful response")."""

MODERN = {ID: "meta.id", RA: "pos.eq.ra", DEC: "pos.eq.dec"}
"""UCD1+ of columns that were published with the word of a role which another column has here."""

MADE_UP = "main_id"
"""Name of an identifier that the table does not have as text."""

MANY_ROWS = 10_000
"""Rows of a cone up to which it is fastest to read and sort them all: some 20 ms."""

CROWD = 100
"""Rows of a cone, in those that are wanted, from which rings are read."""

PARAMETERS = (
    Parameter("RA", "Right ascension of the centre, ICRS degrees, 0 to 360.", example="56.75"),
    Parameter("DEC", "Declination of the centre, ICRS degrees, -90 to 90.", example="24.12"),
    Parameter("SR", "Radius, degrees, 0 to 180; 0: the description of the answer only.", example="0.1"),
    Parameter("VERB", "1: the columns that matter most; 2: those of common interest, the default; 3: all."),
    Parameter("MAXREC", "Most rows wanted, nearest first; 0: the description of the answer only."),
    Parameter("RESPONSEFORMAT", "Format of the answer, VOTable unless said otherwise."),
)


@dataclass(frozen=True, slots=True)
class ConeQuery:
    """Rows around a position."""

    circle: Circle
    verbosity: int = 2
    maxrec: int | None = None

    @classmethod
    def from_params(cls, bag: ParamBag) -> ConeQuery:
        """Read a request; parameters that it does not know are passed over (SCS 1.03, "Query").

        Raises
        ------
        ParameterError
            A value is missing, or is not what its parameter takes.
        """
        ra, dec, radius = (_number(bag, name, meaning) for name, meaning in _NUMBERS.items())
        for name, value, at in (("RA", ra, (ra, 0.0)), ("DEC", dec, (0.0, dec))):
            try:
                check_position(*at)
            except RegionError as e:
                raise ParameterError(name, f"{value:g}", e.message) from e
        if not 0 <= radius <= MOST_RADIUS:
            raise ParameterError("SR", f"{radius:g}", f"expected a radius of 0 to {MOST_RADIUS:g} degrees")
        verbosity = (bag.one("VERB") or "2").strip()
        if verbosity not in {"1", "2", "3"}:
            raise ParameterError("VERB", verbosity, "expected 1, 2 or 3")
        return cls(Circle(ra, dec, radius), int(verbosity), parse_maxrec(bag))

    @property
    def wants_rows(self) -> bool:
        """Whether it asks for more than the description of the answer (SCS 1.03, "Query": SR=0)."""
        return self.circle.radius > 0


_NUMBERS = {
    "RA": "the right ascension of the centre, ICRS degrees",
    "DEC": "the declination of the centre, ICRS degrees",
    "SR": "the radius, degrees",
}


def _number(bag: ParamBag, name: str, meaning: str) -> float:
    written = (bag.one(name) or "").strip()
    if not written:
        raise ParameterError(name, "", f"give {meaning}")
    numbers = parse_numbers(name, written, expected=f"one number: {meaning}")
    if len(numbers) != 1:
        raise ParameterError(name, written, f"{len(numbers)} numbers found, expected one: {meaning}")
    return numbers[0]


@dataclass(frozen=True, slots=True)
class Cone:
    """A published table as a cone search."""

    table: Table
    ra: Column
    dec: Column
    identifier: Column | None
    """Column that names its rows; ``None``: their positions have to."""

    @property
    def is_made_up(self) -> bool:
        """Whether the identifier is a column of the answer only.

        Numbers are no identifiers (SCS 1.03 wants characters), but stay what they are: who goes on with them needs numbers.
        """
        return self.identifier is None or not _is_plain_text(self.identifier.field)


def cone_of(table: Table) -> Cone | None:
    """See a table as a cone search; ``None`` if it has no positions, or its rows are images, which SIA finds."""
    if table.sky is None or (table.schema, table.name) == (obscore.SCHEMA, obscore.TABLE):
        return None
    by_name = {column.physical: column for column in table.columns}
    ra, dec = by_name.get(table.sky.ra), by_name.get(table.sky.dec)
    if ra is None or dec is None:
        return None
    return Cone(table, ra, dec, _identifier(table))


def _identifier(table: Table) -> Column | None:
    """Find the column that names rows: the one that says so, or the only one that may."""
    for words in (("meta.id;meta.main", ID.lower()), ("meta.id",)):
        found = [one for one in table.columns if (one.field.ucd or "").lower() in words and not one.field.type.is_array]
        if len(found) == 1:
            return found[0]
    return None


def _is_plain_text(field: Field) -> bool:
    return field.type.is_text and not field.type.xtype


@dataclass(frozen=True, slots=True)
class _Item:
    """A column of the answer."""

    value: exp.Expr
    role: str | None = None
    description: str | None = None


def _items(cone: Cone, verbosity: int) -> Iterator[_Item]:
    if cone.is_made_up:
        yield _made_up(cone)
    for one in cone.table.columns:
        if one is cone.identifier and not cone.is_made_up:
            yield _Item(column(one.name), ID)
        elif one is cone.ra or one is cone.dec:
            yield _Item(_double(one), RA if one is cone.ra else DEC, one.field.description)
        elif _is_shown(one, cone, verbosity):
            yield _Item(column(one.name))


def _is_shown(one: Column, cone: Cone, verbosity: int) -> bool:
    """Whether a column has a place at a verbosity; where nothing is marked as less important, 1 has what is demanded only."""
    match verbosity:
        case 1:
            return one.is_principal and not all(other.is_principal for other in cone.table.columns)
        case 2:
            return one.is_principal or one.is_std
        case _:
            return True


def _made_up(cone: Cone) -> _Item:
    taken = {one.name.lower() for one in cone.table.columns}
    name = MADE_UP
    while name in taken:
        name += "_"
    if cone.identifier is not None:
        value = converted(column(cone.identifier.name), "VARCHAR")
        return _Item(named(value, name), ID, f"{cone.identifier.name} as text")
    ra, dec = (converted(column(one.name), "VARCHAR") for one in (cone.ra, cone.dec))
    value = exp.DPipe(this=exp.DPipe(this=ra, expression=text(" ")), expression=dec)
    return _Item(
        named(value, name), ID, "Right ascension and declination, degrees: the table has no identifier of its own"
    )


def _double(one: Column) -> exp.Expr:
    """Value of a coordinate in the one type that SCS 1.03 takes."""
    if one.field.type.datatype is Datatype.DOUBLE:
        return column(one.name)
    return named(converted(column(one.name), "DOUBLE PRECISION"), one.name)


def search(cone: Cone, query: ConeQuery) -> exp.Select:
    """Make the query that answers a cone search: nearest rows first, so that MAXREC cuts the farthest."""
    ra, dec = (column(one.name) for one in (cone.ra, cone.dec))
    nothing = exp.EQ(this=number(0), expression=number(1))
    return select(
        [item.value for item in _items(cone, query.verbosity)],
        (cone.table.schema, cone.table.name),
        [contains(ra, dec, query.circle) if query.wants_rows else nothing],
        order=distance(ra.copy(), dec.copy(), (query.circle.ra, query.circle.dec)) if query.wants_rows else None,
        top=_top(cone, query),
    )


def _top(cone: Cone, query: ConeQuery) -> int | None:
    """Rows after which the search may end, where that is far better than to sort all that the cone holds.

    One more than MAXREC, as an overflow must be known. ADQL's TOP with ORDER BY DISTANCE is answered in rings that grow
    around the centre.
    """
    if not query.maxrec:
        return None
    expected = (cone.table.nrows or 0) * (1 - math.cos(math.radians(query.circle.radius))) / 2
    return query.maxrec + 1 if expected > max(MANY_ROWS, CROWD * query.maxrec) else None


def any_row(cone: Cone) -> exp.Select:
    """Make the query for the positions of the table, in no order."""
    return select([cone.ra.name, cone.dec.name], (cone.table.schema, cone.table.name), [])


def fields(cone: Cone, verbosity: int, found: Sequence[Field]) -> tuple[Field, ...]:
    """Give the columns of an answer their roles, and each role to one of them (SCS 1.03, "Successful response")."""
    return tuple(_field(item, field) for item, field in zip(_items(cone, verbosity), found, strict=True))


def _field(item: _Item, field: Field) -> Field:
    description = item.description or field.description
    match item.role:
        case None:
            return replace(field, ucd=MODERN.get((field.ucd or "").upper(), field.ucd))
        case role if role == ID:
            return replace(field, ucd=ID, description=description)
        case role:
            return replace(field, ucd=role, unit="deg", description=description)


def error_document(message: str) -> bytes:
    """VOTable that tells an error where old clients look for it and where new ones do (SCS 1.03, "Error response"; DALI 1.1)."""
    return (
        f"{PROLOGUE}{infos_xml([Info('Error', message)])}"
        f'<RESOURCE type="results">\n{status_xml("ERROR", message)}</RESOURCE>\n</VOTABLE>\n'
    ).encode()


def capability_details(*, maxrec: int, example: tuple[float, float] | None) -> str:
    """Tell the limits of a service and, where there is one, a query that has an answer (SimpleDALRegExt 1.1, "ConeSearch").

    Parameters
    ----------
    example
        Position of some row, ICRS degrees.
    """
    query = ""
    if example is not None:
        ra, dec = example
        query = element("ra", repr(ra)) + element("dec", repr(dec)) + element("sr", "0.01")
    return (
        element("maxSR", repr(MOST_RADIUS))
        + element("maxRecords", str(maxrec))
        + element("verbosity", "true")
        + (f"<testQuery>{query}</testQuery>" if query else "")
        + "\n"
    )
