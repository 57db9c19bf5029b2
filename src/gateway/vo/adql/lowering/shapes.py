"""Shapes in a query: what is known of each when it is translated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.vo.adql.resolving.scopes import Source
from gateway.vo.moc import Moc
from gateway.vo.regions import Circle, Polygon, Range, Region, check_position, cross, dot, position, unit_vector
from gateway.vo.tableset import SkyIndex


@dataclass(frozen=True, slots=True)
class Point:
    """Position: two expressions, and what is known of them."""

    ra: exp.Expr
    dec: exp.Expr
    constant: tuple[float, float] | None = None
    source: Source | None = None
    """Table whose indexed position this is."""
    array: exp.Expr | None = None
    """The point itself, where it is a value and not made of two numbers."""


@dataclass(frozen=True, slots=True)
class Disc:
    """Circle: a position and a radius in degrees."""

    centre: Point
    radius: exp.Expr
    constant_radius: float | None = None
    array: exp.Expr | None = None
    """The circle itself, where it is a value and not made of numbers."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Polygon: an array of coordinates."""

    array: exp.Expr
    constant: Polygon | None = None
    source: Source | None = None
    """Table whose indexed footprint this is."""
    box: Range | None = None
    """Set where this is no polygon at all, but a box between meridians and parallels."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage map that is known when the query is translated."""

    moc: Moc


Shape = Point | Disc | Outline | Coverage


def sky_index(point: Point) -> SkyIndex | None:
    """Index of the table whose position this is."""
    return point.source.table.sky if point.source is not None and point.source.table is not None else None


def indexed_source(ra: exp.Expr, dec: exp.Expr) -> Source | None:
    """Source whose indexed position two columns are."""
    ra, dec = ra.unnest(), dec.unnest()
    if not (isinstance(ra, exp.Column) and isinstance(dec, exp.Column)):
        return None
    source: Source = ra.meta["source"]
    if source is not dec.meta["source"] or source.table is None or source.table.sky is None:
        return None
    index = source.table.sky
    return source if (ra.meta["column"], dec.meta["column"]) == (index.ra, index.dec) else None


def footprint_source(node: exp.Expr) -> Source | None:
    """Source whose indexed footprint a column is."""
    if not isinstance(node, exp.Column):
        return None
    source: Source = node.meta["source"]
    if source.table is None or source.table.sky is None or source.table.sky.region is None:
        return None
    return source if node.meta["column"] == source.table.sky.region else None


def constant_region(shape: Shape) -> Region | None:
    """Region of a shape that is made of numbers alone; a point is a circle of radius 0."""
    match shape:
        case Point(constant=(ra, dec)):
            return Circle(ra, dec, 0.0)
        case Disc(centre=Point(constant=(ra, dec)), constant_radius=float() | int() as radius):
            return Circle(ra, dec, radius)
        case Outline(constant=polygon, box=bounds):
            return polygon or bounds
        case _:
            return None


def shape_of_text(text: str, word: str) -> list[float] | None:
    """Numbers of a DALI shape; ``None`` if they do not make one."""
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        return None
    count = len(numbers)
    fits = {"POINT": count == 2, "CIRCLE": count == 3}.get(word, count >= 6 and count % 2 == 0)
    return numbers if fits else None


def region_of(numbers: Sequence[float]) -> None:
    """Check the numbers of a shape."""
    if len(numbers) == 2:
        check_position(*numbers)
    elif len(numbers) == 3:
        Circle(*numbers)
    else:
        Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)))


WIDEST_DEG = 60.0
"""Radius, degrees, of the largest circle that zones are looked up for: beyond it a scan of the whole table is as good."""

SLACK_DEG = 1e-7
"""By how much a circle is widened: far above rounding, far below the height of a zone."""


def around(region: Region) -> Circle | None:
    """Find a circle around a polygon; ``None`` for one that is too large, and for other regions.

    Within a circle below a hemisphere great circles stay inside, so the polygon is where its vertices are.
    """
    if not isinstance(region, Polygon):
        return None
    vectors = [unit_vector(*vertex) for vertex in region.vertices]
    middle = (sum(v[0] for v in vectors), sum(v[1] for v in vectors), sum(v[2] for v in vectors))
    if dot(middle, middle) < 1e-12:
        return None
    radius = 0.0
    for vector in vectors:
        across = cross(middle, vector)
        radius = max(radius, math.atan2(math.sqrt(dot(across, across)), dot(middle, vector)))
    radius = math.degrees(radius) + SLACK_DEG
    return Circle(*position(middle), radius) if radius <= WIDEST_DEG else None
