"""VOTable: the gateway's own streaming reader, which also reads uploads."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from gateway.errors import IngestError, UploadError
from gateway.tables.base import Hints, TableFile, is_gzip
from gateway.vo.tableset import Field
from gateway.vo.votable.reader import ReaderLimits, VOTableReader


def votable_reader(stream: BinaryIO) -> VOTableReader:
    """Make the reader, without the limits that uploads have: the file is the operator's own."""
    return VOTableReader(stream, ReaderLimits.unlimited())


@dataclass(slots=True)
class VOTable:
    """`TableFile` of the first table of a VOTable."""

    name: str
    fields: tuple[Field, ...]
    description: str | None
    size: int
    reader: VOTableReader
    file: BinaryIO
    notes: list[str] = field(default_factory=list)
    is_guessed: bool = False
    empty: frozenset[str] = frozenset()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Rows in file order."""
        with faults(self.name):
            yield from self.reader

    def position(self) -> int:
        """Bytes read."""
        return self.file.tell()


@contextmanager
def open_votable(path: Path, *, hints: Hints, folder: Path | None) -> Iterator[TableFile]:  # noqa: ARG001
    """Open the first table of a VOTable."""
    with path.open("rb") as file:
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if is_gzip(path) else file
        with faults(path.name):
            reader = votable_reader(stream)
            fields, description = tuple(reader.fields), reader.description
        yield VOTable(path.name, fields, description, path.stat().st_size, reader, file)


@contextmanager
def faults(name: str) -> Iterator[None]:
    """Name the file in what the reader says."""
    try:
        yield
    except UploadError as e:
        raise IngestError(f"{name}: {e.message}") from e
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise IngestError(f"{name}: the gzip data is broken or cut short; get the file again") from e
