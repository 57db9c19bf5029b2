"""HEALPix in SQL against astropy's and the CDS's libraries."""

import cdshealpix
import numpy as np
import pytest
from astropy.coordinates import Latitude, Longitude

from gateway.sky.index import order29
from tests.sky import judge

ORDERS = np.arange(30)


def judged_index(lon, lat, orders) -> np.ndarray:
    return cdshealpix.lonlat_to_healpix(
        Longitude(lon, unit="deg"), Latitude(lat, unit="deg"), orders.astype(np.uint8)
    ).astype(np.int64)


@pytest.fixture(scope="module")
def positions():
    rng = np.random.default_rng(20261121)
    everywhere = judge.random_positions(rng, 12_000)
    poles = np.column_stack(
        [rng.uniform(0, 360, 2000), np.tile([1, -1], 1000) * (90 - 10 ** rng.uniform(-12, 1, 2000))]
    )
    # around the parallel where the polar caps begin, and the meridians where base cells meet
    caps = np.column_stack(
        [
            rng.uniform(0, 360, 2000),
            np.tile([1, -1], 1000) * (np.degrees(np.arcsin(2 / 3)) + rng.uniform(-1e-6, 1e-6, 2000)),
        ]
    )
    seams = np.column_stack([rng.choice([0, 90, 180, 270, 360], 2000) % 360, rng.uniform(-90, 90, 2000)])
    seams[:1000, 0] = (seams[:1000, 0] + rng.uniform(-1e-6, 1e-6, 1000)) % 360
    return np.vstack([everywhere, poles, caps, seams])


def test_index_of_a_position_is_that_of_the_cds(sky_database, positions) -> None:
    rng = np.random.default_rng(1)
    orders = rng.choice(ORDERS, len(positions))
    lon, lat = positions.T
    sky_database.load("healpix_in", n=np.arange(len(lon)), k=orders.astype(np.int32), a=lon, b=lat)
    found = np.array(sky_database.column("SELECT sky.healpix_index(k, a, b) FROM healpix_in ORDER BY n"))
    expected = judged_index(lon, lat, orders)
    differ = np.flatnonzero(found != expected)
    # within rounding of the rim of a cell, either side is right: both must hold a position 1e-13 radian away
    for i in differ:
        step = 2e-13
        around = [
            int(judged_index(np.array([(lon[i] + dx / max(np.cos(np.radians(lat[i])), 1e-12)) % 360]),
                             np.array([np.clip(lat[i] + dy, -90, 90)]), orders[i : i + 1])[0])
            for dx in (-step, 0, step) for dy in (-step, 0, step)
        ]  # fmt: skip
        assert found[i] in around, (orders[i], lon[i], lat[i], found[i], expected[i])
    # a seam's meridian is itself a rim, and so is the last order nearly everywhere at a pole
    assert len(differ) < 0.02 * len(lon)
    sky_database.run("DROP TABLE healpix_in")


@pytest.mark.parametrize("lat", [90.0, -90.0, 0.0, 41.8, -41.9])
@pytest.mark.parametrize("lon", [0.0, 45.0, 90.0, 359.999999, 360.0, -1e-20, 720.5, -89.5])
def test_index_at_poles_and_around_the_circle_is_in_its_cell(sky_database, lon, lat) -> None:
    for order in (0, 1, 8, 29):
        (index,) = sky_database.column(f"SELECT sky.healpix_index({order}, {lon!r}, {lat!r})")
        assert 0 <= index < 12 * 4**order
        (distance,) = sky_database.column(
            f"SELECT sky.distance(c[1], c[2], {lon % 360!r}, {lat!r}) FROM sky.healpix_center({order}, {index}) AS c"
        )
        assert distance < 1.0 * np.degrees(1.4 / 2**order)


def test_position_in_longitude_of_any_turn_has_the_same_index(sky_database) -> None:
    assert sky_database.column(
        "SELECT count(DISTINCT sky.healpix_index(29, 33.25 + 360 * turn, -12)) FROM generate_series(-2, 2) AS turn"
    ) == [1]


def test_centre_of_a_cell_is_that_of_the_cds(sky_database) -> None:
    rng = np.random.default_rng(2)
    orders = np.repeat(ORDERS, 200)
    cells = np.array([rng.integers(0, 12 * 4 ** int(order)) for order in orders])
    cells[::20] = 0
    cells[1::20] = 12 * 4 ** orders[1::20].astype(np.int64) - 1
    sky_database.load("healpix_out", n=np.arange(len(cells)), k=orders.astype(np.int32), i=cells)
    found = np.array(sky_database.column("SELECT sky.healpix_center(k, i) FROM healpix_out ORDER BY n"))
    lon, lat = cdshealpix.healpix_to_lonlat(cells.astype(np.uint64), orders.astype(np.uint8))
    assert judge.distance(*found.T, lon.deg, lat.deg).max() < 1e-12
    assert ((found[:, 0] >= 0) & (found[:, 0] < 360)).all()
    # and back again
    assert sky_database.column(
        "SELECT count(*) FROM healpix_out, sky.healpix_center(k, i) AS c WHERE sky.healpix_index(k, c[1], c[2]) <> i"
    ) == [0]
    sky_database.run("DROP TABLE healpix_out")


def test_index_agrees_with_the_one_that_tables_are_stored_with(sky_database) -> None:
    rng = np.random.default_rng(4)
    lon, lat = rng.uniform(0, 360, 12_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 12_000)))
    sky_database.load("healpix_29", n=np.arange(len(lon)), a=lon, b=lat)
    found = np.array(sky_database.column("SELECT sky.healpix_index(29, a, b) FROM healpix_29 ORDER BY n"))
    sky_database.run("DROP TABLE healpix_29")
    assert (found != order29(lon, lat)).sum() <= 1  # a rim is hit by rounding once in a million


def test_unknown_position_has_no_index(sky_database) -> None:
    assert sky_database.rows(
        "SELECT sky.healpix_index(3, NULL, 1), sky.healpix_index(3, 'NaN', 1), sky.healpix_index(3, 1, 'NaN')"
    ) == [(None, None, None)]
