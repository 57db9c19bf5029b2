"""What is accepted beyond ADQL 2.1: one table, declared in the capabilities and refused when strict."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extension:
    """Something outside the standard that is accepted unless the query must be strict."""

    form: str
    """Short name, as capabilities declare it."""
    description: str

    @property
    def refusal(self) -> str:
        """Message for a query that must be strict."""
        return f"{self.form} is an extension of this service, not ADQL 2.1: {self.description}"


EXTENSIONS: dict[str, Extension] = {
    extension.form: extension
    for extension in (
        Extension("CASE", "CASE WHEN condition THEN value ... [ELSE value] END, and CASE value WHEN value THEN ..."),
        Extension("NULLIF", "NULLIF(a, b) is NULL where a = b, else a"),
        Extension(
            "*, x", "* among other items of a select list, as in SELECT *, x + y AS z; the standard has t.* for that"
        ),
        Extension("CROSS JOIN", "every row of one table with every row of the other"),
        Extension("SCALAR SUBQUERY", "a subquery of one column and at most one row as a value"),
        Extension("IS NULL", "IS [NOT] NULL of any expression; the standard has it for columns only"),
        Extension(
            "BOOLEAN", "TRUE and FALSE as values, boolean columns as conditions or compared with 0, 1, 'true', 'false'"
        ),
        Extension("GROUP BY", "names of the select list in GROUP BY"),
        Extension("TIMESTAMP", "a string literal beside a timestamp is read as a timestamp"),
        Extension("%", "x % y is MOD(x, y), as an example of the standard has it"),
        Extension("CAST TYPES", "CHARACTER [VARYING], FLOAT and INT as types to cast to"),
        Extension("CURRENT_TIMESTAMP", "the instant at which the query began, in UTC"),
        Extension(
            "MOC", "MOC(order, geometry) and MOC('order/cells ...') are coverage maps for CONTAINS and INTERSECTS"
        ),
        Extension("SEMICOLON", "one semicolon after the query"),
    )
}
"""All extensions by their short name."""
