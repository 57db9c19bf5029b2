"""Examples of queries, made from the tables that are published (DALI 1.1, "DALI-examples"; TAP 1.1, "Examples").

An example about the sky is centred on a row that exists, so that it finds something: `probes` says what has to be asked
for that, `examples` takes the answers. The document is XHTML with RDFa: people read it, clients list it.

The queries are such that ADQL 2.0 has them too, hence ``'ICRS'``: TOPCAT's editor knows no more, and would mark them wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.vo import obscore
from gateway.vo.markup import attribute, element
from gateway.vo.tableset import Table, Tableset, adql_identifier

CAPABILITY = "ivo://ivoa.net/std/TAP"
VOCABULARY = "http://www.ivoa.net/rdf/examples#"

MOST_TABLES = 3
"""Tables with positions that have an example of their own: a list of hundreds teaches nobody."""

MOST_COLUMNS = 5
"""Columns that an example selects beside the position."""

WHOLE_TABLE_ROWS = 2_000_000
"""Rows of a table that an example may read whole: a second's work."""

CONE_DEG, JOIN_DEG, MATCH_DEG = 0.5, 2.0, 0.001
"""Radii, degrees: of a cone, of the field of a join, and within which two positions are one star's (3.6 arcsec)."""

Probe = Sequence[float | None]
"""Right ascension and declination of a row, ICRS degrees; of ObsCore also ``t_min``, MJD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A query to learn from."""

    id: str
    """XML name, unique in the document."""
    name: str
    text: str
    """What it does, for people."""
    query: str
    tables: tuple[str, ...]
    """Qualified names of the published tables in it."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Further parameters that the query needs, and their values."""


def probes(tableset: Tableset) -> dict[str, str]:
    """Give the queries whose first rows `examples` needs, by table."""
    found = {
        table.qualified_name: f"SELECT TOP 1 {ra}, {dec} FROM {table.qualified_name}"
        f" WHERE {ra} IS NOT NULL AND {dec} IS NOT NULL"
        for table, ra, dec in _with_positions(tableset)
    }
    if images := _obscore(tableset):
        name = images.qualified_name
        found[name] = f"SELECT TOP 1 s_ra, s_dec, t_min FROM {name} WHERE s_region IS NOT NULL"
    return found


def examples(tableset: Tableset, rows: Mapping[str, Probe]) -> tuple[Example, ...]:
    """Make examples from a set of tables.

    Parameters
    ----------
    tableset
        What is published.
    rows
        First rows of `probes`; tables that have none are left out.
    """
    tables = [found for found in _with_positions(tableset) if found[0].qualified_name in rows]
    return (
        _list_of_tables(),
        _columns_by_ucd(),
        *(_cone(n, *found, rows[found[0].qualified_name]) for n, found in enumerate(tables, start=1)),
        *_join(tables, rows),
        *_foreign_key(tableset),
        *_images(tableset, rows),
        *_upload(tables),
        _groups(tables),
    )


def document(title: str, shown: Iterable[Example]) -> bytes:
    """Examples as XHTML with RDFa; ``title`` names the service."""
    heading = element("h1", f"{title}: examples of queries")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en" xml:lang="en">\n'
        f"<head>{element('title', f'{title}: examples of queries')}<style>{_STYLE}</style></head>\n"
        f'<body vocab="{VOCABULARY}">\n{heading}\n<p>Each of these queries runs here as it stands, with the parameters that it names.</p>\n'
        + "".join(map(_article, shown))
        + "</body>\n</html>\n"
    ).encode()


_STYLE = (
    "body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1rem }"
    " pre { background: #f2f4f7; padding: 1rem; overflow-x: auto }"
)


def _article(example: Example) -> str:
    tables = " ".join(element("code", name, property="table") for name in example.tables)
    parameters = "".join(
        '<p property="generic-parameter" typeof="keyval">'
        f"{element('code', key, property='key')} = {element('code', value, property='value')}</p>\n"
        for key, value in example.parameters
    )
    return (
        f'<div typeof="example" id="{attribute(example.id)}" resource="#{attribute(example.id)}">\n'
        + element("h2", example.name, property="name")
        + f"\n{element('p', example.text)}\n{element('pre', example.query, property='query')}\n"
        + parameters
        + f"<p>Tables: {tables}; service: {element('code', CAPABILITY, property='capability')}</p>\n</div>\n"
    )


# -- what is there ----------------------------------------------------------------------------------------------

Positioned = tuple[Table, str, str]
"""Table, and its columns of right ascension and declination as queries write them."""


def _with_positions(tableset: Tableset) -> list[Positioned]:
    found = [(table, *pair) for table in tableset.tables if (pair := _position(table))]
    return [one for one in found if one[0].schema not in {obscore.SCHEMA, "tap_schema"}][:MOST_TABLES]


def _position(table: Table) -> tuple[str, str] | None:
    if table.sky is None:
        return None
    names = {column.physical: adql_identifier(column.name) for column in table.columns}
    ra, dec = names.get(table.sky.ra), names.get(table.sky.dec)
    return (ra, dec) if ra and dec else None


def _obscore(tableset: Tableset) -> Table | None:
    return tableset.find(f"{obscore.SCHEMA}.{obscore.TABLE}")


def _chosen(table: Table, *besides: str) -> list[str]:
    """Columns to show of a table: those that matter most, as queries write them."""
    scalar = [column for column in table.columns if not column.field.type.is_array]
    ordered = sorted(scalar, key=lambda column: (not _is_identifier(column.field.ucd), not column.is_principal))
    names = [adql_identifier(column.name) for column in ordered]
    return [name for name in names if name not in besides][:MOST_COLUMNS]


def _is_identifier(ucd: str | None) -> bool:
    return (ucd or "").lower().startswith("meta.id;meta.main")


# -- examples ---------------------------------------------------------------------------------------------------


def _list_of_tables() -> Example:
    return Example(
        id="tables",
        name="What is there",
        text="All tables that can be queried, with their descriptions.",
        query="SELECT table_name, description\nFROM tap_schema.tables\nORDER BY schema_name, table_index",
        tables=("tap_schema.tables",),
    )


def _columns_by_ucd() -> Example:
    return Example(
        id="columns",
        name="Columns with magnitudes",
        text="Columns are found by what they mean: here all whose UCD begins with phot.mag.",
        query="SELECT table_name, column_name, unit, ucd, description\nFROM tap_schema.columns\n"
        "WHERE ucd LIKE 'phot.mag%'\nORDER BY table_name",
        tables=("tap_schema.columns",),
    )


def _cone(number: int, table: Table, ra: str, dec: str, row: Probe) -> Example:
    centre = _centre(row)
    columns = ", ".join([*_chosen(table, ra, dec), ra, dec])
    return Example(
        id=f"cone-{number}",
        name=f"Around a position: {table.qualified_name}",
        text=f"Rows within {CONE_DEG} degrees of a position, the nearest first.",
        query=f"SELECT TOP 100 {columns},\n  DISTANCE({_at(ra, dec)}, {_at(*centre)}) AS separation\n"
        f"FROM {table.qualified_name}\nWHERE 1 = CONTAINS({_at(ra, dec)}, {_circle(*centre, CONE_DEG)})\n"
        "ORDER BY separation",
        tables=(table.qualified_name,),
    )


def _join(tables: Sequence[Positioned], rows: Mapping[str, Probe]) -> Iterator[Example]:
    """Join the two smallest tables, starting from the smaller one."""
    ordered = sorted(tables, key=lambda found: (found[0].nrows is None, found[0].nrows or 0))
    if len(ordered) < 2:
        return
    (one, ra1, dec1), (other, ra2, dec2), *_ = ordered
    centre = _centre(rows[one.qualified_name])
    mine, theirs = _at(f"a.{ra1}", f"a.{dec1}"), _at(f"b.{ra2}", f"b.{dec2}")
    columns = [*(f"a.{name}" for name in _chosen(one, ra1, dec1)[:2]), f"a.{ra1}", f"a.{dec1}"]
    columns += [f"b.{name} AS b{n}" for n, name in enumerate(_chosen(other, ra2, dec2)[:2], start=1)]
    yield Example(
        id="join",
        name=f"The same stars in {one.qualified_name} and {other.qualified_name}",
        text=f"Pairs of rows within {MATCH_DEG * 3600:g} arcsec of each other, in a field of {JOIN_DEG:g} degrees.",
        query=f"SELECT TOP 1000 {', '.join(columns)},\n"
        f"  DISTANCE({mine}, {theirs}) AS separation\n"
        f"FROM {one.qualified_name} AS a\nJOIN {other.qualified_name} AS b\n"
        f"  ON 1 = CONTAINS({theirs}, {_circle(f'a.{ra1}', f'a.{dec1}', MATCH_DEG)})\n"
        f"WHERE 1 = CONTAINS({mine}, {_circle(*centre, JOIN_DEG)})",
        tables=(one.qualified_name, other.qualified_name),
    )


def _foreign_key(tableset: Tableset) -> Iterator[Example]:
    """Follow the first foreign key between tables of the survey."""
    for table in tableset.tables:
        for key in table.keys if table.schema != "tap_schema" else ():
            target = tableset.find(key.target_table)
            if target is None or target is table:
                continue
            pairs = [(adql_identifier(here), adql_identifier(there)) for here, there in key.columns]
            columns = [f"a.{name}" for name in _chosen(table)[:3]]
            columns += [f"b.{name} AS b{n}" for n, name in enumerate(_chosen(target)[:3], start=1)]
            yield Example(
                id="key",
                name=f"Rows of {table.qualified_name} with what {target.qualified_name} says of them",
                text="A foreign key says which columns belong together; tap_schema.keys lists them all.",
                query=f"SELECT TOP 100 {', '.join(columns)}\nFROM {table.qualified_name} AS a\n"
                f"JOIN {target.qualified_name} AS b ON {' AND '.join(f'a.{a} = b.{b}' for a, b in pairs)}",
                tables=(table.qualified_name, target.qualified_name),
            )
            return


def _images(tableset: Tableset, rows: Mapping[str, Probe]) -> Iterator[Example]:
    table = _obscore(tableset)
    if table is None or table.qualified_name not in rows:
        return
    row = rows[table.qualified_name]
    start = row[2] if len(row) > 2 else None
    begin = None if start is None else math.floor(start)
    when = "" if begin is None else f"\n  AND t_min >= {begin} AND t_max < {begin + 30}"
    yield Example(
        id="images",
        name="Images of a position" + (" and a time" if when else ""),
        text="Images whose footprint meets a circle" + (", taken within thirty days (MJD)" if when else "") + ".",
        query="SELECT TOP 100 obs_id, obs_collection, s_ra, s_dec, t_min, t_exptime, access_url, access_format\n"
        f"FROM {table.qualified_name}\nWHERE 1 = INTERSECTS(s_region, {_circle(*_centre(row), 0.1)}){when}\nORDER BY t_min",
        tables=(table.qualified_name,),
    )


def _upload(tables: Sequence[Positioned]) -> Iterator[Example]:
    if not tables:
        return
    table, ra, dec = tables[0]
    columns = ", ".join([f"t.{name}" for name in [*_chosen(table, ra, dec), ra, dec]])
    yield Example(
        id="upload",
        name=f"Your own positions in {table.qualified_name}",
        text="Send a table with columns ra and dec (ICRS, degrees) along, as the upload named mine.",
        query=f"SELECT mine.*, {columns}\nFROM TAP_UPLOAD.mine AS mine\nJOIN {table.qualified_name} AS t\n"
        f"  ON 1 = CONTAINS({_at(f't.{ra}', f't.{dec}')}, {_circle('mine.ra', 'mine.dec', MATCH_DEG)})",
        tables=(table.qualified_name,),
        parameters=(("UPLOAD", "mine,param:mine"),),
    )


def _groups(tables: Sequence[Positioned]) -> Example:
    small = [found for found in tables if (found[0].nrows or WHOLE_TABLE_ROWS + 1) <= WHOLE_TABLE_ROWS]
    if not small:
        return Example(
            id="groups",
            name="Columns of each table",
            text="Rows are counted in groups.",
            query="SELECT table_name, COUNT(*) AS n\nFROM tap_schema.columns\nGROUP BY table_name\nORDER BY n DESC",
            tables=("tap_schema.columns",),
        )
    table, _, dec = min(small, key=lambda found: found[0].nrows or 0)
    return Example(
        id="groups",
        name=f"Bands of declination in {table.qualified_name}",
        text="Rows are counted in bands of ten degrees.",
        query=f"SELECT band, COUNT(*) AS n\nFROM (\n  SELECT FLOOR({dec} / 10.0) * 10 AS band FROM {table.qualified_name} WHERE {dec} IS NOT NULL\n"
        ") AS bands\nGROUP BY band\nORDER BY band",
        tables=(table.qualified_name,),
    )


def _centre(row: Probe) -> tuple[str, str]:
    """Position of a row as literals, to the thousandth of a degree."""
    ra, dec = (0.0 if value is None else value for value in row[:2])
    return f"{round(ra, 3) % 360:g}", f"{round(dec, 3):g}"


def _at(ra: str, dec: str) -> str:
    return f"POINT('ICRS', {ra}, {dec})"


def _circle(ra: str, dec: str, radius_deg: float) -> str:
    return f"CIRCLE('ICRS', {ra}, {dec}, {radius_deg:g})"
