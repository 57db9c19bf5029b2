"""What is accepted beyond ADQL 2.1: one table, declared in the capabilities and refused when strict."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extension:
    """Something outside the standard that is accepted unless the query must be strict."""

    form: str
    """Short name, as capabilities declare it."""
    description: str


EXTENSIONS: dict[str, Extension] = {
    extension.form: extension
    for extension in (
        Extension("CASE", "CASE WHEN condition THEN value ... [ELSE value] END, and CASE value WHEN value THEN ..."),
        Extension("NULLIF", "NULLIF(a, b) is NULL where a = b, else a"),
        Extension("CROSS JOIN", "every row of one table with every row of the other"),
        Extension("SCALAR SUBQUERY", "a subquery of one column and at most one row as a value"),
        Extension("IS NULL", "IS [NOT] NULL of any expression; the standard has it for columns only"),
        Extension(
            "BOOLEAN", "TRUE and FALSE as values, boolean columns as conditions or compared with 0, 1, 'true', 'false'"
        ),
        Extension("GROUP BY", "names of the select list in GROUP BY"),
        Extension("TIMESTAMP", "a string literal beside a timestamp is read as a timestamp"),
        Extension("SEMICOLON", "one semicolon after the query"),
    )
}
"""All extensions by their short name."""
