"""What translated queries search by: ranges for positions, cells for footprints."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from gateway.sky.cells import asked_cells, map_cells
from gateway.sky.coverage import region_moc
from gateway.sky.index import CELLS_ACROSS, merged, region_cells
from gateway.vo.moc import Moc
from gateway.vo.regions import Region

MAX_RANGES = 32
"""Most ranges of a region.

Each costs PostgreSQL about 20 microseconds of planning and one descent of the index; fewer cover more than the region, and
what is too much is read and thrown away.
"""


class HealpixIndex:
    """Covers regions by what the indexes of positions and footprints hold (implements ``vo.adql.RegionIndex``).

    Parameters
    ----------
    max_ranges
        Most ranges of one region.
    """

    def __init__(self, *, max_ranges: int = MAX_RANGES) -> None:
        self._max_ranges = max_ranges
        self._ranges = functools.lru_cache(maxsize=1024)(self._cover)
        self._mocs = functools.lru_cache(maxsize=64)(region_moc)
        self._cells = functools.lru_cache(maxsize=1024)(asked_cells)

    def ranges(self, region: Region) -> Sequence[tuple[int, int]]:
        """Find ranges, both ends included, ascending and apart, that hold the index of every position of a region.

        Parameters
        ----------
        region
            Circle, polygon or range, ICRS degrees.
        """
        return self._ranges(region)

    def moc(self, region: Region, order: int) -> Sequence[tuple[int, int]]:
        """Find ranges, both ends included, ascending and apart, of the cells of an order that a region meets."""
        return self._mocs(region, order)

    def cells(self, region: Region) -> Sequence[int]:
        """Find numbers of which those of every footprint that meets a region have at least one."""
        return self._cells(region)

    def map_cells(self, moc: Moc) -> Sequence[int]:
        """Find numbers of which those of every footprint that meets a coverage map have at least one."""
        return map_cells(moc)

    def _cover(self, region: Region) -> tuple[tuple[int, int], ...]:
        return merged(*region_cells(region, across=CELLS_ACROSS), self._max_ranges)
