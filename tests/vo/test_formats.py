import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.errors import ParameterError, ServiceError
from gateway.vo.formats import (
    ARROW,
    BINARY,
    BINARY2,
    CSV,
    FITS,
    FORMATS,
    HTML,
    JSON,
    NDJSON,
    PARQUET,
    TABLEDATA,
    TSV,
    VOTABLE,
    find,
)
from gateway.vo.formats.base import Broken, Info, Overflow, TruncatedError, arrow_schema, arrow_type
from gateway.vo.tableset import Datatype, VOType
from tests.support.every_type import (
    FIELDS,
    VALUES,
    astropy_fits,
    astropy_table,
    batch,
    every_type,
    field,
    header,
    write,
)

BINARY2_TYPE = "application/x-votable+xml;serialization=BINARY2"
BINARY_TYPE = "application/x-votable+xml;serialization=BINARY"
TABLEDATA_TYPE = "application/x-votable+xml;serialization=TABLEDATA"


@pytest.mark.parametrize(
    ("text", "format_", "content_type"),
    [
        ("votable", VOTABLE, "application/x-votable+xml"),
        ("VOTable", VOTABLE, "application/x-votable+xml"),
        ("votable/b2", BINARY2, BINARY2_TYPE),
        ("votable/td", TABLEDATA, TABLEDATA_TYPE),
        ("application/x-votable+xml", VOTABLE, "application/x-votable+xml"),
        ("application/x-votable xml", VOTABLE, "application/x-votable+xml"),  # + became a blank on the way
        ("application/x-votable+xml; serialization=binary2", BINARY2, "application/x-votable+xml;serialization=binary2"),
        ("Application/X-VOTable+XML;serialization=TABLEDATA", TABLEDATA, TABLEDATA_TYPE),
        ("application/x-votable+xml;charset=utf-8", VOTABLE, "application/x-votable+xml;charset=utf-8"),
        ("text/xml", TABLEDATA, "text/xml"),
        ("text/xml;serialization=BINARY2", BINARY2, "text/xml;serialization=BINARY2"),
        ("csv", CSV, "text/csv;header=present"),
        ("text/csv", CSV, "text/csv;header=present"),
        ("text/csv;header=present", CSV, "text/csv;header=present"),
        ("tsv", TSV, "text/tab-separated-values"),
        ("text/tab-separated-values", TSV, "text/tab-separated-values"),
        ("parquet", PARQUET, "application/vnd.apache.parquet"),
        ("application/vnd.apache.parquet", PARQUET, "application/vnd.apache.parquet"),
        ("votable/b", BINARY, BINARY_TYPE),
        ("application/x-votable+xml;serialization=BINARY", BINARY, BINARY_TYPE),
        ("text/xml;serialization=binary", BINARY, "text/xml;serialization=binary"),
        ("fits", FITS, "application/fits"),
        ("application/fits", FITS, "application/fits"),
        ("image/fits", FITS, "image/fits"),
        ("JSON", JSON, "application/json"),
        ("application/json;charset=utf-8", JSON, "application/json;charset=utf-8"),
        ("ndjson", NDJSON, "application/x-ndjson"),
        ("jsonl", NDJSON, "application/x-ndjson"),
        ("application/x-ndjson", NDJSON, "application/x-ndjson"),
        ("arrow", ARROW, "application/vnd.apache.arrow.stream"),
        ("application/vnd.apache.arrow.stream", ARROW, "application/vnd.apache.arrow.stream"),
        ("html", HTML, "text/html"),
        ("text/html", HTML, "text/html"),
    ],
)  # fmt: skip
def test_dali33_to_35_response_format_selects_format_and_content_type(text, format_, content_type):
    assert find(text) == (format_, content_type)


@pytest.mark.parametrize(
    "text", ["xlsx", "nonsense", "", ";", "fits;x=1", "application/x-votable+xml;serialization=FITS"]
)
def test_an_unknown_format_is_refused_with_a_list_of_those_that_are_served(text):
    with pytest.raises(ParameterError, match=r"use one of votable, application/x-votable\+xml, .*parquet"):
        find(text)


def test_file_names_tell_the_formats_apart_that_are_not_votable():
    assert {form.key: form.extension for form in FORMATS} == {
        "votable": ".vot", "votable/b2": ".vot", "votable/b": ".vot", "votable/td": ".vot", "csv": ".csv", "tsv": ".tsv", "fits": ".fits",
        "json": ".json", "ndjson": ".ndjson", "arrow": ".arrows", "parquet": ".parquet", "html": ".html",
    }  # fmt: skip


def test_every_advertised_name_selects_its_format():
    for format_ in FORMATS:
        for name in (format_.key, format_.media_type, *format_.aliases):
            assert find(name)[0].key == format_.key


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (VOType(Datatype.BOOLEAN), pa.bool_()),
        (VOType(Datatype.BIT), pa.list_(pa.bool_())),
        (VOType(Datatype.BIT, "*"), pa.list_(pa.bool_())),
        (VOType(Datatype.UNSIGNED_BYTE), pa.int16()),
        (VOType(Datatype.LONG), pa.int64()),
        (VOType(Datatype.FLOAT, "2x3"), pa.list_(pa.float32())),
        (VOType(Datatype.FLOAT_COMPLEX), pa.list_(pa.float32())),
        (VOType(Datatype.CHAR, "*"), pa.string()),
        (VOType(Datatype.CHAR, "*", "timestamp"), pa.timestamp("us")),
    ],
)
def test_canonical_types(type_, expected):
    assert arrow_type(type_) == expected


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.key)
def test_a_batch_that_does_not_fit_the_fields_is_a_fault_of_ours(format_):
    writer = format_.make(header([field("a", "int"), field("b", "int")]))
    writer.start()
    with pytest.raises(ServiceError):
        writer.batch(batch([field("a", "int")], [[1]]))
    with pytest.raises(ServiceError, match="'b'"):
        writer.batch(batch([field("a", "int"), field("b", "char", "*")], [[1], ["x"]]))


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.key)
def test_a_table_in_many_batches_is_the_same_table(format_):
    whole = every_type()
    parts = [whole.slice(i, 1) for i in range(whole.num_rows)]
    one, many = write(format_, header(), [whole]), write(format_, header(), parts)
    if format_ is PARQUET:
        assert str(pq.read_table(io.BytesIO(one)).to_pylist()) == str(pq.read_table(io.BytesIO(many)).to_pylist())
    elif format_ is ARROW:
        one, many = (pa.ipc.open_stream(document).read_all().to_pylist() for document in (one, many))
        assert str(one) == str(many)
    elif format_ is FITS:  # the heap is in another order
        one, many = (astropy_fits(document) for document in (one, many))
        assert all(str(one[name]) == str(many[name]) for name in one.names)
    else:
        assert b"".join(one.split()) == b"".join(many.split())


def test_csv_has_names_then_rows():
    data = write(CSV, header([field("a", "int"), field("b, c", "char", "*")]), [
        batch([field("a", "int"), field("b, c", "char", "*")], [[1, None], ["x", 'q"q']])
    ])  # fmt: skip
    assert data == b'a,"b, c"\n1,x\n,"q""q"\n'


def test_csv_without_names_when_the_media_type_says_so():
    format_, content_type = find("text/csv;header=absent")
    fields = [field("a", "int")]
    assert content_type == "text/csv;header=absent"
    assert write(format_, header(fields), [batch(fields, [[1]])]) == b"1\n"


def test_csv_tells_null_from_empty_text():
    fields = [field("a", "char", "*"), field("b", "int")]
    assert write(CSV, header(fields), [batch(fields, [["", None], [1, 2]])]) == b'a,b\n"",1\n,2\n'


def test_csv_of_one_column_has_no_empty_lines():
    fields = [field("a", "int")]
    assert write(CSV, header(fields), [batch(fields, [[1, None, 3]])]) == b'a\n1\n""\n3\n'


def test_csv_cells_come_back_by_the_standard_library():
    rows = list(csv.DictReader(io.StringIO(write(CSV, header(), [every_type()]).decode(), newline="")))
    first, second, third, last = rows
    assert [row["source_id"] for row in rows] == ["6917528443525529728", str(-(2**63)), str(2**63 - 1), ""]
    assert [float(row["ra"]) for row in rows[:3]] == [0.1 + 0.2, float("-inf"), 5e-324]
    assert (first["flag"], second["flag"]) == ("true", "false")
    assert second["text"] == '  <b> & "q" ,\t ]]> '
    assert third["unicode"] == "line\nfeed\r"
    assert second["when"] == "2016-01-01T12:30:59.123456"
    assert second["matrix"] == "0.1 NaN Infinity -Infinity"
    assert set(last.values()) == {""}


def test_tap57_tsv_has_no_tab_or_line_end_inside_a_cell():
    lines = write(TSV, header(), [every_type()]).decode().split("\n")
    assert len(lines) == 6
    assert {len(line.split("\t")) for line in lines[:-1]} == {len(FIELDS)}


@pytest.mark.parametrize("format_", [CSV, TSV, NDJSON, FITS, ARROW, PARQUET], ids=lambda format_: format_.key)
def test_a_format_that_cannot_tell_a_broken_table_refuses_to_end_it(format_):
    with pytest.raises(TruncatedError, match="disk full"):
        write(format_, header(), [every_type()], Broken("disk full"))


@pytest.mark.parametrize("format_", [CSV, TSV], ids=lambda format_: format_.key)
def test_tap60_an_overflowed_delimited_table_is_a_valid_table(format_):
    assert write(format_, header(), [every_type()], Overflow(4)) == write(format_, header(), [every_type()])


def test_parquet_comes_back_equal():
    table = pq.read_table(io.BytesIO(write(PARQUET, header(), [every_type()])))
    assert str(table.to_pylist()) == str(every_type().to_pylist())  # as text, since NaN does not equal itself
    assert table.schema.field("byte").type == pa.uint8()


def test_parquet_carries_the_votable_of_its_fields():
    data = write(PARQUET, header(FIELDS, Info("citation", "doi:1")), [every_type()], Overflow(4))
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata.metadata
    assert metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    content = metadata[b"IVOA.VOTable-Parquet.content"]
    assert content.count(b"<FIELD ") == len(FIELDS)
    assert b'unit="deg"' in content
    assert b'value="doi:1"' in content
    assert b"<DATA" not in content
    assert metadata[b"QUERY_STATUS"] == b"OVERFLOW"


def test_astropy_understands_the_metadata_in_parquet():
    fields = (field("ra", "double", unit="deg", ucd="pos.eq.ra", description="Right ascension"), field("id", "long"))
    metadata = pq.read_metadata(io.BytesIO(write(PARQUET, header(fields), [batch(fields, [[1.5], [2**62]])]))).metadata
    ra, _ = astropy_table(metadata[b"IVOA.VOTable-Parquet.content"]).fields
    assert (ra.name, str(ra.unit), ra.ucd, ra.description) == ("ra", "deg", "pos.eq.ra", "Right ascension")


def test_parquet_flows_in_row_groups():
    fields = [field("x", "double")]
    writer = PARQUET.make(header(fields))
    sizes = [len(writer.start())]
    rows = batch(fields, [[float(i) for i in range(524_288)]])  # 4 MiB
    sizes += [len(writer.batch(rows)) for _ in range(10)]
    assert sizes[0] == 4
    assert sum(size > 0 for size in sizes[1:]) == 2


def test_parquet_of_no_rows_has_all_columns():
    table = pq.read_table(io.BytesIO(write(PARQUET, header())))
    assert table.num_rows == 0
    assert table.column_names == [item.name for item in FIELDS]


def test_repeated_names_are_kept_by_place():
    fields = [field("a", "int"), field("a", "char", "*")]
    assert write(CSV, header(fields), [batch(fields, [[1], ["x"]])]) == b"a,a\n1,x\n"
    assert (
        pq.ParquetFile(io.BytesIO(write(PARQUET, header(fields), [batch(fields, [[1], ["x"]])]))).metadata.num_rows == 1
    )


def test_values_and_fields_of_this_test_fit():
    assert len(VALUES) == len(FIELDS) == len(arrow_schema(FIELDS))
