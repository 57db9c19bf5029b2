"""The XML parser's events of a VOTable, and what they add up to."""

from __future__ import annotations

import pyexpat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

import pyarrow as pa

from gateway.errors import UploadError
from gateway.vo.formats.base import Info
from gateway.vo.votable.decode import Base64Decoder, RowDecoder
from gateway.vo.votable.schema import FieldSpec, field_spec
from gateway.vo.votable.text import read_column

TAG_BYTES = 256 << 10
"""Longest tag or comment. The parser holds one in memory and looks at it anew for each piece that comes."""
MAX_INFOS = 1_000
"""INFOs that are kept in memory; real documents have tens."""
MAX_NAMES = 10_000
"""Different names of elements and attributes, all of which the parser remembers; VOTable has a hundred."""
_SEPARATOR = " "
"""Between namespace and name; no URI has a blank."""


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """What a document may have; ``None``: as much as it likes."""

    max_bytes: int | None = 32 << 20
    """Bytes of the document, unpacked."""
    max_rows: int | None = 1_000_000
    max_columns: int | None = 1_000
    max_cell_bytes: int = 16 << 20
    """Bytes of one cell."""
    max_depth: int = 64
    """Elements inside one another; real documents have about ten."""

    @classmethod
    def unlimited(cls) -> ReaderLimits:
        """Limits for files of one's own; cells and depth stay bounded, since both cost memory."""
        return cls(max_bytes=None, max_rows=None, max_columns=None, max_cell_bytes=256 << 20)


class Mode(Enum):
    """What the parser is at."""

    HEADER = auto()
    TABLEDATA = auto()
    STREAM = auto()
    AFTER = auto()


class Document:
    """What the XML parser's events tell, and where they are in the document."""

    def __init__(self, limits: ReaderLimits) -> None:
        self._limits = limits
        self.mode = Mode.HEADER
        self.specs: list[FieldSpec] = []
        self.infos: list[Info] = []
        self.name: str | None = None
        self.description: str | None = None
        self.is_plain = True
        """Whether rows may be cut out of the bytes: UTF-8, and nothing but TR and TD so far."""
        self._nrows: int | None = None
        self._has_data = False
        self._path: list[str] = []
        self._attributes: Mapping[str, str] = {}
        self._text: list[str] = []
        self._row: list[str] = []
        self._cells: list[str] = []
        self._base64 = Base64Decoder()
        self._decoder: RowDecoder | None = None
        self._stream_text: list[str] = []
        self._is_stream_ended = False
        self._fed = 0
        self._names: dict[str, str] = {}
        self._parser = pyexpat.ParserCreate(namespace_separator=_SEPARATOR)
        self._parser.buffer_text = True
        self._parser.buffer_size = 1 << 16
        self._parser.StartDoctypeDeclHandler = _refuse_doctype
        self._parser.XmlDeclHandler = self._declaration
        self._listen()

    def _listen(self) -> None:
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._stream_text.append if self.mode is Mode.STREAM else self._text.append

    # Bytes in.

    def parse(self, data: bytes, *, is_final: bool) -> None:
        """Parse by events."""
        if self._fed == 0 and (data[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\0" in data[:4]):
            self.is_plain = False  # UTF-16
        before = self.mode
        self._feed(data, is_final=is_final)
        if self.mode is Mode.TABLEDATA and self.is_plain:
            # A comment that begins here may go on in the next block, where its text may look like rows.
            _, found, after = data.partition(b"TABLEDATA") if before is Mode.HEADER else (b"", b"", b"")
            rows = after if found else data
            self.is_plain = not (b"<!" in rows or b"<?" in rows or rows.endswith(b"<"))
        self._check_sizes()

    def parse_silently(self, data: bytes) -> None:
        """Only check that rows are well-formed; their tags are known to be TR and TD."""
        parser = self._parser
        parser.StartElementHandler = parser.EndElementHandler = parser.CharacterDataHandler = None
        self._feed(data, is_final=False)
        self._listen()

    def _feed(self, data: bytes, *, is_final: bool) -> None:
        self._fed += len(data)
        try:
            self._parser.Parse(data, is_final)
        except pyexpat.ExpatError as e:
            reason = pyexpat.ErrorString(e.code)
            raise UploadError(
                f"the VOTable is not well-formed XML: {reason}, line {e.lineno}, column {e.offset + 1}"
            ) from e
        except (LookupError, ValueError) as e:
            if self._path:
                raise
            raise UploadError("the VOTable's encoding cannot be read here; send it as UTF-8") from e
        if is_final and self.mode is not Mode.AFTER:
            raise UploadError("the VOTable ends in the middle of its table")

    def _check_sizes(self) -> None:
        if self._fed - self._parser.CurrentByteIndex > TAG_BYTES:
            raise UploadError(f"the VOTable has a tag or comment of more than {TAG_BYTES} bytes")
        if len(self._parser.intern) > MAX_NAMES:
            raise UploadError(f"the VOTable has more than {MAX_NAMES} different names of elements and attributes")
        if sum(map(len, self._text)) > self._limits.max_cell_bytes:
            raise UploadError(f"the VOTable has a cell of more than {self._limits.max_cell_bytes} bytes")

    # Rows out.

    @property
    def is_between_rows(self) -> bool:
        """Whether the parser stands right inside TABLEDATA."""
        return self._path[-1:] == ["TABLEDATA"]

    def take(self, first_row: int) -> list[pa.Array] | None:
        """Columns of the rows that events have brought; ``None``: of no row."""
        if self._cells:
            count = len(self.specs)
            columns = [pa.array(self._cells[i::count], pa.string()) for i in range(count)]
            self._cells.clear()
            return self.convert(columns, first_row)
        if self._decoder is not None and (self._stream_text or self._is_stream_ended):
            return self._take_stream(self._decoder, first_row)
        return None

    def _take_stream(self, decoder: RowDecoder, first_row: int) -> list[pa.Array]:
        data = self._base64.decode("".join(self._stream_text))
        self._stream_text.clear()
        columns = decoder.decode(data, first_row)
        if self._is_stream_ended:
            self._base64.finish()
            decoder.finish(first_row - 1 + (len(columns[0]) if columns else 0))
            self._decoder = None
        return columns

    def convert(self, columns: list[pa.Array], first_row: int) -> list[pa.Array]:
        """Columns of text as columns of their types."""
        return [read_column(spec, column, first_row) for spec, column in zip(self.specs, columns, strict=True)]

    def check_rows(self, rows: int) -> None:
        """Compare the number of rows with what the TABLE promised (VOT-39)."""
        if self._has_data and self._nrows is not None and self._nrows != rows:
            raise UploadError(
                f"the TABLE says nrows={self._nrows}, but it has {rows} rows; correct or drop the attribute"
            )

    # Events.

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self.is_plain &= (encoding or "utf-8").lower() in {"utf-8", "utf8", "us-ascii", "ascii"}

    def _local(self, name: str) -> str:
        """Name without namespace; empty for elements of other standards, which are ignored (VOT-38)."""
        space, _, local = name.rpartition(_SEPARATOR)
        self._names[name] = local if not space or "VOTable" in space else ""
        return self._names[name]

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        local = self._names.get(name)
        if local is None:
            local = self._local(name)
        self._path.append(local)
        if len(self._path) > self._limits.max_depth:
            raise UploadError(f"the VOTable has elements nested deeper than {self._limits.max_depth}")
        if self.mode is Mode.TABLEDATA:
            if local == "TD":
                self._text.clear()
                if attributes.get("encoding"):
                    raise UploadError("a TD with encoding=base64 cannot be read here; write the value as text")
            elif local == "TR":
                self._row.clear()
            return
        self._text.clear()
        if len(self._path) == 1 and local != "VOTABLE":
            raise UploadError(f"this is not a VOTable: its root element is {local or name!r}")
        if local == "INFO":
            self._attributes = attributes
        if self.mode is Mode.HEADER:
            self._start_in_header(local, attributes)

    def _start_in_header(self, local: str, attributes: Mapping[str, str]) -> None:
        parent = self._path[-2] if len(self._path) > 1 else ""
        match parent, local:
            case "RESOURCE", "TABLE":
                self.name = attributes.get("name")
                self._nrows = _count(attributes.get("nrows"))
            case "TABLE", "FIELD":
                self._add_field(attributes)
            case "FIELD", "VALUES" if attributes.get("null"):
                self.specs[-1] = replace(self.specs[-1], null=attributes["null"])
            case "TABLE", "DATA":
                self._has_data = True
                if not self.specs:
                    raise UploadError("the table has no FIELD")
            case _, "FIELD" | "DATA":
                raise UploadError(f"line {self._parser.CurrentLineNumber}: a {local} stands outside of a TABLE")
            case "DATA", "TABLEDATA":
                self._change(Mode.TABLEDATA)
            case "DATA", "FITS":
                raise UploadError(
                    "a VOTable with its rows in a FITS file cannot be read here; send BINARY2 or TABLEDATA"
                )
            case ("BINARY" | "BINARY2") as kind, "STREAM":
                self._start_stream(attributes, has_flags=kind == "BINARY2")
            case _:
                pass

    def _add_field(self, attributes: Mapping[str, str]) -> None:
        self.specs.append(field_spec(attributes, len(self.specs) + 1))
        if self._limits.max_columns is not None and len(self.specs) > self._limits.max_columns:
            raise UploadError(f"the table has more than {self._limits.max_columns} columns, the most allowed")

    def _start_stream(self, attributes: Mapping[str, str], *, has_flags: bool) -> None:
        if attributes.get("href"):
            raise UploadError("a STREAM with href is not followed; put the rows into the document")
        if attributes.get("encoding", "").lower() != "base64":
            raise UploadError('the STREAM of the table must have encoding="base64"')
        self._decoder = RowDecoder(self.specs, has_flags=has_flags, max_cell_bytes=self._limits.max_cell_bytes)
        self._change(Mode.STREAM)

    def _change(self, mode: Mode) -> None:
        self.mode = mode
        self._text.clear()
        self._listen()

    def _end(self, _name: str) -> None:
        local = self._path.pop()
        match self.mode:
            case Mode.TABLEDATA:
                self._end_in_tabledata(local)
            case Mode.STREAM:
                if local == "STREAM":
                    self._is_stream_ended = True
                    self._change(Mode.AFTER)
            case Mode.HEADER:
                self._end_in_header(local)
            case Mode.AFTER:
                if local == "INFO":
                    self._end_info()

    def _end_in_tabledata(self, local: str) -> None:
        if local == "TD":
            self._row.append("".join(self._text))
            self._text.clear()
        if len(self._row) > len(self.specs) or (local == "TR" and len(self._row) != len(self.specs)):
            self._refuse_row()
        if local == "TR":
            self._cells += self._row
        elif local == "TABLEDATA":
            self._change(Mode.AFTER)

    def _refuse_row(self) -> None:
        count = f"more than {len(self.specs)}" if len(self._row) > len(self.specs) else f"{len(self._row)}"
        line = self._parser.CurrentLineNumber
        raise UploadError(f"line {line}: a row has {count} TDs, but there are {len(self.specs)} FIELDs")

    def _end_in_header(self, local: str) -> None:
        match self._path[-1] if self._path else "", local:
            case _, "INFO":
                self._end_info()
            case "TABLE", "DESCRIPTION":
                self.description = self._taken_text()
            case "FIELD", "DESCRIPTION":
                spec = self.specs[-1]
                self.specs[-1] = replace(spec, field=replace(spec.field, description=self._taken_text()))
            case "RESOURCE", "TABLE":
                if not self.specs:
                    raise UploadError("the table has no FIELD")
                self._change(Mode.AFTER)
            case "", "VOTABLE":
                self._refuse_without_table()
            case _:
                pass

    def _end_info(self) -> None:
        values = self._attributes
        if len(self.infos) == MAX_INFOS:
            raise UploadError(f"the VOTable has more than {MAX_INFOS} INFOs")
        self.infos.append(Info(values.get("name", ""), values.get("value", ""), self._taken_text()))

    def _taken_text(self) -> str | None:
        text = "".join(self._text).strip()
        self._text.clear()
        return text or None

    def _refuse_without_table(self) -> None:
        for info in self.infos:
            if info.name == "QUERY_STATUS" and info.value == "ERROR":
                raise UploadError(f"the VOTable holds no table but an error: {info.text or 'no reason given'}")
        raise UploadError("the VOTable holds no TABLE")


def _refuse_doctype(*_: object) -> None:
    """Refuse any DOCTYPE: entities are how XML reads other files and grows beyond bounds (VOT-41)."""
    raise UploadError("a VOTable with a DOCTYPE is refused; remove it from the document")


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.strip().isascii() or not text.strip().isdigit():
        raise UploadError(f"the TABLE says nrows={text!r}, which is not a number of rows")
    return int(text)
