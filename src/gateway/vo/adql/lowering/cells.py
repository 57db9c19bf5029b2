"""HEALPix indices of positions that are stored with one: read from the table and not computed.

A table's positions have an order-29 index beside them. The cell of any other order is its leading bits, so counting a table by
cells needs no arithmetic, and asking for one cell is a range of the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.vo.adql.lowering.shapes import indexed_source
from gateway.vo.adql.nodes import constant
from gateway.vo.adql.tree import key_of, quoted

NAME = "IVO_HEALPIX_INDEX"
DEEPEST = 29
"""Order of the stored index."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The stored index of a table, and an order."""

    alias: str
    column: str
    order: int

    @property
    def shift(self) -> int:
        """How many bits of the stored index are below those of the order."""
        return 2 * (DEEPEST - self.order)

    def stored(self) -> exp.Expr:
        """Column of the stored index."""
        return exp.Column(this=quoted(self.column), table=quoted(self.alias))

    def value(self) -> exp.Expr:
        """Index at the order."""
        return exp.Paren(this=exp.BitwiseRightShift(this=self.stored(), expression=exp.Literal.number(self.shift)))

    def bounded(self, low: int | None, high: int | None) -> exp.Expr:
        """Whether the index at the order is at least ``low`` and at most ``high``."""
        first = None if low is None else exp.GTE(this=self.stored(), expression=self._literal(low))
        last = None if high is None else exp.LT(this=self.stored(), expression=self._literal(high + 1))
        if first is not None and last is not None:
            return exp.Paren(this=exp.And(this=first, expression=last))
        bound = first or last
        assert bound is not None
        return bound

    def _literal(self, index: int) -> exp.Expr:
        count = 12 << 2 * self.order
        return exp.Literal.number(min(max(index, 0), count) << self.shift)


def stored_cells(node: exp.Expr, local: frozenset[str]) -> Cells | None:
    """Find the stored index that a call of ``ivo_healpix_index`` reads; ``None`` where it has to be computed.

    Parameters
    ----------
    node
        Resolved expression, not yet lowered.
    local
        Printed names of the tables of this query, not of those around it.
    """
    if not isinstance(node, exp.Anonymous) or node.this != NAME:
        return None
    position = position_of(node)
    if len(position) != 2:
        return None
    order = constant(node.expressions[0])
    source = indexed_source(*position)
    if not isinstance(order, int) or source is None or source.table is None or source.table.sky is None:
        return None
    column = source.table.sky.healpix
    return Cells(source.alias, column, order) if column is not None and source.alias in local else None


def position_of(node: exp.Anonymous) -> Sequence[exp.Expr]:
    """Longitude and latitude of a call; a single expression where they are not written apart."""
    position: Sequence[exp.Expr] = node.expressions[1:]
    if len(position) == 1:
        point = position[0].unnest()
        if isinstance(point, exp.Anonymous) and point.this == "POINT":
            return point.expressions
    return position


def readable_cells(node: exp.Expr, local: frozenset[str]) -> Cells | None:
    """Find the stored index for the value of a call; ``None`` also where grouping hides the column from it."""
    cells = stored_cells(node, local)
    if cells is None or not isinstance(node, exp.Anonymous):
        return None
    place = node.find_ancestor(exp.Where, exp.Join, exp.AggFunc, exp.Select)
    if not isinstance(place, exp.Select) or (group := place.args.get("group")) is None:
        return cells
    # a position that is not grouped stands in grouped expressions only, and these are all read from the stored index alike
    keys: set[object] = place.meta.setdefault("grouped", {key_of(term) for term in group.expressions})
    return None if all(key_of(column) in keys for column in position_of(node)) else cells


def cell_condition(node: exp.Expr, local: frozenset[str]) -> exp.Expr | None:
    """Range of the stored index for a comparison of ``ivo_healpix_index`` with a number; ``None`` for any other."""
    if isinstance(node, exp.Between):
        cells, low, high = (
            stored_cells(node.this.unnest(), local),
            constant(node.args["low"]),
            constant(node.args["high"]),
        )
        if cells is None or not isinstance(low, int) or not isinstance(high, int):
            return None
        return cells.bounded(low, high)
    if type(node) not in BOUNDS:
        return None
    for one, other, bounds in ((node.this, node.expression, BOUNDS), (node.expression, node.this, MIRRORED)):
        index = constant(other)
        cells = stored_cells(one.unnest(), local)
        if cells is None or not isinstance(index, int):
            continue
        below, above = bounds[type(node)]
        return cells.bounded(None if below is None else index + below, None if above is None else index + above)
    return None


BOUNDS: dict[type[exp.Expr], tuple[int | None, int | None]] = {
    exp.EQ: (0, 0),
    exp.LT: (None, -1),
    exp.LTE: (None, 0),
    exp.GT: (1, None),
    exp.GTE: (0, None),
}
"""Least and greatest index that a comparison with 0 lets through."""

MIRRORED: dict[type[exp.Expr], tuple[int | None, int | None]] = {
    exp.EQ: BOUNDS[exp.EQ],
    exp.LT: BOUNDS[exp.GT],
    exp.LTE: BOUNDS[exp.GTE],
    exp.GT: BOUNDS[exp.LT],
    exp.GTE: BOUNDS[exp.LTE],
}
"""The same with the operands exchanged."""
