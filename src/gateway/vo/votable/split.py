"""Cells of TABLEDATA, cut out of the document's bytes.

The usual document is nothing but ``<TR>`` and ``<TD>`` between the ends of the rows, so its cells can be cut
out by the places of its ``<`` alone, a column at a time; what looks otherwise goes the slow way through the
XML parser's events.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.vo.formats.cells import has_any

_OPEN_TR, _CLOSE_TR, _OPEN_TD, _CLOSE_TD = (
    int.from_bytes(tag.ljust(4, b"\0"), "little") for tag in (b"TR>", b"/TR>", b"TD>", b"/TD>")
)
"""The four bytes after ``<``; opening tags have only three that count."""
_THREE_BYTES, _FOUR_BYTES = 0x00FFFFFF, 0xFFFFFFFF

_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
"""All that XML knows without a DTD; the ampersand last, so that nothing is resolved twice."""
_CHARACTER_REFERENCE = re.compile(r"&(?:#x([0-9a-fA-F]+)|#([0-9]+)|(lt|gt|quot|apos|amp));")
_NAMED = {entity[1:-1]: character for entity, character in _ENTITIES}


def split_rows(block: bytes, columns: int) -> list[pa.Array] | None:
    """Cells of whole rows, a string column for each FIELD.

    Parameters
    ----------
    block
        UTF-8 bytes of a well-formed piece of TABLEDATA that ends with a ``</TR>``.
    columns
        Cells of each row.

    Returns
    -------
    list or None
        ``None`` if the block is anything but rows of that many plain cells: attributes, comments, CDATA,
        prefixes, other elements, missing or surplus cells. Entities are still to be resolved (`unescape`).
    """
    if b"<TD/>" in block:
        block = block.replace(b"<TD/>", b"<TD></TD>")
    if b"\r" in block:  # a parser would do the same (XML 1.0, "End-of-Line Handling")
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    data = np.frombuffer(block, np.uint8)
    tags = np.flatnonzero(data == ord("<"))
    in_row = 2 * columns + 2
    if len(tags) == 0 or len(tags) % in_row or tags[-1] + 5 > len(data):
        return None
    following = np.zeros(len(tags), np.uint32)
    for i in range(4):
        following |= data[tags + 1 + i].astype(np.uint32) << np.uint32(8 * i)
    expected = np.array([_OPEN_TR, *[_OPEN_TD, _CLOSE_TD] * columns, _CLOSE_TR], np.uint32)
    mask = np.array([_THREE_BYTES, *[_THREE_BYTES, _FOUR_BYTES] * columns, _FOUR_BYTES], np.uint32)
    if ((following.reshape(-1, in_row) & mask) != expected).any():
        return None
    starts = tags.reshape(-1, in_row)[:, 1:-1:2] + len("<TD>")
    ends = tags.reshape(-1, in_row)[:, 2:-1:2]
    return [cut(block, starts[:, i], ends[:, i], pa.string()) for i in range(columns)]


def cut(data: bytes, starts: np.ndarray, ends: np.ndarray, type_: pa.DataType) -> pa.Array:
    """Pieces of a byte string as an Arrow array of strings or binaries; the places grow.

    The pieces and what lies between them are one array without a copy; then every second piece is taken.
    """
    rows = len(starts)
    if not rows:
        return pa.array([], type_)
    offsets = np.empty(2 * rows, np.int32)
    offsets[0::2] = starts
    offsets[1::2] = ends
    every = pa.Array.from_buffers(type_, 2 * rows - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    return every.take(pa.array(np.arange(0, 2 * rows, 2)))


def unescape(column: pa.Array) -> pa.Array:
    """Resolve entities and character references."""
    if not has_any(column, b"&"):
        return column
    if has_any(column, b"&#"):
        return pa.array([_CHARACTER_REFERENCE.sub(_character, text) for text in column.to_pylist()], pa.string())
    for entity, character in _ENTITIES:
        column = pc.replace_substring(column, entity, character)
    return column


def _character(match: re.Match[str]) -> str:
    if match[3]:
        return _NAMED[match[3]]
    return chr(int(match[1], 16) if match[1] else int(match[2]))
