"""ADQL 2.1 in, PostgreSQL out.

`translate` parses, resolves names against a tableset, infers types, lowers geometry and functions, and prints. Nothing of
a query's text reaches PostgreSQL except as names of published columns, numbers, and quoted strings.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from gateway.vo.adql.functions.allowed import features
from gateway.vo.adql.growth import Growth
from gateway.vo.adql.lowering.queries import Lowerer, RegionIndex
from gateway.vo.adql.parsing.lexer import Source
from gateway.vo.adql.parsing.parser import parse_tokens
from gateway.vo.adql.postgres import print_sql
from gateway.vo.adql.resolving.outputs import canonical_types, force_types
from gateway.vo.adql.resolving.problems import Problems
from gateway.vo.adql.resolving.queries import Resolver
from gateway.vo.adql.resolving.unresolved import check_functions
from gateway.vo.tableset import Field, Table, Tableset

__all__ = ["RegionIndex", "Translation", "features", "parse", "translate", "translate_tree", "translate_unresolved"]


@dataclass(frozen=True)
class Translation:
    """A query as PostgreSQL runs it, and what its result will be."""

    sql: str
    """One statement. Its columns come in the order of `fields`, in the canonical types; their names mean nothing."""
    fields: tuple[Field, ...]
    """Columns of the result."""
    tables: tuple[Table, ...]
    """Published tables that are read."""
    maxrec: int | None
    """Row limit that the result can overflow: the statement gives one row more. ``None``: it cannot overflow."""


def parse(text: str, *, strict: bool = False) -> exp.Query:
    """Parse a query into stock sqlglot nodes, names as written.

    Parameters
    ----------
    text
        ADQL 2.1.
    strict
        Refuse what is not in the standard.

    Raises
    ------
    QueryError
        With line and column, what was found and what was expected.
    """
    return parse_tokens(Source(text), strict=strict)


def translate(
    text: str, tableset: Tableset, *, index: RegionIndex | None = None, maxrec: int | None = None, strict: bool = False
) -> Translation:
    """Translate a query for the tables that a caller may see.

    Parameters
    ----------
    text
        ADQL 2.1.
    tableset
        Tables that may be named; uploads are a schema ``TAP_UPLOAD`` in it.
    index
        Covers constant regions by HEALPix ranges; without it they are tested row by row.
    maxrec
        Greatest number of rows wanted; one more is asked for, to know of an overflow.
    strict
        Refuse what is not in the standard.

    Raises
    ------
    QueryError
        The query is wrong, with line and column, or uses what is not supported.
    """
    source = Source(text)
    return _translated(source, parse_tokens(source, strict=strict), tableset, index, maxrec, strict=strict)


def translate_tree(
    query: exp.Query, tableset: Tableset, *, index: RegionIndex | None = None, maxrec: int | None = None
) -> Translation:
    """Translate a query that `build` made; it is changed on the way.

    Raises
    ------
    QueryError
        A table or column of it is not published.
    """
    return _translated(Source(""), query, tableset, index, maxrec, strict=False)


def _translated(
    source: Source, query: exp.Query, tableset: Tableset, index: RegionIndex | None, maxrec: int | None, *, strict: bool
) -> Translation:
    resolved = Resolver(source, tableset, strict=strict).whole_query(query)
    force_types(query, canonical_types(resolved.outputs))
    Lowerer(source, index).query(query)
    if source.text.upper().count("SELECT") > 1:  # one alone has nothing to grow from
        Growth(source).query(query, {})
    overflow = limit_rows(query, maxrec)
    fields = tuple(output.typed.field for output in resolved.outputs)
    return Translation(print_sql(query), fields, tuple(resolved.tables), overflow)


def limit_rows(query: exp.Query, maxrec: int | None) -> int | None:
    """Let a query give at most ``maxrec`` rows and one more; tell the limit that can overflow."""
    if maxrec is None:
        return None
    limit = query.args.get("limit")
    top = int(limit.expression.this) if limit is not None else None
    if top is not None and top <= maxrec:
        return None
    query.set("limit", exp.Limit(expression=exp.Literal.number(maxrec + 1)))
    return maxrec


def translate_unresolved(text: str, *, strict: bool = False) -> str:
    """Translate a query without knowing any table: names and calls of functions stay as written.

    Raises
    ------
    QueryError
        The text is not a query of ADQL, or calls a function that there is not.
    """
    source = Source(text)
    query = parse_tokens(source, strict=strict)
    check_functions(Problems(source, strict), query)
    return print_sql(query)
