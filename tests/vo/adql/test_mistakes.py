"""The mistakes that astronomers really make: each answer tells the place and what to write instead (ADQL-33)."""

import pytest

from gateway.errors import QueryError
from gateway.vo.adql import parse, translate, translate_unresolved
from gateway.vo.adql.functions import allowed
from gateway.vo.adql.parsing.words import FOREIGN_FUNCTIONS
from gateway.vo.tableset import RESERVED_WORDS
from tests.vo.adql.archive import ARCHIVE

GAIA = "FROM gaiadr3.gaia_source"

# (query, line, column, what the message says)
MISTAKES = [
    # characters of word processors and of other languages
    (f"SELECT ra {GAIA} WHERE phot_variable_flag = \u2018VARIABLE\u2019", 1, 63, "straight single quotes, as in 'text'"),
    (f"SELECT \u201cra\u201d {GAIA}", 1, 8, 'straight double quotes, as in "name"'),
    (f"SELECT ra\u00a0{GAIA}", 1, 10, "replace this special blank"),
    (f"\ufeffSELECT ra {GAIA}", 1, 1, "remove this invisible character"),
    (f"SELECT ra {GAIA} WHERE dec > \u22125", 1, 48, "the minus sign of the keyboard"),
    (f"SELECT ra {GAIA} WHERE dec \u2264 5", 1, 46, "write <="),
    (f"SELECT ra {GAIA} WHERE ra > 1 && dec > 2", 1, 49, "write AND between conditions"),
    (f"SELECT ra {GAIA} WHERE ra > 1 || dec > 2", 1, 56, "write OR; || joins strings"),
    (f"SELECT ra # right ascension\n{GAIA}", 1, 11, "comments begin with --"),
    (f"SELECT [ra] {GAIA}", 1, 8, "names stand in double quotes"),
    (f"SELECT ra {GAIA} WHERE ra = ?", 1, 47, "no parameters; write the value"),
    (f"SELECT ra {GAIA} WHERE 1=CONTAINS(POINT(ra, dec), CIRCLE(01:23:45, -12:34:56, 3))", 1, 78, "ivo_hms_to_degrees('01:23:45')"),
    (f"SELECT ra {GAIA} WHERE 1=CONTAINS(POINT(ra, dec), CIRCLE('01h23m45', '-12d', 3))", 1, 76, "ivo_hms_to_degrees('...')"),
    # operators
    (f"SELECT ra {GAIA} WHERE ra => 1", 1, 46, "write >="),
    (f"SELECT ra {GAIA} WHERE ra =< 1", 1, 46, "write <="),
    (f"SELECT ra {GAIA} WHERE ra > = 1", 1, 47, "write >= without a blank"),
    (f"SELECT ra {GAIA} WHERE ra ** 2 > 4", 1, 46, "write POWER(x, y)"),
    (f"SELECT ra {GAIA} WHERE 1 < ra < 2", 1, 49, "compare twice, as in 1 < x AND x < 2"),
    (f"SELECT ra {GAIA} WHERE dec NOT NULL", 1, 50, "write IS NOT NULL"),
    (f"SELECT ra {GAIA} WHERE NOT IN (1, 2)", 1, 46, "found IN; a value stands before it"),
    (f"SELECT ra {GAIA} WHERE ra NOT EXISTS (SELECT 1 {GAIA})", 1, 49, "NOT EXISTS stands without a value"),
    (f"SELECT 'Gaia ' + source_id {GAIA}", 1, 8, "join strings with ||"),
    (f"SELECT 'Gaia ' || source_id {GAIA}", 1, 19, "found a number; use CAST(... AS VARCHAR)"),
    # clauses
    (f"SELECT TOP (10) ra {GAIA}", 1, 12, "write it without parentheses"),
    (f"SELECT ra WHERE ra > 5 {GAIA}", 1, 11, "clauses come in the order SELECT, FROM, WHERE"),
    (f"SELECT ra {GAIA} ORDER BY ra WHERE ra > 5", 1, 48, "clauses come in the order SELECT, FROM, WHERE"),
    (f"SELECT ra {GAIA} ORDER BY ra UNION SELECT ra {GAIA}", 1, 48, "stands in parentheses before UNION"),
    ("SELECT ra FROM WHERE ra > 5", 1, 16, "expected a table's name, found WHERE"),
    (f"SELECT ra {GAIA} WHERE ra > 5\n ANDD dec > 3", 2, 2, "did you mean AND instead of ANDD?"),
    (f"SELECT row_number() OVER (ORDER BY ra) {GAIA}", 1, 26, "window functions are not supported"),
    # parentheses
    (f"SELECT (ra + dec {GAIA}", 1, 18, "the '(' in line 1, column 8 has no ')'"),
    (f"SELECT ra {GAIA} WHERE (ra > 5 AND (dec < 3)", 1, 63, "the '(' in line 1, column 42 has no ')'"),
    (f"SELECT ra {GAIA} WHERE ra > 5) AND dec < 3", 1, 48, "there is no '(' for it"),
    (f"SELECT DISTANCE(POINT(ra,dec), POINT(1,2) < 3 {GAIA}", 1, 32, "the '(' in line 1, column 16 has no ')'"),
    # names
    (f'SELECT ra {GAIA} WHERE phot_variable_flag = "VARIABLE"', 1, 63, "or the string 'VARIABLE'?"),
    (f'SELECT ra {GAIA} WHERE phot_variable_flag = "Cepheid"', 1, 63, "strings stand in single quotes: 'Cepheid'"),
    (f"SELECT ra {GAIA} WHERE mag < 5", 1, 42, "did you mean phot_g_mean_mag?"),
    (f"SELECT parralax {GAIA}", 1, 8, "did you mean parallax?"),
    (f"SELECT qqq {GAIA}", 1, 8, "unknown column qqq; TAP_SCHEMA.columns lists what there is"),
    (f"SELECT g.z {GAIA} AS g JOIN sdss.SpecObj AS s ON s.bestObjID = g.source_id", 1, 8, "g has no column z; did you mean s.z?"),
    ('SELECT B-V FROM vizier."I/239/hip_main"', 1, 8, 'did you mean "B-V"?'),
    ("SELECT HIP FROM vizier.I/239/hip_main", 1, 25, "names with other characters"),
    ('SELECT ra FROM "gaiadr3.gaia_source"', 1, 16, "Each part of a name has quotes of its own"),
    ("SELECT ra FROM 'gaiadr3.gaia_source'", 1, 16, "found the string 'gaiadr3.gaia_source'; names stand without quotes"),
    ("SELECT ra FROM gaiadr3..gaia_source", 1, 24, "write schema.table"),
    (f"SELECT ra {GAIA} WHERE CONTAINS(POINT(ICRS, ra, dec), CIRCLE('ICRS', 5, 6, 1)) = 1", 1, 57, "in single quotes: 'ICRS'"),
    (f"SELECT ra {GAIA} WHERE 1=CONTAINS(POINT('GALACTIC', 5, 6), CIRCLE(5, 6, 1))", 1, 59, "ivo_geom_transform('GALACTIC', 'ICRS'"),
    (f"SELECT ra {GAIA} WHERE parallax = NaN", 1, 53, "write CAST('NaN' AS DOUBLE PRECISION)"),
    (f"SELECT date {GAIA}", 1, 8, 'if it is a name, write it in double quotes: "date"'),
    # types
    (f"SELECT ra {GAIA} WHERE ra > '10.5'", 1, 42, "write the number without quotes: 10.5"),
    (f"SELECT ra {GAIA} WHERE phot_variable_flag = 1", 1, 42, "write it in single quotes: '1'"),
    ("SELECT obs_id FROM ivoa.ObsCore WHERE obs_release_date > 2020-01-01", 1, 39, "write the instant as '2024-03-01T12:30:00'"),
    ("SELECT obs_id FROM ivoa.ObsCore WHERE t_min > '2020-01-01'", 1, 39, "write ivo_to_mjd(CAST('2020-01-01' AS TIMESTAMP))"),
    (f"SELECT ra {GAIA} WHERE has_xp_continuous = 'maybe'", 1, 42, "compare it with TRUE or FALSE"),
    # aggregates and functions
    (f"SELECT ra {GAIA} WHERE ra > AVG(ra)", 1, 47, "use HAVING, or a subquery"),
    (f"SELECT POWER(ra) {GAIA}", 1, 8, "POWER is called as POWER(x, y); found 1 argument"),
    (f"SELECT ra {GAIA} WHERE ivo_hasword(phot_variable_flag, 'x')", 1, 42, "compare the function: 1 = ivo_hasword(...)"),
    (f"SELECT ra {GAIA} WHERE isnan(parallax)", 1, 42, "write x = CAST('NaN' AS DOUBLE PRECISION)"),
    (f"SELECT IIF(ra > 1, 1, 0) {GAIA}", 1, 8, "write CASE WHEN"),
    ("SELECT obs_id FROM ivoa.ObsCore WHERE YEAR(obs_release_date) = 2020", 1, 39, "compare timestamps with"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "line", "column", "message"), MISTAKES, ids=[ascii(case[0]) for case in MISTAKES])
def test_a_mistake_is_told_with_its_place_and_its_cure(query, line, column, message) -> None:
    with pytest.raises(QueryError) as caught:
        translate(query, ARCHIVE)
    assert message in caught.value.reason
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize("name", FOREIGN_FUNCTIONS)
def test_a_function_of_another_dialect_is_refused_with_what_adql_has(name) -> None:
    for refuse in (parse, translate_unresolved):
        with pytest.raises(QueryError, match="ADQL has no function") as caught:
            refuse(f"SELECT {name.lower()}(ra) AS x FROM t")
        assert (caught.value.line, caught.value.column) == (1, 8)


def test_no_function_of_ours_is_taken_for_one_of_another_dialect() -> None:
    assert not {name.upper() for name in allowed.names()} & set(FOREIGN_FUNCTIONS)


def test_a_column_may_be_called_as_a_function_of_another_dialect() -> None:
    for name in set(FOREIGN_FUNCTIONS) - RESERVED_WORDS:
        parse(f"SELECT {name} FROM t WHERE {name} > 1 ORDER BY {name}")
