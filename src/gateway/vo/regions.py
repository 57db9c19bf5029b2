"""Shapes on the sky, ICRS degrees (DALI 1.1, "Spherical geometry")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from gateway.errors import UsageError


class RegionError(UsageError):
    """These numbers are no region on the sky."""


def check_position(ra: float, dec: float) -> None:
    """Refuse what is no position: right ascension outside [0, 360], declination outside [-90, 90] degrees.

    Raises
    ------
    RegionError
        Naming the number that is wrong.
    """
    if not 0 <= ra <= 360:  # NaN fails too
        raise RegionError(f"right ascension {ra:g} is outside 0 to 360 degrees")
    if not -90 <= dec <= 90:
        raise RegionError(f"declination {dec:g} is outside -90 to 90 degrees")


@dataclass(frozen=True, slots=True)
class Circle:
    """Cap of the sphere with its rim."""

    ra: float
    """Right ascension of the centre, degrees in [0, 360]."""
    dec: float
    """Declination of the centre, degrees in [-90, 90]."""
    radius: float
    """Degrees in [0, 180]."""

    def __post_init__(self) -> None:
        check_position(self.ra, self.dec)
        if not 0 <= self.radius <= 180:
            raise RegionError(f"radius {self.radius:g} is outside 0 to 180 degrees")


@dataclass(frozen=True, slots=True)
class Polygon:
    """Polygon with great-circle edges and its rim; always the smaller of the two sides."""

    vertices: tuple[tuple[float, float], ...]
    """Right ascension and declination, degrees, in either order of turning; the last joins the first."""

    def __post_init__(self) -> None:
        if len(self.vertices) < 3:
            raise RegionError(f"a polygon has at least three vertices, found {len(self.vertices)}")
        for ra, dec in self.vertices:
            check_position(ra, dec)
        for one, other in zip(self.vertices, (*self.vertices[1:], self.vertices[0]), strict=True):
            if sum(a * b for a, b in zip(unit_vector(*one), unit_vector(*other), strict=True)) < -1 + 1e-14:
                raise RegionError(
                    "two neighbouring vertices of the polygon are opposite points: the edge is not defined"
                )


@dataclass(frozen=True, slots=True)
class Range:
    """Box in right ascension and declination, bounds included."""

    ra_min: float
    """Western bound, degrees in [0, 360]; greater than `ra_max` where the box goes through 0."""
    ra_max: float
    dec_min: float
    dec_max: float

    def __post_init__(self) -> None:
        check_position(self.ra_min, self.dec_min)
        check_position(self.ra_max, self.dec_max)
        if self.dec_min > self.dec_max:
            raise RegionError(f"declinations {self.dec_min:g} to {self.dec_max:g} are in the wrong order")


Region = Circle | Polygon | Range

Vector = tuple[float, float, float]


def unit_vector(ra: float, dec: float) -> Vector:
    """Give the unit vector of a position in degrees."""
    ra, dec = math.radians(ra), math.radians(dec)
    return (math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec))


def position(vector: Vector) -> tuple[float, float]:
    """Right ascension in [0, 360) and declination of a vector, degrees."""
    x, y, z = vector
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))


def cross(a: Vector, b: Vector) -> Vector:
    """Vector product."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def dot(a: Vector, b: Vector) -> float:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


APEXES = ((17.0, 23.0), (111.0, -31.0), (203.0, 41.0), (297.0, -59.0), (71.0, 67.0), (251.0, 3.0))
"""Positions, degrees, from which a polygon is seen that comes near the point opposite to its first vertex; as `sky` has them."""


def signed_area(polygon: Polygon) -> float:
    """Area in steradian on the left of the edges as they are listed, in (-2 pi, 2 pi]; negative: on the right.

    Notes
    -----
    Sum over a fan of triangles (Oosterom and Strackee 1983), which is the area modulo 4 pi. A triangle whose edge passes
    the point opposite to the fan's apex has no area that could be told: then another apex is taken.
    """
    best, total = -1.0, 0.0
    for apex in (polygon.vertices[0], *APEXES):
        seen = [_seen_from(*apex, *vertex) for vertex in polygon.vertices]
        terms = [
            (one[0] * other[1] - one[1] * other[0], 1 + one[2] + other[2] + dot(one, other))
            for one, other in pairwise((*seen, seen[0]))
        ]
        worst = min(abs(twice) + abs(below) for twice, below in terms)
        if worst > best:
            best, total = worst, sum(2 * math.atan2(twice, below) for twice, below in terms)
        if best > 0.1:
            break
    total = math.fmod(total, 4 * math.pi)
    if total > 2 * math.pi:
        return total - 4 * math.pi
    return total + 4 * math.pi if total <= -2 * math.pi else total


def _seen_from(ra0: float, dec0: float, ra: float, dec: float) -> Vector:
    # unit vector to the east, to the north and towards the first position; what is near it keeps all its digits
    turn = math.radians(math.remainder(ra - ra0, 360.0))
    half = math.sin(turn / 2)
    cosine = math.cos(math.radians(dec))
    difference = math.radians(dec - dec0)
    return (
        cosine * math.sin(turn),
        math.sin(difference) + 2 * math.sin(math.radians(dec0)) * cosine * half * half,
        math.cos(difference) - 2 * math.cos(math.radians(dec0)) * cosine * half * half,
    )


def _edge_normal(ra1: float, dec1: float, ra2: float, dec2: float) -> Vector:
    # The product of the first vector and the *difference* of both, from differences of angles: the plain product of two near
    # vectors loses as many digits as they are near.
    turn = math.radians(math.remainder(ra2 - ra1, 360.0))
    middle, rise = math.radians((dec1 + dec2) / 2), math.radians(dec2 - dec1)
    azimuth = math.radians(ra1) + turn / 2
    cosine1 = math.cos(math.radians(dec1))
    growth = -2 * math.sin(middle) * math.sin(rise / 2)
    step = (
        growth * math.cos(math.radians(ra2)) - 2 * cosine1 * math.sin(azimuth) * math.sin(turn / 2),
        growth * math.sin(math.radians(ra2)) + 2 * cosine1 * math.cos(azimuth) * math.sin(turn / 2),
        2 * math.cos(middle) * math.sin(rise / 2),
    )
    return cross(unit_vector(ra1, dec1), step)


NEEDLE = 1e-9
"""Area over length squared below which a polygon is an arc there and back, whose edges' normals bound nothing."""


def half_spaces(polygon: Polygon) -> tuple[Vector, ...] | None:
    """Find unit normals of the edges, pointing inside, of a convex polygon; ``None`` if it is not convex.

    A position is inside a convex polygon where its scalar product with every normal is not negative.
    """
    area = signed_area(polygon)
    sign = 1.0 if area >= 0 else -1.0
    vectors = [unit_vector(*vertex) for vertex in polygon.vertices]
    normals = []
    longest = 0.0
    for one, other in zip(polygon.vertices, (*polygon.vertices[1:], polygon.vertices[0]), strict=True):
        normal = _edge_normal(*one, *other)
        size = math.sqrt(dot(normal, normal))
        if size < 1e-14:  # the same vertex twice
            return None
        longest = max(longest, size)
        normals.append((sign * normal[0] / size, sign * normal[1] / size, sign * normal[2] / size))
    if abs(area) < NEEDLE * longest * longest:
        return None
    # A polygon that winds round itself also has all vertices on one side; its area does not fit its turning then.
    turns = sum(_turn(a, b) for a, b in zip(normals, (*normals[1:], normals[0]), strict=True))
    inside = all(dot(normal, vector) >= -1e-15 for normal in normals for vector in vectors)
    simple = abs(turns + abs(area) - 2 * math.pi) < 1e-6
    return tuple(normals) if inside and simple else None


def _turn(one: Vector, other: Vector) -> float:
    across = cross(one, other)
    return math.atan2(math.sqrt(dot(across, across)), dot(one, other))


def box(ra: float, dec: float, width: float, height: float) -> Polygon:
    """Box of ADQL 2.1, "BOX": great circles at right angles to a cross of arms, degrees.

    Raises
    ------
    RegionError
        The centre is no position, or a size is not between 0 and 180 degrees.
    """
    check_position(ra, dec)
    if not (0 < width < 180 and 0 < height < 180):
        raise RegionError(f"the box's size {width:g} x {height:g} is not between 0 and 180 degrees")
    half = math.radians(width / 2)
    lat = math.atan(math.tan(math.radians(height / 2)) * math.cos(half))
    corners = [(-half, -lat), (half, -lat), (half, lat), (-half, lat)]
    return Polygon(tuple(_rotated(ra, dec, east, north) for east, north in corners))


def _rotated(ra: float, dec: float, east: float, north: float) -> tuple[float, float]:
    # from a frame whose origin is the box's centre
    x, y, z = math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)
    d, a = math.radians(dec), math.radians(ra)
    x, z = x * math.cos(d) - z * math.sin(d), x * math.sin(d) + z * math.cos(d)
    return position((x * math.cos(a) - y * math.sin(a), x * math.sin(a) + y * math.cos(a), z))
