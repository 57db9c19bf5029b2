"""Where an image lies: the polygon around its pixels, its centre, its size, and the size of a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.errors import DatasetError
from gateway.imaging.plane import SkyPlane
from gateway.imaging.shapes import Floats, inside, to_positions, to_vectors
from gateway.vo.regions import Polygon, RegionError, signed_area

TOLERANCE_PX = 0.25
"""By how much an edge of the footprint may leave the edge of the image, pixels, before it gets another vertex."""

MOST_PIECES = 32
"""Vertices along one side of the image, at most."""

SAMPLES = 48
"""Pixels in each direction whose positions stand for all."""

HEMISPHERE_DEG = 89.0
"""Radius from which an image has no polygon: its smaller side might be the sky that it does not show."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Region of the sky that an image shows, ICRS degrees."""

    polygon: Polygon | None
    """Around all pixels, counter-clockwise seen from inside the sphere with east to the left; ``None`` beyond a hemisphere."""
    ra: float
    """Right ascension of the middle, [0, 360)."""
    dec: float
    """Declination of the middle."""
    diameter: float
    """Of the circle around the middle that holds the image, degrees."""
    pixel_scale: float
    """Root of the area of the middle pixel, arcseconds."""
    samples: tuple[Floats, Floats]
    """Right ascension and declination of pixels spread evenly over the image."""
    spacing: float
    """Greatest distance of neighbours among the samples, degrees."""


def footprint(plane: SkyPlane) -> Footprint:
    """Find where an image lies.

    Raises
    ------
    DatasetError
        Too few of its pixels have a position.
    """
    ny, nx = plane.shape
    columns = np.linspace(-0.5, nx - 0.5, min(SAMPLES, nx + 1))
    rows = np.linspace(-0.5, ny - 0.5, min(SAMPLES, ny + 1))
    x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
    ra, dec = plane.to_sky(x, y)
    known = np.isfinite(ra)
    if known.sum() < 3:
        raise DatasetError("fewer than three of its corners and samples have a position on the sky")
    vectors = to_vectors(ra[known], dec[known])
    middle = _middle(plane, vectors)
    radius = float(np.degrees(np.arccos(np.clip((vectors @ middle).min(), -1, 1))))
    centre = to_positions(middle[None, :])
    is_small = radius < HEMISPHERE_DEG
    polygon = None
    if is_small:
        polygon = _outline(plane, x, y, ra, dec) if known.all() else None
        polygon = polygon or _hull(vectors, middle)
    return Footprint(
        polygon,
        float(centre[0][0]),
        float(centre[1][0]),
        min(2 * radius, 360.0),
        plane.scale_deg * 3600,
        (ra[known], dec[known]),
        _spacing(ra, dec, (rows.size, columns.size)),
    )


def _middle(plane: SkyPlane, vectors: Floats) -> Floats:
    """Direction of the middle pixel, or of the mean of all samples where that one has none."""
    ny, nx = plane.shape
    ra, dec = plane.to_sky((nx - 1) / 2, (ny - 1) / 2)
    found = to_vectors(ra, dec)[0] if np.isfinite(ra[0]) else vectors.mean(axis=0)
    size = float(np.linalg.norm(found))
    unit: Floats = found / size if size > 1e-9 else vectors[0]
    return unit


def _outline(plane: SkyPlane, x: Floats, y: Floats, ra: Floats, dec: Floats) -> Polygon | None:
    """Polygon along the edges of the image; ``None`` if it is not around all samples."""
    ny, nx = plane.shape
    corners = [(-0.5, -0.5), (nx - 0.5, -0.5), (nx - 0.5, ny - 0.5), (-0.5, ny - 0.5)]
    vertices: list[tuple[float, float]] = []
    for start, end in zip(corners, (*corners[1:], corners[0]), strict=True):
        edge = _edge(plane, start, end)
        if edge is None:
            return None
        vertices += edge
    try:
        polygon = Polygon(tuple(vertices))
    except RegionError:
        return None
    if signed_area(polygon) < 0:
        polygon = Polygon(tuple(reversed(polygon.vertices)))
    # Samples that are well inside must be inside; what folds over itself has another outline than its edges.
    within = (x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1)
    return polygon if bool(inside(polygon, ra[within], dec[within]).all()) else None


def _edge(plane: SkyPlane, start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]] | None:
    """Vertices along one side of the image, as few as follow it to the tolerance; the last corner is left out."""
    pieces = 1
    while True:
        t = np.linspace(0, 1, 2 * pieces + 1)
        x, y = start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])
        ra, dec = plane.to_sky(x, y)
        if not np.isfinite(ra).all():
            return None
        if pieces >= MOST_PIECES or _bend(plane, ra, dec, x, y) <= TOLERANCE_PX:
            return list(zip(ra[:-1:2].tolist(), dec[:-1:2].tolist(), strict=True))
        pieces *= 2


def _bend(plane: SkyPlane, ra: Floats, dec: Floats, x: Floats, y: Floats) -> float:
    """Greatest distance, pixels, of the middle of a great circle between vertices from the side between them."""
    vectors = to_vectors(ra[::2], dec[::2])
    middle_ra, middle_dec = to_positions(vectors[:-1] + vectors[1:])
    found_x, found_y = plane.to_pixels(middle_ra, middle_dec)
    # only across the side counts: along it the middle may be anywhere
    along = np.array([x[-1] - x[0], y[-1] - y[0]])
    along /= np.hypot(*along)
    across = np.abs((found_x - x[1::2]) * along[1] - (found_y - y[1::2]) * along[0])
    return float(np.max(np.nan_to_num(across, nan=np.inf)))


def _hull(vectors: Floats, middle: Floats) -> Polygon | None:
    """Convex polygon around positions that lie within a hemisphere about a direction."""
    east = np.cross((0.0, 0.0, 1.0), middle)
    east = np.array((1.0, 0.0, 0.0)) if np.linalg.norm(east) < 1e-9 else east / np.linalg.norm(east)
    north = np.cross(middle, east)
    depth = vectors @ middle
    flat = np.column_stack((vectors @ east, vectors @ north)) / depth[:, None]
    order = np.lexsort((flat[:, 1], flat[:, 0]))
    lower = _chain(flat, order.tolist())
    upper = _chain(flat, order[::-1].tolist())
    corners = lower[:-1] + upper[:-1]
    if len(corners) < 3:
        return None
    ra, dec = to_positions(vectors[corners])
    return Polygon(tuple(zip(ra.tolist(), dec.tolist(), strict=True)))


def _chain(points: Floats, order: list[int]) -> list[int]:
    chain: list[int] = []
    for index in order:
        while len(chain) > 1:
            (ax, ay), (bx, by), (cx, cy) = points[chain[-2]], points[chain[-1]], points[index]
            if (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) > 0:
                break
            chain.pop()
        chain.append(index)
    return chain


def _spacing(ra: Floats, dec: Floats, shape: tuple[int, int]) -> float:
    grid = to_vectors(ra, dec).reshape(*shape, 3)
    steps = [np.linalg.norm(np.diff(grid, axis=axis), axis=-1).ravel() for axis in (0, 1)]
    chord = np.concatenate(steps)
    chord = chord[np.isfinite(chord)]
    return float(np.degrees(2 * np.arcsin(np.clip(chord.max() / 2, 0, 1)))) if chord.size else 180.0
