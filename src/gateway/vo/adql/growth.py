"""Refuse queries that are small as written and huge as planned.

PostgreSQL puts what a subquery computes into every place that names it. Where each of twenty subqueries names the one before
twice, a million copies come out, and a planner that cannot be interrupted runs until the server has no memory left.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from gateway.vo.adql.parsing.lexer import Source as Text
from gateway.vo.adql.tree import place_of

MAX_COPIES = 50_000
"""Most values that may come from writing out what subqueries compute, for each SELECT: planning them takes half a second."""

TEXT_UNIT = 32
"""Characters of a string literal that count like one number."""

Weights = dict[str, int]
"""How many values the columns of a subquery are made of, by printed name."""


class Growth:
    """Weighs one query, which is ready to be printed."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.common: dict[str, Weights] = {}

    def query(self, node: exp.Expr, outer: Mapping[str, Weights]) -> list[tuple[str, int]]:
        """Weigh the columns of a query of any kind.

        Raises
        ------
        QueryError
            It grows too much.
        """
        if (with_ := node.args.get("with_")) is not None:
            for common in with_.expressions:
                self.common[common.args["alias"].this.this] = dict(self.query(common.this, outer))
        if isinstance(node, exp.SetOperation):
            left, right = self.query(node.this, outer), self.query(node.expression, outer)
            return [(name, max(one, other)) for (name, one), (_, other) in zip(left, right, strict=True)]
        if not isinstance(node, exp.Select):
            return self.query(node.this, outer) if isinstance(node.this, exp.Query) else []
        return self.select(node, outer)

    def select(self, node: exp.Select, outer: Mapping[str, Weights]) -> list[tuple[str, int]]:
        """Weigh the items of a select list, and see to all clauses."""
        known = dict(outer)
        conditions: list[exp.Expr] = []
        self.source(node.args["from_"].this, known, conditions)
        for join in node.args.get("joins") or ():
            self.join(join, known, conditions)
        items = [(item.alias_or_name, *self.weigh(item, known)) for item in node.expressions]
        conditions += [
            clause for key in ("where", "having", "group", "order") if (clause := node.args.get(key)) is not None
        ]
        copies = sum(copied for _, _, copied in items) + sum(self.weigh(clause, known)[1] for clause in conditions)
        if copies > MAX_COPIES:
            raise self.text.error(
                f"written out, this SELECT would have {copies:,} values, because it names columns that subqueries compute from "
                f"others again and again; at most {MAX_COPIES:,} are allowed",
                min((place_of(item) for item in node.expressions), default=0),
            )
        return [(name, weight) for name, weight, _ in items]

    def source(self, node: exp.Expr, known: dict[str, Weights], conditions: list[exp.Expr]) -> None:
        """Note the columns of what stands in FROM."""
        if isinstance(node, exp.Table):
            if node.args.get("db") is None and node.name in self.common:
                known[node.alias_or_name] = self.common[node.name]
        elif isinstance(node.this, (exp.Select, exp.SetOperation)):
            known[node.alias_or_name] = dict(self.query(node.this, known))
        elif isinstance(node.this, exp.Expr):
            self.source(node.this, known, conditions)
        for join in node.args.get("joins") or ():
            self.join(join, known, conditions)

    def join(self, join: exp.Join, known: dict[str, Weights], conditions: list[exp.Expr]) -> None:
        """Note the columns of what is joined."""
        self.source(join.this, known, conditions)
        if (on := join.args.get("on")) is not None:
            conditions.append(on)

    def weigh(self, node: exp.Expr, known: Mapping[str, Weights]) -> tuple[int, int]:
        """Count the values of an expression, and those of them that are copies."""
        values, copies = 0, 0
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if isinstance(node, exp.Column):
                weight = known.get(node.table, {}).get(node.name, 1)
                values, copies = values + weight, copies + weight - 1
            elif isinstance(node, exp.Literal):
                values += 1 + len(node.this) // TEXT_UNIT
            elif isinstance(node, (exp.Select, exp.SetOperation)):
                values += sum(weight for _, weight in self.query(node, known))
            else:
                for value in node.args.values():
                    if isinstance(value, list):
                        waiting += [one for one in value if isinstance(one, exp.Expr)]
                    elif isinstance(value, exp.Expr):
                        waiting.append(value)
        return values, copies
