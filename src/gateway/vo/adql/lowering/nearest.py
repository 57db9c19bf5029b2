"""Nearest first: ``TOP n ... ORDER BY DISTANCE(position of a table, constant point)`` without looking at all rows.

The table is read in rings that grow around the point. Each ring is a few ranges of the HEALPix index, and ends where the next
begins, so that every row comes once; the query is ordered by ring and then as it says, which is the same order. PostgreSQL
makes the rings one after the other, sorts each by itself (Incremental Sort) and stops after n rows. The plan is only fast,
not right, because of that: any other plan of the same statement gives the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from gateway.vo.adql.lowering.shapes import indexed_source
from gateway.vo.adql.nodes import clone, constant, number
from gateway.vo.adql.resolving.scopes import Source
from gateway.vo.adql.tree import has_aggregates, quoted
from gateway.vo.adql.types import cast
from gateway.vo.regions import Circle, Region, RegionError, check_position

MOST_ROWS = 10_000
"""Rows, TOP and OFFSET together, up to which rings are read; more are sorted faster as a whole."""

FIRST_RING = 1 / 64
"""Radius of the first ring, in radii within which so many rows would lie if they were spread over all the sky.

Catalogues are crowded: where stars are four thousand times denser than on average, the first ring still has no more than are
wanted. An empty ring costs a few pages of the index.
"""

GROWTH = 2.0
"""Radius of a ring in that of the one before: at most four times the rows that are wanted are read."""

UNKNOWN_ROWS = 1_000_000
"""Rows of a table that has not been counted."""

SKY_SQUARE_DEGREES = 41_253.0

RINGS = "gw_rings"


class RangeIndex(Protocol):
    """Covers regions by ranges of HEALPix indices."""

    def ranges(self, region: Region) -> Sequence[tuple[int, int]]:
        """Ranges of order-29 nested indices, both ends included, that cover a region."""
        ...


@dataclass(frozen=True, slots=True)
class Search:
    """The wish for the nearest rows of a table."""

    source: Source
    centre: tuple[float, float]
    """ICRS degrees."""
    rows: int


def search(select: exp.Select) -> Search | None:
    """Find out whether a resolved query asks for the nearest rows of its first table; ``None`` if it does not."""
    table, limit, order = select.args["from_"].this, select.args.get("limit"), select.args.get("order")
    if limit is None or order is None or not isinstance(table, exp.Table) or table.args.get("joins"):
        return None
    rows = int(limit.expression.this) + _offset(select)
    if not 0 < rows <= MOST_ROWS or any(select.args.get(key) for key in ("distinct", "group", "having")):
        return None
    if any(join.args.get("side") in {"RIGHT", "FULL"} for join in select.args.get("joins") or ()):
        return None
    if any(map(has_aggregates, select.expressions)):
        return None
    first = order.expressions[0]
    distance = _meant(first.this, select)
    if first.args.get("desc") or not isinstance(distance, exp.Anonymous) or distance.this != "DISTANCE":
        return None
    for one, other in _pairs(distance):
        source = indexed_source(*one)
        centre = constant(other[0]), constant(other[1])
        if source is None or centre[0] is None or centre[1] is None or table.alias_or_name != source.alias:
            continue
        index = source.table.sky if source.table is not None else None
        if index is not None and index.healpix is not None and _is_position(centre[0], centre[1]):
            return Search(source, (centre[0], centre[1]), rows)
    return None


def by_rings(select: exp.Select, wish: Search, index: RangeIndex) -> None:
    """Let a lowered query read its first table in rings.

    Rows without a place in the index have no position, or none on the sky; they come after all others, as their distance
    is unknown.
    """
    order, table = select.args["order"], select.args["from_"].this
    assert wish.source.table is not None
    assert wish.source.table.sky is not None
    distance = _meant(order.expressions[0].this, select)
    alias, healpix = wish.source.alias, wish.source.table.sky.healpix or ""
    rings = list(_rings(wish, wish.source.table.nrows or UNKNOWN_ROWS, index))

    def here() -> exp.Expr:
        return exp.Column(this=quoted(healpix), table=quoted(alias))

    in_ring = exp.And(
        this=exp.Between(this=here(), low=_ring("low"), high=_ring("high")),
        expression=exp.And(
            this=exp.GTE(this=clone(distance), expression=_ring("inner")),
            expression=exp.LT(this=clone(distance), expression=_ring("outer")),
        ),
    )
    nowhere = exp.And(this=_is_null(_ring("low")), expression=_is_null(here()))
    arms = exp.Union(this=_all_of(table, in_ring), expression=_all_of(table, nowhere), distinct=False)
    lateral = exp.Lateral(this=exp.Subquery(this=arms), alias=exp.TableAlias(this=quoted(alias)))
    select.set("from_", exp.From(this=_ordered(rings)))
    select.set("joins", [exp.Join(this=lateral, kind="CROSS"), *(select.args.get("joins") or ())])
    by_ring = exp.Ordered(this=_ring("ring"), desc=False, nulls_first=False)
    terms = [exp.Ordered(this=clone(distance), desc=False, nulls_first=False), *order.expressions[1:]]
    order.set("expressions", [by_ring, *terms])


def _offset(select: exp.Select) -> int:
    offset = select.args.get("offset")
    return int(offset.expression.this) if offset is not None else 0


def _meant(term: exp.Expr, select: exp.Select) -> exp.Expr:
    # a column of the result is ordered by its place; in parentheses it would be a mere number
    if isinstance(term, exp.Literal) and not term.is_string:
        term = select.expressions[int(term.this) - 1]
        term = term.this if isinstance(term, exp.Alias) else term
    return term.unnest()


def _pairs(distance: exp.Anonymous) -> Iterator[tuple[tuple[exp.Expr, exp.Expr], tuple[exp.Expr, exp.Expr]]]:
    items = [item.unnest() for item in distance.expressions]
    if len(items) == 2:
        if not all(isinstance(item, exp.Anonymous) and item.this == "POINT" for item in items):
            return
        items = [number_ for item in items for number_ in item.expressions]
    one, other = (items[0], items[1]), (items[2], items[3])
    yield one, other
    yield other, one


def _is_position(ra: float, dec: float) -> bool:
    try:
        check_position(ra, dec)
    except RegionError:
        return False
    return True


def _rings(wish: Search, nrows: int, index: RangeIndex) -> Iterator[tuple[int, int | None, int | None, float, float]]:
    """Give the rows of rings: number, range of the index, inner and outer radius; the last has no range."""
    radius = max(math.sqrt(wish.rows * SKY_SQUARE_DEGREES / (math.pi * nrows)) * FIRST_RING, 1e-6)
    inner, ring = -1.0, 0
    while True:
        is_last = radius >= 180
        outer = 181.0 if is_last else radius
        for low, high in index.ranges(Circle(*wish.centre, min(radius, 180.0))):
            yield ring, low, high, inner, outer
        ring += 1
        if is_last:
            break
        inner, radius = outer, radius * GROWTH
    yield ring, None, None, inner, outer


def _ordered(rings: Sequence[tuple[int, int | None, int | None, float, float]]) -> exp.Subquery:
    """Make the rings a table whose order PostgreSQL can see."""
    kinds = ("integer", "bigint", "bigint", "double precision", "double precision")
    rows = [
        exp.Tuple(
            expressions=[
                exp.Null() if value is None else cast(number(value), kind) if place == 0 else number(value)
                for value, kind in zip(ring, kinds, strict=True)
            ]
        )
        for place, ring in enumerate(rings)
    ]
    names = [quoted(name) for name in ("ring", "low", "high", "inner", "outer")]
    values = exp.Values(expressions=rows, alias=exp.TableAlias(this=quoted(RINGS), columns=names))
    # OFFSET 0 keeps the sorted rings apart from the rest, which PostgreSQL would else sort as a whole
    query = exp.Select(
        expressions=[exp.Star()],
        from_=exp.From(this=values),
        order=exp.Order(expressions=[exp.Ordered(this=_ring("ring"), desc=False, nulls_first=False)]),
        offset=exp.Offset(expression=exp.Literal.number(0)),
    )
    return exp.Subquery(this=query, alias=exp.TableAlias(this=quoted(RINGS)))


def _ring(name: str) -> exp.Column:
    return exp.Column(this=quoted(name), table=quoted(RINGS))


def _is_null(node: exp.Expr) -> exp.Expr:
    return exp.Is(this=node, expression=exp.Null())


def _all_of(table: exp.Table, condition: exp.Expr) -> exp.Select:
    return exp.Select(expressions=[exp.Star()], from_=exp.From(this=clone(table)), where=exp.Where(this=condition))
