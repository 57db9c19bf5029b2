import datetime as dt
import io
import shutil
import subprocess
import warnings

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import NotSupportedError
from gateway.vo.formats import FITS
from gateway.vo.formats.base import Complete, Info, Overflow
from gateway.vo.formats.cards import Header
from gateway.vo.formats.fits import FitsWriter
from gateway.vo.votable.nulls import NULL_VALUES
from tests.support.every_type import COLUMNS, FIELDS, astropy_fits, batch, every_type, field, header, without, write


def one_column(item, values, **meaning) -> bytes:
    return write(FITS, header([item], **meaning), [batch([item], [values])])


def table_of(*names: str) -> Table:
    """Some of the columns of every type, as most people read FITS."""
    fields, rows = without({item.name for item in FIELDS} - set(names))
    return Table.read(io.BytesIO(write(FITS, header(fields), [rows])), hdu=1)


def head(document: bytes) -> fits.Header:
    with fits.open(io.BytesIO(document)) as hdus:
        return hdus[1].header


def test_the_file_is_whole_blocks_and_passes_the_verification_of_astropy():
    document = write(FITS, header(), [every_type()])
    assert len(document) % 2880 == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(io.BytesIO(document)) as hdus:
            hdus.verify("exception")
            assert hdus[1].header["NAXIS2"] == 4


def test_astropy_reads_every_value_back():
    found = astropy_fits(write(FITS, header(), [every_type()]))
    for item, values in COLUMNS:
        for row, value in enumerate(values):
            assert same(item, found[item.name][row], value), (item.name, row, found[item.name][row])


def same(item, found, value) -> bool:
    """Whether a cell as astropy has it is the value that was written; null as FITS has it."""
    datatype = item.type.datatype.value
    if item.type.is_text:
        text = b"".join(found) if isinstance(found, np.ndarray) else bytes(found)
        if item.type.is_timestamp and value is not None:
            return dt.datetime.fromisoformat(text.decode()) == value
        return text.decode() == (value or "").rstrip()  # blanks at the end are padding to astropy
    cells = np.atleast_1d(found).ravel()
    if datatype == "boolean" or (datatype == "bit" and item.type.arraysize == "*"):
        # astropy leaves letters of variable arrays as they are.
        cells = [
            {b"T": True, b"F": False, b"\0": None, b"": None, ord("T"): True, ord("F"): False}[cell]
            for cell in cells.tolist()
        ]
        return cells == ([value] if not isinstance(value, list) else value) or (value is None and not cells)
    if value is None:
        if cells.size == 0:
            return item.type.arraysize.endswith("*")
        if cells.dtype.kind in "fc":
            return bool(np.isnan(cells).all())
        return datatype == "bit" or len(set(cells.tolist())) == 1  # TNULL; see below
    if datatype.endswith("Complex"):
        value = [complex(re, im) for re, im in zip(value[::2], value[1::2], strict=True)]
    return np.array_equal(
        cells, np.atleast_1d(np.array(value, cells.dtype)).ravel(), equal_nan=cells.dtype.kind in "fc"
    )


def test_a_table_has_masks_where_whole_numbers_are_null():
    names = ["byte", "short", "int", "source_id", "shorts"]
    table = table_of(*names)
    for name in names:
        expected = next(values for item, values in COLUMNS if item.name == name)
        assert np.all(table[name].mask[3]), name
        assert not np.any(table[name].mask[:3]), name
        assert table[name][:3].tolist() == expected[:3], name


def test_text_beyond_ascii_comes_back_in_a_table():
    table = table_of("unicode", "unicode_fixed")
    assert list(table["unicode"][:2]) == ["Ångström", "日本 α"]  # noqa: RUF001
    assert list(table["unicode_fixed"][:2]) == ["é", "αβγδ"]


@pytest.mark.parametrize(("datatype", "bits"), [("short", 16), ("int", 32), ("long", 64)])
@pytest.mark.parametrize("used", [0, 1, 2])
def test_vot16_the_number_for_null_is_one_that_no_value_has(datatype, bits, used):
    kind = field("x", datatype)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    values = [[least, NULL_VALUES[kind.type.datatype], most][i] for i in range(used)] + [0, None]
    found = Table.read(io.BytesIO(one_column(kind, values)), hdu=1)["x"]
    assert found.mask.tolist() == [value is None for value in values]
    assert found[:-1].tolist() == values[:-1]


def test_a_column_that_uses_all_numbers_for_null_is_refused_by_name():
    kind = field("crowded", "long")
    values = [-(2**63), NULL_VALUES[kind.type.datatype], 2**63 - 1]
    assert Table.read(io.BytesIO(one_column(kind, values)), hdu=1)["crowded"].tolist() == values
    with pytest.raises(NotSupportedError, match="crowded"):
        one_column(kind, [*values, None])


def test_a_column_without_nulls_needs_no_number_for_it():
    assert "TNULL1" not in head(one_column(field("x", "int"), [1, 2]))
    assert head(one_column(field("x", "unsignedByte"), [1, 255]))["TFORM1"] == "1B"


@settings(deadline=None)  # the first call imports
@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=20),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
)
def test_numbers_come_back_to_the_bit(doubles, floats, longs):
    for kind, dtype, values in (("double", ">f8", doubles), ("float", ">f4", floats), ("long", ">i8", longs)):
        found = astropy_fits(one_column(field("x", kind), values))["x"]
        assert np.asarray(found).tobytes() == np.array(values, dtype).tobytes()


@settings(deadline=None)  # the first call imports
@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80), min_size=1))
def test_any_text_comes_back(values):
    found = astropy_fits(one_column(field("x", "char", "*"), values))["x"]
    assert [bytes(cell).decode() for cell in found] == [value.rstrip() for value in values]


def test_arrays_of_several_axes_have_their_shape():
    found = astropy_fits(write(FITS, header(), [every_type()]))["matrix"]
    assert found.shape == (4, 2, 2)
    assert found[0].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_units_ucds_and_descriptions_are_in_the_header():
    item = field(
        "ra", "double", unit="deg", ucd="pos.eq.ra;meta.main", utype="obs:ra", description="Where it is, 'J2000'" * 9
    )
    cards = head(one_column(item, [1.0]))
    assert (cards["TTYPE1"], cards["TUNIT1"], cards["TUCD1"]) == ("ra", "deg", "pos.eq.ra;meta.main")
    assert (cards["TUTYP1"], cards["TCOMM1"]) == ("obs:ra", "Where it is, 'J2000'" * 9)
    assert head(one_column(field("c", "double", "*", "circle"), [[1.0]]))["TXTYP1"] == "circle"


def test_dali46_overflow_and_infos_are_in_the_header():
    query = "SELECT x\nFROM t WHERE name = 'Ångström' AND " + "x < 1 AND " * 40
    document = write(FITS, header([field("x", "int")], Info("QUERY", query)), [], Overflow(7))
    cards = head(document)
    assert cards["QSTATUS"] == "OVERFLOW"
    comments = "".join(str(cards["COMMENT"]).split())
    assert "MAXREC=7" in comments
    assert "".join(query.replace("Å", "?").replace("ö", "?").split()) in comments
    assert head(write(FITS, header([field("x", "int")])))["QSTATUS"] == "OK"


def test_a_table_of_no_rows_has_all_columns():
    found = astropy_fits(write(FITS, header()))
    assert len(found) == 0
    assert found.names == [item.name for item in FIELDS]


def test_names_that_repeat_or_are_no_ascii_are_told_apart():
    fields = [field("a", "int"), field("A", "int"), field("größe", "int")]
    found = astropy_fits(write(FITS, header(fields), [batch(fields, [[1], [2], [3]])]))
    assert found.names == ["a", "A_2", "gr??e"]


def test_more_columns_than_fits_has_are_refused():
    fields = [field(f"c{i}", "int") for i in range(1000)]
    with pytest.raises(NotSupportedError, match="999"):
        FitsWriter(header(fields))
    assert len(astropy_fits(write(FITS, header(fields[:-1]), [batch(fields[:-1], [[1]] * 999)])).names) == 999


@pytest.mark.parametrize("datatype", ["char", "unicodeChar"])
def test_a_single_long_text_does_not_make_all_rows_long(datatype, monkeypatch):
    monkeypatch.setattr("gateway.vo.formats.fitscolumns.WASTE_BYTES", 1000)
    values = ["short é", "x" * 1000, None]
    document = one_column(field("t", datatype, "*"), values)
    cards, data = head(document), document[-2880:]
    assert (cards["TFORM1"], cards["NAXIS1"]) == ("1PA(1000)", 8)
    first = "short é".encode() if datatype == "unicodeChar" else b"short ?"
    assert cards["PCOUNT"] == len(first) + 1000
    assert np.frombuffer(data[:24], ">i4").reshape(3, 2).tolist() == [
        [len(first), 0],
        [1000, len(first)],
        [0, cards["PCOUNT"]],
    ]
    assert data[24:].rstrip(b"\0") == first + b"x" * 1000


def test_pieces_and_batches_keep_their_places_in_the_heap():
    item = field("v", "int", "*")
    rows = [list(range(i % 5)) for i in range(40_000)]
    batches = [batch([item], [rows[:25_000]]), batch([item], [rows[25_000:]])]
    found = astropy_fits(write(FITS, header([item]), batches))["v"]
    assert [cell.tolist() for cell in found[::777]] == rows[::777]
    assert found[-1].tolist() == rows[-1]


def test_places_beyond_two_gigabytes_have_64_bits(monkeypatch):
    monkeypatch.setattr("gateway.vo.formats.fits.SMALL_HEAP", 10)
    item = field("v", "double", "*")
    document = one_column(item, [[1.0, 2.0], [], [3.0]])
    assert head(document)["TFORM1"] == "1QD(2)"
    assert [cell.tolist() for cell in astropy_fits(document)["v"]] == [[1.0, 2.0], [], [3.0]]


def test_the_writer_keeps_no_rows():
    import tracemalloc

    fields = [field("x", "double"), field("t", "char", "*"), field("v", "int", "*")]
    rows = batch(fields, [[float(i) for i in range(9000)], [f"row {i}" for i in range(9000)], [[1, 2]] * 9000])
    writer = FitsWriter(header(fields))
    writer.survey(rows)
    tracemalloc.start()
    for _ in range(20):
        writer.survey(rows)
    writer.start(Complete())
    for number in range(writer.passes):
        for _ in range(21):
            writer.batch(rows, number)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert writer.passes == 2
    assert kept < 100_000


def test_stilts_reads_every_row_and_the_ucds(tmp_path):
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed (Debian package stilts)")
    path = tmp_path / "x.fits"
    path.write_bytes(write(FITS, header(), [every_type()]))
    done = subprocess.run(
        ["stilts", "tpipe", f"in={path}", "ifmt=fits", "cmd=meta name ucd units utype", "omode=out", "ofmt=csv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.stderr
    assert "ra,pos.eq.ra;meta.main,deg" in done.stdout


@settings(deadline=None)  # the first call imports
@given(st.text(max_size=300))
@example("it's / a 'comment' & not one")
@example("'" * 150 + "&")
def test_any_text_in_the_header_leaves_it_readable(text):
    cards = Header()
    cards.flag("SIMPLE", value=True)
    cards.text("TCOMM1", text)
    cards.comment(text)
    cards.number("LAST", 7)
    data = cards.to_bytes()
    assert len(data) % 2880 == 0
    found = fits.Header.fromstring(data)
    assert found["LAST"] == 7
    expected = "".join(c if " " <= c <= "~" else "?" for c in text).rstrip()
    assert found["TCOMM1"].rstrip("&") == expected.rstrip("&")  # astropy drops it at the end of a continued text


def test_an_instant_that_dali_cannot_write_is_null():
    item = field("t", "char", "*", "timestamp")
    rows = pa.RecordBatch.from_arrays([pa.array([2**62, 0], pa.timestamp("us"))], names=["t"])
    found = astropy_fits(write(FITS, header([item]), [rows]))["t"]
    assert [bytes(cell) for cell in found] == [b"", b"1970-01-01T00:00:00"]
