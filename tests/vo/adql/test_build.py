"""Trees that we build: they say what their text would say, and no value of a request can become anything else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from gateway.errors import QueryError
from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate, translate_tree
from gateway.vo.adql.build import any_of, column, meets, number, region, select, text
from gateway.vo.adql.functions.allowed import RANGE
from gateway.vo.adql.lowering.queries import constant
from gateway.vo.regions import Circle, Polygon, Range
from tests.support import datasets

TABLES = datasets.tableset()
INDEX = HealpixIndex()
OBSCORE = ("ivoa", "obscore")


def built(*conditions: exp.Expr, names=("obs_id",), index=INDEX, maxrec=None) -> str:
    return translate_tree(select(names, OBSCORE, conditions), TABLES, index=index, maxrec=maxrec).sql


def written(where: str, *, index=INDEX) -> str:
    return translate(f"SELECT obs_id FROM ivoa.obscore WHERE {where}", TABLES, index=index).sql


@pytest.mark.parametrize(
    ("shape", "spelled"),
    [
        (Circle(10.0, -20.5, 0.1), "CIRCLE(10.0, -20.5, 0.1)"),
        (Circle(0.0, 90.0, 0.0), "CIRCLE(0.0, 90.0, 0.0)"),
        (Circle(1e-7, -1e-7, 1e-7), "CIRCLE(1e-07, -1e-07, 1e-07)"),
        (Polygon(((10.0, 0.0), (20.0, -1.0), (15.0, 9.0))), "POLYGON(10.0, 0.0, 20.0, -1.0, 15.0, 9.0)"),
    ],
)
@pytest.mark.parametrize("index", [INDEX, None], ids=["index", "none"])
def test_a_built_region_is_the_region_of_its_text(shape, spelled, index) -> None:
    assert built(meets("s_region", shape), index=index) == written(f"INTERSECTS(s_region, {spelled}) = 1", index=index)


def test_conditions_are_all_asked_for_and_alternatives_one_of_them() -> None:
    a, b, c = (exp.EQ(this=column("calib_level"), expression=number(level)) for level in (1, 2, 3))
    assert built(any_of([a, b]), c) == written("(calib_level = 1 OR calib_level = 2) AND calib_level = 3")
    only = exp.EQ(this=column("calib_level"), expression=number(1))
    assert built(any_of([only])) == written("calib_level = 1")


def test_no_conditions_are_no_where() -> None:
    assert built(names=("obs_id", "s_ra")) == translate("SELECT obs_id, s_ra FROM ivoa.obscore", TABLES).sql


def test_a_thousand_alternatives_are_no_deep_tree() -> None:
    arms = [exp.EQ(this=column("calib_level"), expression=number(level)) for level in range(5000)]
    assert built(any_of(arms)).count(" OR ") == 4999


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_all_their_digits(value) -> None:
    assert constant(number(value)) == value


def test_minus_zero_and_whole_numbers_are_plain() -> None:
    assert number(-0.0).sql() == "0.0"
    assert number(3).sql() == "3"
    assert number(-3).sql() == "-3"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_stays_one_string(value) -> None:
    sql = built(exp.EQ(this=column("target_name"), expression=text(value)))
    head, found = sql.split("=", 1)
    assert "target_name" in head
    found = found.strip()
    assert found[0] == found[-1] == "'"
    assert found[1:-1].replace("''", "").count("'") == 0
    assert found[1:-1].replace("''", "'") == value


def test_a_box_between_meridians_and_parallels_keeps_its_numbers() -> None:
    sql = built(meets("s_region", Range(350.5, 10.25, -1e-7, 90.0)), index=None)
    assert '"sky".range_meets_polygon("obscore"."s_region", 350.5, 10.25, -1e-07, 90.0)' in sql
    assert "0.0, 360.0, -90.0, 0.0)" in built(meets("s_region", Range(0.0, 360.0, -90.0, -0.0)), index=None)


@pytest.mark.parametrize(
    "spelled",
    [
        f"{RANGE}(1, 2, 3, 4)",
        f'"{RANGE}"(1, 2, 3, 4)',
        f"ivoa.{RANGE}(1, 2, 3, 4)",
        "RANGE(1, 2, 3, 4)",
        "RANGE_OF_RA_AND_DEC(1, 2, 3, 4)",
    ],
)
def test_no_text_can_spell_the_box(spelled) -> None:
    with pytest.raises(QueryError):
        written(f"1 = INTERSECTS(s_region, {spelled})")
    with pytest.raises(QueryError):
        written(f"{spelled} IS NULL")


def test_the_box_is_in_no_list_of_functions() -> None:
    from gateway.vo.adql import features

    assert RANGE not in str(features())


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (("obs_id", "nothing"), OBSCORE),
        (("obs_id",), ("ivoa", "nothing")),
        (("obs_id",), ("nothing", "obscore")),
        (("cells",), OBSCORE),
    ],
)
def test_what_is_not_published_cannot_be_built_either(names, table) -> None:
    with pytest.raises(QueryError, match=r"nothing|cells"):
        translate_tree(select(names, table, ()), TABLES)


def test_one_row_more_than_maxrec_is_asked_for() -> None:
    found = translate_tree(select(("obs_id",), OBSCORE, ()), TABLES, maxrec=7)
    assert (found.maxrec, found.sql.endswith("LIMIT 8")) == (7, True)
    assert [field.name for field in found.fields] == ["obs_id"]
    assert [table.name for table in found.tables] == ["obscore"]


def test_a_region_stands_alone_too() -> None:
    assert region(Circle(1.0, 2.0, 3.0)).sql() == "CIRCLE(1.0, 2.0, 3.0)"
    assert region(Range(1.0, 2.0, 3.0, 4.0)).name == RANGE
    assert not math.isnan(constant(number(1e308)))
