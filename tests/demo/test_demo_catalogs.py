"""The demo survey: real stars, described in full."""

import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gateway.demo.catalogs import demo_tables, ensure_demo, gaia_stars, hipparcos_stars
from gateway.ingest.describe import read_description
from gateway.ingest.progress import Progress
from tests.support.catalogs import Catalog, assert_same, real_catalog


def test_gaia_stars_are_those_of_the_catalog() -> None:
    stars = gaia_stars()
    assert stars.num_rows == 482_176
    assert_same(stars, pq.read_table(real_catalog("gaia_dr3_bright.parquet")))


def test_hipparcos_stars_are_those_of_the_catalog() -> None:
    stars = hipparcos_stars()
    assert stars.num_rows == 117_955
    assert_same(stars, pq.read_table(real_catalog("hipparcos2.parquet")))


@pytest.mark.parametrize("table", demo_tables(), ids=lambda table: table.name)
def test_every_column_is_described(table: object) -> None:
    from gateway.demo.catalogs import DemoTable

    assert isinstance(table, DemoTable)
    description = read_description(table.describe)
    described = description.find(table.name.split(".")[1])
    assert description.notes(described) == []
    assert [column.name for column in described.columns] == table.rows().column_names
    assert all(column.description and column.ucd for column in described.columns)


def test_ucds_and_units_are_those_of_the_standards() -> None:
    from astropy import units
    from astropy.io.votable.ucd import check_ucd

    for table in demo_tables():
        for column in read_description(table.describe).find(table.name.split(".")[1]).columns:
            assert column.ucd is not None
            assert check_ucd(column.ucd, check_controlled_vocabulary=True, has_colon=False), column.ucd
            units.Unit(column.unit_ivoa or "", format="vounit")


@pytest.mark.parametrize(
    ("name", "words"),
    [("gaia.yaml", ["CC BY-SA 3.0 IGO", "ESA/Gaia/DPAC"]), ("hipparcos.yaml", ["van Leeuwen (2007)", "ESA"])],
)
def test_the_attribution_of_the_licences_is_given(name: str, words: list[str]) -> None:
    from gateway.demo import catalogs

    description = read_description(Path(catalogs.__file__).with_name(name))
    assert all(word in (description.tables[0].description or "") for word in words)


def test_the_demo_is_published_once(catalog: Catalog) -> None:
    seen: list[Progress] = []
    reports = ensure_demo(catalog.url, seen.append)
    assert [(report.table, report.rows, report.warnings) for report in reports] == [
        ("gaia.dr3_bright", 482_176, ()),
        ("hipparcos.hip2", 117_955, ()),
    ]
    assert seen
    assert ensure_demo(catalog.url) == []
    for name, ra in (("gaia.dr3_bright", "ra"), ("hipparcos.hip2", "ra")):
        table = catalog.table(name)
        assert table is not None
        assert table.sky is not None
        assert table.sky.ra == ra
    assert catalog.fetch("SELECT count(*) FROM gaia.dr3_bright WHERE pmra = 0 AND pmdec = 0") == [(358,)]


def test_two_that_build_the_demo_at_once_are_both_content(catalog: Catalog) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            ensure_demo(catalog.url)
        except BaseException as e:  # noqa: BLE001  # reported below
            failures.append(e)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert catalog.fetch("SELECT count(*) FROM gaia.dr3_bright") == [(482_176,)]
