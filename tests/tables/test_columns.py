from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gateway.errors import IngestError
from gateway.tables.columns import TEXT, TIMESTAMP, Place, arrow_type, check_text, convert, vo_type
from gateway.vo.tableset import Datatype, VOType

instant = datetime.fromisoformat

PLACE = Place("stars.csv", "mag", 101)


def through(column: pa.Array) -> pa.Array:
    return convert(column, vo_type(column.type, PLACE), PLACE)


@pytest.mark.parametrize(
    ("arrow", "datatype", "canonical"),
    [
        (pa.bool_(), Datatype.BOOLEAN, pa.bool_()),
        (pa.int8(), Datatype.SHORT, pa.int16()),
        (pa.uint8(), Datatype.UNSIGNED_BYTE, pa.int16()),
        (pa.int16(), Datatype.SHORT, pa.int16()),
        (pa.uint16(), Datatype.INT, pa.int32()),
        (pa.int32(), Datatype.INT, pa.int32()),
        (pa.uint32(), Datatype.LONG, pa.int64()),
        (pa.int64(), Datatype.LONG, pa.int64()),
        (pa.uint64(), Datatype.LONG, pa.int64()),
        (pa.float16(), Datatype.FLOAT, pa.float32()),
        (pa.float32(), Datatype.FLOAT, pa.float32()),
        (pa.float64(), Datatype.DOUBLE, pa.float64()),
        (pa.decimal128(20, 3), Datatype.DOUBLE, pa.float64()),
        (pa.string(), Datatype.CHAR, pa.string()),
        (pa.large_string(), Datatype.CHAR, pa.string()),
        (pa.dictionary(pa.int8(), pa.string()), Datatype.CHAR, pa.string()),
        (pa.timestamp("ns", "Europe/Berlin"), Datatype.CHAR, pa.timestamp("us")),
        (pa.date32(), Datatype.CHAR, pa.timestamp("us")),
    ],
)
def test_every_arrow_type_has_its_canonical_one(arrow: pa.DataType, datatype: Datatype, canonical: pa.DataType) -> None:
    kind = vo_type(arrow, PLACE)
    assert kind.datatype is datatype
    assert arrow_type(kind) == canonical
    assert convert(pa.nulls(3, arrow), kind, PLACE).equals(pa.nulls(3, canonical))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([255, None], pa.uint8()), [255, None]),
        (pa.array([65535], pa.uint16()), [65535]),
        (pa.array([2**32 - 1], pa.uint32()), [2**32 - 1]),
        (pa.array([2**63 - 1], pa.uint64()), [2**63 - 1]),
        (pa.array(np.array([1.5, np.inf], "f2")), [1.5, float("inf")]),
        (pa.array([Decimal("1.250"), None]), [1.25, None]),
        (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", None]),
        (pa.array(["x"], pa.large_string()), ["x"]),
        (pa.array([b"caf\xc3\xa9"]), ["café"]),
        (pa.array([date(2020, 2, 29)]), [instant("2020-02-29T00:00:00")]),
        (pa.array([time(1, 2, 3)]), ["01:02:03.000000"]),
        (pa.array([timedelta(seconds=1.5)]), [1.5]),
        (pa.array([datetime(2020, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))]), [instant("2020-01-01T10:00:00")]),
        (pa.array([datetime(2020, 1, 1, tzinfo=UTC)], pa.timestamp("s", "UTC")), [instant("2020-01-01T00:00:00")]),
        (pa.array([[1, 2], None, []], pa.list_(pa.uint8())), [[1, 2], None, []]),
        (pa.array([[1.0, None]], pa.list_(pa.float64())), None),
    ],
)
def test_values_survive(column: pa.Array, expected: list[Any] | None) -> None:
    found = through(column).to_pylist()
    if expected is None:
        assert found[0][0] == 1.0
        assert np.isnan(found[0][1])
    else:
        assert found == expected


def test_nanoseconds_are_cut_to_microseconds() -> None:
    column = pa.array([1_577_836_800_123_456_789], pa.timestamp("ns"))
    assert through(column).to_pylist() == [instant("2020-01-01T00:00:00.123456")]


def test_nan_stays_nan_and_null_stays_null() -> None:
    found = through(pa.array([float("nan"), None, -0.0]))
    assert found.null_count == 1
    assert np.isnan(found[0].as_py())
    assert str(found[2].as_py()) == "-0.0"


def test_lists_of_fixed_size_keep_it() -> None:
    assert vo_type(pa.list_(pa.float32(), 3), PLACE) == VOType(Datatype.FLOAT, "3")
    assert vo_type(pa.list_(pa.float32()), PLACE) == VOType(Datatype.FLOAT, "*")


def test_slices_of_lists_lose_nothing() -> None:
    column = pa.array([[1], [2, 3], None, [4], []], pa.list_(pa.int64())).slice(1, 3)
    assert through(column).to_pylist() == [[2, 3], None, [4]]


def test_lists_of_fixed_size_with_nulls_lose_nothing() -> None:
    column = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2))
    assert through(column).to_pylist() == [[1, 2], None, [3, 4]]


@pytest.mark.parametrize(
    "arrow",
    [
        pa.struct([("a", pa.int32())]),
        pa.list_(pa.string()),
        pa.list_(pa.struct([("a", pa.int32())])),
        pa.list_(pa.list_(pa.float64())),
        pa.map_(pa.string(), pa.int32()),
    ],
)
def test_types_without_a_vo_type_are_refused_by_column(arrow: pa.DataType) -> None:
    with pytest.raises(IngestError, match=r"stars\.csv, column 'mag'"):
        vo_type(arrow, PLACE)


def test_unsigned_beyond_63_bits_is_refused_by_row() -> None:
    column = pa.array([1, 2, 2**63, 2**64 - 1], pa.uint64())
    with pytest.raises(IngestError, match=r"row 103, column 'mag': 9223372036854775808 is no long"):
        through(column)


@pytest.mark.parametrize(
    ("words", "kind", "row"),
    [
        (["1", "2", "x"], VOType(Datatype.LONG), 103),
        (["1.5"], VOType(Datatype.LONG), 101),
        (["1.5", "1,5"], VOType(Datatype.DOUBLE), 102),
        (["70000"], VOType(Datatype.SHORT), 101),
        (["true", "maybe"], VOType(Datatype.BOOLEAN), 102),
        (["2020-01-01", "yesterday"], TIMESTAMP, 102),
        (["9223372036854775808"], VOType(Datatype.LONG), 101),
    ],
)
def test_a_word_that_is_no_such_value_is_refused_by_row(words: list[str], kind: VOType, row: int) -> None:
    with pytest.raises(IngestError, match=f"row {row}, column 'mag'"):
        convert(pa.array(words), kind, PLACE)


@pytest.mark.parametrize(
    ("words", "kind", "expected"),
    [
        ([" 12 ", "+3", "", "null", "NA"], VOType(Datatype.LONG), [12, 3, None, None, None]),
        (["9223372036854775807", "-9223372036854775808"], VOType(Datatype.LONG), [2**63 - 1, -(2**63)]),
        (["0.1", "+1e-300", "-inf", "Infinity"], VOType(Datatype.DOUBLE), [0.1, 1e-300, float("-inf"), float("inf")]),
        (["True", "FALSE", "t", "0", ""], VOType(Datatype.BOOLEAN), [True, False, True, False, None]),
        (
            ["2020-02-29T12:00:00.5Z", "2020-02-29"],
            TIMESTAMP,
            [instant("2020-02-29T12:00:00.500000"), instant("2020-02-29T00:00:00")],
        ),
        (["", "NA", None], TEXT, ["", "NA", None]),
    ],
)
def test_words_become_values(words: list[str], kind: VOType, expected: list[Any]) -> None:
    assert convert(pa.array(words), kind, PLACE).to_pylist() == expected


def test_a_description_may_widen_but_not_lose_digits() -> None:
    assert convert(pa.array([2**53]), VOType(Datatype.DOUBLE), PLACE).to_pylist() == [float(2**53)]
    with pytest.raises(IngestError, match=r"row 101.*without losing digits"):
        convert(pa.array([2**53 + 1]), VOType(Datatype.DOUBLE), PLACE)


def test_whole_numbers_may_be_described_as_boolean() -> None:
    assert convert(pa.array([0, 1, None]), VOType(Datatype.BOOLEAN), PLACE).to_pylist() == [False, True, None]
    with pytest.raises(IngestError, match="2 is no boolean"):
        convert(pa.array([0, 2]), VOType(Datatype.BOOLEAN), PLACE)


def test_a_null_inside_an_array_of_integers_is_refused_by_row() -> None:
    with pytest.raises(IngestError, match="row 102"):
        through(pa.array([[1], [2, None]], pa.list_(pa.int32())))


def test_text_tells_whether_it_is_7_bit() -> None:
    assert check_text(pa.array(["abc", None, ""]), PLACE)
    assert not check_text(pa.array(["abc", "é"]), PLACE)


def test_text_is_judged_by_its_slice() -> None:
    assert check_text(pa.array(["é", "abc"]).slice(1), PLACE)


def test_nul_in_text_is_refused_by_row() -> None:
    with pytest.raises(IngestError, match=r"row 102.*NUL"):
        check_text(pa.array(["a", "b\0c"]), PLACE)


def test_bytes_that_are_not_utf8_are_refused_by_row() -> None:
    column = pa.array([b"a", b"\xe9"]).view(pa.string())
    with pytest.raises(IngestError, match=r"row 102.*UTF-8"):
        check_text(column, PLACE)
