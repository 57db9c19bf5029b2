"""Mathematical functions and statistics in SQL against Python's decimals, C's fmod and numpy."""

import math
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

import numpy as np
import pytest

from gateway.db.roles import QUERY_ROLE
from gateway.vo.adql import translate
from tests.vo.adql.tables import TABLES


@pytest.fixture(scope="module")
def pairs(sky_database):
    rng = np.random.default_rng(11)
    x = rng.normal(0, 1, 6000) * 10 ** rng.uniform(-10, 18, 6000)
    y = rng.normal(0, 1, 6000) * 10 ** rng.uniform(-4, 6, 6000)
    x[:2000], y[:2000] = rng.integers(-(2**53), 2**53, 2000), rng.integers(1, 10**6, 2000)
    x[2000:3000] = y[2000:3000] * rng.integers(
        -1000, 1000, 1000
    )  # close to a multiple: the quotient rounds to a whole number
    x[3000:4000] = np.nextafter(x[2000:3000], 0)
    y[3000:4000] = y[2000:3000]
    x[:6], y[:6] = [0, -0.0, 5.5, -7, 1e308, 0.3], [3, 2, -2, 3, 1e-3, 0.1]
    sky_database.load("pairs_xy", n=np.arange(6000), x=x, y=y, digits=rng.integers(-3, 9, 6000).astype(np.int32))
    yield x, y
    sky_database.run("DROP TABLE pairs_xy")


def test_remainder_is_exact_and_has_the_sign_of_x(sky_database, pairs) -> None:  # ADQL-40
    x, y = pairs
    found = np.array(sky_database.column("SELECT sky.mod(x, y) FROM pairs_xy ORDER BY n"))
    assert (found == np.fmod(x, y)).all()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("mod(9007199254740993::bigint, 2::bigint)", 1.0),
        ("mod((-7)::bigint, 3::bigint)", -1.0),
        ("mod('NaN', 3.0::float8)", math.nan),
        ("mod('Infinity', 3.0::float8)", math.nan),
        ("mod(3.5::float8, 'Infinity')", 3.5),
        ("mod(NULL::float8, 3)", None),
        ("round(2.5)", 3.0),
        ("round(-2.5)", -3.0),
        ("round(0.49999999999999994)", 0.0),
        ("round(4503599627370497.5)", 4503599627370498.0),
        ("round(1e300)", 1e300),
        ("round('NaN'::float8)", math.nan),
        ("round('-Infinity'::float8)", -math.inf),
        ("round(2.675::float8, 2)", 2.68),
        ("round(1234567890.1234567::float8, 6)", 1234567890.123457),
        ("round(1234.5::float8, -2)", 1200.0),
        ("round(1e300, 5)", 1e300),
        ("round('NaN'::float8, 3)", math.nan),
        ("truncate(-1.57::float8, 1)", -1.5),
        ("truncate(2.3::float8, 1)", 2.3),
        ("truncate(-2.9)", -2.0),
        ("truncate(1999.0::float8, -3)", 1000.0),
        ("power(2, 0.5)", math.sqrt(2)),
        ("power(0, 0)", 1.0),
        ("acos(1)", 0.0),
        ("acos(NULL)", None),
        ("asin('NaN')", math.nan),
    ],
)
def test_special_values(sky_database, call, expected) -> None:
    found = sky_database.column(f"SELECT sky.{call}")[0]
    assert found == (pytest.approx(expected, rel=0, abs=0, nan_ok=True) if expected is not None else None)


def test_zero_has_no_sign(sky_database) -> None:
    for call in ("round(-0.3)", "truncate(-0.3)", "round((-0.001)::float8, 1)", "truncate((-0.001)::float8, 1)"):
        assert math.copysign(1, sky_database.column(f"SELECT sky.{call}")[0]) == 1


def test_rounding_is_that_of_the_digits_that_one_reads(sky_database, pairs) -> None:  # ADQL-40
    rows = sky_database.rows(
        "SELECT x, digits, sky.round(x, digits), sky.truncate(x, digits), sky.round(x) FROM pairs_xy"
    )
    for x, digits, rounded, cut, whole in rows:
        place = Decimal(1).scaleb(-digits)
        shown = Decimal(repr(x))
        if abs(x) < 2**53:
            assert rounded == float(shown.quantize(place, ROUND_HALF_UP)), (x, digits)
            assert cut == float(shown.quantize(place, ROUND_DOWN)), (x, digits)
        else:  # there is more than one shortest text of a whole number so large
            assert abs(Decimal(rounded) - shown) <= place / 2 + 2 * Decimal(math.ulp(x)), (x, digits)
        assert whole == float(Decimal(x).quantize(Decimal(1), ROUND_HALF_UP) if abs(x) < 1e20 else x), x


def run(sky_database, expression: str, count: int = 3000) -> list:
    sql = translate(f"SELECT {expression} FROM survey.stars", TABLES).sql
    rows = f"(SELECT i AS id, i / 7.0::float8 AS ra FROM generate_series(1, {count}) AS i)"
    return sky_database.rows(sql.replace('"survey"."stars"', rows))


def test_seed_makes_a_sequence_that_can_be_had_again(sky_database) -> None:
    first, again, other = (run(sky_database, f"RAND({seed}) AS r") for seed in (5, 5, -6))
    assert first == again
    assert first != other
    assert len(set(first)) == 3000
    mean = np.mean(first)
    assert 0.45 < mean < 0.55
    assert all(0 <= value < 1 for (value,) in first)


def test_sequence_of_a_seed_needs_no_rights_and_no_parallel_workers(sky_database) -> None:
    sky_database.run(
        "CREATE TABLE seeded AS SELECT i FROM generate_series(1, 20000) AS i", "ANALYZE seeded",
        f"GRANT SELECT ON seeded TO {QUERY_ROLE}", "REVOKE EXECUTE ON FUNCTION set_config FROM PUBLIC",
        "SET parallel_setup_cost = 0", "SET parallel_tuple_cost = 0", "SET min_parallel_table_scan_size = 0",
        f"SET ROLE {QUERY_ROLE}", "SET default_transaction_read_only = on",
    )  # fmt: skip
    try:
        query = "SELECT count(*), min(i), max(sky.rand_sequence(7)) FROM seeded WHERE sky.rand_sequence(5) < 0.1"
        first = sky_database.rows(query)
        assert 1800 < first[0][0] < 2200
        assert sky_database.rows(query) == first
    finally:
        sky_database.run(
            "SET default_transaction_read_only = off", "RESET ROLE", "GRANT EXECUTE ON FUNCTION set_config TO PUBLIC",
            "RESET ALL", "SET jit = off", "SET timezone = 'UTC'", "DROP TABLE seeded",
        )  # fmt: skip


def test_seed_from_a_row_gives_a_number_that_belongs_to_it(sky_database) -> None:
    rows = run(sky_database, "RAND(id) AS a, RAND(id) AS b, RAND() AS c")
    assert all(a == b for a, b, _ in rows)
    assert rows == sorted(rows, key=lambda row: rows.index(row))
    assert [a for a, _, _ in rows] == [a for a, _, _ in run(sky_database, "RAND(id) AS a, RAND(id) AS b, RAND() AS c")]
    assert [c for _, _, c in rows] != [c for _, _, c in run(sky_database, "RAND(id) AS a, RAND(id) AS b, RAND() AS c")]
    assert 0.45 < np.mean([a for a, _, _ in rows]) < 0.55


def test_normal_numbers_have_their_mean_and_deviation(sky_database) -> None:
    numbers = np.array(run(sky_database, "ivo_normal_random(10, 3) AS x", 20_000))[:, 0]
    assert numbers.mean() == pytest.approx(10, abs=0.15)
    assert numbers.std() == pytest.approx(3, abs=0.1)
    beyond = (np.abs(numbers - 10) > 6).mean()  # 4.55 % for the normal distribution
    assert 0.035 < beyond < 0.057


def test_histogram_is_that_of_numpy(sky_database) -> None:
    rng = np.random.default_rng(13)
    values = rng.normal(0, 1, 20_000)
    values[:100] = np.nan
    sky_database.load("binned", v=values, g=np.arange(20_000) % 3)
    (found,) = sky_database.column("SELECT sky.histogram(v, -1.5, 2, 7) FROM binned")
    inner, _ = np.histogram(values[100:], 7, (-1.5, 2))
    assert found == [int((values < -1.5).sum()) + 100, *inner, int((values > 2).sum())]
    assert sum(found) == 20_000
    groups = sky_database.column("SELECT sky.histogram(v, -1.5, 2, 7) FROM binned GROUP BY g")
    assert [sum(bins) for bins in zip(*groups, strict=True)] == found
    sky_database.run("DROP TABLE binned")


def test_histogram_is_the_same_from_parallel_workers(sky_database) -> None:
    query = "SELECT sky.histogram(v, 0, 300000, 5) FROM many"
    sky_database.run(
        "CREATE TABLE many AS SELECT i::float8 AS v FROM generate_series(0, 300000) AS i", "ANALYZE many",
        "SET parallel_setup_cost = 0", "SET parallel_tuple_cost = 0", "SET min_parallel_table_scan_size = 0",
    )  # fmt: skip
    try:
        assert "Partial Aggregate" in sky_database.explain(query)
        assert sky_database.column(query) == [[0, 60000, 60000, 60000, 60000, 60001, 0]]
    finally:
        sky_database.run("RESET ALL", "SET jit = off", "SET timezone = 'UTC'", "DROP TABLE many")


def test_ends_of_a_histogram_belong_to_it(sky_database) -> None:
    values = "(VALUES (0::float8), (1), (2), (2.000001), (-0.000001), (NULL), ('Infinity'), ('-Infinity')) AS t(v)"
    assert sky_database.column(f"SELECT sky.histogram(v, 0, 2, 2) FROM {values}") == [[3, 1, 2, 2]]
