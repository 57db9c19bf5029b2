"""What every reader of table files gives."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol, cast

import pyarrow as pa

from gateway.errors import IngestError
from gateway.vo.tableset import Field, VOType

Hints = Mapping[str, VOType]
"""Types that a description gives, by column name as the file writes it, for formats that have none."""

GZIP_MAGIC = b"\x1f\x8b"


class TableFile(Protocol):
    """One table in a file, read once from start to end in bounded memory.

    Attributes
    ----------
    name
        File name for messages, without its folder.
    fields
        Columns with what the file says of them; text is `Datatype.CHAR` until its values are seen.
    description
        What the file says of the table.
    notes
        What the operator should know: things left out, taken for something else.
    size
        Bytes of the file as it lies on disk.
    is_guessed
        Whether types were found from the values, since the format has none.
    empty
        Names of columns without any value, whose type is open; known only where types are guessed.
    """

    name: str
    fields: tuple[Field, ...]
    description: str | None
    notes: list[str]
    size: int
    is_guessed: bool
    empty: frozenset[str]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Rows in file order; columns are those of `fields` by place, in any type that `columns.convert` takes.

        Raises
        ------
        IngestError
            The file is broken; the text names the place.
        """
        ...

    def position(self) -> int:
        """Bytes of the file that have been read."""
        ...


def is_gzip(path: Path) -> bool:
    """Whether a file is gzip'd, by its first bytes."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def open_seekable(path: Path, folder: Path | None) -> IO[bytes]:
    """Open a file for reading anywhere in it; a gzip'd one is unpacked to a nameless temporary file first."""
    if not is_gzip(path):
        return path.open("rb")
    unpacked = cast("IO[bytes]", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115  # the caller closes it
    try:
        with gzip.open(path) as packed:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
    except (EOFError, gzip.BadGzipFile) as e:
        unpacked.close()
        raise IngestError(f"{path.name}: the gzip data is broken or cut short; get the file again") from e
    except OSError as e:
        unpacked.close()
        raise IngestError(
            f"{path.name}: cannot be unpacked into {folder or tempfile.gettempdir()} ({e.strerror}); free some space there, "
            "set TMPDIR, or unpack the file yourself"
        ) from e
    unpacked.seek(0)
    # astropy wants a file that is open for reading only; this one is the same, and goes with its last user.
    with unpacked:
        return os.fdopen(os.dup(unpacked.fileno()), "rb")
