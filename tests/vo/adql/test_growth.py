"""Queries that grow: small as written, huge as translated or planned (A6, A8)."""

import time

import pytest

from gateway.errors import QueryError
from gateway.vo.adql import translate
from tests.support.timed import timed
from tests.vo.adql.tables import TABLES, FixedIndex


def doubled(levels: int, expression: str, first: str = "name", table: str = "galaxies") -> str:
    """Common tables, each of which names the one before several times."""
    steps = [f"q{n} AS (SELECT {expression} AS a FROM q{n - 1})" for n in range(1, levels)]
    return f"WITH {', '.join([f'q0 AS (SELECT {first} AS a FROM {table})', *steps])} SELECT a FROM q{levels - 1}"


def nested(levels: int, expression: str, first: str = "name", table: str = "galaxies") -> str:
    query = f"SELECT {first} AS a FROM {table}"
    for number in range(levels):
        query = f"SELECT {expression} AS a FROM ({query}) AS q{number}"
    return query


@pytest.mark.parametrize("make", [doubled, nested])
@pytest.mark.parametrize(
    "query",
    [
        ("a || a",),
        ("a || ',' || a || a",),
        ("a * a - a", "price", "survey.stars"),
        ("POWER(a, a)", "ra"),
        ("CASE WHEN a > 1 THEN a ELSE 0 - a END", "ra"),
        ("COALESCE(a, a)", "ra"),
        ("(SELECT MAX(g.gid) + a + a FROM galaxies AS g)", "gid"),
        ("a || a || '" + "x" * 1000 + "'",),
    ],
)
@timed
def test_what_doubles_at_every_level_is_refused(make, query) -> None:
    expression, *rest = query
    translate(make(8, expression, *rest), TABLES)
    for levels in (20, 40, 60):
        started = time.process_time()
        with pytest.raises(QueryError, match=r"written out, this SELECT would have [0-9,]+ values") as caught:
            translate(make(levels, expression, *rest), TABLES)
        assert caught.value.line is not None
        assert time.process_time() - started < 0.3


def test_a_condition_grows_as_well() -> None:
    steps = ", ".join(f"q{n} AS (SELECT a || a AS a FROM q{n - 1})" for n in range(1, 25))
    with pytest.raises(QueryError, match="written out"):
        translate(f"WITH q0 AS (SELECT name AS a FROM galaxies), {steps} SELECT 1 AS x FROM q24 WHERE a = 'x'", TABLES)


def test_many_levels_without_growth_are_right(postgres) -> None:
    for query in (doubled(60, "a"), nested(50, "a"), doubled(60, "a || 'x'"), doubled(14, "a || a")):
        assert len(postgres.rows(translate(query, TABLES).sql)) == 2
    joined = ", ".join(
        f"q{n} AS (SELECT x.a, y.gid FROM q{n - 1} AS x JOIN galaxies AS y ON x.a = y.name)" for n in range(1, 30)
    )
    query = f"WITH q0 AS (SELECT name AS a FROM galaxies), {joined} SELECT a FROM q29"
    assert len(postgres.rows(translate(query, TABLES).sql)) == 2


NESTS = [
    "CONTAINS(POINT({}, 1), POLYGON(1, 1, 2, 2, 3, 1))",
    "CONTAINS(POINT(1, {}), BOX(1, 1, 2, 2))",
    "CONTAINS(POINT({}, 1), CIRCLE(1, 2, 3))",
    "CONTAINS(CIRCLE({}, 1, 1), POLYGON(1, 1, 2, 2, 3, 1))",
    "INTERSECTS(BOX({}, 1, 1, 1), POLYGON(1, 1, 2, 2, 3, 1))",
    "DISTANCE({}, 1, 2, 3)",
    "COORD1(POINT({}, 1))",
    "AREA(POLYGON({}, 1, 2, 3, 4, 5))",
    "COORD1(CENTROID(CIRCLE({}, 1, 1)))",
    "MOD({}, 2.5)",
    "ROUND({}, 2)",
    "COALESCE({}, 1)",
    "CASE {} WHEN 1 THEN 2 ELSE 3 END",
]


@pytest.mark.parametrize("form", NESTS)
@pytest.mark.parametrize("frame", ["SELECT {} AS x FROM survey.stars", "SELECT id FROM survey.stars WHERE {} > 0"])
def test_functions_within_functions_do_not_multiply(form, frame) -> None:
    expression = "ra"
    for _ in range(20):
        expression = form.format(expression)
    times = []
    for _ in range(3):  # the first may pay for a collection of garbage that others left
        started = time.process_time()
        sql = translate(frame.format(expression), TABLES, index=FixedIndex()).sql
        times.append(time.process_time() - started)
    assert len(sql) < 20_000
    assert min(times) < 0.3
