"""CSV and ECSV."""

import gzip
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import MaskedColumn, Table

from gateway.errors import IngestError
from gateway.tables import open_table
from gateway.tables.columns import Place, convert
from gateway.vo.tableset import Datatype, Field, VOType

instant = datetime.fromisoformat
Write = Callable[..., Path]


def read(
    path: Path, hints: dict[str, VOType] | None = None
) -> tuple[tuple[Field, ...], dict[str, list[Any]], list[str]]:
    """Fields, canonical values by column, and notes."""
    with open_table(path, hints=hints) as table:
        values: dict[str, list[Any]] = {item.name: [] for item in table.fields}
        row = 1
        for batch in table.batches():
            for item, column in zip(table.fields, batch.columns, strict=True):
                values[item.name] += convert(column, item.type, Place(table.name, item.name, row)).to_pylist()
            row += batch.num_rows
        return table.fields, values, table.notes


def kinds(fields: tuple[Field, ...]) -> dict[str, str]:
    return {item.name: item.type.xtype or item.type.datatype.value for item in fields}


# -- CSV ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "-2", ""], "long", [1, -2, None]),
        (["9223372036854775807", "-9223372036854775808"], "long", [2**63 - 1, -(2**63)]),
        (["1", "2.5", "null"], "double", [1.0, 2.5, None]),
        (["1e400", "-Infinity"], "double", [float("inf"), float("-inf")]),
        (["true", "False", ""], "boolean", [True, False, None]),
        (
            ["2020-02-29T12:00:00", "2021-01-01 00:00:00.5Z"],
            "timestamp",
            [instant("2020-02-29T12:00:00"), instant("2021-01-01T00:00:00.5")],
        ),
        (["2020-02-29", "2021-01-01"], "char", ["2020-02-29", "2021-01-01"]),
        (["M31", "", "NA"], "char", ["M31", None, "NA"]),
        (["007", "1"], "char", ["007", "1"]),
        (["0x10"], "char", ["0x10"]),
        (["18446744073709551615", "1"], "char", ["18446744073709551615", "1"]),
        (["1", "x"], "char", ["1", "x"]),
        (["0", "1"], "long", [0, 1]),
        (["0.10", "-0.0"], "double", [0.1, -0.0]),
        (["2020-02-29T12:00:00.1234567"], "char", ["2020-02-29T12:00:00.1234567"]),
        (["é"], "char", ["é"]),
    ],
)
def test_the_narrowest_type_for_all_values_is_found(
    write: Write, cells: list[str], kind: str, values: list[Any]
) -> None:
    fields, found, _ = read(write("a.csv", "n,x\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells))))
    assert kinds(fields)["x"] == kind
    assert found["x"] == values


def test_the_last_of_many_rows_counts_too(write: Write) -> None:
    rows = "".join(f"{n},{n}\n" for n in range(900_000))
    fields, found, _ = read(write("a.csv", f"a,b\n{rows}1,last\n"))
    assert kinds(fields) == {"a": "long", "b": "char"}
    assert found["b"][-2:] == ["899999", "last"]


def test_quoted_empty_text_is_text_and_bare_emptiness_is_null(write: Write) -> None:
    _, found, _ = read(write("a.csv", 'a,b\n"",1\n,2\nx,3\n'))
    assert found["a"] == ["", None, "x"]


def test_quotes_protect_commas_breaks_and_quotes(write: Write) -> None:
    _, found, _ = read(write("a.csv", 'a,b\n"1,5","x\ny"\n"say ""hi""",z\n'))
    assert found == {"a": ["1,5", 'say "hi"'], "b": ["x\ny", "z"]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(write: Write, delimiter: str) -> None:
    fields, found, _ = read(write("a.csv", f'"a,;x"{delimiter}b\n1{delimiter}2\n'))
    assert [item.name for item in fields] == ["a,;x", "b"]
    assert found["b"] == [2]


def test_byte_order_mark_comments_and_windows_line_ends_are_no_data(write: Write) -> None:
    _, found, _ = read(write("a.csv", b"\xef\xbb\xbf# made by hand\r\n\r\na,b\r\n1,x\r\n"))
    assert found == {"a": [1], "b": ["x"]}


def test_hints_spare_the_first_pass_and_keep_text(write: Write) -> None:
    hints = {"a": VOType(Datatype.CHAR, "*"), "b": VOType(Datatype.SHORT)}
    fields, found, _ = read(write("a.csv", "a,b\n7,8\n"), hints)
    assert kinds(fields) == {"a": "char", "b": "short"}
    assert found == {"a": ["7"], "b": [8]}


def test_gzip_is_told_by_its_bytes(write: Write) -> None:
    _, found, _ = read(write("a.csv", gzip.compress(b"a,b\n1,x\n")))
    assert found == {"a": [1], "b": ["x"]}


def test_a_table_of_no_rows_has_columns(write: Write) -> None:
    fields, found, notes = read(write("a.csv", "a,b\n"))
    assert kinds(fields) == {"a": "char", "b": "char"}
    assert found == {"a": [], "b": []}
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,b\n1,2\n3\n4,5\n", r"row 2: has 1 values for 2 columns \('3'\)"),
        ("a,b\n1,2\n3,4,5\n", "row 2: has 3 values for 2 columns"),
        ('a,b\n1,2\n3,"open\n4,5\n', r"row 2, column 'b': a quote .* never closed"),
        (b"a,b\n1,\xff\xfe\n", "column 'b'.*not UTF-8"),
        (b"a,\xff\n1,2\n", "names are not UTF-8"),
        ("# only this\n", "no column names"),
        (",,\n1,2,3\n", "the first row has no column names"),
    ],
)
def test_a_broken_file_is_told_by_its_place(write: Write, content: str | bytes, reason: str) -> None:
    with pytest.raises(IngestError, match=reason):
        read(write("a.csv", content))


def test_broken_gzip_is_told(write: Write) -> None:
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)
    with pytest.raises(IngestError, match=r"a\.csv\.gz: the gzip data is broken or cut short"):
        read(write("a.csv.gz", packed[: len(packed) // 2]))


# -- ECSV -----------------------------------------------------------------------------------------------------


def masked_table() -> Table:
    table = Table(
        {
            "id": MaskedColumn([2**63 - 1, -(2**63), 7], mask=[0, 0, 1]),
            "tiny": np.array([0, 128, 255], "u1"),
            "flag": MaskedColumn([True, False, True], mask=[0, 0, 1]),
            "x": MaskedColumn([0.1, np.nan, 3.0], mask=[0, 0, 1], unit="deg", description="A position, in words"),
            "f": np.array([1.1, -0.0, np.inf], "f4"),
            "name": MaskedColumn(["é, y", 'q"q', "z"], mask=[0, 0, 1]),
            "pair": np.arange(6.0).reshape(3, 2),
            "block": np.arange(12, dtype="i4").reshape(3, 2, 2),
            "z": np.array([1 + 2j, 0, -1j], "c16"),
        }
    )
    table["list"] = np.array([[1.5], [], [2.0, 3.0]], dtype=object)
    table["x"].meta["ucd"] = "pos.eq.ra"
    table.meta["description"] = "Three stars"
    return table


@pytest.mark.filterwarnings("ignore::astropy.io.ascii.ecsv.InvalidEcsvDatatypeWarning")
@pytest.mark.parametrize("delimiter", [" ", ","])
def test_ecsv_of_astropy_survives(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.ecsv"
    masked_table().write(path, format="ascii.ecsv", delimiter=delimiter)
    fields, found, notes = read(path)
    by_name = {item.name: item for item in fields}
    assert by_name["x"] == Field("x", VOType(Datatype.DOUBLE), "deg", "pos.eq.ra", None, "A position, in words")
    assert by_name["tiny"].type == VOType(Datatype.UNSIGNED_BYTE)
    assert by_name["pair"].type == VOType(Datatype.DOUBLE, "2")
    assert by_name["block"].type == VOType(Datatype.INT, "2x2")
    assert by_name["z"].type == VOType(Datatype.DOUBLE_COMPLEX)
    assert found["id"] == [2**63 - 1, -(2**63), None]
    assert found["tiny"] == [0, 128, 255]
    assert found["flag"] == [True, False, None]
    assert found["x"][0] == 0.1
    assert np.isnan(found["x"][1])
    assert found["x"][2] is None
    assert np.array_equal(np.array(found["f"], "f4").view("u4"), np.array([1.1, -0.0, np.inf], "f4").view("u4"))
    assert found["name"] == ["é, y", 'q"q', None]
    assert found["pair"] == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert found["block"] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert found["z"] == [[1.0, 2.0], [0.0, 0.0], [-0.0, -1.0]]
    assert found["list"] == ["[1.5]", "[]", "[2.0,3.0]"]
    assert any("JSON text" in note for note in notes)


def test_ecsv_of_variable_arrays(write: Write) -> None:
    content = '# %ECSV 1.0\n# ---\n# datatype:\n# - {name: v, datatype: string, subtype: "float64[null]"}\nv\n[1.0,2.0]\n[]\n""\n[null]\n'
    fields, found, _ = read(write("a.ecsv", content))
    assert fields[0].type == VOType(Datatype.DOUBLE, "*")
    assert found["v"][:3] == [[1.0, 2.0], [], None]
    assert np.isnan(found["v"][3][0])


def test_ecsv_is_known_by_its_first_line(write: Write) -> None:
    content = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\n# meta: !!omap\n# - {description: Ordered}\na\n5\n"
    with open_table(write("a.txt", content)) as table:
        assert table.description == "Ordered"
        assert pa.Table.from_batches(list(table.batches()))["a"].to_pylist() == ["5"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("# %ECSV 1.0\n# ---\n# datatype: [\na\n", "the ECSV header is broken"),
        ("# %ECSV 1.0\n# ---\n# data: x\na\n", "the ECSV header is broken"),
        ("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\n", "column names is missing"),
        (
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\nb\n1\n",
            "describes the columns a, but the file has b",
        ),
        (
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: date}\na\n1\n",
            "the datatype 'date' is none of ECSV's",
        ),
        (
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n1\nx\n",
            "row 2, column 'a': 'x' is no long",
        ),
        (
            '# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: string, subtype: "string[2]"}\na\n[]\n',
            "arrays of string",
        ),
        (
            '# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: string, subtype: "int64[2]"}\na\n[1,\n',
            "row 1, column 'a'.*no JSON array",
        ),
    ],
)
def test_a_broken_ecsv_is_told_by_its_place(write: Write, content: str, reason: str) -> None:
    with pytest.raises(IngestError, match=reason):
        read(write("a.ecsv", content))
