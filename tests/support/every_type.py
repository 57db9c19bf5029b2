"""One table with every datatype, nulls, edges; what the writers' and the reader's tests share."""

# ruff: noqa: DTZ001, RUF001  # timestamps of VOTables have no zone; text beyond ASCII is the point here

import datetime as dt
import io
import math
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from gateway.vo.formats.base import Complete, Ending, Format, Info, TableHeader, arrow_schema
from gateway.vo.tableset import Datatype, Field, VOType


def field(name: str, datatype: str, arraysize: str | None = None, xtype: str | None = None, **meaning: str) -> Field:
    return Field(name, VOType(Datatype(datatype), arraysize, xtype), **meaning)


INSTANT = dt.datetime(2016, 1, 1, 12, 30, 59)
NAN, INF = math.nan, math.inf

# Field and values; the last row is null everywhere.
COLUMNS = [
    (field("flag", "boolean"), [True, False, True, None]),
    (field("bits", "bit", "11"), [[True] * 11, [False] * 11, [True] + [False] * 9 + [True], None]),
    (field("bits_var", "bit", "*"), [[True, False, True], [], [True] * 9, None]),
    (field("byte", "unsignedByte"), [0, 255, 7, None]),
    (field("short", "short", unit="adu"), [-32768, 32767, 0, None]),
    (field("int", "int"), [-(2**31), 2**31 - 1, 0, None]),
    (field("source_id", "long", ucd="meta.id;meta.main"), [6917528443525529728, -(2**63), 2**63 - 1, None]),
    (field("mag", "float", unit="mag", ucd="phot.mag"), [0.1, INF, NAN, None]),
    (field("ra", "double", unit="deg", ucd="pos.eq.ra;meta.main", description="Right ascension <ICRS> & more"),
     [0.1 + 0.2, -INF, 5e-324, None]),
    (field("minus_zero", "double"), [-0.0, NAN, 1.7976931348623157e308, None]),
    (field("text", "char", "*"), ["plain", '  <b> & "q" ,\t ]]> ', "", None]),
    (field("fixed", "char", "5"), ["abcde", "ab", "", None]),
    (field("bounded", "char", "8*"), ["abcdefgh", "x", "", None]),
    (field("letter", "char"), ["x", "y", "", None]),
    (field("unicode", "unicodeChar", "*"), ["Ångström", "日本 α", "line\nfeed\r", None]),
    (field("unicode_fixed", "unicodeChar", "4"), ["é", "αβγδ", "", None]),
    (field("when", "char", "*", "timestamp"),
     [INSTANT, INSTANT.replace(microsecond=123456), dt.datetime(1, 1, 1), None]),
    (field("when_fixed", "char", "19", "timestamp"), [INSTANT, INSTANT, dt.datetime(9999, 12, 31, 23, 59, 59), None]),
    (field("shorts", "short", "2"), [[1, -2], [3, 4], [5, 6], None]),
    (field("longs", "long", "*"), [[2**62], [], [1, 2, 3], None]),
    (field("flags", "boolean", "*"), [[True, False], [False], [True], None]),
    (field("floats", "float", "3*"), [[1.5, NAN], [], [0.1, 0.2, 0.3], None]),
    (field("matrix", "double", "2x2"), [[1.0, 2.0, 3.0, 4.0], [0.1, NAN, INF, -INF], [0.0] * 4, None]),
    (field("matrix_var", "int", "2x*"), [[1, 2, 3, 4], [], [5, 6], None]),
    (field("complex", "floatComplex"), [[1.0, -2.0], [0.0, 0.5], [INF, 1.0], None]),
    (field("complexes", "doubleComplex", "*"), [[1.0, -2.0, 3.0, 4.0], [], [0.1, 0.2], None]),
    (field("point", "double", "2", "point", unit="deg", ucd="pos.eq"), [[10.5, -20.25], [0.0, 90.0], [360.0, 0.0], None]),
    (field("polygon", "double", "*", "polygon"), [[0.0, 0.0, 1.0, 0.0, 1.0, 1.0], [], [1.0] * 6, None]),
]  # fmt: skip

NOT_FOR_VOTLINT = {
    "bits_var",  # votlint 3.4.7 and astropy 8 do not read packed bits of varying length
    "complexes",  # votlint 3.4.7 takes half of a doubleComplex
    "polygon",  # votlint 3.4.7 misreads xtype=polygon in binary streams; STILTS itself reads it well
    "letter",  # a lone character is worth a notice
}
NOT_FOR_ASTROPY = {
    "bits_var",  # as above
    "matrix_var",  # astropy 8 counts rows, VOTable 1.4 elements
}

FIELDS = tuple(item for item, _ in COLUMNS)
VALUES = tuple(values for _, values in COLUMNS)


def batch(fields: Iterable[Field], values: Iterable[list]) -> pa.RecordBatch:
    schema = arrow_schema(fields)
    arrays = [pa.array(column, type_.type) for column, type_ in zip(values, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def every_type() -> pa.RecordBatch:
    return batch(FIELDS, VALUES)


def without(names: set[str], *, last_row: bool = True) -> tuple[tuple[Field, ...], pa.RecordBatch]:
    """The table without some columns, and without its row of nulls if told so."""
    chosen = [(item, values) for item, values in COLUMNS if item.name not in names]
    fields = tuple(item for item, _ in chosen)
    return fields, batch(fields, [values if last_row else values[:-1] for _, values in chosen])


def header(fields: Iterable[Field] = FIELDS, *infos: Info, description: str | None = None) -> TableHeader:
    return TableHeader(tuple(fields), tuple(infos), description=description)


def write(
    format_: Format, head: TableHeader, batches: Iterable[pa.RecordBatch] = (), ending: Ending | None = None
) -> bytes:
    writer = format_.make(head)
    pieces = [writer.start(), *(writer.batch(rows) for rows in batches), writer.end(ending or Complete())]
    return b"".join(pieces)


def is_schema_valid(document: bytes) -> bool:
    """Validity by the schema of VOTable 1.4, which astropy ships."""
    import astropy.io.votable
    from lxml import etree

    path = Path(astropy.io.votable.__file__).parent / "data" / "VOTable.v1.4.xsd"
    schema = etree.XMLSchema(etree.parse(str(path)))
    schema.assertValid(etree.fromstring(document))
    return True


def votlint(document: bytes, path: Path) -> str:
    """What STILTS has to say about a document; empty when all is well."""
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed (Debian package stilts)")
    path.write_bytes(document)
    done = subprocess.run(["stilts", "votlint", f"votable={path}"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def astropy_table(document: bytes, *, verify: str = "exception"):
    from astropy.io import votable

    return votable.parse(io.BytesIO(document), verify=verify).get_first_table()


def astropy_fits(document: bytes):
    """Rows of the table of a FITS file, as astropy has them with text and logical values as bytes."""
    from astropy.io import fits

    with fits.open(io.BytesIO(document), character_as_bytes=True, logical_as_bytes=True) as hdus:
        hdus.verify("exception")
        return hdus[1].data
