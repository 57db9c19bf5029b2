"""FITS binary tables as astropy writes them."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from gateway.errors import IngestError
from gateway.tables import open_table
from gateway.tables.columns import Place, check_text, convert
from gateway.vo.tableset import Datatype, Field, VOType


def write(path: Path, *columns: fits.Column, **cards: Any) -> Path:
    hdu = fits.BinTableHDU.from_columns(columns)
    for key, value in cards.items():
        hdu.header[key] = value
    hdu.writeto(path, overwrite=True)
    return path


def read(path: Path) -> tuple[dict[str, Field], dict[str, list[Any]], list[str]]:
    with open_table(path) as table:
        values: dict[str, list[Any]] = {item.name: [] for item in table.fields}
        row = 1
        for batch in table.batches():
            for item, column in zip(table.fields, batch.columns, strict=True):
                place = Place(table.name, item.name, row)
                converted = convert(column, item.type, place)
                if item.type.is_text:
                    check_text(converted, place)
                values[item.name] += converted.to_pylist()
            row += batch.num_rows
        return {item.name: item for item in table.fields}, values, table.notes


@pytest.mark.parametrize(
    ("form", "values", "kind", "expected"),
    [
        ("L", [True, False], VOType(Datatype.BOOLEAN), [True, False]),
        ("B", [0, 255], VOType(Datatype.UNSIGNED_BYTE), [0, 255]),
        ("I", [-32768, 32767], VOType(Datatype.SHORT), [-32768, 32767]),
        ("J", [-(2**31), 2**31 - 1], VOType(Datatype.INT), [-(2**31), 2**31 - 1]),
        ("K", [-(2**63), 2**63 - 1], VOType(Datatype.LONG), [-(2**63), 2**63 - 1]),
        ("E", [1.5, -np.inf], VOType(Datatype.FLOAT), [1.5, -np.inf]),
        ("D", [1e-310, 0.1], VOType(Datatype.DOUBLE), [1e-310, 0.1]),
        ("C", [1 + 2j, 0], VOType(Datatype.FLOAT_COMPLEX), [[1.0, 2.0], [0.0, 0.0]]),
        ("M", [1 + 2j, 0], VOType(Datatype.DOUBLE_COMPLEX), [[1.0, 2.0], [0.0, 0.0]]),
        ("3J", [[1, 2, 3], [4, 5, 6]], VOType(Datatype.INT, "3"), [[1, 2, 3], [4, 5, 6]]),
        ("2L", [[True, False], [False, True]], VOType(Datatype.BOOLEAN, "2"), [[True, False], [False, True]]),
        ("11X", [[True] * 11, [False] * 10 + [True]], VOType(Datatype.BIT, "11"), [[True] * 11, [False] * 10 + [True]]),
        ("5A", ["ab", "  c"], VOType(Datatype.CHAR, "5*"), ["ab", "  c"]),
        ("5A", ["", "x  "], VOType(Datatype.CHAR, "5*"), ["", "x"]),
    ],
)
def test_every_form(tmp_path: Path, form: str, values: list[Any], kind: VOType, expected: list[Any]) -> None:
    array = np.array(values)
    fields, found, _ = read(write(tmp_path / "t.fits", fits.Column("x", form, array=array)))
    assert fields["x"].type == kind
    assert found["x"] == expected


@pytest.mark.parametrize(
    ("form", "zero", "dtype", "datatype", "values"),
    [
        ("B", -128, "i1", Datatype.SHORT, [-128, 127]),
        ("I", 2**15, "u2", Datatype.INT, [0, 65535]),
        ("J", 2**31, "u4", Datatype.LONG, [0, 2**32 - 1]),
        ("K", 2**63, "u8", Datatype.LONG, [0, 2**63 - 1]),
    ],
)
def test_unsigned_numbers_become_the_next_larger_signed(
    tmp_path: Path, form: str, zero: int, dtype: str, datatype: Datatype, values: list[int]
) -> None:
    fields, found, _ = read(
        write(tmp_path / "t.fits", fits.Column("x", form, bzero=zero, array=np.array(values, dtype)))
    )
    assert fields["x"].type == VOType(datatype)
    assert found["x"] == values


def test_unsigned_beyond_63_bits_is_refused_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "t.fits", fits.Column("x", "K", bzero=2**63, array=np.array([1, 2**63 + 5], "u8")))
    with pytest.raises(IngestError, match=r"t\.fits, row 2, column 'x': 9223372036854775813 is no long"):
        read(path)


def test_tnull_is_null(tmp_path: Path) -> None:
    column = fits.Column("x", "K", null=-999, array=np.array([1, -999, 2**62 + 1]))
    assert read(write(tmp_path / "t.fits", column))[1]["x"] == [1, None, 2**62 + 1]


def test_a_logical_zero_byte_is_null(tmp_path: Path) -> None:
    path = write(tmp_path / "t.fits", fits.Column("x", "L", array=np.array([True, False, True])))
    content = path.read_bytes()
    start = content.index(b"TFT", 2880)
    path.write_bytes(content[: start + 2] + b"\0" + content[start + 3 :])
    assert read(path)[1]["x"] == [True, False, None]


def test_scaled_numbers_are_scaled(tmp_path: Path) -> None:
    column = fits.Column("x", "I", array=np.array([0, 3], "i2"))
    fields, found, _ = read(write(tmp_path / "t.fits", column, TSCAL1=0.5, TZERO1=10.0))
    assert fields["x"].type == VOType(Datatype.DOUBLE)
    assert found["x"] == [10.0, 11.5]


@pytest.mark.parametrize("pointer", ["P", "Q"])
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_arrays_of_variable_length(tmp_path: Path, pointer: str, order: slice) -> None:
    cells = [[1.5, 2.5, 3.5], [], [4.5]][order]
    data = np.empty(3, object)
    data[:] = [np.array(cell) for cell in cells]
    fields, found, _ = read(write(tmp_path / "t.fits", fits.Column("x", f"{pointer}D()", array=data)))
    assert fields["x"].type == VOType(Datatype.DOUBLE, "*")
    assert found["x"] == cells


def test_texts_of_variable_length(tmp_path: Path) -> None:
    data = np.empty(3, object)
    data[:] = [np.array(list(word), "S1") for word in ("abc", "x", "defgh")]
    fields, found, _ = read(write(tmp_path / "t.fits", fits.Column("x", "PA()", array=data)))
    assert fields["x"].type == VOType(Datatype.CHAR, "*")
    assert found["x"] == ["abc", "x", "defgh"]


def test_shapes_are_kept(tmp_path: Path) -> None:
    array = np.arange(12, dtype="f4").reshape(2, 3, 2)
    fields, found, _ = read(write(tmp_path / "t.fits", fits.Column("x", "6E", dim="(2,3)", array=array)))
    assert fields["x"].type == VOType(Datatype.FLOAT, "2x3")
    assert found["x"][0] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_metadata_of_the_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.fits",
        fits.Column("ra", "D", unit="deg", array=np.array([1.0])),
        TUCD1="pos.eq.ra",
        TUTYP1="src.ra",
        TCOMM1="Right ascension",
    )
    assert read(path)[0]["ra"] == Field("ra", VOType(Datatype.DOUBLE), "deg", "pos.eq.ra", "src.ra", "Right ascension")


def test_rows_beyond_one_block_keep_their_order(tmp_path: Path) -> None:
    count = 300_000
    columns = [fits.Column("n", "K", array=np.arange(count)), fits.Column("v", "10D", array=np.ones((count, 10)))]
    assert read(write(tmp_path / "t.fits", *columns))[1]["n"] == list(range(count))


def test_gzip_is_told_by_its_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "t.fits", fits.Column("x", "J", array=np.array([1, 2])))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert read(path)[1]["x"] == [1, 2]


def test_the_first_table_is_read_and_the_others_named(tmp_path: Path) -> None:
    tables = [fits.BinTableHDU.from_columns([fits.Column(name, "J", array=np.array([1]))]) for name in "ab"]
    image = fits.CompImageHDU(np.zeros((8, 8), "i4"))
    path = tmp_path / "t.fits"
    fits.HDUList([fits.PrimaryHDU(), image, *tables]).writeto(path)
    fields, _, notes = read(path)
    assert list(fields) == ["a"]
    assert notes == ["only the first table of t.fits is read (HDU 2)"]


def test_a_table_of_no_rows_has_columns(tmp_path: Path) -> None:
    fields, found, _ = read(write(tmp_path / "t.fits", fits.Column("x", "3D", array=np.empty((0, 3)))))
    assert fields["x"].type == VOType(Datatype.DOUBLE, "3")
    assert found == {"x": []}


def test_a_file_cut_short_is_told_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "t.fits", fits.Column("x", "D", array=np.arange(10_000.0)))
    path.write_bytes(path.read_bytes()[: 5760 + 8 * 1000])
    with pytest.raises(IngestError, match=r"t\.fits, row 1001: the file ends here"):
        read(path)


def test_an_image_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "i.fits"
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(path)
    with pytest.raises(IngestError, match=r"i\.fits: it has no binary table"):
        read(path)


def test_arrays_of_strings_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.fits", fits.Column("x", "6A", dim="(3,2)", array=np.array([["abc", "def"]])))
    with pytest.raises(IngestError, match="column 'x': arrays of strings"):
        read(path)


def test_text_that_is_not_utf8_is_refused_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "t.fits", fits.Column("x", "4A", array=np.array(["abcd", "efgh"])))
    path.write_bytes(path.read_bytes().replace(b"efgh", b"e\xe9gh"))
    with pytest.raises(IngestError, match=r"row 2, column 'x': the text is not UTF-8"):
        read(path)


def test_a_column_without_width_is_left_out(tmp_path: Path) -> None:
    columns = [fits.Column("a", "J", array=np.array([1])), fits.Column("b", "0D", array=np.empty((1, 0)))]
    fields, _, notes = read(write(tmp_path / "t.fits", *columns))
    assert list(fields) == ["a"]
    assert "column 'b' of t.fits has no width" in notes[0]
