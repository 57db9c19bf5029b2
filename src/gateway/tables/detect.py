"""Which reader a file needs."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import IngestError
from gateway.tables.base import Hints, TableFile, is_gzip

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
def open_table(
    path: Path, *, hints: Hints | None = None, folder: Path | None = None, kind: str | None = None
) -> Iterator[TableFile]:
    """Open a table file of any kind.

    Parameters
    ----------
    path
        The file, gzip'd or not.
    hints
        Types of columns from a description, for CSV.
    folder
        Where a gzip'd Parquet or FITS file is unpacked; the system's temporary folder if ``None``.
    kind
        Its kind, if it is known; else `kind_of` tells.

    Raises
    ------
    IngestError
        It is missing, empty, of no known kind, or broken.
    """
    # Readers are imported where they are needed: astropy alone takes half a second.
    match kind or kind_of(path):
        case "Parquet":
            from gateway.tables.parquet import open_parquet as opener
        case "FITS":
            from gateway.tables.fits import open_fits as opener
        case "VOTable":
            from gateway.tables.votable import open_votable as opener
        case "ECSV":
            from gateway.tables.text import open_ecsv as opener
        case _:
            from gateway.tables.text import open_csv as opener
    with opener(path, hints=hints or {}, folder=folder) as table:
        yield table


def kind_of(path: Path) -> str:
    """Tell the kind of a file by its first bytes, for CSV by its name."""
    start = _start(path)
    if kind := _known(start, path.name):
        return kind
    endings = {ending.lower() for ending in path.suffixes}
    if _is_xml(start):
        if b"<VOTABLE" in start or b":VOTABLE" in start or endings & XML_ENDINGS:
            return "VOTable"
        raise IngestError(
            f"{path.name}: this XML file is no VOTable; files that can be read are {KINDS}, gzip'd or not"
        )
    if endings & TEXT_ENDINGS and b"\0" not in start:
        return "CSV"
    raise IngestError(
        f"{path.name}: unknown kind of file; files that can be read are {KINDS}, gzip'd or not (the name of a CSV file ends in .csv)"
    )


def kind_by_content(path: Path) -> str:
    """Tell the kind of a file by its bytes alone: any XML is taken for VOTable, any text that looks like rows for CSV."""
    start = _start(path)
    if kind := _known(start, path.name):
        return kind
    if _is_xml(start) or start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start[:4]:  # UTF-16
        return "VOTable"
    if _is_rows(start):
        return "CSV"
    raise IngestError(f"{path.name}: unknown kind of file; files that can be read are {KINDS}, gzip'd or not")


def _known(start: bytes, name: str) -> str | None:
    """Kind of a file that has a mark of its own."""
    if start.startswith(b"PAR1"):
        return "Parquet"
    if start.startswith(b"SIMPLE  ="):
        return "FITS"
    if _text(start).startswith(b"# %ECSV"):
        return "ECSV"
    if _text(start)[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise IngestError(
            f"{name}: is a web page and no table, maybe an error message or a log-in; open it in a browser to see"
        )
    for magic, kind in FOREIGN:
        if start.startswith(magic):
            raise IngestError(f"{name}: is {kind}; files that can be read are {KINDS}, gzip'd or not")
    return None


def _text(start: bytes) -> bytes:
    return start.removeprefix(codecs.BOM_UTF8).lstrip()


def _is_xml(start: bytes) -> bool:
    return _text(start).startswith(b"<")


def _is_rows(start: bytes) -> bool:
    """Whether bytes are text with a row of names: several by a delimiter, or one word."""
    text = _text(start)
    if any(byte < 0x20 and byte not in b"\t\r\n" for byte in text) or text.startswith((b"{", b"[")):
        return False
    line = next((line for line in text.splitlines() if line.strip() and not line.startswith(b"#")), b"")
    return any(mark in line for mark in (b",", b"\t", b";", b"|")) or len(line.split()) == 1


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
