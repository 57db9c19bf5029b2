"""Brute force for coverage maps: cells as cdshealpix has them, their rims sampled densely and the best samples refined."""

from collections.abc import Callable
from dataclasses import dataclass

import cdshealpix.nested as healpix
import numpy as np
from astropy import units as u
from cdshealpix import cdshealpix

from gateway.vo.moc import ORDER, united
from tests.sky import judge

FINER = 7
"""Orders below a cell's at which its rim is sampled: 128 samples to a side."""

END = float(np.nextafter(1, 0))
"""Where a side ends: cdshealpix takes no 1."""

Depth = Callable[[np.ndarray], np.ndarray]
"""How deep positions, ``(n, 2)`` in degrees, lie in a shape, degrees; negative outside."""


@dataclass
class Cell:
    """One cell of HEALPix, nested."""

    order: int
    number: int

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        shift = 2 * (ORDER - self.order)
        return ((self.number << shift, ((self.number + 1) << shift) - 1),)

    @property
    def rest(self) -> tuple[tuple[int, int], ...]:
        """All the sky but this cell."""
        ((low, high),) = self.ranges
        return tuple((a, b) for a, b in ((0, low - 1), (high + 1, 12 * 4**ORDER - 1)) if a <= b)

    @property
    def adql(self) -> str:
        return f"MOC('{self.order}/{self.number}')"

    def at(self, x: float, y: float) -> np.ndarray:
        """Position at the cell's own coordinates, each from 0 to 1."""
        # not through the function for astropy's quantities, which takes thirty times as long
        lon, lat = np.empty(1), np.empty(1)
        cell = np.array([self.order], dtype=np.uint8), np.array([self.number], dtype=np.uint64)
        cdshealpix.healpix_to_lonlat(*cell, min(x, END), min(y, END), lon, lat, np.uint16(1))
        return np.degrees([lon[0], lat[0]])

    def on_rim(self, t: float) -> np.ndarray:
        """Position on the rim; ``t`` in [0, 4) goes once around it, from the southern corner by the east."""
        t = t % 4 % 4  # what is just below 0 is rounded to 4 at first
        x, y = [(t, 0.0), (1.0, t - 1), (3 - t, 1.0), (0.0, 4 - t)][int(t)]
        return self.at(x, y)

    def rim(self) -> np.ndarray:
        """Corners of the small cells along the rim, degrees, in the order of ``on_rim``."""
        n = 1 << FINER
        along, last = np.arange(n), np.full(n, n - 1)
        sides = [
            (along, 0 * last, 0, 0),
            (last, along, 1, 0),
            (last - along, last, 1, 1),
            (0 * last, last - along, 0, 1),
        ]
        found = []
        for x, y, dx, dy in sides:
            small = (self.number << (2 * FINER)) | spread(x) | (spread(y) << 1)
            lon, lat = healpix.healpix_to_lonlat(small, self.order + FINER, dx=min(dx, END), dy=min(dy, END))
            found.append(np.column_stack([lon.to_value(u.deg), lat.to_value(u.deg)]))
        return np.concatenate(found)

    def has(self, points: np.ndarray) -> np.ndarray:
        return index(points) >> (2 * (ORDER - self.order)) == self.number

    def deepest(self, depth: Depth) -> float:
        """Greatest depth of the rim in a shape: the best samples and what is between them and their neighbours."""
        step = 1 / (1 << FINER)
        sampled = np.asarray(depth(self.rim()), dtype=float)
        peaks = np.flatnonzero((sampled >= np.roll(sampled, 1)) & (sampled >= np.roll(sampled, -1)))
        best = sampled.max()
        for peak in sorted(peaks, key=lambda n: -sampled[n])[:3]:
            if sampled[peak] < best - 2 * self.width * step:
                continue
            best = max(best, self._refined(depth, (peak - 1) * step, (peak + 1) * step), sampled[peak])
        return float(best)

    @property
    def width(self) -> float:
        """Generous size of a side, degrees."""
        return 90 / 2**self.order

    def _refined(self, depth: Depth, low: float, high: float) -> float:
        ratio = (5**0.5 - 1) / 2

        def value(t: float) -> float:
            return float(depth(self.on_rim(t)[None])[0])

        one, other = high - ratio * (high - low), low + ratio * (high - low)
        at_one, at_other = value(one), value(other)
        for _ in range(45):
            if at_one < at_other:
                low, one, at_one = one, other, at_other
                other = low + ratio * (high - low)
                at_other = value(other)
            else:
                high, other, at_other = other, one, at_one
                one = high - ratio * (high - low)
                at_one = value(one)
        return max(at_one, at_other)


def spread(bits: np.ndarray) -> np.ndarray:
    """Every bit of a number in every second place."""
    found = np.zeros_like(bits)
    for place in range(FINER):
        found |= ((bits >> place) & 1) << (2 * place)
    return found


def index(points: np.ndarray) -> np.ndarray:
    """Order-29 indices of positions in degrees."""
    lon, lat = np.asarray(points, dtype=float).T
    return healpix.lonlat_to_healpix((lon % 360) * u.deg, lat * u.deg, ORDER).astype(np.int64)


def in_ranges(points: np.ndarray, ranges: tuple[tuple[int, int], ...]) -> np.ndarray:
    found = index(points)
    return np.any([(found >= low) & (found <= high) for low, high in ranges], axis=0)


def circle_depth(ra: float, dec: float, radius: float) -> Depth:
    return lambda points: radius - judge.distance(points[:, 0], points[:, 1], ra, dec)


def polygon_depth(polygon: np.ndarray) -> Depth:
    def depth(points: np.ndarray) -> np.ndarray:
        return np.where(judge.in_polygon(points, polygon), 1, -1) * judge.rim_distance(points, polygon)

    return depth


def random_map(rng: np.random.Generator, near: np.ndarray, order: int) -> tuple[tuple[int, int], ...]:
    """Some cells of mixed orders around a position."""
    found = []
    for place in judge.around(rng, near, 120 / 2**order, int(rng.integers(1, 12))):
        deeper = min(order + int(rng.integers(0, 3)), ORDER)
        shift = 2 * (ORDER - deeper)
        cell = int(index(place[None])[0]) >> shift
        found.append((cell << shift, ((cell + 1) << shift) - 1))
    return united(found)


def multirange(ranges: tuple[tuple[int, int], ...]) -> str:
    return "{" + ",".join(f"[{low},{high}]" for low, high in ranges) + "}"
