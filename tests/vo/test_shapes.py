"""Regions and intervals as people type them: what is right is read to the last digit, what is wrong is told."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.errors import ParameterError
from gateway.vo.regions import Circle, Polygon, Range, RegionError
from gateway.vo.shapes import (
    MOST_VERTICES,
    Interval,
    parse_circle,
    parse_interval,
    parse_polygon,
    parse_pos,
    parse_range,
    pos_text,
)

ra = st.floats(0, 360)
dec = st.floats(-90, 90)


@st.composite
def polygons(draw) -> Polygon:
    vertices = tuple(draw(st.lists(st.tuples(ra, dec), min_size=3, max_size=9)))
    try:
        return Polygon(vertices)
    except RegionError:
        assume(False)
        raise


circles = st.builds(Circle, ra, dec, st.floats(0, 180))
boxes = st.tuples(ra, ra, dec, dec).map(lambda n: Range(n[0], n[1], min(n[2:]), max(n[2:])))


@given(circles | polygons() | boxes)
def test_a_region_that_was_written_is_read_back_to_the_bit(region) -> None:
    assert parse_pos(pos_text(region), can_be_point=True) == region


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CIRCLE 10.5 -20 0.1", Circle(10.5, -20.0, 0.1)),
        ("circle 10.5 -20 1e-1", Circle(10.5, -20.0, 0.1)),
        ("  Circle   +10.5\t-20\n.1 ", Circle(10.5, -20.0, 0.1)),
        ("CIRCLE\t10.5 -20 0.1", Circle(10.5, -20.0, 0.1)),
        ("CIRCLE 360 0 1", Circle(360.0, 0.0, 1.0)),
        ("CIRCLE 0 90 180", Circle(0.0, 90.0, 180.0)),
        ("CIRCLE -0.0 -0.0 1", Circle(0.0, 0.0, 1.0)),
        ("RANGE 350 10 -5 5", Range(350.0, 10.0, -5.0, 5.0)),
        ("RANGE 10 10 -5 -5", Range(10.0, 10.0, -5.0, -5.0)),
        ("range 0 360 -90 90", Range(0.0, 360.0, -90.0, 90.0)),
        ("RANGE 0 360 -2 +Inf", Range(0.0, 360.0, -2.0, 90.0)),
        ("RANGE 0 360 -INF 2", Range(0.0, 360.0, -90.0, 2.0)),
        ("RANGE -Inf +Inf -Inf +Inf", Range(0.0, 360.0, -90.0, 90.0)),
        ("RANGE -inf inf 1 2", Range(0.0, 360.0, 1.0, 2.0)),
        ("RANGE 340 Infinity 1 2", Range(340.0, 360.0, 1.0, 2.0)),
        ("RANGE -Inf 12 1 2", Range(0.0, 12.0, 1.0, 2.0)),
        ("POLYGON 10 0 20 0 15 9", Polygon(((10.0, 0.0), (20.0, 0.0), (15.0, 9.0)))),
        ("polygon 15 9 20 0 10 0", Polygon(((15.0, 9.0), (20.0, 0.0), (10.0, 0.0)))),
        ("POLYGON 350 0 10 0 0 9 350 0", Polygon(((350.0, 0.0), (10.0, 0.0), (0.0, 9.0), (350.0, 0.0)))),
    ],
)
def test_sia2_pos_is_read_in_any_case_and_spacing(text, expected) -> None:
    assert parse_pos(text, can_be_point=False) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "expected CIRCLE ra dec radius"),
        ("10 20 1", "expected CIRCLE ra dec radius"),
        ("BOX 10 20 1 1", "expected CIRCLE ra dec radius"),
        ("CIRCLE10 20 1", "expected CIRCLE ra dec radius"),
        ("CIRCLE ICRS 10 20 1", "'ICRS' is no number"),
        ("CIRCLE", "three numbers"),
        ("CIRCLE 10 20", "2 numbers found, expected three numbers"),
        ("CIRCLE 10 20 1 4", "4 numbers found, expected three numbers"),
        ("CIRCLE 10 north 1", "'north' is no number"),
        ("CIRCLE 10,20,1", "'10,20,1' is no number"),
        ("CIRCLE 10 20 1deg", "'1deg' is no number"),
        ("CIRCLE 1_0 20 1", "'1_0' is no number"),
        ("CIRCLE 0x10 20 1", "'0x10' is no number"),
        ("CIRCLE \u0661\u0660 20 1", "is no number"),
        ("CIRCLE NaN 20 1", "expected three numbers"),
        ("CIRCLE 10 20 nan", "expected three numbers"),
        ("CIRCLE 10 20 -1", "radius -1 is outside 0 to 180"),
        ("CIRCLE 10 20 180.5", "radius 180.5 is outside 0 to 180"),
        ("CIRCLE 10 20 Inf", "radius inf is outside 0 to 180"),
        ("CIRCLE -10 20 1", "right ascension -10 is outside 0 to 360"),
        ("CIRCLE 360.1 20 1", "right ascension 360.1 is outside 0 to 360"),
        ("CIRCLE Inf 20 1", "right ascension inf"),
        ("CIRCLE 10 90.01 1", "declination 90.01 is outside -90 to 90"),
        ("RANGE 10 20 30", "3 numbers found, expected four numbers"),
        ("RANGE 10 20 30 20", "30 to 20 are in the wrong order"),
        ("RANGE 10 20 -95 20", "declination -95"),
        ("RANGE 10 20 0 95", "declination 95"),
        ("RANGE -10 20 0 5", "right ascension -10"),
        ("RANGE 10 370 0 5", "right ascension 370"),
        ("RANGE 10 20 Inf 5", "declination inf"),
        ("RANGE 10 20 0 -Inf", "declination -inf"),
        ("RANGE Inf 20 0 5", "right ascension inf"),
        ("RANGE 10 -Inf 0 5", "right ascension -inf"),
        ("RANGE +Inf -Inf 0 5", "right ascension inf"),
        ("RANGE 10 20 nan 5", "expected four numbers"),
        ("POLYGON 10 20 30 40", "4 numbers found, expected three or more pairs"),
        ("POLYGON 10 20 30 40 50", "5 numbers found, expected three or more pairs"),
        ("POLYGON 10 20 30 40 50 60 70", "7 numbers found, expected three or more pairs"),
        ("POLYGON 10 20 30 91 50 60", "declination 91"),
        ("POLYGON 10 20 400 40 50 60", "right ascension 400"),
        ("POLYGON 0 0 180 0 90 50", "opposite points"),
        ("POLYGON 10 20 30 40 x 60", "'x' is no number"),
    ],
)
@pytest.mark.parametrize("can_be_point", [True, False])
def test_sia2_13_what_is_no_region_is_refused_with_what_to_change(text, hint, can_be_point) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_pos(text, can_be_point=can_be_point)
    assert hint in caught.value.message
    assert caught.value.message.startswith(f"POS={text[:50]!r}"[:40])
    assert caught.value.name == "POS"


def test_a_circle_of_radius_zero_is_a_place_to_search_but_nothing_to_cut() -> None:
    assert parse_pos("CIRCLE 10 20 0", can_be_point=True) == Circle(10.0, 20.0, 0.0)
    for text in ("CIRCLE 10 20 0", "CIRCLE 10 20 0.0", "CIRCLE 10 20 -0"):
        with pytest.raises(ParameterError, match="radius 0 has no area; give a radius"):
            parse_pos(text, can_be_point=False)
    with pytest.raises(ParameterError, match=r"CIRCLE='10 20 0': .*radius 0"):
        parse_circle("CIRCLE", "10 20 0", can_be_point=False)


def test_soda6_a_region_is_the_same_with_its_name_before_it_as_in_its_own_parameter() -> None:
    assert parse_circle("CIRCLE", "10 20 1", can_be_point=False) == parse_pos("CIRCLE 10 20 1", can_be_point=False)
    polygon = "10 0 20 0 15 9"
    assert parse_polygon("POLYGON", polygon) == parse_pos(f"POLYGON {polygon}", can_be_point=False)
    assert parse_range("RANGE", "1 2 3 4") == parse_pos("RANGE 1 2 3 4", can_be_point=False)


def ring(count: int, radius: float = 10.0) -> str:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    pairs = zip(100 + radius * np.cos(angle), radius * np.sin(angle), strict=True)
    return " ".join(f"{x:.9f} {y:.9f}" for x, y in pairs)


def test_a_polygon_may_have_as_many_vertices_as_we_say_and_no_more() -> None:
    assert len(parse_polygon("POLYGON", ring(MOST_VERTICES)).vertices) == MOST_VERTICES
    for count in (MOST_VERTICES + 1, 10_000):
        with pytest.raises(ParameterError, match=f"{2 * count} numbers found, .*at most {MOST_VERTICES}"):
            parse_polygon("POLYGON", ring(count))


def test_the_message_does_not_repeat_a_whole_long_polygon() -> None:
    with pytest.raises(ParameterError) as caught:
        parse_polygon("POLYGON", ring(10_000))
    assert len(caught.value.message) < 400


def test_a_polygon_beyond_a_hemisphere_is_read_and_means_its_smaller_side() -> None:
    text = "POLYGON 0 -60 90 -60 180 -60 270 -60"  # the cap around the south pole, either way round
    turned = "POLYGON 270 -60 180 -60 90 -60 0 -60"
    from gateway.vo.regions import signed_area

    one, other = parse_pos(text, can_be_point=False), parse_pos(turned, can_be_point=False)
    assert isinstance(one, Polygon)
    assert isinstance(other, Polygon)
    assert abs(signed_area(one)) == pytest.approx(abs(signed_area(other)))
    assert abs(signed_area(one)) < 2 * math.pi


# -- intervals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5e-7", Interval(5e-7, 5e-7)),
        (" 5e-7\t6e-7 ", Interval(5e-7, 6e-7)),
        ("5e-7 5e-7", Interval(5e-7, 5e-7)),
        ("-Inf 6e-7", Interval(-math.inf, 6e-7)),
        ("5e-7 +Inf", Interval(5e-7, math.inf)),
        ("-inf inf", Interval(-math.inf, math.inf)),
        ("-INFINITY +infinity", Interval(-math.inf, math.inf)),
        ("-5 -4", Interval(-5.0, -4.0)),
        ("0 1e400", Interval(0.0, math.inf)),
    ],
)
def test_sia2_5_an_interval_is_one_number_or_two(text, expected) -> None:
    assert parse_interval("BAND", text, unit="m") == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("6e-7 5e-7", "write 5e-7 6e-7"),
        ("a", "'a' is no number"),
        ("-2 x", "'x' is no number"),
        ("5e-7m", "'5e-7m' is no number"),
        ("5e-7/6e-7", "'5e-7/6e-7' is no number"),
        ("1 2 3", "3 numbers found"),
        ("NaN", "one number or two"),
        ("1 NaN", "one number or two"),
        ("NaN NaN", "one number or two"),
        ("Inf", "one number or two"),
        ("-Inf", "one number or two"),
        ("Inf Inf", "one number or two"),
        ("-Inf -Inf", "one number or two"),
        ("Inf -Inf", "one number or two"),
        ("Inf 1", "one number or two"),
        ("1_0 2", "'1_0' is no number"),
        ("", "one number or two"),
    ],
)
def test_sia2_13_what_is_no_interval_is_refused_with_what_to_change(text, hint) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_interval("BAND", text, unit="m")
    assert hint in caught.value.message
    assert caught.value.message.startswith(f"BAND={text!r}: ")


def test_the_hint_at_a_reversed_interval_can_be_sent_as_it_stands() -> None:
    with pytest.raises(ParameterError) as caught:
        parse_interval("TIME", "60000.123456789 60000.123456788", unit="d")
    hint = caught.value.message.split("write ")[1]
    assert parse_interval("TIME", hint, unit="d") == Interval(60000.123456788, 60000.123456789)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_printed_by_python_are_read_to_the_bit(one, other) -> None:
    low, high = sorted((one, other))
    assert parse_interval("TIME", f"{low!r} {high!r}", unit="d") == Interval(low, high)
