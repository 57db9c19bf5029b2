"""Arrow streams and Parquet: values and metadata as pyarrow reads them."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.vo.formats import ARROW, FORMATS, PARQUET
from gateway.vo.formats.base import Info, Overflow
from tests.support.every_type import COLUMNS, astropy_table, every_type, field, header, is_schema_valid, votlint, write


def read(form, document: bytes) -> pa.Table:
    return pa.ipc.open_stream(document).read_all() if form is ARROW else pq.read_table(io.BytesIO(document))


COLUMNAR = pytest.mark.parametrize("form", [ARROW, PARQUET], ids=lambda form: form.key)


@COLUMNAR
def test_every_value_comes_back(form):
    table = read(form, write(form, header(), [every_type()]))
    assert table.column_names == [item.name for item, _ in COLUMNS]
    assert table["byte"].type == pa.uint8()
    for item, values in COLUMNS:
        wanted = pa.array(values, table[item.name].type).to_pylist()
        assert repr(table[item.name].to_pylist()) == repr(wanted), item.name
        assert table[item.name].null_count == 1


@COLUMNAR
def test_columns_may_be_null(form):
    assert all(column.nullable for column in read(form, write(form, header(), [every_type()])).schema)


def test_an_arrow_stream_describes_its_columns():
    item = field("ra", "double", unit="deg", ucd="pos.eq.ra", utype="u", description="Größe")
    shape = field("c", "double", "3", "circle")
    found = read(ARROW, write(ARROW, header([item, shape], Info("QUERY", "SELECT é")))).schema
    assert found.field("ra").metadata == {
        b"datatype": b"double", b"unit": b"deg", b"ucd": b"pos.eq.ra", b"utype": b"u", b"description": "Größe".encode(),
    }  # fmt: skip
    assert found.field("c").metadata == {b"datatype": b"double", b"arraysize": b"3", b"xtype": b"circle"}
    assert found.metadata == {b"QUERY": "SELECT é".encode()}


@pytest.mark.parametrize(("ending", "status"), [(None, b"OK"), (Overflow(4), b"OVERFLOW")])
def test_the_last_batch_of_an_arrow_stream_has_the_status(ending, status):  # DALI-46
    reader = pa.ipc.open_stream(write(ARROW, header(), [every_type()], ending))
    batches = []
    while True:
        try:
            batches.append(reader.read_next_batch_with_custom_metadata())
        except StopIteration:
            break
    assert [rows.batch.num_rows for rows in batches] == [4, 0]
    assert batches[-1].custom_metadata == {b"QUERY_STATUS": status}


def test_an_arrow_stream_flows_batch_by_batch():
    writer = ARROW.make(header())
    sent = writer.start() + writer.batch(every_type())
    assert pa.ipc.open_stream(sent).read_next_batch().num_rows == 4
    assert len(writer.batch(every_type())) > 1000


def test_voparquet_has_the_table_without_its_data(tmp_path):
    document = write(PARQUET, header(description="All & <types>"), [every_type()])
    metadata = pq.read_schema(io.BytesIO(document)).metadata
    votable = metadata[b"IVOA.VOTable-Parquet.content"]
    assert metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    assert is_schema_valid(votable)
    assert b"<DATA" not in votable
    found = astropy_table(votable, verify="ignore").fields
    assert [item.name for item in found] == [item.name for item, _ in COLUMNS]
    assert {str(item.unit) for item in found if item.ucd == "pos.eq.ra;meta.main"} == {"deg"}
    assert "ERROR" not in votlint(votable, tmp_path / "x.vot")


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.key)
def test_text_that_is_no_unicode_in_a_description_breaks_no_format(form):
    item = field("x", "int", description="\ud800", unit="\udfff", ucd="\ud800")
    assert isinstance(write(form, header([item], Info("a\ud800", "\ud800"))), bytes)
