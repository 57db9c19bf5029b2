"""UNION, EXCEPT and INTERSECT on PostgreSQL, judged by Python's counters (ADQL-67, ADQL-68)."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from gateway.errors import QueryError
from gateway.vo.adql import translate
from gateway.vo.tableset import Datatype
from tests.vo.adql.tables import TABLES

LEAVES = {
    "SELECT n_obs AS v FROM survey.stars": [3, 4, None],
    "SELECT gid AS v FROM galaxies": [1, 2],
    "SELECT id AS v FROM survey.stars UNION ALL SELECT id FROM other.stars": [1, 2, 3, 1, 5],
    "SELECT 1 AS v FROM survey.stars": [1, 1, 1],
    "SELECT gid + 2 AS v FROM galaxies": [3, 4],
    "SELECT n_obs - 2 AS v FROM survey.stars": [1, 2, None],
}
"""Queries of one column, and their values in ``tables.py``."""


@dataclass(frozen=True)
class Made:
    """A query, its rows, and how strongly its outermost operator binds (1: UNION, EXCEPT; 2: INTERSECT; 3: none)."""

    text: str
    rows: Counter
    power: int


def leaf(rng: random.Random) -> Made:
    text = rng.choice(list(LEAVES))
    return Made(text, Counter(LEAVES[text]), 1 if "UNION" in text else 3)


def combined(rng: random.Random, depth: int) -> Made:
    if depth == 0 or rng.random() < 0.15:
        return leaf(rng)
    left, right = combined(rng, depth - 1), combined(rng, depth - 1)
    word, keeps_all = rng.choice(["UNION", "EXCEPT", "INTERSECT"]), rng.random() < 0.5
    power = 2 if word == "INTERSECT" else 1
    # left to right: the right operand of the same strength needs its parentheses, the left one does not
    one = left.text if left.power >= power else f"({left.text})"
    other = right.text if right.power > power else f"({right.text})"
    return Made(
        f"{one} {word}{' ALL' if keeps_all else ''} {other}", rows(word, left.rows, right.rows, keeps_all), power
    )


def rows(word: str, left: Counter, right: Counter, keeps_all: bool) -> Counter:
    if word == "UNION":
        both = left + right
    elif keeps_all:
        both = left - right if word == "EXCEPT" else left & right
    else:
        both = Counter(v for v in left if (v in right) == (word == "INTERSECT"))
    return both if keeps_all else Counter(set(both))


@pytest.mark.parametrize("seed", range(120))
def test_set_operators_bind_and_count_as_the_standard_says(postgres, seed) -> None:
    """ADQL-67, ADQL-68: INTERSECT first, the others left to right; duplicates go unless ALL."""
    made = combined(random.Random(seed), 4)
    found = postgres.rows(translate(made.text, TABLES).sql)
    assert Counter(v for (v,) in found) == made.rows, made.text


@pytest.mark.parametrize("seed", range(30))
def test_order_and_offset_after_the_last_operand_are_of_the_whole(postgres, seed) -> None:
    """ADQL-68, ADQL-73."""
    rng = random.Random(seed)
    made = combined(rng, 3)
    offset = rng.randrange(4)
    found = postgres.rows(translate(f"{made.text} ORDER BY 1 DESC OFFSET {offset}", TABLES).sql)
    expected = sorted(made.rows.elements(), key=lambda v: (v is not None, -(v or 0)))[offset:]
    assert [v for (v,) in found] == expected


def test_operands_in_parentheses_have_an_order_and_an_offset_of_their_own(postgres) -> None:
    """ADQL-68."""
    query = "(SELECT TOP 1 gid FROM galaxies ORDER BY gid DESC) UNION ALL (SELECT id FROM survey.stars ORDER BY id OFFSET 2) ORDER BY gid"
    assert postgres.rows(translate(query, TABLES).sql) == [(2,), (3,)]


def test_top_is_of_its_own_operand(postgres) -> None:
    """ADQL-20: TOP belongs to a SELECT."""
    query = "SELECT TOP 1 1 AS x FROM survey.stars UNION ALL SELECT 2 FROM survey.stars"
    assert sorted(postgres.rows(translate(query, TABLES).sql)) == [(1,), (2,), (2,), (2,)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "SELECT gid FROM galaxies ORDER BY gid UNION SELECT id FROM survey.stars",
            "expected the end of the query, found UNION",
        ),
        (
            "SELECT gid FROM galaxies OFFSET 1 EXCEPT SELECT id FROM survey.stars",
            "expected the end of the query, found EXCEPT",
        ),
        ("SELECT gid FROM galaxies UNION SELECT name FROM galaxies", "column 1 of UNION is a number on the left"),
        ("SELECT gid, ra FROM galaxies INTERSECT SELECT gid FROM galaxies", "INTERSECT of 2 and 1 columns"),
        ("SELECT gid FROM galaxies UNION WITH q AS (SELECT 1 FROM galaxies) SELECT * FROM q", "very beginning"),
        ("SELECT gid FROM galaxies UNION DISTINCT SELECT gid FROM galaxies", "expected a query"),
        ("SELECT p FROM regions UNION SELECT c FROM regions", "a point on the left"),
        ("SELECT gid FROM galaxies UNION SELECT gid FROM galaxies ORDER BY galaxies.gid", "name or a position"),
    ],
)
def test_what_set_operators_cannot_do_is_told(query, message) -> None:
    """ADQL-67, ADQL-68."""
    with pytest.raises(QueryError, match=message):
        translate(query, TABLES)


@pytest.mark.parametrize(
    ("left", "right", "datatype"),
    [
        ("n_obs", "flags", Datatype.INT), ("n_obs", "id", Datatype.LONG), ("mag", "mag", Datatype.FLOAT),
        ("mag", "flags", Datatype.DOUBLE), ("ra", "n_obs", Datatype.DOUBLE), ("name", "Title", Datatype.UNICODE_CHAR),
        ("NULL", "n_obs", Datatype.SHORT), ("1.5", "n_obs", Datatype.DOUBLE), ("seen", "changed", Datatype.CHAR),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_turned", [False, True])
def test_operands_find_one_type(postgres, left, right, datatype, is_turned) -> None:
    """ADQL-67: the type holds the values of both, whichever stands first."""
    if is_turned:
        left, right = right, left
    translation = translate(f"SELECT {left} AS v FROM survey.stars UNION ALL SELECT {right} FROM survey.stars", TABLES)
    assert translation.fields[0].type.datatype is datatype
    single = [translate(f"SELECT {name} AS v FROM survey.stars", TABLES).sql for name in (left, right)]
    values = [v for sql in single for (v,) in postgres.rows(sql)]
    assert Counter(v for (v,) in postgres.rows(translation.sql)) == Counter(values)
