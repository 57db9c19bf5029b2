"""Brute force on the sphere: other formulas than the product's, vectors and extended precision."""

import itertools

import numpy as np

LD = np.longdouble


def vectors(ra, dec):
    """Unit vectors, shape (..., 3), in extended precision."""
    ra, dec = np.radians(np.asarray(ra, dtype=LD)), np.radians(np.asarray(dec, dtype=LD))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def distance(ra1, dec1, ra2, dec2):
    """Degrees: angle between vectors by both products, good at all angles."""
    one, other = vectors(ra1, dec1), vectors(ra2, dec2)
    across = np.sqrt((np.cross(one, other) ** 2).sum(axis=-1))
    return np.degrees(np.arctan2(across, (one * other).sum(axis=-1)))


def all_distances(points, ra, dec):
    """Degrees from one position to many: in plain doubles, but in extended precision where they are small or large."""
    a, d = np.radians(points).T
    a0, d0 = np.radians([ra, dec])
    cosine = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a - a0)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    fine = np.abs(cosine) > 0.9
    angle[fine] = distance(points[fine, 0], points[fine, 1], ra, dec)
    return angle


def in_polygon(points, polygon):
    """Which positions are in a polygon (its smaller side): a sum of oriented triangles, whole sphere as needed.

    ``points`` is (n, 2), ``polygon`` (m, 2), degrees.
    """
    p = vectors(points[:, 0], points[:, 1])
    v = vectors(polygon[:, 0], polygon[:, 1])
    count = np.zeros(len(points), dtype=int)
    area = LD(0)
    for one, other in itertools.pairwise(v):
        triangle = np.linalg.det(np.array([v[0], one, other], dtype=float))
        sign = 1 if triangle > 0 else -1
        sides = [np.cross(v[0], one), np.cross(one, other), np.cross(other, v[0])]
        inside = np.all([sign * (p @ side) >= 0 for side in sides], axis=0)
        count += sign * inside
        area += 2 * np.arctan2(v[0] @ np.cross(one, other), 1 + v[0] @ one + one @ other + other @ v[0])
    # the left side's indicator is this count but for whole spheres
    whole = -np.floor(area / (4 * np.pi))
    left_area = area + whole * 4 * np.pi
    on_left = (count + int(whole)) > 0
    return on_left if left_area <= 2 * np.pi else ~on_left


def rim_distance(points, polygon):
    """Degrees from the rim: golden section along each edge would be slower; a dense foot search is exact enough here."""
    p = vectors(points[:, 0], points[:, 1])
    v = vectors(polygon[:, 0], polygon[:, 1])
    nearest = np.full(len(points), 180.0, dtype=LD)
    for one, other in zip(v, np.roll(v, -1, axis=0), strict=True):
        normal = np.cross(one, other)
        normal /= np.sqrt(normal @ normal)
        foot = p - (p @ normal)[:, None] * normal
        ahead = np.cross(normal, one) @ foot.T
        behind = np.cross(other, normal) @ foot.T
        angle = np.degrees(np.arcsin(np.clip(np.abs(p @ normal), 0, 1)))
        nearest = np.where((ahead > 0) & (behind > 0), np.minimum(nearest, angle), nearest)
    ends = distance(points[:, None, 0], points[:, None, 1], polygon[None, :, 0], polygon[None, :, 1])
    return np.minimum(nearest, ends.min(axis=1))


def area(polygon):
    """Square degrees of the smaller side, by its angles (Girard)."""
    v = vectors(polygon[:, 0], polygon[:, 1])
    before, after = np.roll(v, 1, axis=0), np.roll(v, -1, axis=0)
    inner = LD(0)
    for a, b, c in zip(before, v, after, strict=True):
        to_a, to_c = np.cross(np.cross(b, a), b), np.cross(np.cross(b, c), b)
        angle = np.arctan2(np.cross(to_c, to_a) @ b, to_c @ to_a)
        inner += angle % (2 * np.pi)
    left = inner - (len(v) - 2) * np.pi
    return float(min(left, 4 * np.pi - left) * (180 / np.pi) ** 2)


def random_positions(rng, count):
    """Positions over the sphere, with the places where mistakes live: poles, RA 0 and 360, neighbours of those."""
    ra = rng.uniform(0, 360, count)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    special = rng.random(count)
    ra = np.where(special < 0.03, rng.choice([0.0, 360.0, 1e-9, 359.999999999, 180.0], count), ra)
    dec = np.where((special > 0.02) & (special < 0.05), rng.choice([90.0, -90.0, 89.9999999, 0.0], count), dec)
    return np.column_stack([ra, dec])


def around(rng, centre, radius, count):
    """Positions within about a radius (degrees) of a centre."""
    angle = np.radians(radius) * np.sqrt(rng.uniform(0, 1, count))
    azimuth = rng.uniform(0, 2 * np.pi, count)
    return offset(centre, angle, azimuth)


def offset(centre, angle, azimuth):
    """Positions at angles (radians) and azimuths (radians) from a centre (degrees)."""
    d, a = np.radians(centre[1]), np.radians(centre[0])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    middle = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    v = (
        np.cos(angle)[:, None] * middle
        + (np.sin(angle) * np.cos(azimuth))[:, None] * north
        + (np.sin(angle) * np.sin(azimuth))[:, None] * east
    )
    ra = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360
    return np.column_stack([ra, np.degrees(np.arctan2(v[:, 2], np.hypot(v[:, 0], v[:, 1])))])


def random_polygon(rng, *, largest=80.0, smallest=0.001):
    """A simple polygon, star-shaped around a random centre, in either order, convex or not."""
    count = rng.integers(3, 9)
    centre = random_positions(rng, 1)[0]
    size = np.radians(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    azimuth = np.sort((np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count)
    angle = size * (rng.uniform(0.4, 1.0, count) if rng.random() < 0.6 else np.ones(count))
    polygon = offset(centre, angle, azimuth)
    return polygon[::-1] if rng.random() < 0.5 else polygon
