"""HEALPix: the index of positions, and ranges of it that cover a region.

Order 29, nested, ICRS. ``cdshealpix`` does the arithmetic; it is imported when first needed, as it brings astropy along.
Its functions for coordinates take astropy quantities, which costs ten times what the work does: the compiled functions below
them are called with radians.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.vo.regions import (
    Circle,
    Polygon,
    Range,
    Region,
    Vector,
    cross,
    dot,
    half_spaces,
    position,
    unit_vector,
)

ORDER = 29
"""Deepest order of HEALPix, 0.4 milliarcseconds: what a 64-bit integer holds."""

SLACK_DEG = 1e-7
"""By how much a circle is widened before it is covered, degrees: far above rounding, far below any cell in use."""


@functools.cache
def _rust() -> Any:
    from cdshealpix import cdshealpix

    return cdshealpix


def order29(ra: npt.ArrayLike, dec: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Index positions by their order-29 nested HEALPix cell.

    Parameters
    ----------
    ra, dec
        ICRS degrees; right ascension in any turn, declination in [-90, 90]. The caller masks what is no position
        (NULL, NaN, infinite, |dec| > 90) and gives such rows no index; here they are an error.

    Returns
    -------
    numpy.ndarray
        Indices in [0, 12 * 4**29), int64, one for each position.

    Raises
    ------
    ValueError
        A value is no position.
    """
    lon = np.atleast_1d(np.asarray(ra, dtype=np.float64))
    lat = np.atleast_1d(np.asarray(dec, dtype=np.float64))
    if not (np.isfinite(lon).all() and (np.abs(lat) <= 90).all()):  # NaN fails the second
        raise ValueError("positions must be finite, with declinations in [-90, 90]; mask the others")
    lon, lat = (
        np.ascontiguousarray(array) for array in np.broadcast_arrays(np.radians(np.mod(lon, 360.0)), np.radians(lat))
    )
    cells = np.empty(lon.shape, dtype=np.uint64)
    offsets = np.empty(lon.shape), np.empty(lon.shape)
    depth = np.full(lon.shape, ORDER, dtype=np.uint8)
    _rust().lonlat_to_healpix(depth, lon, lat, cells, *offsets, np.uint16(1))
    return cells.astype(np.int64)


LARGE_DEG = 30.0
"""Radius, degrees, from which all cells of `LARGE_DEPTH` are looked at: cdshealpix 0.9 loses cells of circles beyond 100."""

LARGE_DEPTH = 4
"""3,072 cells of 3.7 degrees."""


def region_cells(region: Region, *, across: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cells of mixed depth that cover a region, about so many along its diameter, and their depths."""
    match region:
        case Circle():
            return circle_cells(region, across)
        case Polygon():
            return polygon_cells(region, across)
        case Range():
            return circle_cells(bounding_circle(region), across)


def circle_cells(circle: Circle, across: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cells of mixed depth that cover a circle, and their depths."""
    radius = circle.radius + SLACK_DEG
    if radius >= LARGE_DEG:
        cells = np.arange(12 * 4**LARGE_DEPTH, dtype=np.int64)
        reach = math.radians(radius) + cell_radius(LARGE_DEPTH)
        if reach < math.pi:
            centre = np.array(unit_vector(circle.ra, circle.dec))
            cells = cells[cell_centres(cells, LARGE_DEPTH) @ centre >= math.cos(reach)]
        return cells, np.full(cells.size, LARGE_DEPTH, dtype=np.int64)
    depth = depth_for(radius, across)
    # computed two orders deeper and then widened again: fewer cells that touch the circle only in theory
    finer = min(2, ORDER - depth)
    found, depths, _ = _rust().cone_search(
        np.uint8(depth),
        np.uint8(finer),
        np.float64(math.radians(circle.ra % 360.0)),
        np.float64(math.radians(circle.dec)),
        np.float64(math.radians(radius)),
        False,
    )
    return found.astype(np.int64), depths.astype(np.int64)


def depth_for(radius_deg: float, across: int) -> int:
    """Order at which a circle of a radius (degrees) is so many cells across."""
    # cells of order k are about 58.6 / 2**k degrees wide
    return int(min(max(math.floor(math.log2(58.6 * across / (2 * radius_deg))), 0), ORDER))


CELLS_ACROSS = 8
"""Cells along the diameter of a circle: the cover is then about 1.4 times the circle, in some 20 ranges."""


def polygon_cells(polygon: Polygon, across: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cells of mixed depth that cover a polygon, and their depths.

    Notes
    -----
    Starts from the cells of the circle around it and drops those whose circle does not meet a convex polygon: a cell lies
    within a known angle of its centre, so its centre's distance from each edge's plane decides.
    """
    circle = bounding_circle(polygon)
    cells, depths = circle_cells(circle, across)
    normals = half_spaces(polygon)
    if normals is None:
        return cells, depths
    planes = np.array(normals)
    lowest = int(depths.min(initial=ORDER))
    deepest = min(int(depths.max(initial=0)) + 2, ORDER)
    kept_cells: list[npt.NDArray[np.int64]] = []
    kept_depths: list[npt.NDArray[np.int64]] = []
    waiting = np.empty(0, dtype=np.int64)
    for depth in range(lowest, deepest + 1):
        here = np.concatenate([waiting, cells[depths == depth]])
        if here.size == 0:
            waiting = here
            continue
        centres = cell_centres(here, depth)
        margin = math.sin(min(cell_radius(depth), math.pi / 2))
        nearest = (centres @ planes.T).min(axis=1)
        meets = nearest >= -margin
        whole = nearest >= margin
        done = here[meets & whole] if depth < deepest else here[meets]
        kept_cells.append(done)
        kept_depths.append(np.full(done.size, depth, dtype=np.int64))
        parents = here[meets & ~whole]
        waiting = (parents[:, None] * 4 + np.arange(4)).ravel() if depth < deepest else parents
    return np.concatenate(kept_cells), np.concatenate(kept_depths)


def cell_centres(cells: npt.NDArray[np.int64], depth: int) -> npt.NDArray[np.float64]:
    """Give unit vectors of the centres of cells of one depth."""
    lon, lat = np.empty(cells.size), np.empty(cells.size)
    depths = np.full(cells.size, depth, dtype=np.uint8)
    _rust().healpix_to_lonlat(depths, cells.astype(np.uint64), 0.5, 0.5, lon, lat, np.uint16(1))
    return np.column_stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))


def cell_radius(depth: int) -> float:
    """Angle, radians, within which every cell of a depth lies around its centre (generously)."""
    # 0.841 / 2**depth at order 0, growing towards 1.0690 / 2**depth at great depths (the cell at the corner of a base cell)
    return math.ldexp(1.075, -depth)


def bounding_circle(region: Polygon | Range) -> Circle:
    """Find a circle that holds a region."""
    if isinstance(region, Range):
        return _around_range(region)
    vectors = [unit_vector(*vertex) for vertex in region.vertices]
    middle = (sum(v[0] for v in vectors), sum(v[1] for v in vectors), sum(v[2] for v in vectors))
    radius = max(_angle(middle, vector) for vector in vectors) if dot(middle, middle) > 1e-20 else math.pi
    # Within a circle below a hemisphere, edges and the smaller side stay inside; else take all the sky.
    if radius >= math.radians(89.9):
        return Circle(0.0, 90.0, 180.0)
    return Circle(*position(middle), math.degrees(radius) + SLACK_DEG)


def _around_range(region: Range) -> Circle:
    # the cap around the nearer pole holds every box; a box that is not wide has a smaller circle around its middle
    north, south = 90.0 - region.dec_min, 90.0 + region.dec_max
    cap = Circle(0.0, 90.0, north) if north <= south else Circle(0.0, -90.0, south)
    width = 360.0 if region.ra_max - region.ra_min >= 360 else (region.ra_max - region.ra_min) % 360
    if width > 170:
        return cap
    centre = ((region.ra_min + width / 2) % 360, (region.dec_min + region.dec_max) / 2)
    corners = [(ra, dec) for ra in (region.ra_min, region.ra_max) for dec in (region.dec_min, region.dec_max)]
    # parallels bulge from the corners' chords towards the poles, by less than their own width
    radius = max(_angle(unit_vector(*centre), unit_vector(*corner)) for corner in corners)
    return min(cap, Circle(*centre, min(math.degrees(radius) + width / 2, 180.0)), key=lambda circle: circle.radius)


def _angle(one: Vector, other: Vector) -> float:
    across = cross(one, other)
    return math.atan2(math.sqrt(dot(across, across)), dot(one, other))


def merged(cells: npt.NDArray[np.int64], depths: npt.NDArray[np.int64], most: int) -> tuple[tuple[int, int], ...]:
    """Ranges of cells at order 29, joined where they touch, and over the smallest gaps until there are few enough."""
    if cells.size == 0:
        return ()
    shifts = 2 * (ORDER - depths)
    low = cells << shifts
    high = ((cells + 1) << shifts) - 1
    order = np.argsort(low)
    low, high = low[order], high[order]
    gaps = low[1:] - high[:-1] - 1
    cuts = np.flatnonzero(gaps > 0)
    if cuts.size >= most:
        largest = np.argsort(gaps[cuts])[cuts.size - (most - 1) :]
        cuts = np.sort(cuts[largest])
    starts = low[np.concatenate(([0], cuts + 1))]
    ends = high[np.concatenate((cuts, [high.size - 1]))]
    return tuple(zip(starts.tolist(), ends.tolist(), strict=True))
