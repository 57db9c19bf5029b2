"""The mathematical functions of ADQL 2.1 on PostgreSQL have the values that Python's have (ADQL-40, ADQL-41)."""

import math
from collections.abc import Callable

import pytest

from gateway.vo.adql import translate
from gateway.vo.adql.functions.allowed import PLAIN, STRING
from gateway.vo.tableset import Datatype
from tests.vo.adql.tables import TABLES

ANY = (-723.25, -1.5, -0.5, 0.0, 0.3, 1.0, 2.75, 88.5)
POSITIVE = (1e-300, 0.25, 1.0, 2.718281828459045, 1e10, 1e300)
UNIT = (-1.0, -0.3, 0.0, 1e-9, 0.999999, 1.0)

ONE: dict[str, tuple[Callable[[float], float], tuple[float, ...]]] = {
    "ABS": (abs, ANY), "CEILING": (math.ceil, ANY), "FLOOR": (math.floor, ANY), "DEGREES": (math.degrees, ANY), "RADIANS": (math.radians, ANY),
    "EXP": (math.exp, ANY[1:]), "LOG": (math.log, POSITIVE), "LOG10": (math.log10, POSITIVE), "SQRT": (math.sqrt, (0.0, *POSITIVE)),
    "SIN": (math.sin, ANY), "COS": (math.cos, ANY), "TAN": (math.tan, ANY), "COT": (lambda x: 1 / math.tan(x), (-1.5, 0.5, 1.0, 3.0)),
    "ASIN": (math.asin, UNIT), "ACOS": (math.acos, UNIT), "ATAN": (math.atan, ANY), "ROUND": (lambda x: math.copysign(math.floor(abs(x) + 0.5), x), ANY),
    "TRUNCATE": (math.trunc, ANY),
}  # fmt: skip
TWO: dict[str, tuple[Callable[[float, float], float], tuple[tuple[float, float], ...]]] = {
    "MOD": (math.fmod, ((-7, 3), (7, -3), (5.5, 2), (-7.5, 2), (1e17 + 16, 7))),
    "POWER": (math.pow, ((2, 10), (2.5, -1.5), (-2, 3), (0, 0), (9, 0.5))),
    "ATAN2": (math.atan2, ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, -1), (2, 0))),
    "ROUND": (lambda x, n: math.copysign(math.floor(abs(x) * 10**n + 0.5) / 10**n, x), ((1234.5, -2), (-1.26, 1), (3.14159, 3), (-250.0, -2))),
    "TRUNCATE": (lambda x, n: math.trunc(x * 10**n) / 10**n, ((-1.57, 1), (1299.0, -2), (3.14159, 4))),
}  # fmt: skip


def values(postgres, calls: list[str]) -> list[float]:
    translation = translate(f"SELECT TOP 1 {', '.join(calls)} FROM galaxies", TABLES, strict=True)
    assert {field.type.datatype for field in translation.fields} == {Datatype.DOUBLE}
    return list(postgres.rows(translation.sql)[0])


@pytest.mark.parametrize("name", ONE)
def test_a_function_of_one_number_is_that_of_python(postgres, name) -> None:
    function, numbers = ONE[name]
    found = values(postgres, [f"{name}({number!r})" for number in numbers])
    assert found == pytest.approx([function(number) for number in numbers], rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("name", TWO)
def test_a_function_of_two_numbers_is_that_of_python(postgres, name) -> None:
    function, pairs = TWO[name]
    found = values(postgres, [f"{name}({x!r}, {y!r})" for x, y in pairs])
    assert found == pytest.approx([function(x, y) for x, y in pairs], rel=1e-14, abs=1e-15)


def test_pi_is_pi_and_random_numbers_lie_between_0_and_1(postgres) -> None:
    pi, one, other = values(postgres, ["PI()", "RAND()", "RAND(7)"])
    assert pi == math.pi
    assert 0 <= one < 1
    assert 0 <= other < 1


def test_no_function_of_the_standard_is_left_out() -> None:
    tested = {*ONE, *TWO, "PI", "RAND"}
    assert {function.name for function in PLAIN if function.group != STRING} == tested


def test_whole_numbers_become_doubles(postgres) -> None:
    """ADQL-41."""
    whole = ("n_obs", "flags", "id", "4")
    query = f"SELECT {', '.join(f'SQRT({x}), ABS({x}), POWER({x}, 2), ROUND({x})' for x in whole)} FROM survey.stars WHERE id = 1"
    translation = translate(query, TABLES)
    assert {field.type.datatype for field in translation.fields} == {Datatype.DOUBLE}
    found = postgres.rows(translation.sql)[0]
    assert found == pytest.approx([value for x in (3, 7, 1, 4) for value in (math.sqrt(x), x, x * x, x)])
