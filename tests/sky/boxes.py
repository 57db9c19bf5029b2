"""Brute force for boxes between meridians and parallels: their rims and those of polygons, sampled densely."""

import numpy as np

from tests.sky import judge

Box = tuple[float, float, float, float]
"""Right ascension from and to, declination from and to; the first may be greater than the second."""

PIECES = 90
"""Samples along each side."""


def in_box(points: np.ndarray, box: Box) -> np.ndarray:
    """Which positions are in a box, rims included; the pole has every right ascension."""
    ra_min, ra_max, dec_min, dec_max = box
    width = ra_max - ra_min if ra_max >= ra_min else ra_max - ra_min + 360
    ra, dec = np.asarray(points, dtype=float).T
    east = np.mod(ra - ra_min, 360.0)
    at_ra = (width >= 360) | (east <= width) | (np.abs(dec) == 90)
    return at_ra & (dec >= dec_min) & (dec <= dec_max)


def box_rim(box: Box, pieces: int = PIECES) -> np.ndarray:
    ra_min, ra_max, dec_min, dec_max = box
    width = ra_max - ra_min if ra_max >= ra_min else ra_max - ra_min + 360
    t = np.linspace(0, 1, pieces)
    ra, dec = ra_min + width * t, dec_min + (dec_max - dec_min) * t
    sides = [
        np.column_stack([ra, np.full(pieces, dec_min)]),
        np.column_stack([ra, np.full(pieces, dec_max)]),
        np.column_stack([np.full(pieces, ra_min), dec]),
        np.column_stack([np.full(pieces, ra_min + width), dec]),
    ]
    found = np.concatenate(sides if width < 360 else sides[:2])
    found[:, 0] %= 360
    return found


def polygon_rim(polygon: np.ndarray, pieces: int = PIECES) -> np.ndarray:
    vectors = judge.vectors(*polygon.T).astype(float)
    t = np.linspace(0, 1, pieces)[:, None]
    rim = np.concatenate([(1 - t) * a + t * b for a, b in zip(vectors, np.roll(vectors, -1, axis=0), strict=True)])
    ra = np.degrees(np.arctan2(rim[:, 1], rim[:, 0])) % 360
    return np.column_stack([ra, np.degrees(np.arctan2(rim[:, 2], np.hypot(rim[:, 0], rim[:, 1])))])


def chords(points: np.ndarray) -> np.ndarray:
    return judge.vectors(*points.T).astype(float)


def well_inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which positions are in a polygon and not on the great circle of an edge, of which the judge is not sure."""
    shifts = np.array([(1e-7, 1.3e-7), (-1.1e-7, -1e-7)])
    nudged = [points + shift for shift in shifts if (np.abs(points[:, 1] + shift[1]) <= 90).all()]
    return np.all([judge.in_polygon(each, polygon) for each in nudged or [points]], axis=0)


def brute(polygon: np.ndarray, box: Box) -> bool | None:
    """Whether a polygon and a box meet; ``None`` where the samples are too few to tell."""
    rim, edge = polygon_rim(polygon), box_rim(box)
    if in_box(rim, box).any() or in_box(polygon, box).any() or well_inside(edge, polygon).any():
        return True
    one, other = chords(rim), chords(edge)
    gap = np.sqrt(np.maximum(2 - 2 * (one @ other.T).max(), 0))
    steps = [np.linalg.norm(np.diff(part, axis=0), axis=1) for part in (one, other)]
    # where one row of samples ends the next begins elsewhere: such leaps are no steps
    spacing = max(np.median(part) for part in steps) * 3
    return None if gap <= spacing + 1e-9 else False
