"""Which reader a file needs."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import IngestError
from gateway.ingest.readers.base import Hints, TableFile, is_gzip

KINDS = "Parquet, FITS (BINTABLE), VOTable, CSV, ECSV"
"""Kinds of files that can be read, for messages; each may be gzip'd."""

FOREIGN = (
    (b"\x89HDF\r\n", "HDF5"),
    (b"ARROW1", "Arrow IPC"),
    (b"SQLite format 3", "SQLite"),
    (b"PK\x03\x04", "a zip archive (or a spreadsheet)"),
    (b"\xfd7zXZ", "xz-compressed"),
    (b"BZh", "bzip2-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF document"),
)
"""First bytes of kinds that people try, so that the message can say what the file is."""

TEXT_ENDINGS = {".csv", ".tsv", ".txt", ".dat"}
XML_ENDINGS = {".vot", ".xml", ".votable"}


@contextmanager
def open_table(path: Path, *, hints: Hints | None = None, folder: Path | None = None) -> Iterator[TableFile]:
    """Open a table file of any kind.

    Parameters
    ----------
    path
        The file, gzip'd or not.
    hints
        Types of columns from a description, for CSV.
    folder
        Where a gzip'd Parquet or FITS file is unpacked; the system's temporary folder if ``None``.

    Raises
    ------
    IngestError
        It is missing, empty, of no known kind, or broken.
    """
    # Readers are imported where they are needed: astropy alone takes half a second.
    match kind_of(path):
        case "Parquet":
            from gateway.ingest.readers.parquet import open_parquet as opener
        case "FITS":
            from gateway.ingest.readers.fits import open_fits as opener
        case "VOTable":
            from gateway.ingest.readers.votable import open_votable as opener
        case "ECSV":
            from gateway.ingest.readers.text import open_ecsv as opener
        case _:
            from gateway.ingest.readers.text import open_csv as opener
    with opener(path, hints=hints or {}, folder=folder) as table:
        yield table


def kind_of(path: Path) -> str:
    """Tell the kind of a file by its first bytes, for CSV by its name."""
    start = _start(path)
    if start.startswith(b"PAR1"):
        return "Parquet"
    if start.startswith(b"SIMPLE  ="):
        return "FITS"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"# %ECSV"):
        return "ECSV"
    endings = {ending.lower() for ending in path.suffixes}
    if text.startswith(b"<"):
        if b"<VOTABLE" in start or b":VOTABLE" in start or endings & XML_ENDINGS:
            return "VOTable"
        raise IngestError(
            f"{path.name}: this XML file is no VOTable; files that can be read are {KINDS}, gzip'd or not"
        )
    for magic, name in FOREIGN:
        if start.startswith(magic):
            raise IngestError(f"{path.name}: is {name}; files that can be read are {KINDS}, gzip'd or not")
    if endings & TEXT_ENDINGS and b"\0" not in start:
        return "CSV"
    raise IngestError(
        f"{path.name}: unknown kind of file; files that can be read are {KINDS}, gzip'd or not (the name of a CSV file ends in .csv)"
    )


def _start(path: Path) -> bytes:
    """First bytes, unpacked: enough to see the root element of a VOTable behind comments."""
    if path.is_dir():
        raise IngestError(f"{path}: is a folder; name the files in it")
    try:
        with gzip.open(path) if is_gzip(path) else path.open("rb") as file:
            start: bytes = file.read(8192)
    except FileNotFoundError as e:
        raise IngestError(f"{path}: there is no such file") from e
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise IngestError(f"{path.name}: the gzip data is broken or cut short; get the file again") from e
    except OSError as e:
        raise IngestError(f"{path}: cannot be read: {e.strerror}") from e
    if not start:
        raise IngestError(f"{path.name}: the file is empty")
    return start
