"""Columns of tables that are only registered, as values that ADQL knows.

Columns may have types that no operator of ADQL knows; they are published in the nearest that VOTable has.
"""

from __future__ import annotations

import re

from sqlglot import exp

from gateway.vo.adql.nodes import clone
from gateway.vo.adql.types import base_sql, cast, stored_sql
from gateway.vo.tableset import Table

WIDE = "numeric without bounds"
"""Stands for the type of a numeric that may be beyond the range of a double."""


def published_value(node: exp.Expr) -> exp.Expr:
    """Value of a resolved column as it is published."""
    table: Table | None = getattr(node.meta.get("source"), "table", None)
    wanted = odd_columns(table).get(node.meta["column"]) if table is not None else None
    if wanted is None:
        return node
    sql_type, wanted_sql = wanted
    if sql_type == WIDE:
        # Conditions compare the number as it is, through an index where there is one.
        return _as_double(node) if isinstance(node.parent, exp.Alias | exp.Select) else node
    if wanted_sql.endswith("[]"):
        # Its elements count from 1 in a slice, wherever they did in the table; the driver refuses any other.
        node = exp.Bracket(this=node, expressions=[exp.Slice()])
        return node if sql_type == wanted_sql else cast(node, wanted_sql)
    if sql_type == "interval" and wanted_sql == "double precision":
        # seconds; PostgreSQL has no cast
        node = exp.Extract(this=exp.Var(this="EPOCH"), expression=node)
    return cast(node, wanted_sql)


def _as_double(node: exp.Expr) -> exp.Expr:
    """Value of a numeric as IEEE 754 rounds it: beyond the range of a double PostgreSQL's own cast is an error."""
    size = exp.Anonymous(this="abs", expressions=[clone(node)])

    def double(text: str) -> exp.Expr:
        return cast(exp.Literal.string(text), "double precision")

    bounds = {"low": exp.Literal.number("1e-307"), "high": exp.Literal.number("1.797e308")}
    cases = (
        (exp.Between(this=size, **bounds), cast(node, "double precision")),
        (exp.LT(this=clone(size), expression=exp.Literal.number("1")), double("0")),
        (exp.EQ(this=clone(node), expression=cast(exp.Literal.string("NaN"), "numeric")), double("NaN")),
        (exp.GT(this=clone(node), expression=exp.Literal.number("0")), double("Infinity")),
        (exp.LT(this=clone(node), expression=exp.Literal.number("0")), double("-Infinity")),
    )
    return exp.Case(ifs=[exp.If(this=condition, true=value) for condition, value in cases])


def _is_wide(sql_type: str) -> bool:
    """Whether a type is a numeric that can hold what a double cannot."""
    digits = re.fullmatch(r"numeric(?:\((\d+),(-?\d+)\))?", sql_type)
    return digits is not None and (digits[1] is None or int(digits[1]) + abs(int(digits[2])) > 300)


def odd_columns(table: Table) -> dict[str, tuple[str, str]]:
    """Give stored and published type of the columns that are not published just as they are."""
    kept: dict[str, tuple[str, str]] | None = table.__dict__.get("_adql_odd_columns")
    if kept is None:
        kept = {}
        # What we loaded with a HEALPix index, and shapes, have arrays that count from 1.
        is_ours = table.sky is not None and table.sky.healpix is not None
        for column in table.columns:
            sql, is_odd = stored_sql(column.sql_type, column.field.type)
            if _is_wide(column.sql_type):
                kept[column.physical] = WIDE, "double precision"
            elif is_odd or (sql.endswith("[]") and column.field.type.xtype is None and not is_ours):
                kept[column.physical] = base_sql(column.sql_type), sql
        table.__dict__["_adql_odd_columns"] = kept
    return kept
