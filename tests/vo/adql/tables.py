"""A small tableset with every type, and the same tables in PostgreSQL."""

from gateway.vo.tableset import Column, Datatype, Field, Schema, SkyIndex, Table, Tableset, VOType

D = Datatype
SHORT, INT, LONG = VOType(D.SHORT), VOType(D.INT), VOType(D.LONG)
FLOAT, DOUBLE, BOOLEAN = VOType(D.FLOAT), VOType(D.DOUBLE), VOType(D.BOOLEAN)
TEXT, UNICODE = VOType(D.CHAR, "*"), VOType(D.UNICODE_CHAR, "*")
TIMESTAMP = VOType(D.CHAR, "*", "timestamp")
POINT, CIRCLE, POLYGON = (
    VOType(D.DOUBLE, "2", "point"),
    VOType(D.DOUBLE, "3", "circle"),
    VOType(D.DOUBLE, "*", "polygon"),
)
SKY = SkyIndex("ra", "dec", "gw_hpx29", has_zones=True)


def column(
    name: str, type_: VOType, sql: str, unit: str | None = None, physical: str | None = None, **more: str
) -> Column:
    return Column(Field(name, type_, unit=unit, **more), physical or name.lower(), sql)


STARS = Table(
    "survey",
    "stars",
    (
        column("id", LONG, "bigint", ucd="meta.id;meta.main", description="Identifier"),
        column("ra", DOUBLE, "double precision", "deg", ucd="pos.eq.ra;meta.main", utype="char:ra", description="RA"),
        column("dec", DOUBLE, "double precision", "deg", ucd="pos.eq.dec;meta.main"),
        column("mag", FLOAT, "real", "mag"),
        column("parallax", DOUBLE, "double precision", "mas"),
        column("n_obs", SHORT, "smallint"),
        column("flags", INT, "integer"),
        column("name", TEXT, "text"),
        column("Title", UNICODE, "character varying(40)", physical="title_1"),
        column("is_star", BOOLEAN, "boolean"),
        column("seen", TIMESTAMP, "timestamp without time zone"),
        column("changed", TIMESTAMP, "timestamp with time zone"),
        column("price", DOUBLE, "numeric(10,3)"),
        column("size", DOUBLE, "double precision", "arcsec", physical="size_"),
        column("2MASS", TEXT, "text", physical="c_2mass"),
        column('odd "name', INT, "integer", physical='odd "x'),
        column("spectrum", VOType(D.FLOAT, "*"), "real[]"),
    ),
    "survey",
    "stars",
    sky=SKY,
    nrows=1000,
)
REGIONS = Table(
    "survey",
    "regions",
    (
        column("id", LONG, "bigint"),
        column("p", POINT, "double precision[]"),
        column("c", CIRCLE, "double precision[]"),
        column("s_region", POLYGON, "double precision[]"),
        column("label", TEXT, "text"),
    ),
    "survey",
    "regions",
    nrows=10,
)
OTHER_STARS = Table(
    "other",
    "stars",
    (
        column("id", LONG, "bigint"),
        column("ra", DOUBLE, "double precision", "deg"),
        column("dec", DOUBLE, "double precision", "deg"),
        column("z", DOUBLE, "double precision"),
    ),
    "other",
    "stars_v2",
    sky=SKY,
    nrows=5000,
)
UNIQUE = Table(
    "other",
    "galaxies",
    (column("gid", INT, "integer"), column("ra", DOUBLE, "double precision"), column("name", TEXT, "text")),
    "other",
    "galaxies",
)
UPLOAD = Table(
    "TAP_UPLOAD",
    "mine",
    (column("n", INT, "integer"), column("ra", DOUBLE, "double precision"), column("dec", DOUBLE, "double precision")),
    "pg_temp",
    "mine",
)

TABLES = Tableset(
    (
        Schema("survey", (STARS, REGIONS)),
        Schema("other", (OTHER_STARS, UNIQUE)),
        Schema("TAP_UPLOAD", (UPLOAD,)),
    ),
    version="1",
)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def statements() -> list[str]:
    """What makes these tables."""
    made = []
    for table in TABLES.tables:
        columns = [f"{quoted(c.physical)} {c.sql_type}" for c in table.columns]
        columns += ["gw_hpx29 bigint"] if table.sky else []
        if table.physical_schema != "pg_temp":
            made.append(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.physical_schema)}")
        made.append(
            f"CREATE TABLE {quoted(table.physical_schema)}.{quoted(table.physical_name)} ({', '.join(columns)})"
        )
    made += [
        """INSERT INTO survey.stars VALUES
        (1, 10, 20, 5.5, 1.25, 3, 7, 'Alpha', 'Ünïcode', true, '2020-01-01 12:00:00', '2020-01-01 12:00:00+02', 1.125, 2.5, 'J1', 1, '{1,2}', 1),
        (2, 11, 21, 6.5, -2.5, 4, 8, 'beta_x%', 'b\\c', false, '2021-06-01', '2021-06-01 00:00:00Z', 2.5, 3.5, 'J2', 2, NULL, 2),
        (3, 359.9, -89, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)""",
        """INSERT INTO survey.regions VALUES
        (1, '{10,20}', '{10,20,1}', '{9,19,11,19,11,21,9,21}', '10 20'),
        (2, '{200,-45}', '{200,-45,0.5}', '{199,-46,201,-46,200,-44}', '200 -45'), (3, NULL, NULL, NULL, NULL)""",
        "INSERT INTO other.stars_v2 VALUES (1, 10.0001, 20, 0.5, 1), (5, 50, 50, 0.1, 2)",
        "INSERT INTO other.galaxies VALUES (1, 10, 'Alpha'), (2, 33, 'M31')",
        "INSERT INTO pg_temp.mine VALUES (1, 10, 20), (2, -0.1, 5)",
    ]
    return made


class FixedIndex:
    """Covers everything by the same two ranges: for tests of text."""

    def ranges(self, _: object) -> list[tuple[int, int]]:
        return [(10, 19), (30, 39)]
