"""Parquet files, their metadata, and which reader a file gets."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from gateway.errors import IngestError
from gateway.tables import open_table
from gateway.tables.detect import kind_of
from gateway.vo.tableset import Datatype, Field, VOType

Write = Callable[..., Path]


def fields(path: Path) -> dict[str, Field]:
    with open_table(path) as table:
        return {item.name: item for item in table.fields}


def test_metadata_of_arrow_fields(tmp_path: Path) -> None:
    notes = {"unit": "deg", "ucd": "pos.eq.ra", "description": "Where"}
    schema = pa.schema([pa.field("ra", pa.float64(), metadata=notes), pa.field("v", pa.list_(pa.float32(), 3))])
    pq.write_table(pa.table({"ra": [1.0], "v": [[1.0, 2.0, 3.0]]}, schema=schema), tmp_path / "t.parquet")
    found = fields(tmp_path / "t.parquet")
    assert found["ra"] == Field("ra", VOType(Datatype.DOUBLE), "deg", "pos.eq.ra", None, "Where")
    assert found["v"].type == VOType(Datatype.FLOAT, "3")


def test_metadata_of_votable_in_parquet(tmp_path: Path) -> None:
    table = Table({"ra": [1.5], "n": np.array([1], "i4")})
    table["ra"].unit = "deg"
    said = {"ra": {"unit": "deg", "ucd": "pos.eq.ra", "utype": "a.b"}, "n": {"unit": "", "ucd": "", "utype": ""}}
    table.write(tmp_path / "t.parquet", format="parquet.votable", metadata=said)
    found = fields(tmp_path / "t.parquet")
    assert (found["ra"].unit, found["ra"].ucd, found["ra"].utype) == ("deg", "pos.eq.ra", "a.b")
    assert found["n"].type == VOType(Datatype.INT)


def test_metadata_of_astropy(tmp_path: Path) -> None:
    table = Table({"ra": [1.5]})
    table["ra"].unit, table["ra"].description = "deg", "Where"
    table.write(tmp_path / "t.parquet", format="parquet")
    assert fields(tmp_path / "t.parquet")["ra"] == Field("ra", VOType(Datatype.DOUBLE), "deg", None, None, "Where")


def test_rows_come_in_order_and_bounded(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": np.arange(200_000)}), tmp_path / "t.parquet")
    with open_table(tmp_path / "t.parquet") as table:
        batches = list(table.batches())
        assert table.position() == table.size
    assert max(batch.num_rows for batch in batches) <= 65_536
    assert np.array_equal(pa.Table.from_batches(batches)["n"].to_numpy(), np.arange(200_000))


def test_a_structure_is_refused_by_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"ok": [1], "bad": [{"a": 1}]}), tmp_path / "t.parquet")
    with pytest.raises(IngestError, match=r"t\.parquet, column 'bad': values of type struct"):
        fields(tmp_path / "t.parquet")


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": np.random.default_rng(1).random(100_000)}), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(IngestError, match=r"t\.parquet: cannot be read as Parquet"):
        fields(path)


def test_damaged_pages_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": np.random.default_rng(1).random(100_000)}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[2000:400_000] = bytes(398_000)
    path.write_bytes(content)
    with open_table(path) as table, pytest.raises(IngestError, match=r"t\.parquet: broken after row \d+"):
        list(table.batches())


def test_gzip_is_told_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": [1, 2]}), path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with open_table(path) as table:
        assert pa.Table.from_batches(list(table.batches()))["n"].to_pylist() == [1, 2]


# -- kinds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", b"PAR1...", "Parquet"),
        ("a", b"SIMPLE  =                    T", "FITS"),
        ("a.txt", b"# %ECSV 1.0\n", "ECSV"),
        ("a", b"<?xml version='1.0'?><VOTABLE>", "VOTable"),
        ("a", b"\xef\xbb\xbf  <!-- x --><vot:VOTABLE>", "VOTable"),
        ("a.vot", b"<?xml version='1.0'?>" + b" " * 9000, "VOTable"),
        ("a.csv", b"a,b\n", "CSV"),
        ("a.TSV", b"a\tb\n", "CSV"),
        ("a.csv.gz", gzip.compress(b"a,b\n", mtime=0), "CSV"),
        ("a.gz", gzip.compress(b"PAR1", mtime=0), "Parquet"),
    ],
)
def test_kinds_are_told_by_content_then_by_name(write: Write, name: str, content: bytes, kind: str) -> None:
    assert kind_of(write(name, content)) == kind


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.dat", b"\x00\x01\x02", "unknown kind of file; files that can be read are Parquet, FITS"),
        ("a.hdf5", b"\x89HDF\r\n\x1a\n", "is HDF5; files that can be read"),
        ("a.xlsx", b"PK\x03\x04", "spreadsheet"),
        ("a.html", b"<html></html>", "web page"),
        ("a.kml", b"<kml/>", "no VOTable"),
        ("a.csv", b"", "is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.gz", b"\x1f\x8bnonsense", "gzip data is broken"),
        ("notes", b"some words", "unknown kind of file"),
    ],
)
def test_other_kinds_are_refused_with_the_list(write: Write, name: str, content: bytes, reason: str) -> None:
    with pytest.raises(IngestError, match=reason):
        kind_of(write(name, content))


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no such file"):
        kind_of(tmp_path / "absent.csv")
    with pytest.raises(IngestError, match="is a folder"):
        kind_of(tmp_path)
