"""Every example of the text of ADQL 2.1, strict: what the standard shows runs, and what it calls an error is one."""

import io
import json
import math
import sys

import pytest

from gateway.cli import main
from gateway.errors import QueryError
from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate
from gateway.vo.tableset import Column, Datatype, Field, Schema, Table, Tableset, VOType

LONG, INT, DOUBLE = VOType(Datatype.LONG), VOType(Datatype.INT), VOType(Datatype.DOUBLE)
TEXT = VOType(Datatype.CHAR, "*")
POINT, POLYGON = VOType(Datatype.DOUBLE, "2", "point"), VOType(Datatype.DOUBLE, "*", "polygon")
SQL = {LONG: "bigint", INT: "integer", DOUBLE: "double precision", TEXT: "text"}


def table(name: str, *columns: tuple[str, VOType, str | None]) -> Table:
    made = (Column(Field(n, type_, unit=unit), n, SQL.get(type_, "double precision[]")) for n, type_, unit in columns)
    return Table("standard", name, tuple(made), "standard", name)


SOURCES = (
    ("id", LONG, None), ("ra", DOUBLE, "deg"), ("dec", DOUBLE, "deg"), ("ra_error", DOUBLE, "deg"), ("pm_ra", DOUBLE, "deg/yr"),
    ("pm_dec", DOUBLE, "deg/yr"), ("phot_cnt", INT, None), ("access_url", TEXT, None), ("access_estsize", INT, "kbyte"),
)  # fmt: skip
SHAPES = (
    ("ra", DOUBLE, "deg"), ("dec", DOUBLE, "deg"), ("width", DOUBLE, "deg"), ("height", DOUBLE, "deg"), ("radius", DOUBLE, "deg"),
    *((name, POINT, "deg") for name in ("center", "base", "target", "toppoint", "bottomleft", "bottomright", "pos")),
    ("footprint", POLYGON, "deg"),
)  # fmt: skip
TABLES = Tableset(
    (
        Schema(
            "standard",
            (
                *(table(name, *SOURCES) for name in ("alpha_source", "atable", "table1", "table2", "table3")),
                *(table(name, *SHAPES) for name in ("t", "t1", "t2")),
            ),
        ),
    ),
    version="1",
)


@pytest.fixture(scope="module")
def ask(postgres):
    with postgres.connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS standard CASCADE")
        cursor.execute("CREATE SCHEMA standard")
        for one in TABLES.tables:
            cursor.execute(
                f"CREATE TABLE standard.{one.name} ({', '.join(f'{c.physical} {c.sql_type}' for c in one.columns)})"
            )
            if one.name.startswith("t") and len(one.name) < 3:
                rows = "(25, -19.5, 1, 2, 3, '{25,-19.5}', '{1,2}', '{1,3}', '{5,6}', '{4,4}', '{6,4}', '{10,41}', '{24,-20,26,-20,26,-19,24,-19}')"
            else:
                rows = ", ".join(
                    f"({n}, {n}, {n}, 0.5, 3, 4, 7, {'NULL' if n % 2 else repr('u')}, 1)" for n in range(1, 31)
                )
            cursor.execute(f"INSERT INTO standard.{one.name} VALUES {rows}")
    return lambda query: postgres.rows(translate(query, TABLES, index=HealpixIndex(), strict=True).sql)


def numbers(*values: int) -> list[tuple]:
    return [(value,) for value in values]


# (section of the standard, query, its rows)
QUERIES = [
    (
        "Subqueries",
        "SELECT alpha_source.id FROM alpha_source WHERE alpha_source.id >=5 AND alpha_source.id IN (SELECT id FROM alpha_source WHERE id < 10)",
        numbers(5, 6, 7, 8, 9),
    ),
    (
        "Subqueries",
        ("SELECT alpha_source.id FROM alpha_source, (SELECT alpha_source.id FROM alpha_source WHERE id < 10) AS subsample "
        "WHERE alpha_source.id >=5 AND alpha_source.id = subsample.id"),
        numbers(5, 6, 7, 8, 9),
    ),
    (
        "Subqueries",
        ("WITH subsample AS (SELECT alpha_source.id FROM alpha_source WHERE id < 10) SELECT alpha_source.id FROM alpha_source "
        "INNER JOIN subsample USING(id) WHERE alpha_source.id >= 5"),
        numbers(5, 6, 7, 8, 9),
    ),
    ("Predicate functions", "SELECT id FROM table1 WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(3, 3, 0.5))", numbers(3)),
    (
        "Preferred sky crossmatch syntax",
        "SELECT t1.id FROM table1 AS t1 JOIN table2 AS t2 ON DISTANCE(t1.ra, t1.dec, t2.ra, t2.dec) < 0.00027 WHERE t2.id < 4",
        numbers(1, 2, 3),
    ),
    (
        "Preferred sky crossmatch syntax",
        "SELECT COUNT(*) FROM t WHERE DISTANCE(t.pos, POINT(10.68, 41.27)) <= 2.5",
        numbers(1),
    ),
    (
        "Common table expressions",
        "WITH alpha_subset AS (SELECT * FROM alpha_source WHERE MOD(id, 10) = 0) SELECT ra, dec FROM alpha_subset WHERE ra > 10 AND ra < 30",
        [(20.0, 20.0)],
    ),
    (
        "Set operators",
        "SELECT id, ra, dec FROM table1\nUNION\nSELECT id, ra, dec FROM table2\nORDER BY id -- sort the UNION result",
        30,
    ),
    (
        "Set operators",
        ("-- take the 10 first\n(SELECT TOP 10 id, ra, dec FROM atable ORDER BY id ASC)\nUNION\n-- take the 10 last\n"
        "(SELECT TOP 10 id, ra, dec FROM atable ORDER BY id DESC)"),
        20,
    ),
    (
        "Set operators",
        ("WITH tenFirst AS (SELECT TOP 10 id, ra, dec FROM atable ORDER BY id ASC), tenLast  AS (SELECT TOP 10 id, ra, dec FROM atable "
        "ORDER BY id DESC) SELECT * FROM tenFirst UNION SELECT * FROM tenLast"),
        20,
    ),
    (
        "Set operators",
        "SELECT id, ra, dec FROM table1 UNION (SELECT id, ra, dec FROM table2 INTERSECT SELECT id, ra, dec FROM table3)",
        30,
    ),
    (
        "CONTAINS",
        "SELECT COUNT(*) FROM t1 WHERE 1 = CONTAINS(POINT(25.0, -19.5), CIRCLE(25.4, -20.0, 10.0))",
        numbers(1),
    ),
    (
        "CONTAINS",
        "SELECT COUNT(*) FROM t1 WHERE 0 = CONTAINS(POINT(25.0, -19.5), CIRCLE(25.4, -20.0, 10.0))",
        numbers(0),
    ),
    ("CONTAINS", "SELECT COUNT(*) FROM t1, t2 WHERE 0 = CONTAINS(t1.center, t2.footprint)", numbers(0)),
    ("INTERSECTS", "SELECT COUNT(*) FROM t1, t2 WHERE 0 = INTERSECTS(t1.target, t2.footprint)", numbers(1)),
]  # fmt: skip


@pytest.mark.parametrize(("section", "query", "expected"), QUERIES, ids=[f"{case[0]}: {case[1]}" for case in QUERIES])
def test_a_query_of_the_standard_runs(ask, section, query, expected) -> None:  # ADQL-24, 25, 51, 52, 66 to 68
    rows = ask(query)
    assert len(rows) == expected if isinstance(expected, int) else sorted(rows) == expected


SQUARE = "POLYGON(20.0, -15.0, 20.0, -5.0, 10.0, -5.0, 10.0, -15.0)"

# (expression of t1, t2, t and, in one row, alpha_source; its value, or None where none is plain)
EXPRESSIONS = [
    ("POINT(12.3, 45.6)", [12.3, 45.6]),
    ("CIRCLE(12.3, 45.6, 0.5)", [12.3, 45.6, 0.5]),
    ("POLYGON(10.0, -10.5, 20.0, 20.5, 30.0, 30.5)", [10.0, -10.5, 20.0, 20.5, 30.0, 30.5]),
    ("AREA(POLYGON(10.0, -10.5, 20.0, 20.5, 30.0, 30.5))", None),
    ("AREA(t1.footprint)", None),
    ("BOX(25.4, -20.0, 10.0, 10.0)", None),
    ("BOX(POINT(25.4, -20.0), 10.0, 10.0)", None),
    ("BOX(t1.center, t1.width, t1.height)", None),
    ("CENTROID(POLYGON(10.0, -10.5, 20.0, 20.5, 30.0, 30.5))", None),
    ("CENTROID(t1.footprint)", None),
    ("CIRCLE(25.4, -20.0, 10.0)", [25.4, -20.0, 10.0]),
    ("CIRCLE(POINT(25.4, -20.0), 10.0)", [25.4, -20.0, 10.0]),
    ("CIRCLE(t1.center, t1.radius)", [25.0, -19.5, 3.0]),
    ("CONTAINS(POINT(25.0, -19.5), CIRCLE(25.4, -20.0, 10.0))", 1),
    ("COORD1(POINT(25.0, -19.5))", 25.0),
    ("COORD1(t.center)", 25.0),
    ("COORD2(POINT(25.0, -19.5))", -19.5),
    ("COORD2(t.center)", -19.5),
    ("COORDSYS(POINT(25.0, -19.5))", "ICRS"),
    ("COORDSYS(t.footprint)", "ICRS"),
    ("DISTANCE(POINT(25.0, -19.5), POINT(25.4, -20.0))", None),
    ("DISTANCE(25.0, -19.5, 25.4, -20.0)", None),
    ("DISTANCE(t1.base, t2.target)", 1.0),
    (f"INTERSECTS(CIRCLE(25.4, -20.0, 1), {SQUARE})", 0),
    ("POINT(25.0, -19.5)", [25.0, -19.5]),
    ("POINT(t.ra, t.dec)", [25.0, -19.5]),
    ("POLYGON(t1.ra    , t1.dec + 5,\n t1.ra - 5, t1.dec - 5,\n t1.ra - 5, t1.dec + 5)", [25.0, -14.5, 20.0, -24.5, 20.0, -14.5]),
    ("POLYGON(t2.toppoint, t2.bottomleft, t2.bottomright)", [5.0, 6.0, 4.0, 4.0, 6.0, 4.0]),
    ("LOWER('Francis Albert Augustus Charles Emmanuel')", "francis albert augustus charles emmanuel"),
    ("UPPER('Francis Albert Augustus Charles Emmanuel')", "FRANCIS ALBERT AUGUSTUS CHARLES EMMANUEL"),
    ("CAST(3 AS REAL)", 3.0),
    ("CAST('3.14159265358979323846' AS DOUBLE PRECISION)", math.pi),
    ("CAST(CAST('2021-01-14T11:25:00' AS TIMESTAMP) AS VARCHAR(19))", "2021-01-14T11:25:00"),
    ("CAST('12.3 45.6' AS POINT)", [12.3, 45.6]),
    ("CAST('12.3 45.6 1.0' AS CIRCLE)", [12.3, 45.6, 1.0]),
    ("CAST('1.0 0.1 2.0 0.2 3.0 0.3' AS POLYGON)", [1.0, 0.1, 2.0, 0.2, 3.0, 0.3]),
    ("COALESCE(access_url, '')", ""),
    ("IN_UNIT(alpha_source.ra, 'rad')", math.radians(1)),
    ("IN_UNIT(alpha_source.ra, 'arcmin')", 60.0),
    ("IN_UNIT(alpha_source.ra+ra_error, 'rad')", math.radians(1.5)),
    ("IN_UNIT(alpha_source.ra+10, 'rad')", math.radians(11)),
    ("IN_UNIT(sqrt(power(pm_ra,2)+power(pm_dec,2)), 'rad/yr')", math.radians(5)),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), EXPRESSIONS, ids=[case[0] for case in EXPRESSIONS])
def test_an_expression_of_the_standard_has_its_value(ask, expression, expected) -> None:  # ADQL-53 to 61, 65, 69 to 72
    ((value,),) = ask(f"SELECT {expression} AS v FROM t1, t2, t, alpha_source WHERE alpha_source.id = 1")
    assert value is not None
    if expected is not None:
        assert value == pytest.approx(expected) if not isinstance(expected, str) else value == expected


@pytest.mark.parametrize(
    "expression",
    [
        "IN_UNIT(ra, '')", "IN_UNIT(phot_cnt, 'deg')", "IN_UNIT(ra, 'foo')", "IN_UNIT(ra, 'kg')", "IN_UNIT(42, 'kg')",
        "IN_UNIT(40+2, 'deg')", "IN_UNIT(sqrt(42), 'deg')",
    ],
)  # fmt: skip
def test_what_the_standard_calls_an_error_of_units_is_one(expression) -> None:  # ADQL-72
    with pytest.raises(QueryError):
        translate(f"SELECT {expression} AS v FROM alpha_source", TABLES, strict=True)


def test_francis_is_like_francis_only_without_regard_to_case(ask) -> None:  # ADQL-65
    for word, count in (("LIKE", 0), ("ILIKE", 1)):
        assert ask(f"SELECT COUNT(*) FROM t1 WHERE 'Francis' {word} 'francis'") == numbers(count)


def test_the_modulo_sign_of_an_example_is_not_in_the_grammar() -> None:  # ADQL-29
    query = "SELECT * FROM alpha_source WHERE id % 10 = 0"
    translate(query, TABLES)
    with pytest.raises(QueryError, match="extension"):
        translate(query, TABLES, strict=True)


def test_the_command_takes_every_example_of_the_standard(monkeypatch, capsys) -> None:
    texts = [query for _, query, _ in QUERIES] + [
        f"SELECT {expression} FROM t1, t2, t" for expression, _ in EXPRESSIONS
    ]
    monkeypatch.setattr(sys, "argv", ["gateway", "adql", "--no-resolve", "--strict", "--json-lines"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps({"adql": text}) + "\n" for text in texts)))
    with pytest.raises(SystemExit):
        main()
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(answers) == len(texts)
    assert [answer for answer in answers if not answer["ok"]] == []
