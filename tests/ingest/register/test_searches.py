"""Searches by position on a registered table: the index is used, and finds what a scan of the table finds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ingest.register.conftest import Many
from tests.ingest.register.site import Site, distances

CONES = [
    (180.0, 20.0, 0.5),
    (180.0, 20.0, 5.0),
    (0.01, 0.05, 0.2),  # across RA 0
    (359.99, 0.05, 0.2),
    (10.0, 89.99, 0.05),  # around the pole
    (200.0, -90.0, 0.0803),
    (90.0, 60.0, 40.0),
    (123.4, -5.6, 0.0),
]


def cone(ra: float, dec: float, radius: float) -> str:
    return f"SELECT id FROM survey.stars WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE({ra}, {dec}, {radius}))"


@pytest.mark.parametrize(("ra", "dec", "radius"), CONES)
def test_a_cone_finds_what_a_scan_finds(many: Many, ra: float, dec: float, radius: float) -> None:
    apart = distances(many.ra, many.dec, ra, dec)
    assert np.all(np.abs(apart[np.isfinite(apart)] - radius) > 1e-9), "a star on the rim proves nothing"
    expected = many.id[apart <= radius]
    assert sorted(many.site.column(cone(ra, dec, radius))) == sorted(expected)
    assert radius == 0 or expected.size


@pytest.mark.parametrize(("ra", "dec", "radius"), [one for one in CONES if one[2] < 10])
def test_a_cone_is_an_index_scan(many: Many, ra: float, dec: float, radius: float) -> None:
    plan = many.site.plan(cone(ra, dec, radius))
    assert "gw_zone_stars" in plan, plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    ("vertices", "axis"),
    [
        ([(10, 10), (14, 10), (14, 14), (10, 14)], (12, 12)),
        ([(30, -45), (60, -40), (45, -20)], (45, -35)),
        ([(359.9, -0.1), (0.1, -0.1), (0.1, 0.2), (359.9, 0.2)], (0, 0)),
        ([(0, 89.9), (90, 89.9), (180, 89.9), (270, 89.9)], (0, 90)),
    ],
)
def test_a_polygon_is_an_index_scan_and_finds_what_a_scan_finds(
    many: Many, vertices: list[tuple[float, float]], axis: tuple[float, float]
) -> None:
    numbers = ", ".join(f"{ra}, {dec}" for ra, dec in vertices)
    query = f"SELECT id FROM survey.stars WHERE 1 = CONTAINS(POINT(ra, dec), POLYGON({numbers}))"
    plan = many.site.plan(query)
    assert "gw_zone_stars" in plan, plan
    assert "Seq Scan" not in plan
    inside = np.ones(many.id.size, bool)
    here = unit(many.ra, many.dec)
    for (ra, dec), (next_ra, next_dec) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
        normal = np.cross(unit(ra, dec), unit(next_ra, next_dec))
        with np.errstate(invalid="ignore"):
            inside &= here @ (normal * np.sign(normal @ unit(*axis))) >= 0
    assert inside.any()
    assert sorted(many.site.column(query)) == sorted(many.id[inside])


def unit(ra: object, dec: object) -> np.ndarray:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec) * np.ones_like(ra)], axis=-1)


def test_a_join_by_position_looks_up_the_registered_table(many: Many) -> None:
    query = (
        "SELECT a.id, b.id AS other FROM survey.stars AS a JOIN survey.stars AS b"
        " ON DISTANCE(POINT(a.ra, a.dec), POINT(b.ra, b.dec)) < 9.7e-3 WHERE a.id <= 20 AND b.id <> a.id"
    )
    plan = many.site.plan(query)
    assert "gw_zone_stars" in plan, plan
    expected = set()
    for place in np.flatnonzero(many.id <= 20):
        apart = distances(many.ra, many.dec, many.ra[place], many.dec[place])
        expected |= {(many.id[place], other) for other in many.id[apart < 9.7e-3] if other != many.id[place]}
    assert expected
    assert {tuple(row.values()) for row in many.site.rows(query)} == expected


def test_the_planner_knows_about_how_many_rows_a_cone_has(many: Many) -> None:
    """No nested loop over a whole catalogue: the statistics of the expression are there."""
    plan = many.site.plan(cone(180, 20, 5)).splitlines()
    rows = [int(line.partition("rows=")[2].split()[0]) for line in plan if "rows=" in line]
    true = int((distances(many.ra, many.dec, 180, 20) <= 5).sum())
    assert max(rows) <= 20 * true
    assert max(rows) >= true / 20


@pytest.mark.parametrize("kind", ["real", "numeric", "numeric(9,6)", "integer", "survey_degrees"])
def test_positions_of_other_types_are_found_through_the_index(site: Site, kind: str) -> None:
    site.run(
        "CREATE DOMAIN public.survey_degrees AS double precision",
        f"CREATE TABLE public.stars (id int, ra {kind.replace('survey_', 'public.survey_')}, dec {kind.replace('survey_', 'public.survey_')})",
        "INSERT INTO public.stars SELECT g, (g * 37) % 360, (g * 17) % 170 - 85 FROM generate_series(1, 30000) g",
    )
    report = site.register(ra="ra", dec="dec")
    assert report.index is not None, report.notes
    expected = [row[0] for row in site.fetch("SELECT id FROM public.stars WHERE ra = 37 AND dec = -68 ORDER BY 1")]
    assert expected
    assert "gw_zone_" in site.plan(cone(37.01, -67.99, 0.1))
    assert sorted(site.column(cone(37.01, -67.99, 0.1))) == expected


def test_what_is_registered_without_index_is_found_all_the_same(few: Site) -> None:
    report = few.register(ra="ra", dec="dec", index=False)
    assert report.index is None
    assert few.indexes() == []
    ids, ra, dec = (np.array(column) for column in zip(*few.fetch("SELECT id, ra, dec FROM public.stars"), strict=True))
    expected = sorted(ids[distances(ra, dec, 37, -60) <= 30])
    assert expected
    assert sorted(few.column(cone(37, -60, 30))) == expected


def test_positions_may_be_hidden_columns(few: Site) -> None:
    few.run("CREATE TABLE public.survey AS SELECT id, ra AS x, dec AS y, mag FROM public.stars")
    few.register("public.survey", ra="x", dec="y", hide=["mag"])
    assert list(few.columns("survey.survey")) == ["id", "x", "y"]
