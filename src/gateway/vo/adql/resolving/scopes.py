"""What names mean at a place of a query: tables of a FROM clause, their columns, and the scopes around them."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp
from typing_extensions import override

from gateway.vo.adql.types import Typed, stored_sql
from gateway.vo.tableset import Table, Tableset, adql_identifier


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """Column that something in FROM offers."""

    name: str
    """As it may be written in a query, without quotes."""
    physical: str
    """As it is printed."""
    typed: Typed
    written: str | None = None
    """Name in the query, where two columns had the same and this one was renamed."""


class Columns(Sequence[SourceColumn]):
    """Columns in order, found by name without search."""

    def __init__(self, columns: Iterable[SourceColumn]) -> None:
        self._all = tuple(columns)
        self._by_name: dict[str, list[SourceColumn]] = {}
        for column in self._all:
            for name in {column.name.lower(), (column.written or column.name).lower()}:
                self._by_name.setdefault(name, []).append(column)

    @override
    def __len__(self) -> int:
        return len(self._all)

    @override
    def __getitem__(self, index: Any) -> Any:
        return self._all[index]

    @override
    def __iter__(self) -> Iterator[SourceColumn]:
        return iter(self._all)

    def named(self, name: exp.Identifier) -> list[SourceColumn]:
        """Columns that a name means: exactly if it is quoted, else without regard to case."""
        found = self._by_name.get(name.this.lower(), [])
        return [column for column in found if name.this in (column.name, column.written)] if name.quoted else found


@dataclass(eq=False, slots=True)
class Source:
    """Something in FROM: a table, a subquery, a common table expression."""

    alias: str
    """As it is printed; unique wherever it can be seen."""
    name: str
    """As a query names it."""
    is_quoted: bool
    """Whether the query's name for it was quoted, and so compares with case."""
    columns: Columns
    table: Table | None = None
    has_alias: bool = True

    def is_called(self, parts: Sequence[exp.Identifier]) -> bool:
        """Whether ``[[catalog.]schema.]name`` means this."""
        if len(parts) > 1 and (self.has_alias or self.table is None or not same(parts[-2], self.table.schema)):
            return False
        last = parts[-1]
        if last.quoted and self.is_quoted:
            return bool(last.this == self.name)
        if last.quoted:
            return bool(last.this == (self.table.name if self.table is not None and not self.has_alias else self.name))
        return bool(last.this.lower() == self.name.lower())

    @property
    def shown(self) -> str:
        """Name for messages."""
        if self.table is not None and not self.has_alias:
            return self.table.qualified_name
        return adql_identifier(self.name)


@dataclass(frozen=True, slots=True)
class Merged:
    """Column that a NATURAL or USING join makes of two."""

    column: SourceColumn
    """Name and type."""
    parts: tuple[tuple[Source, SourceColumn], ...]
    """One part: its value. Two: the first that is not NULL (FULL JOIN)."""


Found = tuple[Source, SourceColumn] | Merged


@dataclass(slots=True)
class Relation:
    """One item of FROM with all that is joined to it."""

    sources: list[Source]
    merged: dict[str, Merged] = field(default_factory=dict)
    """By lower-case name."""
    hidden: set[tuple[int, str]] = field(default_factory=set)
    """Columns that went into merged ones: identity of the source, physical name."""

    def named(self, name: exp.Identifier) -> list[Found]:
        """All that an unqualified name can mean."""
        found: list[Found] = []
        if (merged := self.merged.get(name.this.lower())) is not None and (
            not name.quoted or merged.column.name == name.this
        ):
            found.append(merged)
        for source in self.sources:
            found += [
                (source, column)
                for column in source.columns.named(name)
                if not self.hidden or (id(source), column.physical) not in self.hidden
            ]
        return found

    def star(self) -> Iterator[Found]:
        """All columns: those of USING first (SQL-92, "query specification")."""
        yield from self.merged.values()
        for source in self.sources:
            for column in source.columns:
                if (id(source), column.physical) not in self.hidden:
                    yield (source, column)

    def joined_with(self, other: Relation) -> Relation:
        """Both together."""
        return Relation([*self.sources, *other.sources], {**self.merged, **other.merged}, self.hidden | other.hidden)


@dataclass(slots=True)
class Scope:
    """Relations that can be seen, and the scope around."""

    relations: list[Relation]
    parent: Scope | None = None
    labels: frozenset[str] = frozenset()
    """Names that the select list gives, lower case: not to be used, but for better messages."""

    @property
    def sources(self) -> Iterator[Source]:
        """All sources of this scope alone."""
        for relation in self.relations:
            yield from relation.sources

    def chain(self) -> Iterator[Scope]:
        """Go through this scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def aliases(self) -> set[str]:
        """Collect printed names in use here and around."""
        return {source.alias for scope in self.chain() for source in scope.sources}


@dataclass(slots=True)
class Place:
    """Where an expression stands: what it can see and whether it may aggregate."""

    scope: Scope
    aggregates: str | None = None
    """Why an aggregate function is refused here; ``None``: it is allowed."""


def same(name: exp.Identifier, published: str) -> bool:
    """Whether a written name means a published one."""
    return bool(name.this == published if name.quoted else name.this.lower() == published.lower())


def did_you_mean(name: str, known: Iterable[str], spell: Callable[[str], str] = adql_identifier) -> str:
    """Say which known names are close, as the end of a message."""
    by_lower = {text.lower(): spell(text) for text in known}
    if name.lower() in by_lower:
        return f"; did you mean {by_lower[name.lower()]}?"
    close = closest(name.lower(), by_lower)
    return f"; did you mean {' or '.join(by_lower[text] for text in close)}?" if close else ""


LONGEST_MISSPELT = 130
"""Longest name that others are compared with: as long as a schema's and a table's together."""

MOST_COMPARED = 50
"""Names that are compared letter by letter; of more, those go first that share pairs of letters (20,000 names: some 20 ms)."""


def closest(name: str, known: Iterable[str]) -> list[str]:
    """Give up to three names that may have been meant: the closest, and others only if they are nearly as close."""
    if len(name) > LONGEST_MISSPELT:
        return []
    names = list(known)
    if len(names) > MOST_COMPARED:
        pairs = {name[place : place + 2] for place in range(len(name) - 1)} or {name}
        names = heapq.nlargest(
            MOST_COMPARED, names, lambda text: sum([pair in text for pair in pairs]) - abs(len(text) - len(name)) / 4
        )
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    ratios = [difflib.SequenceMatcher(None, text, name).ratio() for text in close]
    return [text for text, ratio in zip(close, ratios, strict=True) if ratio > ratios[0] - 0.15]


@dataclass(frozen=True, slots=True)
class Catalog:
    """Tables of a tableset by lower-case names."""

    by_name: Mapping[str, tuple[Table, ...]]
    schemas: frozenset[str]

    @classmethod
    def of(cls, tableset: Tableset) -> Catalog:
        """Index of a tableset; kept with it, as one tableset serves many queries."""
        kept: Catalog | None = tableset.__dict__.get("_adql_catalog")
        if kept is None:
            by_name: dict[str, list[Table]] = {}
            for table in tableset.tables:
                by_name.setdefault(table.name.lower(), []).append(table)
            kept = cls(
                {name: tuple(tables) for name, tables in by_name.items()},
                frozenset(schema.name.lower() for schema in tableset.schemas),
            )
            tableset.__dict__["_adql_catalog"] = kept
        return kept

    def find(self, parts: Sequence[exp.Identifier]) -> list[Table]:
        """Tables that ``[[catalog.]schema.]table`` can mean. A table may have dots in its name."""
        tables = [table for table in self.by_name.get(parts[-1].this.lower(), ()) if same(parts[-1], table.name)]
        if len(parts) > 1:
            tables = [table for table in tables if same(parts[-2], table.schema)]
        return tables

    def close_to(self, name: str, common: Iterable[str] = ()) -> str:
        """Suggest tables, or common table expressions of these names."""
        tables = [table for group in self.by_name.values() for table in group]
        known = {table.name.lower(): table.qualified_name for table in tables}
        known |= {f"{table.schema}.{table.name}".lower(): table.qualified_name for table in tables}
        known |= {text.lower(): adql_identifier(text) for text in common}
        close = closest(name.lower(), known)
        shown = list(dict.fromkeys(known[text] for text in close))
        return f"; did you mean {' or '.join(shown)}?" if shown else "; TAP_SCHEMA.tables lists what there is"


def published_columns(table: Table) -> Columns:
    """Columns of a table; kept with it, as a catalogue may have thousands."""
    kept: Columns | None = table.__dict__.get("_adql_columns")
    if kept is None:
        kept = Columns(
            SourceColumn(
                column.name, column.physical, Typed(column.field, stored_sql(column.sql_type, column.field.type)[0])
            )
            for column in table.columns
        )
        table.__dict__["_adql_columns"] = kept
    return kept
