"""Output formats: each a writer of record batches into bytes, all behind one interface.

What each can carry beside the values:

==========  ==============================  =====================  ===============  ==========================
format      null                            units, UCDs            OVERFLOW         a table that broke off
==========  ==============================  =====================  ===============  ==========================
votable/b2  flags                           FIELD                  trailing INFO    trailing INFO, ERROR
votable/b   VALUES/@null, NaN, empty text   FIELD                  trailing INFO    trailing INFO, ERROR
votable/td  empty TD                        FIELD                  trailing INFO    trailing INFO, ERROR
csv         nothing; empty text is ``""``   -                      -                cut
tsv         nothing, as empty text          -                      -                cut
fits        TNULL, NaN, empty text          TUNIT, TUCD, ...       QSTATUS          nothing is sent
json        null                            ``metadata``           `query_status`   `query_status`
ndjson      null                            -                      -                cut
arrow       null                            metadata of fields     last batch       cut
parquet     null                            VOParquet              footer           cut
html        empty cell                      heads of columns       last line        last line
==========  ==============================  =====================  ===============  ==========================

``votable``, the default, is BINARY2, but TABLEDATA where a column holds polygons: STILTS up to 3.4.7, and with it the
validator that everybody uses, loses its place in binary tables behind arrays of ``xtype="polygon"``.

"Cut" means that the body ends without its proper end, which HTTP tells: `TruncatedError`. Further limits are told
by the writers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from gateway.errors import ParameterError
from gateway.vo.dali import normal_media_type
from gateway.vo.formats import makers
from gateway.vo.formats.base import Format

__all__ = [
    "ARROW",
    "BINARY",
    "BINARY2",
    "CSV",
    "FITS",
    "FORMATS",
    "HTML",
    "JSON",
    "NDJSON",
    "PARQUET",
    "TABLEDATA",
    "TSV",
    "VOTABLE",
    "Format",
    "find",
]

_VOTABLE = "application/x-votable+xml"
_OUTPUT = "ivo://ivoa.net/std/TAPRegExt#output-votable"

VOTABLE = Format(
    key="votable",
    media_type=_VOTABLE,
    aliases=(),
    extension=".vot",
    make=makers.votable,
)
BINARY2 = Format(
    key="votable/b2",
    media_type=f"{_VOTABLE};serialization=BINARY2",
    aliases=(),
    extension=".vot",
    make=makers.binary2,
    ivo_id=f"{_OUTPUT}-binary2",
)
BINARY = Format(
    key="votable/b",
    media_type=f"{_VOTABLE};serialization=BINARY",
    aliases=(),
    extension=".vot",
    make=makers.binary,
    ivo_id=f"{_OUTPUT}-binary",
)
TABLEDATA = Format(
    key="votable/td",
    media_type=f"{_VOTABLE};serialization=TABLEDATA",
    aliases=("text/xml",),
    extension=".vot",
    make=makers.tabledata,
    ivo_id=f"{_OUTPUT}-td",
)
CSV = Format(
    key="csv",
    media_type="text/csv;header=present",
    aliases=("text/csv",),
    extension=".csv",
    make=makers.csv,
)
TSV = Format(
    key="tsv",
    media_type="text/tab-separated-values",
    aliases=(),
    extension=".tsv",
    make=makers.tsv,
)
FITS = Format(
    key="fits",
    media_type="application/fits",
    aliases=("image/fits",),
    extension=".fits",
    make=makers.fits,
    make_spooled=makers.spooled_fits,
)
JSON = Format(
    key="json",
    media_type="application/json",
    aliases=(),
    extension=".json",
    make=makers.json,
)
NDJSON = Format(
    key="ndjson",
    media_type="application/x-ndjson",
    aliases=("application/jsonl", "jsonl"),
    extension=".ndjson",
    make=makers.ndjson,
)
ARROW = Format(
    key="arrow",
    media_type="application/vnd.apache.arrow.stream",
    aliases=(),
    extension=".arrows",
    make=makers.arrow,
)
PARQUET = Format(
    key="parquet",
    media_type="application/vnd.apache.parquet",
    aliases=("application/x-parquet",),
    extension=".parquet",
    make=makers.parquet,
)
HTML = Format(
    key="html",
    media_type="text/html",
    aliases=(),
    extension=".html",
    make=makers.html,
)

FORMATS = (VOTABLE, BINARY2, BINARY, TABLEDATA, CSV, TSV, FITS, JSON, NDJSON, ARROW, PARQUET, HTML)
"""All formats that are served, the default first."""

_SERIALIZATIONS = {"binary2": BINARY2, "binary": BINARY, "tabledata": TABLEDATA}

_SHORT_NAMES = {form.key: form for form in FORMATS} | {"jsonl": NDJSON}
_MEDIA_TYPES = {
    name.partition(";")[0]: form
    for form in FORMATS
    for name in (form.media_type, *form.aliases)
    if name not in _SHORT_NAMES
} | {_VOTABLE: VOTABLE}  # whose parameter tells the serialisation


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
    if form := _SHORT_NAMES.get(name):
        return form, form.media_type
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
        return replace(CSV, make=partial(makers.csv, has_names=False)), name
    return CSV, name if header else f"{name};header=present"


def known() -> tuple[str, ...]:
    """Short names and media types of all formats, for messages."""
    return tuple(dict.fromkeys(name for format_ in FORMATS for name in (format_.key, format_.media_type)))
