"""HEALPix indices of indexed positions are read from the table, and give what would have been computed."""

import numpy as np
import pytest

from gateway.sky.index import order29
from gateway.vo.adql import translate
from tests.vo.adql.tables import TABLES


@pytest.fixture(scope="module")
def stars(sky_database):
    rng = np.random.default_rng(17)
    everywhere = np.column_stack([rng.uniform(0, 360, 20_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))])
    places = np.vstack([everywhere, rng.uniform((30, -20), (31, -19), (10_000, 2))])
    ra, dec = places.T
    sky_database.load(
        "celled",
        id=np.arange(len(ra)),
        ra=ra,
        dec=dec,
        mag=dec / 9,
        n_obs=np.ones(len(ra), np.int16),
        gw_hpx29=order29(ra % 360, dec),
    )
    sky_database.run("CREATE INDEX ON celled (gw_hpx29)", "ANALYZE celled")
    yield places
    sky_database.run("DROP TABLE celled")


def both(query: str) -> tuple[str, str]:
    """A query as it is run, and as it would be if nothing were stored."""
    run = translate(query, TABLES).sql.replace('"survey"."stars"', "celled")
    plain = translate(query.replace("ra,", "ra + 0.0,"), TABLES).sql.replace('"survey"."stars"', "celled")
    assert ".healpix_index(" not in run.lower()
    assert ".healpix_index(" in plain.lower()
    return run, plain


@pytest.mark.parametrize(
    "query",
    [
        "SELECT ivo_healpix_index(4, ra, dec) AS hpx, COUNT(*) AS n FROM survey.stars GROUP BY hpx ORDER BY hpx",
        (
            "SELECT ivo_healpix_index(3, POINT(ra, dec)), COUNT(*) FROM survey.stars"
            " GROUP BY ivo_healpix_index(3, POINT(ra, dec)) ORDER BY ivo_healpix_index(3, POINT(ra, dec))"
        ),
        "SELECT id, ivo_healpix_index(29, ra, dec) FROM survey.stars ORDER BY id",
        "SELECT MAX(ivo_healpix_index(2, ra, dec)), COUNT(DISTINCT ivo_healpix_index(1, ra, dec)) FROM survey.stars",
        "SELECT COUNT(*) FROM survey.stars WHERE ivo_healpix_index(0, ra, dec) = 5",
        "SELECT COUNT(*) FROM survey.stars WHERE 7 < ivo_healpix_index(0, ra, dec) AND 9 >= ivo_healpix_index(0, ra, dec)",
        "SELECT COUNT(*) FROM survey.stars WHERE ivo_healpix_index(5, ra, dec) BETWEEN 1000 AND 2000",
        "SELECT COUNT(*) FROM survey.stars WHERE ivo_healpix_index(5, ra, dec) < 1000 OR ivo_healpix_index(5, ra, dec) >= 9999",
        "SELECT COUNT(*) FROM survey.stars WHERE NOT ivo_healpix_index(0, ra, dec) = 5",
        "SELECT COUNT(*) FROM survey.stars WHERE ivo_healpix_index(0, ra, dec) <= -1 OR ivo_healpix_index(0, ra, dec) > 99",
        "SELECT COUNT(*) FROM survey.stars WHERE ivo_healpix_index(0, ra, dec) IN (3, 5) AND ivo_healpix_index(1, ra, dec) <> 20",
        (
            "SELECT COUNT(*) FROM survey.stars AS a JOIN survey.stars AS b"
            " ON ivo_healpix_index(6, a.ra, a.dec) = ivo_healpix_index(6, b.ra, b.dec) AND a.id < 500 AND b.id < 500"
        ),
        "SELECT FLOOR(ivo_healpix_index(2, ra, dec) / 16.0) AS face, COUNT(*) FROM survey.stars GROUP BY face ORDER BY face",
        "SELECT ivo_healpix_index(2, ra, dec) + 1 AS h FROM survey.stars GROUP BY ivo_healpix_index(2, ra, dec) ORDER BY h",
        (
            "SELECT ivo_healpix_index(1, ra, dec) AS h FROM survey.stars GROUP BY h HAVING ivo_healpix_index(1, ra, dec) > 40"
            " ORDER BY h"
        ),
    ],
)
def test_stored_index_gives_what_would_be_computed(sky_database, stars, query) -> None:
    run, plain = both(query)
    found = sky_database.rows(run)
    assert found
    assert found == sky_database.rows(plain)


def test_one_cell_is_found_by_the_index(sky_database, stars) -> None:
    query = translate("SELECT id FROM survey.stars WHERE ivo_healpix_index(8, ra, dec) = 524289", TABLES).sql
    plan = sky_database.explain(query.replace('"survey"."stars"', "celled"))
    assert "gw_hpx29 >=" in plan
    assert "Index" in plan


@pytest.mark.parametrize(
    "query",
    [
        "SELECT ivo_healpix_index(4, ra, dec) AS h, COUNT(*) FROM survey.stars GROUP BY ra, dec ORDER BY ra, dec",
        "SELECT ivo_healpix_index(4, ra, dec) AS h, ra FROM survey.stars GROUP BY h, ra, dec ORDER BY h",
        "SELECT ivo_healpix_index(4, ra, mag) FROM survey.stars",
        "SELECT ivo_healpix_index(n_obs, ra, dec) FROM survey.stars",
        "SELECT ivo_healpix_index(4, q.ra, q.dec) FROM (SELECT ra, dec FROM survey.stars) AS q",
        "SELECT ra, (SELECT MAX(t.id + ivo_healpix_index(4, s.ra, s.dec)) FROM survey.stars AS t) AS h FROM survey.stars AS s GROUP BY ra, dec",
    ],
)
def test_index_is_computed_where_the_stored_one_is_out_of_reach(sky_database, stars, query) -> None:
    sql = translate(query.replace("SELECT ", "SELECT TOP 9 ", 1), TABLES).sql.replace('"survey"."stars"', "celled")
    assert ".healpix_index(" in sql.lower()
    assert sky_database.rows(sql)
