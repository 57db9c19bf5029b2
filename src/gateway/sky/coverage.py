"""Coverage maps of regions: the HEALPix cells of one order that a region meets."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gateway.sky.index import ORDER, bounding_circle, cell_centres, cell_radius
from gateway.vo.moc import MOST_RANGES, united
from gateway.vo.regions import Circle, Polygon, Region, RegionError, cross, dot, unit_vector

Floats = npt.NDArray[np.float64]
Depths = Callable[[Floats], Floats]
"""How deep positions lie in a region: radians from its rim, negative outside (there perhaps nearer to 0 than it is)."""

FINER = 2
"""Orders below the one wanted at which cells are told to meet a region: none is taken that misses it by a quarter of a cell."""

MOST_CELLS = 100_000


def region_moc(region: Region, order: int) -> tuple[tuple[int, int], ...]:
    """Find the cells of an order that a region meets.

    Parameters
    ----------
    region
        Circle or polygon, ICRS degrees.
    order
        Order of HEALPix, 0 to 29.

    Returns
    -------
    tuple
        Ranges of order-29 nested indices, both ends included, ascending and apart. All of the region is in them.

    Raises
    ------
    RegionError
        So large a region has too many cells of this order, or the polygon has no hemisphere around it.
    """
    depth_of = _depth_in_circle(region) if isinstance(region, Circle) else _depth_in_polygon(region)
    waiting = np.arange(12, dtype=np.int64)
    found: list[tuple[int, int]] = []
    deepest = min(order + FINER, ORDER)
    for depth in range(deepest + 1):
        inside = depth_of(cell_centres(waiting, depth))
        reach = cell_radius(depth)
        meets, whole = inside >= -reach, inside >= reach
        done = waiting[meets] if depth == deepest else waiting[whole]
        # below the order wanted, a cell that meets the region stands for the one around it
        upwards = 2 * max(depth - order, 0)
        shift = 2 * (ORDER - min(depth, order))
        found += [((c >> upwards) << shift, (((c >> upwards) + 1) << shift) - 1) for c in done.tolist()]
        parents = waiting[meets & ~whole]
        waiting = (parents[:, None] * 4 + np.arange(4)).ravel()
        if waiting.size > MOST_CELLS:
            raise RegionError(f"this region has too many cells of order {order}; choose a lower order")
    ranges = united(found)
    if len(ranges) > MOST_RANGES:
        raise RegionError(f"this region has too many cells of order {order}; choose a lower order")
    return ranges


def _depth_in_circle(circle: Circle) -> Depths:
    centre = np.array(unit_vector(circle.ra, circle.dec))
    radius = math.radians(circle.radius)

    def depth(vectors: Floats) -> Floats:
        across = np.linalg.norm(np.cross(vectors, centre), axis=1)
        found: Floats = radius - np.arctan2(across, vectors @ centre)
        return found

    return depth


def _depth_in_polygon(region: Region) -> Depths:
    if not isinstance(region, Polygon):
        raise RegionError("a MOC is made of a circle or a polygon")
    around = bounding_circle(region)
    if around.radius >= 90:
        raise RegionError("a MOC is made of a polygon that has a hemisphere around it")
    middle = unit_vector(around.ra, around.dec)
    vertices = [unit_vector(*vertex) for vertex in region.vertices]
    edges = list(zip(vertices, (*vertices[1:], vertices[0]), strict=True))
    centre = np.array(middle)
    # great circles are straight lines in the plane that touches the sphere in the middle
    east = np.array(cross((0.0, 0.0, 1.0), middle) if abs(middle[2]) < 0.9 else cross((1.0, 0.0, 0.0), middle))
    axes = np.stack([east / np.linalg.norm(east), np.cross(middle, east / np.linalg.norm(east))])
    flat = [axes @ np.array(v) / dot(middle, v) for v in vertices]

    def depth(vectors: Floats) -> Floats:
        height = vectors @ centre
        is_near = height > 1e-9
        plane = (vectors @ axes.T) / np.where(is_near, height, 1.0)[:, None]
        inside = np.zeros(len(vectors), dtype=bool)
        for one, other in zip(flat, (*flat[1:], flat[0]), strict=True):
            spans = (one[1] > plane[:, 1]) != (other[1] > plane[:, 1])
            rise = other[1] - one[1]
            at = one[0] + (plane[:, 1] - one[1]) / (rise or 1.0) * (other[0] - one[0])
            inside ^= spans & (plane[:, 0] < at)
        rim = np.min([_arc_distance(vectors, np.array(a), np.array(b)) for a, b in edges], axis=0)
        found: Floats = np.where(inside & is_near, rim, -rim)
        return found

    return depth


def _arc_distance(vectors: Floats, one: Floats, other: Floats) -> Floats:
    normal = np.cross(one, other - one)
    size = np.linalg.norm(normal)
    ends = np.minimum(*(np.arctan2(np.linalg.norm(np.cross(vectors, v), axis=1), vectors @ v) for v in (one, other)))
    if size < 1e-300:
        return np.asarray(ends)
    normal = normal / size
    beside = (vectors @ np.cross(normal, one) > 0) & (vectors @ np.cross(other, normal) > 0)
    foot = np.arcsin(np.clip(np.abs(vectors @ normal), 0, 1))
    return np.asarray(np.where(beside, foot, ends))
