"""Regions as ``REGION`` spells them: the simple shapes of STC-S, ICRS degrees (ADQL 2.1, "REGION"; TAP 1.0, "STC-S")."""

from __future__ import annotations

from gateway.vo.regions import Circle, Polygon, RegionError, box, check_position

FRAMES = frozenset({"ICRS", "UNKNOWNFRAME"})
OTHER_FRAMES = frozenset({"ECLIPTIC", "FK4", "FK5", "GALACTIC", "J2000", "B1950", "GEO_C", "GEO_D"})
PLACES = frozenset({"BARYCENTER", "GEOCENTER", "HELIOCENTER", "LSR", "TOPOCENTER", "RELOCATABLE", "UNKNOWNREFPOS"})
FLAVOURS = frozenset({"SPHERICAL2"})
COUNTS = {"POSITION": "2 numbers", "CIRCLE": "3 numbers", "BOX": "4 numbers", "POLYGON": "6 numbers or more, in pairs"}
COMPOUND = frozenset({"UNION", "INTERSECTION", "NOT", "DIFFERENCE", "ALLSKY", "ELLIPSE", "CONVEX"})
FORMS = "POSITION ra dec, CIRCLE ra dec radius, BOX ra dec width height or POLYGON ra1 dec1 ra2 dec2 ra3 dec3 ..."


def parse_region(text: str) -> tuple[str, tuple[float, ...]]:
    """Read a shape: the name of ADQL's function that makes it (POINT, CIRCLE, BOX, POLYGON) and its numbers, degrees.

    Raises
    ------
    RegionError
        It is no shape, or one of those that are not supported.
    """
    words = text.replace(",", " ").split()
    shape = words[0].upper() if words else ""
    if shape in COMPOUND:
        raise RegionError(f"{shape} is not supported; expected {FORMS}")
    if shape not in COUNTS:
        raise RegionError(f"{text.strip()[:60]!r} is no region; expected {FORMS}")
    words = words[1:]
    for known in (FRAMES, PLACES, FLAVOURS):
        if words and words[0].upper() in OTHER_FRAMES:
            raise RegionError(f"coordinate system {words[0]} is not supported; all positions are ICRS")
        if words and words[0].upper() in known:
            words = words[1:]
    numbers = tuple(_number(word) for word in words)
    count = len(numbers)
    fits = count >= 6 and count % 2 == 0 if shape == "POLYGON" else count == int(COUNTS[shape][0])
    if not fits:
        raise RegionError(f"{shape} has {COUNTS[shape]}, found {count}")
    match shape:
        case "POSITION":
            check_position(*numbers)
            return "POINT", numbers
        case "CIRCLE":
            Circle(*numbers)
        case "BOX":
            box(*numbers)
        case _:
            Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)))
    return shape, numbers


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise RegionError(f"{word!r} is no number in a region; expected {FORMS}") from None
