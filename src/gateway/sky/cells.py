"""Cells that cover footprints, so that an index of arrays finds the images that a region may meet.

A footprint is stored as an array of numbers: for each HEALPix cell of its cover the cell's own number, and for each
ancestor of these cells the ancestor's number with a minus. A region asks with an array too: its cells and *their*
ancestors, which a footprint's cells may be, and its cells with a minus, below which a footprint's cells may lie. The
two covers meet where, and only where, the arrays have a number in common: one ``&&`` of a GIN index, at any depth.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from gateway.sky.index import LARGE_DEPTH, cell_centres, cell_radius, region_cells
from gateway.vo.moc import Moc
from gateway.vo.regions import Region

Ints = npt.NDArray[np.int64]

FOOTPRINT_ACROSS = 1
"""Cells along a footprint's diameter, halved twice more where they leave the footprint: a dozen cells, three dozen numbers."""

REGION_ACROSS = 4
"""Cells along the diameter of a region that asks."""

MAP_CELLS = 256
"""Most cells of a coverage map that asks; each costs two or three descents of the index."""


def numbers(cells: Ints, depths: Ints) -> Ints:
    """Give one number to each cell of any depth: ``4**(depth + 1) + cell`` (NUNIQ of MOC 2.0)."""
    found: Ints = (np.int64(4) << (2 * depths)) + cells
    return found


def footprint_cells(region: Region) -> list[int]:
    """Array to store for a footprint."""
    return _stored(*region_cells(region, across=FOOTPRINT_ACROSS))


def sampled_cells(vectors: npt.NDArray[np.float64], spacing_deg: float) -> list[int]:
    """Array to store for a footprint that is known by positions in it, as it is larger than any polygon.

    Parameters
    ----------
    vectors
        Unit vectors, shape ``(n, 3)``.
    spacing_deg
        Greatest distance of neighbouring positions.
    """
    cells = np.arange(12 * 4**LARGE_DEPTH, dtype=np.int64)
    reach = np.cos(min(cell_radius(LARGE_DEPTH) + np.radians(spacing_deg), np.pi))
    nearest = (cell_centres(cells, LARGE_DEPTH) @ vectors.T).max(axis=1)
    cells = cells[nearest >= reach]
    return _stored(cells, np.full(cells.size, LARGE_DEPTH, dtype=np.int64))


def asked_cells(region: Region) -> list[int]:
    """Array that has a number in common with those of all footprints that a region may meet."""
    return _asked(*region_cells(region, across=REGION_ACROSS))


def map_cells(moc: Moc) -> list[int]:
    """Array that has a number in common with those of all footprints that a coverage map may meet."""
    found = np.array(list(moc.coarse(MAP_CELLS).cells()), dtype=np.int64).reshape(-1, 2)
    return _asked(found[:, 1], found[:, 0])


def _asked(cells: Ints, depths: Ints) -> list[int]:
    own = numbers(cells, depths)
    return _sorted((own, -own, *(numbers(*pair) for pair in _ancestors(cells, depths))))


def _stored(cells: Ints, depths: Ints) -> list[int]:
    return _sorted((numbers(cells, depths), *(-numbers(*pair) for pair in _ancestors(cells, depths))))


def _ancestors(cells: Ints, depths: Ints) -> Iterable[tuple[Ints, Ints]]:
    while (deeper := depths > 0).any():
        cells, depths = np.unique(np.stack((cells[deeper] >> 2, depths[deeper] - 1)), axis=1)
        yield cells, depths


def _sorted(parts: Iterable[Ints]) -> list[int]:
    found: list[int] = np.unique(np.concatenate(list(parts))).tolist()
    return found
