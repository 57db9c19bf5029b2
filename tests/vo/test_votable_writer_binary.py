"""What BINARY has of its own; `test_votable_writer` has what it shares."""

import io
from base64 import b64decode

import numpy as np
import pyarrow as pa
import pytest
from lxml import etree

from gateway.errors import NotSupportedError
from gateway.vo.formats import BINARY
from gateway.vo.tableset import Datatype
from gateway.vo.votable.document import NAMESPACE
from gateway.vo.votable.nulls import NULL_VALUES
from gateway.vo.votable.reader import VOTableReader
from tests.support.every_type import (
    FIELDS,
    VALUES,
    astropy_table,
    batch,
    every_type,
    field,
    header,
    is_schema_valid,
    votlint,
    write,
)

REALS = {Datatype.FLOAT, Datatype.DOUBLE, Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX}
V = f"{{{NAMESPACE}}}"


def stream(document: bytes) -> bytes:
    return b64decode(etree.fromstring(document).find(f".//{V}BINARY/{V}STREAM").text)


def test_vot16_rows_are_cells_without_flags():
    fields = [field("a", "short"), field("b", "char", "*"), field("c", "double"), field("d", "boolean")]
    document = write(BINARY, header(fields), [batch(fields, [[1, None], ["xy", None], [0.5, None], [True, None]])])
    null = NULL_VALUES[Datatype.SHORT]
    assert stream(document) == b"".join([
        np.array(1, ">i2").tobytes(), b"\0\0\0\2xy", np.array(0.5, ">f8").tobytes(), b"T",
        np.array(null, ">i2").tobytes(), b"\0\0\0\0", np.array(np.nan, ">f8").tobytes(), b"?",
    ])  # fmt: skip


def test_vot16_the_number_for_null_is_declared_and_only_where_it_is_needed():
    document = write(BINARY, header())
    assert is_schema_valid(document)
    declared = {
        item.get("name"): int(values.get("null"))
        for item in etree.fromstring(document).iter(f"{V}FIELD")
        for values in item.iter(f"{V}VALUES")
    }
    short, integer, long = (NULL_VALUES[kind] for kind in (Datatype.SHORT, Datatype.INT, Datatype.LONG))
    assert declared == {"byte": short, "short": short, "int": integer, "source_id": long, "shorts": short}


def test_vot16_every_byte_may_be_a_value():
    item = field("b", "unsignedByte")
    values = [*range(256), None]
    found = astropy_table(write(BINARY, header([item]), [batch([item], [values])])).array["b"]
    assert found.mask.tolist() == [False] * 256 + [True]
    assert found[:256].tolist() == values[:256]


@pytest.mark.parametrize("datatype", ["short", "int", "long"])
@pytest.mark.parametrize("is_array", [False, True])
def test_a_value_that_would_be_read_as_null_breaks_the_table_and_names_the_way_out(datatype, is_array):
    item = field("n", datatype, "2" if is_array else None)
    null = NULL_VALUES[item.type.datatype]
    writer = BINARY.make(header([item]))
    writer.batch(batch([item], [[[null + 1, 0]] if is_array else [null + 1]]))
    with pytest.raises(NotSupportedError, match=r"column n holds .*RESPONSEFORMAT=votable"):
        writer.batch(batch([item], [[[0, null]] if is_array else [null]]))


def test_an_array_of_varying_length_may_hold_any_number():
    item = field("n", "long", "*")
    rows = batch([item], [[[NULL_VALUES[Datatype.LONG]], None]])
    found = astropy_table(write(BINARY, header([item]), [rows])).array["n"]
    assert found[0].tolist() == [NULL_VALUES[Datatype.LONG]]
    assert len(found[1]) == 0


def test_our_own_reader_reads_every_value_back():
    reader = VOTableReader(io.BytesIO(write(BINARY, header(), [every_type()])))
    found = pa.Table.from_batches(list(reader))
    assert [item.name for item in reader.fields] == [item.name for item in FIELDS]
    for item, values in zip(FIELDS, VALUES, strict=True):
        # Empty is null in BINARY, and NaN is; arrays of varying length come back empty; a null bit is 0.
        if item.name in {"bits", "shorts"} or item.type.datatype in REALS:
            continue
        wanted = [value or None if item.type.is_text or item.type.is_array else value for value in values]
        assert [cell or None if item.type.is_array else cell for cell in found[item.name].to_pylist()] == wanted, (
            item.name
        )


def test_votlint_finds_nothing_in_a_table_without_rows(tmp_path):
    assert votlint(write(BINARY, header([field("a", "int"), field("b", "unsignedByte")])), tmp_path / "x.vot") == ""
