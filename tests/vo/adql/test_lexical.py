"""Words, names, strings, numbers, blanks and comments (ADQL 2.1, "Lexical elements": ADQL-1 to ADQL-10)."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import QueryError
from gateway.vo.adql import parse, translate
from gateway.vo.adql.parsing.lexer import MAX_LENGTH
from gateway.vo.tableset import Column, Datatype, Field, Schema, Table, Tableset, VOType
from tests.vo.adql.tables import TABLES

RESERVED = """
ABSOLUTE ACTION ADD ALL ALLOCATE ALTER AND ANY ARE AS ASC ASSERTION AT AUTHORIZATION AVG BEGIN BETWEEN BIT BIT_LENGTH BOTH BY
CASCADE CASCADED CASE CAST CATALOG CHAR CHARACTER CHAR_LENGTH CHARACTER_LENGTH CHECK CLOSE COALESCE COLLATE COLLATION COLUMN
COMMIT CONNECT CONNECTION CONSTRAINT CONSTRAINTS CONTINUE CONVERT CORRESPONDING COUNT CREATE CROSS CURRENT CURRENT_DATE
CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURSOR DATE DAY DEALLOCATE DECIMAL DECLARE DEFAULT DEFERRABLE DEFERRED DELETE DESC
DESCRIBE DESCRIPTOR DIAGNOSTICS DISCONNECT DISTINCT DOMAIN DOUBLE DROP ELSE END ESCAPE EXCEPT EXCEPTION EXEC EXECUTE EXISTS
EXTERNAL EXTRACT FALSE FETCH FIRST FLOAT FOR FOREIGN FOUND FROM FULL GET GLOBAL GO GOTO GRANT GROUP HAVING HOUR IDENTITY
IMMEDIATE IN INDICATOR INITIALLY INNER INPUT INSENSITIVE INSERT INT INTEGER INTERSECT INTERVAL INTO IS ISOLATION JOIN KEY
LANGUAGE LAST LEADING LEFT LEVEL LIKE LOCAL LOWER MATCH MAX MIN MINUTE MODULE MONTH NAMES NATIONAL NATURAL NCHAR NEXT NO NOT
NULL NULLIF NUMERIC OCTET_LENGTH OF ON ONLY OPEN OPTION OR ORDER OUTER OUTPUT OVERLAPS PAD PARTIAL POSITION PRECISION PREPARE
PRESERVE PRIMARY PRIOR PRIVILEGES PROCEDURE PUBLIC READ REAL REFERENCES RELATIVE RESTRICT REVOKE RIGHT ROLLBACK ROWS SCHEMA
SCROLL SECOND SECTION SELECT SESSION SESSION_USER SET SIZE SMALLINT SOME SPACE SQL SQLCODE SQLERROR SQLSTATE SUBSTRING SUM
SYSTEM_USER TABLE TEMPORARY THEN TIME TIMESTAMP TIMEZONE_HOUR TIMEZONE_MINUTE TO TRAILING TRANSACTION TRANSLATE TRANSLATION
TRIM TRUE UNION UNIQUE UNKNOWN UPDATE UPPER USAGE USER USING VALUE VALUES VARCHAR VARYING VIEW WHEN WHENEVER WHERE WITH WORK
WRITE YEAR ZONE
ABS ACOS AREA ASIN ATAN ATAN2 BIGINT BOX CEILING CENTROID CIRCLE CONTAINS COORD1 COORD2 COORDSYS COS COT DEGREES DISTANCE EXP
FLOOR ILIKE INTERSECTS IN_UNIT LOG LOG10 MOD OFFSET PI POINT POLYGON POWER RADIANS RAND REGION ROUND SIN SQRT TAN TOP TRUNCATE
""".split()
"""Reserved words of SQL-92 and of ADQL 2.1, copied from the standard."""


def table_with(*names: str) -> Tableset:
    columns = tuple(Column(Field(name, VOType(Datatype.INT)), f"c{n}", "integer") for n, name in enumerate(names))
    return Tableset((Schema("s", (Table("s", "t", columns, "s", "t"),)),), version="1")


@pytest.mark.parametrize("word", RESERVED)
def test_a_reserved_word_is_a_name_only_in_quotes(word) -> None:
    """ADQL-1."""
    tables = table_with(word.lower())
    for spelt in (word, word.lower(), word.title()):
        with pytest.raises(QueryError):
            translate(f"SELECT t.{spelt} FROM t", tables)
        with pytest.raises(QueryError):
            translate(f"SELECT 1 AS {spelt} FROM t", tables)
    assert translate(f'SELECT "{word.lower()}" FROM t', tables).fields[0].name == word.lower()


@pytest.mark.parametrize(
    "text", ["select ID from SURVEY.STARS", "SeLeCt id FrOm survey.stars", "SELECT iD FROM Survey.Stars"]
)
def test_words_and_plain_names_have_no_case(text) -> None:
    """ADQL-1, ADQL-4."""
    assert translate(text, TABLES).fields[0].ucd == "meta.id;meta.main"


@pytest.mark.parametrize(
    "name", ["_a", "1a", "a$", "a#b", "ä", "aé", "a-b.c", "a b c", "a'b", "a[1]", "@a", "a\u200b", "\uff41"]
)
def test_a_plain_name_is_a_latin_letter_and_then_letters_digits_underscores(name) -> None:
    """ADQL-2."""
    with pytest.raises(QueryError):
        translate(f"SELECT {name} FROM t", table_with(name))


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,40}", fullmatch=True).filter(lambda name: name.upper() not in RESERVED))
def test_any_plain_name_is_found_in_any_case(name) -> None:
    """ADQL-2, ADQL-4: and the result spells it as the query does."""
    for spelt in (name, name.upper(), name.lower()):
        assert translate(f"SELECT {spelt} FROM t", table_with(name)).fields[0].name == spelt


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9)
ODD = st.sampled_from(["'", '"', "''", '""', "\\", "--", "/*", ";", "$$", " ", "\n", "x"])
TEXTS = st.lists(st.one_of(ODD, ODD, ANY), min_size=1, max_size=9).map("".join)
"""Texts with many quotes, which plain random texts hardly have."""


@given(TEXTS)
def test_any_name_is_found_in_quotes(name) -> None:
    """ADQL-3: a quote inside is doubled, all else stands as it is."""
    quoted = name.replace('"', '""')
    assert translate(f'SELECT "{quoted}" FROM t', table_with(name)).fields[0].name == name


def test_quoted_names_compare_with_case_and_plain_ones_without() -> None:
    """ADQL-4."""
    tables = table_with("Alpha", "alpha", "Beta")
    assert (
        translate('SELECT "Alpha", "alpha" FROM t', tables).sql
        == 'SELECT "t"."c0" AS "Alpha", "t"."c1" AS "alpha_2" FROM "s"."t" AS "t"'
    )
    assert translate("SELECT BETA FROM t", tables).fields[0].name == "BETA"
    with pytest.raises(QueryError, match=r"column alpha is ambiguous: s\.t\.Alpha or s\.t\.alpha"):
        translate("SELECT alpha FROM t", tables)
    with pytest.raises(QueryError, match="did you mean Beta"):
        translate('SELECT "BETA" FROM t', tables)


@given(TEXTS)
def test_any_string_keeps_its_characters(text) -> None:
    """ADQL-6."""
    doubled = text.replace("'", "''")
    tree = parse(f"SELECT '{doubled}' AS s FROM t")
    assert tree.expressions[0].this.this == text


NUMBERS = ["12", "12.", "12.3", ".5", "12.3E4", "1e-3", "1.e5", "1E+5", "0", "00.1"]
NO_NUMBERS = ["1E", "1e+", ".", "1.2.3", "0x1F", "1_000", "12a", "1e5x", "5°", "1..2", "½"]


@pytest.mark.parametrize("text", NUMBERS)
def test_every_form_of_a_number_is_read(text) -> None:
    """ADQL-7: their values are judged in test_meaning.py."""
    assert float(parse(f"SELECT {text} AS x FROM t").expressions[0].this.this) == float(text)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_refused(text) -> None:
    """ADQL-7."""
    with pytest.raises(QueryError):
        parse(f"SELECT {text} AS x FROM t")


def test_a_sign_is_an_operator(postgres) -> None:
    """ADQL-7: ``- -1`` is 1, and ``--1`` begins a comment."""
    assert postgres.rows(
        translate("SELECT TOP 1 - -1 AS a, +-+1 AS b, 3 - -2 AS c, -(-(2)) AS d FROM galaxies", TABLES).sql
    ) == [(1, -1, 5, 2)]
    assert postgres.rows(translate("SELECT TOP 1 4--1\n AS a FROM galaxies", TABLES).sql) == [(4,)]


BLANKS = [" ", "\t", "\n", "\r\n", "\r", "\f", ' -- a comment, it\'s "odd" /* ; \n', "--\n", "---x\r", "--\r\n\t"]
QUERY = "SELECT TOP 2 g . gid AS n , COUNT ( * ) AS c FROM other . galaxies AS g WHERE g . ra >= 1 GROUP BY g . gid ORDER BY 1"


@pytest.mark.parametrize("blank", BLANKS)
def test_any_blank_or_comment_may_stand_between_two_tokens(blank) -> None:
    """ADQL-8, ADQL-9."""
    assert translate(QUERY.replace(" ", blank), TABLES).sql == translate(QUERY, TABLES).sql


def test_symbols_need_no_blanks() -> None:
    """ADQL-8."""
    dense = "SELECT TOP 2 g.gid AS n,COUNT(*)AS c FROM other.galaxies AS g WHERE g.ra>=1 GROUP BY g.gid ORDER BY 1"
    assert translate(dense, TABLES).sql == translate(QUERY, TABLES).sql


@pytest.mark.parametrize(
    "query", ["SELECTgid FROM galaxies", "SELECT gid FROMgalaxies", "SELECT gid FROM galaxies WHERE gid=1AND ra=2"]
)
def test_words_need_a_blank_between_them(query) -> None:
    """ADQL-8."""
    with pytest.raises(QueryError):
        translate(query, TABLES)


@pytest.mark.parametrize("end", ["--", "-- the end", "--'", "-- it's\n"])
def test_a_comment_may_end_the_query(end) -> None:
    """ADQL-9."""
    assert translate(f"SELECT gid FROM galaxies {end}", TABLES).sql == translate("SELECT gid FROM galaxies", TABLES).sql


@pytest.mark.parametrize(
    "query", ["SELECT /* x */ gid FROM galaxies", "SELECT gid /* FROM galaxies", "SELECT gid FROM galaxies # x"]
)
def test_there_is_no_other_comment(query) -> None:
    """ADQL-9."""
    with pytest.raises(QueryError):
        translate(query, TABLES)


def test_two_dashes_in_quotes_are_no_comment(postgres) -> None:
    """ADQL-9."""
    assert postgres.rows(translate("SELECT TOP 1 'a--b' AS s FROM galaxies", TABLES).sql) == [("a--b",)]


@pytest.mark.parametrize("character", ["a", "ä", "€", "𝄞"])
def test_the_length_is_counted_in_bytes(character) -> None:
    size = len(character.encode())
    query = "SELECT '{}' AS s FROM galaxies"
    room = MAX_LENGTH - len(query) + 2
    assert translate(query.format(character * (room // size)), TABLES).fields
    with pytest.raises(QueryError, match=r"bytes; at most 100,000 are allowed"):
        translate(query.format(character * (room // size + 1)), TABLES)


@pytest.mark.parametrize(
    "character", sorted(set(map(chr, range(1, 128))) - set(string.ascii_letters + string.digits + " \t\r\n\f"))
)
def test_every_other_character_is_a_symbol_or_refused_where_it_stands(character) -> None:
    """ADQL-2, ADQL-10: nothing is dropped silently."""
    try:
        tree = parse(f"SELECT gid {character} 1 AS x FROM galaxies")
    except QueryError as e:
        column = {"<": 8, "=": 8, ">": 8, "(": 16, ".": 14}.get(character, 12)
        assert (e.line, e.column) == (1, column)  # noqa: PT017
        return
    assert character in "+-*/,%"
    assert tree.sql().replace("MOD(gid, 1)", "gid % 1") == f"SELECT gid {character} 1 AS x FROM galaxies".replace(
        " ,", ","
    )
