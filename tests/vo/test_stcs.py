"""REGION's shapes in STC-S."""

import pytest

from gateway.vo.regions import RegionError
from gateway.vo.stcs import parse_region


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CIRCLE ICRS 10 20 0.5", ("CIRCLE", (10.0, 20.0, 0.5))),
        ("circle 10 20 0.5", ("CIRCLE", (10.0, 20.0, 0.5))),
        ("Circle ICRS GEOCENTER SPHERICAL2 10 20 0.5", ("CIRCLE", (10.0, 20.0, 0.5))),
        ("Position UNKNOWNFRAME 10 -20", ("POINT", (10.0, -20.0))),
        ("BOX ICRS 10 20 1 2", ("BOX", (10.0, 20.0, 1.0, 2.0))),
        ("Polygon ICRS TOPOCENTER 1 2 3 4 5 6.5", ("POLYGON", (1.0, 2.0, 3.0, 4.0, 5.0, 6.5))),
    ],
)
def test_adql62_simple_shapes_are_read(text, expected) -> None:
    assert parse_region(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no region"),
        ("UNION ICRS (CIRCLE 1 2 3 CIRCLE 4 5 6)", "UNION is not supported"),
        ("CIRCLE FK5 1 2 3", "FK5 is not supported"),
        ("CIRCLE GALACTIC GEOCENTER 1 2 3", "GALACTIC is not supported"),
        ("CIRCLE 1 2", "3 numbers"),
        ("POLYGON 1 2 3 4 5 6 7", "pairs"),
        ("CIRCLE 1 2 x", "'x' is no number"),
        ("CIRCLE 400 2 1", "right ascension"),
        ("CIRCLE 1 2 nan", "radius"),
        ("POSITION 1 95", "declination"),
        ("BOX 1 2 0 1", "size"),
    ],
)
def test_adql62_what_is_no_shape_is_refused(text, reason) -> None:
    with pytest.raises(RegionError, match=reason):
        parse_region(text)
