"""JSON: one document of metadata and rows, or one object a line (NDJSON)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.vo.formats.base import (
    COMPLEX_DATATYPES,
    Broken,
    Ending,
    Overflow,
    TableHeader,
    TruncatedError,
    canonical_columns,
    described,
)
from gateway.vo.formats.cells import NO_TEXT, constant, flat_list, has_control, join_rows, text_bytes, timestamp_text
from gateway.vo.formats.names import distinct
from gateway.vo.tableset import Datatype, Field

PIECE_ROWS = 16_384
"""Rows that are serialised at once, as for VOTable."""

QUOTE, COMMA = pa.scalar('"'), pa.scalar(",")

_ESCAPES = (("\\", "\\\\"), ('"', '\\"'))
_CONTROLS = tuple((chr(code), json.dumps(chr(code))[1:-1]) for code in range(0x20))


def cell_json(column: pa.Array, field: Field) -> pa.Array:
    """JSON of each cell, null where the cell is.

    Whole numbers keep all digits. JSON has neither NaN nor infinities: they are null. Arrays are flat lists, the
    first axis fastest; a complex number is the list of its two parts, a bit is 0 or 1.
    """
    if field.type.is_text:
        return _quoted(timestamp_text(column) if pa.types.is_timestamp(column.type) else column)
    if pa.types.is_list(column.type):
        return _list_json(column, field)
    return _scalar_json(column)


def _scalar_json(column: pa.Array) -> pa.Array:
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, constant("true"), constant("false"))
    text = column.cast(pa.string())
    if pa.types.is_floating(column.type):
        is_finite = pc.is_finite(column)
        if not pc.all(is_finite, min_count=0).as_py():
            text = pc.if_else(is_finite, text, NO_TEXT)
        if pc.any(pc.equal(column, constant(0.0, column.type))).as_py():
            # Readers make -0 a whole number and lose its sign.
            text = pc.if_else(pc.equal(text, constant("-0")), constant("-0.0"), text)
    return text


def _list_json(column: pa.Array, field: Field) -> pa.Array:
    offsets, elements = flat_list(column)
    text = _bits(elements) if field.type.datatype is Datatype.BIT else _scalar_json(elements)
    text = text.fill_null(constant("null"))
    is_single = not field.type.is_array
    if field.type.datatype in COMPLEX_DATATYPES and not is_single:
        first = np.arange(0, len(text), 2)
        text, offsets = _bracketed([text.take(pa.array(first)), text.take(pa.array(first + 1))]), offsets // 2
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), text), COMMA)
    if field.type.datatype is not Datatype.BIT or not is_single:
        joined = _bracketed([joined])
    return pc.if_else(column.is_valid(), joined, NO_TEXT) if column.null_count else joined


def _bits(values: pa.Array) -> pa.Array:
    return pc.if_else(values, constant("1"), constant("0"))


def _bracketed(parts: Sequence[pa.Array]) -> pa.Array:
    inner = pc.binary_join_element_wise(*parts, COMMA)
    return pc.binary_join_element_wise(constant("["), inner, constant("]"), constant(""))


def _quoted(text: pa.Array) -> pa.Array:
    if any(needle in text_bytes(text).tobytes() for needle in (b"\\", b'"')):
        for character, escape in _ESCAPES:
            text = pc.replace_substring(text, character, escape)
    if has_control(text):
        present = set(np.unique(np.frombuffer(text_bytes(text), np.uint8)).tolist())
        for character, escape in _CONTROLS:
            if ord(character) in present:
                text = pc.replace_substring(text, character, escape)
    return pc.binary_join_element_wise(QUOTE, text, QUOTE, constant(""))


def _text(value: object) -> str:
    """JSON of a small value; text that is no Unicode has question marks, as it would not pass as UTF-8."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


class JsonWriter:
    """One document with ``metadata``, ``infos``, ``data`` and ``query_status``.

    ``metadata`` has an object for each column, ``data`` a list for each row: so it is with other TAP services, too.
    ``query_status`` comes last: OK, OVERFLOW or ERROR, the latter two with a message.
    """

    def __init__(self, header: TableHeader) -> None:
        self._header = header
        self._between = "\n"

    def start(self) -> bytes:
        """Document up to the first row."""
        metadata = ",\n".join(_text(described(field)) for field in self._header.fields)
        infos = _text([{"name": info.name, "value": info.value} for info in self._header.infos])
        return f'{{"metadata":[\n{metadata}\n],\n"infos":{infos},\n"data":['.encode()

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Rows, one a line."""
        pieces: list[bytes | memoryview] = []
        for cells in _pieces(batch, self._header.fields):
            pieces += [f"{self._between}[".encode(), join_rows(cells, ",", "],\n[", null="null"), b"]"]
            self._between = ",\n"
        return b"".join(pieces)

    def end(self, ending: Ending) -> bytes:
        """Status, and the end of the document."""
        match ending:
            case Overflow(maxrec=maxrec):
                status = {"value": "OVERFLOW", "message": f"The table was cut after MAXREC={maxrec} rows."}
            case Broken(message=message):
                status = {"value": "ERROR", "message": message}
            case _:
                status = {"value": "OK"}
        return f'\n],\n"query_status":{_text(status)}}}\n'.encode()


class NdjsonWriter:
    """One object a line, its keys the names of the columns; nothing else, so that any reader takes it.

    There is no place for metadata or an overflow; a broken table is cut off.
    """

    def __init__(self, header: TableHeader) -> None:
        self._header = header
        names = map(_text, distinct(field.name for field in header.fields))
        self._keys = [pa.scalar(f"{',' if place else '{'}{name}:") for place, name in enumerate(names)]

    def start(self) -> bytes:
        """Nothing."""
        return b""

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """Rows, each with its line end."""
        return b"".join(self._rows(cells) for cells in _pieces(batch, self._header.fields))

    def _rows(self, cells: Sequence[pa.Array]) -> bytes:
        parts = [part for pair in zip(self._keys, cells, strict=True) for part in pair]
        rows = pc.binary_join_element_wise(*parts, constant(""), null_handling="replace", null_replacement="null")
        return b"".join((join_rows([rows], "", "}\n"), b"}\n"))

    def end(self, ending: Ending) -> bytes:
        """Nothing, or the refusal to end well."""
        if isinstance(ending, Broken):
            raise TruncatedError(ending.message)
        return b""


def _pieces(batch: pa.RecordBatch, fields: Sequence[Field]) -> Iterator[list[pa.Array]]:
    columns = canonical_columns(batch, fields)
    for start in range(0, batch.num_rows, PIECE_ROWS):
        yield [cell_json(column.slice(start, PIECE_ROWS), field) for column, field in zip(columns, fields, strict=True)]
