"""Queries that the fuzzer found: right or refused, but once they ended in a fault of the database."""

import pytest

from gateway.errors import QueryError
from gateway.vo.adql import translate
from tests.vo.adql.tables import TABLES, FixedIndex


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT gid AS a FROM galaxies ORDER BY TRUE, gid", [(1,), (2,)]),
        ("SELECT gid AS a FROM galaxies ORDER BY (1e308), gid", [(1,), (2,)]),
        ("SELECT gid AS a FROM galaxies ORDER BY - 1, gid", [(1,), (2,)]),
        # in parentheses it is a number and no position, so that it orders nothing
        ("SELECT TOP 2 0 - gid AS a, gid AS b FROM galaxies ORDER BY (1), b", [(-1, 1), (-2, 2)]),
        ("SELECT TOP 2 gid FROM galaxies ORDER BY (99999999999), gid", [(1,), (2,)]),
        ("SELECT COUNT(*) AS n FROM galaxies GROUP BY TRUE", [(2,)]),
        (
            "SELECT - NULL AS a, - NULL + 1 AS b, COALESCE(- NULL, 'x') AS c FROM galaxies WHERE gid = 1",
            [(None, None, "x")],
        ),
        ("SELECT CASE NULL WHEN gid THEN 1 ELSE 2 END AS a FROM galaxies", [(2,), (2,)]),
        ("SELECT CASE NULL WHEN 1.5 THEN 1 ELSE 2 END AS a FROM galaxies", [(2,), (2,)]),
        ("SELECT q.d FROM (SELECT ROUND(MOD(7.5, 2), 0) AS d FROM galaxies AS g, galaxies AS h) AS q", [(2.0,)] * 4),
        (
            "SELECT q.d FROM (SELECT PI() * 0 AS d FROM galaxies AS g JOIN galaxies AS h ON g.gid = h.gid) AS q",
            [(0.0,)] * 2,
        ),
        ("SELECT q.d FROM (SELECT RAND() * 0 AS d FROM galaxies AS g NATURAL JOIN galaxies AS h) AS q", [(0.0,)] * 2),
        (
            "SELECT g.gid FROM galaxies AS g JOIN (galaxies AS h JOIN galaxies AS i ON MOD(h.gid - i.gid, 7) = 0) ON g.gid = i.gid",
            [(1,), (2,)],
        ),
    ],
)
def test_what_is_odd_and_right_runs(postgres, query, rows) -> None:
    assert sorted(postgres.rows(translate(query, TABLES, index=FixedIndex()).sql), key=repr) == sorted(rows, key=repr)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT gid FROM galaxies WHERE 1 IN (TRUE, 1)", "cannot be compared"),
        ("SELECT gid FROM galaxies WHERE 1 BETWEEN TRUE AND 1", "cannot be compared"),
        ("SELECT id FROM survey.stars WHERE '2020-01-01' IN (seen, name)", "cannot be compared"),
        ("SELECT CASE 1 WHEN TRUE THEN 1 WHEN 2 THEN 3 END AS a FROM galaxies", "cannot be compared"),
        ("SELECT (SELECT MAX(s.title) FROM galaxies) AS a FROM survey.stars AS s", "MAX in a subquery needs a column"),
        (
            "SELECT id FROM survey.stars AS s WHERE EXISTS (SELECT ivo_string_agg(s.name, ',') FROM galaxies)",
            "ivo_string_agg in a subquery needs a column",
        ),
    ],
)
def test_what_is_odd_and_wrong_is_refused(query, reason) -> None:
    with pytest.raises(QueryError, match=reason) as caught:
        translate(query, TABLES)
    assert caught.value.line is not None
