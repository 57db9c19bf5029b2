"""Transforms between reference frames against astropy, which is good to the rotation that each of them is."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import FK5, BarycentricMeanEcliptic, FK4NoETerms, Galactic, SkyCoord, Supergalactic

from gateway.vo.adql import translate
from gateway.vo.adql.functions.frames import FROM_ICRS, product, rotation, transposed
from tests.sky import judge
from tests.vo.adql.tables import TABLES

ASTROPY = {
    "ICRS": "icrs",
    "FK5": FK5(equinox="J2000"),
    "FK4": FK4NoETerms(equinox="B1950"),
    "GALACTIC": Galactic(),
    "ECLIPTIC": BarycentricMeanEcliptic(equinox="J2000"),
    "SUPER_GALACTIC": Supergalactic(),
}
MILLIARCSECOND = 1 / 3.6e6


@pytest.fixture(scope="module")
def positions(sky_database):
    rng = np.random.default_rng(7)
    places = judge.random_positions(rng, 2000)
    places[:8] = [
        (0, 90),
        (0, -90),
        (0, 0),
        (360, 0),
        (192.85948, 27.12825),
        (12.85948, -27.12825),
        (90, 89.9999999),
        (270, 0),
    ]
    sky_database.load("framed", n=np.arange(len(places)), ra=places[:, 0], dec=places[:, 1])
    yield places
    sky_database.run("DROP TABLE framed")


def transformed(sky_database, source: str, target: str, shape: str = "POINT(ra, dec)") -> np.ndarray:
    query = f"SELECT ivo_geom_transform('{source}', '{target}', {shape}) FROM survey.stars"
    sql = translate(query, TABLES).sql.replace('"survey"."stars"', "framed")
    return np.array(sky_database.column(f'SELECT * FROM ({sql}) AS "q"'))


@pytest.mark.parametrize("source", FROM_ICRS)
@pytest.mark.parametrize("target", FROM_ICRS)
def test_transform_is_that_of_astropy(sky_database, positions, source, target) -> None:
    found = transformed(sky_database, source, target)
    expected = SkyCoord(*positions.T * u.deg, frame=ASTROPY[source]).transform_to(ASTROPY[target])
    lon, lat = expected.spherical.lon.deg, expected.spherical.lat.deg
    # astropy goes from FK4 to FK5 by a matrix of six digits of its own; the galactic pole is defined in FK4, and rounded in FK5
    limit = 10 * MILLIARCSECOND if (source == "FK4") != (target == "FK4") else 1e-11
    assert judge.distance(*found.T, lon, lat).max() < limit
    assert ((found[:, 0] >= 0) & (found[:, 0] < 360)).all()


def test_fk4_to_galactic_is_exactly_that_of_astropy(sky_database, positions) -> None:
    found = transformed(sky_database, "FK4", "GALACTIC")
    expected = SkyCoord(*positions.T * u.deg, frame=ASTROPY["FK4"]).galactic
    assert judge.distance(*found.T, expected.l.deg, expected.b.deg).max() < 1e-11


@pytest.mark.parametrize("frame", FROM_ICRS)
def test_way_back_is_the_identity(frame) -> None:
    there_and_back = np.array(product(rotation(frame, "ICRS"), rotation("ICRS", frame)))
    assert np.abs(there_and_back - np.eye(3)).max() < 1e-15
    assert np.array(transposed(FROM_ICRS[frame])) == pytest.approx(np.linalg.inv(np.array(FROM_ICRS[frame])), abs=1e-15)


def test_circle_keeps_its_radius_and_polygon_its_vertices(sky_database, positions) -> None:
    points = transformed(sky_database, "ICRS", "GALACTIC")
    circles = transformed(sky_database, "ICRS", "GALACTIC", "CIRCLE(ra, dec, 2.5)")
    assert (circles[:, :2] == points).all()
    assert (circles[:, 2] == 2.5).all()
    polygons = transformed(
        sky_database, "ICRS", "GALACTIC", "POLYGON(POINT(1, 2), POINT(ra, dec), POINT(3, 4), POINT(5, -6))"
    )
    assert (polygons[:, 2:4] == points).all()
    assert polygons.shape[1] == 8
