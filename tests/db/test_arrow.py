import pyarrow as pa
import pytest

from gateway.db.arrow import conform, sql_type
from gateway.vo.tableset import Datatype, VOType


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (VOType(Datatype.BOOLEAN), "boolean"),
        (VOType(Datatype.UNSIGNED_BYTE), "smallint"),
        (VOType(Datatype.LONG), "bigint"),
        (VOType(Datatype.FLOAT), "real"),
        (VOType(Datatype.DOUBLE, "2", "point"), "double precision[]"),
        (VOType(Datatype.INT, "2x3"), "integer[]"),
        (VOType(Datatype.BIT, "8"), "boolean[]"),
        (VOType(Datatype.DOUBLE_COMPLEX), "double precision[]"),
        (VOType(Datatype.CHAR, "*"), "text"),
        (VOType(Datatype.UNICODE_CHAR, "5"), "text"),
        (VOType(Datatype.CHAR, "*", "timestamp"), "timestamp without time zone"),
    ],
)
def test_each_type_has_a_column_type(kind: VOType, expected: str) -> None:
    assert sql_type(kind) == expected


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        (pa.array([1, None], pa.int32()), pa.int64(), [1, None]),
        (pa.array(["1.5", None]), pa.float64(), [1.5, None]),  # numeric travels as text
        (pa.array([[1, 2], None, []], pa.list_(pa.int16())), pa.list_(pa.float64()), [[1.0, 2.0], None, []]),
        (pa.array([[9], [1, 2], None], pa.list_(pa.int16())).slice(1), pa.list_(pa.int64()), [[1, 2], None]),
    ],
)
def test_columns_become_canonical(given: pa.Array, kind: pa.DataType, expected: list[object]) -> None:
    batch = conform(pa.RecordBatch.from_arrays([given], ["x"]), pa.schema([("y", kind)]))
    assert batch.schema.names == ["y"]
    assert batch.column(0).to_pylist() == expected


def test_instants_with_a_zone_become_utc() -> None:
    given = pa.array([0], pa.timestamp("us", "UTC"))
    batch = conform(pa.RecordBatch.from_arrays([given], ["x"]), pa.schema([("x", pa.timestamp("us"))]))
    assert batch.column(0).type == pa.timestamp("us")


def test_a_missing_column_is_noticed() -> None:
    with pytest.raises(ValueError):
        conform(pa.RecordBatch.from_pydict({"a": [1]}), pa.schema([("a", pa.int64()), ("b", pa.int64())]))
