"""Every operand of geometry as a constant, a column and an expression, wherever a value may stand: the same answer."""

import itertools

import pytest

from gateway.errors import QueryError
from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate
from tests.vo.adql.tables import TABLES

INDEX = HealpixIndex()

POINTS = [
    "POINT(10, 20)",
    "POINT('ICRS', 5 + 5, 40 / 2.0)",
    "p",
    "POINT(COORD1(p), COORD2(p) + 0)",
    "CENTROID(c)",
    "CAST('10 20' AS POINT)",
    "CAST(label AS POINT)",
    "REGION('Position ICRS 10 20')",
    "COALESCE(p, POINT(1, 2))",
]
CIRCLES = [
    "CIRCLE(10, 20, 1)",
    "CIRCLE('ICRS', 10, 20, 60 / 60.0)",
    "c",
    "CIRCLE(p, 1)",
    "CIRCLE(COORD1(p), 20, DISTANCE(p, POINT(10, 21)))",
    "CAST('10 20 1' AS CIRCLE)",
    "REGION('CIRCLE ICRS 10 20 1')",
]
POLYGONS = [
    "POLYGON(9, 19, 11, 19, 11, 21, 9, 21)",
    "POLYGON(9, 21, 11, 21, 11, 19, 9, 19)",
    "POLYGON('ICRS', POINT(9, 19), POINT(11, 19), POINT(11, 21), POINT(9, 21))",
    "POLYGON(9, 19, 11, 19, COORD1(p) + 1, COORD2(p) + 1, 9, 21)",
    "s_region",
    "CAST('9 19 11 19 11 21 9 21' AS POLYGON)",
    "REGION('POLYGON ICRS 9 19 11 19 11 21 9 21')",
]
SHAPES = {"point": POINTS, "circle": CIRCLES, "polygon": POLYGONS}
EXPECTED = {
    ("CONTAINS", "point", "point"): 1,
    ("CONTAINS", "point", "circle"): 1,
    ("CONTAINS", "point", "polygon"): 1,
    ("CONTAINS", "circle", "point"): 0,
    ("CONTAINS", "circle", "circle"): 1,
    ("CONTAINS", "circle", "polygon"): 0,  # the parallel's degree of right ascension is shorter than the radius
    ("CONTAINS", "polygon", "point"): 0,
    ("CONTAINS", "polygon", "circle"): 0,
    ("CONTAINS", "polygon", "polygon"): 1,
} | {("INTERSECTS", one, other): 1 for one in SHAPES for other in SHAPES}


def one_row(postgres, text: str) -> list:
    return [row[0] for row in postgres.rows(translate(text, TABLES, index=INDEX).sql)]


@pytest.mark.parametrize(("name", "one", "other"), EXPECTED, ids=" ".join)
def test_adql51_relations_take_constants_columns_and_expressions(postgres, name, one, other) -> None:
    expected = EXPECTED[name, one, other]
    pairs = list(itertools.product(SHAPES[one], SHAPES[other]))
    items = ", ".join(f"{name}({a}, {b}) AS v{n}" for n, (a, b) in enumerate(pairs))
    (row,) = postgres.rows(translate(f"SELECT {items} FROM regions WHERE id = 1", TABLES, index=INDEX).sql)
    assert {pair: value for pair, value in zip(pairs, row, strict=True) if value != expected} == {}
    for a, b in pairs[:: max(len(pairs) // 9, 1)]:
        call = f"{name}({a}, {b})"
        for condition in (f"1 = {call}", f"{call} = 1", f"0 <> {call}", f"NOT (0 = {call})", f"{call} > 0.5"):
            assert one_row(postgres, f"SELECT id FROM regions WHERE id = 1 AND {condition}") == [1] * expected, (
                condition
            )
        for condition in (f"0 = {call}", f"{call} = 0", f"1 <> {call}", f"{call} < 1"):
            assert one_row(postgres, f"SELECT id FROM regions WHERE id = 1 AND {condition}") == [1] * (1 - expected)
        assert one_row(postgres, f"SELECT id FROM regions WHERE id = 1 ORDER BY {call}, id") == [1]
        joined = f"SELECT t.gid FROM regions JOIN other.galaxies AS t ON 1 = {call} WHERE regions.id = 1 AND t.gid = 1"
        assert one_row(postgres, joined) == [1] * expected


AROUND, BESIDE, WITHIN = "MOC(6, CIRCLE(10, 20, 5))", "MOC(6, CIRCLE(200, -45, 1))", "MOC(14, CIRCLE(10, 20, 0.01))"


@pytest.mark.parametrize(
    ("relation", "point", "circle", "polygon"),
    [
        (f"INTERSECTS({{}}, {AROUND})", 1, 1, 1),
        (f"INTERSECTS({WITHIN}, {{}})", 1, 1, 1),
        (f"INTERSECTS({BESIDE}, {{}})", 0, 0, 0),
        (f"CONTAINS({{}}, {AROUND})", 1, 1, 1),
        (f"CONTAINS({{}}, {WITHIN})", 1, 0, 0),
        (f"CONTAINS({{}}, {BESIDE})", 0, 0, 0),
        (f"CONTAINS({WITHIN}, {{}})", 0, 1, 1),
        (f"CONTAINS({AROUND}, {{}})", 0, 0, 0),
    ],
)
def test_moc11_coverage_maps_take_constants_columns_and_expressions(postgres, relation, point, circle, polygon) -> None:
    expected = {"point": point, "circle": circle, "polygon": polygon}
    for kind, operands in SHAPES.items():
        calls = [relation.format(operand) for operand in operands]
        items = ", ".join(f"{call} AS v{n}" for n, call in enumerate(calls))
        (row,) = postgres.rows(translate(f"SELECT {items} FROM regions WHERE id = 1", TABLES, index=INDEX).sql)
        assert dict(zip(calls, row, strict=True)) == dict.fromkeys(calls, expected[kind])
        for call in calls:
            assert one_row(postgres, f"SELECT id FROM regions WHERE id = 1 AND 1 = {call}") == [1] * expected[kind]
            assert one_row(postgres, f"SELECT id FROM regions WHERE id = 1 AND {call} = 0") == [1] * (
                1 - expected[kind]
            )


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "=", "<>"])
def test_adql52_distance_is_compared_either_way_round(postgres, operator) -> None:
    turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(operator, operator)
    for a, b in itertools.product(POINTS, ["POINT(10, 21)", "POINT(COORD1(p), COORD2(p) + 1)"]):
        for limit in ("0.5", "2"):
            found = one_row(postgres, f"SELECT id FROM regions WHERE id = 1 AND DISTANCE({a}, {b}) {operator} {limit}")
            other = one_row(postgres, f"SELECT id FROM regions WHERE id = 1 AND {limit} {turned} DISTANCE({b}, {a})")
            truth = {"<": float(limit) > 1, ">": float(limit) < 1, "=": False, "<>": True}[
                operator.replace("<=", "<").replace(">=", ">")
            ]
            assert found == other == [1] * truth


@pytest.mark.parametrize(
    ("call", "operands", "expected"),
    [
        ("AREA({})", POINTS, 0.0),
        ("AREA({})", CIRCLES, pytest.approx(3.14151290, rel=1e-8)),
        ("AREA({})", POLYGONS, pytest.approx(3.7586, rel=1e-3)),
        ("COORD1({})", POINTS, 10.0),
        ("COORD2({})", POINTS, 20.0),
        ("COORD1(CENTROID({}))", CIRCLES, 10.0),
        ("COORD1(CENTROID({}))", POLYGONS, pytest.approx(10, abs=1e-11)),
        ("COORDSYS({})", POINTS + CIRCLES + POLYGONS, "ICRS"),
        ("DISTANCE({}, POINT(10, 22))", POINTS, pytest.approx(2, rel=1e-13)),
        ("COORD2({})", ["BOX(10, 20, 1, 1)"], None),
        (
            "AREA({})",
            ["BOX(10, 20, 2, 2)", "BOX(p, 2, 2)", "BOX('ICRS', p, 1 + 1, 2)"],
            pytest.approx(3.9994, rel=1e-4),
        ),
    ],
)
def test_adql53_functions_of_shapes_take_constants_columns_and_expressions(postgres, call, operands, expected) -> None:
    for operand in operands:
        query = f"SELECT {call.format(operand)} AS v FROM regions WHERE id = 1"
        if expected is None:
            with pytest.raises(QueryError):
                translate(query, TABLES, index=INDEX)
        else:
            assert one_row(postgres, query) == [expected], operand


@pytest.mark.parametrize(
    ("text", "xtype", "arraysize"),
    [
        *((text, "point", "2") for text in (*POINTS, "CENTROID(s_region)")),
        *((text, "circle", "3") for text in CIRCLES),
        *((text, "polygon", "*") for text in (*POLYGONS, "BOX(1, 2, 3, 4)", "BOX(p, 1, 1)")),
        ("MOC(3, CIRCLE(10, 20, 1))", "moc", "*"),
    ],
)
def test_adql45_geometry_in_a_result_carries_its_xtype(postgres, text, xtype, arraysize) -> None:
    translation = translate(f"SELECT {text} AS g, id FROM regions WHERE id = 1", TABLES, index=INDEX)
    field = translation.fields[0]
    assert (field.type.xtype, field.type.arraysize) == (xtype, arraysize)
    ((value, _),) = postgres.rows(translation.sql)
    assert isinstance(value, str) if xtype == "moc" else all(isinstance(number, float) for number in value)


@pytest.mark.parametrize(
    "text",
    [
        "CONTAINS(p, c)",
        "INTERSECTS(s_region, c)",
        "DISTANCE(p, POINT(1, 2))",
        "AREA(s_region)",
        "CENTROID(s_region)",
        "COORDSYS(p)",
        "CIRCLE(p, 1)",
        "BOX(p, 1, 1)",
        "CONTAINS(s_region, MOC('0/3'))",
        "CONTAINS(MOC('0/3'), c)",
        "CONTAINS(MOC('0/3'), p)",
        "INTERSECTS(MOC('0/3'), c)",
    ],
)
def test_what_is_made_of_an_unknown_shape_is_unknown(postgres, text) -> None:
    assert one_row(postgres, f"SELECT {text} AS v FROM regions WHERE id = 3") == [None]
