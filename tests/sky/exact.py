"""Pairs of shapes with their true relations, in 64-bit mantissas: what the SQL functions are judged by.

A polygon here is star-shaped around a known centre, so that whether a position is in it, and its area, follow from plain
triangles around that centre: other formulas than the product's. Arrays hold many pairs at once: positions are ``(n, 2)`` in
degrees, unit vectors ``(n, 3)``, polygons ``(n, m, 2)``. An answer that a shift of `RIM` could change is no case.
"""

from dataclasses import dataclass

import numpy as np

LD = np.longdouble
RIM = 1e-9
"""Degrees: nearer to a rim than this, either answer is right."""
SMALLEST = 0.001 / 3600
PI = np.arctan2(LD(0), LD(-1))
DEGREE = PI / 180


def vectors(positions):
    """Unit vectors of positions in degrees; last axis 2 becomes 3."""
    angle = np.asarray(positions, dtype=LD) * DEGREE
    ra, dec = angle[..., 0], angle[..., 1]
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def positions(v):
    """Positions in degrees, rounded to doubles; right ascension in [0, 360]."""
    ra = np.arctan2(v[..., 1], v[..., 0]) / DEGREE
    dec = np.arctan2(v[..., 2], np.hypot(v[..., 0], v[..., 1])) / DEGREE
    return np.stack([np.where(ra < 0, ra + 360, ra), dec], axis=-1).astype(float)


def dot(a, b):
    return (a * b).sum(axis=-1)


def size(a):
    return np.sqrt(dot(a, a))


def angle(a, b):
    """Degrees between unit vectors, from their difference and their sum: good for all."""
    return 2 * np.arctan2(size(a - b), size(a + b)) / DEGREE


def cross(a, b):
    """Product of near unit vectors without loss of digits."""
    return np.cross(a, b - a)


def offset(centres, degrees, azimuths):
    """Vectors at distances (degrees) and azimuths (radians, north through east) from vectors."""
    x, y = centres[..., 0], centres[..., 1]
    flat = np.hypot(x, y)
    flat = np.where(flat < 1e-30, 1, flat)
    east = np.stack([np.where(flat == 1, 0, -y / flat), np.where(flat == 1, 1, x / flat), np.zeros_like(x)], axis=-1)
    east = east / size(east)[..., None]
    north = np.cross(centres, east)
    a, t = np.asarray(degrees, dtype=LD)[..., None] * DEGREE, np.asarray(azimuths, dtype=LD)[..., None]
    return np.cos(a) * centres + np.sin(a) * (np.cos(t) * north + np.sin(t) * east)


def arc_distance(p, a, b):
    """Degrees from positions to arcs ``a`` to ``b``."""
    normal = cross(a, b)
    normal = normal / size(normal)[..., None]
    is_beside = (dot(np.cross(normal, a), p) > 0) & (dot(np.cross(b, normal), p) > 0)
    # the sine from the difference to the nearer end, which keeps the digits of what is near
    nearer = np.where((dot(p, a) > dot(p, b))[..., None], a, b)
    foot = np.abs(dot(normal, p - nearer))
    beside = np.arctan2(foot, size(np.cross(normal, p))) / DEGREE
    return np.where(is_beside, beside, np.minimum(angle(p, a), angle(p, b)))


@dataclass
class Stars:
    """Star-shaped polygons of one number of vertices."""

    centres: np.ndarray
    """Vectors, ``(n, 3)``."""
    vertices: np.ndarray
    """Degrees, ``(n, m, 2)``, in either order."""
    v: np.ndarray
    """The same as vectors, by growing azimuth around the centre."""

    @classmethod
    def random(cls, rng, centres, radii, count):
        """Convex and notched ones; the vertices lie within the radii (degrees) of the centres."""
        n = len(centres)
        azimuths = (np.arange(count) + rng.uniform(-0.2, 0.2, (n, count))) * 2 * np.pi / count
        spread = np.where(rng.random((n, 1)) < 0.5, 1.0, rng.uniform(0.3, 1.0, (n, count)))
        vertices = positions(offset(centres[:, None, :], radii[:, None] * spread, azimuths))
        v = vectors(vertices)
        turned = rng.random(n) < 0.5
        vertices[turned] = vertices[turned, ::-1]
        start = rng.integers(0, count, n)
        vertices = vertices[np.arange(n)[:, None], (np.arange(count) + start[:, None]) % count]
        return cls(centres, vertices, v)

    def edges(self):
        return self.v, np.roll(self.v, -1, axis=1)

    def star_area(self):
        """Steradian of the side with the centre."""
        a, b = self.edges()
        c = self.centres[:, None, :]
        # azimuth grows towards the east, clockwise as seen from outside: the determinant is negative
        determinant = -dot(a - c, np.cross(b - c, c))
        return (2 * np.arctan2(determinant, 1 + dot(a, b) + dot(b, c) + dot(c, a))).sum(axis=1)

    def area(self):
        """Square degrees of the smaller side."""
        star = self.star_area()
        return np.minimum(star, 4 * PI - star) / DEGREE**2

    def centroid(self):
        """Vectors to the centres of gravity of the sides with the centres: the sums of the normals of edges, from the centre."""
        a, b = self.edges()
        c = self.centres[:, None, :]
        area = -dot(a - c, np.cross(b - c, c))[..., None]
        length = (angle(a, b) * DEGREE)[..., None]
        normal = cross(b, a)
        edges = normal / size(normal)[..., None] * length
        # flat triangles where the sphere is flat, else the integral itself
        flat = ((a - c + b - c) / 3 * area).sum(axis=1) / area.sum(axis=1) + self.centres
        found = np.where((angle(c, a).max(axis=1) < 0.01)[:, None], flat, edges.sum(axis=1))
        return found / size(found)[..., None]

    def holds(self, p):
        """Whether vectors ``(n, 3)`` or ``(n, k, 3)`` are in the smaller side."""
        if p.ndim == 2:
            return self.holds(p[:, None, :])[:, 0]
        a, b = (edge[:, None] for edge in self.edges())
        c, q = self.centres[:, None, None, :], p[:, :, None, :]
        in_wedge = (dot(np.cross(a, c), q - c) >= 0) & (dot(np.cross(c, b), q - c) > 0)
        on_side = dot(cross(b, a), q - a) >= 0
        star = (in_wedge & on_side).any(axis=-1)
        return star ^ (self.star_area() > 2 * PI)[:, None]

    def rim(self, p):
        """Degrees from the rim."""
        if p.ndim == 2:
            return self.rim(p[:, None, :])[:, 0]
        a, b = (edge[:, None] for edge in self.edges())
        return arc_distance(p[:, :, None, :], a, b).min(axis=-1)

    def fits(self):
        """Whether the star is one after rounding to doubles, with its sides surely apart in size."""
        a, b = self.edges()
        c = self.centres[:, None, :]
        wedges = (dot(np.cross(a, c), b - c) > 0).all(axis=1)
        return wedges & (np.abs(self.star_area() - 2 * PI) > 1e-6)


def crossings(one, other):
    """Whether rims surely cross, and whether they might, for pairs of stars."""
    a, b = (e[:, :, None] for e in one.edges())
    c, d = (e[:, None] for e in other.edges())
    n, m = cross(a, b), cross(c, d)
    n, m = n / size(n)[..., None], m / size(m)[..., None]
    heights = [dot(n, c - a), dot(n, d - a), dot(m, a - c), dot(m, b - c)]
    opposite = (heights[0] * heights[1] < 0) & (heights[2] * heights[3] < 0)
    same_half = dot(np.cross(n, m), a + b) * dot(np.cross(n, m), c + d) > 0
    cross_ = opposite & same_half
    sure = cross_ & (np.min(np.abs(heights), axis=0) / DEGREE > RIM)
    return sure.any(axis=(1, 2)), cross_.any(axis=(1, 2))


def places(rng, count):
    """Vectors over the sphere, a third of them where mistakes live: poles, RA 0 and 360, the equator."""
    ra = rng.uniform(0, 360, count)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    special = rng.integers(0, 9, count)
    ra = np.where(special == 0, rng.choice([0.0, 360.0, 1e-9, 359.999999999, 90.0, 180.0, 270.0], count), ra)
    dec = np.where(special == 1, rng.choice([90.0, -90.0, 89.9999999, -89.99, 0.0], count), dec)
    near = special == 2
    ra = np.where(near, 10 ** rng.uniform(-9, 0, count), ra)
    dec = np.where(near, 90 - 10 ** rng.uniform(-9, 0, count), dec)
    return vectors(np.column_stack([ra, dec]))


def sizes(rng, count, largest):
    """Degrees from a thousandth of an arcsecond on."""
    return np.exp(rng.uniform(np.log(SMALLEST), np.log(largest), count))


def aside(rng, count):
    """Degrees by which to miss a rim, to either side: mostly little."""
    return rng.choice([-1, 1], count) * 10 ** rng.uniform(np.log10(2 * RIM), 0, count)
