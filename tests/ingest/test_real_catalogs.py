"""Every real catalog, published and read back equal to its file, trap by trap (issue 2, "Show")."""

from pathlib import Path

import lxml.etree
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from gateway.vo.tableset import Datatype, VOType
from tests.support.catalogs import Catalog, assert_same, real_catalog


def test_gaia_equals_its_file(catalog: Catalog) -> None:
    path = real_catalog("gaia_dr3_bright.parquet")
    report = catalog.publish(path)
    expected = pq.read_table(path).sort_by("source_id")
    found = catalog.rows()
    assert report.rows == expected.num_rows == 482_176
    assert_same(found, expected)
    # the traps of this catalog, one by one
    assert pc.max(pc.utf8_length(found["source_id"].cast(pa.string()))).as_py() == 19
    assert pc.sum(pc.less(found["source_id"], 0)).as_py() == 70
    still = pc.and_(pc.equal(found["pmra"], 0.0), pc.equal(found["pmdec"], 0.0))
    assert pc.sum(still).as_py() == 358
    assert found["pmra"].null_count == 0


def test_gaia_is_loaded_in_the_order_of_the_sky(catalog: Catalog) -> None:
    catalog.publish(real_catalog("gaia_dr3_bright.parquet"))
    steps = catalog.fetch(
        "SELECT count(*) FILTER (WHERE gw_hpx29 < before) FROM"
        " (SELECT gw_hpx29, lag(gw_hpx29) OVER (ORDER BY ctid) AS before FROM survey.stars) s"
    )
    assert steps == [(0,)]


def test_hipparcos_equals_its_file(catalog: Catalog) -> None:
    path = real_catalog("hipparcos2.parquet")
    catalog.publish(path)
    found = catalog.rows()
    assert_same(found, pq.read_table(path).sort_by("hip"))
    assert pc.sum(pc.less(found["plx"], 0)).as_py() == 3_974


def test_openngc_equals_its_file(catalog: Catalog) -> None:
    path = real_catalog("openngc.parquet")
    report = catalog.publish(path)
    expected = pq.read_table(path)
    expected = expected.cast(
        pa.schema(
            [(item.name, pa.string() if pa.types.is_large_string(item.type) else item.type) for item in expected.schema]
        )
    ).sort_by("name")
    found = catalog.rows(order='"name" COLLATE "C"')
    assert_same(found, expected)
    assert any("7 rows have no usable position" in warning for warning in report.warnings)
    assert catalog.fetch("SELECT count(*) FROM survey.stars WHERE gw_hpx29 IS NULL") == [(7,)]
    assert pc.sum(pc.equal(found["messier"], "")).as_py() > 0
    assert found["messier"].null_count == expected["messier"].null_count == 0
    assert found["redshift"].null_count == expected["redshift"].null_count > 3_000
    assert pc.any(pc.match_substring(found["commonnames"], ",")).as_py()


@pytest.mark.parametrize("convert", [False, True])
def test_lsst_reference_catalog_equals_its_file(catalog: Catalog, convert: bool) -> None:
    path = real_catalog("gaia_dr2_refcat_189584.fits")
    report = catalog.publish(path, convert_radians=convert)
    table = catalog.table()
    assert table is not None
    columns = {column.name: column for column in table.columns}
    assert columns["flags"].field.type == VOType(Datatype.BIT, "2")
    assert columns["flags"].field.description == (
        "bits 1: pm_flag (Set if proper motion or proper motion error is bad), "
        "2: parallax_flag (Set if parallax or parallax error is bad)"
    )
    assert columns["coord_ra"].field.unit == ("deg" if convert else "rad")
    assert columns["pm_raErr"].field.unit == ("deg/year" if convert else "rad/year")
    assert columns["phot_g_mean_flux"].field.unit == "nJy"
    assert columns["id"].field.description == "unique ID"
    assert columns["phot_variable_flag"].field.type == VOType(Datatype.CHAR, "52*")
    assert (table.sky is not None) is convert
    assert any("--convert-radians" in warning for warning in report.warnings) is not convert
    with fits.open(path, memmap=False) as hdus:
        data, units = hdus[1].data, {c.name: c.unit for c in hdus[1].columns}
        order = np.argsort(data["id"])
        found = catalog.rows(order='"id"')
        assert found.num_rows == len(data) == 2_762
        for name in data.dtype.names:
            expected = np.asarray(data[name])[order]
            column = found[name].combine_chunks()
            if name == "flags":
                assert column.to_pylist() == expected.tolist()
            elif name == "phot_variable_flag":
                assert column.to_pylist() == [value.rstrip() for value in expected.tolist()]
            else:
                if convert and (units[name] or "").startswith("rad"):
                    expected = np.degrees(expected.astype("f8")).astype(expected.dtype.newbyteorder("="))
                assert column.null_count == 0
                bits = np.dtype(f"u{expected.dtype.itemsize}")
                native = expected.astype(expected.dtype.newbyteorder("="))
                assert np.array_equal(column.to_numpy().view(bits), native.view(bits)), name


def cells(path: Path) -> list[list[str]]:
    """Text of every TD, by an XML parser that knows nothing of VOTable."""
    rows = lxml.etree.parse(path).iterfind(".//{*}TR")
    return [[cell.text or "" for cell in row] for row in rows]


def plain(text: str, datatype: Datatype) -> object:
    """Value of a cell; an empty one is none (VOT-15), and blanks in a text are data (VOT-37)."""
    if datatype in {Datatype.CHAR, Datatype.UNICODE_CHAR}:
        return text or None
    if not text.strip():
        return None
    if datatype is Datatype.FLOAT:
        return float(np.float32(text))
    return float(text) if datatype is Datatype.DOUBLE else int(text)


@pytest.mark.parametrize(
    ("name", "rows", "columns"), [("sdss_dr9_field.vot", 12_405, 8), ("eso_obscore_1000.vot", 1_000, 53)]
)
def test_votables_equal_their_files(catalog: Catalog, name: str, rows: int, columns: int) -> None:
    path = real_catalog(name)
    catalog.publish(path)
    table = catalog.table()
    assert table is not None
    assert len(table.columns) == columns
    found = catalog.rows(order="ctid").to_pylist()
    assert len(found) == rows
    types = [column.field.type.datatype for column in table.columns]
    expected = [[plain(text, kind) for text, kind in zip(row, types, strict=True)] for row in cells(path)]
    # The tables have no key: compare them as bags of rows.
    assert sorted(repr(list(row.values())) for row in found) == sorted(map(repr, expected))


def test_eso_keeps_regions_urls_and_blanks(catalog: Catalog) -> None:
    report = catalog.publish(real_catalog("eso_obscore_1000.vot"))
    table = catalog.table()
    assert table is not None
    assert table.sky is not None
    assert (table.sky.ra, table.sky.dec) == ("s_ra", "s_dec")
    columns = {column.name: column for column in table.columns}
    assert columns["access_url"].field.utype == "obscore:Access.reference"
    rows = catalog.rows(order="ctid")
    assert any(value and value.startswith("POLYGON J2000") for value in rows["s_region"].to_pylist())
    assert any(value and "?ID=" in value for value in rows["access_url"].to_pylist())
    assert " " in rows["filter"].to_pylist()
    assert report.rows == 1_000


def test_sdss_keeps_its_unsigned_byte_and_old_ucds(catalog: Catalog) -> None:
    catalog.publish(real_catalog("sdss_dr9_field.vot"))
    table = catalog.table()
    assert table is not None
    columns = {column.name: column for column in table.columns}
    assert columns["cl"].field.type == VOType(Datatype.UNSIGNED_BYTE)
    assert columns["cl"].sql_type == "smallint"
    assert columns["RA_ICRS"].field.ucd == "POS_EQ_RA_MAIN"
    assert table.sky is not None
    assert (table.sky.ra, table.sky.dec) == ("ra_icrs", "de_icrs")
