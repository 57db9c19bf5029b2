"""Tables that come with a query (TAP 1.1, "UPLOAD"): read, checked, and ready to be copied into its session."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.db.arrow import sql_type
from gateway.errors import NotSupportedError, UploadError
from gateway.vo.dali import UploadedPart
from gateway.vo.formats.base import arrow_type
from gateway.vo.tableset import Column, Datatype, Field, SkyIndex, Table, VOType
from gateway.vo.tap import UploadRef

SCHEMA = "TAP_UPLOAD"
"""Schema in which queries find the tables (TAP 1.1, "UPLOAD")."""

HEALPIX = "gw_hpx29"
"""Hidden column of an upload with positions, the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What an upload may have."""

    max_bytes: int
    """Of one file."""
    max_rows: int
    """Of one table."""
    max_columns: int
    """Of one table."""
    max_tables: int
    """With one query."""


@dataclass(frozen=True, slots=True)
class ReceivedUpload:
    """An uploaded table, checked; its rows lie in a file."""

    table: Table
    """As the query sees it, in schema ``TAP_UPLOAD``."""
    path: Path | None
    """Arrow stream with the rows; ``None`` if only the columns were asked for."""

    @property
    def schema(self) -> pa.Schema:
        """Physical names and canonical types of the rows."""
        fields = [(column.physical, arrow_type(column.field.type)) for column in self.table.columns]
        return pa.schema([*fields, (HEALPIX, pa.int64())] if self.table.sky else fields)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read the rows; blocking."""
        if self.path is not None:
            with pa.memory_map(str(self.path)) as source, pa.ipc.open_stream(source) as stream:
                yield from stream


ReadUpload = Callable[..., Awaitable[Mapping[str, Any]]]
"""`read_upload` somewhere else: in a thread, or in a child process that may be killed."""


async def read_in_thread(**arguments: Any) -> Mapping[str, Any]:
    """Call `read_upload` in a thread of this process."""
    return await asyncio.to_thread(read_upload, **arguments)


class Uploads:
    """Receives the tables that come with a query."""

    def __init__(self, *, limits: UploadLimits, read: ReadUpload = read_in_thread, folder: Path | None = None) -> None:
        """Receive uploads.

        Parameters
        ----------
        limits
            What is refused.
        read
            Where files are read.
        folder
            Where rows lie until they are in the database; ``None``: the system's folder for temporary files.
        """
        self._limits = limits
        self._read = read
        self._folder = folder

    @asynccontextmanager
    async def receive(
        self, refs: Sequence[UploadRef], parts: Mapping[str, UploadedPart], *, has_rows: bool = True
    ) -> AsyncIterator[Sequence[ReceivedUpload]]:
        """Read the tables of one request; their files are gone when the context ends.

        Parameters
        ----------
        refs
            Names of the tables, and which parts they are.
        parts
            File parts of the request.
        has_rows
            Whether the rows are wanted, and not just the columns.

        Raises
        ------
        UploadError
            A table is missing, broken or too large.
        NotSupportedError
            A table is to be fetched from somewhere else.
        """
        if len(refs) > self._limits.max_tables:
            raise UploadError(
                f"the query comes with {len(refs)} tables; at most {self._limits.max_tables} are allowed "
                "(upload_max_tables)"
            )
        files = [self._file(ref, parts) for ref in refs]
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="gw-upload-", dir=self._folder))
        try:
            yield [
                await self._receive_one(ref, file.path, folder / f"{place}.arrow" if has_rows else None, place)
                for place, (ref, file) in enumerate(zip(refs, files, strict=True), start=1)
            ]
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    def _file(self, ref: UploadRef, parts: Mapping[str, UploadedPart]) -> UploadedPart:
        if ref.part is None:
            raise NotSupportedError(
                f"UPLOAD={ref.name},{ref.uri}: this service does not fetch tables; send the file with the request, as "
                f"UPLOAD={ref.name},param:{ref.name} and a multipart file named {ref.name}"
            )
        part = parts.get(ref.part)
        if part is None:
            raise UploadError(
                f"UPLOAD={ref.name},{ref.uri}: the request has no file part named {ref.part!r}; send it as "
                "multipart/form-data"
            )
        if part.size > self._limits.max_bytes:
            raise UploadError(
                f"table {ref.name} has {part.size} bytes; at most {self._limits.max_bytes} are allowed "
                "(upload_max_bytes)"
            )
        return part

    async def _receive_one(self, ref: UploadRef, source: Path, target: Path | None, place: int) -> ReceivedUpload:
        try:
            read = await self._read(
                source=str(source),
                target=None if target is None else str(target),
                max_bytes=self._limits.max_bytes,
                max_rows=self._limits.max_rows,
                max_columns=self._limits.max_columns,
            )
        except UploadError as e:
            raise UploadError(f"table {ref.name}: {e.message}") from e
        return ReceivedUpload(_table(ref.name, place, read), target)


def _table(name: str, place: int, read: Mapping[str, Any]) -> Table:
    fields = [Field(**{**field, "type": _type(**field["type"])}) for field in read["fields"]]
    sky = read["sky"]
    return Table(
        schema=SCHEMA,
        name=name,
        columns=tuple(
            Column(field, physical_name(index), sql_type(field.type), index=index)
            for index, field in enumerate(fields, start=1)
        ),
        physical_schema="pg_temp",
        physical_name=f"gw_upload_{place}",
        description=read["description"],
        nrows=read["rows"],
        sky=SkyIndex(physical_name(sky[0]), physical_name(sky[1]), HEALPIX, has_zones=not read["turns"])
        if sky
        else None,
    )


def _type(datatype: str, arraysize: str | None, xtype: str | None) -> VOType:
    return VOType(Datatype(datatype), arraysize, xtype)


def physical_name(place: int) -> str:
    """Name of a column in PostgreSQL: counted from 1, so that any name may be published."""
    return f"c{place}"


# -- reading, maybe in a child process ---------------------------------------------------------------------------


def read_upload(*, source: str, target: str | None, max_bytes: int, max_rows: int, max_columns: int) -> dict[str, Any]:
    """Read a VOTable, and write its rows as an Arrow stream.

    Takes and gives what JSON can say, so that it can run in a child process.

    Parameters
    ----------
    source
        File to read.
    target
        File to write; ``None``: only look at the columns.
    max_bytes, max_rows, max_columns
        Size beyond which the table is refused.

    Returns
    -------
    dict
        ``fields``; ``description``; ``rows``, their number; ``sky``, places of right ascension and declination
        (from 1) if the rows have an index on them; both ``None`` without a target. ``turns``: whether a right ascension
        is outside [0, 360].
    """
    from gateway.vo.votable.reader import ReaderLimits, VOTableReader

    limits = ReaderLimits(max_bytes=max_bytes, max_rows=max_rows, max_columns=max_columns)
    with Path(source).open("rb") as file:
        reader = VOTableReader(file, limits)
        fields = with_distinct_names(reader.fields)
        sky, turns = None, False
        if target is not None:
            sky = position_columns(fields)
            turns = _write(reader, fields, sky, target)
            fields = [_promised(field, is_ascii) for field, is_ascii in zip(fields, reader.is_ascii, strict=True)]
        return {
            "fields": [asdict(field) for field in fields],
            "description": reader.description,
            "rows": reader.rows if target is not None else None,
            "sky": sky,
            "turns": turns,
        }


def _write(
    batches: Iterable[pa.RecordBatch], fields: Sequence[Field], sky: tuple[int, int] | None, target: str
) -> bool:
    columns = [(physical_name(place), arrow_type(field.type)) for place, field in enumerate(fields, start=1)]
    schema = pa.schema([*columns, (HEALPIX, pa.int64())] if sky else columns)
    turns = False
    with pa.OSFile(target, "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
        for batch in batches:
            cells = []
            if sky:
                ra, dec = (_doubles(batch.column(place - 1)) for place in sky)
                cells = [healpix(ra, dec)]
                turns = turns or bool(np.any((ra < 0) | (ra > 360)))
            stream.write_batch(pa.RecordBatch.from_arrays([*batch.columns, *cells], schema=schema))
    return turns


def _doubles(column: pa.Array) -> np.ndarray:
    filled = pc.fill_null(pc.cast(column, pa.float64()), np.nan)
    values: np.ndarray = filled.to_numpy(zero_copy_only=False)
    return values


def _promised(field: Field, is_ascii: bool) -> Field:
    """Promise char only of text that is ASCII."""
    if field.type.datatype is not Datatype.CHAR or field.type.is_timestamp or is_ascii:
        return field
    return replace(field, type=replace(field.type, datatype=Datatype.UNICODE_CHAR))


def healpix(ra: np.ndarray, dec: np.ndarray) -> pa.Array:
    """Order-29 nested HEALPix index of positions, ICRS degrees; null where there is none.

    Right ascensions may be in any turn; declinations beyond the poles have no place on the sky.
    """
    from gateway.sky.index import order29

    usable = np.isfinite(ra) & (np.abs(dec) <= 90)
    cells = order29(np.where(usable, np.mod(np.where(usable, ra, 0.0), 360.0), 0.0), np.where(usable, dec, 0.0))
    return pa.array(cells, pa.int64(), mask=~usable)


def with_distinct_names(fields: Sequence[Field]) -> list[Field]:
    """Give each column a name of its own: VOTable allows two of a name, a query could reach neither."""
    taken: set[str] = set()
    distinct = []
    for place, field in enumerate(fields, start=1):
        base = field.name or f"column_{place}"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        distinct.append(replace(field, name=name))
    return distinct


def position_columns(fields: Sequence[Field]) -> tuple[int, int] | None:
    """Find the columns of the main position by their UCDs.

    Returns
    -------
    tuple of int or None
        Places of right ascension and declination, from 1.
    """
    ra, dec = (_main(fields, word) for word in ("ra", "dec"))
    return None if ra is None or dec is None else (ra, dec)


def _main(fields: Sequence[Field], word: str) -> int | None:
    def is_position(field: Field) -> bool:
        return (
            field.type.datatype in {Datatype.FLOAT, Datatype.DOUBLE}
            and not field.type.is_array
            and (field.unit or "deg").strip().lower() in {"deg", "degree", "degrees"}
        )

    ucds = {
        place: (field.ucd or "").lower().replace(" ", "")
        for place, field in enumerate(fields, start=1)
        if is_position(field)
    }
    # The second spelling is UCD1, which VizieR writes.
    main = [p for p, ucd in ucds.items() if ucd in {f"pos.eq.{word};meta.main", f"pos_eq_{word}_main"}]
    single = [p for p, ucd in ucds.items() if ucd in {f"pos.eq.{word}", f"pos_eq_{word}"}]
    found = main or single
    return found[0] if len(found) == 1 else None
