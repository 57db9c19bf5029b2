"""Whatever PostgreSQL keeps is published in the nearest type of VOTable, or left out with a note, and never breaks a query."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.vo.formats import FORMATS
from gateway.vo.tableset import Datatype, VOType
from tests.ingest.register.site import Site

ODD = """
CREATE TYPE public.band AS ENUM ('u', 'g', 'r');
CREATE TYPE public.wide AS ENUM ('weiß');
CREATE DOMAIN public.flux AS double precision CHECK (VALUE > 0);
CREATE DOMAIN public.label AS text;
CREATE TYPE public.pair AS (a int, b int);
CREATE TABLE public.odd (
    id integer GENERATED ALWAYS AS IDENTITY,
    num numeric, whole numeric(18, 0), large numeric(30, 0), money_ money, tiny "char", o oid,
    u uuid, j json, jb jsonb, e public.band, w public.wide, f public.flux, l public.label, x xml,
    t timestamp, tz timestamptz, d date, tm time, i interval,
    v varchar(7), c char(4), n name, b bit(3), ip inet, r int4range, p point,
    twice integer GENERATED ALWAYS AS (2 * 21) STORED,
    nums numeric[], texts text[], doubles double precision[], dates date[], ids uuid[], flags boolean[], ints integer[],
    raw bytea, duo public.pair, ts tsvector
);
INSERT INTO public.odd (num, whole, large, money_, tiny, o, u, j, jb, e, w, f, l, t, tz, d, tm, i, v, c, n, b, ip, r, p,
    nums, texts, doubles, dates, ids, flags, ints, raw, duo, ts)
VALUES (1.5, 123456789012345678, 123456789012345678901234567890, 5, 'c', 4000000000,
    '84d4a476-22a0-4ea9-aec2-3e8e7801f86d', '{"a": "ü"}', '{"a": 1}', 'g', 'weiß', 2.5, 'hi',
    '2020-01-31 12:00:00.5', '2020-01-31 12:00:00+02', '2020-01-31', '10:00', '1 day 00:00:01', 'seven', 'ab', 'me', '101',
    '10.0.0.1', '[1,5)', '(1,2)', '{1.5,2.5}', '{a,"b c"}', '{{1,2},{3,4}}', '{2020-01-31}',
    '{84d4a476-22a0-4ea9-aec2-3e8e7801f86d}', '{t,f}', '{1,2,3}', '\\x00ff', '(1,2)', 'a b');
INSERT INTO public.odd DEFAULT VALUES;
"""

EXPECTED: dict[str, tuple[Any, str]] = {
    "num": (1.5, "double"),
    "whole": (123456789012345678, "long"),
    "large": (1.2345678901234568e29, "double"),
    "tiny": ("c", "char"),
    "o": (4000000000, "long"),
    "u": ("84d4a476-22a0-4ea9-aec2-3e8e7801f86d", "char"),
    "j": ('{"a": "ü"}', "unicodeChar"),
    "jb": ('{"a": 1}', "unicodeChar"),
    "e": ("g", "char"),
    "w": ("weiß", "unicodeChar"),
    "f": (2.5, "double"),
    "l": ("hi", "unicodeChar"),
    "tm": ("10:00:00", "char"),
    "i": (86401.0, "double"),
    "v": ("seven", "unicodeChar"),
    "n": ("me", "unicodeChar"),
    "b": ("101", "char"),
    "ip": ("10.0.0.1/32", "char"),
    "r": ("[1,5)", "unicodeChar"),
    "p": ("(1,2)", "unicodeChar"),
    "twice": (42, "int"),
    "nums": ([1.5, 2.5], "double"),
    "texts": ('{a,"b c"}', "unicodeChar"),
    "doubles": ([1.0, 2.0, 3.0, 4.0], "double"),
    "dates": ("{2020-01-31}", "unicodeChar"),
    "ids": ("{84d4a476-22a0-4ea9-aec2-3e8e7801f86d}", "unicodeChar"),
    "flags": ([True, False], "boolean"),
    "ints": ([1, 2, 3], "int"),
}


@pytest.fixture
def odd(site: Site) -> Site:
    site.run(ODD)
    site.notes = site.register("public.odd").notes  # type: ignore[attr-defined]
    return site


def test_every_type_is_published_as_the_nearest_one(odd: Site) -> None:
    row, empty = odd.rows("SELECT * FROM survey.odd ORDER BY id")
    kinds = {name: column.field.type.datatype.value for name, column in odd.columns("survey.odd").items()}
    assert {name: (row[name], kinds[name]) for name in EXPECTED} == EXPECTED
    assert row["t"].isoformat() == "2020-01-31T12:00:00.500000"
    assert row["tz"].isoformat() == "2020-01-31T10:00:00"  # UTC
    assert row["d"].isoformat() == "2020-01-31T00:00:00"
    assert {name for name, value in empty.items() if value is not None} == {"id", "twice"}


@pytest.mark.parametrize("form", [form.key for form in FORMATS])
def test_every_type_is_written_in_every_format(odd: Site, form: str) -> None:
    assert odd.ask("SELECT * FROM survey.odd", form)


def test_astropy_reads_every_type(odd: Site) -> None:
    table = odd.votable("SELECT * FROM survey.odd ORDER BY id").to_table()
    assert str(table["u"][0]) == EXPECTED["u"][0]
    assert table["i"].unit == "s"


def test_what_votable_has_nothing_for_is_left_out_and_told(odd: Site) -> None:
    assert {"raw", "duo", "ts"}.isdisjoint(odd.columns("survey.odd"))
    (note,) = [note for note in odd.notes if "left out" in note]  # type: ignore[attr-defined]
    assert "raw (bytea)" in note
    assert "duo (public.pair)" in note
    assert "ts (tsvector)" in note


BOUNDS = {
    "ints": ("integer[]", "[0:2]={1,2,3}", [1, 2, 3]),
    "doubles": ("double precision[]", "[-1:1]={1,2,3}", [1.0, 2.0, 3.0]),
    "square": ("smallint[]", "[0:1][5:6]={{1,2},{3,4}}", [1, 2, 3, 4]),
    "flags": ("boolean[]", "[2:3]={t,f}", [True, False]),
    "nums": ("numeric[]", "[2:3]={1.5,2.5}", [1.5, 2.5]),
    "usual": ("real[]", "{1,2}", [1.0, 2.0]),
    "empty": ("real[]", "{}", []),
}


def test_arrays_may_count_from_anywhere(site: Site) -> None:
    """PostgreSQL's arrays have a lower bound of their own, which neither VOTable nor the driver knows."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _, _) in BOUNDS.items())
    values = ", ".join(f"'{text}'" for _, text, _ in BOUNDS.values())
    site.run(
        f"CREATE TABLE public.arrays (id int, {columns})",
        f"INSERT INTO public.arrays VALUES (1, {values})",
        "INSERT INTO public.arrays VALUES (2)",
    )
    site.register("public.arrays")
    first, second = site.rows("SELECT * FROM survey.arrays ORDER BY id")
    assert first == {"id": 1} | {name: value for name, (_, _, value) in BOUNDS.items()}
    assert second == {"id": 2} | dict.fromkeys(BOUNDS)
    queries = [
        "SELECT a.{0} FROM (SELECT {0} FROM survey.arrays) AS a",
        "SELECT {0} FROM survey.arrays UNION ALL SELECT {0} FROM survey.arrays",
        "SELECT DISTINCT {0} FROM survey.arrays",
        "SELECT {0}, COUNT(*) AS n FROM survey.arrays GROUP BY {0}",
    ]
    answers = site.answers([query.format("doubles") for query in queries], "csv")
    assert all(b"1 2 3" in answer or b"1.0 2.0 3.0" in answer for answer in answers), answers


NUMBERS = {
    "1e400": math.inf,
    "-1e400": -math.inf,
    "1.797e308": 1.797e308,
    "1e-400": 0.0,
    "-1e-307": -1e-307,
    "0": 0.0,
    "NaN": math.nan,
    "0.1": 0.1,
    "-12345678901234567890.5": -12345678901234567890.5,
}


@pytest.mark.parametrize("kind", ["numeric", "numeric(1000,500)"])
def test_a_numeric_beyond_the_range_of_a_double_is_infinite_and_breaks_no_query(site: Site, kind: str) -> None:
    values = ", ".join(f"({place}, '{text}')" for place, text in enumerate(NUMBERS))
    site.run(
        f"CREATE TABLE public.numbers (id int, num {kind})",
        f"INSERT INTO public.numbers VALUES {values}, (99, NULL)",
        "CREATE INDEX by_num ON public.numbers (num)",
        "INSERT INTO public.numbers SELECT g, g FROM generate_series(1000, 20000) g",
        "ANALYZE public.numbers",
    )
    site.register("public.numbers")
    for query in (
        "SELECT num FROM survey.numbers WHERE id < 100 ORDER BY id",
        "SELECT s.num FROM (SELECT num, id FROM survey.numbers) AS s WHERE s.id < 100 ORDER BY s.id",
        "SELECT num, COUNT(*) AS n, MIN(id) AS i FROM survey.numbers WHERE id < 100 GROUP BY num ORDER BY i",
        "SELECT num, id FROM survey.numbers WHERE id < 100 UNION ALL SELECT num, id FROM survey.numbers WHERE id < 0 ORDER BY id",
    ):
        assert list(map(repr, site.column(query))) == list(map(repr, [*NUMBERS.values(), None])), query
    assert "by_num" in site.plan("SELECT id FROM survey.numbers WHERE num = 1500")


CONDITIONS = [
    "u = '84d4a476-22a0-4ea9-aec2-3e8e7801f86d'",
    "u LIKE '84d4%'",
    "u <> 'no uuid at all' AND u IS NOT NULL",
    "e = 'g' AND e <> 'no such label'",
    "e IN ('g', 'r')",
    "jb LIKE '%1%'",
    "UPPER(l) = 'HI'",
    "f > 2 AND SQRT(f) < 2 AND f + num = 4",
    "i BETWEEN 86400 AND 86402",
    "d >= CAST('2020-01-31T00:00:00' AS TIMESTAMP) AND d < '2020-02-01'",
    "tz = CAST('2020-01-31T10:00:00' AS TIMESTAMP)",
    "num = 1.5 AND MOD(whole, 10) = 8",
    "o = 4000000000",
    "tm > '09:00:00'",
    "b = '101' AND v || l = 'sevenhi'",
    "CAST(whole AS CHAR) = '123456789012345678'",
]


def test_odd_types_work_in_conditions(odd: Site) -> None:
    answers = odd.answers([f"SELECT id FROM survey.odd WHERE {condition}" for condition in CONDITIONS], "csv")
    assert [answer.split() for answer in answers] == [[b"id", b"1"]] * len(CONDITIONS)


CLAUSES = [
    "SELECT {0}, COUNT(*) AS n FROM survey.odd GROUP BY {0} ORDER BY {0}",
    "SELECT DISTINCT {0} FROM survey.odd",
    "SELECT {0} FROM survey.odd UNION SELECT {0} FROM survey.odd",
    "SELECT COUNT(DISTINCT {0}) AS n FROM survey.odd",
    "SELECT {0} FROM (SELECT {0} FROM survey.odd) AS s WHERE {0} = {0}",
    "SELECT a.{0} FROM survey.odd AS a JOIN survey.odd AS b ON a.{0} = b.{0}",
    "SELECT a.id FROM survey.odd AS a JOIN survey.odd AS b USING ({0})",
    "SELECT MIN({0}) AS low FROM survey.odd",
    "SELECT CASE WHEN id = 1 THEN {0} END AS x, COALESCE({0}, {0}) AS y FROM survey.odd ORDER BY y",
    "SELECT id FROM survey.odd WHERE {0} IN (SELECT {0} FROM survey.odd)",
]


@pytest.mark.parametrize("column", ["u", "j", "e", "f", "i", "d", "num", "tz"])
def test_odd_types_work_in_every_clause(odd: Site, column: str) -> None:
    answers = odd.answers([clause.format(column) for clause in CLAUSES], "csv")
    assert [len(answer.splitlines()) - 1 for answer in answers] == [2, 2, 2, 1, 1, 1, 1, 1, 2, 1]


def test_text_is_unicode_unless_its_type_tells(few: Site) -> None:
    """All that PostgreSQL knows of text is that it may hold any character: char would be a guess."""
    few.run("ALTER TABLE public.stars ADD name text DEFAULT 'ascii'")
    few.register()
    assert few.columns()["name"].field.type == VOType(Datatype.UNICODE_CHAR, "*")


def test_names_that_need_quotes_are_kept(site: Site) -> None:
    site.run(
        'CREATE SCHEMA "My Survey"',
        'CREATE TABLE "My Survey"."Big ""Table""" ("RA J2000" double precision, "DE-J2000" double precision,'
        ' "select" integer, "Ω" text, "2MASS" text, "a.b" integer, "A" integer, "a" integer, "%s $1" integer)',
        'INSERT INTO "My Survey"."Big ""Table""" VALUES (10, 20, 1, \'x\', \'y\', 2, 3, 4, 5)',
    )
    report = site.register('"My Survey"."Big ""Table"""', ra="RA J2000", dec="DE-J2000")
    assert report.index is not None
    name = '"My Survey"."Big ""Table"""'
    assert report.table == name
    assert site.rows(f"SELECT * FROM {name}") == [
        {
            "RA J2000": 10.0,
            "DE-J2000": 20.0,
            "select": 1,
            "Ω": "x",
            "2MASS": "y",
            "a.b": 2,
            "A": 3,
            "a_2": 4,
            "%s $1": 5,
        }
    ]
    where = '1 = CONTAINS(POINT("RA J2000", "DE-J2000"), CIRCLE(10, 20, 1))'
    assert site.column(f'SELECT "select" FROM {name} WHERE {where}') == [1]
