"""Random queries mean the same here as in SQLite: joins, predicates, subqueries, grouping, order (ADQL-22, 24 to 28, 66).

Both run the very same text over the same rows, so that what is judged is our reading of it and not our own idea of SQL.
"""

import math
import random
import sqlite3
from collections.abc import Callable

import pytest

from gateway.vo.adql import translate
from gateway.vo.tableset import Column, Datatype, Field, Schema, Table, Tableset, VOType

TYPES = {
    "k": (VOType(Datatype.INT), "integer"),
    "n": (VOType(Datatype.SHORT), "smallint"),
    "x": (VOType(Datatype.DOUBLE), "double precision"),
    "s": (VOType(Datatype.CHAR, "*"), "text"),
    "a1": (VOType(Datatype.LONG), "bigint"),
    "b1": (VOType(Datatype.LONG), "bigint"),
    "c1": (VOType(Datatype.LONG), "bigint"),
}
COLUMNS = {"ta": ["k", "n", "x", "s", "a1"], "tb": ["k", "n", "x", "s", "b1"], "tc": ["k", "s", "c1"]}

TABLES = Tableset(
    (
        Schema(
            "judged",
            tuple(
                Table(
                    "judged",
                    name,
                    tuple(Column(Field(c, TYPES[c][0]), c, TYPES[c][1]) for c in columns),
                    "judged",
                    name,
                )
                for name, columns in COLUMNS.items()
            ),
        ),
    ),
    version="1",
)


def value(rng: random.Random, column: str) -> object:
    if rng.random() < 0.2:
        return None
    match column:
        case "x":
            return rng.randrange(-8, 9) / 4
        case "s":
            return rng.choice(["a", "b", "ab", "B", "a_b", "%"])
        case _:
            return rng.randrange(5)


ROWS = {
    name: [tuple(value(random.Random(f"{name}{n}{c}"), c) for c in columns) for n in range(14)]
    for name, columns in COLUMNS.items()
}


def literal(item: object) -> str:
    return "NULL" if item is None else repr(item)


@pytest.fixture(scope="module")
def sqlite() -> Callable[[str], list[tuple]]:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA case_sensitive_like = ON")
    for name, columns in COLUMNS.items():
        connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
        connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", ROWS[name])
    return lambda text: connection.execute(text).fetchall()


@pytest.fixture(scope="module")
def ours(postgres) -> Callable[[str], list[tuple]]:
    with postgres.connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS judged")
        for name, columns in COLUMNS.items():
            cursor.execute(f"DROP TABLE IF EXISTS judged.{name}")
            cursor.execute(f"CREATE TABLE judged.{name} ({', '.join(f'{c} {TYPES[c][1]}' for c in columns)})")
            rows = ", ".join(f"({', '.join(map(literal, row))})" for row in ROWS[name])
            cursor.execute(f"INSERT INTO judged.{name} VALUES {rows}")
    return lambda text: postgres.rows(translate(text, TABLES).sql)


def key(row: tuple) -> tuple:
    return tuple((v is None, str(type(v) is str), v if v is not None else 0) for v in plain(row))


def plain(row: tuple) -> tuple:
    return tuple(round(float(v), 9) if isinstance(v, (int, float)) else v for v in row)


class Maker:
    """Makes queries that both understand."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.count = 0

    def pick(self, *choices: str) -> str:
        return self.rng.choice(choices)

    def alias(self) -> str:
        self.count += 1
        return f"q{self.count}"

    def number(self, columns: list[tuple[str, str]], depth: int = 2) -> str:
        numeric = [f"{alias}.{c}" for alias, c in columns if c != "s"]
        kind = self.rng.randrange(9) if depth else self.rng.randrange(4)
        if kind < 3 and numeric:
            return self.rng.choice(numeric)
        if kind == 3:
            return self.pick("1", "2", "0", "1.5", ".5", "2.", "1e1")
        if kind == 4:
            return f"({self.number(columns, depth - 1)})"
        if kind == 5:
            return f"- {self.number(columns, depth - 1)}"
        if kind == 6:
            return f"COALESCE({self.number(columns, depth - 1)}, {self.number(columns, depth - 1)})"
        return f"{self.number(columns, depth - 1)} {self.pick('+', '-', '*')} {self.number(columns, depth - 1)}"

    def string(self, columns: list[tuple[str, str]]) -> str:
        texts = [f"{alias}.{c}" for alias, c in columns if c == "s"]
        one = self.rng.choice([*texts, "'a'", "'it''s'"])
        return one if self.rng.random() < 0.7 else f"{one} || {self.rng.choice([*texts, repr('b')])}"

    def condition(self, columns: list[tuple[str, str]], depth: int = 2) -> str:
        kind = self.rng.randrange(11)
        if depth and kind < 4:
            word = self.pick("AND", "OR")
            return f"{self.condition(columns, depth - 1)} {word} {self.condition(columns, depth - 1)}"
        if depth and kind == 4:
            return f"NOT ({self.condition(columns, depth - 1)})"
        if depth and kind == 5:
            return f"({self.condition(columns, depth - 1)})"
        if depth and kind == 6:
            return self.subquery_condition(columns)
        no = self.pick("", "NOT ")
        if kind == 7:
            return f"{self.number(columns)} {no}BETWEEN {self.number(columns, 0)} AND {self.number(columns, 0)}"
        if kind == 8:
            return f"{self.string(columns)} {no}LIKE {self.pick(repr('a%'), repr('_'), repr('%b'), repr('a_b'), repr('A%'))}"
        if kind == 9:
            alias, column = self.rng.choice(columns)
            return f"{alias}.{column} IS {no}NULL"
        if kind == 10:
            return f"{self.number(columns)} {no}IN ({', '.join(self.number(columns, 0) for _ in range(3))})"
        return f"{self.number(columns)} {self.pick('=', '<>', '!=', '<', '>', '<=', '>=')} {self.number(columns)}"

    def subquery_condition(self, columns: list[tuple[str, str]]) -> str:
        table, alias = self.rng.choice(list(COLUMNS)), self.alias()
        inner = [*columns, *((alias, c) for c in COLUMNS[table])]
        no, where = self.pick("", "NOT "), self.condition(inner, 1)
        if self.rng.random() < 0.5:
            return f"{no}EXISTS (SELECT * FROM {table} AS {alias} WHERE {where})"
        return f"{self.number(columns, 1)} {no}IN (SELECT {alias}.k FROM {table} {alias} WHERE {where})"

    def table(self) -> tuple[str, list[tuple[str, str]]]:
        name, alias = self.rng.choice(list(COLUMNS)), self.alias()
        columns = [(alias, c) for c in COLUMNS[name]]
        if self.rng.random() < 0.25:
            inner = self.alias()
            where = self.condition([(inner, c) for c in COLUMNS[name]], 1)
            return f"(SELECT * FROM {name} AS {inner} WHERE {where}) AS {alias}", columns
        return f"{name} {self.pick('AS ', '')}{alias}", columns

    def tables(self) -> tuple[str, list[tuple[str, str]]]:
        text, columns = self.table()
        for _ in range(self.rng.randrange(3)):
            other, more = self.table()
            side = self.pick("", "INNER ", "LEFT ", "LEFT OUTER ", "RIGHT ", "FULL OUTER ")
            on = f"{self.rng.choice(columns)[0]}.k = {more[0][0]}.k"
            if not side.startswith("FULL") and self.rng.random() < 0.5:
                on = self.condition([*columns, *more], 1)
            text, columns = f"{text} {side}JOIN {other} ON {on}", [*columns, *more]
        return text, columns

    def query(self) -> str:
        text, columns = self.tables()
        where = f" WHERE {self.condition(columns)}" if self.rng.random() < 0.7 else ""
        if self.rng.random() < 0.3:
            by = ", ".join({".".join(self.rng.choice(columns)) for _ in range(2)})
            having = f" HAVING COUNT(*) > {self.rng.randrange(3)}" if self.rng.random() < 0.5 else ""
            number = self.number(columns, 1)
            made = f"COUNT(*) AS c, COUNT({number}) AS d, SUM({number}) AS e, MIN({number}) AS f, COUNT(DISTINCT {number}) AS g"
            return f"SELECT {by}, {made} FROM {text}{where} GROUP BY {by}{having}"
        distinct = self.pick("", "", "DISTINCT ", "ALL ")
        items = ", ".join(f"{self.number(columns)} AS v{n}" for n in range(2))
        return f"SELECT {distinct}{items}, {self.string(columns)} AS t FROM {text}{where}"


@pytest.mark.parametrize("seed", range(250))
def test_a_random_query_has_the_rows_that_sqlite_finds(sqlite, ours, seed) -> None:
    """ADQL-24, ADQL-25, ADQL-26, ADQL-28, ADQL-71."""
    text = Maker(seed).query()
    assert sorted(map(plain, ours(text)), key=key) == sorted(map(plain, sqlite(text)), key=key), text


NAMED = [
    "SELECT a1, k, s, c1 FROM ta NATURAL JOIN tc",
    "SELECT * FROM ta JOIN tb USING (k)",
    "SELECT b1, a1, s, k FROM ta LEFT JOIN tb USING (k, s)",
    "SELECT c1, a1, s, k, n FROM ta NATURAL LEFT JOIN tc",
    "SELECT k, s, a1, c1 FROM ta FULL JOIN tc USING (k, s)",
    "SELECT k, n, x, s FROM ta NATURAL FULL OUTER JOIN tb",
    "SELECT k, a1, b1 FROM ta RIGHT JOIN tb USING (k)",
    "SELECT k, a1, b1, c1 FROM ta JOIN tb USING (k) JOIN tc USING (k)",
    "SELECT ta.k, tb.k, a1, b1 FROM ta, tb WHERE ta.k = tb.k AND ta.s = tb.s",
    "SELECT p.a1, q.b1, r.c1 FROM (ta AS p JOIN tb AS q ON p.k = q.k) LEFT JOIN tc AS r ON r.k = q.n",
    "WITH p AS (SELECT k, a1 FROM ta WHERE a1 > 1), q AS (SELECT k, SUM(a1) AS t FROM p GROUP BY k) SELECT * FROM q, p WHERE p.k = q.k",
    "SELECT v.m FROM (SELECT k, MAX(x) AS m FROM ta GROUP BY k) AS v WHERE v.m > 0",
    "SELECT k FROM ta GROUP BY k HAVING SUM(a1) > (SELECT MIN(a1) FROM ta)",
    "SELECT AVG(x), SUM(x), COUNT(x), MAX(s), MIN(s) FROM ta WHERE k IN (SELECT k FROM tb WHERE tb.s = ta.s)",
]


@pytest.mark.parametrize("text", NAMED)
def test_joins_by_name_and_subqueries_have_the_rows_that_sqlite_finds(sqlite, ours, text) -> None:
    """ADQL-24, ADQL-25, ADQL-66."""
    assert sorted(map(plain, ours(text)), key=key) == sorted(map(plain, sqlite(text)), key=key)


@pytest.mark.parametrize(
    "tables",
    [
        "ta NATURAL JOIN tc",
        "ta LEFT JOIN tb USING (k, s)",
        "tc NATURAL FULL JOIN ta",
        "ta RIGHT JOIN tb USING (s) JOIN tc USING (s)",
        "ta JOIN (tb JOIN tc USING (k)) USING (k)",
        "(ta JOIN tb USING (k, s)) AS j JOIN tc USING (k, s)",
        "ta LEFT JOIN tb JOIN tc ON tb.k = tc.k ON ta.k = tb.k",
    ],
)
def test_a_star_is_what_postgres_itself_makes_of_it(postgres, ours, tables) -> None:
    """ADQL-21, ADQL-25: common columns once and first, as SQL-92 has it, which SQLite does not follow."""
    with postgres.connection.cursor() as cursor:
        cursor.execute("SET search_path TO judged")
        cursor.execute(f"SELECT * FROM {tables}")
        judged = cursor.fetchall()
        cursor.execute("RESET search_path")
    assert judged
    assert sorted(map(plain, ours(f"SELECT * FROM {tables}")), key=key) == sorted(map(plain, judged), key=key)


@pytest.mark.parametrize("seed", range(40))
def test_top_order_and_offset_take_the_rows_that_python_takes(ours, seed) -> None:
    """ADQL-20, ADQL-22, ADQL-28, ADQL-73: OFFSET before TOP; beyond the end is nothing."""
    rng = random.Random(seed)
    top, offset = rng.randrange(1, 8), rng.randrange(18)
    term, place = rng.choice([("s", 1), ("2", 1), ("a1", 0), ("1", 0), ("judged.ta.a1", 0)])
    order = rng.choice(["", " ASC", " DESC"])
    found = ours(
        f"SELECT TOP {top} a1, s FROM ta WHERE a1 IS NOT NULL AND s IS NOT NULL ORDER BY {term}{order}, a1, s OFFSET {offset}"
    )
    whole = sorted((row[4], row[3]) for row in ROWS["ta"] if row[4] is not None and row[3] is not None)
    collated = [
        v for (v,) in ours("SELECT DISTINCT s FROM ta WHERE s IS NOT NULL ORDER BY s")
    ]  # the server's collation
    rank: Callable = (lambda row: collated.index(row[1])) if place else (lambda row: row[0])
    whole.sort(key=lambda row: (row[0], collated.index(row[1])))
    expected = sorted(whole, key=rank, reverse=False) if order != " DESC" else sorted(whole, key=lambda row: -rank(row))
    assert found == expected[offset : offset + top]


def test_numbers_are_what_python_reads(ours) -> None:
    """ADQL-7: every form of a number."""
    texts = ["12", "12.", "12.3", ".5", "12.3E4", "1e-3", "1.e5", "1E+5", "0.1", "1e300", "123456789012", "0007"]
    found = ours(f"SELECT TOP 1 {', '.join(f'{t} AS v{n}' for n, t in enumerate(texts))} FROM ta")[0]
    assert [float(v) for v in found] == [float(t) for t in texts]
    assert all(math.isfinite(v) for v in found)
