"""An uploaded file becomes rows: what runs in a child process, since the file may be anything.

Takes and gives what JSON can say. The limits hold whatever the file claims of itself; a file that a library stumbles
over is its sender's fault and said to be.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from gateway.errors import GatewayError, IngestError, UploadError
from gateway.tables.base import TableFile, is_gzip
from gateway.tables.columns import Place, check_lengths, check_text, convert
from gateway.tables.detect import kind_by_content, open_table
from gateway.vo.formats.base import arrow_type
from gateway.vo.tableset import Datatype, Field
from gateway.vo.votable.reader import ReaderLimits, VOTableReader

log = structlog.get_logger()

HEALPIX = "gw_hpx29"
"""Hidden column of an upload with positions, the last one."""

GROWTH = 8
"""How many times more bytes rows may have in memory than files may have: a CSV of one digit in each cell has as much.
What grows beyond that was made to (a short Parquet file of one value a billion times)."""

PIECE_BYTES = 1 << 20

ECSV_HEADER_BYTES = 1 << 20
"""Longest header of an ECSV file: some thousand columns. YAML is read at about 100 kB a second."""

WELL_KNOWN = (("ra", "dec"), ("raj2000", "dej2000"), ("ra_icrs", "de_icrs"), ("s_ra", "s_dec"))
"""Names of columns, lower case, that mean a position where no UCD says which do: CSV has none, and neither has what
astropy writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """Size beyond which one file is refused."""

    max_bytes: int
    """Unpacked."""
    max_rows: int
    max_columns: int


class Rows(Protocol):
    """A table in a file, read once."""

    @property
    def fields(self) -> Sequence[Field]:
        """Columns."""
        ...

    @property
    def description(self) -> str | None:
        """What the file says of the table."""
        ...

    @property
    def is_ascii(self) -> Sequence[bool]:
        """Of each column, whether all of its text so far was 7-bit."""
        ...

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Rows in canonical types, columns by place."""
        ...


def read_upload(
    *, source: str, name: str, folder: str, target: str | None, max_bytes: int, max_rows: int, max_columns: int
) -> dict[str, Any]:
    """Read a table file of any kind, and write its rows as an Arrow stream.

    Parameters
    ----------
    source
        File to read.
    name
        Name of the table; messages leave it to the caller to say.
    folder
        For what is needed while it is read; has no file of that name.
    target
        File to write; ``None``: only look at the columns.
    max_bytes, max_rows, max_columns
        Size beyond which the table is refused.

    Returns
    -------
    dict
        ``fields``; ``description``; ``rows``, their number; ``sky``, places of right ascension and declination
        (from 1) if the rows have an index on them; both ``None`` without a target. ``turns``: whether a right ascension
        is outside [0, 360].

    Raises
    ------
    UploadError
        The file is broken, too large, or of no kind that is read.
    """
    limits = FileLimits(max_bytes=max_bytes, max_rows=max_rows, max_columns=max_columns)
    try:
        with _plain_file(Path(source), Path(folder) / name, limits) as path, _opened(path, limits) as rows:
            return _read(rows, limits, target)
    except IngestError as e:
        raise UploadError(e.message.removeprefix(name).removeprefix(":").removeprefix(",").strip()) from e
    except GatewayError:
        raise
    except MemoryError as e:
        raise UploadError("reading the file needs more memory than one request may use; send less at once") from e
    except Exception as e:  # the edge to libraries, which meet here what nobody has written on purpose
        log.warning("Upload could not be read", detail=repr(e)[:500])
        raise UploadError(
            "the file is broken in a way that was not expected; write it again, or send it as a VOTable"
        ) from e


def _read(rows: Rows, limits: FileLimits, target: str | None) -> dict[str, Any]:
    fields = with_distinct_names(rows.fields)
    written = _Written()
    if target is not None:
        written = _write(rows, fields, limits, target)
        fields = [_promised(field, is_ascii) for field, is_ascii in zip(fields, rows.is_ascii, strict=True)]
    return {
        "fields": [asdict(field) for field in fields],
        "description": rows.description,
        "rows": written.rows if target is not None else None,
        "sky": written.sky,
        "turns": written.turns,
    }


# -- the file ----------------------------------------------------------------------------------------------------


@contextmanager
def _plain_file(source: Path, path: Path, limits: FileLimits) -> Iterator[Path]:
    """Hold the file under another name, unpacked."""
    try:
        if is_gzip(source):
            _unpack(source, path, limits.max_bytes)
        else:
            path.symlink_to(source.absolute())
        yield path
    finally:
        path.unlink(missing_ok=True)


def _unpack(source: Path, path: Path, max_bytes: int) -> None:
    size = 0
    try:
        with gzip.open(source) as packed, path.open("xb") as file:
            while piece := packed.read(PIECE_BYTES):
                size += len(piece)
                if size > max_bytes:
                    raise UploadError(
                        f"the file has more than {max_bytes} bytes when it is unpacked, the most allowed "
                        "(upload_max_bytes)"
                    )
                file.write(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise UploadError("the gzip data is broken or cut short; get the file again") from e
    if is_gzip(path):
        raise UploadError("the file is gzip'd twice; unpack it once")


@contextmanager
def _opened(path: Path, limits: FileLimits) -> Iterator[Rows]:
    kind = kind_by_content(path)
    if kind == "VOTable":
        with path.open("rb") as file:
            bounds = ReaderLimits(max_bytes=limits.max_bytes, max_rows=limits.max_rows, max_columns=limits.max_columns)
            yield VOTableReader(file, bounds)
        return
    if kind == "CSV":
        _check_header(path, limits)
    if kind == "ECSV":
        _check_comments(path)
    with open_table(path, kind=kind) as table:
        _check_width(len(table.fields), limits)
        yield _FileRows(table)


def _check_header(path: Path, limits: FileLimits) -> None:
    """Look at the names of a CSV file before its rows are, whose types are found in them."""
    from gateway.tables.text import csv_header

    names = csv_header(path)[0]
    _check_width(len(names), limits)
    if all(_is_number(name) for name in names):
        raise UploadError("the first row has numbers only; put the names of the columns above the values")


def _check_comments(path: Path) -> None:
    """Refuse an ECSV file whose header is endless."""
    size = 0
    with path.open("rb") as file:
        while (line := file.readline(ECSV_HEADER_BYTES)).startswith(b"#") and size <= ECSV_HEADER_BYTES:
            size += len(line)
    if size > ECSV_HEADER_BYTES:
        raise UploadError(f"the ECSV header has more than {ECSV_HEADER_BYTES} bytes, the most allowed; say less in it")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_width(count: int, limits: FileLimits) -> None:
    if not count:
        raise UploadError("the table has no columns")
    if count > limits.max_columns:
        raise UploadError(f"the table has {count} columns; at most {limits.max_columns} columns are allowed")


@dataclass(slots=True)
class _FileRows:
    """`Rows` of a file that is no VOTable."""

    table: TableFile
    is_ascii: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        self.is_ascii = [True] * len(self.fields)

    @property
    def fields(self) -> Sequence[Field]:
        """Columns."""
        return self.table.fields

    @property
    def description(self) -> str | None:
        """What the file says of the table."""
        return self.table.description

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Rows in canonical types."""
        schema = pa.schema([(item.name, arrow_type(item.type)) for item in self.fields])
        row = 1
        for batch in self.table.batches():
            columns = [self._column(number, column, row) for number, column in enumerate(batch.columns)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            row += batch.num_rows

    def _column(self, number: int, column: pa.Array, row: int) -> pa.Array:
        item = self.fields[number]
        place = Place(self.table.name, item.name, row)
        column = convert(column, item.type, place)
        if pa.types.is_string(column.type):
            self.is_ascii[number] &= check_text(column, place)
        elif pa.types.is_list(column.type):
            check_lengths(column, item.type, place)
        return column


# -- its rows ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Written:
    """What is known of rows when they have been written."""

    rows: int = 0
    size: int = 0
    sky: tuple[int, int] | None = None
    turns: bool = False

    def add(self, batch: pa.RecordBatch, limits: FileLimits) -> None:
        """Count rows and bytes."""
        self.rows += batch.num_rows
        self.size += batch.nbytes
        if self.rows > limits.max_rows:
            raise UploadError(f"the table has more than {limits.max_rows} rows, the most allowed (upload_max_rows)")
        if self.size > GROWTH * limits.max_bytes:
            raise UploadError(
                f"the rows take more than {GROWTH * limits.max_bytes} bytes when they are unpacked, the most allowed "
                f"({GROWTH} times upload_max_bytes)"
            )


def _write(rows: Rows, fields: Sequence[Field], limits: FileLimits, target: str) -> _Written:
    written = _Written(sky=position_columns(fields))
    columns = [(physical_name(place), arrow_type(field.type)) for place, field in enumerate(fields, start=1)]
    schema = pa.schema([*columns, (HEALPIX, pa.int64())] if written.sky else columns)
    with pa.OSFile(target, "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
        for batch in rows:
            written.add(batch, limits)
            cells = []
            if written.sky:
                ra, dec = (_doubles(batch.column(place - 1)) for place in written.sky)
                cells = [healpix(ra, dec)]
                written.turns |= bool(np.any((ra < 0) | (ra > 360)))
            stream.write_batch(pa.RecordBatch.from_arrays([*batch.columns, *cells], schema=schema))
    return written


def physical_name(place: int) -> str:
    """Name of a column in PostgreSQL: counted from 1, so that any name may be published."""
    return f"c{place}"


def _doubles(column: pa.Array) -> np.ndarray:
    filled = pc.fill_null(pc.cast(column, pa.float64()), np.nan)
    values: np.ndarray = filled.to_numpy(zero_copy_only=False)
    return values


def _promised(field: Field, is_ascii: bool) -> Field:
    """Promise char only of text that is ASCII."""
    if field.type.datatype is not Datatype.CHAR or field.type.is_timestamp or is_ascii:
        return field
    return replace(field, type=replace(field.type, datatype=Datatype.UNICODE_CHAR))


def healpix(ra: np.ndarray, dec: np.ndarray) -> pa.Array:
    """Order-29 nested HEALPix index of positions, ICRS degrees; null where there is none.

    Right ascensions may be in any turn; declinations beyond the poles have no place on the sky.
    """
    from gateway.sky.index import order29

    usable = np.isfinite(ra) & (np.abs(dec) <= 90)
    cells = order29(np.where(usable, np.mod(np.where(usable, ra, 0.0), 360.0), 0.0), np.where(usable, dec, 0.0))
    return pa.array(cells, pa.int64(), mask=~usable)


# -- its columns -------------------------------------------------------------------------------------------------


def with_distinct_names(fields: Sequence[Field]) -> list[Field]:
    """Give each column a name of its own: VOTable allows two of a name, a query could reach neither."""
    taken: set[str] = set()
    distinct = []
    for place, item in enumerate(fields, start=1):
        base = item.name or f"column_{place}"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        distinct.append(replace(item, name=name))
    return distinct


def position_columns(fields: Sequence[Field]) -> tuple[int, int] | None:
    """Find the columns of the main position by their UCDs, or by their names where no UCD speaks of positions.

    Returns
    -------
    tuple of int or None
        Places of right ascension and declination, from 1.
    """
    if not any(_ucd(field).startswith(("pos.eq", "pos_eq")) for field in fields):
        return _by_name(fields)
    ra, dec = (_main(fields, word) for word in ("ra", "dec"))
    return None if ra is None or dec is None else (ra, dec)


def _ucd(field: Field) -> str:
    return (field.ucd or "").lower().replace(" ", "")


def _may_be_position(field: Field) -> bool:
    return (
        field.type.datatype in {Datatype.FLOAT, Datatype.DOUBLE}
        and not field.type.is_array
        and (field.unit or "deg").strip().lower() in {"deg", "degree", "degrees"}
    )


def _main(fields: Sequence[Field], word: str) -> int | None:
    ucds = {place: _ucd(field) for place, field in enumerate(fields, start=1) if _may_be_position(field)}
    # The second spelling is UCD1, which VizieR writes.
    main = [p for p, ucd in ucds.items() if ucd in {f"pos.eq.{word};meta.main", f"pos_eq_{word}_main"}]
    single = [p for p, ucd in ucds.items() if ucd in {f"pos.eq.{word}", f"pos_eq_{word}"}]
    found = main or single
    return found[0] if len(found) == 1 else None


def _by_name(fields: Sequence[Field]) -> tuple[int, int] | None:
    places = {field.name.lower(): place for place, field in enumerate(fields, start=1) if _may_be_position(field)}
    pairs = ((places.get(ra), places.get(dec)) for ra, dec in WELL_KNOWN)
    return next(((ra, dec) for ra, dec in pairs if ra is not None and dec is not None), None)
