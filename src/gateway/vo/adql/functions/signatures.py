"""What a function that may be called is made of: parameters, result, and what PostgreSQL runs for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.vo.adql.types import DOUBLE, Kind, Typed, is_integer, typed

Lower = Callable[[Sequence[exp.Expr]], exp.Expr]
Result = Callable[[Sequence[Typed]], Typed]
Check = Callable[[Sequence[exp.Expr]], tuple[int, str] | None]
"""Finds what is wrong with arguments as they are written: which one, counted from 0, and why."""


Unit = Callable[[Sequence[exp.Expr]], str | None]
"""Infers a unit from arguments of which the types are known."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a function."""

    name: str
    kind: Kind
    is_integer: bool = False
    sql: str = "integer"
    """Type of PostgreSQL in which a whole number is given."""
    others: frozenset[Kind] = frozenset()
    """Further kinds of values that are taken."""
    is_literal: bool = False
    """Whether only a string literal is taken."""

    @property
    def wanted(self) -> str:
        """What is taken, for messages."""
        if self.is_literal:
            return "a string literal"
        if self.is_integer:
            return "a whole number"
        return " or ".join(f"a {kind}" for kind in (self.kind, *sorted(self.others)))

    def fits(self, argument: Typed) -> bool:
        """Whether a value may be given."""
        if argument.kind is Kind.NULL:
            return not self.is_literal
        if argument.kind is not self.kind and argument.kind not in self.others:
            return False
        return not self.is_integer or is_integer(argument)


@dataclass(frozen=True, slots=True)
class Function:
    """One form of a function that may be called."""

    name: str
    """In upper case."""
    parameters: tuple[Parameter, ...]
    result: Result
    lower: Lower
    """Makes the expression for PostgreSQL from lowered arguments."""
    optional: int = 0
    """How many of the last parameters may be left out."""
    group: str | None = None
    """Feature group of TAPRegExt; ``None``: mandatory in ADQL 2.1."""
    is_aggregate: bool = False
    unit: Unit | None = None
    """Infers the unit of the value where `result` cannot, as it does not see constants."""
    check: Check | None = None
    declared: str | None = None
    """Signature of a user-defined function, as capabilities declare it (ADQL 2.1, "Metadata" of such functions)."""
    description: str | None = None
    """For the capabilities."""
    spelling: str | None = None
    """Name for messages, where it is not written in upper case."""

    @property
    def signature(self) -> str:
        """How to call it, for messages."""
        needed = len(self.parameters) - self.optional
        names = [parameter.name for parameter in self.parameters]
        shown = ", ".join(names[:needed])
        for name in names[needed:]:
            shown += f"[, {name}]" if shown else f"[{name}]"
        return f"{self.spelling or self.name}({shown})"

    def takes(self, count: int) -> bool:
        """Whether it is called with so many arguments."""
        return len(self.parameters) - self.optional <= count <= len(self.parameters)


def pg(name: str) -> Lower:
    """Call of a function of PostgreSQL's own."""
    return lambda arguments: exp.Anonymous(this=name, expressions=list(arguments))


def sky(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Call of one of our functions in schema ``sky``."""
    return exp.Dot(
        this=exp.Identifier(this="sky", quoted=False), expression=exp.Anonymous(this=name, expressions=list(arguments))
    )


def ours(name: str) -> Lower:
    """Call of a function in schema ``sky`` with the arguments as they are."""
    return lambda arguments: sky(name, *arguments)


def double(_: Sequence[Typed]) -> Typed:
    """Give a double without a unit."""
    return typed(DOUBLE)
