"""Tables that come with a query (TAP 1.1, "UPLOAD"): read, checked, and ready to be copied into its session."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog

from gateway.children import ChildDiedError
from gateway.db.arrow import sql_type
from gateway.errors import NotSupportedError, UploadError, UsageError
from gateway.services.reading import HEALPIX, physical_name, read_upload
from gateway.storage.fetching import Fetcher
from gateway.vo.dali import UploadedPart
from gateway.vo.formats.base import arrow_type
from gateway.vo.tableset import Column, Datatype, Field, SkyIndex, Table, VOType
from gateway.vo.tap import UploadRef

log = structlog.get_logger()

SCHEMA = "TAP_UPLOAD"
"""Schema in which queries find the tables (TAP 1.1, "UPLOAD")."""


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
    max_fetched_bytes: int
    """Of all files together that one query has fetched from URLs."""


CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
"""Ends of a child that its file has brought about."""


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

    def __init__(
        self,
        *,
        limits: UploadLimits,
        read: ReadUpload = read_in_thread,
        fetcher: Fetcher | None = None,
        folder: Path | None = None,
    ) -> None:
        """Receive uploads.

        Parameters
        ----------
        limits
            What is refused.
        read
            Where files are read.
        fetcher
            Fetches files behind URLs; ``None``: they are refused.
        folder
            Where rows lie until they are in the database; ``None``: the system's folder for temporary files.
        """
        self._limits = limits
        self._read = read
        self._fetcher = fetcher
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
            A table is missing, broken or too large, or cannot be fetched.
        NotSupportedError
            A table is behind a URL, and this service fetches none.
        """
        if len(refs) > self._limits.max_tables:
            raise UploadError(
                f"the query comes with {len(refs)} tables; at most {self._limits.max_tables} are allowed "
                "(upload_max_tables)"
            )
        sent = {ref.name: self._part(ref, ref.part, parts) for ref in refs if ref.part is not None}
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="gw-upload-", dir=self._folder))
        try:
            sources = sent | await self._fetch([ref for ref in refs if ref.part is None], folder)
            yield [
                await self._receive_one(ref, sources[ref.name], folder, place, has_rows=has_rows)
                for place, ref in enumerate(refs, start=1)
            ]
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    def _part(self, ref: UploadRef, name: str, parts: Mapping[str, UploadedPart]) -> Path:
        part = parts.get(name)
        if part is None:
            raise UploadError(
                f"UPLOAD={ref.name},{ref.uri}: the request has no file part named {name!r}; send it as "
                "multipart/form-data"
            )
        if part.size > self._limits.max_bytes:
            raise UploadError(
                f"table {ref.name} has {part.size} bytes; at most {self._limits.max_bytes} are allowed "
                "(upload_max_bytes)"
            )
        return part.path

    async def _fetch(self, refs: Sequence[UploadRef], folder: Path) -> dict[str, Path]:
        """Copy files behind URLs into a folder, one after the other; give them by name of their table."""
        fetched: dict[str, Path] = {}
        total = 0
        for number, ref in enumerate(refs):
            if self._fetcher is None:
                raise NotSupportedError(
                    f"UPLOAD={ref.name},{ref.uri}: this service does not fetch tables; send the file with the request, "
                    f"as UPLOAD={ref.name},param:{ref.name} and a multipart file named {ref.name}"
                )
            path = folder / f"{number}.fetched"
            try:
                total += await self._fetcher.fetch(ref.uri, path, max_bytes=self._limits.max_bytes)
            except UsageError as e:
                raise UploadError(f"table {ref.name}: {e.message}") from e
            if total > self._limits.max_fetched_bytes:
                raise UploadError(
                    f"the tables behind URLs have more than {self._limits.max_fetched_bytes} bytes together, the most "
                    "allowed (request_max_bytes)"
                )
            fetched[ref.name] = path
        return fetched

    async def _receive_one(
        self, ref: UploadRef, source: Path, folder: Path, place: int, *, has_rows: bool
    ) -> ReceivedUpload:
        target = folder / f"{place}.arrow" if has_rows else None
        try:
            read = await self._read(
                source=str(source),
                name=ref.name,
                folder=str(folder),
                target=None if target is None else str(target),
                max_bytes=self._limits.max_bytes,
                max_rows=self._limits.max_rows,
                max_columns=self._limits.max_columns,
            )
        except UploadError as e:
            raise UploadError(f"table {ref.name}: {e.message}") from e
        except ChildDiedError as e:
            if (reason := _blame(e)) is None:
                raise
            log.warning("Upload ended its reader", exit_code=e.exit_code, memory_bytes=e.memory_bytes)
            raise UploadError(f"table {ref.name}: {reason}") from e
        return ReceivedUpload(_table(ref.name, place, read), target)


def _blame(error: ChildDiedError) -> str | None:
    """Say what a file did to its reader; ``None`` if the reader may have died of something else."""
    if error.memory_bytes is not None:
        return "reading the file needs more memory than one request may use; send less at once"
    if error.signal in CRASHES:
        return "the file is broken in a way that ended its reader; write it again, or send it as a VOTable"
    return None


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
