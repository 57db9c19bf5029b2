"""User-defined functions through ADQL: the examples of the IVOA's catalogue, nulls, bad values, and what is declared."""

import re
from datetime import timedelta

import adbc_driver_postgresql.dbapi as adbc
import pytest

from gateway.db.faults import translated
from gateway.errors import QueryError
from gateway.vo.adql import features, translate
from gateway.vo.adql.functions.udf import UDF, UDFS
from gateway.vo.tableset import Datatype
from tests.vo.adql.tables import TABLES

RING = "POLYGON(5, 3, 4, 4, 4.5, 2)"

EXAMPLES = [  # "Catalogue of ADQL User Defined Functions" 1.2, the examples, and more of each syntax
    ("ivo_healpix_index(0, 1, 1)", 4),
    ("ivo_healpix_index(17, 1, 1)", 81609757711),
    ("ivo_healpix_index(17, 359, -1)", 73009064944),
    ("ivo_healpix_index(0, POINT(1, 1))", 4),
    ("ivo_healpix_index(17, POINT('ICRS', 1, 1))", 81609757711),
    ("ivo_healpix_index(17, CENTROID(CIRCLE(359, -1, 3)))", 73009064944),
    ("ivo_healpix_center(0, 6)", [180.0, 0.0]),
    ("ivo_healpix_center(17, ivo_healpix_index(17, 23.4, 56.7))", [23.399843462947466, 56.70016214363192]),
    (
        "ivo_epoch_prop_pos(7.606083572, 11.79044105, 125, 300, -428.8, 52.51, 2016.0, 1992.25)",
        [7.604061404627978, 11.7932703828279],
    ),
    (
        "ivo_epoch_prop_pos(7.606083572, 11.79044105, 125, 300, -428.8, 52.51, 2016.0, 1875.0)",
        [7.594068213694308, 11.807251375203935],
    ),
    (
        "ivo_epoch_prop_pos(7.606083572, 11.79044105, 125, 300, -428.8, NULL, 2016.0, 1875.0)",
        [7.594079587029898, 11.807235464326332],
    ),
    (
        "ivo_epoch_prop_pos(7.606083572, 11.79044105, 125, 300, NULL, NULL, 2016.0, 1875.0)",
        [7.594080321498365, 11.790440798509207],
    ),
    ("ivo_to_jd(CAST('2000-01-02T12:00:00' AS TIMESTAMP))", 2451546.0),
    ("ivo_to_jd('1910-12-31T06:00:00')", 2419036.75),
    ("ivo_to_jd(NULL)", None),
    ("ivo_to_mjd(CAST('2000-01-02T12:00:00' AS TIMESTAMP))", 51545.5),
    ("ivo_to_mjd('1910-12-31T06:00:00')", 19036.25),
    ("ivo_to_mjd(NULL)", None),
    ("ivo_nocasematch('abcabc', 'ab%')", 1),
    ("ivo_nocasematch('ABcabc', 'ab__bc')", 1),
    ("ivo_nocasematch('abcabc', '%BC')", 1),
    ("ivo_nocasematch('abcabc', 'ABCABC')", 1),
    ("ivo_nocasematch('abcabc', 'abcab')", 0),
    ("ivo_nocasematch('a\\c', 'A\\C')", 1),
    ("ivo_nocasematch(NULL, 'x')", None),
    ("ivo_hasword('Miller and Urey have', 'miller')", 1),
    (
        "ivo_hasword('shown that a primordial', 'show')",
        0,
    ),  # the catalogue allows it: an irregular form has its own stem
    ("ivo_hasword('it shows a primordial', 'showing')", 1),
    ("ivo_hasword('shown that a primordial', 'soup')", 0),
    ("ivo_hasword('shown that a primordial', 'shown primordial')", 1),
    ("ivo_hasword('shown that a primordial', 'shown soup')", 0),
    ("ivo_hasword('Miller and Urey have', 'AND')", 1),
    ("ivo_hasword('Stars and galaxies', 'galaxy star')", 1),
    ("ivo_hasword('Stars and galaxies', NULL)", None),
    ("ivo_hashlist_has('red#green#blue', 'red')", 1),
    ("ivo_hashlist_has('Red#green#blue', 'red')", 1),
    ("ivo_hashlist_has('red#green#blue', 're')", 0),
    ("ivo_hashlist_has('red#green#blue', 'red#green')", 0),
    ("ivo_hashlist_has('red', 'RED')", 1),
    ("ivo_hashlist_has('', 'red')", 0),
    ("ivo_hashlist_has('red', NULL)", None),
    ("ivo_interval_overlaps(-3, -2, 2, 3)", 0),
    ("ivo_interval_overlaps(-2, 55.3, 2, 3)", 1),
    ("ivo_interval_overlaps(2, 3, -2, 55.3)", 1),
    ("ivo_interval_overlaps(-2, 55.3, 3, 2)", 0),
    ("ivo_interval_overlaps(-2, 2, 2, 3)", 1),
    ("ivo_interval_overlaps(2, 3, -2, 2)", 1),
    ("ivo_interval_overlaps(1, 2, NULL, 3)", None),
    ("ivo_interval_overlaps(9007199254740993, 9007199254740993, 9007199254740992, 9007199254740992)", 0),
    ("ivo_hms_to_degrees('3:34:45.4')", 53.689166666666665),
    ("ivo_hms_to_degrees('3h34m45.4s')", 53.689166666666665),
    ("ivo_hms_to_degrees('3H34M45.4S')", 53.689166666666665),
    ("ivo_hms_to_degrees('033445.4')", 53.689166666666665),
    ("ivo_hms_to_degrees('three')", None),
    ("ivo_hms_to_degrees(NULL)", None),
    ("ivo_dms_to_degrees('42:9:6.768')", 42.15188),
    ("ivo_dms_to_degrees('42d9m6.768s')", 42.15188),
    ("ivo_dms_to_degrees('42D9M6.768S')", 42.15188),
    ("ivo_dms_to_degrees('420906.768')", 42.15188),
    ("ivo_dms_to_degrees('-00:15:00')", -0.25),
    ("ivo_dms_to_degrees('+00:15:00')", 0.25),
    ("ivo_dms_to_degrees('-0d15m0s')", -0.25),
    ("ivo_dms_to_degrees('+0d15m0s')", 0.25),
    ("ivo_dms_to_degrees('-001500')", -0.25),
    ("ivo_geom_transform('ICRS', 'ICRS', CIRCLE(10, 20, 1.5))", [10.0, 20.0, 1.5]),
    ("ivo_geom_transform('ICRS', 'GALACTIC', NULL)", None),
    ("ivo_healpix_index(3, NULL, 1)", None),
    ("ivo_healpix_center(3, NULL)", None),
]


def value(postgres, expression: str, table: str = "galaxies"):
    return postgres.rows(translate(f"SELECT {expression} AS x FROM {table}", TABLES).sql)[0][0]


@pytest.mark.parametrize(("expression", "expected"), EXAMPLES, ids=[expression for expression, _ in EXAMPLES])
def test_example_of_the_catalogue_has_its_value(postgres, expression, expected) -> None:
    found = value(postgres, expression)
    assert found == (pytest.approx(expected, rel=0, abs=1e-12) if isinstance(expected, (float, list)) else expected)


@pytest.mark.parametrize(
    ("expression", "expected", "error"),  # the catalogue gives them with so many digits
    [
        ("ivo_geom_transform('ICRS', 'GALACTIC', POINT(120, -23))", [241.121831182, 3.62785788087], 1e-9),
        (
            "ivo_geom_transform('FK4', 'GALACTIC', CIRCLE(189.70303055, 22.96240006, 3))",
            [275.00025405, 84.99996154, 3],
            1e-8,
        ),
        (
            f"ivo_geom_transform('GALACTIC', 'FK5', {RING})",
            [266.44721, -23.107310, 264.95088, -23.434037, 267.09936, -24.051919],
            1e-5,
        ),
        (  # how remote a star without a parallax is, is left open
            "ivo_epoch_prop_pos(7.606083572, 11.79044105, NULL, 300, -428.8, 52.51, 2016.0, 1875.0)",
            [7.594079587020846, 11.807235464339055],
            2e-11,
        ),
    ],
)
def test_example_of_few_digits_has_its_value(postgres, expression, expected, error) -> None:
    assert value(postgres, expression) == pytest.approx(expected, rel=0, abs=error)


@pytest.mark.parametrize(
    ("expression", "type_", "xtype", "unit"),
    [
        ("ivo_healpix_index(5, ra, dec)", Datatype.LONG, None, None),
        ("ivo_healpix_center(5, 7)", Datatype.DOUBLE, "point", "deg"),
        ("ivo_geom_transform('ICRS', 'FK5', POINT(ra, dec))", Datatype.DOUBLE, "point", "deg"),
        ("ivo_geom_transform('ICRS', 'FK5', CIRCLE(ra, dec, 1))", Datatype.DOUBLE, "circle", "deg"),
        ("ivo_geom_transform('ICRS', 'FK5', BOX(ra, dec, 1, 1))", Datatype.DOUBLE, "polygon", "deg"),
        ("ivo_to_mjd(seen)", Datatype.DOUBLE, None, "d"),
        ("ivo_hasword(name, title)", Datatype.INT, None, None),
        ("ivo_hms_to_degrees(name)", Datatype.DOUBLE, None, "deg"),
    ],
)
def test_field_of_a_call_is_described(expression, type_, xtype, unit) -> None:
    field = translate(f"SELECT {expression} AS x FROM survey.stars", TABLES).fields[0]
    assert (field.type.datatype, field.type.xtype, field.unit) == (type_, xtype, unit)


def test_columns_of_every_type_are_taken(postgres) -> None:
    query = (
        "SELECT ivo_healpix_index(n_obs, ra, dec), ivo_healpix_index(3, p), ivo_geom_transform('ICRS', 'ICRS', c),"
        " ivo_to_mjd(seen), ivo_to_mjd(changed), ivo_interval_overlaps(n_obs, mag, price, 6), ivo_nocasematch(name, 'AL%'),"
        " ivo_epoch_prop_pos(ra, dec, parallax, mag, price, n_obs, 2000, 2001.5)"
        " FROM survey.stars JOIN survey.regions USING (id) WHERE id = 1"
    )
    (row,) = postgres.rows(translate(query, TABLES).sql)
    assert row[:2] == (310, 310)
    assert row[2] == pytest.approx([10, 20, 1], abs=1e-12)
    assert row[3:7] == (58849.5, pytest.approx(58849 + 10 / 24), 1, 1)
    assert row[7] == pytest.approx([10, 20], abs=1e-5)


def test_strings_that_are_no_literals_are_read_as_timestamps(postgres) -> None:
    assert value(postgres, "ivo_to_mjd('2000-01-0' || '2')") == 51545.0
    assert value(postgres, "ivo_to_mjd('2000-01-02 ' || '12:00:00.500Z')") == 51545.5 + 0.5 / 86400


def test_names_are_called_without_regard_to_case(postgres) -> None:  # ADQL-64
    assert value(postgres, "Ivo_HasWord('Two words', 'WORD')") == 1


def test_strings_of_a_group_are_joined(postgres) -> None:
    query = "SELECT id / 3 AS g, ivo_string_agg(name, ' <> ') AS n FROM survey.stars GROUP BY g ORDER BY g"
    (first, second) = postgres.rows(translate(query, TABLES).sql)
    assert first[0] == 0
    assert sorted(first[1].split(" <> ")) == ["Alpha", "beta_x%"]
    assert second == (1, None)  # all of the group is NULL
    assert value(postgres, "ivo_string_agg('x', ',')") == "x,x"


def test_histogram_through_adql_has_all_bins_without_rows(postgres) -> None:
    assert value(postgres, "ivo_histogram(mag, 5.5, 6.5, 2)", "survey.stars") == [1, 1, 1, 0]  # 6.5 is not larger
    assert value(postgres, "ivo_histogram(mag, 5, 6, 4)", "survey.stars WHERE id > 99") == [0] * 6
    assert value(postgres, "ivo_histogram(id, 0, 2, n_obs - n_obs + 2)", "survey.stars WHERE id < 3") == [0, 0, 2, 0]


def test_aggregates_follow_the_rules_of_aggregates() -> None:
    for query, reason in [
        ("SELECT id, ivo_string_agg(name, ',') FROM survey.stars", "GROUP BY"),
        ("SELECT id FROM survey.stars WHERE ivo_string_agg(name, ',') = 'x'", "cannot stand"),
        ("SELECT MAX(ivo_string_agg(name, ',')) FROM survey.stars", "cannot stand inside MAX"),
        ("SELECT ivo_histogram(COUNT(*), 0, 1, 2) FROM survey.stars", "cannot stand inside ivo_histogram"),
    ]:
        with pytest.raises(QueryError, match=reason):
            translate(query, TABLES)
    translate("SELECT name FROM survey.stars GROUP BY name HAVING ivo_string_agg(title, ',') = 'x'", TABLES)


def test_random_numbers_of_the_normal_distribution_differ_and_are_where_they_should(postgres) -> None:
    rows = postgres.rows(
        translate("SELECT ivo_normal_random(10, 0), ivo_normal_random(id, 5) FROM survey.stars", TABLES).sql
    )
    assert {row[0] for row in rows} == {10.0}
    assert len({row[1] for row in rows}) == len(rows)


WRONG = [
    ("ivo_healpix_index(30, ra, dec)", 26, "0 to 29"),
    ("ivo_healpix_index(-1, ra, dec)", 26, "0 to 29"),
    ("ivo_healpix_index(3, ra)", 29, "argument point of ivo_healpix_index(hpxOrder, point) is a point, found a number"),
    ("ivo_healpix_index(3)", 8, "called as ivo_healpix_index(hpxOrder, long, lat) or ivo_healpix_index(hpxOrder, point)"),
    ("ivo_healpix_index(3.5, ra, dec)", 26, "a whole number"),
    ("ivo_healpix_center(17, 23.2)", 31, "argument hpxIndex of ivo_healpix_center(hpxOrder, hpxIndex) is a whole number"),
    ("ivo_geom_transform('ICRS', 'galactic', POINT(1, 2))", 35, "unknown reference frame 'galactic'; did you mean 'GALACTIC'"),
    ("ivo_geom_transform('B1950', 'ICRS', POINT(1, 2))", 27, "known: ICRS, FK5"),
    ("ivo_geom_transform(name, 'ICRS', POINT(1, 2))", 27, "a string literal"),
    ("ivo_geom_transform('ICRS', 'FK5', ra)", 42, "argument geo of ivo_geom_transform(from_sys, to_sys, geo) is a point or a"),
    ("ivo_to_mjd('yesterday')", 19, "is no timestamp"),
    ("ivo_to_mjd('2016-12-31T23:59:60')", 19, "is no timestamp"),  # leap seconds have no place in naive days
    ("ivo_to_mjd(ra)", 19, "is a timestamp or a string"),
    ("ivo_histogram(ra, 0, 1, 0)", 32, "1 to 100000 bins"),
    ("ivo_hasword(name)", 8, "is called as ivo_hasword(haystack, needle); found 1 argument"),
    ("ivo_hasword(name, 3)", 26, "argument needle"),
    ("ivo_haswords(name, 'x')", 8, "unknown function ivo_haswords; did you mean ivo_hasword"),
    ("ivo_simbadpoint('M31')", 8, "network"),
    ("ivo_interval_has(1, name)", 8, "unknown function"),
    ("ivo_apply_pm(1, 2, 3, 4, 5)", 8, "unknown function"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "column", "reason"), WRONG, ids=[case[0] for case in WRONG])
def test_wrong_call_tells_where_and_why(expression, column, reason) -> None:
    with pytest.raises(QueryError) as caught:
        translate(f"SELECT {expression} FROM survey.stars", TABLES)
    assert (caught.value.line, caught.value.column) == (1, column)
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("ivo_healpix_index(27 + id, ra, dec)", "a HEALPix order is a whole number from 0 to 29, found 30"),
        ("ivo_healpix_index(1, ra, dec + 200)", "no position on the sky"),
        ("ivo_healpix_center(0, id + 9)", "indices from 0 to 11, found 12"),
        ("ivo_epoch_prop_pos(mag, dec, 1, 1, 1, 1, 2000, 2010)", "ra is NULL"),
        ("ivo_epoch_prop_pos(ra, NULL, 1, 1, 1, 1, 2000, 2010)", "dec is NULL"),
        ("ivo_epoch_prop_pos(ra, dec, 1, 1, 1, 1, mag, 2010)", "ref_epoch is NULL"),
        ("ivo_epoch_prop_pos(ra, dec, 1, 1, 1, 1, 2000, mag)", "out_epoch is NULL"),
        ("ivo_to_jd('2020-13-' || '01')", "is no timestamp"),
        ("ivo_to_jd('no' || 'w')", "is no timestamp"),
        ("ivo_normal_random(ra, -1)", "cannot be negative"),
        ("ivo_histogram(ra, 1, 1, 3)", "a lower limit below the upper one"),
        ("ivo_histogram(ra, 1, 2, id)", "same number of bins"),
        ("ACOS(ra)", "ACOS takes a number from -1 to 1, found"),
        ("ASIN(-1.5)", "ASIN takes a number from -1 to 1, found -1.5"),
        ("POWER(0, -1)", "POWER of 0 has no negative exponent"),
        ("MOD(ra, 0.0)", "MOD by zero"),
    ],
)
def test_bad_value_in_the_data_is_told_in_our_own_words(postgres, expression, words) -> None:
    sql = translate(f"SELECT {expression} FROM survey.stars", TABLES).sql
    with pytest.raises(adbc.Error) as caught:
        postgres.rows(sql)
    told = translated(caught.value, time_limit=timedelta(seconds=1), is_late=False)
    assert isinstance(told, QueryError)
    assert words in told.message


DECLARATION = re.compile(r"(\w+)\((\w+ [A-Z ()\d\[\]]+(?:, \w+ [A-Z ()\d\[\]]+)*)\) -> ([A-Z ()\d\[\]]+)")


def test_what_is_declared_is_what_can_be_called() -> None:  # ADQL-63, ADQL-64
    declared = features()[UDF]
    assert set(declared) == {function.declared for function in UDFS}
    for signature in declared:
        form = DECLARATION.fullmatch(signature)
        assert form is not None, signature
        function = next(function for function in UDFS if function.declared == signature)
        assert form[1].upper() == function.name
        assert [argument.split()[0] for argument in form[2].split(", ")] == [p.name for p in function.parameters]


def test_names_that_begin_with_ivo_are_those_of_the_catalogue() -> None:  # ADQL-63
    names = {function.name.lower() for function in UDFS}
    assert {name for name in names if not name.startswith("gw_")} == {
        "ivo_healpix_index", "ivo_healpix_center", "ivo_epoch_prop_pos", "ivo_geom_transform", "ivo_to_jd", "ivo_to_mjd",
        "ivo_string_agg", "ivo_nocasematch", "ivo_hasword", "ivo_hashlist_has", "ivo_histogram", "ivo_normal_random",
        "ivo_interval_overlaps", "ivo_hms_to_degrees", "ivo_dms_to_degrees",
    }  # fmt: skip
