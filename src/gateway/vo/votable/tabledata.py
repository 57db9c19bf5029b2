"""TABLEDATA: rows as XML elements, made column by column (VOTable 1.4, "TABLEDATA Serialization")."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from gateway.vo.formats.cells import TABLEDATA, cell_text, has_any, has_control, join_rows
from gateway.vo.markup import REPLACEMENT
from gateway.vo.tableset import Field

_REFERENCES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))

_FORBIDDEN = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}]"
"""Characters that XML 1.0 cannot hold (VOT-36); surrogates cannot occur in Arrow's UTF-8."""

_NONCHARACTERS = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
"""U+FFFE and U+FFFF in UTF-8."""


def encode_rows(columns: Sequence[pa.Array], fields: Sequence[Field]) -> bytes:
    """TR elements of all rows.

    A null cell of any type is an empty TD (VOT-15). Text keeps its white space (VOT-37); characters that
    XML cannot hold become U+FFFD. Text beyond 7 bits in a `char` column is written as it is: the document
    is UTF-8, and readers take it.
    """
    if not len(columns[0]):
        return b""
    cells = [_td(column, field) for column, field in zip(columns, fields, strict=True)]
    rows = join_rows(cells, "</TD><TD>", "</TD></TR>\n<TR><TD>")
    return b"".join((b"<TR><TD>", rows, b"</TD></TR>\n"))


def _td(column: pa.Array, field: Field) -> pa.Array:
    text = cell_text(column, field, TABLEDATA)
    return escape(text) if field.type.is_text else text


def escape(text: pa.Array) -> pa.Array:
    """Write text as XML content; columns without special characters, the usual case, are not touched."""
    if has_any(text, b"&", b"<", b">"):
        for character, reference in _REFERENCES:
            text = pc.replace_substring(text, character, reference)
    if has_control(text) or has_any(text, *_NONCHARACTERS):
        text = pc.replace_substring_regex(text, _FORBIDDEN, REPLACEMENT)
        text = pc.replace_substring(text, "\r", "&#13;")
    return text
