"""HTML: the first rows, for eyes."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.compute as pc

from gateway.vo.formats.base import Broken, Complete, Ending, Info, Overflow, TableHeader, canonical_columns
from gateway.vo.formats.cells import TABLEDATA, cell_text, constant
from gateway.vo.markup import attributes, element, escaped
from gateway.vo.tableset import Field

SHOWN_ROWS = 1000
"""More makes browsers slow, and nobody reads on."""

SHOWN_CHARACTERS = 400
"""Of one cell; a footprint can have a hundred thousand."""

LONGEST_LINK = 6000
"""Characters; servers and proxies refuse URLs from 8,000 on."""

_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:1.5rem;color:#1c1c1c;background:#fff}
table{border-collapse:collapse}th,td{padding:.2rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid #ddd}
thead th{position:sticky;top:0;background:#f3f4f6}th small{display:block;font-weight:normal;color:#555}
td.n{text-align:right;font-variant-numeric:tabular-nums}pre{white-space:pre-wrap}.error{color:#a40000;font-weight:bold}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}thead th{background:#26282c}th small{color:#aaa}
th,td{border-color:#3a3a3a}a{color:#8ab4f8}.error{color:#ff8a80}}
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Even if a hostile text came through, nothing in the page would run or load."""


class HtmlWriter:
    """One page: what was asked, the first rows, how many more there are, links to the other formats.

    Everything that comes from outside is escaped. An overflow or a broken table is told below the rows.

    Parameters
    ----------
    header
        What is known of the table.
    formats
        Short names of the formats to which the page links.
    """

    def __init__(self, header: TableHeader, formats: Sequence[str] = ()) -> None:
        self._header = header
        self._formats = formats
        self._rows = 0

    def start(self) -> bytes:
        """Page up to the first row."""
        name = escaped(self._header.name)
        headings = "".join(map(_heading, self._header.fields))
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f"<meta{attributes({'http-equiv': 'Content-Security-Policy', 'content': _POLICY})}>\n"
            '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">\n'
            f"<title>{name}</title><style>{_STYLE}</style></head><body>\n<h1>{name}</h1>\n"
            f"{element('p', self._header.description or None)}{self._links()}{_infos(self._header.infos)}"
            f"<table><thead><tr>{headings}</tr></thead><tbody>\n"
        ).encode()

    def _links(self) -> str:
        parameters = self._header.parameters
        if parameters is None or not self._formats:
            return ""
        links = [
            f"<a{attributes({'href': '?' + urlencode([*parameters, ('RESPONSEFORMAT', key)], errors='replace')})}>"
            f"{escaped(key)}</a>"
            for key in self._formats
        ]
        if max(map(len, links)) > LONGEST_LINK:
            return "<p>The query is too long for links; ask for its table in another format with RESPONSEFORMAT.</p>\n"
        return f"<p>The whole table as {', '.join(links)}</p>\n"

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Rows, until enough are shown."""
        columns = canonical_columns(batch, self._header.fields)
        wanted = min(batch.num_rows, max(SHOWN_ROWS - self._rows, 0))
        self._rows += batch.num_rows
        if not wanted:
            return b""
        cells = [
            _cells(column.slice(0, wanted), field) for column, field in zip(columns, self._header.fields, strict=True)
        ]
        return "".join(f"<tr>{''.join(row)}</tr>\n" for row in zip(*cells, strict=True)).encode()

    def end(self, ending: Ending) -> bytes:
        """How the table ends."""
        more = self._rows - SHOWN_ROWS
        notes = [f"{more:,} more rows are not shown here." if more > 0 else f"{self._rows:,} rows."]
        match ending:
            case Overflow(maxrec=maxrec):
                notes.append(f"OVERFLOW: the table was cut after MAXREC={maxrec:,} rows; more rows match.")
            case Broken(message=message):
                notes.append(f"ERROR: {message}")
            case Complete():
                pass
        paragraphs = f"<p>{notes[0]}</p>\n" + "".join(element("p", note, **{"class": "error"}) for note in notes[1:])
        return f"</tbody></table>\n{paragraphs}</body></html>\n".encode()


def _infos(infos: Sequence[Info]) -> str:
    if not infos:
        return ""
    items = "".join(f"<dt>{escaped(info.name)}</dt><dd><pre>{escaped(info.value)}</pre></dd>\n" for info in infos)
    return f"<details><summary>About this table</summary><dl>\n{items}</dl></details>\n"


def _heading(field: Field) -> str:
    title = attributes({"title": "; ".join(text for text in (field.description, field.ucd) if text) or None})
    return f"<th{title}>{escaped(field.name)}{element('small', field.unit or None)}</th>"


def _cells(column: pa.Array, field: Field) -> list[str]:
    text = cell_text(column, field, TABLEDATA).fill_null(constant(""))
    shown = pc.utf8_slice_codeunits(text, 0, SHOWN_CHARACTERS + 1).to_pylist()
    start = '<td class="n">' if field.type.is_number else "<td>"
    return [f"{start}{_content(value)}</td>" for value in shown]


def _content(value: str) -> str:
    if len(value) > SHOWN_CHARACTERS:
        return escaped(value[:SHOWN_CHARACTERS]) + "\u2026"
    if value.startswith(("https://", "http://")):
        return f"<a{attributes({'href': value, 'rel': 'noreferrer'})}>{escaped(value)}</a>"
    return escaped(value)
