"""Regions and intervals as parameters spell them (DALI 1.1, "Literal values"; SIA 2.0, "POS"; SODA 1.0, "POS")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

from gateway.errors import ParameterError
from gateway.vo.regions import Circle, Polygon, Range, Region, RegionError

POS_FORMS = "CIRCLE ra dec radius, RANGE ra1 ra2 dec1 dec2, or POLYGON ra1 dec1 ra2 dec2 ra3 dec3 ..., ICRS degrees"

MOST_VERTICES = 1_000
"""Vertices of a polygon that comes with a request."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `low` to `high`, both included; the ends may be infinite."""

    low: float
    high: float


def parse_numbers(name: str, text: str, *, expected: str) -> tuple[float, ...]:
    """Read numbers that are separated by blanks; infinities are numbers, NaN is not."""
    words = text.split()
    for word in words:
        if not _is_number(word):
            raise ParameterError(name, text, f"{word!r} is no number; expected {expected}")
    numbers = tuple(map(float, words))
    if not numbers or any(math.isnan(number) for number in numbers):
        raise ParameterError(name, text, f"expected {expected}")
    return numbers


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return word.isascii() and "_" not in word  # Python reads 1_0 as 10, and digits of any script


def parse_interval(name: str, text: str, *, unit: str) -> Interval:
    """Read one number, or two in ascending order (DALI 1.1, "Interval"; SIA 2.0 takes single numbers too)."""
    expected = f"one number or two, low then high ({unit}); -Inf and Inf leave an end open"
    numbers = parse_numbers(name, text, expected=expected)
    if len(numbers) > 2:
        raise ParameterError(name, text, f"{len(numbers)} numbers found, expected {expected}")
    low, high = numbers[0], numbers[-1]
    if low == math.inf or high == -math.inf:
        raise ParameterError(name, text, f"no number is beyond infinity; expected {expected}")
    if low > high:
        turned = " ".join(reversed(text.split()))
        raise ParameterError(name, text, f"the first number is greater than the second; write {turned}")
    return Interval(low, high)


def parse_pos(text: str, *, can_be_point: bool) -> Region:
    """Read a region with its name before it.

    Parameters
    ----------
    can_be_point
        Whether a circle of radius 0 is a region (SIA 2.0) or a mistake (SODA 1.0).
    """
    word, rest = [*text.split(maxsplit=1), "", ""][:2]
    match word.upper():
        case "CIRCLE":
            return parse_circle("POS", rest, shown=text, can_be_point=can_be_point)
        case "POLYGON":
            return parse_polygon("POS", rest, shown=text)
        case "RANGE":
            return parse_range("POS", rest, shown=text)
        case _:
            raise ParameterError("POS", text, f"expected {POS_FORMS}")


def parse_circle(name: str, text: str, *, shown: str | None = None, can_be_point: bool) -> Circle:
    """Read right ascension, declination and radius, degrees."""
    shown = text if shown is None else shown
    numbers = _numbers(name, text, shown, "three numbers: ra dec radius, ICRS degrees", (3,))
    if numbers[2] == 0 and not can_be_point:
        raise ParameterError(name, shown, "a circle of radius 0 has no area; give a radius in degrees")
    try:
        return Circle(*numbers)
    except RegionError as e:
        raise ParameterError(name, shown, e.message) from e


def parse_polygon(name: str, text: str, *, shown: str | None = None) -> Polygon:
    """Read three or more vertices, degrees."""
    shown = text if shown is None else shown
    expected = f"three or more pairs of numbers, at most {MOST_VERTICES}: ra1 dec1 ra2 dec2 ra3 dec3 ..., ICRS degrees"
    numbers = _numbers(name, text, shown, expected, range(6, 2 * MOST_VERTICES + 1, 2))
    try:
        return Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)))
    except RegionError as e:
        raise ParameterError(name, shown, e.message) from e


def parse_range(name: str, text: str, *, shown: str | None = None) -> Range:
    """Read bounds of right ascension and of declination, degrees; infinities leave a bound open (SIA 2.0, "POS")."""
    shown = text if shown is None else shown
    numbers = _numbers(name, text, shown, "four numbers: ra1 ra2 dec1 dec2, ICRS degrees", (4,))
    ra1, ra2, dec1, dec2 = numbers
    # an infinity on the wrong side stays what it is, and is refused as no coordinate
    ra1, dec1 = (0.0 if ra1 == -math.inf else ra1), (-90.0 if dec1 == -math.inf else dec1)
    ra2, dec2 = (360.0 if ra2 == math.inf else ra2), (90.0 if dec2 == math.inf else dec2)
    try:
        return Range(ra1, ra2, dec1, dec2)
    except RegionError as e:
        raise ParameterError(name, shown, e.message) from e


def _numbers(name: str, text: str, shown: str, expected: str, counts: tuple[int, ...] | range) -> tuple[float, ...]:
    try:
        numbers = parse_numbers(name, text, expected=expected)
    except ParameterError as e:
        raise ParameterError(name, shown, e.reason) from None
    if len(numbers) not in counts:
        raise ParameterError(name, shown, f"{len(numbers)} numbers found, expected {expected}")
    return numbers


def pos_text(region: Region) -> str:
    """Spell a region as ``POS`` does, with all its digits."""
    numbers: tuple[float, ...]
    match region:
        case Circle():
            word, numbers = "CIRCLE", (region.ra, region.dec, region.radius)
        case Polygon():
            word, numbers = "POLYGON", tuple(number for vertex in region.vertices for number in vertex)
        case Range():
            word, numbers = "RANGE", (region.ra_min, region.ra_max, region.dec_min, region.dec_max)
        case _:
            assert_never(region)
    return " ".join((word, *map(repr, numbers)))
