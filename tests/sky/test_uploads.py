"""Joins with an uploaded table, made and indexed as a session does it: the index is used, whatever the types and the phrasing."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from gateway.db.sessions import create_statements, index_statements
from gateway.sky.index import order29
from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate
from gateway.vo.tableset import Column, Datatype, Field, Schema, SkyIndex, Table, Tableset, VOType
from tests.sky import judge

INDEX = HealpixIndex()
SKY = SkyIndex("ra", "dec", "gw_hpx29", has_zones=True)
DATATYPES = {"double precision": Datatype.DOUBLE, "real": Datatype.FLOAT, "integer": Datatype.INT}


def table(schema: str, name: str, physical: str, sql: str, nrows: int) -> Table:
    columns = [Column(Field("id", VOType(Datatype.LONG)), "id", "bigint")]
    columns += [Column(Field(name, VOType(DATATYPES[sql])), name, sql) for name in ("ra", "dec")]
    return Table(schema, name, tuple(columns), physical, name, sky=SKY, nrows=nrows)


STARS = table("u", "stars", "u", "double precision", 60_000)


class Places:
    """A published table and what it is joined with."""

    def __init__(self, database, positions: np.ndarray) -> None:
        self.database = database
        self.positions = positions

    def upload(self, sql: str, nrows: int, *, declared: int | None = None) -> Table:
        """Upload the first positions, moved a little, as numbers of a type."""
        mine = replace(table("TAP_UPLOAD", f"mine_{sql[:4]}_{nrows}", "pg_temp", sql, declared or nrows))
        moved = self.positions[:nrows] + np.array([0.0, 1e-5])
        moved[:, 1] = np.clip(moved[:, 1], -90, 90)
        if sql == "integer":
            moved = np.round(moved)
        elif sql == "real":
            moved = moved.astype(np.float32).astype(float)
        self.database.run(f"DROP TABLE IF EXISTS pg_temp.{mine.name}")
        self.database.load("loaded", id=np.arange(nrows), ra=moved[:, 0], dec=moved[:, 1], gw_hpx29=order29(*moved.T))
        self.database.run(
            "BEGIN",
            *(text.replace(" ON COMMIT DROP", "") for text in create_statements(mine)),
            f"INSERT INTO pg_temp.{mine.name} SELECT * FROM loaded",
            *index_statements(mine),
            "COMMIT",
            "DROP TABLE loaded",
        )
        return mine

    def sql(self, adql: str, *uploads: Table) -> str:
        tables = Tableset((Schema("u", (STARS,)), Schema("TAP_UPLOAD", uploads)))
        return translate(adql, tables, index=INDEX).sql


@pytest.fixture(scope="module")
def places(sky_database) -> Iterator[Places]:
    positions = judge.random_positions(np.random.default_rng(8), 60_000)
    ra, dec = positions.T
    sky_database.run("CREATE SCHEMA u", "SET search_path = u")
    sky_database.load("stars", id=np.arange(60_000), ra=ra, dec=dec, gw_hpx29=order29(ra, dec))
    sky_database.run(
        "CREATE INDEX ON stars (gw_hpx29)",
        "CREATE INDEX ON stars (sky.zone(dec), ra)",
        "ANALYZE stars",
        "RESET search_path",
    )
    yield Places(sky_database, positions)
    sky_database.run("DROP SCHEMA u CASCADE")


TESTS = [
    "1 = CONTAINS(POINT(c.ra, c.dec), CIRCLE(m.ra, m.dec, {r}))",
    "1 = CONTAINS(POINT(m.ra, m.dec), CIRCLE(c.ra, c.dec, {r}))",
    "CONTAINS(POINT(c.ra, c.dec), CIRCLE(POINT(m.ra, m.dec), {r})) = 1",
    "DISTANCE(POINT(c.ra, c.dec), POINT(m.ra, m.dec)) < {r}",
    "{r} > DISTANCE(m.ra, m.dec, c.ra, c.dec)",
]


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("radius", ["0.001", "0.1"])
def test_adql52_a_join_with_an_upload_looks_up_the_published_table(places, test, radius) -> None:
    mine = places.upload("double precision", 300)
    expected = None
    for tables in ("TAP_UPLOAD.{} AS m JOIN u.stars AS c ON", "u.stars AS c JOIN TAP_UPLOAD.{} AS m ON"):
        for joined in (tables, tables.replace(" JOIN", ",").replace(" ON", " WHERE")):
            sql = places.sql(f"SELECT m.id, c.id FROM {joined.format(mine.name)} {test.format(r=radius)}", mine)
            plan = places.database.explain(sql)
            assert "stars_zone_ra_idx" in plan
            assert "Seq Scan on stars" not in plan
            found = sorted(places.database.rows(sql))
            assert {(n, n) for n in range(300)} <= set(found)
            assert expected in {None, tuple(found)}
            expected = tuple(found)


@pytest.mark.parametrize("sql_type", DATATYPES)
@pytest.mark.parametrize("radius", ["0.001", "0.1"])
def test_adql52_a_join_looks_up_the_upload_where_the_published_table_is_cut_down(places, sql_type, radius) -> None:
    mine = places.upload(sql_type, 30_000)
    for tables in (
        f"TAP_UPLOAD.{mine.name} AS m JOIN u.stars AS c",
        f"u.stars AS c JOIN TAP_UPLOAD.{mine.name} AS m",
    ):
        adql = f"SELECT m.id, c.id FROM {tables} ON DISTANCE(m.ra, m.dec, c.ra, c.dec) < {radius} WHERE c.id < 20"
        sql = places.sql(adql, mine)
        plan = places.database.explain(sql)
        conditions = [line for line in plan.splitlines() if "Index Cond" in line and "'120'" in line]
        assert conditions, plan
        # the index finds the right ascension too, not the zone alone
        assert all("(ra)::double precision >= " in line or "(ra >= " in line for line in conditions), plan
        assert f"Seq Scan on {mine.name}" not in plan
        plain = f"SELECT m.id, c.id FROM pg_temp.{mine.name} AS m, u.stars AS c WHERE c.id < 20 AND sky.distance(m.ra, m.dec, c.ra, c.dec) < {radius}"
        found = sorted(places.database.rows(sql))
        assert found == sorted(places.database.rows(plain))
        assert found or sql_type == "integer"


@pytest.mark.parametrize("sql_type", DATATYPES)
def test_a_cone_in_an_upload_is_found_by_its_index(places, sql_type) -> None:
    mine = places.upload(sql_type, 30_000)
    sql = places.sql(f"SELECT id FROM TAP_UPLOAD.{mine.name} WHERE DISTANCE(ra, dec, 10, 20) < 1", mine)
    assert f"{mine.name}_gw_hpx29_idx" in places.database.explain(sql)
    plain = f"SELECT id FROM pg_temp.{mine.name} WHERE sky.distance(ra, dec, 10, 20) < 1"
    assert sorted(places.database.column(sql)) == sorted(places.database.column(plain)) != []


@pytest.mark.parametrize("test", TESTS)
def test_adql52_a_join_of_two_published_tables_looks_up_one_of_them(places, test) -> None:
    for tables in ("u.stars AS c JOIN u.stars AS m ON", "u.stars AS m JOIN u.stars AS c ON"):
        plan = places.database.explain(places.sql(f"SELECT m.id, c.id FROM {tables} {test.format(r='0.0003')}"))
        assert plan.count("stars_zone_ra_idx") >= 1
        assert plan.count("Seq Scan on stars") <= 1  # of the side that drives
        assert "Materialize" not in plan
