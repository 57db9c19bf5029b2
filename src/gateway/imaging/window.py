"""From a region of the sky to the box of pixels that shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.errors import NoOverlapError
from gateway.imaging.plane import SkyPlane
from gateway.imaging.shapes import Floats, along, edges, inside, to_vectors
from gateway.vo.regions import Region

WIDE_DEG = 150.0
"""Size from which an image may show a position twice, or be cut open: all its pixels are asked."""

STRAIGHT_PX = 1e-3
"""By how much a piece of a rim may leave a straight line of pixels, before it is halved, pixels."""

PIECES = 32
"""Pieces that an edge of a rim is looked at in to begin with; half of them where there are many edges."""

HALVINGS = 44
"""How often a piece is halved where it never gets straight: where the image is cut open, or the projection ends."""

BLIND_HALVINGS = 6
"""How often one is halved of which no pixel is known."""

BAND = 500_000
"""Pixels whose positions are asked at once."""

MOST_ASKED = 4_000_000
"""Pixels whose positions are asked in such images; of a larger one each second, third, ... in both directions."""


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open box of pixels ``[x0, x1) x [y0, y1)``, counted from 0, inside the image."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return (self.y1 - self.y0) * (self.x1 - self.x0)


def whole(plane: SkyPlane) -> Window:
    """Box of all pixels."""
    ny, nx = plane.shape
    return Window(0, nx, 0, ny)


def pixel_window(plane: SkyPlane, region: Region) -> Window:
    """Find the smallest box of pixels that covers a region as far as the image shows it.

    Parameters
    ----------
    plane
        Where the pixels are on the sky.
    region
        ICRS degrees.

    Raises
    ------
    NoOverlapError
        The region does not touch the image (SODA 1.0, "Successful requests").

    Notes
    -----
    A pixel is an area: pixel ``i`` reaches from ``i - 0.5`` to ``i + 0.5``, and one that the region touches belongs to the box.
    """
    ny, nx = plane.shape
    sides = _outline(nx, ny)
    ra, dec = plane.to_sky(*sides)
    # What the image shows of the region ends at the region's rim or at the image's sides, unless its sky ends within.
    is_open = plane.diameter_deg > WIDE_DEG or not np.isfinite(ra).all() or not plane.is_full
    found = [_shown(plane, region, *sides), _rim(plane, region, None if is_open else _cap(plane, ra, dec))]
    if is_open:
        step = max(1, math.ceil(math.sqrt(nx * ny / MOST_ASKED)))
        columns, rows = (np.unique(np.append(np.arange(0, n, step), n - 1)).astype(float) for n in (nx, ny))
        band = max(1, BAND // columns.size)
        bands = (rows[start : start + band] for start in range(0, rows.size, band))
        found += [_shown(plane, region, *np.meshgrid(columns, part)) for part in bands]
    all_x, all_y = (np.concatenate(axis) for axis in zip(*found, strict=True))
    if all_x.size == 0:
        raise NoOverlapError("the region and the image have no pixel in common")
    return Window(*_span(all_x, nx), *_span(all_y, ny))


def _cap(plane: SkyPlane, ra: Floats, dec: Floats) -> tuple[Floats, float]:
    """Direction of the middle of an image, and the angle (radians) within which it lies, from positions along its sides."""
    ny, nx = plane.shape
    middle = to_vectors(*plane.to_sky((nx - 1) / 2, (ny - 1) / 2))[0]
    return middle, float(_angles(to_vectors(ra, dec), middle).max()) * 1.001


def _angles(vectors: Floats, others: Floats) -> Floats:
    chord = np.linalg.norm(vectors - others, axis=-1)
    return np.asarray(2 * np.arcsin(np.clip(chord / 2, 0, 1)))


def _rim(plane: SkyPlane, region: Region, cap: tuple[Floats, float] | None) -> tuple[Floats, Floats]:
    """Pixel positions where pieces of a region's rim enter, leave, begin and end on an image.

    Pieces are halved until they are straight; of those that cannot reach the image, given by a cap, nothing is asked.
    """
    count = edges(region)
    pieces = PIECES if count <= PIECES else PIECES // 8
    edge = np.repeat(np.arange(count), pieces)
    start = np.tile(np.arange(pieces) / pieces, count)
    size = 1.0 / pieces
    found: list[tuple[Floats, Floats]] = []
    for level in range(HALVINGS):
        sky = [along(region, edge, start + size * part) for part in (0.0, 0.5, 1.0)]
        if cap is not None:
            one, middle, other = (to_vectors(*place) for place in sky)
            length = np.maximum(_angles(one, middle), _angles(middle, other))
            is_near = _angles(middle, cap[0]) <= cap[1] + 1.1 * length + 1e-12
            edge, start, sky = edge[is_near], start[is_near], [(ra[is_near], dec[is_near]) for ra, dec in sky]
        if edge.size == 0:
            break
        ends = [np.column_stack(plane.to_pixels(*place)) for place in sky]
        is_straight = _straight(*ends)
        found.append(_clipped(ends[0][is_straight], ends[2][is_straight], plane.shape))
        is_known = np.isfinite(np.concatenate(ends, axis=1)).any(axis=1)
        is_left = ~is_straight & (is_known if level >= BLIND_HALVINGS else True)
        size /= 2
        edge, start = np.repeat(edge[is_left], 2), np.repeat(start[is_left], 2)
        start[1::2] += size
    x, y = (np.concatenate(axis) for axis in zip(*found, strict=True)) if found else (np.empty(0), np.empty(0))
    return x, y


def _straight(one: Floats, middle: Floats, other: Floats) -> npt.NDArray[np.bool_]:
    """Tell which pieces are straight lines on the image, from the pixel positions of their ends and middles."""
    with np.errstate(invalid="ignore"):
        whole, half = other - one, middle - one
        length = np.hypot(*whole.T)
        aside = np.abs(whole[:, 0] * half[:, 1] - whole[:, 1] * half[:, 0]) / np.maximum(length, STRAIGHT_PX)
        # in the middle too: where the image is cut open, one half of the piece has no length and the other has it all
        longest = np.maximum(np.hypot(*half.T), np.hypot(*(other - middle).T))
        return np.asarray((aside <= STRAIGHT_PX) & (longest <= 0.75 * length + STRAIGHT_PX))


def _clipped(one: Floats, other: Floats, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Find the ends of what is on the image of straight lines (Liang and Barsky 1984)."""
    enter, leave = np.zeros(len(one)), np.ones(len(one))
    step = other - one
    for axis, size in enumerate(reversed(shape)):
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = (-0.5 - one[:, axis]) / step[:, axis], (size - 0.5 - one[:, axis]) / step[:, axis]
        still = step[:, axis] == 0
        is_between = (one[:, axis] >= -0.5) & (one[:, axis] <= size - 0.5)
        enter = np.where(still, np.where(is_between, enter, 2.0), np.maximum(enter, np.minimum(low, high)))
        leave = np.where(still, leave, np.minimum(leave, np.maximum(low, high)))
    meets = enter <= leave
    ends = np.concatenate([(one + part[:, None] * step)[meets] for part in (enter, leave)])
    return ends[:, 0], ends[:, 1]


def _outline(nx: int, ny: int) -> tuple[Floats, Floats]:
    """Positions along the four sides of an image, a pixel apart."""
    across, along = np.linspace(-0.5, nx - 0.5, nx + 1), np.linspace(-0.5, ny - 0.5, ny + 1)
    x = np.concatenate((across, across, np.full(ny + 1, -0.5), np.full(ny + 1, nx - 0.5)))
    y = np.concatenate((np.full(nx + 1, -0.5), np.full(nx + 1, ny - 0.5), along, along))
    return x, y


def _shown(plane: SkyPlane, region: Region, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Keep the pixel positions that are inside the region."""
    x, y = x.ravel(), y.ravel()
    with np.errstate(invalid="ignore"):
        is_inside = inside(region, *plane.to_sky(x, y))
    return x[is_inside], y[is_inside]


def _span(positions: Floats, size: int) -> tuple[int, int]:
    """First pixel, and the one after the last, that positions along an axis touch."""
    first = math.floor(float(positions.min()) + 0.5)
    last = math.ceil(float(positions.max()) - 0.5)
    first = min(max(first, 0), size - 1)
    return first, max(min(last, size - 1), first) + 1
