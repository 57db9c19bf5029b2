"""Regions of the sky as arrays: which positions are inside, and positions along the rim."""

from __future__ import annotations

from typing import assert_never

import numpy as np
import numpy.typing as npt

from gateway.vo.regions import Circle, Polygon, Range, Region, signed_area

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def to_vectors(ra: npt.ArrayLike, dec: npt.ArrayLike) -> Floats:
    """Give unit vectors, shape ``(n, 3)``, of positions in degrees."""
    lon, lat = np.radians(np.atleast_1d(ra)), np.radians(np.atleast_1d(dec))
    return np.column_stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))


def to_positions(vectors: Floats) -> tuple[Floats, Floats]:
    """Give right ascension in [0, 360) and declination, degrees, of vectors of any length, shape ``(n, 3)``."""
    x, y, z = vectors.T
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def inside(region: Region, ra: Floats, dec: Floats) -> Flags:
    """Tell which positions (ICRS degrees) are in a region; NaN is in none."""
    match region:
        case Circle():
            chord = np.linalg.norm(to_vectors(ra, dec) - to_vectors(region.ra, region.dec), axis=1)
            return np.asarray(chord <= 2 * np.sin(np.radians(region.radius) / 2) + 1e-15)
        case Polygon():
            return _in_polygon(region, to_vectors(ra, dec))
        case Range():
            width = region.ra_max - region.ra_min
            turn = np.mod(ra - region.ra_min, 360.0) <= np.mod(width, 360.0)
            around = np.abs(width) >= 360.0
            return np.asarray((turn | around) & (dec >= region.dec_min) & (dec <= region.dec_max))
        case _:
            assert_never(region)


def _in_polygon(polygon: Polygon, vectors: Floats) -> Flags:
    """Sum the angles under which a position sees the edges: a full turn inside, and backwards opposite to it."""
    vertices = to_vectors(*np.array(polygon.vertices).T)
    total = np.zeros(len(vectors))
    for one, other in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        p, q = np.cross(vectors, one), np.cross(vectors, other)
        total += np.arctan2(np.einsum("ij,ij->i", np.cross(p, q), vectors), np.einsum("ij,ij->i", p, q))
    return np.asarray(total * np.sign(signed_area(polygon)) > np.pi)


def edges(region: Region) -> int:
    """Count the smooth edges of a region's rim: one of a circle, four of a range."""
    match region:
        case Circle():
            return 1
        case Polygon():
            return len(region.vertices)
        case Range():
            return 4
        case _:
            assert_never(region)


def along(region: Region, edge: npt.NDArray[np.int64], part: Floats) -> tuple[Floats, Floats]:
    """Give positions on the rim of a region, ICRS degrees.

    Parameters
    ----------
    edge
        Which of its edges, counted from 0.
    part
        How far along the edge, from 0 to 1.
    """
    match region:
        case Circle():
            return _around(region, part)
        case Polygon():
            vertices = to_vectors(*np.array(region.vertices).T)
            one, other = vertices[edge], np.roll(vertices, -1, axis=0)[edge]
            return to_positions(one + part[:, None] * (other - one))
        case Range():
            width = 360.0 if abs(region.ra_max - region.ra_min) >= 360 else (region.ra_max - region.ra_min) % 360
            is_parallel = edge < 2
            ra = region.ra_min + np.where(is_parallel, part * width, np.where(edge == 2, 0.0, width))
            height = region.dec_max - region.dec_min
            dec = region.dec_min + np.where(is_parallel, np.where(edge == 0, 0.0, height), part * height)
            return np.mod(ra, 360.0), np.clip(dec, -90.0, 90.0)
        case _:
            assert_never(region)


def _around(circle: Circle, part: Floats) -> tuple[Floats, Floats]:
    centre = to_vectors(circle.ra, circle.dec)[0]
    lon, lat = np.radians(circle.ra), np.radians(circle.dec)
    east = np.array((-np.sin(lon), np.cos(lon), 0.0))
    north = np.array((-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)))
    angle = 2 * np.pi * part[:, None]
    radius = np.radians(circle.radius)
    return to_positions(np.cos(radius) * centre + np.sin(radius) * (np.cos(angle) * east + np.sin(angle) * north))
