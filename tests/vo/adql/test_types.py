"""CAST, timestamps, strings and conditionals on PostgreSQL, judged by Python (ADQL-26, 29, 45 to 47, 65, 69 to 71)."""

import datetime as dt
import itertools
import operator

import numpy as np
import pytest

from gateway.errors import QueryError
from gateway.vo.adql import translate
from gateway.vo.tableset import Datatype, VOType
from tests.vo.adql.tables import TABLES

D = Datatype


def one(postgres, expression: str) -> object:
    return postgres.rows(translate(f"SELECT TOP 1 {expression} AS v FROM galaxies ORDER BY gid", TABLES).sql)[0][0]


NUMBERS = [0.0, 1.4, -1.4, 2.6, -7.0, 12345.678, 30000.0]
TARGETS = {
    "SMALLINT": (D.SHORT, np.int16), "INTEGER": (D.INT, np.int32), "BIGINT": (D.LONG, np.int64), "REAL": (D.FLOAT, np.float32),
    "DOUBLE PRECISION": (D.DOUBLE, np.float64), "double  precision": (D.DOUBLE, np.float64), "integer": (D.INT, np.int32),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("value", NUMBERS)
def test_a_number_becomes_every_type_of_number(postgres, target, value) -> None:
    """ADQL-69."""
    datatype, numpy_type = TARGETS[target]
    expected = numpy_type(np.rint(value)) if issubclass(numpy_type, np.integer) else numpy_type(value)
    assert one(postgres, f"CAST({value!r} AS {target})") == expected
    assert translate(f"SELECT CAST({value!r} AS {target}) AS v FROM galaxies", TABLES).fields[0].type == VOType(
        datatype
    )


@pytest.mark.parametrize("target", [name for name in TARGETS if name.upper() == name])
@pytest.mark.parametrize("text", ["12", " -7 ", "0"])
def test_a_string_becomes_every_type_of_number(postgres, target, text) -> None:
    """ADQL-69."""
    assert one(postgres, f"CAST('{text}' AS {target})") == float(text)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("CAST(12 AS VARCHAR)", "12"), ("CAST(1.5 AS CHAR)", "1.5"), ("CAST('abc' AS VARCHAR(2))", "ab"), ("CAST('abc' AS CHAR(2))", "ab"),
        ("CAST('abc' AS VARCHAR(9))", "abc"), ("CAST('äöü' AS VARCHAR(2))", "äö"), ("CAST(-3 AS VARCHAR(5))", "-3"), ("CAST(1e3 AS CHAR(4))", "1000"),
        ("CAST(CAST('2024-03-01' AS TIMESTAMP) AS VARCHAR(10))", "2024-03-01"), ("CAST(NULL AS VARCHAR(3))", None),
    ],
)  # fmt: skip
def test_anything_becomes_a_string_cut_to_its_length(postgres, expression, text) -> None:
    """ADQL-69."""
    assert one(postgres, expression) == text
    arraysize = translate(f"SELECT {expression} AS v FROM galaxies", TABLES).fields[0].type.arraysize
    assert arraysize == "*" or len(text or "") <= int(arraysize.rstrip("*"))


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-01",
        "2024-03-01T12:30:15",
        "2024-03-01T12:30:15Z",
        "2024-03-01T12:30:15.123",
        "2024-03-01T12:30:15.123456Z",
        "2000-02-29",
        "1700-01-01T00:00:00",
        "0001-01-01",
        "9999-12-31T23:59:59.999",
    ],
)
def test_every_form_of_a_timestamp_is_read_from_literals_and_from_columns(postgres, text) -> None:
    """ADQL-70."""
    expected = dt.datetime.fromisoformat(text.rstrip("Z"))
    assert one(postgres, f"CAST('{text}' AS TIMESTAMP)") == expected
    assert one(postgres, f"CAST('{text[:4]}' || '{text[4:]}' AS TIMESTAMP)") == expected


@pytest.mark.parametrize(
    "text",
    [
        "2024-13-01",
        "2023-02-29",
        "2024-3-1",
        "2024-03-01T25:00:00",
        "2024-03-01 12",
        "12:30:00",
        "now",
        "infinity",
        "",
        "2024-03-01T12:30:00+01:00",
    ],
)
def test_what_is_no_timestamp_is_refused(text) -> None:
    """ADQL-70."""
    with pytest.raises(QueryError, match="is no timestamp"):
        translate(f"SELECT CAST('{text}' AS TIMESTAMP) AS v FROM galaxies", TABLES)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("CAST(5 AS TIMESTAMP)", "CAST to TIMESTAMP takes a string or timestamp, found a number"),
        ("CAST(POINT(1, 2) AS INTEGER)", "CAST to INTEGER takes a number or string, found a point"),
        ("CAST(5 AS POINT)", "CAST to POINT takes a string, found a number"),
        ("CAST(CAST('2024-03-01' AS TIMESTAMP) AS REAL)", "found a timestamp"),
        ("CAST('1 2' AS CIRCLE)", "expected three numbers in degrees"),
        ("CAST('1 2 3 4 5' AS POLYGON)", "at least six numbers"),
        ("CAST(5 AS CLOB)", "expected a type"), ("CAST(5 AS BLOB)", "expected a type"), ("CAST(5 AS INTERVAL)", "expected a type"),
        ("CAST(5 AS VARBINARY(3))", "expected a type"), ("CAST(5 AS DECIMAL(3, 1))", "expected a type"), ("CAST(5 INTEGER)", "AS and a type"),
    ],
)  # fmt: skip
def test_what_cannot_be_cast_is_told(expression, message) -> None:
    """ADQL-69, ADQL-70."""
    with pytest.raises(QueryError, match=message):
        translate(f"SELECT {expression} AS v FROM galaxies", TABLES)


@pytest.mark.parametrize(
    ("text", "word", "numbers"),
    [
        ("12.3 45.6", "POINT", [12.3, 45.6]),
        ("1 2 0.5", "CIRCLE", [1, 2, 0.5]),
        ("1 2 3 4 5 0", "POLYGON", [1, 2, 3, 4, 5, 0]),
    ],
)
def test_a_string_becomes_a_shape(postgres, text, word, numbers) -> None:
    """ADQL-69."""
    assert one(postgres, f"CAST('{text}' AS {word})") == numbers
    assert one(postgres, f"CAST('{text}' || '' AS {word})") == numbers
    assert translate(f"SELECT CAST('{text}' AS {word}) AS v FROM galaxies", TABLES).fields[0].type.xtype == word.lower()


INSTANTS = [
    "2019-12-31T23:59:59.999",
    "2020-01-01T12:00:00",
    "2020-01-01T12:00:00.001",
    "2021-06-01",
    "2021-06-01T00:00:01Z",
]
STORED = {n: dt.datetime.fromisoformat(text) for n, text in ((1, "2020-01-01T12:00:00"), (2, "2021-06-01"))}
OPERATORS = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("instant", INSTANTS)
def test_timestamps_compare_in_time(postgres, symbol, instant) -> None:
    """ADQL-46: beside a CAST, and beside a string, which is an extension."""
    at = dt.datetime.fromisoformat(instant.rstrip("Z"))
    expected = [n for n, stored in STORED.items() if OPERATORS[symbol](stored, at)]
    for other in (f"CAST('{instant}' AS TIMESTAMP)", f"'{instant}'"):
        query = f"SELECT id FROM survey.stars WHERE seen {symbol} {other} ORDER BY id"
        assert [n for (n,) in postgres.rows(translate(query, TABLES).sql)] == expected


@pytest.mark.parametrize(("low", "high"), list(itertools.product(INSTANTS, INSTANTS)))
def test_between_is_in_time(postgres, low, high) -> None:
    """ADQL-46."""
    query = f"SELECT id FROM survey.stars WHERE seen BETWEEN CAST('{low}' AS TIMESTAMP) AND CAST('{high}' AS TIMESTAMP) ORDER BY id"
    ends = [dt.datetime.fromisoformat(end.rstrip("Z")) for end in (low, high)]
    expected = [n for n, stored in STORED.items() if ends[0] <= stored <= ends[1]]
    assert [n for (n,) in postgres.rows(translate(query, TABLES, strict=True).sql)] == expected


@pytest.mark.parametrize(
    "condition",
    [
        "spectrum = spectrum",
        "spectrum > 1",
        "spectrum IN (1)",
        "spectrum LIKE 'a'",
        "spectrum + 1 = 2",
        "seen + 1 > seen",
        "seen LIKE '2020%'",
    ],
)
def test_what_has_no_operators_is_refused(condition) -> None:
    """ADQL-47, and arithmetic with timestamps, which ADQL has not."""
    with pytest.raises(QueryError):
        translate(f"SELECT id FROM survey.stars WHERE {condition}", TABLES)


WORDS = ["Francis", "fran", "100%", "a_b", "", "MiXeD 123", "NGC 224", "z'Z"]


@pytest.mark.parametrize("word", WORDS)
def test_case_is_folded_as_python_folds_it(postgres, word) -> None:
    """ADQL-65."""
    doubled = word.replace("'", "''")
    assert one(postgres, f"UPPER('{doubled}')") == word.upper()
    assert one(postgres, f"LOWER('{doubled}')") == word.lower()


def test_letters_beyond_ascii_fold_as_the_database_does(postgres) -> None:
    """ADQL-65: Unicode is a SHOULD, and belongs to the locale of the database; never are such letters lost."""
    folds = postgres.rows("SELECT upper('ä')")[0][0] == "Ä"
    assert one(postgres, "UPPER('xäöü')") == ("XÄÖÜ" if folds else "Xäöü")


def like(text: str, pattern: str) -> bool:
    """LIKE by brute force."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(text[n:], pattern[1:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in {"_", text[0]} and like(text[1:], pattern[1:])


PATTERNS = ["fran%", "FRAN%", "%a%", "_ran_is", "a_b", "a\\_b", "100%", "100\\%", "%", "", "ä%", "\\", "%\\%"]
TEXTS = ["Francis", "FRANCIS", "a_b", "axb", "a\\xb", "100%", "100\\%", "1000", "", "äpfel", "\\"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_like_and_ilike_are_what_brute_force_says(postgres, pattern) -> None:
    """ADQL-26, ADQL-65: a backslash is a character like any other, for there is no ESCAPE."""
    tests = [f"SELECT TOP 1 {n} AS n FROM galaxies WHERE '{t}' {{0}} '{pattern}'" for n, t in enumerate(TEXTS)]
    for word, fold in (("LIKE", str), ("ILIKE", str.lower)):
        expected = {n for n, text in enumerate(TEXTS) if like(fold(text), fold(pattern))}
        for no, wanted in (("", expected), ("NOT ", set(range(len(TEXTS))) - expected)):
            query = " UNION ALL ".join(test.format(no + word) for test in tests)
            assert {n for (n,) in postgres.rows(translate(query, TABLES).sql)} == wanted


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("COALESCE(1)", 1), ("COALESCE(NULL, 2, 3)", 2), ("COALESCE(NULL, NULL, 'x')", "x"), ("COALESCE(NULL, 1.5)", 1.5), ("COALESCE(1, 2.5)", 1.0),
        ("COALESCE(NULLIF(gid, 1), -1)", -1), ("NULLIF('a', 'b')", "a"), ("NULLIF(2, 2.0)", None), ("CASE WHEN gid > 1 THEN 'b' WHEN gid = 1 THEN 'a' END", "a"),
        ("CASE gid WHEN 2 THEN 'b' ELSE 'c' END", "c"), ("CASE gid WHEN 5 THEN 1 END", None), ("CASE WHEN NULL = 1 THEN 1 ELSE 2 END", 2), ("'a' || 'b' || ''", "ab"),
        ("'a' || NULL", None), ("7 % 4", 3), ("-7 % 4 + 1", -2), ("2 * 7 % 4", 2), ("7 / 2", 3), ("-7 / 2", -3), ("7 / 2.0", 3.5), ("1.0 / 4", 0.25), ("2 + 3 * 4 - 6 / 3", 12), ("-(2 + 3) * 2", -10), ("10 - 4 - 3", 3), ("100 / 5 / 2", 10),
    ],
)  # fmt: skip
def test_values_are_the_plain_ones(postgres, expression, value) -> None:
    """ADQL-71, and CASE and NULLIF, which are extensions; `/` of whole numbers is whole (SQL-92)."""
    assert one(postgres, expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "COALESCE(1, 'a')",
        "COALESCE()",
        "CASE WHEN 1 = 1 THEN 1 ELSE 'a' END",
        "NULLIF(1, 'a')",
        "NULLIF(1)",
        "COALESCE(POINT(1, 2), 3)",
    ],
)
def test_values_of_different_types_are_refused(expression) -> None:
    """ADQL-71."""
    with pytest.raises(QueryError):
        translate(f"SELECT {expression} AS v FROM galaxies", TABLES)


NOT_ADQL = [
    "SELECT gid FROM galaxies WHERE gid % 2 = 1", "SELECT RANK() OVER (ORDER BY gid) FROM galaxies", "SELECT gid FROM galaxies WHERE gid",
    "SELECT gid FROM galaxies WHERE TRUE", "SELECT gid = 1 AS x FROM galaxies", "SELECT (SELECT MAX(gid) FROM galaxies) AS m FROM galaxies",
    "SELECT CASE WHEN gid = 1 THEN 1 END AS x FROM galaxies", "SELECT gid FROM galaxies LIMIT 1", "SELECT gid::int FROM galaxies",
    "SELECT gid INTO x FROM galaxies", "SELECT gid, FROM galaxies", "SELECT gid FROM galaxies,", "SELECT gid FROM galaxies CROSS JOIN regions",
    "SELECT gid FROM galaxies UNION JOIN regions", "SELECT gid FROM galaxies WHERE gid & 1 = 1", "SELECT gid FROM galaxies FOR UPDATE",
    "SELECT gid FROM galaxies WHERE name SIMILAR TO 'a'", "SELECT gid FROM galaxies WHERE name ~ 'a'", "SELECT ARRAY[1] FROM galaxies", "VALUES (1)",
    "SELECT gid FROM galaxies TABLESAMPLE SYSTEM (1)", "SELECT gid FROM LATERAL (SELECT 1 FROM galaxies) AS q", "TABLE galaxies", "EXPLAIN SELECT gid FROM galaxies",
]  # fmt: skip


@pytest.mark.parametrize("query", NOT_ADQL)
def test_what_is_not_in_the_standard_is_refused_when_strict(query) -> None:
    """ADQL-25, ADQL-27, ADQL-29, ADQL-31, ADQL-32: and never silently dropped."""
    with pytest.raises(QueryError):
        translate(query, TABLES, strict=True)
