"""Files become published tables: names, types, metadata, indexes, several files, replacing, dropping."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.db.roles import QUERY_ROLE
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError, IngestError, NotFoundError
from gateway.ingest.progress import Phase, Progress
from gateway.ingest.tables import drop_table, ingest_table
from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate
from gateway.vo.tableset import Column, Datatype, ForeignKey, Schema, Tableset, VOType
from tests.support.catalogs import Catalog, assert_same

Write = Callable[..., Path]
instant = datetime.fromisoformat


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    def write(file: str = "t.parquet", /, **columns: Any) -> Path:
        pq.write_table(pa.table(columns), tmp_path / file)
        return tmp_path / file

    return write


def columns(catalog: Catalog, name: str = "survey.stars") -> dict[str, Column]:
    table = catalog.table(name)
    assert table is not None
    return {column.name: column for column in table.columns}


# -- values and names -----------------------------------------------------------------------------------------


def test_values_of_every_type_survive(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    rows = pa.table(
        {
            "id": pa.array([-(2**63), 2**63 - 1, 1234567890123456789], pa.int64()),
            "flag": pa.array([True, None, False]),
            "x": pa.array([float("nan"), None, -0.0]),
            "f": pa.array([1.1, None, float("inf")], pa.float32()),
            "text": pa.array(["", None, "naïve ★ 中"]),
            "when": pa.array([instant("2020-02-29T12:00:00.000001"), None, instant("0001-01-01")], pa.timestamp("us")),
            "v": pa.array([[1.5, 2.5], None, []], pa.list_(pa.float64())),
            "bits": pa.array([[True], None, [False, True]], pa.list_(pa.bool_())),
        }
    )
    catalog.publish(parquet(**{name: rows[name] for name in rows.column_names}))
    assert_same(catalog.rows(), rows.take([0, 2, 1]))


def test_7_bit_text_is_told_from_other_text(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet(plain=["a", None, ""], other=["a", "b", "é"], none=pa.nulls(3, pa.string())))
    found = {name: column.field.type for name, column in columns(catalog).items()}
    assert found == {
        "plain": VOType(Datatype.CHAR, "*"),
        "other": VOType(Datatype.UNICODE_CHAR, "*"),
        "none": VOType(Datatype.CHAR, "*"),
    }


def test_one_letter_in_the_last_of_many_rows_makes_text_unicode(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet(name=["a"] * 100_000 + ["é"]))
    assert columns(catalog)["name"].field.type.datatype is Datatype.UNICODE_CHAR


ODD = [
    "2MASS",
    "my column",
    "RAJ2000",
    "B-V",
    "x" * 80,
    "x" * 79 + "y",
    "select",
    "user",
    "ctid",
    "gw_hpx29",
    "Ωm",
    'say "hi"',
    "a.b",
    "%",
    "$1",
]


def test_odd_column_names_are_kept(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet(**{name: [number] for number, name in enumerate(ODD)}))
    found = catalog.rows()
    assert found.column_names == ODD
    assert [found[name][0].as_py() for name in ODD] == list(range(len(ODD)))


def test_names_that_clash_by_case_are_both_there(catalog: Catalog, write: Write) -> None:
    report = catalog.publish(write("a.csv", "Mag,mag,MAG,mag\n1,2,3,4\n"))
    assert catalog.rows().to_pylist() == [{"Mag": 1, "mag_2": 2, "MAG_3": 3, "mag_4": 4}]
    assert sum("is published as" in warning for warning in report.warnings) == 3


def test_a_position_beside_a_column_named_like_the_hidden_one(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet(ra=[1.0], dec=[2.0], gw_hpx29=[7]))
    assert catalog.rows().to_pylist() == [{"ra": 1.0, "dec": 2.0, "gw_hpx29": 7}]
    assert columns(catalog)["gw_hpx29"].physical == "c_gw_hpx29"


@pytest.mark.parametrize("name", ['survey."my stars"', '"2MASS".psc', 'survey."select"', "Survey.Stars"])
def test_odd_table_names_are_kept(catalog: Catalog, parquet: Callable[..., Path], name: str) -> None:
    report = catalog.publish(parquet(a=[1]), name=name)
    assert report.table == name
    assert catalog.column("a", name) == [1]


def test_the_query_role_reads_it_and_not_the_hidden_column(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet(ra=[1.0], dec=[2.0]))

    async def read() -> Any:
        connection = await asyncpg.connect(DatabaseURL.parse(catalog.url).asyncpg())
        try:
            await connection.execute(f"SET ROLE {QUERY_ROLE}")
            return await connection.fetchval("SELECT ra + dec FROM survey.stars")
        finally:
            await connection.close()

    assert asyncio.run(read()) == 3.0
    assert "gw_hpx29" not in columns(catalog)


# -- metadata -------------------------------------------------------------------------------------------------

DESCRIPTION = """
name: survey
description: A survey
tables:
- name: stars
  description: Its stars
  primaryKey: id
  tap:table_index: 2
  columns:
  - {name: id, datatype: long, description: Number, ivoa:ucd: meta.id;meta.main, tap:principal: 1, tap:column_index: 1}
  - {name: RA, datatype: double, ivoa:unit: deg, ivoa:ucd: pos.eq.ra;meta.main, tap:column_index: 2, tap:std: 1}
  - {name: Dec, datatype: double, ivoa:unit: deg, ivoa:ucd: pos.eq.dec;meta.main, tap:column_index: 3}
  - {name: name, datatype: string, length: 4, tap:column_index: 5}
  - {name: mag, datatype: float, fits:tunit: mag, tap:column_index: 4}
  - {name: absent, datatype: int}
  indexes:
  - {name: by_mag, columns: [mag]}
- name: visits
  columns:
  - {name: star, datatype: long}
  constraints:
  - {name: of, "@type": ForeignKey, columns: [star], referencedColumns: ["#stars.id"], description: The star}
"""


def test_a_description_wins_over_the_file(catalog: Catalog, write: Write) -> None:
    content = "id,ra,dec,name,mag\n1,10.0,20.0,abc,5.5\n2,11.0,21.0,Vega!,6.5\n"
    report = catalog.publish(write("a.csv", content), describe=write("d.yaml", DESCRIPTION))
    table = catalog.table()
    assert table is not None
    assert (table.description, table.index, table.nrows) == ("Its stars", 2, 2)
    assert [column.name for column in table.columns] == ["id", "RA", "Dec", "mag", "name"]
    found = columns(catalog)
    assert found["mag"].field.type == VOType(Datatype.FLOAT)
    assert found["mag"].field.unit == "mag"
    assert found["name"].field.type == VOType(Datatype.CHAR, "*"), "a value is longer than the description promises"
    assert [name for name, column in found.items() if column.is_principal] == ["id"]
    assert [name for name, column in found.items() if column.is_std] == ["RA"]
    assert {name for name, column in found.items() if column.is_indexed} == {"id", "mag"}
    assert table.sky is not None
    assert "the description has columns that the files have not: absent" in report.warnings
    assert catalog.fetch("SELECT description FROM tap_schema.schemas WHERE schema_name = 'survey'") == [("A survey",)]


def test_a_promised_length_that_is_kept_is_published(catalog: Catalog, write: Write) -> None:
    catalog.publish(write("a.csv", "name\nabc\n"), describe=write("d.yaml", DESCRIPTION))
    assert columns(catalog)["name"].field.type == VOType(Datatype.CHAR, "4*")


def test_foreign_keys_are_published(catalog: Catalog, write: Write) -> None:
    describe = write("d.yaml", DESCRIPTION)
    catalog.publish(write("a.csv", "id\n1\n"), describe=describe)
    catalog.publish(write("b.csv", "star\n1\n"), name="survey.visits", describe=describe)
    table = catalog.table("survey.visits")
    assert table is not None
    assert table.keys == (ForeignKey("survey.visits.of", "survey.stars", (("star", "id"),), "The star"),)


def test_a_primary_key_that_is_not_unique_is_a_note_and_an_index(catalog: Catalog, write: Write) -> None:
    report = catalog.publish(write("a.csv", "id\n1\n1\n"), describe=write("d.yaml", DESCRIPTION))
    assert "the primary key id of the description is not unique in the files" in report.warnings
    assert columns(catalog)["id"].is_indexed


def test_a_value_against_the_description_is_refused_by_row(catalog: Catalog, write: Write) -> None:
    with pytest.raises(IngestError, match=r"a\.csv, row 2, column 'mag': 'faint' is no float"):
        catalog.publish(write("a.csv", "mag\n1.5\nfaint\n"), describe=write("d.yaml", DESCRIPTION))
    assert catalog.names() == set()


# -- positions ------------------------------------------------------------------------------------------------


def test_positions_are_indexed_and_sorted(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    random = np.random.default_rng(5)
    catalog.publish(parquet(RAJ2000=random.uniform(0, 360, 5_000), DEJ2000=random.uniform(-90, 90, 5_000)))
    table = catalog.table()
    assert table is not None
    assert table.sky is not None
    assert (table.sky.ra, table.sky.dec, table.sky.healpix, table.sky.has_zones) == (
        "raj2000",
        "dej2000",
        "gw_hpx29",
        True,
    )
    definitions = [row[0] for row in catalog.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'survey'")]
    assert sum("(gw_hpx29)" in text for text in definitions) == 1
    assert sum("(sky.zone(dej2000), raj2000)" in text for text in definitions) == 1
    assert catalog.fetch(
        "SELECT bool_and(gw_hpx29 >= before) FROM (SELECT gw_hpx29, lag(gw_hpx29) OVER (ORDER BY ctid) before FROM survey.stars) s"
    ) == [(True,)]
    assert catalog.fetch(
        "SELECT reltuples::int, relallvisible > 0 FROM pg_class WHERE oid = 'survey.stars'::regclass"
    ) == [(5_000, True)]


def test_rows_sorted_on_disk_are_all_there_in_order(
    catalog: Catalog, parquet: Callable[..., Path], tmp_path: Path
) -> None:
    random = np.random.default_rng(5)
    rows = {"n": np.arange(50_000), "ra": random.uniform(0, 360, 50_000), "dec": random.uniform(-90, 90, 50_000)}
    catalog.publish(parquet(**rows), memory_budget=300_000, folder=tmp_path)
    assert_same(catalog.rows(), pa.table(rows))
    assert catalog.fetch(
        "SELECT bool_and(gw_hpx29 >= before) FROM (SELECT gw_hpx29, lag(gw_hpx29) OVER (ORDER BY ctid) before FROM survey.stars) s"
    ) == [(True,)]


def test_columns_asked_for_are_the_positions(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet(lon=[1.0], lat=[2.0]), ra="lon", dec="lat")
    table = catalog.table()
    assert table is not None
    assert table.sky is not None
    assert table.sky.ra == "lon"


def test_a_wrong_column_asked_for_is_refused(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    with pytest.raises(IngestError, match="no column 'lon'; columns are a, b"):
        catalog.publish(parquet(a=[1.0], b=[2.0]), ra="lon", dec="b")


def test_a_table_without_positions_says_so(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    report = catalog.publish(parquet(a=[1]))
    assert any("--ra" in warning for warning in report.warnings)


def test_right_ascensions_beyond_the_circle_are_kept_and_counted(
    catalog: Catalog, parquet: Callable[..., Path]
) -> None:
    report = catalog.publish(parquet(ra=[-1.0, 400.0, 5.0], dec=[0.0, 0.0, 0.0]))
    assert sorted(catalog.column("ra")) == [-1.0, 5.0, 400.0]
    assert any(warning.startswith("2 rows have a right ascension outside") for warning in report.warnings)


def test_right_ascensions_beyond_the_circle_are_found_and_joined(
    catalog: Catalog, parquet: Callable[..., Path]
) -> None:
    report = catalog.publish(parquet(id=[1, 2, 3], ra=[-1.0, 400.0, 5.0], dec=[0.0, 0.0, 0.0]))
    table = catalog.table()
    assert table is not None
    tables = Tableset((Schema("survey", (table,)),))

    def ids(adql: str) -> list[int]:
        return sorted(number for (number,) in catalog.fetch(translate(adql, tables, index=HealpixIndex()).sql))

    for place, wanted in ((359, 1), (40, 2), (5, 3)):
        assert ids(f"SELECT id FROM {report.table} WHERE DISTANCE(ra, dec, {place}, 0) < 0.1") == [wanted]
    join = f"SELECT a.id FROM {report.table} AS a JOIN {report.table} AS b ON DISTANCE(a.ra, a.dec, b.ra + 360, b.dec) < 0.1"
    assert ids(join) == [1, 2, 3]


def test_a_unit_that_contradicts_the_file_is_refused(catalog: Catalog, tmp_path: Path, write: Write) -> None:
    schema = pa.schema([pa.field(name, pa.float64(), metadata={"unit": "rad"}) for name in ("ra", "dec")])
    pq.write_table(pa.table({"ra": [1.0], "dec": [0.5]}, schema=schema), tmp_path / "t.parquet")
    describe = write("d.yaml", DESCRIPTION)
    with pytest.raises(IngestError, match="is in rad in the file, but in deg in the description"):
        catalog.publish(tmp_path / "t.parquet", describe=describe)
    catalog.publish(tmp_path / "t.parquet", describe=describe, convert_radians=True)
    assert catalog.column("RA") == [np.degrees(1.0)]
    assert columns(catalog)["RA"].field.unit == "deg"


# -- several files --------------------------------------------------------------------------------------------


def test_several_files_are_one_table_whatever_their_order_of_columns(
    catalog: Catalog, parquet: Callable[..., Path], write: Write
) -> None:
    one = parquet("1.parquet", id=[1, 2], ra=[1.0, 2.0], dec=[3.0, 4.0])
    two = parquet("2.parquet", dec=[6.0], id=[3], ra=[5.0])
    three = write("3.csv", "ra,dec,id\n7.5,8.5,4\n")
    report = catalog.publish(one, two, three)
    assert report.rows == 4
    assert catalog.rows().to_pylist()[2:] == [{"id": 3, "ra": 5.0, "dec": 6.0}, {"id": 4, "ra": 7.5, "dec": 8.5}]


def test_types_of_several_files_are_widened(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    one = parquet("1.parquet", n=pa.array([1], pa.int16()), x=pa.array([1.5], pa.float32()), s=["a"])
    two = parquet("2.parquet", n=pa.array([2**40], pa.int64()), x=pa.array([0.1], pa.float64()), s=["é"])
    catalog.publish(one, two)
    assert catalog.column("n") == [1, 2**40]
    assert columns(catalog)["x"].field.type == VOType(Datatype.DOUBLE)
    assert columns(catalog)["s"].field.type.datatype is Datatype.UNICODE_CHAR


def test_types_found_in_several_csv_files_agree(catalog: Catalog, write: Write) -> None:
    catalog.publish(write("1.csv", "a,b,c\n1,2,\n"), write("2.csv", "a,b,c\n1.5,x,7\n"))
    found = {name: column.field.type.datatype for name, column in columns(catalog).items()}
    assert found == {"a": Datatype.DOUBLE, "b": Datatype.CHAR, "c": Datatype.LONG}
    assert catalog.column("c") == [None, 7]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"a": [1]}, r"2\.parquet: has no column 'b', which 1\.parquet has"),
        ({"a": [1], "b": ["x"], "c": [1]}, r"1\.parquet: has no column 'c', which 2\.parquet has"),
        ({"a": ["x"], "b": ["x"]}, r"2\.parquet, column 'a': is text, but long in 1\.parquet"),
        ({"a": [1.5], "b": ["x"]}, r"2\.parquet, column 'a': is double, but long in 1\.parquet"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(
    catalog: Catalog, parquet: Callable[..., Path], second: dict[str, Any], reason: str
) -> None:
    with pytest.raises(IngestError, match=reason):
        catalog.publish(parquet("1.parquet", a=[1], b=["x"]), parquet("2.parquet", **second))
    assert catalog.names() == set()


# -- all or nothing -------------------------------------------------------------------------------------------


def test_a_broken_row_late_in_the_second_file_publishes_nothing(catalog: Catalog, write: Write) -> None:
    good, bad = write("1.csv", "a,ra,dec\n1,2.5,3\n"), write("2.csv", "a,ra,dec\n1,2.5,3\n4,5\n")
    with pytest.raises(IngestError, match=r"2\.csv, row 2: has 2 values for 3 columns"):
        catalog.publish(good, bad)
    assert catalog.names() == set()
    assert catalog.table() is None


def test_a_table_of_no_rows_is_published(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    report = catalog.publish(
        parquet(ra=pa.array([], pa.float64()), dec=pa.array([], pa.float64()), name=pa.array([], pa.string()))
    )
    assert report.rows == 0
    assert catalog.rows().num_rows == 0
    table = catalog.table()
    assert table is not None
    assert table.nrows == 0


def test_a_table_without_columns_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    pq.write_table(pa.table({}), tmp_path / "t.parquet")
    with pytest.raises(IngestError, match="no columns"):
        catalog.publish(tmp_path / "t.parquet")


def test_no_files_are_refused(catalog: Catalog) -> None:
    with pytest.raises(IngestError, match="at least one file"):
        catalog.publish()


def test_a_name_that_is_taken_is_refused_before_anything_is_read(
    catalog: Catalog, parquet: Callable[..., Path]
) -> None:
    catalog.publish(parquet(a=[1]))
    with pytest.raises(IngestError, match=r"survey\.stars is published already.*--replace"):
        catalog.publish(Path("absent.csv"))


def test_a_name_that_differs_by_case_is_the_same(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet(a=[1]))
    with pytest.raises(IngestError, match=r"published as survey\.stars"):
        catalog.publish(parquet(a=[1]), name="Survey.STARS", replace=True)


def test_replacing_swaps_rows_columns_and_metadata(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet("1.parquet", ra=[1.0], dec=[1.0], old=[1]))
    before = catalog.fetch("SELECT version FROM tap_schema.version")
    catalog.publish(parquet("2.parquet", new=["x"]), replace=True)
    assert catalog.rows().to_pylist() == [{"new": "x"}]
    assert catalog.names() == {"survey.stars"}
    assert catalog.fetch("SELECT version FROM tap_schema.version") > before


def test_replacing_nothing_is_publishing(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    assert catalog.publish(parquet(a=[1]), replace=True).rows == 1


def test_a_replacement_that_fails_leaves_the_old_table(
    catalog: Catalog, parquet: Callable[..., Path], write: Write
) -> None:
    catalog.publish(parquet(a=[1]))
    with pytest.raises(IngestError, match="row 2"):
        catalog.publish(write("a.csv", "a,b\n1,2\n3\n"), replace=True)
    assert catalog.rows().to_pylist() == [{"a": 1}]
    assert catalog.names() == {"survey.stars"}


def test_replacing_waits_for_a_query_and_does_not_stop_others(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet("1.parquet", a=[1]))
    replacement = parquet("2.parquet", a=[2])

    async def scenario() -> list[int]:
        reader = await asyncpg.connect(DatabaseURL.parse(catalog.url).asyncpg())
        other = await asyncpg.connect(DatabaseURL.parse(catalog.url).asyncpg())
        try:
            transaction = reader.transaction()
            await transaction.start()
            seen = [await reader.fetchval("SELECT a FROM survey.stars")]
            waiting = asyncio.create_task(
                asyncio.to_thread(ingest_table, [replacement], name="survey.stars", admin_url=catalog.url, replace=True)
            )
            blocked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock')"
            while not await reader.fetchval(blocked):
                await asyncio.sleep(0.02)
            # Behind the waiting DROP, yet answered: its tries are short.
            seen.append(await other.fetchval("SELECT a FROM survey.stars", timeout=10))
            await transaction.rollback()
            await waiting
            seen.append(await other.fetchval("SELECT a FROM survey.stars"))
        finally:
            await reader.close()
            await other.close()
        return seen

    assert asyncio.run(scenario()) == [1, 1, 2]


def test_a_table_of_somebody_else_is_neither_taken_nor_replaced(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.fetch("CREATE SCHEMA survey")
    catalog.fetch("CREATE TABLE survey.stars (precious integer)")
    with pytest.raises(IngestError, match=r"already has a table survey\.stars that is not ours"):
        catalog.publish(parquet(a=[1]), replace=True)
    assert catalog.fetch("SELECT count(*) FROM survey.stars") == [(0,)]


def test_dropping_removes_rows_and_metadata(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    catalog.publish(parquet(a=[1]))
    drop_table("survey.stars", catalog.url)
    assert catalog.table() is None
    assert catalog.names() == set()
    with pytest.raises(NotFoundError, match=r"no published table survey\.stars"):
        drop_table("survey.stars", catalog.url)


def test_rows_too_wide_for_postgresql_are_told(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    with pytest.raises(IngestError, match=r"too large for PostgreSQL.*split"):
        catalog.publish(parquet(**{f"c{number}": [0.5] for number in range(1_200)}))
    with pytest.raises(IngestError, match="1700 columns"):
        catalog.publish(parquet(**{f"c{number}": [1] for number in range(1_700)}))


def test_a_database_that_was_not_migrated_is_told(empty_database_url: str, parquet: Callable[..., Path]) -> None:
    with pytest.raises(IngestError, match="gateway migrate"):
        ingest_table([parquet(a=[1])], name="survey.stars", admin_url=empty_database_url)


def test_a_server_that_is_absent_is_told(parquet: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="does not answer"):
        ingest_table([parquet(a=[1])], name="survey.stars", admin_url=f"postgresql://postgres@/x?host={tmp_path}")


def test_progress_tells_phases_in_order_and_ends_full(catalog: Catalog, parquet: Callable[..., Path]) -> None:
    seen: list[Progress] = []
    random = np.random.default_rng(1)
    path = parquet(ra=random.uniform(0, 360, 200_000), dec=random.uniform(-90, 90, 200_000))
    catalog.publish(path, progress=seen.append)
    phases = list(dict.fromkeys(item.phase for item in seen))
    assert phases == [Phase.READING, Phase.LOADING, Phase.INDEXING]
    for phase in phases:
        done = [item.done for item in seen if item.phase is phase]
        assert done == sorted(done)
        last = [item for item in seen if item.phase is phase][-1]
        assert last.done == last.total
    assert seen[-1].rows == 200_000
