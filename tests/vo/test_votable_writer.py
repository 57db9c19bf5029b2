# ruff: noqa: DTZ001  # timestamps of VOTables have no zone

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import ServiceError
from gateway.vo.formats import BINARY, BINARY2, TABLEDATA, VOTABLE
from gateway.vo.formats.base import Broken, Complete, Info, Overflow
from gateway.vo.votable import error_document
from gateway.vo.votable.base64 import Base64Encoder
from gateway.vo.votable.document import NAMESPACE, field_ids
from tests.support.every_type import (
    FIELDS,
    NOT_FOR_ASTROPY,
    NOT_FOR_VOTLINT,
    VALUES,
    astropy_table,
    batch,
    every_type,
    field,
    header,
    is_schema_valid,
    votlint,
    without,
    write,
)

ALL = pytest.mark.parametrize("format_", [BINARY2, BINARY, TABLEDATA], ids=lambda format_: format_.key)
V = f"{{{NAMESPACE}}}"

unhurried = settings(deadline=None)  # the first call of a reader imports it


def statuses(document: bytes) -> list[tuple[str, str, str | None]]:
    """Each QUERY_STATUS: element before or after the table, value, text."""
    resource = etree.fromstring(document).find(f"{V}RESOURCE")
    places, place = [], "before"
    for child in resource:
        if child.tag == f"{V}TABLE":
            place = "after"
        elif child.get("name") == "QUERY_STATUS":
            places.append((place, child.get("value"), child.text))
    return places


@ALL
def test_vot1_every_type_is_schema_valid(format_):
    assert is_schema_valid(write(format_, header(description="All & <types>"), [every_type()]))


@ALL
@pytest.mark.parametrize("ending", [Complete(), Overflow(3), Broken("the database went away <now>")], ids=repr)
@pytest.mark.parametrize("batches", [0, 2])
def test_vot1_every_ending_is_schema_valid(format_, ending, batches):
    assert is_schema_valid(write(format_, header(), [every_type()] * batches, ending))


@ALL
def test_dali45_status_ok_stands_before_the_table(format_):
    assert statuses(write(format_, header(), [every_type()])) == [("before", "OK", None)]


@ALL
def test_dali46_overflow_is_told_after_the_table(format_):
    first, last = statuses(write(format_, header(), [every_type()], Overflow(4)))
    assert first == ("before", "OK", None)
    assert last[:2] == ("after", "OVERFLOW")
    assert "4" in last[2]


@ALL
def test_tap34_maxrec_0_is_fields_and_overflow(format_):
    document = write(format_, header(), [], Overflow(0))
    assert statuses(document)[-1][1] == "OVERFLOW"
    assert len(astropy_table(document, verify="ignore").array) == 0


@ALL
def test_dali47_a_broken_table_ends_in_a_trailing_error(format_):
    document = write(format_, header(), [every_type()], Broken("connection lost\x00 & gone"))
    assert statuses(document)[-1] == ("after", "ERROR", "connection lost\ufffd & gone")


@ALL
def test_votlint_finds_nothing(format_, tmp_path):
    # votlint 3.4.7 does not know that an empty TD is a null for arrays: the row of nulls is for BINARY2 only.
    fields, rows = without(NOT_FOR_VOTLINT, last_row=format_ is BINARY2)
    assert votlint(write(format_, header(fields), [rows]), tmp_path / "x.vot") == ""


@pytest.mark.parametrize(
    "document",
    [
        write(VOTABLE, header([field("a", "int")])),
        write(TABLEDATA, header([field("a", "int")]), [], Overflow(0)),
        write(VOTABLE, header([field("a", "int")]), [batch([field("a", "int")], [[1, None]])], Broken("gone")),
        error_document("no such <table>"),
    ],
    ids=["empty", "overflow", "broken", "error"],
)
def test_votlint_finds_nothing_in_other_kinds(document, tmp_path):
    assert votlint(document, tmp_path / "x.vot") == ""


@pytest.mark.parametrize("has_polygon", [False, True])
def test_polygons_make_the_default_a_table_that_stilts_reads(has_polygon, tmp_path):
    fields = [field("region", "double", arraysize="*", xtype="polygon" if has_polygon else None), field("n", "int")]
    document = write(VOTABLE, header(fields), [batch(fields, [[[1.0, 1, 2, 1, 2, 2]], [7]])])
    assert (b"<TABLEDATA>" in document) is has_polygon
    assert (b"<BINARY2>" in document) is not has_polygon
    assert votlint(document, tmp_path / "x.vot") == ""


@ALL
def test_astropy_reads_every_value_back(format_):
    names = NOT_FOR_ASTROPY | {"letter"} | ({"bits"} if format_ is BINARY else set())  # BINARY has no null bits
    fields, rows = without(names)
    table = astropy_table(write(format_, header(fields), [rows]))
    assert len(table.array) == 4
    for item, expected in zip(fields, rows.columns, strict=True):
        found = table.array[item.name]
        for row, value in enumerate(expected.to_pylist()):
            assert same(item, found[row], found.mask[row], value, format_ is TABLEDATA), (item.name, row, found[row])


def same(item, found, mask, value, is_text) -> bool:
    """Whether a cell as astropy has it is the value that was written."""
    if value is None:
        return bool(np.all(mask)) or (item.type.is_text and found == "") or len(np.atleast_1d(found)) == 0
    if item.type.is_timestamp:
        return dt.datetime.fromisoformat(str(found)) == value
    if item.type.is_text:
        return found == (value.strip() if is_text else value)  # astropy strips TDs
    if item.type.datatype.value.endswith("Complex"):
        value = [complex(re, im) for re, im in zip(value[::2], value[1::2], strict=True)]
    element = "f4" if item.type.datatype.value == "float" else np.asarray(found).dtype
    wanted = np.atleast_1d(np.array(value, element)).ravel()
    cells = np.ma.atleast_1d(found).astype(element).ravel()
    return np.array_equal(
        cells.filled(np.nan) if wanted.dtype.kind == "f" else cells, wanted, equal_nan=wanted.dtype.kind == "f"
    )


@ALL
@unhurried
@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=20),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20),
)
def test_floats_come_back_to_the_bit(format_, doubles, floats):
    for kind, values in (("double", doubles), ("float", floats)):
        fields = [field("x", kind)]
        found = astropy_table(write(format_, header(fields), [batch(fields, [values])])).array["x"]
        assert np.array(values, found.dtype).tobytes() == found.data.tobytes()


@unhurried
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_int64_keeps_19_digits(values):
    fields = [field("x", "long")]
    for format_ in (VOTABLE, BINARY, TABLEDATA):
        assert astropy_table(write(format_, header(fields), [batch(fields, [values])])).array["x"].tolist() == values


@unhurried
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_any_text_comes_back_from_unicode_char(values):
    fields = [field("x", "unicodeChar", "*"), field("n", "int")]
    rows = batch(fields, [values, list(range(len(values)))])
    table = astropy_table(write(VOTABLE, header(fields), [rows]))
    assert table.array["x"].tolist() == values
    assert table.array["n"].tolist() == list(range(len(values)))


@unhurried
@given(st.text(), st.text(), st.text())
def test_any_text_anywhere_leaves_the_document_valid(name, text, more):
    item = field(name, "unicodeChar", "*", unit=more, ucd=more, utype=more, description=text)
    text = text.encode("utf-8", "replace").decode()
    rows = batch([item], [[text]])
    for format_ in (VOTABLE, BINARY, TABLEDATA):
        assert is_schema_valid(write(format_, header([item], Info(more, name, text)), [rows], Broken(text)))
    assert is_schema_valid(error_document(text, infos=[Info(name, more)]))


def test_vot36_control_characters_are_replaced_in_tabledata():
    fields = [field("x", "char", "*")]
    document = write(TABLEDATA, header(fields), [batch(fields, [["a\x01b\x0bc\ufffe", "tab\tcr\r"]])])
    assert [td.text for td in etree.fromstring(document).iter(f"{V}TD")] == ["a\ufffdb\ufffdc\ufffd", "tab\tcr\r"]


def test_vot37_white_space_in_a_cell_is_kept():
    fields = [field("x", "char", "*")]
    document = write(TABLEDATA, header(fields), [batch(fields, [["  a "]])])
    assert etree.fromstring(document).find(f".//{V}TD").text == "  a "


@ALL
def test_vot8_a_scalar_has_no_arraysize(format_):
    fields = etree.fromstring(write(format_, header())).iter(f"{V}FIELD")
    assert [item.get("arraysize") for item in fields] == [item.type.arraysize for item in FIELDS]
    assert "1" not in {item.type.arraysize for item in FIELDS}


@ALL
def test_vot39_a_stream_does_not_say_how_many_rows_it_has(format_):
    document = etree.fromstring(write(format_, header(), [every_type()]))
    assert document.find(f".//{V}TABLE").get("nrows") is None


def test_vot12_not_a_number_and_infinities_have_their_spelling():
    fields = [field("x", "float"), field("y", "double", "*")]
    document = write(
        TABLEDATA, header(fields), [batch(fields, [[math.nan, -math.inf], [[math.inf], [math.nan, -0.0]]])]
    )
    assert b"<TD>NaN</TD><TD>+Inf</TD>" in document
    assert b"<TD>-Inf</TD><TD>NaN -0</TD>" in document


def test_vot15_null_of_any_type_is_an_empty_td():
    document = write(TABLEDATA, header(), [every_type().slice(3, 1)])
    assert document.count(b"<TD></TD>") == len(FIELDS)


def test_vot17_null_flags_fill_from_the_highest_bit():
    fields = [field(f"c{i}", "short") for i in range(9)]
    document = write(VOTABLE, header(fields), [batch(fields, [[None], *[[i] for i in range(1, 8)], [None]])])
    from base64 import b64decode

    row = b64decode(etree.fromstring(document).find(f".//{V}STREAM").text)
    assert row == bytes([0b1000_0000, 0b1000_0000]) + np.array([0, 1, 2, 3, 4, 5, 6, 7, 0], ">i2").tobytes()


@pytest.mark.parametrize("start", [0, 1, 7, 8, 13])
def test_vot17_null_flags_of_a_slice_are_those_of_its_rows(start):
    fields = [field(f"c{i}", "int") for i in range(10)]
    values = [[None if (row + i) % 3 == 0 else row for row in range(40)] for i in range(10)]
    found = astropy_table(write(VOTABLE, header(fields), [batch(fields, values).slice(start, 20)])).array
    for item, expected in zip(fields, values, strict=True):
        assert found[item.name].tolist() == expected[start : start + 20]


def test_vot23_text_beyond_7_bits_in_a_char_column_does_not_break_readers():
    fields = [field("x", "char", "*"), field("y", "int")]
    rows = batch(fields, [["café ü", "z"], [1, 2]])
    assert astropy_table(write(VOTABLE, header(fields), [rows])).array["x"].tolist() == ["caf? ?", "z"]
    assert "<TD>café ü</TD>" in write(TABLEDATA, header(fields), [rows]).decode()


def test_vot26_a_ucd_that_the_schema_forbids_is_left_out_and_the_rest_kept():
    document = write(VOTABLE, header([field("x", "int", ucd="not a ucd!", unit="10**-3 m <>")]))
    assert is_schema_valid(document)
    assert b"ucd=" not in document
    assert b'unit="10**-3 m &lt;&gt;"' in document


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ra", "dec"], ["ra", "dec"]),
        (["2MASS", "my col", ""], ["col_2MASS", "my_col", "col_"]),
        (["a", "A", "a"], ["a", "A_2", "a_3"]),
        (["é", "ü"], ["_", "__2"]),
        (["_x", "x.y-z", "-a"], ["_x", "x.y-z", "col_-a"]),
    ],
)
def test_vot4_field_ids_are_unique_xml_names(names, expected):
    assert list(field_ids(names)) == expected


def test_timestamps_show_a_fraction_only_where_there_is_one():
    fields = [field("t", "char", "*", "timestamp")]
    instants = [dt.datetime(1969, 12, 31, 23, 59, 59, 1), dt.datetime(1, 1, 1), None]
    document = write(TABLEDATA, header(fields), [batch(fields, [instants])])
    texts = [td.text for td in etree.fromstring(document).iter(f"{V}TD")]
    assert texts == ["1969-12-31T23:59:59.000001", "0001-01-01T00:00:00", None]


def test_an_instant_beyond_the_year_9999_is_null():
    fields = [field("t", "char", "*", "timestamp")]
    rows = pa.RecordBatch.from_arrays([pa.array([2**62, 0], pa.timestamp("us"))], names=["t"])
    document = write(TABLEDATA, header(fields), [rows])
    assert [td.text for td in etree.fromstring(document).iter(f"{V}TD")] == [None, "1970-01-01T00:00:00"]


def test_text_longer_than_its_arraysize_is_a_fault_of_ours_by_name():
    fields = [field("code", "char", "2")]
    with pytest.raises(ServiceError, match="'code'"):
        write(VOTABLE, header(fields), [batch(fields, [["abc"]])])


def test_an_array_of_other_size_than_declared_is_a_fault_of_ours_by_name():
    fields = [field("point", "double", "2")]
    with pytest.raises(ServiceError, match="'point'"):
        write(VOTABLE, header(fields), [batch(fields, [[[1.0, 2.0, 3.0]]])])


@ALL
def test_slices_of_a_batch_are_written_without_their_neighbours(format_):
    sliced, alone = every_type().slice(1, 2), batch(FIELDS, [values[1:3] for values in VALUES])
    assert write(format_, header(), [sliced]) == write(format_, header(), [alone])


@ALL
def test_more_rows_than_one_piece_come_back(format_):
    rows = pa.table({"n": pa.array(range(40_000), pa.int32()), "t": [str(i) for i in range(40_000)]}).to_batches()
    fields = [field("n", "int"), field("t", "char", "*")]
    table = astropy_table(write(format_, header(fields), rows)).array
    assert table["n"].tolist() == list(range(40_000))
    assert table["t"][-1] == "39999"


@unhurried
@given(st.lists(st.binary(max_size=10)))
def test_base64_of_pieces_is_base64_of_the_whole(pieces):
    from base64 import b64encode

    encoder = Base64Encoder()
    text = b"".join(encoder.encode(memoryview(piece)) for piece in pieces) + encoder.finish()
    assert text == b64encode(b"".join(pieces))


def test_tap58_an_error_document_has_the_message_and_no_table():
    document = error_document('column "x" <unknown>\x08', infos=[Info("QUERY", "SELECT x\nFROM t")])
    assert is_schema_valid(document)
    root = etree.fromstring(document)
    info = root.find(f"{V}RESOURCE[@type='results']/{V}INFO")
    assert (info.get("name"), info.get("value"), info.text) == ("QUERY_STATUS", "ERROR", 'column "x" <unknown>\ufffd')
    assert root.find(f".//{V}TABLE") is None


def test_pyvo_sees_the_error_of_a_broken_table():
    from pyvo.dal import DALQueryError
    from pyvo.dal.query import DALResults

    fields = [field("a", "int")]
    document = write(VOTABLE, header(fields), [batch(fields, [[1]])], Broken("the database went away"))
    import io

    from astropy.io.votable import parse

    with pytest.raises(DALQueryError, match="went away"):
        DALResults(parse(io.BytesIO(document)))


def test_memory_of_a_writer_does_not_grow_with_rows():
    import tracemalloc

    fields = [field("x", "double"), field("t", "char", "*")]
    rows = batch(fields, [[float(i) for i in range(20_000)], [f"row {i}" for i in range(20_000)]])
    for format_ in (VOTABLE, BINARY, TABLEDATA):
        writer = format_.make(header(fields))
        writer.start()
        writer.batch(rows)
        tracemalloc.start()
        for _ in range(20):
            writer.batch(rows)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < 100_000
