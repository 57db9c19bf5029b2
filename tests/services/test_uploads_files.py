"""Uploaded files of every kind, and broken ones: what a child makes of them (TAP-41, TAP-42; reliability A9)."""

import gzip
import io
import re
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.table import MaskedColumn, Table

from gateway.errors import UploadError
from gateway.services.reading import read_upload

LIMITS = {"max_bytes": 2**20, "max_rows": 1000, "max_columns": 100}


def read(content: bytes, folder: Path, **limits: int) -> tuple[dict[str, Any], pa.Table]:
    """What is said of a file, and its rows."""
    source, scratch, target = folder / "source", folder / "scratch", folder / "rows.arrow"
    source.write_bytes(content)
    scratch.mkdir(exist_ok=True)
    said = read_upload(
        source=str(source), name="t", folder=str(scratch), target=str(target), **{**LIMITS, **limits}
    )  # fmt: skip
    assert list(scratch.iterdir()) == []
    return said, pa.ipc.open_stream(target.read_bytes()).read_all()


def refusal(content: bytes, folder: Path, **limits: int) -> str:
    with pytest.raises(UploadError) as caught:
        read(content, folder, **limits)
    message = caught.value.message
    assert len(message) < 400
    assert "\n" not in message
    assert str(folder) not in message
    return message


def stars(rows: int = 5) -> Table:
    generator = np.random.default_rng(3)
    table = Table(
        {
            "id": np.arange(rows) + 2**53 + 1,
            "ra": generator.uniform(0, 360, rows) * units.deg,
            "dec": generator.uniform(-90, 90, rows) * units.deg,
            "mag": MaskedColumn(generator.normal(15, 1, rows), mask=np.arange(rows) % 3 == 1),
            "name": [f'star {n}, "bright"' for n in range(rows)],
            "good": np.arange(rows) % 2 == 0,
        }
    )
    table["ra"].description = "Where"
    return table


def votable(table: Table, form: str) -> bytes:
    document, buffer = from_table(table), io.BytesIO()
    document.get_first_table().get_field_by_id("ra").ucd = "pos.eq.ra;meta.main"
    document.get_first_table().get_field_by_id("dec").ucd = "pos.eq.dec;meta.main"
    document.to_xml(buffer, tabledata_format=form)
    return buffer.getvalue()


def text(form: str, **options: str) -> Callable[[Table], bytes]:
    def write(table: Table) -> bytes:
        buffer = io.StringIO()
        table.write(buffer, format=form, **options)
        return buffer.getvalue().encode()

    return write


def fits_file(table: Table) -> bytes:
    buffer = io.BytesIO()
    hdu = fits.table_to_hdu(table)
    hdu.header["TUCD2"], hdu.header["TUCD3"] = "pos.eq.ra;meta.main", "pos.eq.dec;meta.main"
    hdu.header["TCOMM2"] = "Where"
    hdu.writeto(buffer)
    return buffer.getvalue()


def voparquet(table: Table) -> bytes:
    said = {name: {"unit": "", "ucd": "", "utype": "", "description": ""} for name in table.colnames}
    said["ra"] = {"unit": "deg", "ucd": "pos.eq.ra;meta.main", "utype": "a.b", "description": "Where"}
    said["dec"] = {"unit": "deg", "ucd": "pos.eq.dec;meta.main", "utype": "", "description": ""}
    with tempfile.TemporaryDirectory() as folder:
        table.write(f"{folder}/t.parquet", format="parquet.votable", metadata=said)
        return Path(folder, "t.parquet").read_bytes()


KINDS: dict[str, Callable[[Table], bytes]] = {
    "tabledata": lambda table: votable(table, "tabledata"),
    "binary": lambda table: votable(table, "binary"),
    "binary2": lambda table: votable(table, "binary2"),
    "csv": text("ascii.csv"),
    "tsv": text("ascii.tab"),
    "ecsv": text("ascii.ecsv"),
    "ecsv with commas": text("ascii.ecsv", delimiter=","),
    "fits": fits_file,
    "parquet": voparquet,
}
DESCRIBED = {"tabledata", "binary", "binary2", "ecsv", "ecsv with commas", "fits", "parquet"}
"""Kinds that say more of a column than its name."""


@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
def test_a_table_of_any_kind_is_read_to_the_last_digit(tmp_path: Path, kind: str, is_packed: bool) -> None:
    table = stars()
    content = KINDS[kind](table)
    said, rows = read(gzip.compress(content) if is_packed else content, tmp_path)
    assert [field["name"] for field in said["fields"]] == table.colnames
    assert said["rows"] == len(table)
    columns = dict(zip(table.colnames, rows.columns, strict=False))
    for name in ("id", "name", "good"):
        assert columns[name].to_pylist() == table[name].tolist()
    for name in ("ra", "dec"):
        assert np.array_equal(columns[name].to_numpy(), np.asarray(table[name]))
    magnitudes = [None if value is None or value != value else value for value in columns["mag"].to_pylist()]  # noqa: PLR0124
    assert magnitudes == [None if value is np.ma.masked else value for value in table["mag"].tolist()]
    assert tuple(said["sky"]) == (2, 3)
    if kind in DESCRIBED:
        assert (said["fields"][1]["unit"], said["fields"][1]["description"]) == ("deg", "Where")  # VOT-42
        if "ecsv" not in kind:
            assert said["fields"][1]["ucd"] == "pos.eq.ra;meta.main"


def test_a_file_on_the_way_through_utf16_is_still_a_votable(tmp_path: Path) -> None:
    document = '<?xml version="1.0" encoding="UTF-16"?>' + votable(stars(), "tabledata").decode().partition("?>")[2]
    assert read(document.encode("utf-16"), tmp_path)[0]["rows"] == 5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "parquet"])  # astropy cannot write it
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
def test_a_table_of_any_kind_may_have_no_rows(tmp_path: Path, kind: str) -> None:
    said, rows = read(KINDS[kind](stars()[:0]), tmp_path)
    assert [field["name"] for field in said["fields"]] == stars().colnames
    assert (said["rows"], rows.num_rows) == (0, 0)


def test_types_of_csv_are_found_in_all_of_its_rows(tmp_path: Path) -> None:
    said, rows = read(b"a,b,when,zip\n1,x,2024-05-31T12:00:00,01\n2.5,,2024-06-01 00:00:00,02\n", tmp_path)
    kinds = [(field["type"]["datatype"], field["type"]["xtype"]) for field in said["fields"]]
    assert kinds == [("double", None), ("char", None), ("char", "timestamp"), ("char", None)]
    assert rows["c2"].to_pylist() == ["x", None]
    assert rows["c4"].to_pylist() == ["01", "02"]


def test_text_beyond_ascii_is_told_in_every_kind(tmp_path: Path) -> None:
    said, _ = read("name,other\némile,x\n".encode(), tmp_path)
    assert [field["type"]["datatype"] for field in said["fields"]] == ["unicodeChar", "char"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("RA,Dec", (1, 2)), ("RAJ2000,DEJ2000", (1, 2)), ("dec,name,ra", (3, 1)), ("ra,de", None), ("ra_error,dec", None),
    ],
)  # fmt: skip
def test_positions_without_ucds_are_found_by_name(
    tmp_path: Path, header: str, expected: tuple[int, int] | None
) -> None:
    said, _ = read(f"{header}\n{','.join(['1.5'] * len(header.split(',')))}\n".encode(), tmp_path)
    assert said["sky"] == expected


@pytest.mark.parametrize(
    "content", [b"id\n1\n2\n", b"id;x\n1;2\n", b"# made by me\nid|x\n1|2\n", b"\xef\xbb\xbfid,x\r\n1,2\r\n"]
)
def test_csv_is_known_by_its_first_row(tmp_path: Path, content: bytes) -> None:
    said, rows = read(content, tmp_path)
    assert said["fields"][0]["name"] == "id"
    assert rows["c1"][0].as_py() == 1


# -- what is refused -------------------------------------------------------------------------------------------------

ONE = '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>{}</RESOURCE></VOTABLE>'
FIELD = '<FIELD name="a" datatype="int"/>'
ROW = "<DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA>"


def document(content: str) -> bytes:
    return ONE.format(content).encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b"\0\1\2\3" * 100, "VOTable"),
        (bytes(range(1, 256)) * 10, "unknown kind of file; files that can be read are"),
        (b"once upon a time\nthere was a star\n", "unknown kind of file"),
        (b'{"ra": [1, 2]}', "unknown kind of file"),
        (b'[{"ra": 1, "dec": 2}]', "unknown kind of file"),
        (b"\x89HDF\r\n\x1a\n" + b"x" * 100, "is HDF5"),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "is a web page and no table"),
        (b"<HTML><head/></HTML>", "is a web page and no table"),
        (b"ARROW1\0\0" + b"x" * 100, "is Arrow IPC"),
        (b"PK\x03\x04" + b"x" * 100, "zip archive"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<VOTABLE/>", "no TABLE"),
        (document(""), "no TABLE"),
        (document("<TABLE/>"), "no FIELD"),
        (document(f"<TABLE nrows='2'>{FIELD}{ROW}</TABLE>"), "nrows=2, but it has 1 rows"),
        (document(f"<TABLE nrows='many'>{FIELD}{ROW}</TABLE>"), "not a number of rows"),
        (b"<!DOCTYPE VOTABLE>" + document(f"<TABLE>{FIELD}{ROW}</TABLE>"), "DOCTYPE is refused"),
        (document(f"<TABLE>{FIELD}{ROW}</TABLE>")[:-20], "ends in the middle|not well-formed"),
        (document(f"<TABLE>{FIELD}{ROW.replace('1<', 'one<')}</TABLE>"), "'one'"),
        (document("<TABLE>" + FIELD * 101 + "</TABLE>"), "more than 100 columns"),
        (document("<TABLE>" + FIELD * 10_001 + "</TABLE>"), "more than 100 columns"),
        (document(f'<TABLE>{FIELD}<DATA><BINARY2><STREAM href="http://127.0.0.1/x"/></BINARY2></DATA></TABLE>'), "href"),
        (b"a,b\n1\n", "row 1: has 1 values for 2 columns"),
        (b"a,b\n1,2,3\n", "has 3 values for 2 columns"),
        (b'a,b\n1,"x\n2,y\n', "never closed"),
        (b"a,b\n1,\xff\n", "not UTF-8"),
        (b"\xff\xfa,b\n1,2\n", "not UTF-8|unknown kind"),
        (b"10.5,20\n11.5,21\n", "numbers only; put the names of the columns above"),
        (b",,\n1,2,3\n", "no column names"),
        (b",".join(b"c%d" % n for n in range(10_001)) + b"\n", "10001 columns; at most 100"),
        (b"# %ECSV 1.0\n# ---\n# datatype: [\n", "ECSV header is broken"),
        (b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int99}\na\n1\n", "none of ECSV's"),
        (b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int16}\na\n99999\n", "row 1, column 'a'"),
        (b"# %ECSV 1.0\n# ---\n# datatype: " + b"[" * 1000 + b"\na\n1\n", "broken"),
        (b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: object, subtype: json}\na\n1\n", "none of ECSV's"),
        (b"# %ECSV 1.0\n# ---\n" + b"# x: y\n" * 150_000, "header has more than 1048576 bytes"),
        (b"SIMPLE  =                    T" + b" " * 2850, "FITS|BINTABLE|broken"),
        (b"PAR1" + b"\0" * 100, "cannot be read as Parquet"),
        (b"PAR1" + struct.pack("<i", 2**31 - 1) + b"PAR1", "cannot be read as Parquet"),
        (gzip.compress(gzip.compress(b"a,b\n1,2\n", mtime=0), mtime=0), "gzip'd twice"),
        (gzip.compress(b"a,b\n1,2\n" * 100, mtime=0)[:-10], "broken or cut short"),
        (gzip.compress(bytes(2**20 + 1), mtime=0), "more than 1048576 bytes when it is unpacked"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_in_words_that_say_what_to_change(tmp_path: Path, content: bytes, told: str) -> None:
    assert re.search(told, refusal(content, tmp_path))


def test_the_first_of_two_tables_is_read(tmp_path: Path) -> None:  # VOT-40
    second = FIELD.replace('"a"', '"b"')
    said, rows = read(document(f"<TABLE>{FIELD}{ROW}</TABLE><TABLE>{second}{ROW}</TABLE>"), tmp_path)
    assert [field["name"] for field in said["fields"]] == ["a"]
    assert rows.num_rows == 1


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def many(kind: str, rows: int) -> bytes:
    table = Table({"a": np.zeros(rows, np.int32)})
    match kind:
        case "csv":
            return b"a\n" + b"0\n" * rows
        case "ecsv":
            return text("ascii.ecsv")(table)
        case "parquet":
            return parquet(pa.table({"a": np.zeros(rows, np.int32)}))
        case "fits":
            buffer = io.BytesIO()
            fits.table_to_hdu(table).writeto(buffer)
            return buffer.getvalue()
        case _:
            buffer = io.BytesIO()
            from_table(table).to_xml(buffer, tabledata_format=kind)
            return buffer.getvalue()


@pytest.mark.parametrize("kind", ["tabledata", "binary2", "csv", "ecsv", "fits", "parquet"])
def test_no_kind_may_have_too_many_rows(tmp_path: Path, kind: str) -> None:  # TAP-42
    assert read(many(kind, 1000), tmp_path)[0]["rows"] == 1000
    assert "more than 1000 rows" in refusal(many(kind, 1001), tmp_path)


@pytest.mark.parametrize("columns", [101, 10_001])
def test_too_many_columns_of_parquet_are_refused(tmp_path: Path, columns: int) -> None:
    content = parquet(pa.table({f"c{n}": pa.array([], pa.int8()) for n in range(columns)}))
    assert f"{columns} columns; at most 100" in refusal(content, tmp_path, max_bytes=2**24)


def test_a_short_file_of_endless_rows_is_refused_early(tmp_path: Path) -> None:
    """A few kilobytes of Parquet that are 80 MB of one number."""
    content = parquet(pa.table({"a": np.zeros(10_000_000)}), compression="zstd")
    assert len(content) < 100_000
    assert "8388608 bytes when they are unpacked" in refusal(content, tmp_path, max_rows=10**8)


def test_yaml_that_repeats_itself_is_no_description(tmp_path: Path) -> None:
    """Ten references to ten references and so on: as text more than any memory holds."""
    levels = ["# - &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"# - &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    header = ["# %ECSV 1.0", "# ---", "# laughs:", *levels, "# datatype:", "# - {name: a, datatype: int64, unit: *l29}"]
    said, _ = read("\n".join([*header, "# meta: {description: *l29}", "a", "1", ""]).encode(), tmp_path)
    assert said["fields"][0]["unit"] is None


def rewritten(content: bytes, **cards: object) -> bytes:
    """A FITS file whose table's header claims something else."""
    with fits.open(io.BytesIO(content)) as hdus:
        header = hdus[1].header.copy()
        size = len(header.tostring())
        place = content.index(b"XTENSION")
    header.update(cards)
    assert len(header.tostring()) == size
    return content[:place] + header.tostring().encode() + content[place + size :]


@pytest.mark.parametrize(
    ("cards", "told"),
    [
        ({"NAXIS2": 10**9}, "the file ends here"),
        ({"NAXIS2": 2**62}, "no binary table"),
        ({"NAXIS2": -5}, "FITS"),
        ({"NAXIS1": 10**12}, "NAXIS1 says"),
        ({"NAXIS1": 8 * 10**12, "TFORM1": "1000000000000D"}, "cannot be read as FITS"),
        ({"TFIELDS": 999}, "TFORM2"),
        ({"TFORM1": "1Z"}, "which FITS does not define"),
        ({"TFORM1": "PD(9)"}, "broken|beyond the end|before the start|has no rows"),
        ({"PCOUNT": -1}, "broken|FITS|."),
    ],
)
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning", "ignore::UserWarning")
def test_a_fits_header_that_lies_is_told(tmp_path: Path, cards: dict[str, object], told: str) -> None:
    buffer = io.BytesIO()
    fits.table_to_hdu(Table({"a": np.arange(5) + 0.5})).writeto(buffer)
    try:
        read(rewritten(buffer.getvalue(), **cards), tmp_path)
    except UploadError as e:
        assert re.search(told, e.message), e.message  # noqa: PT017
    else:
        assert cards == {"PCOUNT": -1}, "only this one does no harm"


def damaged(content: bytes, count: int) -> Sequence[bytes]:
    """A file with some bytes changed, or cut, in many ways."""
    generator = np.random.default_rng(11)
    made = []
    for _ in range(count):
        wrong = bytearray(content)
        for place in generator.integers(0, len(wrong), int(generator.integers(1, 6))):
            wrong[place] = int(generator.integers(0, 256))
        made.append(bytes(wrong[: int(generator.integers(len(wrong) // 2, len(wrong) + 1))]))
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning", "ignore::UserWarning")
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path: Path, kind: str) -> None:
    refused = 0
    for content in damaged(KINDS[kind](stars()), 20):
        try:
            read(content, tmp_path)
        except UploadError as e:
            assert str(tmp_path) not in e.message  # noqa: PT017
            refused += 1
    assert refused > 3
