"""Which values may be compared with which."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.vo.adql.resolving.problems import Problems
from gateway.vo.adql.types import GEOMETRIES, IS_TRUE, TIMESTAMP, Kind, Typed, comparable, typed

COMPARABLE = frozenset({Kind.NUMBER, Kind.TEXT, Kind.TIMESTAMP, Kind.BOOLEAN, Kind.NULL})

TIMESTAMP_FORM = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}:\d{2})(\.\d+)?)?Z?", re.ASCII)
"""Timestamps as ADQL 2.1, "CAST", has them; a blank instead of T is how many people write them."""

NUMBER_FORM = re.compile(r"\s*[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})([eE][+-]?\d{1,3})?\s*", re.ASCII)
"""Numbers that stand in quotes by mistake."""

TRUTH = {"1": True, "0": False, "true": True, "false": False, "t": True, "f": False}
"""What clients compare boolean columns with."""


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Checks the comparisons of one query."""

    problems: Problems

    def check(self, node: exp.Expr, left_node: exp.Expr, left: Typed, right_node: exp.Expr, right: Typed) -> None:
        """Check that two values can be compared; mend what the extensions allow."""
        self.check_operand(left_node, left, "comparison")
        self.check_operand(right_node, right, "comparison")
        if comparable(left, right):
            return
        for one, other_node, other in ((left, right_node, right), (right, left_node, left)):
            if one.kind is Kind.TIMESTAMP and other.kind is Kind.TEXT and isinstance(other_node, exp.Literal):
                self.problems.extension("TIMESTAMP", other_node)
                self.check_timestamp(other_node)
                other_node.meta["typed"] = typed(TIMESTAMP)
                other_node.meta["timestamp"] = True
                return
            if one.kind is Kind.BOOLEAN and isinstance(other_node, exp.Literal):
                truth = TRUTH.get(other_node.this.lower())
                if truth is not None:
                    self.problems.extension("BOOLEAN", other_node)
                    replacement = exp.Boolean(this=truth)
                    replacement.meta["typed"] = IS_TRUE
                    other_node.replace(replacement)
                    return
        advice = cure(left, right_node, right) or cure(right, left_node, left) or "use CAST"
        self.problems.fail(node, f"a {left.kind} cannot be compared with a {right.kind}; {advice}")

    def check_alike(self, node: exp.Expr, subject: exp.Expr, others: Sequence[exp.Expr]) -> None:
        """Refuse a literal beside values of several types: it can be read as one of them only."""
        if not isinstance(subject, (exp.Literal, exp.Boolean)):
            return
        kinds = {
            other.meta["typed"].kind for other in others if not (isinstance(other, exp.Literal) and other.is_string)
        } - {Kind.NULL}
        if len(kinds) > 1:
            self.problems.fail(node, f"a {' and a '.join(sorted(kinds))} cannot be compared with one value; use CAST")

    def check_operand(self, node: exp.Expr, value: Typed, what: str) -> None:
        """Refuse values that have no order."""
        if value.kind in GEOMETRIES:
            self.problems.fail(node, f"{what}: a {value.kind} cannot be compared; use CONTAINS, INTERSECTS or DISTANCE")
        if value.kind not in COMPARABLE:
            self.problems.fail(node, f"{what}: an array cannot be compared")

    def check_timestamp(self, node: exp.Literal) -> None:
        """Refuse a literal that is no timestamp (DALI 1.1, "Timestamp")."""
        form = TIMESTAMP_FORM.fullmatch(node.this.strip())
        if form is None or not is_instant(f"{form[1]}T{form[2] or '00:00:00'}"):
            self.problems.fail(node, f"{node.this!r} is no timestamp; write it as '2024-03-01T12:30:00'")


def cure(value: Typed, other_node: exp.Expr, other: Typed) -> str | None:
    """Say how to write what a value is compared with; ``None`` if a CAST is all that helps."""
    literal = other_node.this if isinstance(other_node, exp.Literal) else None
    match value.kind, other.kind:
        case Kind.NUMBER, Kind.TEXT if literal is not None:
            if NUMBER_FORM.fullmatch(literal):
                return f"write the number without quotes: {literal.strip()}"
            if TIMESTAMP_FORM.fullmatch(literal):
                return f"if the number is an MJD, write ivo_to_mjd(CAST('{literal}' AS TIMESTAMP))"
        case Kind.TEXT, Kind.NUMBER if literal is not None:
            return f"write it in single quotes: '{literal}'"
        case Kind.TIMESTAMP, Kind.NUMBER:
            return "write the instant as '2024-03-01T12:30:00', or compare ivo_to_mjd(...) with an MJD"
        case Kind.BOOLEAN, Kind.TEXT | Kind.NUMBER:
            return "compare it with TRUE or FALSE"
        case _:
            pass
    return None


def is_instant(text: str) -> bool:
    """Whether an ISO 8601 text names an instant that exists."""
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
