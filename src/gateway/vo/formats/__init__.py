"""Output formats: each a writer of record batches into bytes, all behind one interface."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from gateway.errors import ParameterError
from gateway.vo.dali import normal_media_type
from gateway.vo.formats.base import Format, TableHeader, Writer

__all__ = ["CSV", "FORMATS", "PARQUET", "TABLEDATA", "TSV", "VOTABLE", "Format", "find"]

# The writers import pyarrow's parts when they are used, and `vo.votable` imports `formats.base`: hence the
# imports inside.


def _binary2(header: TableHeader) -> Writer:
    from gateway.vo.votable.writer import Binary2Writer

    return Binary2Writer(header)


def _tabledata(header: TableHeader) -> Writer:
    from gateway.vo.votable.writer import TabledataWriter

    return TabledataWriter(header)


def _csv(header: TableHeader, *, has_names: bool = True) -> Writer:
    from gateway.vo.formats.delimited import CSV as DIALECT
    from gateway.vo.formats.delimited import DelimitedWriter

    return DelimitedWriter(header, DIALECT, has_names=has_names)


def _tsv(header: TableHeader) -> Writer:
    from gateway.vo.formats.delimited import TSV as DIALECT
    from gateway.vo.formats.delimited import DelimitedWriter

    return DelimitedWriter(header, DIALECT)


def _parquet(header: TableHeader) -> Writer:
    from gateway.vo.formats.parquet import ParquetWriter

    return ParquetWriter(header)


VOTABLE = Format(
    key="votable",
    media_type="application/x-votable+xml",
    aliases=("application/x-votable+xml;serialization=BINARY2", "votable/b2"),
    extension=".vot",
    make=_binary2,
    ivo_id="ivo://ivoa.net/std/TAPRegExt#output-votable-binary2",
)
TABLEDATA = Format(
    key="votable/td",
    media_type="application/x-votable+xml;serialization=TABLEDATA",
    aliases=("text/xml",),
    extension=".vot",
    make=_tabledata,
    ivo_id="ivo://ivoa.net/std/TAPRegExt#output-votable-td",
)
CSV = Format(
    key="csv",
    media_type="text/csv;header=present",
    aliases=("text/csv",),
    extension=".csv",
    make=_csv,
)
TSV = Format(
    key="tsv",
    media_type="text/tab-separated-values",
    aliases=(),
    extension=".tsv",
    make=_tsv,
)
PARQUET = Format(
    key="parquet",
    media_type="application/vnd.apache.parquet",
    aliases=("application/x-parquet",),
    extension=".parquet",
    make=_parquet,
)

FORMATS = (VOTABLE, TABLEDATA, CSV, TSV, PARQUET)
"""All formats that are served, the default first."""

_SHORT_NAMES = {"votable": VOTABLE, "votable/b2": VOTABLE} | {format_.key: format_ for format_ in FORMATS}
_MEDIA_TYPES = {
    "application/x-votable+xml": VOTABLE,
    "text/xml": TABLEDATA,
    "text/csv": CSV,
    "text/tab-separated-values": TSV,
    "application/vnd.apache.parquet": PARQUET,
    "application/x-parquet": PARQUET,
}
_SERIALIZATIONS = {"binary2": VOTABLE, "tabledata": TABLEDATA}


def find(text: str) -> tuple[Format, str]:
    """Read a RESPONSEFORMAT (DALI 1.1, "RESPONSEFORMAT").

    Parameters
    ----------
    text
        Short name or media type; media type parameters that change the bytes are honoured (DALI-35),
        others are kept and ignored.

    Returns
    -------
    tuple
        The format, and the Content-Type to answer: a media type comes back as it was asked for (DALI-34).

    Raises
    ------
    ParameterError
        No such format is served; the text lists those that are.
    """
    name = normal_media_type(text)
    if name in _SHORT_NAMES:
        format_ = _SHORT_NAMES[name]
        return (
            format_,
            "application/x-votable+xml;serialization=BINARY2" if name == "votable/b2" else format_.media_type,
        )
    kind, *parameters = name.split(";")
    wishes = {key.lower(): value.strip('"').lower() for key, _, value in (item.partition("=") for item in parameters)}
    found = _MEDIA_TYPES.get(kind)
    if found in {VOTABLE, TABLEDATA} and "serialization" in wishes:
        found = _SERIALIZATIONS.get(wishes["serialization"])
    if found is None:
        raise ParameterError("RESPONSEFORMAT", text, f"not served here; use one of {', '.join(known())}")
    if found is CSV:
        return _csv_as_asked(name, wishes.get("header"))
    return found, name


def _csv_as_asked(name: str, header: str | None) -> tuple[Format, str]:
    """CSV with or without its row of names, which the answer always tells (TAP-56)."""
    if header == "absent":
        return replace(CSV, make=partial(_csv, has_names=False)), name
    return CSV, name if header else f"{name};header=present"


def known() -> tuple[str, ...]:
    """Short names and media types of all formats, for messages."""
    return tuple(dict.fromkeys(name for format_ in FORMATS for name in (format_.key, format_.media_type)))
