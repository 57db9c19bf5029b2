import io
import json
import math

import pyarrow.json
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.vo.formats import JSON, NDJSON
from gateway.vo.formats.base import Broken, Info, Overflow
from tests.support.every_type import COLUMNS, FIELDS, batch, every_type, field, header, write


def plain(item, value):
    """What JSON makes of a value."""
    if value is None:
        return None
    if item.type.is_timestamp:
        return value.isoformat()
    if item.type.datatype.value.endswith("Complex"):
        pairs = [[plain_number(re), plain_number(im)] for re, im in zip(value[::2], value[1::2], strict=True)]
        return pairs if item.type.is_array else pairs[0]
    return [plain_number(cell) for cell in value] if isinstance(value, list) else plain_number(value)


def plain_number(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def expected_rows() -> list[list]:
    return [[plain(item, values[row]) for item, values in COLUMNS] for row in range(4)]


def test_every_value_comes_back_from_json():
    document = json.loads(write(JSON, header(), [every_type()]))
    for row, expected in zip(document["data"], expected_rows(), strict=True):
        for item, found, value in zip(FIELDS, row, expected, strict=True):
            assert equal(item, found, value), (item.name, found, value)


def test_every_value_comes_back_from_ndjson():
    lines = write(NDJSON, header(), [every_type()]).decode().split("\n")
    assert lines.pop() == ""
    for line, expected in zip(lines, expected_rows(), strict=True):
        row = json.loads(line)
        assert list(row) == [item.name for item in FIELDS]
        for item, found, value in zip(FIELDS, row.values(), expected, strict=True):
            assert equal(item, found, value), (item.name, found, value)


def equal(item, found, value) -> bool:
    if item.type.datatype.value == "float" and value is not None:  # as many digits as float needs
        pairs = zip(found, value, strict=True) if isinstance(value, list) else [(found, value)]
        return all(one == two or math.isclose(one, two, rel_tol=1e-7) for one, two in pairs)
    return found == value and repr(found == 0 and math.copysign(1, found)) == repr(
        value == 0 and math.copysign(1, value)
    )


@settings(deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.lists(st.text(st.characters(codec="utf-8")), min_size=1),
)
def test_numbers_keep_every_bit_and_text_every_character(doubles, longs, texts):
    for kind, arraysize, values in (("double", None, doubles), ("long", None, longs), ("unicodeChar", "*", texts)):
        item = field("x", kind, arraysize)
        rows = [batch([item], [values])]
        found = [row[0] for row in json.loads(write(JSON, header([item]), rows))["data"]]
        assert repr(list(map(type(values[0]), found))) == repr(values)
        lines = write(NDJSON, header([item]), rows).splitlines() if kind != "unicodeChar" else None
        if lines is not None:
            assert [json.loads(line)["x"] for line in lines] == found


def test_float_keeps_its_bits_in_few_digits():
    item = field("x", "float")
    assert b"[0.1],\n[-0.0],\n[1e-7]" in write(JSON, header([item]), [batch([item], [[0.1, -0.0, 1e-7]])])


def test_the_document_describes_its_columns():
    item = field("ra", "double", unit="deg", ucd="pos.eq.ra", utype="u", description='All "&" <types>')
    when = field("t", "char", "*", "timestamp")
    found = json.loads(write(JSON, header([item, when], Info("QUERY", 'SELECT "x"'))))
    assert found["metadata"] == [
        {"name": "ra", "datatype": "double", "unit": "deg", "ucd": "pos.eq.ra", "utype": "u",
         "description": 'All "&" <types>'},
        {"name": "t", "datatype": "char", "arraysize": "*", "xtype": "timestamp"},
    ]  # fmt: skip
    assert found["infos"] == [{"name": "QUERY", "value": 'SELECT "x"'}]
    assert found["data"] == []


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_the_status_stands_at_the_end(batches):  # DALI-46, DALI-47
    whole = json.loads(write(JSON, header(), [every_type()] * batches))
    cut = json.loads(write(JSON, header(), [every_type()] * batches, Overflow(7)))
    broken = json.loads(write(JSON, header(), [every_type()] * batches, Broken('gone "away"\ud800')))
    assert whole["query_status"] == {"value": "OK"}
    assert cut["query_status"]["value"] == "OVERFLOW"
    assert "7" in cut["query_status"]["message"]
    assert broken["query_status"] == {"value": "ERROR", "message": 'gone "away"?'}
    assert len(whole["data"]) == len(broken["data"]) == 4 * batches
    assert list(whole)[-1] == "query_status"


def test_ndjson_tells_columns_of_the_same_name_apart():
    fields = [field("a", "int"), field("a", "int"), field('q"uote', "int")]
    line = write(NDJSON, header(fields), [batch(fields, [[1], [2], [3]])])
    assert line == b'{"a":1,"a_2":2,"q\\"uote":3}\n'


def test_ndjson_of_no_rows_is_nothing():
    assert write(NDJSON, header()) == b""


def test_one_line_is_one_row_to_readers_of_ndjson():
    fields = [field("n", "long"), field("t", "unicodeChar", "*"), field("x", "double")]
    rows = [list(range(20_000)), ["a\nb\u2028c"] * 20_000, [0.5, None] * 10_000]
    document = write(NDJSON, header(fields), [batch(fields, rows)])
    table = pyarrow.json.read_json(io.BytesIO(document))
    assert table["n"].to_pylist() == rows[0]
    assert table["t"][0].as_py() == "a\nb\u2028c"
    assert table["x"].to_pylist() == rows[2]


def test_slices_are_written_without_their_neighbours():
    sliced = every_type().slice(1, 2)
    alone = batch(FIELDS, [values[1:3] for _, values in COLUMNS])
    for form in (JSON, NDJSON):
        assert write(form, header(), [sliced]) == write(form, header(), [alone])
