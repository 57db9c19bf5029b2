"""Random queries: expressions of any shape in any clause, most of them wrong, many of them right (C10)."""

import random
from collections.abc import Iterator

from gateway.vo.adql.functions import allowed

LEAVES = [
    *("s.id", "s.ra", "s.mag", "s.name", "s.seen", "s.is_star", "s.spectrum", "s.price", "s.n_obs", "s.title", "s.changed", "s.flags"),
    *("r.p", "r.c", "r.s_region", "g.gid", "id", "name", "1", "2.5", "0", "1e308", "99999999999", "'a'", "'2020-01-01'", "'1 2'", "'deg'", "''"),
    *("NULL", "TRUE", "*", "COUNT(*)", "POINT(s.ra, s.dec)", "POINT(1, 2)", "CIRCLE(10, 20, 1)", "POLYGON(1, 1, 2, 1, 2, 2)", "PI()"),
]  # fmt: skip

BRANCHES = [
    *(f"{{0}} {sign} {{1}}" for sign in "+ - * / || = <> < >= AND OR LIKE ILIKE".split()),
    *("({0})", "(({0}))", "- {0}", "+ {0}", "NOT {0}", "{0} IS NULL", "{0} IS NOT NULL", "{0}, {1}", "{0} IN ({1}, {0})", "{0} NOT IN ({1})"),
    *("{0} BETWEEN {1} AND {0}", "CASE WHEN {0} THEN {1} END", "CASE {0} WHEN {1} THEN {0} ELSE {1} END", "(SELECT {0} FROM galaxies AS g)"),
    *("EXISTS (SELECT {0} FROM galaxies AS g)", "{0} IN (SELECT {1} FROM galaxies AS g)", "(SELECT MAX({0}) FROM galaxies AS g WHERE {1})"),
    *(f"CAST({{0}} AS {kind})" for kind in ("INTEGER", "REAL", "DOUBLE PRECISION", "VARCHAR", "CHAR(3)", "TIMESTAMP", "POINT", "CIRCLE")),
    *("MAX({0})", "COUNT(DISTINCT {0})", "SUM({0})", "AVG(DISTINCT {0})", "COALESCE({0}, {1})", "NULLIF({0}, {1})", "IN_UNIT({0}, 'deg')"),
    *("1 = CONTAINS({0}, {1})", "CONTAINS({0}, CIRCLE({1}, 0, 1)) = 0", "DISTANCE({0}, {1}) < 1", "INTERSECTS({0}, {1})", "CIRCLE({0}, {1}, 1)"),
    *("POINT({0}, {1})", "POLYGON({0}, {1}, {0}, {1}, 5, 6)", "AREA({0})", "CENTROID({0})", "COORD1({0})", "BOX({0}, {1}, 1, 1)", "REGION({0})"),
]  # fmt: skip

FRAMES = [
    "SELECT {0} FROM survey.stars AS s",
    "SELECT s.id FROM survey.stars AS s WHERE {0}",
    "SELECT TOP 3 1 AS a FROM survey.stars AS s ORDER BY {0}",
    "SELECT s.id FROM survey.stars AS s GROUP BY {0}",
    "SELECT {0}, COUNT(*) AS n FROM survey.stars AS s GROUP BY {0} ORDER BY {0}",
    "SELECT DISTINCT {0} FROM survey.stars AS s ORDER BY {0}",
    "SELECT COUNT(*) FROM survey.stars AS s HAVING {0}",
    "SELECT s.id FROM survey.stars AS s LEFT JOIN galaxies AS g ON {0}",
    "SELECT s.id FROM survey.stars AS s, survey.regions AS r, galaxies AS g WHERE {0}",
    "SELECT {0} AS a, {1} AS b FROM survey.stars AS s NATURAL JOIN survey.regions AS r",
    "WITH q AS (SELECT {0} AS a FROM survey.stars AS s) SELECT a FROM q UNION SELECT a FROM q",
    "SELECT {0} AS a FROM survey.stars AS s EXCEPT SELECT {1} AS a FROM galaxies AS g",
    "SELECT {0} AS a FROM survey.stars AS s UNION ALL SELECT {1} AS a FROM survey.stars AS s ORDER BY a OFFSET 1",
    "SELECT q.a FROM (SELECT {0} AS a, {1} AS b FROM survey.stars AS s) AS q WHERE q.a = q.b OR q.a IS NULL",
    "SELECT MAX(q.a) AS m FROM (SELECT {0} AS a FROM survey.stars AS s, survey.regions AS r) AS q",
    "SELECT * FROM (SELECT {0} AS a FROM survey.stars AS s) AS q FULL JOIN (SELECT {1} AS a FROM galaxies AS g) AS p USING (a)",
]  # fmt: skip


def calls() -> list[str]:
    """A call of every function by each number of arguments that it takes."""
    made = []
    for forms in allowed.FUNCTIONS.values():
        for form in forms:
            name, most = form.spelling or form.name, len(form.parameters)
            made += [
                f"{name}({', '.join(f'{{{n % 2}}}' for n in range(k))})" for k in range(most - form.optional, most + 1)
            ]
            made += [f"{name}({', '.join(FITTING.get(p.kind, '{0}') for p in form.parameters)})"] * 2
    return made


FITTING = {
    allowed.Kind.TEXT: "s.name",
    allowed.Kind.NUMBER: "s.id",
    allowed.Kind.POINT: "r.p",
    allowed.Kind.TIMESTAMP: "s.seen",
}
"""An argument that a parameter takes."""

PARTS = [*BRANCHES, *BRANCHES, *calls()]


def expression(chance: random.Random, depth: int) -> str:
    """An expression of any shape."""
    if depth == 0 or chance.random() < 0.15:
        return chance.choice(LEAVES)
    return chance.choice(PARTS).format(expression(chance, depth - 1), expression(chance, depth - 1))


def queries(seed: int, count: int) -> Iterator[str]:
    """Queries of a seed, small ones and large ones."""
    chance = random.Random(seed)
    for number in range(count):
        yield chance.choice(FRAMES).format(expression(chance, number % 5), expression(chance, number % 3))
