# ruff: noqa: DTZ001, RUF001  # timestamps of VOTables have no zone; text beyond ASCII is the point here

import base64
import contextlib
import datetime as dt
import io
import struct
import time
import tracemalloc
import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.errors import UploadError
from gateway.vo.formats import BINARY2, TABLEDATA
from gateway.vo.formats.base import Broken, Info, Overflow
from gateway.vo.tableset import Datatype, VOType
from gateway.vo.votable import error_document
from gateway.vo.votable.reader import ReaderLimits, VOTableReader
from tests.support.catalogs import real_catalog
from tests.support.every_type import FIELDS, VALUES, batch, every_type, field, header, write


def read(document: bytes | str, limits: ReaderLimits | None = None) -> tuple[VOTableReader, pa.Table]:
    """Reader and all rows."""
    data = document.encode() if isinstance(document, str) else document
    reader = VOTableReader(io.BytesIO(data), limits)
    batches = list(reader)
    return reader, pa.Table.from_batches(batches) if batches else pa.table({})


def columns(document: bytes | str) -> list[list]:
    return [column.to_pylist() for column in read(document)[1].columns]


def votable(body: str, *, root: str = 'version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"') -> str:
    return f'<?xml version="1.0"?>\n<VOTABLE {root}><RESOURCE><TABLE>{body}</TABLE></RESOURCE></VOTABLE>'


def tabledata(fields: str, *rows: str) -> str:
    """Document of FIELD attributes (several separated by ``|``) and rows (cells separated by ``|``)."""
    head = "".join(f"<FIELD {item}/>" if "<" not in item else f"<FIELD {item}</FIELD>" for item in fields.split("|"))
    body = "".join("<TR>" + "".join(f"<TD>{cell}</TD>" for cell in row.split("|")) + "</TR>\n" for row in rows)
    return votable(f"{head}<DATA><TABLEDATA>\n{body}</TABLEDATA></DATA>")


def binary(fields: str, rows: bytes, *, kind: str = "BINARY") -> str:
    head = "".join(f"<FIELD {item}/>" if "<" not in item else f"<FIELD {item}</FIELD>" for item in fields.split("|"))
    text = base64.b64encode(rows).decode()
    return votable(f'{head}<DATA><{kind}><STREAM encoding="base64">{text}</STREAM></{kind}></DATA>')


# Round trips.


def test_binary2_comes_back_equal_for_every_type():
    reader, table = read(write(BINARY2, header(description="All & <types>"), [every_type()] * 3))
    assert reader.fields == FIELDS
    assert reader.description == "All & <types>"
    assert str(table.to_pylist()) == str(every_type().to_pylist() * 3)  # as text, since NaN does not equal itself


def test_tabledata_comes_back_equal_for_every_type_but_empty_is_null():
    reader, table = read(write(TABLEDATA, header(), [every_type()] * 3))
    expected = [
        {key: None if value in ("", []) else value for key, value in row.items()} for row in every_type().to_pylist()
    ]
    assert reader.fields == FIELDS
    assert str(table.to_pylist()) == str(expected * 3)


@pytest.mark.parametrize("format_", [BINARY2, TABLEDATA], ids=lambda format_: format_.key)
def test_many_rows_come_in_batches_of_bounded_size(format_):
    fields = [field("n", "long"), field("t", "char", "*")]
    rows = pa.RecordBatch.from_pydict({"n": pa.array(range(200_000)), "t": [f"row {i} &<" for i in range(200_000)]})
    reader = VOTableReader(io.BytesIO(write(format_, header(fields), [rows])))
    batches = list(reader)
    assert pa.Table.from_batches(batches).to_pydict() == rows.to_pydict()
    assert max(item.num_rows for item in batches) <= 65_536
    assert reader.rows == 200_000


@pytest.mark.parametrize("kind", ["tabledata", "binary", "binary2"])
def test_what_astropy_writes_is_read(kind):
    from astropy.io.votable import from_table
    from astropy.table import MaskedColumn, Table

    table = Table()
    table["flag"] = MaskedColumn([True, False, True], mask=[0, 0, 1])
    table["byte"] = MaskedColumn(np.array([0, 255, 1], "u1"), mask=[0, 0, 1])
    table["short"] = MaskedColumn(np.array([-32768, 32767, 1], "i2"), mask=[0, 0, 1])
    table["id"] = MaskedColumn([2**62 + 1, -(2**63), 1], mask=[0, 0, 1])
    table["mag"] = MaskedColumn(np.array([0.1, np.inf, 1], "f4"), mask=[0, 0, 1], unit="mag")
    table["ra"] = MaskedColumn([0.1 + 0.2, -np.inf, 1], mask=[0, 0, 1], unit="deg", description="Where <it> is")
    table["text"] = MaskedColumn(["a & b", "ü", "x"], mask=[0, 0, 1])
    table["vector"] = np.array([[1.5, 2], [np.nan, 4], [5, 6]])
    table["complex"] = np.array([1 + 2j, 0.5j, -1])
    table["cube"] = np.arange(24).reshape(3, 2, 4)
    file = from_table(table)
    file.set_all_tables_format(kind)
    if kind == "binary":
        for name, null in (("byte", 9), ("short", -99), ("id", -99)):
            file.get_first_table().get_field_by_id(name).values.null = null
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.to_xml(out)
    reader, found = read(out.getvalue())
    rows = {name: found[name].to_pylist() for name in found.column_names}
    assert rows["id"] == [2**62 + 1, -(2**63), None]
    assert rows["short"] == [-32768, 32767, None]
    assert rows["byte"] == [0, 255, None]
    assert rows["mag"] == [float(np.float32(0.1)), np.inf, None]
    assert rows["ra"] == [0.1 + 0.2, -np.inf, None]
    assert rows["text"] == ["a & b", "ü", None]
    assert str(rows["vector"]) == "[[1.5, 2.0], [nan, 4.0], [5.0, 6.0]]"
    assert rows["complex"] == [[1, 2], [0, 0.5], [-1, 0]]
    assert rows["cube"] == np.arange(24).reshape(3, 8).tolist()
    assert rows["flag"][:2] == [True, False]
    by_name = {item.name: item for item in reader.fields}
    assert (by_name["ra"].unit, by_name["ra"].description) == ("deg", "Where <it> is")
    assert by_name["cube"].type == VOType(Datatype.LONG, "2x4")  # astropy writes its axes in numpy's order


@pytest.mark.parametrize("name", ["eso_obscore_1000.vot", "sdss_dr9_field.vot"])
def test_real_files_are_read_as_astropy_reads_them(name):
    path = real_catalog(name)
    from astropy.io.votable import parse

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = parse(path).get_first_table()
    with path.open("rb") as file:
        reader = VOTableReader(file, ReaderLimits.unlimited())
        found = pa.Table.from_batches(list(reader))
    assert [item.name for item in reader.fields] == [item.name for item in expected.fields]
    assert [item.ucd for item in reader.fields] == [item.ucd for item in expected.fields]
    assert found.num_rows == len(expected.array)
    for item, column in zip(expected.fields, found.columns, strict=True):
        cells = expected.array[item.ID]
        for cell, is_null, value in zip(cells.data, cells.mask, column.to_pylist(), strict=True):
            if isinstance(value, str):
                assert cell == value.strip()
            elif value is None:
                assert bool(is_null) or cell in {"", 0}  # astropy makes 0 of an empty integer in VOTable 1.1
            else:
                assert cell == np.array(value, cells.dtype)


# Where events and the cutting of bytes must agree.


class Dribble(io.RawIOBase):
    """File that gives a few bytes at a time."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._place, self._sizes, self._turn = data, 0, sizes, 0

    def read(self, size: int = -1) -> bytes:
        self._turn += 1
        size = min(size, self._sizes[self._turn % len(self._sizes)])
        data = self._data[self._place : self._place + size]
        self._place += len(data)
        return data


@pytest.mark.parametrize("format_", [BINARY2, TABLEDATA], ids=lambda format_: format_.key)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=10))
def test_the_sizes_of_reads_do_not_matter(format_, sizes):
    document = write(format_, header(), [every_type()] * 5)
    whole = read(document)[1]
    pieces = pa.Table.from_batches(list(VOTableReader(Dribble(document, sizes))))
    assert str(pieces.to_pydict()) == str(whole.to_pydict())


ODD = {
    "comment": "<!-- <TR><TD>9</TD><TD>no</TD></TR> -->",
    "processing": "<?x <TR><TD>9</TD><TD>no</TD></TR> ?>",
    "attributes": '<TR ID="r1"><TD>1</TD><TD>a</TD></TR>',
    "spaces": "<TR >\n <TD >1</TD >\n <TD\n>a</TD></TR >",
    "cdata": "<TR><TD>1</TD><TD><![CDATA[</TD></TR> & <]]></TD></TR>",
    "empty": "<TR><TD/><TD></TD></TR>",
    "entities": "<TR><TD>&#x31;</TD><TD>&lt;&amp;lt;&#228;&quot;&apos;&gt;</TD></TR>",
    "lines": "<TR><TD>1</TD><TD>a\r\nb\rc&#13;</TD></TR>",
    "layout": "<TR>\r\n  <TD>1</TD>\r\n  <TD> a </TD>\r\n</TR>",
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("before", [0, 400, 30_000])
def test_rows_that_look_odd_are_read_as_any_parser_would(name, before):
    from lxml import etree

    plain = "<TR><TD>5</TD><TD>plain</TD></TR>\n"
    rows = plain * before + ODD[name] + plain * 300
    document = votable(
        '<FIELD name="n" datatype="int"/><FIELD name="t" datatype="unicodeChar" arraysize="*"/>'
        f"<DATA><TABLEDATA>{rows}</TABLEDATA></DATA>"
    )
    space = "{http://www.ivoa.net/xml/VOTable/v1.3}"
    expected = [
        [int(n.text) if n.text else None, t.text] for n, t in etree.fromstring(document.encode()).iter(f"{space}TR")
    ]
    assert [list(row) for row in zip(*columns(document), strict=True)] == expected


def test_a_comment_over_many_blocks_hides_its_rows():
    hidden = "<TR><TD>9</TD></TR>\n" * 200_000
    document = votable(
        f'<FIELD name="n" datatype="int"/><DATA><TABLEDATA>{"<TR><TD>1</TD></TR>" * 500}<!-- {hidden} -->'
        "<TR><TD>2</TD></TR></TABLEDATA></DATA>"
    )
    with pytest.raises(UploadError, match="tag or comment of more than"):
        columns(document)
    short = document.replace(hidden, hidden[:200_000])
    assert columns(short) == [[1] * 500 + [2]]


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_any_text_comes_back_from_both(values):
    fields = [field("t", "unicodeChar", "*"), field("n", "int")]
    rows = batch(fields, [values, list(range(len(values)))])
    assert columns(write(BINARY2, header(fields), [rows]))[0] == [value.partition("\0")[0] for value in values]


@given(st.lists(st.floats(allow_nan=False)), st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_numbers_come_back_to_the_bit(doubles, longs):
    size = min(len(doubles), len(longs))
    fields = [field("d", "double"), field("n", "long")]
    rows = batch(fields, [doubles[:size], longs[:size]])
    for format_ in (BINARY2, TABLEDATA):
        found = read(write(format_, header(fields), [rows]))[1]
        if size:
            assert np.array(doubles[:size]).tobytes() == found["d"].to_numpy().tobytes()
            assert found["n"].to_pylist() == longs[:size]


# What documents look like.


@pytest.mark.parametrize(
    "root",
    [
        'version="1.1" xmlns="http://www.ivoa.net/xml/VOTable/v1.1"',
        'version="1.2" xmlns="http://www.ivoa.net/xml/VOTable/v1.2"',
        'version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"',
        'version="1.5" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"',
        'version="1.0"',
    ],
)
def test_vot40_namespaces_of_all_versions(root):
    assert columns(votable('<FIELD name="a" datatype="int"/><DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA>', root=root)) == [[1]]  # fmt: skip


def test_vot40_prefixed_elements():
    body = '<v:FIELD name="a" datatype="int"/><v:DATA><v:TABLEDATA><v:TR><v:TD>1</v:TD></v:TR></v:TABLEDATA></v:DATA>'
    document = (
        '<v:VOTABLE xmlns:v="http://www.ivoa.net/xml/VOTable/v1.3"><v:RESOURCE><v:TABLE>'
        f"{body}</v:TABLE></v:RESOURCE></v:VOTABLE>"
    )
    assert columns(document) == [[1]]


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "utf-16", "us-ascii"])
def test_encodings(encoding):
    text = "caf&#233;" if encoding == "us-ascii" else "café"
    document = tabledata('name="a" datatype="unicodeChar" arraysize="*"', *[text] * 1000)
    document = document.replace('version="1.0"?', f'version="1.0" encoding="{encoding}"?', 1)
    assert columns(document.encode(encoding)) == [["café"] * 1000]


def test_vot40_the_first_table_is_read_and_others_are_not():
    table = '<TABLE name="{0}"><FIELD name="{0}" datatype="int"/><DATA><TABLEDATA><TR><TD>{1}</TD></TR></TABLEDATA></DATA></TABLE>'
    document = (
        '<VOTABLE><RESOURCE type="meta"><PARAM name="x" datatype="int" value="3"/><RESOURCE>'
        f"{table.format('first', 1)}</RESOURCE></RESOURCE><RESOURCE>{table.format('second', 2) * 50}</RESOURCE></VOTABLE>"
    )
    reader, found = read(document)
    assert reader.name == "first"
    assert found.to_pydict() == {"first": [1]}


def test_vot38_elements_of_other_standards_are_ignored():
    document = tabledata('name="a" datatype="int"', "1").replace(
        "<TABLE>", '<m:VODML xmlns:m="http://www.ivoa.net/xml/mivot"><m:TABLE><m:FIELD/></m:TABLE></m:VODML><TABLE>'
    )
    assert columns(document) == [[1]]


def test_infos_before_and_behind_the_table_are_kept():
    document = write(BINARY2, header([field("a", "int")], Info("citation", "x", "text")), [], Overflow(3))
    reader, _ = read(document)
    assert [(info.name, info.value) for info in reader.infos] == [
        ("QUERY_STATUS", "OK"), ("citation", "x"), ("QUERY_STATUS", "OVERFLOW"),
    ]  # fmt: skip
    assert read(write(BINARY2, header(), [], Broken("gone")))[0].infos[-1] == Info("QUERY_STATUS", "ERROR", "gone")


def test_vot42_metadata_of_a_field_survive():
    document = tabledata(
        'name="ra" datatype="double" unit="deg" ucd="pos.eq.ra" utype="u:x" xtype="mine:x"><DESCRIPTION> Where </DESCRIPTION>'
        '<VALUES null="-99"><MIN value="0"/></VALUES>', "1", "-99"
    )  # fmt: skip
    reader, found = read(document)
    assert reader.fields == (field("ra", "double", None, "mine:x", unit="deg", ucd="pos.eq.ra", utype="u:x", description="Where"),)  # fmt: skip
    assert found["ra"].to_pylist() == [1.0, None]


@pytest.mark.parametrize("data", ["", "<DATA><TABLEDATA/></DATA>"])
def test_a_table_without_rows_has_fields_and_no_batch(data):
    reader = VOTableReader(io.BytesIO(votable(f'<FIELD name="a" datatype="int"/>{data}').encode()))
    assert [item.name for item in reader.fields] == ["a"]
    assert list(reader) == []


def test_whether_text_is_7_bit_is_known_at_the_end():
    document = tabledata(
        'name="a" datatype="char" arraysize="*"|name="b" datatype="unicodeChar" arraysize="*"|name="n" datatype="int"',
        *["plain|plain|1"] * 3000, "plain|é|2",
    )  # fmt: skip
    assert read(document)[0].is_ascii == (True, False, False)


def test_xtype_of_tap_1_0_means_timestamp_and_keeps_to_the_new_name():
    reader, found = read(
        tabledata('name="t" datatype="char" arraysize="*" xtype="adql:TIMESTAMP"', "2016-01-01T00:00:00")
    )
    assert reader.fields[0].type.xtype == "timestamp"
    assert found["t"].to_pylist() == [dt.datetime(2016, 1, 1)]


def test_a_lone_bit_is_a_boolean():
    reader, _ = read(tabledata('name="a" datatype="bit"', "1"))
    assert reader.fields[0].type == VOType(Datatype.BOOLEAN)


def test_a_lone_bit_that_is_written_comes_back():
    fields = [field("b", "bit")]
    for format_ in (BINARY2, TABLEDATA):
        document = write(format_, header(fields), [batch(fields, [[[True], [False], None]])])
        assert columns(document) == [[True, False, None]]


def test_a_timestamp_made_of_numbers_is_numbers():
    reader, found = read(tabledata('name="t" datatype="double" xtype="timestamp"', "2016.5"))
    assert reader.fields[0].type == VOType(Datatype.DOUBLE)
    assert found["t"].to_pylist() == [2016.5]


def test_text_of_fixed_length_is_counted_as_binary2_stores_it():
    document = tabledata('name="t" datatype="unicodeChar" arraysize="2"', "é", "😀")
    reader, found = read(document)
    assert found["t"].to_pylist() == ["é", "😀"]
    assert columns(write(BINARY2, header(reader.fields), found.to_batches())) == [["é", "😀"]]
    with pytest.raises(UploadError, match="row 1, column t: '😀😀' has more than 2 characters"):
        read(document.replace("é", "😀😀"))


def test_arraysize_1_of_older_writers_is_a_scalar():
    reader, found = read(tabledata('name="a" datatype="double" arraysize="1"', "1.5"))
    assert reader.fields[0].type == VOType(Datatype.DOUBLE)
    assert found["a"].to_pylist() == [1.5]


# Cells.


@pytest.mark.parametrize(
    ("attributes", "cells", "expected"),
    [
        ('datatype="boolean"', ["T", "t", "1", "true", "TRUE", "F", "f", "0", "false", "?", " ", ""], [True] * 5 + [False] * 4 + [None] * 3),
        ('datatype="int"', [" 5 ", "+5", "0x1F", "-0", "", "007"], [5, 5, 31, 0, None, 7]),
        ('datatype="short"', ["-32768", "0xFFFF"], [-32768, -1]),
        ('datatype="unsignedByte"', ["0", "255", "0xff"], [0, 255, 255]),
        ('datatype="long"', ["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
        ('datatype="double"', ["+Inf", "-Inf", "Inf", "Infinity", " 1e-3", "+.5", "5.", ""], [np.inf, -np.inf, np.inf, np.inf, 1e-3, 0.5, 5.0, None]),
        ('datatype="double" arraysize="2"', ["1 2", " 3\n4 ", ""], [[1, 2], [3, 4], None]),
        ('datatype="int" arraysize="2x*"', ["1 2 3 4", "", "5 6"], [[1, 2, 3, 4], None, [5, 6]]),
        ('datatype="boolean" arraysize="*"', ["T F 1", "f"], [[True, False, True], [False]]),
        ('datatype="bit" arraysize="4"', ["1010", "1 1 0 0"], [[True, False, True, False], [True, True, False, False]]),
        ('datatype="bit"', ["1", "0", ""], [True, False, None]),
        ('datatype="floatComplex"', ["1 -2", ""], [[1, -2], None]),
        ('datatype="char" arraysize="*"', ["a", " b ", ""], ["a", " b ", None]),
        ('datatype="char" arraysize="3x2"', ["ab cd ", ""], ["ab cd ", None]),
        ('datatype="char"', ["x", ""], ["x", None]),
        ('datatype="char" arraysize="*" xtype="timestamp"', ["2016-01-01", "2016-01-01T12:00:00Z", "2016-01-01 12:00:00.5", "2016-01-01T12:00:00.12345678", ""],
         [dt.datetime(2016, 1, 1), dt.datetime(2016, 1, 1, 12), dt.datetime(2016, 1, 1, 12, 0, 0, 500000), dt.datetime(2016, 1, 1, 12, 0, 0, 123456), None]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_vot11_to_15_cells_of_tabledata(attributes, cells, expected):
    assert columns(tabledata(f'name="x" {attributes}', *cells)) == [expected]


def test_not_a_number_is_a_value_in_tabledata():
    (values,) = columns(tabledata('name="x" datatype="float"', "NaN", "nan", ""))
    assert str(values) == "[nan, nan, None]"


@pytest.mark.parametrize(
    ("attributes", "null", "cells", "expected"),
    [
        ('datatype="int"', "-99", ["-99", "1"], [None, 1]),
        ('datatype="short"', "0x7FFF", ["32767", "1"], [None, 1]),
        ('datatype="double"', "-99.0", ["-99", "1"], [None, 1.0]),
        ('datatype="int"', "--", ["--", "1"], [None, 1]),
        ('datatype="char" arraysize="*"', "N/A", ["N/A", "x"], [None, "x"]),
    ],
)
def test_vot21_values_null_is_respected_in_tabledata(attributes, null, cells, expected):
    assert columns(tabledata(f'name="x" {attributes}><VALUES null="{null}"/>', *cells)) == [expected]


@pytest.mark.parametrize("kind", ["BINARY", "BINARY2"])
def test_vot21_values_null_is_respected_in_streams(kind):
    flags = b"" if kind == "BINARY" else b"\0"
    rows = b"".join(flags + struct.pack(">id", n, x) for n, x in [(-99, 1.0), (5, -1.0)])
    document = binary('name="n" datatype="int"><VALUES null="-99"/>|name="x" datatype="double"><VALUES null="-1"/>', rows, kind=kind)  # fmt: skip
    assert columns(document) == [[None, 5], [1.0, None]]


def test_vot16_in_binary_nan_and_empty_are_null():
    fields = 'name="x" datatype="float"|name="t" datatype="char" arraysize="*"|name="a" datatype="short" arraysize="*"'
    rows = struct.pack(">fI2sIh", 1.5, 2, b"ab", 1, 7) + struct.pack(">fII", float("nan"), 0, 0)
    assert columns(binary(fields, rows)) == [[1.5, None], ["ab", None], [[7], None]]


def test_vot17_in_binary2_nan_and_empty_are_values():
    fields = 'name="x" datatype="float"|name="t" datatype="char" arraysize="*"|name="a" datatype="short" arraysize="*"'
    rows = b"\0" + struct.pack(">fII", float("nan"), 0, 0) + b"\xe0" + struct.pack(">fII", 0, 0, 0)
    assert str(columns(binary(fields, rows, kind="BINARY2"))) == "[[nan, None], ['', None], [[], None]]"


@pytest.mark.parametrize(
    ("attributes", "cell", "expected"),
    [
        ('datatype="boolean"', b"T", True),
        ('datatype="boolean"', b"\0", None),
        ('datatype="char" arraysize="4"', b"ab\0\0", "ab"),
        ('datatype="char" arraysize="4"', b"ab  ", "ab  "),
        ('datatype="char" arraysize="4"', b"a\0bc", "a"),
        ('datatype="char" arraysize="*"', b"\0\0\0\2\xc3\xa9", "é"),  # UTF-8, as VOTable 1.6 has it
        ('datatype="char" arraysize="*"', b"\0\0\0\1\xe9", "é"),  # Latin-1, as old writers have it
        ('datatype="unicodeChar" arraysize="*"', b"\0\0\0\3\0a\x03\xb1\x4e\x2d", "aα中"),
        ('datatype="unicodeChar" arraysize="*"', b"\0\0\0\2\xd8\x3d\xde\x00", "😀"),
        ('datatype="unicodeChar" arraysize="2"', b"\0x\0\0", "x"),
        ('datatype="bit"', b"\x80", True),
        ('datatype="bit"', b"\x08", True),  # as astropy writes it
        ('datatype="bit"', b"\0", False),
        ('datatype="bit" arraysize="10"', b"\xff\x40", [True] * 8 + [False, True]),
        ('datatype="bit" arraysize="*"', b"\0\0\0\3\xa0", [True, False, True]),
        ('datatype="unsignedByte" arraysize="*"', b"\0\0\0\2\x00\xff", [0, 255]),
        ('datatype="doubleComplex" arraysize="*"', b"\0\0\0\1" + struct.pack(">dd", 1, -2), [1, -2]),
        ('datatype="char" arraysize="19" xtype="timestamp"', b"2016-01-01T12:00:00", dt.datetime(2016, 1, 1, 12)),
    ],
    ids=lambda value: value if isinstance(value, str) and "=" in value else "",
)  # fmt: skip
def test_vot18_cells_of_binary(attributes, cell, expected):
    assert columns(binary(f'name="x" {attributes}|name="n" datatype="short"', (cell + b"\0\7") * 3)) == [
        [expected] * 3,
        [7] * 3,
    ]


def test_base64_may_have_white_space_anywhere():
    document = binary('name="n" datatype="int"', struct.pack(">1000i", *range(1000)))
    text = base64.b64encode(struct.pack(">1000i", *range(1000))).decode()
    spaced = document.replace(text, "\n ".join(text[i : i + 7] for i in range(0, len(text), 7)))
    assert spaced != document
    assert columns(spaced) == columns(document) == [list(range(1000))]


# Wrong documents.


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "not well-formed XML: no element found"),
        ("hello", "not well-formed XML"),
        ("<html/>", "not a VOTable: its root element is 'html'"),
        ('<x:y xmlns:x="urn:z"/>', "not a VOTable: its root element is 'urn:z y'"),
        ("<VOTABLE/>", "holds no TABLE"),
        ("<VOTABLE><RESOURCE/></VOTABLE>", "holds no TABLE"),
        ("<?xml version='1.0' encoding='aTF-8'?><VOTABLE/>", "encoding cannot be read here; send it as UTF-8"),
        ("<?xml version='1.0' encoding='shift_jis'?><VOTABLE/>", "encoding cannot be read here; send it as UTF-8"),
        ("<?xml version='1.0' encoding='base64'?><VOTABLE/>", "encoding cannot be read here; send it as UTF-8"),
        (error_document("quota used up").decode().partition("\n")[2], "no table but an error: quota used up"),
        (votable(""), "the table has no FIELD"),
        ('<VOTABLE version="1.4"><RESOURCE><FIELD name="a"/></RESOURCE></VOTABLE>', "line 1: a FIELD stands outside of a TABLE"),
        ('<VOTABLE version="1.4"><RESOURCE><DATA/></RESOURCE></VOTABLE>', "line 1: a DATA stands outside of a TABLE"),
        (votable("<DATA><TABLEDATA/></DATA>"), "the table has no FIELD"),
        (votable('<FIELD datatype="int"/>'), "FIELD number 1 has no name"),
        (votable('<FIELD name="a"/>'), "column a: None is not a datatype of VOTable; use one of boolean, bit"),
        (votable('<FIELD name="a" datatype="string"/>'), "column a: 'string' is not a datatype"),
        (votable('<FIELD name="a" datatype="int" arraysize="*x2"/>'), r"column a: arraysize='\*x2'"),
        (votable('<FIELD name="a" datatype="int" arraysize="-1"/>'), "column a: arraysize='-1'"),
        (votable('<FIELD name="a" datatype="int" arraysize="0"/>'), "column a: arraysize='0'"),
        (tabledata('name="a" datatype="int"', "1")[:-60], "not well-formed XML"),
        (tabledata('name="a" datatype="int"', "1", "1|2"), "line 4: a row has more than 1 TDs, but there are 1 FIELDs"),
        (tabledata('name="a" datatype="int"|name="b" datatype="int"', "1|2", "1"), "a row has 1 TDs, but there are 2 FIELDs"),
        (tabledata('name="ra" datatype="double"', "1", "2", "abc"), "row 3, column ra: 'abc' is not a number"),
        (tabledata('name="a" datatype="int"', "1", "1.5"), "row 2, column a: '1.5' is not a whole number of 32 bits"),
        (tabledata('name="a" datatype="short"', "40000"), "row 1, column a: '40000' is not a whole number from -32768"),
        (tabledata('name="a" datatype="unsignedByte"', "1", "256"), "row 2, column a: '256' is not a whole number from 0 to 255"),
        (tabledata('name="a" datatype="long"', "9223372036854775808"), "is not a whole number of 64 bits"),
        (tabledata('name="a" datatype="boolean"', "T", "yes"), "row 2, column a: 'yes' is not a truth value"),
        (tabledata('name="a" datatype="char" arraysize="2"', "ab", "abc"), "row 2, column a: 'abc' has more than 2 characters"),
        (tabledata('name="a" datatype="double" arraysize="2"', "1 2", "1 2 3"), "row 2, column a: the cell has 3 numbers, datatype double and arraysize 2 mean 2"),
        (tabledata('name="a" datatype="int" arraysize="2x*"', "1 2 3"), "has 3 numbers, .* mean a multiple of 2"),
        (tabledata('name="a" datatype="int" arraysize="*"', "1", "2 3 x"), "row 2, column a: 'x' is not a whole number"),
        (tabledata('name="a" datatype="bit" arraysize="*"', "1012"), "row 1, column a: '2' is not a truth value"),
        (tabledata('name="t" datatype="char" arraysize="*" xtype="timestamp"', "2016-01-01", "yesterday"), "row 2, column t: 'yesterday' is not a timestamp"),
        (tabledata('name="t" datatype="char" arraysize="*" xtype="timestamp"', "2016-02-30"), "row 1, column t: '2016-02-30' is not a timestamp"),
        (votable('<FIELD name="a" datatype="int"/><DATA><TABLEDATA><TR><TD encoding="base64">AAAA</TD></TR></TABLEDATA></DATA>'), "encoding=base64 cannot be read"),
        (votable('<FIELD name="a" datatype="int"/><DATA><FITS extnum="1"><STREAM href="x.fits"/></FITS></DATA>'), "FITS file cannot be read here; send BINARY2"),
        (votable('<FIELD name="a" datatype="int"/><DATA><BINARY><STREAM href="file:///etc/passwd"/></BINARY></DATA>'), "STREAM with href is not followed"),
        (votable('<FIELD name="a" datatype="int"/><DATA><BINARY><STREAM encoding="gzip">x</STREAM></BINARY></DATA>'), 'must have encoding="base64"'),
        (votable('<FIELD name="a" datatype="int"/><DATA><BINARY><STREAM encoding="base64">!!!!</STREAM></BINARY></DATA>'), "not valid base64"),
        (votable('<FIELD name="a" datatype="int"/><DATA><BINARY><STREAM encoding="base64">AAé=</STREAM></BINARY></DATA>'), "not valid base64"),
        (votable('<FIELD name="a" datatype="int"/><DATA><BINARY><STREAM encoding="base64">AAAAA</STREAM></BINARY></DATA>'), "not valid base64: it ends in the middle"),
        (binary('name="a" datatype="int"', b"\0\0\0\1\0\0"), "ends in the middle of row 2"),
        (binary('name="a" datatype="boolean"', b"TX"), "row 2, column a: byte 88 is not a boolean"),
        (binary('name="a" datatype="double" arraysize="*"', b"\xff\xff\xff\xff"), "row 1 claims an array of more than"),
        (binary('name="a" datatype="double" arraysize="999999999x999999999"', b"\0"), "column a: arraysize .* means cells of more than"),
        (tabledata('name="a" datatype="int"', "1").replace("<TABLE>", '<TABLE nrows="5">'), "nrows=5, but it has 1 rows"),
        (tabledata('name="a" datatype="int"', "1").replace("<TABLE>", '<TABLE nrows="many">'), "nrows='many', which is not a number"),
    ],
)  # fmt: skip
def test_wrong_documents_are_refused_with_what_to_change(document, message):
    with pytest.raises(UploadError, match=message):
        read(document)


def test_a_bad_cell_far_down_is_named_by_its_row():
    rows = ["1.5"] * 150_000
    rows[123_455] = "oops"
    with pytest.raises(UploadError, match="row 123456, column x: 'oops' is not a number"):
        read(tabledata('name="x" datatype="double"', *rows))


def test_a_missing_cell_far_down_is_refused_and_not_shifted():
    rows = ["1|2"] * 50_000
    rows[40_000], rows[40_001] = "1", "1|2|3"  # the numbers of tags still add up
    with pytest.raises(UploadError, match="a row has 1 TDs, but there are 2 FIELDs"):
        read(tabledata('name="a" datatype="int"|name="b" datatype="int"', *rows))


# Hostile documents (VOT-41, reliability A9).


ROW = tabledata('name="a" datatype="char" arraysize="*"', "&x;")


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE VOTABLE>",
        '<!DOCTYPE VOTABLE SYSTEM "http://us-vo.org/xml/VOTable.dtd">',
        '<!DOCTYPE VOTABLE [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE VOTABLE [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>',
        '<!DOCTYPE VOTABLE [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x">%p;]>',
    ],
)
def test_any_doctype_is_refused(doctype):
    with pytest.raises(UploadError, match="DOCTYPE is refused"):
        read(ROW.replace("<VOTABLE", f"{doctype}<VOTABLE", 1))


def test_an_undefined_entity_is_refused():
    with pytest.raises(UploadError, match="undefined entity"):
        read(ROW)


def test_deep_nesting_is_refused():
    with pytest.raises(UploadError, match="nested deeper than 64"):
        read("<VOTABLE>" + "<RESOURCE>" * 100_000)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (tabledata('name="a" datatype="int"', "<b>" * 100_000), "nested deeper than 64"),
        ("<VOTABLE>" + '<INFO name="a" value="b"/>' * 2000, "more than 1000 INFOs"),
        ("<VOTABLE>" + "".join(f"<e{i}/>" for i in range(20_000)), "more than 10000 different names"),
        ("<VOTABLE>" + "".join(f'<e a{i}=""/>' for i in range(20_000)), "more than 10000 different names"),
        (tabledata('name="a" datatype="int"', "1" + "</TD><TD>1" * 100_000), "more than 1 TDs"),
    ],
    ids=["elements in a cell", "infos", "elements", "attributes", "cells"],
)
def test_floods_are_refused_early(document, message):
    with pytest.raises(UploadError, match=message):
        read(document)


def test_a_huge_attribute_is_refused_early():
    with pytest.raises(UploadError, match="tag or comment of more than"):
        read(f'<VOTABLE><RESOURCE name="{"x" * 10_000_000}"/></VOTABLE>')


def test_a_huge_cell_is_refused():
    document = tabledata('name="a" datatype="char" arraysize="*"', *["x"] * 1000, "y" * 3_000_000)
    with pytest.raises(UploadError, match="cell of more than 1000000 bytes"):
        read(document, ReaderLimits(max_cell_bytes=1_000_000))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ReaderLimits(max_bytes=300), "more than 300 bytes"),
        (ReaderLimits(max_rows=9), "more than 9 rows"),
        (ReaderLimits(max_columns=1), "more than 1 columns"),
    ],
)
@pytest.mark.parametrize("format_", [BINARY2, TABLEDATA], ids=lambda format_: format_.key)
def test_limits_refuse_by_name(limits, message, format_):
    fields = [field("a", "int"), field("b", "int")]
    document = write(format_, header(fields), [batch(fields, [list(range(10))] * 2)])
    with pytest.raises(UploadError, match=message):
        read(document, limits)
    assert read(document, ReaderLimits(max_bytes=len(document), max_rows=10, max_columns=2))[0].rows == 10


def test_many_columns_are_read():
    fields = [field(f"c{i}", "float") for i in range(1000)]
    document = write(TABLEDATA, header(fields), [batch(fields, [[1.5, None] * 50] * 1000)])
    assert read(document)[1].shape == (100, 1000)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.binary(max_size=6), st.sampled_from([BINARY2, TABLEDATA]))
@example(30, b"a", BINARY2)  # encoding="aTF-8"
@example(332, b"  ", BINARY2)  # TABLE's own tag gone: its FIELDs stand nowhere
def test_any_damage_is_an_upload_error_or_harmless(place, damage, format_):
    document = write(format_, header(), [every_type()])
    place %= len(document)
    with contextlib.suppress(UploadError):
        read(document[:place] + damage + document[place + len(damage) :])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["BINARY", "BINARY2"]))
def test_any_bytes_in_a_stream_are_an_upload_error_or_rows(data, kind):
    attributes = "|".join(
        f'name="{item.name}" datatype="{item.type.datatype.value}"'
        + (f' arraysize="{item.type.arraysize}"' if item.type.arraysize else "")
        for item in FIELDS
    )
    with contextlib.suppress(UploadError):
        read(binary(attributes, data, kind=kind))


# Cost.


class Endless(io.RawIOBase):
    """VOTable of any length that is never in memory as a whole."""

    def __init__(self, blocks: int) -> None:
        row = "<TR><TD>123.456</TD><TD>some text</TD></TR>\n"
        self._head = votable(
            '<FIELD name="x" datatype="double"/><FIELD name="t" datatype="char" arraysize="*"/><DATA><TABLEDATA>!</TABLEDATA></DATA>'
        ).encode()
        self._parts = [self._head.partition(b"!")[0], *[row.encode() * 20_000] * blocks, self._head.partition(b"!")[2]]
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest and self._parts:
            self._rest = self._parts.pop(0)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def test_memory_does_not_grow_with_rows():
    peaks = []
    for blocks in (5, 40):
        tracemalloc.start()
        arrow = 0
        for item in VOTableReader(Endless(blocks), ReaderLimits.unlimited()):
            arrow = max(arrow, pa.total_allocated_bytes())
            assert item.num_rows
        peaks.append(tracemalloc.get_traced_memory()[1] + arrow)
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (8 << 20)


@pytest.mark.parametrize(("format_", "least"), [(BINARY2, 80_000), (TABLEDATA, 25_000)], ids=["b2", "td"])
def test_reading_is_fast(format_, least):
    # Measured on two cores: 1,070,000 rows/s (BINARY2) and 350,000 rows/s (TABLEDATA) of 8 columns.
    fields = [field(f"c{i}", "double") for i in range(7)] + [field("t", "char", "*")]
    values = [[i / 7 for i in range(50_000)]] * 7 + [[f"star {i}" for i in range(50_000)]]
    document = write(format_, header(fields), [batch(fields, values)])
    start = time.perf_counter()
    assert read(document)[0].rows == 50_000
    assert 50_000 / (time.perf_counter() - start) > least


def test_values_of_this_test_fit():
    assert len(VALUES) == len(FIELDS)
