"""Parquet: row groups as they come, and what VOParquet, astropy or Arrow field metadata say of the columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.errors import IngestError
from gateway.tables.base import Hints, TableFile, is_gzip, open_seekable
from gateway.tables.columns import Place, first_line, vo_type
from gateway.vo.tableset import Field

BATCH_CELLS = 4_194_304
"""Cells per batch: a row group of any size is read page by page, so that its size does not matter."""
BATCH_ROWS = 65_536
"""Rows per batch, at most."""

VOPARQUET_CONTENT = b"IVOA.VOTable-Parquet.content"
"""Key of the file metadata that holds a VOTable without data (VOParquet convention, IVOA Note)."""

ASTROPY_CONTENT = b"table_meta_yaml"
"""Key under which astropy's Parquet writer keeps an ECSV header."""


@dataclass(slots=True)
class ParquetTable:
    """`TableFile` of a Parquet file."""

    name: str
    fields: tuple[Field, ...]
    description: str | None
    size: int
    file: pq.ParquetFile
    notes: list[str] = field(default_factory=list)
    is_guessed: bool = False
    empty: frozenset[str] = frozenset()
    _rows: int = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Rows in file order."""
        step = min(BATCH_ROWS, max(1, BATCH_CELLS // max(1, len(self.fields))))
        try:
            for batch in self.file.iter_batches(batch_size=step):
                self._rows += batch.num_rows
                yield batch
        except (pa.ArrowException, OSError) as e:
            raise IngestError(
                f"{self.name}: broken after row {self._rows} ({first_line(e)}); get or write the file again"
            ) from e

    def position(self) -> int:
        """Bytes read, judged by the rows."""
        total: int = self.file.metadata.num_rows
        return self.size * self._rows // max(1, total)


@contextmanager
def open_parquet(path: Path, *, hints: Hints, folder: Path | None) -> Iterator[TableFile]:  # noqa: ARG001
    """Open a Parquet file."""
    with open_seekable(path, folder) as stream:
        try:
            # Without pre-buffering and with a small buffer, pages are read as they are decoded.
            # Arrow's own file reader runs without Python's lock.
            source = stream if is_gzip(path) else pa.OSFile(str(path))
            file = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
        except (pa.ArrowException, OSError) as e:
            raise IngestError(
                f"{path.name}: cannot be read as Parquet ({first_line(e)}); get or write the file again"
            ) from e
        schema = file.schema_arrow
        known, description = file_metadata(schema.metadata or {})
        fields = tuple(_field(item, known.get(item.name), path.name) for item in schema)
        yield ParquetTable(path.name, fields, description, path.stat().st_size, file)


def _field(item: pa.Field, known: Field | None, file: str) -> Field:
    kind = vo_type(item.type, Place(file, item.name, 1))
    if known is not None:
        # The file's own types decide how values are stored; arrays may be known better by their description.
        kind = replace(kind, xtype=kind.xtype or known.type.xtype)
        if kind.is_array and known.type.arraysize and known.type.is_array:
            kind = replace(kind, arraysize=known.type.arraysize)
        return replace(known, name=item.name, type=kind)
    notes = {
        key.decode(errors="replace").lower(): value.decode(errors="replace")
        for key, value in (item.metadata or {}).items()
    }
    return Field(
        item.name,
        replace(kind, xtype=kind.xtype or notes.get("xtype") or None),
        unit=notes.get("unit") or None,
        ucd=notes.get("ucd") or None,
        utype=notes.get("utype") or None,
        description=notes.get("description") or notes.get("doc") or None,
    )


def file_metadata(metadata: Mapping[bytes, bytes]) -> tuple[dict[str, Field], str | None]:
    """Read what a Parquet file's key-value metadata says of its columns, by name, and of the table."""
    if content := metadata.get(VOPARQUET_CONTENT):
        return votable_fields(content)
    if content := metadata.get(ASTROPY_CONTENT):
        from gateway.tables.text import ecsv_header

        header = ecsv_header(content.decode(errors="replace").splitlines(), "the file's metadata")
        return {item.name: item for item in header.fields}, header.description
    return {}, metadata.get(b"description", b"").decode(errors="replace") or None


def votable_fields(document: bytes) -> tuple[dict[str, Field], str | None]:
    """Read FIELDs and the table's description from a VOTable without data; an unreadable one is ignored."""
    import io

    from gateway.errors import GatewayError
    from gateway.tables.votable import votable_reader

    try:
        reader = votable_reader(io.BytesIO(document))
    except GatewayError:
        return {}, None
    return {item.name: item for item in reader.fields}, reader.description
