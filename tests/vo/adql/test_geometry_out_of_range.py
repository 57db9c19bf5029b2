"""Positions and sizes that are none, in columns: unknown, in every function alike; no error, and no wrong answer."""

from collections.abc import Iterator

import pytest

from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate
from tests.vo.adql.tables import TABLES

INDEX = HealpixIndex()
BAD = {901: ("10", "91"), 902: ("NaN", "20"), 903: ("10", "NaN"), 904: ("Infinity", "20"), 905: ("10", "-Infinity")}
"""Right ascension and declination."""
TURNED = {911: ("370", "20"), 912: ("-350", "20")}
"""The position (10, 20) in other turns."""


@pytest.fixture(scope="module")
def stars(postgres) -> Iterator[object]:
    rows = ", ".join(f"({n}, '{ra}', '{dec}', '{ra} {dec}')" for n, (ra, dec) in (BAD | TURNED).items())
    with postgres.connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO survey.stars (id, ra, dec, name) VALUES {rows}")
        yield postgres
        cursor.execute("DELETE FROM survey.stars WHERE id > 900")


def values(stars, expression: str, ids: dict) -> list:
    adql = f"SELECT {expression} AS v, id FROM survey.stars WHERE id IN ({', '.join(map(str, ids))}) ORDER BY id"
    return [row[0] for row in stars.rows(translate(adql, TABLES, index=INDEX).sql)]


OF_A_POSITION = [
    "POINT(ra, dec)",
    "CIRCLE(ra, dec, 1)",
    "CIRCLE(POINT(ra, dec), 1)",
    "BOX(ra, dec, 1, 1)",
    "POLYGON(ra, dec, 5, 5, 6, 7)",
    "CAST(name AS POINT)",
    "DISTANCE(ra, dec, 10, 20)",
    "DISTANCE(POINT(10, 20), POINT(ra, dec))",
    "AREA(POINT(ra, dec))",
    "AREA(CIRCLE(ra, dec, 1))",
    "AREA(BOX(ra, dec, 1, 1))",
    "AREA(POLYGON(ra, dec, 5, 5, 6, 7))",
    "CENTROID(CIRCLE(ra, dec, 1))",
    "CENTROID(POLYGON(ra, dec, 5, 5, 6, 7))",
    "COORDSYS(POINT(ra, dec))",
    "CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 100))",
    "CONTAINS(POINT(10, 20), CIRCLE(ra, dec, 100))",
    "CONTAINS(POINT(ra, dec), BOX(10, 20, 5, 5))",
    "CONTAINS(POINT(ra, dec), POLYGON(0, 0, 50, 0, 50, 50))",
    "CONTAINS(POINT(ra, dec), POLYGON(0, 0, 50, 0, 50, 50, 20, 10))",
    "CONTAINS(POINT(10, 20), BOX(ra, dec, 5, 5))",
    "CONTAINS(CIRCLE(ra, dec, 1), CIRCLE(10, 20, 100))",
    "CONTAINS(POINT(ra, dec), POINT(10, 20))",
    "CONTAINS(POINT(ra + 0, dec), MOC('0/0'))",
    "CONTAINS(CIRCLE(ra, dec, 1), MOC('0/0'))",
    "CONTAINS(MOC('9/0'), CIRCLE(ra, dec, 1))",
    "INTERSECTS(CIRCLE(ra, dec, 1), CIRCLE(10, 20, 2))",
    "INTERSECTS(CIRCLE(ra, dec, 1), POLYGON(0, 0, 50, 0, 50, 50))",
    "INTERSECTS(POLYGON(ra, dec, 5, 5, 6, 7), BOX(10, 20, 50, 50))",
    "INTERSECTS(CIRCLE(ra, dec, 1), MOC('0/0'))",
]


@pytest.mark.parametrize("expression", OF_A_POSITION)
def test_adql48_what_is_no_position_makes_the_shape_and_its_relations_unknown(stars, expression) -> None:
    assert values(stars, expression, BAD) == [None] * len(BAD)


ROUNDED = "CONTAINS(POINT(ra, dec), POINT(10, 20))"
"""True of equal numbers alone; the same position in another turn is as near as rounding lets it be."""


@pytest.mark.parametrize(
    "expression",
    [text for text in OF_A_POSITION if text.startswith(("DIST", "CONT", "INTER")) and text != ROUNDED],
)
def test_adql48_a_right_ascension_of_another_turn_is_the_same_position(stars, expression) -> None:
    at_home = expression.replace("dec", "20").replace("ra + 0", "10").replace("ra", "10")
    expected = values(stars, at_home, TURNED)
    assert values(stars, expression, TURNED) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "expression",
    [
        "CIRCLE(10, 20, ra)",
        "AREA(CIRCLE(10, 20, ra))",
        "CONTAINS(POINT(10, 20), CIRCLE(10, 20, ra))",
        "CONTAINS(CIRCLE(10, 20, ra), CIRCLE(10, 20, 180))",
        "INTERSECTS(CIRCLE(10, 20, ra), MOC('0/0'))",
    ],
)
def test_adql48_what_is_no_radius_makes_the_circle_unknown(stars, expression) -> None:
    ids = {902: "NaN", 904: "Infinity", 911: "370", 912: "-350"}
    assert values(stars, expression, ids) == [None] * 4


@pytest.mark.parametrize("truth", [0, 1])
def test_adql48_a_query_goes_past_rows_without_a_position(stars, truth) -> None:
    for region in ("CIRCLE(10, 20, 170)", "BOX(10, 20, 170, 170)", "MOC('0/0-11')"):
        adql = f"SELECT id FROM survey.stars WHERE {truth} = CONTAINS(POINT(ra + 0, dec), {region})"
        found = {row[0] for row in stars.rows(translate(adql, TABLES, index=INDEX).sql)}
        assert not found & set(BAD)
        assert found & set(TURNED) == (set(TURNED) if truth else set())


@pytest.mark.parametrize("radius", ["0.001", "1"])
def test_adql48_a_join_goes_past_rows_without_a_position(stars, radius) -> None:
    adql = f"SELECT a.id FROM survey.stars AS a JOIN other.stars AS b ON DISTANCE(a.ra, a.dec, b.ra, b.dec) < {radius}"
    for text in (adql, adql.replace("a.ra, a.dec", "a.ra + 0, a.dec")):
        found = [row[0] for row in stars.rows(translate(text, TABLES, index=INDEX).sql)]
        assert not set(found) & set(BAD)
        assert {1} | set(TURNED) <= set(found)
