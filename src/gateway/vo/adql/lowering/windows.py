"""Look-ups in the index of the sky that serve a condition.

A constant region against the indexed position of a table becomes a few literal ranges of HEALPix indices, against its footprint
a few numbers of cells; two positions that vary become the window of declination zones. What is added to a condition never
changes the answer: it follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from gateway.vo.adql.functions.signatures import sky
from gateway.vo.adql.lowering.extension_indexes import close_by, in_circle
from gateway.vo.adql.lowering.operands import OperandLowerer
from gateway.vo.adql.lowering.shapes import (
    Coverage,
    Outline,
    Point,
    Shape,
    around,
    constant_region,
    sky_index,
)
from gateway.vo.adql.lowering.surroundings import sources_of
from gateway.vo.adql.nodes import clone, in_ranges, number
from gateway.vo.adql.tree import quoted
from gateway.vo.adql.types import data_type
from gateway.vo.regions import Region

ZONES_PER_DEGREE = 120
"""As ``sky.zone`` has it."""

NARROW = 0.49 / ZONES_PER_DEGREE
"""Radius, degrees, up to which a circle meets at most two zones: the cheaper form of the window."""

WINDOW_RANGES = 32
"""Ranges of the index by which a coverage map is looked up; what they cover beyond it is tested."""


class WindowLowerer(OperandLowerer):
    """Finds what the indexes of a query's tables can do for a condition."""

    def window(self, point: Point, region: Region) -> exp.Expr | None:
        """Ranges of the HEALPix index that a region can have; ``None`` if the table has no such index."""
        source = point.source
        if source is None or source.table is None or source.table.sky is None or self.index is None:
            return None
        self.context.windowed.add(id(source))
        column = source.table.sky.healpix
        if column is None:
            if source.table.sky.has_zones:
                return self.zone_window(point, region)
            return in_circle(point, region) if source.table.sky.extension is not None else None
        ranges = self.index.ranges(region)
        if not ranges:
            return exp.Boolean(this=False)
        return in_ranges(source.alias, column, ranges)

    def zone_window(self, point: Point, region: Region) -> exp.Expr | None:
        """Window of declination zones around a region, for a table that has no HEALPix index."""
        if (circle := around(region)) is None:
            return None
        return sky("near", clone(point.ra), clone(point.dec), *map(number, (circle.ra, circle.dec, circle.radius)))

    def zones(self, one: Point, other: Point, limit: exp.Expr, radius: float | None) -> exp.Expr | None:
        """Window of declination zones around one position on the index of the other."""
        indexed = [
            p for p in (one, other) if (index := sky_index(p)) is not None and (index.has_zones or index.extension)
        ]
        if self.context.inner is not None:
            indexed = [p for p in indexed if p.source is not None and self.context.inner(p.source)]
        needed = {id(source) for source in sources_of(limit)}  # a radius that varies must be known before the look-up
        indexed = [p for p in indexed if id(p.source) not in needed]
        if not indexed:
            return None
        looked_up = max(reversed(indexed), key=self.lookup_rank)
        around = other if looked_up is one else one
        if around.source is not None and around.source is looked_up.source:
            return None
        if (index := sky_index(looked_up)) is not None and not index.has_zones:
            return close_by(looked_up, around, limit)
        function = "near_narrow" if radius is not None and radius <= NARROW else "near"
        return sky(
            function, clone(looked_up.ra), clone(looked_up.dec), clone(around.ra), clone(around.dec), clone(limit)
        )

    def lookup_rank(self, point: Point) -> tuple[bool, bool, int]:
        """Which side of a join is looked up: a table of this query, without conditions of its own, then the larger."""
        source = point.source
        assert source is not None
        nrows = source.table.nrows if source.table is not None else None
        return source.alias in self.context.local, id(source) not in self.context.filtered, nrows or 0

    def through_cells(self, test: exp.Expr, one: Shape, other: Shape, *, is_meeting: bool) -> exp.Expr:
        """Let the index of footprints find the rows for a test of a table's footprint against a constant region or map.

        A footprint that is too large for a polygon is known by its cells alone. They decide whether it meets a region, or
        contains a point; that it lies in a region, or has all of one in it, they cannot tell.
        """
        for footprint, region in ((one, other), (other, one)):
            if not isinstance(footprint, Outline) or footprint.source is None:
                continue
            table = footprint.source.table
            assert table is not None
            assert table.sky is not None
            if table.sky.cells is None or (cells := self.cells(region)) is None:
                continue
            column = exp.Column(this=quoted(table.sky.cells), table=quoted(footprint.source.alias))
            text = "{" + ",".join(map(str, cells)) + "}"
            asked = exp.Cast(this=exp.Literal.string(text), to=data_type("bigint[]"))
            found = exp.ArrayOverlaps(this=column, expression=sky("asked", asked))
            if is_meeting:
                unknown = exp.Is(this=clone(footprint.array), expression=exp.Null())
                test = exp.Paren(this=exp.Or(this=unknown, expression=test))
            return exp.Paren(this=exp.And(this=found, expression=test))
        return test

    def cells(self, shape: Shape) -> Sequence[int] | None:
        """Numbers by which the footprints that meet a constant shape are found; ``None`` where there are none."""
        if self.index is None:
            return None
        if isinstance(shape, Coverage):
            # in an empty map lies nothing, but it lies in everything
            return self.index.map_cells(shape.moc) if shape.moc.ranges else None
        region = constant_region(shape)
        return self.index.cells(region) if region is not None else None
