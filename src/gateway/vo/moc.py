"""Multi-order coverage maps of the sky, in their ASCII form (MOC 2.0, "ASCII serialization").

A coverage is kept as ranges of order-29 nested HEALPix indices, both ends included, ascending and apart: the surface that it
covers, without the cells by which it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from gateway.errors import UsageError

ORDER = 29
"""Deepest order of HEALPix."""

SKY = 12 * 4**ORDER
"""Cells of that order."""

MOST_RANGES = 20_000
"""Ranges of a coverage in a query: some 800 kB of SQL."""

WORD = re.compile(r"(?:(?P<order>\d{1,2})/)?(?:(?P<low>\d{1,19})(?:-(?P<high>\d{1,19}))?)?\Z")

Ranges = Sequence[tuple[int, int]]


class MocError(UsageError):
    """A text is no coverage map of the sky."""


@dataclass(frozen=True, slots=True)
class Moc:
    """Coverage of the sky, ICRS."""

    ranges: tuple[tuple[int, int], ...]
    """Order-29 nested indices, both ends included, ascending and apart."""
    order: int
    """Order of its smallest cell, or deeper."""

    def contains(self, other: Moc) -> bool:
        """Whether all of another coverage is in this one."""
        return united((*self.ranges, *other.ranges)) == self.ranges

    def meets(self, other: Moc) -> bool:
        """Whether both have a cell in common."""
        both = sorted((*self.ranges, *other.ranges))
        return any(one[1] >= two[0] for one, two in pairwise(both))

    def complement(self) -> Moc:
        """All of the sky that is not in this coverage."""
        ends = [-1, *(bound for one in self.ranges for bound in one), SKY]
        pairs = zip(ends[::2], ends[1::2], strict=True)
        return Moc(tuple((last + 1, first - 1) for last, first in pairs if last + 1 < first), self.order)

    def cells(self) -> Iterator[tuple[int, int]]:
        """Fewest cells that make it: order and nested index of each."""
        for low, high in self.ranges:
            yield from _cells(low, high + 1)

    def coarse(self, most: int) -> Moc:
        """Coverage of at most so many cells that holds this one, as deep as can be; of 12 at least."""
        found, order = self, self.order
        while order > 0 and sum(1 for _ in islice(found.cells(), most + 1)) > most:
            order -= 1
            shift = 2 * (ORDER - order)
            wider = united((low >> shift << shift, ((high >> shift) + 1 << shift) - 1) for low, high in found.ranges)
            found = Moc(wider, order)
        return found

    def ascii(self) -> str:
        """ASCII form, canonical: no cell that is not needed, ascending orders and indices."""
        cells: dict[int, list[tuple[int, int]]] = {}
        for order, cell in self.cells():
            cells.setdefault(order, []).append((cell, cell))
        cells.setdefault(self.order, [])
        return " ".join(f"{order}/{_written(cells[order])}" for order in sorted(cells)).strip()


def united(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Join ranges that overlap or touch."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return tuple(found)


def fewer(ranges: tuple[tuple[int, int], ...], most: int) -> tuple[tuple[int, int], ...]:
    """Join ranges over the smallest gaps until there are few enough."""
    if len(ranges) <= most:
        return ranges
    gaps = sorted(range(1, len(ranges)), key=lambda n: ranges[n][0] - ranges[n - 1][1])
    cuts = sorted(gaps[-(most - 1) :]) if most > 1 else []
    return tuple(
        (ranges[start][0], ranges[end - 1][1]) for start, end in zip((0, *cuts), (*cuts, len(ranges)), strict=True)
    )


def parse_moc(text: str) -> Moc:
    """Read the ASCII form of a coverage of the sky.

    Raises
    ------
    MocError
        Naming the word that is wrong.
    """
    words = text.replace(",", " ").split()
    if words and words[0][:1] in {"s", "S"}:
        words = [words[0][1:], *words[1:]]
    order: int | None = None
    deepest = 0
    found: list[tuple[int, int]] = []
    for word in words:
        match = WORD.match(word)
        if match is None or (order is None and match["order"] is None and word):
            raise MocError(f"{word!r} is no part of a MOC; expected order/cell, cell or cell-cell, as in 3/10 12-14 5/")
        if match["order"] is not None:
            order = int(match["order"])
            if order > ORDER:
                raise MocError(f"order {order} is beyond {ORDER}")
            deepest = max(deepest, order)
        if match["low"] is None or order is None:
            continue
        low, high = int(match["low"]), int(match["high"] or match["low"])
        if low > high or high >= 12 * 4**order:
            raise MocError(
                f"{word!r}: cells of order {order} are numbered 0 to {12 * 4**order - 1}, in ascending order"
            )
        shift = 2 * (ORDER - order)
        found.append((low << shift, ((high + 1) << shift) - 1))
    if len(found) > MOST_RANGES:
        raise MocError(f"the MOC has {len(found)} cells; at most {MOST_RANGES} are taken")
    return Moc(united(found), deepest)


def _cells(low: int, end: int) -> Iterator[tuple[int, int]]:
    # the largest cells that begin where the last ended
    while low < end:
        order = ORDER
        while order > 0 and low % 4 ** (ORDER - order + 1) == 0 and low + 4 ** (ORDER - order + 1) <= end:
            order -= 1
        size = 4 ** (ORDER - order)
        yield order, low // size
        low += size


def _written(cells: Sequence[tuple[int, int]]) -> str:
    return " ".join(str(low) if low == high else f"{low}-{high}" for low, high in united(cells))
