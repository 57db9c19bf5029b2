"""Print a tree as PostgreSQL's SQL, by sqlglot's own generator, with every identifier in quotes."""

from __future__ import annotations

from sqlglot import Dialect, exp

_POSTGRES = Dialect.get_or_raise("postgres")


def print_sql(query: exp.Expr) -> str:
    """Print a query on one line. The tree may be changed."""
    return _POSTGRES.generator(identify=True, comments=False).generate(query, copy=False)
