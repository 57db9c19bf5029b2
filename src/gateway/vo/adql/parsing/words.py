"""Words of the language, and what to say about words that are not."""

from __future__ import annotations

FUNCTION_WORDS = frozenset(
    """
    ABS ACOS AREA ASIN ATAN ATAN2 BOX CEILING CENTROID CIRCLE COALESCE CONTAINS COORD1 COORD2 COORDSYS COS COT DEGREES
    DISTANCE EXP FLOOR INTERSECTS IN_UNIT LOG LOG10 LOWER MOD NULLIF PI POINT POLYGON POWER RADIANS RAND REGION ROUND SIN
    SQRT TAN TRUNCATE UPPER
    """.split()
)
"""Reserved words that are names of functions."""

SET_OPERATORS = frozenset({"UNION", "EXCEPT", "INTERSECT"})

QUERY_GOES_ON = SET_OPERATORS | {"ORDER", "OFFSET", ")"}

JOIN_WORDS = frozenset({"NATURAL", "INNER", "LEFT", "RIGHT", "FULL", "JOIN", "CROSS"})

CAST_TYPES = frozenset(
    """
    BIGINT CHAR CHARACTER CIRCLE DOUBLE FLOAT INT INTEGER POINT POLYGON REAL SMALLINT TIMESTAMP VARCHAR
    """.split()
)
"""Words that begin a type."""

OTHER_TYPES = frozenset({"CHARACTER", "FLOAT", "INT"})
"""Types that SQL has and ADQL has not."""

HINTS = {
    "LIMIT": "ADQL has no LIMIT; write SELECT TOP n, and OFFSET n at the end",
    "ESCAPE": "LIKE has no ESCAPE clause in ADQL",
    "INTO": "a query cannot write a table",
    "OVER": "window functions are not supported",
    "FETCH": "write SELECT TOP n instead of FETCH",
    "COLLATE": "COLLATE is not supported",
    "WITH": "WITH may stand only at the very beginning of the query",
    "VALUES": "ADQL has no VALUES; upload a table",
    "FOR": "a query cannot lock rows",
    "ONLY": "ONLY is not supported",
    "MINUS": "ADQL calls it EXCEPT",
    "QUALIFY": "window functions are not supported",
    ";": "give one query at a time",
}
"""What to do about words of other dialects of SQL where they cannot stand."""

VALUE_HINTS = {
    "ALL": "comparisons with ALL are not in ADQL; compare with SELECT MAX(...) or MIN(...), or use NOT EXISTS",
    "ANY": "comparisons with ANY are not in ADQL; use IN or EXISTS",
    "SOME": "comparisons with SOME are not in ADQL; use IN or EXISTS",
    "ON": "SELECT DISTINCT ON is not in ADQL; use GROUP BY",
    "TIMESTAMP": "write CAST('2024-03-01T12:30:00' AS TIMESTAMP)",
    "DATE": "write CAST('2024-03-01' AS TIMESTAMP)",
    "TIME": "write CAST('2024-03-01T12:30:00' AS TIMESTAMP)",
    "INTERVAL": "ADQL has no literals of INTERVAL; compare timestamps, or count in days with MJD",
    **dict.fromkeys(("IN", "LIKE", "ILIKE", "BETWEEN", "IS"), "a value stands before it"),
    "CURRENT_DATE": "write CURRENT_TIMESTAMP",
    "CURRENT_TIME": "write CURRENT_TIMESTAMP",
    "SELECT": "a subquery stands in parentheses",
}
"""What to do about reserved words where a value is expected."""

BEFORE_A_STRING = frozenset({"TIMESTAMP", "DATE", "TIME", "INTERVAL"})
"""Those of them that stand before a string in SQL; elsewhere they are rather meant as names of columns."""

_TIMES = "compare timestamps with <, > and BETWEEN, or count days by ivo_to_mjd(t)"
_TEXTS = "compare strings with LIKE"

FOREIGN_FUNCTIONS = {
    "CEIL": "write CEILING(x)",
    "LN": "write LOG(x), which is the natural logarithm; LOG10(x) is the decimal one",
    "POW": "write POWER(x, y)",
    "SQUARE": "write POWER(x, 2)",
    "TRUNC": "write TRUNCATE(x[, n])",
    "RANDOM": "write RAND()",
    "SIGN": "write CASE WHEN x > 0 THEN 1 WHEN x < 0 THEN -1 ELSE 0 END",
    "GREATEST": "write CASE WHEN x > y THEN x ELSE y END",
    "LEAST": "write CASE WHEN x < y THEN x ELSE y END",
    **dict.fromkeys(("IF", "IIF", "DECODE"), "write CASE WHEN condition THEN x ELSE y END"),
    **dict.fromkeys(("ISNULL", "IFNULL", "NVL"), "write COALESCE(x, y), or x IS NULL"),
    "ISNAN": "write x = CAST('NaN' AS DOUBLE PRECISION)",
    **dict.fromkeys(("STDDEV", "STDDEV_POP", "STDEV", "STD"), "write SQRT(AVG(x * x) - AVG(x) * AVG(x))"),
    **dict.fromkeys(("VARIANCE", "VAR_POP", "VAR"), "write AVG(x * x) - AVG(x) * AVG(x)"),
    "CONCAT": "join strings with ||",
    "STRING_AGG": "write ivo_string_agg(x, ',')",
    "LCASE": "write LOWER(x)",
    "UCASE": "write UPPER(x)",
    **dict.fromkeys(
        ("SUBSTR", "SUBSTRING", "TRIM", "LTRIM", "RTRIM", "LEN", "LENGTH", "CHAR_LENGTH", "REPLACE"), _TEXTS
    ),
    **dict.fromkeys(("CHARACTER_LENGTH", "POSITION", "STRPOS", "CHARINDEX", "INSTR"), _TEXTS),
    **dict.fromkeys(("NOW", "GETDATE", "SYSDATE"), "write CURRENT_TIMESTAMP"),
    **dict.fromkeys(("CONVERT", "TO_CHAR", "TO_NUMBER", "STR"), "write CAST(x AS type)"),
    **dict.fromkeys(("TO_TIMESTAMP", "TO_DATE", "DATETIME"), "write CAST('2024-03-01T12:30:00' AS TIMESTAMP)"),
    **dict.fromkeys(("DATE", "TIME", "TIMESTAMP"), "write CAST('2024-03-01T12:30:00' AS TIMESTAMP)"),
    **dict.fromkeys(("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "EXTRACT"), _TIMES),
    **dict.fromkeys(("DATE_PART", "DATE_TRUNC", "DATEDIFF", "DATEADD", "INTERVAL"), _TIMES),
    **dict.fromkeys(
        ("Q3C_RADIAL_QUERY", "Q3C_JOIN", "CONE_SEARCH"),
        "write DISTANCE(ra, dec, 10, 20) < 0.1, which uses the index of positions",
    ),
    "Q3C_DIST": "write DISTANCE(ra1, dec1, ra2, dec2)",
}
"""Functions of other dialects of SQL, and what to write instead."""

CLAUSE_WORDS = frozenset(
    """
    SELECT FROM WHERE GROUP HAVING ORDER UNION EXCEPT INTERSECT ON USING JOIN AND OR AS BY WHEN THEN ELSE END
    """.split()
)
"""Reserved words that are hardly ever meant as names."""

CLAUSES = (
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "OFFSET",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "JOIN",
    "DISTINCT",
    "AND",
    "BETWEEN",
)
"""Words that are likely to be meant by a misspelt one."""
