"""Descriptions of tables in the public Felis format (https://felis.lsst.io): YAML, read with models of our own.

Only what the gateway uses is read: descriptions, units, UCDs, types, TAP_SCHEMA flags, keys and indexes.
Anything else is ignored with a note. Columns are referred to by ``@id`` (``"#stars.ra"``) or by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic import Field as Key
from typing_extensions import override

from gateway.errors import IngestError
from gateway.tables.columns import TEXT, TIMESTAMP
from gateway.vo.provenance import DATASET_TERMS
from gateway.vo.tableset import Datatype, Field, VOType

DATATYPES: dict[str, VOType] = {
    "boolean": VOType(Datatype.BOOLEAN),
    "byte": VOType(Datatype.UNSIGNED_BYTE),
    "short": VOType(Datatype.SHORT),
    "int": VOType(Datatype.INT),
    "long": VOType(Datatype.LONG),
    "float": VOType(Datatype.FLOAT),
    "double": VOType(Datatype.DOUBLE),
    "char": TEXT,
    "string": TEXT,
    "unicode": TEXT,
    "text": TEXT,
    "timestamp": TIMESTAMP,
}
"""Felis' types. Whether text is char or unicodeChar is told by its values; ``binary`` has no VO type."""

UNUSED = (
    "mysql:",
    "sqlite:",
    "postgresql:",
    "nullable",
    "autoincrement",
    "value",
    "precision",
    "version",
    "annotations",
    "deferrable",
    "initially",
    "on_delete",
    "on_update",
    "votable:datatype",
    "columnGroups",
    "extensions",
    "id",
    "resources",
    "schema_version",
    "oracle:",
)
"""Keys of the format that say nothing to a gateway, and need no note."""


ORIGIN = "dataorigin:"
"""Begins the keys that say whence data are; the format has none for it."""


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    name: str
    id: str | None = Key(None, alias="@id")
    description: str | None = None

    def unknown(self) -> Iterator[str]:
        """Keys that were not understood."""
        return (key for key in self.model_extra or {} if not key.startswith(UNUSED))


class ColumnDescription(_Model):
    """Felis column."""

    datatype: str | None = None
    length: int | None = None
    unit_ivoa: str | None = Key(None, alias="ivoa:unit")
    unit_fits: str | None = Key(None, alias="fits:tunit")
    ucd: str | None = Key(None, alias="ivoa:ucd")
    utype: str | None = Key(None, alias="votable:utype")
    arraysize: int | str | None = Key(None, alias="votable:arraysize")
    xtype: str | None = Key(None, alias="votable:xtype")
    is_principal: bool | None = Key(None, alias="tap:principal")
    is_std: bool = Key(default=False, alias="tap:std")
    index: int | None = Key(None, alias="tap:column_index")

    @property
    def type(self) -> VOType | None:
        """Type that it describes; ``None``: that of the file."""
        if self.datatype is None:
            return None
        if self.datatype not in DATATYPES:
            raise IngestError(
                f"column {self.name!r} has the datatype {self.datatype!r}; use one of {', '.join(DATATYPES)}"
            )
        kind = DATATYPES[self.datatype]
        size = None if self.arraysize is None else str(self.arraysize)
        if kind.is_timestamp:
            return kind
        if kind.is_text:
            bounded = size or (f"{self.length}*" if self.length else "*")
            return VOType(kind.datatype, bounded, self.xtype) if self.xtype != "timestamp" else TIMESTAMP
        return replace(kind, arraysize=None if size == "1" else size, xtype=self.xtype)

    def apply(self, known: Field) -> Field:
        """Describe a column of a file: what is said here wins."""
        kind = self.type or known.type
        if (
            kind.is_text
            and known.type.is_text
            and self.length is None
            and self.arraysize is None
            and not kind.is_timestamp
        ):
            kind = replace(kind, arraysize=known.type.arraysize)
        if kind.arraysize is None and known.type.is_array:
            kind = replace(kind, arraysize=known.type.arraysize)
        return Field(
            self.name,
            replace(kind, xtype=self.xtype or kind.xtype or known.type.xtype) if not kind.is_timestamp else kind,
            unit=self.unit_ivoa or self.unit_fits or known.unit,
            ucd=self.ucd or known.ucd,
            utype=self.utype or known.utype,
            description=self.description or known.description,
        )


class _WithOrigin(_Model):
    """Schema or table, which says whence its data are in keys of our own, ``dataorigin:citation`` and so on."""

    @property
    def origin(self) -> dict[str, tuple[str, ...]]:
        """Values of each term of `gateway.vo.provenance` that is given."""
        given = {key.removeprefix(ORIGIN): value for key, value in (self.model_extra or {}).items()}
        values = {term: given[term] for term in DATASET_TERMS if given.get(term) is not None}
        return {term: tuple(map(str, one if isinstance(one, list) else [one])) for term, one in values.items()}

    @override
    def unknown(self) -> Iterator[str]:
        return (key for key in super().unknown() if key.removeprefix(ORIGIN) not in DATASET_TERMS)


class ConstraintDescription(_Model):
    """Felis constraint; only foreign keys are published."""

    type: Literal["ForeignKey", "Unique", "Check"] = Key(alias="@type")
    columns: Names = ()
    referenced: Names = Key((), alias="referencedColumns")
    utype: str | None = Key(None, alias="votable:utype")
    expression: str | None = None


class IndexDescription(_Model):
    """Felis index."""

    columns: Names = ()
    expressions: Names = ()


class TableDescription(_WithOrigin):
    """Felis table."""

    columns: tuple[ColumnDescription, ...]
    primary_key: Names = Key((), alias="primaryKey")
    constraints: tuple[ConstraintDescription, ...] = ()
    indexes: tuple[IndexDescription, ...] = ()
    index: int | None = Key(None, alias="tap:table_index")
    utype: str | None = Key(None, alias="votable:utype")

    def find(self, name: str) -> ColumnDescription | None:
        """Look up a column by name: exactly, else without case."""
        exact = next((column for column in self.columns if column.name == name), None)
        return exact or next((column for column in self.columns if column.name.casefold() == name.casefold()), None)

    def resolve(self, references: Iterable[str]) -> tuple[str, ...]:
        """Names of the columns that references (``@id`` or name) mean."""
        return tuple(self._resolve(reference) for reference in references)

    def _resolve(self, reference: str) -> str:
        for column in self.columns:
            if reference in {column.id, column.name, f"#{self.name}.{column.name}"}:
                return column.name
        raise IngestError(
            f"table {self.name!r} has no column {reference!r}, which a key or index of its description names"
        )


class SchemaDescription(_WithOrigin):
    """Felis schema: a description of one or more tables."""

    tables: tuple[TableDescription, ...]

    def find(self, table: str) -> TableDescription:
        """Choose the description of a table: by name, without case, or the only one there is."""
        for candidate in self.tables:
            if candidate.name.casefold() == table.casefold():
                return candidate
        if len(self.tables) == 1:
            return self.tables[0]
        raise IngestError(
            f"the description has no table {table!r}, only {', '.join(sorted(item.name for item in self.tables))}; "
            "name the table as one of them"
        )

    def origin_of(self, table: TableDescription) -> tuple[tuple[str, str], ...]:
        """Whence the data of a table are, term by term: what the table says, else what the schema says."""
        said = self.origin | table.origin
        return tuple((term, value) for term in DATASET_TERMS for value in said.get(term, ()))

    def owner(self, reference: str) -> tuple[TableDescription, str] | None:
        """Table and column that a reference means, in any table of the schema."""
        for table in self.tables:
            for column in table.columns:
                if reference in {column.id, f"#{table.name}.{column.name}", f"{table.name}.{column.name}"}:
                    return table, column.name
        return None

    def notes(self, table: TableDescription) -> list[str]:
        """Tell what was not understood in the description of a table."""
        unknown = sorted(
            {
                *self.unknown(),
                *table.unknown(),
                *(key for column in table.columns for key in column.unknown()),
                *(key for index in table.indexes for key in index.unknown()),
                *(key for constraint in table.constraints for key in constraint.unknown()),
            }
        )
        return [f"the description has keys that are not read: {', '.join(unknown)}"] if unknown else []


def read_description(path: Path) -> SchemaDescription:
    """Read a description.

    Raises
    ------
    IngestError
        The file is missing, no YAML, or not in the Felis format; the text names the place.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise IngestError(f"{path}: there is no such file") from e
    except (OSError, UnicodeDecodeError) as e:
        raise IngestError(f"{path}: cannot be read: {e}") from e
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise IngestError(f"{path.name}{where}: not YAML: {getattr(e, 'problem', None) or e}") from e
    if not isinstance(content, dict):
        raise IngestError(f"{path.name}: is no description in Felis format: it needs the keys name and tables")
    try:
        description = SchemaDescription.model_validate(content)
        _check(description)
    except ValidationError as e:
        first = e.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise IngestError(f"{path.name}, at {place}: {first['msg']}") from e
    except IngestError as e:
        raise IngestError(f"{path.name}: {e.message}") from e
    return description


def _check(description: SchemaDescription) -> None:
    for table in description.tables:
        for column in table.columns:
            _ = column.type
        table.resolve(table.primary_key)
        for index in table.indexes:
            table.resolve(index.columns)
        for constraint in table.constraints:
            table.resolve(constraint.columns)
