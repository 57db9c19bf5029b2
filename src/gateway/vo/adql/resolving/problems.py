"""Say what is wrong with a query, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from sqlglot import exp

from gateway.vo.adql.parsing.extensions import EXTENSIONS
from gateway.vo.adql.parsing.lexer import Source as Text
from gateway.vo.adql.tree import place_of


def counted(number: int, noun: str) -> str:
    """``1 argument``, ``2 arguments``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Problems:
    """Raises the errors of one query."""

    text: Text
    strict: bool

    def fail(self, node: exp.Expr, reason: str) -> NoReturn:
        """Raise an error where a node stands."""
        raise self.text.error(reason, place_of(node))

    def extension(self, form: str, node: exp.Expr) -> None:
        """Note that an extension is used; refuse it when strict."""
        if self.strict:
            self.fail(node, EXTENSIONS[form].refusal)
