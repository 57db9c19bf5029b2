"""TAP 1.1: the request for a query, as a frozen value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.errors import ParameterError, UploadError
from gateway.vo.dali import ParamBag, Parameter, parse_maxrec, parse_run_id

LANGUAGES = ("ADQL", "ADQL-2.0", "ADQL-2.1")
"""Values of LANG that are served (TAP 1.1, "LANG")."""

SYNC_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("QUERY", "The query, in ADQL 2.1.", example="SELECT TOP 5 * FROM tap_schema.tables"),
    Parameter("LANG", "Query language: ADQL, ADQL-2.0 or ADQL-2.1.", example="ADQL"),
    Parameter(
        "RESPONSEFORMAT",
        "Output format: a media type or a short name such as votable, csv, fits, json, arrow, parquet.",
    ),
    Parameter("FORMAT", "The same as RESPONSEFORMAT."),
    Parameter("MAXREC", "Most rows wanted; a table that was cut says OVERFLOW. 0: metadata only."),
    Parameter("RUNID", "Your own label, at most 64 characters."),
    Parameter(
        "UPLOAD",
        "name,param:PART for each table sent as a file part PART, name,URL for one behind an http(s) URL; query it as "
        "TAP_UPLOAD.name. VOTable, CSV, ECSV, FITS and Parquet are read.",
        is_repeatable=True,
    ),
)
"""What a query takes (TAP 1.1, "Parameters"); the OpenAPI document is made from this table."""

UPLOAD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")

LONGEST_NAME = 128
"""Characters of an upload's name; SQL knows no longer ones."""

PARAM = "param:"

URI = re.compile(r"(?i:param:.|https?://)")
"""How each form of UPLOAD's second half begins (TAP 1.1, "UPLOAD")."""

ITEM = re.compile(r"[^,]*,\s*[A-Za-z][A-Za-z0-9+.-]*:")
"""How a table begins among several that are joined by semicolons, which URLs may hold too."""


@dataclass(frozen=True, slots=True)
class UploadRef:
    """One table that comes with a query: its name in TAP_UPLOAD and where its bytes are.

    ``uri`` is ``param:PART`` for a file part of the same request, or an http(s) URL.
    """

    name: str
    uri: str

    @property
    def part(self) -> str | None:
        """Name of the file part, or ``None`` for a table behind a URL."""
        return None if self.is_remote else self.uri[len(PARAM) :]

    @property
    def is_remote(self) -> bool:
        """Whether the table is behind a URL."""
        return self.uri[: len(PARAM)].lower() != PARAM


@dataclass(frozen=True, slots=True)
class TapRequest:
    """What TAP was asked, checked except for the query's own text."""

    query: str
    response_format: str = "votable"
    """RESPONSEFORMAT (or FORMAT) as given; ``vo.formats.find`` reads it."""
    maxrec: int | None = None
    run_id: str | None = None
    uploads: tuple[UploadRef, ...] = ()

    @classmethod
    def from_params(cls, bag: ParamBag) -> TapRequest:
        """Read TAP's parameters (TAP 1.1, "Parameters").

        Raises
        ------
        ParameterError
            LANG is unknown, QUERY is absent or empty, MAXREC or RUNID is malformed, or REQUEST is not doQuery.
        UploadError
            UPLOAD is malformed or names a table twice.
        """
        request = bag.one("REQUEST")
        if request and request.lower() != "doquery":
            raise ParameterError("REQUEST", request, "only doQuery is known here; leave it out")
        lang = bag.one("LANG")
        if lang is not None and lang.upper() not in LANGUAGES:
            raise ParameterError("LANG", lang, f"unknown query language; use one of {', '.join(LANGUAGES)}")
        query = bag.one("QUERY")
        if query is None or not query.strip():
            raise ParameterError(
                "QUERY", query or "", "give an ADQL query, for example SELECT TOP 10 * FROM tap_schema.tables"
            )
        return cls(
            query=query,
            response_format=bag.one("RESPONSEFORMAT") or bag.one("FORMAT") or "votable",
            maxrec=parse_maxrec(bag),
            run_id=parse_run_id(bag),
            uploads=parse_uploads(bag.all("UPLOAD")),
        )

    @property
    def parameters(self) -> tuple[tuple[str, str], ...] | None:
        """Parameters that ask for the same rows; ``None`` if uploaded tables would have to be sent again."""
        if self.uploads:
            return None
        maxrec = () if self.maxrec is None else (("MAXREC", str(self.maxrec)),)
        return ("REQUEST", "doQuery"), ("LANG", "ADQL"), ("QUERY", self.query), *maxrec


def parse_uploads(values: tuple[str, ...]) -> tuple[UploadRef, ...]:
    """Read UPLOAD in its TAP 1.1 form (repeated) and in that of TAP 1.0 (joined by ``;``)."""
    refs: dict[str, UploadRef] = {}
    for item in (item.strip() for value in values for item in _split(value)):
        if not item:
            continue
        name, comma, uri = (text.strip() for text in item.partition(","))
        shown = item if len(item) <= 100 else item[:97] + "..."
        if not comma or not uri:
            raise UploadError(f"UPLOAD={shown!r}: expected name,URI as in UPLOAD=mytable,param:mytable")
        if not UPLOAD_NAME.match(name):
            raise UploadError(
                f"UPLOAD={shown!r}: {name[:100]!r} is not a table name; start with a letter, then use letters, digits "
                "and _"
            )
        if len(name) > LONGEST_NAME:
            raise UploadError(f"UPLOAD={shown!r}: the table name has more than {LONGEST_NAME} characters; shorten it")
        if not URI.match(uri):
            raise UploadError(
                f"UPLOAD={shown!r}: tables come as param:PART, a file part of the request, or from an http(s) URL"
            )
        if name.lower() in refs:
            raise UploadError(f"UPLOAD names the table {name!r} twice; give each upload a name of its own")
        refs[name.lower()] = UploadRef(name, uri)
    return tuple(refs.values())


def _split(value: str) -> list[str]:
    """Cut at semicolons, except at those of URLs."""
    items: list[str] = []
    for piece in value.split(";"):
        is_of_url = bool(items) and "://" in items[-1] and bool(piece) and not ITEM.match(piece)
        if is_of_url:
            items[-1] += f";{piece}"
        else:
            items.append(piece)
    return items
