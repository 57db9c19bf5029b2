"""What a table will be, decided before its first row is read: columns, names, types, positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gateway.db.loading import sql_type
from gateway.errors import IngestError
from gateway.ingest import positions as sky
from gateway.ingest.describe import SchemaDescription, TableDescription
from gateway.ingest.names import HEALPIX, MAX_COLUMNS, physical_name, physical_names, published_names
from gateway.ingest.prefetch import ahead
from gateway.tables import TableFile, open_table
from gateway.tables.columns import Place, arrow_type, check_lengths, check_text, convert, name_of
from gateway.vo.tableset import Column, Datatype, Field, ForeignKey, SkyIndex, Table, VOType, adql_identifier

INTEGERS = (Datatype.UNSIGNED_BYTE, Datatype.SHORT, Datatype.INT, Datatype.LONG)
REALS = (Datatype.FLOAT, Datatype.DOUBLE)


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was found: its columns under unique names."""

    path: Path
    names: tuple[str, ...]
    """Names as the file writes them."""
    fields: tuple[Field, ...]
    """Columns under the names that they are published with if nothing else is said."""
    description: str | None
    size: int
    is_guessed: bool
    empty: frozenset[str]

    @property
    def hints(self) -> dict[str, VOType]:
        """Types found, so that a second opening need not look for them again."""
        return {name: item.type for name, item in zip(self.names, self.fields, strict=True)}


@dataclass(slots=True)
class Plan:
    """A table to be: where it goes and what its columns are."""

    schema: str
    name: str
    sources: tuple[Source, ...]
    fields: tuple[Field, ...]
    """Published columns, in the order of the first file."""
    origin: tuple[str, ...]
    """Name of each column in `Source.fields`."""
    radians: frozenset[int]
    """Places of the columns to turn into degrees."""
    positions: sky.Positions | None
    described: TableDescription | None
    description: str | None
    keys: tuple[ForeignKey, ...]
    provenance: tuple[tuple[str, str], ...]
    """Whence the data are, as the description says."""
    notes: list[str]
    is_ascii: list[bool] = field(default_factory=list)
    """Of each column, whether all text so far was 7-bit."""
    longest: list[int] = field(default_factory=list)
    """Of each column, the bytes of the longest text so far."""
    counts: sky.PositionCounts = field(default_factory=sky.PositionCounts)

    def __post_init__(self) -> None:
        self.is_ascii = [True] * len(self.fields)
        self.longest = [0] * len(self.fields)

    @property
    def physical_schema(self) -> str:
        """Schema in PostgreSQL."""
        return physical_name(self.schema)

    @property
    def physical_name(self) -> str:
        """Table in PostgreSQL."""
        return physical_name(self.name)

    @property
    def columns(self) -> list[str]:
        """Names of the columns in PostgreSQL, without the hidden one."""
        return physical_names(item.name for item in self.fields)

    def arrow_schema(self) -> pa.Schema:
        """Batches as they are loaded: physical names, canonical types, the hidden column last."""
        items = [(name, arrow_type(item.type)) for name, item in zip(self.columns, self.fields, strict=True)]
        return pa.schema(items + ([(HEALPIX, pa.int64())] if self.positions else []))

    def batches(self, table: TableFile, source: Source, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Rows of one file as they are loaded."""
        places = [[item.name for item in source.fields].index(name) for name in self.origin]
        row = 1
        for batch in ahead(table.batches()):
            columns = [
                self._column(number, batch.column(place), Place(table.name, source.names[place], row))
                for number, place in enumerate(places)
            ]
            if self.positions:
                columns.append(sky.healpix(columns[self.positions.ra], columns[self.positions.dec], self.counts))
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            row += batch.num_rows

    def _column(self, number: int, column: pa.Array, place: Place) -> pa.Array:
        kind = self.fields[number].type
        column = convert(column, kind, place)
        if pa.types.is_string(column.type):
            self.is_ascii[number] &= check_text(column, place)
            self.longest[number] = max(self.longest[number], pc.max(pc.binary_length(column)).as_py() or 0)
        elif pa.types.is_list(column.type):
            check_lengths(column, kind, place)
        return sky.to_degrees(column) if number in self.radians else column

    def table(self, *, nrows: int, indexed: frozenset[str]) -> Table:
        """Table to publish after all rows have passed; ``indexed`` are physical names."""
        said = [self.described.find(item.name) if self.described else None for item in self.fields]
        some_principal = any(column and column.is_principal for column in said)
        columns = tuple(
            Column(
                field=replace(item, type=self._final_type(number)),
                physical=physical,
                sql_type=sql_type(arrow_type(item.type)),
                is_indexed=physical in indexed,
                is_principal=bool(column and column.is_principal) if some_principal else True,
                is_std=bool(column and column.is_std),
                index=column.index if column else None,
            )
            for number, (item, physical, column) in enumerate(zip(self.fields, self.columns, said, strict=True))
        )
        if any(column.index is None for column in columns):
            columns = tuple(replace(column, index=place) for place, column in enumerate(columns, start=1))
        return Table(
            schema=self.schema,
            name=self.name,
            columns=columns,
            physical_schema=self.physical_schema,
            physical_name=self.physical_name,
            description=self.description,
            utype=self.described.utype if self.described else None,
            nrows=nrows,
            sky=self._sky_index(),
            keys=self.keys,
            origin=self.provenance,
            index=self.described.index if self.described else None,
        )

    def _sky_index(self) -> SkyIndex | None:
        if self.positions is None:
            return None
        ra, dec = (self.columns[place] for place in (self.positions.ra, self.positions.dec))
        return SkyIndex(ra, dec, healpix=HEALPIX, has_zones=not self.counts.beyond)

    def _final_type(self, number: int) -> VOType:
        """Type with what only the values tell: their alphabet, and whether a promised length was kept."""
        kind = self.fields[number].type
        if not kind.is_text or kind.is_timestamp:
            return kind
        bound = (kind.arraysize or "*").removesuffix("*")
        kept = bound.isdecimal() and self.longest[number] <= int(bound)
        return replace(
            kind,
            datatype=Datatype.CHAR if self.is_ascii[number] else Datatype.UNICODE_CHAR,
            arraysize=f"{bound}*" if kept else "*",
        )


def make_plan(
    paths: Sequence[Path],
    *,
    schema: str,
    name: str,
    description: SchemaDescription | None,
    ra: str | None,
    dec: str | None,
    convert_radians: bool,
    folder: Path | None,
) -> Plan:
    """Look into the files and decide.

    Raises
    ------
    IngestError
        A file cannot be read, the files do not fit together, or not to the description.
    """
    described = description.find(name) if description else None
    notes = description.notes(described) if description and described else []
    sources = tuple(_survey(path, described, notes, folder) for path in paths)
    fields = _united(sources)
    origin = tuple(item.name for item in fields)
    stored = fields
    if described:
        fields = tuple(column.apply(item) if (column := described.find(item.name)) else item for item in fields)
        absent = [column.name for column in described.columns if not any(described.find(n) is column for n in origin)]
        if absent:
            notes.append(f"the description has columns that the files have not: {', '.join(absent)}")
    unique, renamed = published_names(item.name for item in fields)
    notes += renamed
    fields = tuple(replace(item, name=chosen) for item, chosen in zip(fields, unique, strict=True))
    if len(fields) > MAX_COLUMNS:
        raise IngestError(
            f"the table has {len(fields)} columns; PostgreSQL holds at most {MAX_COLUMNS}: split it into tables with a common key"
        )
    radians = _radians(stored, fields, convert_radians=convert_radians)
    fields = tuple(sky.in_degrees(item) if place in radians else item for place, item in enumerate(fields))
    positions, remarks = sky.find_positions(fields, ra=ra, dec=dec)
    title = next((source.description for source in sources if source.description), None)
    return Plan(
        schema=schema,
        name=name,
        sources=sources,
        fields=fields,
        origin=origin,
        radians=radians,
        positions=positions,
        described=described,
        description=(described.description if described else None) or title,
        keys=_keys(description, described, schema, name) if description and described else (),
        provenance=description.origin_of(described) if description and described else (),
        notes=notes + remarks,
    )


def _survey(path: Path, described: TableDescription | None, notes: list[str], folder: Path | None) -> Source:
    hints: Mapping[str, VOType] = {}
    if described:
        hints = {alias: kind for column in described.columns if (kind := column.type) for alias in (column.name,)}
    with open_table(path, hints=hints, folder=folder) as table:
        names = tuple(item.name for item in table.fields)
        if not names:
            raise IngestError(f"{path.name}: the table has no columns")
        unique, renamed = published_names(names)
        notes += table.notes + [f"{path.name}: {note}" for note in renamed]
        fields = tuple(replace(item, name=chosen) for item, chosen in zip(table.fields, unique, strict=True))
        return Source(path, names, fields, table.description, table.size, table.is_guessed, table.empty)


def _united(sources: Sequence[Source]) -> tuple[Field, ...]:
    """Columns of all files together: same names, types that hold the values of each."""
    first, *others = sources
    fields = {item.name: item for item in first.fields}
    open_types = set(first.empty)
    for source in others:
        names = {item.name for item in source.fields}
        for here, there, name in (
            (source.path.name, first.path.name, next((n for n in fields if n not in names), None)),
            (first.path.name, source.path.name, next((n for n in names if n not in fields), None)),
        ):
            if name is not None:
                raise IngestError(
                    f"{here}: has no column {name!r}, which {there} has; files of one table need the same columns"
                )
        for item in source.fields:
            known = fields[item.name]
            if item.name in source.empty:
                continue
            if item.name in open_types:
                open_types.discard(item.name)
                fields[item.name] = replace(known, type=item.type)
                continue
            kind = wider(known.type, item.type, is_guessed=first.is_guessed and source.is_guessed)
            if kind is None or (known.unit and item.unit and known.unit != item.unit):
                mine = f"{name_of(item.type)}{f' in {item.unit}' if item.unit else ''}"
                other = f"{name_of(known.type)}{f' in {known.unit}' if known.unit else ''}"
                raise IngestError(
                    f"{source.path.name}, column {item.name!r}: is {mine}, but {other} in {first.path.name}; make them alike"
                )
            fields[item.name] = replace(known, type=kind)
    return tuple(fields.values())


def wider(one: VOType, other: VOType, *, is_guessed: bool = False) -> VOType | None:
    """Type that holds the values of both without loss; ``None``: there is none."""
    if one == other:
        return one
    if one.xtype == other.xtype and one.is_text and other.is_text:
        return replace(one, arraysize="*")
    if one.is_array == other.is_array and not one.is_text and not other.is_text:
        size = one.arraysize if one.arraysize == other.arraysize else "*"
        for family in (INTEGERS, REALS):
            if one.datatype in family and other.datatype in family:
                return VOType(max(one.datatype, other.datatype, key=family.index), size, one.xtype or other.xtype)
        if one.datatype is other.datatype:
            return replace(one, arraysize=size)
    if is_guessed:
        numbers = {one.datatype, other.datatype} == {Datatype.LONG, Datatype.DOUBLE}
        return VOType(Datatype.DOUBLE) if numbers else VOType(Datatype.CHAR, "*")
    return None


def _radians(stored: Sequence[Field], published: Sequence[Field], *, convert_radians: bool) -> frozenset[int]:
    places = set()
    for place, (before, after) in enumerate(zip(stored, published, strict=True)):
        if convert_radians and (sky.is_radians(before) or sky.is_radians(after)):
            places.add(place)
        elif sky.is_radians(before) and not sky.is_radians(after):
            raise IngestError(
                f"column {before.name!r} is in {before.unit} in the file, but in {after.unit} in the description; "
                "repeat with --convert-radians, or correct the description"
            )
    return frozenset(places)


def _keys(
    description: SchemaDescription, described: TableDescription, schema: str, name: str
) -> tuple[ForeignKey, ...]:
    keys = []
    for constraint in described.constraints:
        if constraint.type != "ForeignKey":
            continue
        here = described.resolve(constraint.columns)
        there = [description.owner(reference) for reference in constraint.referenced]
        targets = {owner[0].name for owner in there if owner}
        if None in there or len(targets) != 1 or len(here) != len(there):
            raise IngestError(
                f"the key {constraint.name!r} in the description does not name as many columns of one other table"
            )
        keys.append(
            ForeignKey(
                key_id=f"{schema}.{name}.{constraint.name}",
                target_table=f"{adql_identifier(schema)}.{adql_identifier(targets.pop())}",
                columns=tuple((column, owner[1]) for column, owner in zip(here, there, strict=True) if owner),
                description=constraint.description,
                utype=constraint.utype,
            )
        )
    return tuple(keys)
