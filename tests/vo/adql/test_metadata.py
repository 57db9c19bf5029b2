"""What is known of a column stays with it: through aliases, subqueries, set operators, arithmetic (ADQL-45, ADQL-67, ADQL-72)."""

import dataclasses
import math

import astropy.units as u
import pytest

from gateway.vo.adql import translate
from gateway.vo.tableset import Datatype, Field
from tests.vo.adql.tables import STARS, TABLES

RA, DEC, ID = (next(c.field for c in STARS.columns if c.name == name) for name in ("ra", "dec", "id"))


def fields(query: str) -> tuple[Field, ...]:
    return translate(query, TABLES).fields


CARRIED = [
    "SELECT ra FROM survey.stars",
    "SELECT s.ra FROM survey.stars AS s",
    "SELECT survey.stars.ra FROM survey.stars",
    "SELECT (ra) FROM survey.stars",
    "SELECT ra FROM (SELECT ra FROM survey.stars) AS q",
    "SELECT q.ra FROM (SELECT * FROM survey.stars) AS q",
    "SELECT ra FROM (SELECT ra FROM (SELECT dec, ra FROM survey.stars) AS p) AS q",
    "SELECT p.ra FROM (SELECT ra AS alpha FROM survey.stars) AS q, (SELECT alpha AS ra FROM (SELECT ra AS alpha FROM survey.stars) AS r) AS p",
    "WITH q AS (SELECT ra FROM survey.stars) SELECT ra FROM q",
    "WITH p AS (SELECT ra AS a FROM survey.stars), q AS (SELECT a AS ra FROM p) SELECT ra FROM q",
    "SELECT ra FROM survey.stars UNION SELECT z FROM other.stars",
    "SELECT ra FROM survey.stars EXCEPT SELECT gid FROM galaxies INTERSECT SELECT 1 FROM galaxies",
    "(SELECT ra FROM survey.stars ORDER BY ra) UNION ALL (SELECT ra FROM galaxies) ORDER BY 1",
    "SELECT ra FROM survey.stars JOIN other.stars AS o USING (ra)",
    "SELECT ra FROM survey.stars NATURAL LEFT JOIN galaxies",
    "SELECT DISTINCT TOP 3 ra FROM survey.stars ORDER BY ra OFFSET 1",
    "SELECT ra FROM survey.stars GROUP BY ra",
    "SELECT ra FROM survey.stars WHERE id IN (SELECT id FROM other.stars)",
]


@pytest.mark.parametrize("query", CARRIED)
def test_a_column_keeps_what_is_known_of_it(query) -> None:
    assert fields(query) == (RA,)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("RA", "RA"),
        ("ra AS Alpha", "Alpha"),
        ('ra AS "My RA"', "My RA"),
        ("ra x", "x"),
        ('"ra"', "ra"),
        ('ra AS "a""b"', 'a"b'),
    ],
)
def test_names_keep_the_spelling_of_the_query(written, name) -> None:
    for query in (f"SELECT {written} FROM survey.stars", f"SELECT * FROM (SELECT {written} FROM survey.stars) AS q"):
        assert fields(query) == (dataclasses.replace(RA, name=name),)


def test_a_star_is_all_published_columns_in_their_order() -> None:
    """ADQL-21, ADQL-22: and none that is not published."""
    assert fields("SELECT * FROM survey.stars") == tuple(c.field for c in STARS.columns)
    assert fields("SELECT s.*, s.dec AS d FROM survey.stars AS s")[-1] == dataclasses.replace(DEC, name="d")


def test_a_set_operator_widens_the_type_and_keeps_the_rest() -> None:
    """ADQL-67: metadata from the left operand."""
    (field,) = fields("SELECT n_obs AS n FROM survey.stars UNION SELECT id FROM other.stars")
    assert (field.name, field.type.datatype) == ("n", Datatype.LONG)
    (field,) = fields("SELECT mag FROM survey.stars UNION SELECT ra FROM survey.stars")
    assert (field.unit, field.type.datatype) == ("mag", Datatype.DOUBLE)


ARITHMETIC = [
    ("ra + dec", "deg"), ("ra - 1", "deg"), ("1 - ra", "deg"), ("-ra", "deg"), ("2 * ra", "deg"), ("ra / 2.5", "deg"), ("(ra + 1) * -3", "deg"),
    ("ra * dec", "deg**2"), ("ra * parallax", "deg.mas"), ("ra / parallax", "deg/mas"), ("1 / parallax", "mas**-1"), ("ra / dec", None),
    ("ra + parallax", None), ("ra * n_obs", None), ("n_obs + 1", None), ("n_obs / ra", None), ("ra * ra / dec", "deg"), ("mag - 0.5", "mag"),
    ("AVG(ra)", "deg"), ("MIN(mag)", "mag"), ("SUM(parallax)", "mas"), ("COUNT(ra)", None), ("ABS(ra)", "deg"),
    ("ROUND(ra, 2)", "deg"), ("COALESCE(ra, dec)", "deg"), ("COALESCE(ra, 0)", "deg"), ("COALESCE(ra, parallax)", None),
    ("CASE WHEN id = 1 THEN ra ELSE dec END", "deg"), ("NULLIF(ra, 0)", "deg"), ("CAST(ra AS REAL)", "deg"), ("CAST(ra AS VARCHAR)", None),
    ("IN_UNIT(ra, 'arcsec')", "arcsec"), ("IN_UNIT(ra * dec, 'sr')", "sr"), ("SIN(ra)", None), ("DEGREES(ra)", "deg"), ("42", None),
    ("SQRT(POWER(ra, 2) + POWER(dec, 2))", "deg"), ("SQRT(ra * dec)", "deg"), ("POWER(parallax, 3)", "mas**3"), ("SQRT(ra)", None),
    ("POWER(ra, 2.5)", None), ("POWER(ra, n_obs)", None), ("POWER(n_obs, 2)", None), ("SQRT(n_obs)", None), ("POWER(2, ra)", None),
    ("SQRT(ra * ra / (parallax * parallax))", "deg/mas"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "unit"), ARITHMETIC)
def test_units_are_inferred_where_they_are_plain(expression, unit) -> None:
    """ADQL-72: "unit inference for expressions" is optional; what is not plain has no unit rather than a wrong one."""
    assert fields(f"SELECT {expression} AS v FROM survey.stars")[0].unit == unit
    if unit is not None:
        u.Unit(unit, format="vounit")


CONVERTED = [
    ("ra", "rad"),
    ("ra", "arcsec"),
    ("parallax", "arcsec"),
    ('"size"', "deg"),
    ("mag", "mmag"),
    ("ra * dec", "sr"),
]


@pytest.mark.parametrize(("expression", "unit"), CONVERTED)
def test_in_unit_gives_the_values_that_astropy_gives(postgres, expression, unit) -> None:
    """ADQL-72."""
    translation = translate(f"SELECT {expression} AS a, IN_UNIT({expression}, '{unit}') AS b FROM survey.stars", TABLES)
    before, after = translation.fields
    assert (after.unit, after.type.datatype) == (unit, Datatype.DOUBLE)
    for a, b in postgres.rows(translation.sql):
        assert (a is None) == (b is None)
        assert a is None or math.isclose(b, (a * u.Unit(before.unit)).to_value(unit), rel_tol=1e-15)


def test_in_unit_may_stand_wherever_a_number_may(postgres) -> None:
    """ADQL-72."""
    query = """SELECT IN_UNIT(AVG(ra), 'arcmin') AS m FROM survey.stars WHERE 1 > IN_UNIT(ra, 'rad') GROUP BY IN_UNIT("size", 'deg')
               HAVING MAX(IN_UNIT(ra, 'rad')) > 0 ORDER BY IN_UNIT(MAX(ra), 'rad') DESC"""
    assert postgres.rows(translate(query, TABLES).sql) == [(660.0,), (600.0,)]


@pytest.mark.parametrize(
    ("expression", "ucd"),
    [("AVG(ra)", "pos.eq.ra;stat.mean"), ("MIN(ra)", "pos.eq.ra;stat.min"), ("MAX(dec)", "pos.eq.dec;stat.max"), ("COUNT(*)", "meta.number"),
     ("COUNT(DISTINCT ra)", "meta.number"), ("SUM(ra)", None), ("MAX(mag)", None), ("ra + 1", None)],
)  # fmt: skip
def test_an_aggregate_is_no_longer_the_main_quantity(expression, ucd) -> None:
    assert fields(f"SELECT {expression} AS v FROM survey.stars")[0].ucd == ucd


@pytest.mark.parametrize(
    ("expression", "name"),
    [("COUNT(*)", "count_all"), ("MAX(ra)", "max_ra"), ("SQRT(ra)", "sqrt_ra"), ("ra + 1", "column_1"), ("IN_UNIT(ra, 'rad')", "in_unit_ra"),
     ('MAX("odd ""name")', "max_1"), ("'x'", "column_1"), ("(dec)", "dec")],
)  # fmt: skip
def test_an_expression_without_a_name_gets_a_plain_one(expression, name) -> None:
    assert fields(f"SELECT {expression} FROM survey.stars")[0].name == name
