"""CSV and ECSV: text read as text, so that no digit is lost before its column's type is known.

CSV has no types: unless a description gives them, the whole file is read once before to find, for each
column, the narrowest type that holds every value. ECSV (Astropy Proposal for Enhancement 6) gives them in
its header.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import yaml
from typing_extensions import override

from gateway.errors import IngestError
from gateway.tables.base import Hints, TableFile, is_gzip
from gateway.tables.columns import TEXT, TIMESTAMP, Place, first_line, without_null_words
from gateway.vo.tableset import Datatype, Field, VOType

BLOCK_BYTES = 4 << 20
"""Bytes parsed at once; a row must fit."""

MAX_HEADER_BYTES = 1 << 24
"""Longest header: an ECSV header of 10,000 described columns takes 2 MB."""


class ByteTap(io.RawIOBase):
    """Bytes of a file, unpacked if need be; counts quotes, and skips a header."""

    def __init__(self, path: Path, skip: int = 0) -> None:
        super().__init__()
        self.file = path.open("rb")
        self._bytes: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=self.file)) if is_gzip(path) else self.file
        self._name = path.name
        self.quotes = 0
        if skip:
            self._bytes.read(skip)

    @override
    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    @override
    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes."""
        try:
            data = self._bytes.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as e:
            raise IngestError(f"{self._name}: the gzip data is broken or cut short; get the file again") from e
        self.quotes += data.count(b'"')
        return data

    @override
    def readinto(self, buffer: Any) -> int:
        """Read into a buffer: what Python's own buffering asks for."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @override
    def close(self) -> None:
        """Close the file."""
        self.file.close()
        super().close()


@dataclass(slots=True)
class TextTable:
    """`TableFile` of a CSV or ECSV file."""

    name: str
    path: Path
    names: tuple[str, ...]
    """Columns of the file."""
    header_bytes: int
    delimiter: str
    quoted_can_be_null: bool
    """Whether a quoted empty cell has no value too: ECSV says so, in CSV it is an empty text."""
    size: int
    fields: tuple[Field, ...] = ()
    description: str | None = None
    notes: list[str] = field(default_factory=list)
    decoders: tuple[Callable[[pa.Array, Place], pa.Array] | None, ...] = ()
    is_guessed: bool = False
    empty: frozenset[str] = frozenset()
    _passes: int = 1
    _pass: int = 0
    _read: int = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Rows in file order, as text or as `decoders` make it."""
        row = 1
        for batch in self.rows():
            columns = [
                decode(column, Place(self.name, name, row)) if decode else column
                for column, name, decode in zip(batch.columns, self.names, self.decoders, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, names=list(self.names))
            row += batch.num_rows

    def position(self) -> int:
        """Bytes read, both passes counted."""
        return (self._pass * self.size + self._read) // self._passes

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Rows in file order with all cells as text; empty ones are null."""
        numbers = [str(place) for place in range(len(self.names))]
        broken: list[Any] = []

        def refuse(row: Any) -> str:
            broken.append(row)
            return "error"

        with ByteTap(self.path, self.header_bytes) as tap:
            first, last = 1, None
            try:
                reader = pacsv.open_csv(
                    tap,
                    # One thread: only then does the parser know row numbers.
                    read_options=pacsv.ReadOptions(column_names=numbers, block_size=BLOCK_BYTES, use_threads=False),
                    parse_options=pacsv.ParseOptions(
                        delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=refuse
                    ),
                    convert_options=pacsv.ConvertOptions(
                        column_types=dict.fromkeys(numbers, pa.string()),
                        strings_can_be_null=True,
                        quoted_strings_can_be_null=self.quoted_can_be_null,
                        null_values=[""],
                    ),
                )
                for batch in reader:
                    self._read = tap.file.tell()
                    if batch.num_rows:
                        yield batch
                        first, last = first + batch.num_rows, batch
            except pa.ArrowInvalid as e:
                if not first_line(e).startswith("Empty CSV"):
                    raise self._fault(e, broken, first) from e
            if tap.quotes % 2 and last is not None:
                self._check_end(last, first - 1)
        self._pass, self._read = self._pass + 1, 0

    def _fault(self, error: pa.ArrowInvalid, broken: Sequence[Any], first: int) -> IngestError:
        if broken:
            row = broken[0]
            where = row.number or first
            shown = row.text if len(row.text) <= 60 else row.text[:57] + "..."
            return IngestError(
                f"{self.name}, row {where}: has {row.actual_columns} values for {row.expected_columns} columns ({shown!r}); "
                "correct the row, or quote values that hold the delimiter"
            )
        if match := re.search(r"CSV column #(\d+).*invalid UTF8", str(error)):
            column = self.names[int(match[1])]
            return IngestError(
                f"{self.name}, column {column!r}, after row {first - 1}: the text is not UTF-8; convert the file to UTF-8"
            )
        return IngestError(f"{self.name}, after row {first - 1}: {first_line(error)}; correct the file")

    def _check_end(self, last: pa.RecordBatch, row: int) -> None:
        """Refuse a quote that is never closed: it swallows the rest of the file, which is no value."""
        for name, column in zip(self.names, last.columns, strict=True):
            value = column[-1].as_py()
            if value is not None and "\n" in value:
                raise IngestError(
                    f'{self.name}, row {row}, column {name!r}: a quote (") is opened here and never closed; correct the row'
                )


# -- CSV ----------------------------------------------------------------------------------------------------


@contextmanager
def open_csv(path: Path, *, hints: Hints, folder: Path | None) -> Iterator[TableFile]:  # noqa: ARG001
    """Open a CSV file (also with tabs or semicolons), with its types from hints or from all of its values."""
    names, header_bytes, delimiter = csv_header(path)
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        if set(map(str.strip, names)) == {""}:
            raise IngestError(f"{path.name}: the first row has no column names; put names above the values")
        note = [f"{path.name} has more than one column {twice!r}"]
    else:
        note = []
    table = TextTable(
        path.name, path, names, header_bytes, delimiter, quoted_can_be_null=False, size=path.stat().st_size
    )
    table.notes += note
    table.decoders = (None,) * len(names)
    unknown = [place for place, name in enumerate(names) if name not in hints]
    kinds = [hints.get(name, TEXT) for name in names]
    if unknown:
        table._passes = 2  # noqa: SLF001  # the two passes are one bar
        table.is_guessed = True
        for place, kind, remark in infer(table.rows(), unknown):
            kinds[place] = kind
            if remark:
                table.notes.append(f"column {names[place]!r} of {path.name} {remark}")
            if remark == NO_VALUES:
                table.empty |= {names[place]}
    table.fields = tuple(Field(name, kind) for name, kind in zip(names, kinds, strict=True))
    yield table


def csv_header(path: Path) -> tuple[tuple[str, ...], int, str]:
    """Read column names: leading comment lines are skipped, the delimiter is the commonest in the first row.

    Returns
    -------
    tuple
        Names, the bytes before the first row of values, and the delimiter.
    """
    length = 0
    with ByteTap(path) as tap, io.BufferedReader(tap, 1 << 16) as lines:
        line = lines.readline(MAX_HEADER_BYTES)
        while line.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"#") or (line and not line.strip()):
            length += len(line)
            line = lines.readline(MAX_HEADER_BYTES)
        # A name may hold a line break inside quotes.
        while line.count(b'"') % 2 and (more := lines.readline(MAX_HEADER_BYTES)):
            line += more
        length += len(line)
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise IngestError(f"{path.name}: the column names are not UTF-8; convert the file to UTF-8") from e
    if not text.strip():
        raise IngestError(f"{path.name}: there are no column names; the first row must hold them")
    bare = re.sub(r'"[^"]*"', "", text)
    delimiter = max(",\t;|", key=bare.count)
    names = next(csv.reader(io.StringIO(text), delimiter=delimiter))
    return tuple(name.strip() for name in names), length, delimiter


NO_VALUES = "has no values"

_INSTANT = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?Z?$"
"""A date with a time of day; a date alone stays text, as does what microseconds or UTC do not hold."""


def _is_whole(words: pa.Array) -> bool:
    # A leading zero is part of an identifier; 0x is not decimal.
    if pc.any(pc.match_substring_regex(words, r"^[-+]?0[0-9xX]")).as_py():
        return False
    words.cast(pa.int64())
    return True


def _is_real(words: pa.Array) -> bool:
    if pc.any(pc.match_substring_regex(words, r"^[-+]?0[0-9]")).as_py():
        return False
    words.cast(pa.float64())
    return True


def _matches(pattern: str) -> Callable[[pa.Array], bool]:
    def test(words: pa.Array) -> bool:
        return bool(pc.all(pc.match_substring_regex(words, pattern), min_count=0).as_py())

    return test


def _is_instant(words: pa.Array) -> bool:
    return _matches(_INSTANT)(words) and bool(
        pc.replace_substring_regex(words, "Z$", "").cast(pa.timestamp("us")) is not None
    )


_CANDIDATES: tuple[tuple[str, Callable[[pa.Array], bool]], ...] = (
    ("whole", _is_whole),
    ("digits", _matches(r"^[-+]?\d+$")),
    ("real", _is_real),
    ("boolean", _matches(r"^(?i:true|false)$")),
    ("instant", _is_instant),
)
_KINDS = {
    "whole": VOType(Datatype.LONG),
    "real": VOType(Datatype.DOUBLE),
    "boolean": VOType(Datatype.BOOLEAN),
    "instant": TIMESTAMP,
}


def infer(batches: Iterator[pa.RecordBatch], places: Sequence[int]) -> Iterator[tuple[int, VOType, str | None]]:
    """Find the narrowest type for all values of some columns; give (place, type, remark)."""
    possible = {place: list(_CANDIDATES) for place in places}
    seen = dict.fromkeys(places, False)
    for batch in batches:
        for place in places:
            if possible[place] or not seen[place]:
                words = without_null_words(pc.utf8_trim_whitespace(batch.column(place))).drop_null()
                if len(words):
                    seen[place] = True
                    possible[place] = [item for item in possible[place] if _holds(item[1], words)]
    for place in places:
        names = [name for name, _ in possible[place]]
        if not seen[place]:
            yield place, TEXT, NO_VALUES
        elif "whole" not in names and "digits" in names:
            yield (
                place,
                TEXT,
                "holds whole numbers beyond 64 bits or with leading zeros; it is kept as text to keep every digit",
            )
        else:
            yield place, next((_KINDS[name] for name in names if name in _KINDS), TEXT), None


def _holds(test: Callable[[pa.Array], bool], words: pa.Array) -> bool:
    try:
        return test(words)
    except pa.ArrowInvalid:
        return False


# -- ECSV ---------------------------------------------------------------------------------------------------

ECSV_TYPES: dict[str, Datatype] = {
    "bool": Datatype.BOOLEAN,
    "uint8": Datatype.UNSIGNED_BYTE,
    "int8": Datatype.SHORT,
    "int16": Datatype.SHORT,
    "uint16": Datatype.INT,
    "int32": Datatype.INT,
    "uint32": Datatype.LONG,
    "int64": Datatype.LONG,
    "uint64": Datatype.LONG,
    "float16": Datatype.FLOAT,
    "float32": Datatype.FLOAT,
    "float64": Datatype.DOUBLE,
    "float128": Datatype.DOUBLE,
    "complex64": Datatype.FLOAT_COMPLEX,
    "complex128": Datatype.DOUBLE_COMPLEX,
    "string": Datatype.CHAR,
}


@dataclass(frozen=True, slots=True)
class EcsvHeader:
    """What the YAML part of an ECSV file says."""

    fields: tuple[Field, ...]
    description: str | None
    delimiter: str
    notes: tuple[str, ...]


class _PlainLoader(yaml.SafeLoader):
    """YAML without objects: astropy's tags for units, times and the like become plain values."""


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]  # what is left is a scalar


_PlainLoader.add_multi_constructor("!", _plain)
_PlainLoader.add_multi_constructor("tag:", _plain)


@contextmanager
def open_ecsv(path: Path, *, hints: Hints, folder: Path | None) -> Iterator[TableFile]:  # noqa: ARG001
    """Open an ECSV file."""
    length, lines = 0, []
    with ByteTap(path) as tap, io.BufferedReader(tap, 1 << 16) as reader:
        while (line := reader.readline(MAX_HEADER_BYTES)).startswith(b"#") or (line and not line.strip()):
            length += len(line)
            lines.append(line.decode("utf-8-sig", errors="replace").rstrip("\r\n"))
    header = ecsv_header([line.removeprefix("#").removeprefix(" ") for line in lines[1:]], path.name)
    if not line:
        raise IngestError(f"{path.name}: the row with the column names is missing after the header")
    length += len(line)
    names = tuple(next(csv.reader(io.StringIO(line.decode(errors="replace")), delimiter=header.delimiter)))
    if names != tuple(item.name for item in header.fields):
        raise IngestError(
            f"{path.name}: the header describes the columns {', '.join(item.name for item in header.fields)}, "
            f"but the file has {', '.join(names)}"
        )
    table = TextTable(
        path.name, path, names, length, header.delimiter, quoted_can_be_null=True, size=path.stat().st_size
    )
    table.fields, table.description, table.notes = header.fields, header.description, list(header.notes)
    table.decoders = tuple(_decoder(item) for item in header.fields)
    yield table


def ecsv_header(lines: Sequence[str], file: str) -> EcsvHeader:
    """Read the YAML of an ECSV header."""
    try:
        header = yaml.load("\n".join(line for line in lines if line != "---"), _PlainLoader)  # noqa: S506  # a SafeLoader
        columns = header["datatype"]
        notes: list[str] = []
        fields = tuple(_ecsv_field(item, file, notes) for item in columns)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as e:
        raise IngestError(f"{file}: the ECSV header is broken ({first_line(e)}); write the file again") from e
    description = _words(_mapping(header.get("meta")).get("description"))
    return EcsvHeader(fields, description, header.get("delimiter", " "), tuple(notes))


def _words(value: Any) -> str | None:
    """Text of a plain value; nothing of others, whose text may be endless, since YAML lets parts repeat."""
    return str(value) if value and isinstance(value, str | int | float) else None


def _mapping(meta: Any) -> dict[str, Any]:
    """Give metadata as a mapping; YAML's ordered ones come as a list of pairs or of mappings with one key."""
    if isinstance(meta, dict):
        return meta
    pairs = [next(iter(item.items()), ()) if isinstance(item, dict) else tuple(item) for item in meta or ()]
    return dict(pair for pair in pairs if len(pair) == 2)


def _ecsv_field(item: Any, file: str, notes: list[str]) -> Field:
    name = str(item["name"])
    place = Place(file, name, 1)
    known = str(item["datatype"])
    if known not in ECSV_TYPES:
        raise place.error(f"the datatype {known!r} is none of ECSV's ({', '.join(ECSV_TYPES)})")
    kind = VOType(ECSV_TYPES[known], "*" if known == "string" else None)
    if subtype := item.get("subtype"):
        kind = _ecsv_subtype(str(subtype), place, notes)
    meta = _mapping(item.get("meta"))

    def said(key: str) -> str | None:
        return _words(item.get(key) or meta.get(key))

    if kind.is_text and said("xtype") == "timestamp":
        kind = TIMESTAMP
    return Field(name, kind, said("unit"), said("ucd"), said("utype"), said("description"))


def _ecsv_subtype(subtype: str, place: Place, notes: list[str]) -> VOType:
    """Type of a column of JSON arrays: ``float64[3]``, ``int32[2,3]`` with the last axis fastest, ``float64[null]``."""
    match = re.fullmatch(r"(\w+)\[([\w, ]+)\]", subtype)
    if match is None or ECSV_TYPES.get(match[1], Datatype.CHAR) in {
        Datatype.CHAR,
        Datatype.FLOAT_COMPLEX,
        Datatype.DOUBLE_COMPLEX,
    }:
        if match is not None:
            raise place.error(
                f"arrays of {match[1]} cannot be stored; make a column of each, or join them into one text"
            )
        notes.append(f"column {place.column!r} of {place.file} holds objects; they are kept as JSON text")
        return TEXT
    axes = [axis.strip() for axis in match[2].split(",")]
    if "null" in axes[1:]:
        raise place.error(f"arrays of shape {match[2]} cannot be stored: only the first axis may vary")
    sizes = ["*" if axis == "null" else axis for axis in reversed(axes)]
    return VOType(ECSV_TYPES[match[1]], "x".join(sizes))


def _decoder(item: Field) -> Callable[[pa.Array, Place], pa.Array] | None:
    if item.type.datatype in {Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX}:
        return _complex_pairs
    return _json_arrays if item.type.is_array else None


def _json_arrays(column: pa.Array, place: Place) -> pa.Array:
    def decoded(index: int, text: str) -> list[Any]:
        try:
            return [
                float("nan") if value is None else value for value in np.asarray(json.loads(text), object).reshape(-1)
            ]
        except ValueError as e:
            raise place.error(f"{text[:60]!r} is no JSON array of one shape", index) from e

    cells = [None if text is None else decoded(index, text) for index, text in enumerate(column.to_pylist())]
    try:
        return pa.array(cells)
    except pa.ArrowInvalid as e:
        raise place.error(f"the JSON arrays hold values of different types ({first_line(e)})") from e


def _complex_pairs(column: pa.Array, place: Place) -> pa.Array:
    def pair(index: int, text: str) -> list[float]:
        try:
            number = complex(text)
        except ValueError as e:
            raise place.error(f"{text[:60]!r} is no complex number", index) from e
        return [number.real, number.imag]

    cells = [None if text is None else pair(index, text) for index, text in enumerate(column.to_pylist())]
    return pa.array(cells, pa.list_(pa.float64()))
