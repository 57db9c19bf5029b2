"""Every kind of query, translated and run: what comes out has the values and the types that were promised."""

import pyarrow as pa
import pytest

from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate
from gateway.vo.tableset import Datatype, Field
from tests.vo.adql.tables import TABLES
from tests.vo.adql.valid import VALID

INDEX = HealpixIndex(max_ranges=1)

ARROW = {
    Datatype.BOOLEAN: pa.bool_(),
    Datatype.SHORT: pa.int16(),
    Datatype.INT: pa.int32(),
    Datatype.LONG: pa.int64(),
    Datatype.FLOAT: pa.float32(),
    Datatype.DOUBLE: pa.float64(),
    Datatype.CHAR: pa.string(),
    Datatype.UNICODE_CHAR: pa.string(),
}


def canonical(field: Field) -> pa.DataType:
    if field.type.is_timestamp:
        return pa.timestamp("us")
    base = ARROW[field.type.datatype]
    return pa.list_(base) if field.type.is_array else base


@pytest.mark.parametrize(("query", "expected"), VALID, ids=[query for query, _ in VALID])
def test_query_runs_with_the_promised_types(postgres, query, expected) -> None:
    translation = translate(query.replace("gw", "gw"), TABLES, index=INDEX)
    table = postgres.table(translation.sql)
    for field, column in zip(translation.fields, table.schema, strict=True):
        promised = canonical(field)
        same = promised == column.type or (
            pa.types.is_list(promised)
            and pa.types.is_list(column.type)
            and promised.value_type == column.type.value_type
        )
        assert same, f"{field.name}: promised {promised}, got {column.type}"
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True)) if table.num_rows else []
    if isinstance(expected, list):
        assert rows == expected
    elif expected is not None:
        assert (
            rows[0] == pytest.approx(expected) if all(isinstance(v, float) for v in expected) else rows[0] == expected
        )


@pytest.mark.parametrize("query", [query for query, _ in VALID])
def test_row_limit_is_asked_for_and_one_more(postgres, query) -> None:
    translation = translate(query, TABLES, index=INDEX, maxrec=1)
    assert postgres.table(translation.sql).num_rows <= 2
    assert translation.maxrec in {1, None}


def test_names_of_the_result_are_unique_without_regard_to_case() -> None:
    for query, _ in VALID:
        names = [field.name.lower() for field in translate(query, TABLES).fields]
        assert len(names) == len(set(names)), query
