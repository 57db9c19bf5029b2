"""A small archive with the tables that astronomers know, and its rows as Python has them, to judge answers by."""

import datetime as dt

from gateway.vo.tableset import Column, Datatype, Field, Schema, Table, Tableset, VOType

LONG, INT, SHORT = VOType(Datatype.LONG), VOType(Datatype.INT), VOType(Datatype.SHORT)
FLOAT, DOUBLE, BOOLEAN = VOType(Datatype.FLOAT), VOType(Datatype.DOUBLE), VOType(Datatype.BOOLEAN)
TEXT, TIMESTAMP = VOType(Datatype.CHAR, "*"), VOType(Datatype.CHAR, "*", "timestamp")
REGION = VOType(Datatype.DOUBLE, "*", "polygon")
SQL = {
    LONG: "bigint", INT: "integer", SHORT: "smallint", FLOAT: "real", DOUBLE: "double precision", BOOLEAN: "boolean",
    TEXT: "text", TIMESTAMP: "timestamp without time zone", REGION: "double precision[]",
}  # fmt: skip

COLUMNS: dict[tuple[str, str], list[tuple[str, VOType, str | None]]] = {
    ("gaiadr3", "gaia_source"): [
        ("source_id", LONG, None), ("ra", DOUBLE, "deg"), ("dec", DOUBLE, "deg"), ("parallax", DOUBLE, "mas"),
        ("pmra", DOUBLE, "mas.yr**-1"), ("pmdec", DOUBLE, "mas.yr**-1"), ("phot_g_mean_mag", DOUBLE, "mag"),
        ("bp_rp", DOUBLE, "mag"), ("phot_variable_flag", TEXT, None), ("has_xp_continuous", BOOLEAN, None),
    ],
    ("sdss", "SpecObj"): [
        ("specObjID", LONG, None), ("bestObjID", LONG, None), ("z", DOUBLE, None), ("class", TEXT, None), ("mjd", INT, "d"),
    ],
    ("ivoa", "ObsCore"): [
        ("obs_id", TEXT, None), ("dataproduct_type", TEXT, None), ("target_name", TEXT, None), ("s_ra", DOUBLE, "deg"),
        ("s_dec", DOUBLE, "deg"), ("t_min", DOUBLE, "d"), ("obs_release_date", TIMESTAMP, None), ("s_region", REGION, None),
    ],
    ("vizier", "I/239/hip_main"): [("HIP", INT, None), ("B-V", DOUBLE, "mag"), ("_RA", DOUBLE, "deg"), ("SpType", TEXT, None)],
    ("TAP_UPLOAD", "t1"): [("id", INT, None), ("ra", DOUBLE, "deg"), ("dec", DOUBLE, "deg"), ("name", TEXT, None)],
}  # fmt: skip

FLAGS = ["NOT_AVAILABLE", "VARIABLE", None, "CONSTANT"]
CLASSES = ["STAR", "GALAXY", "QSO"]
TARGETS = ["NGC 224", "M31", "ngc 4321", None, "3C 273"]
SIZE = 60


def row(table: str, n: int) -> tuple[object, ...]:
    """Row ``n``, from 1, of a table."""
    ra, dec = 56.75 + (n % 20 - 10) / 10, 24.1 + (n * 7 % 20 - 10) / 10
    match table:
        case "gaia_source":
            colour = None if n % 9 == 0 else n % 13 / 4
            motion = (n % 7 - 3.0, n % 5 - 2.0)
            return (n, ra, dec, n % 12 - 0.5, *motion, 8 + n % 40 / 4, colour, FLAGS[n % 4], n % 2 == 0)
        case "SpecObj":
            return (1000 + n, n * 2, n % 11 / 3, CLASSES[n % 3], 55000 + n)
        case "ObsCore":
            released = dt.datetime.fromisoformat("2020-01-01") + dt.timedelta(days=n)
            box = (
                None
                if n % 6 == 0
                else [ra - 0.2, dec - 0.2, ra + 0.2, dec - 0.2, ra + 0.2, dec + 0.2, ra - 0.2, dec + 0.2]
            )
            return (f"obs{n}", "image" if n % 2 else "cube", TARGETS[n % 5], ra, dec, 58849.0 + n, released, box)
        case "I/239/hip_main":
            return (n, n % 8 / 4, ra, "MKG"[n % 3] + "5V")
        case _:
            return (n, ra, dec, f"star {n}")


ROWS = {
    name: [dict(zip((c[0] for c in columns), row(name, n), strict=True)) for n in range(1, SIZE + 1)]
    for (_, name), columns in COLUMNS.items()
}
GAIA, SPECTRA, OBSERVATIONS, HIP, UPLOAD = ROWS.values()

ARCHIVE = Tableset(
    tuple(
        Schema(
            schema,
            (
                Table(
                    schema,
                    name,
                    tuple(Column(Field(n, type_, unit=unit), n, SQL[type_]) for n, type_, unit in columns),
                    "archive",
                    name,
                ),
            ),
        )
        for (schema, name), columns in COLUMNS.items()
    ),
    version="1",
)


def literal(value: object) -> str:
    """Value as PostgreSQL reads it."""
    if isinstance(value, list):
        return f"ARRAY{value}"
    return "NULL" if value is None else f"'{value}'" if isinstance(value, (str, dt.datetime)) else str(value)


def statements() -> list[str]:
    """What makes these tables."""
    made = ["DROP SCHEMA IF EXISTS archive CASCADE", "CREATE SCHEMA archive"]
    for (_, name), columns in COLUMNS.items():
        defined = ", ".join(f'"{n}" {SQL[type_]}' for n, type_, _ in columns)
        made.append(f'CREATE TABLE archive."{name}" ({defined})')
        rows = ", ".join(f"({', '.join(map(literal, row(name, n)))})" for n in range(1, SIZE + 1))
        made.append(f'INSERT INTO archive."{name}" VALUES {rows}')
    return made
