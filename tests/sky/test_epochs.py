"""Epoch propagation in SQL against a straight line in space, and against astropy."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import (
    CartesianDifferential,
    CartesianRepresentation,
    Distance,
    SkyCoord,
    SphericalCosLatDifferential,
    SphericalRepresentation,
)
from astropy.time import Time

from tests.sky import judge

COLUMNS = "ra, dec, parallax, pmra, pmdec, rv, t0, t1"


def stars(count: int) -> np.ndarray:
    """Random stars, columns as in `COLUMNS`; the first ones at the poles and at RA 0."""
    rng = np.random.default_rng(5)
    position = judge.random_positions(rng, count)
    position[: count // 10, 1] = np.sign(position[: count // 10, 1]) * (90 - 10 ** rng.uniform(-9, -2, count // 10))
    position[count // 10 : count // 5, 0] = rng.choice([0, 1e-7, 360 - 1e-7], count // 5 - count // 10)
    motion = rng.normal(0, 1, (count, 2)) * 10 ** rng.uniform(-1, 4, (count, 1))
    return np.column_stack(
        [position, 10 ** rng.uniform(-2, 2.8, count), motion, rng.normal(0, 80, count),
         rng.uniform(1950, 2020, count), rng.uniform(1850, 2150, count)]
    )  # fmt: skip


@pytest.fixture(scope="module")
def sample(sky_database):
    table = stars(4000)
    names = COLUMNS.split(", ")
    sky_database.load("moving", n=np.arange(len(table)), **dict(zip(names, table.T, strict=True)))
    yield table
    sky_database.run("DROP TABLE moving")


@pytest.fixture(scope="module")
def moved(sky_database, sample) -> np.ndarray:
    return np.array(sky_database.column(f"SELECT sky.epoch_prop({COLUMNS}) FROM moving ORDER BY n"))


def along_a_line(table: np.ndarray) -> tuple[SphericalRepresentation, SphericalCosLatDifferential]:
    """The same by vectors in space: position and velocity, nothing else."""
    ra, dec, parallax, pmra, pmdec, rv, t0, t1 = table.T
    distance = Distance(parallax=parallax * u.mas)
    motion = SphericalCosLatDifferential(pmra * u.mas / u.yr, pmdec * u.mas / u.yr, rv * u.km / u.s)
    start = SphericalRepresentation(ra * u.deg, dec * u.deg, distance, differentials=motion)
    cartesian = start.represent_as(CartesianRepresentation, CartesianDifferential)
    velocity = cartesian.differentials["s"]
    with u.set_enabled_equivalencies(u.dimensionless_angles()):
        end = cartesian.without_differentials() + CartesianRepresentation(velocity.d_xyz * ((t1 - t0) * u.yr))
    end = end.with_differentials(velocity)
    spherical = end.represent_as(SphericalRepresentation, SphericalCosLatDifferential)
    return spherical, spherical.differentials["s"]


def test_star_moves_along_a_straight_line(sample, moved) -> None:
    place, motion = along_a_line(sample)
    assert judge.distance(moved[:, 0], moved[:, 1], place.lon.deg, place.lat.deg).max() < 1e-12
    assert moved[:, 2] == pytest.approx(place.distance.to_value(u.mas, u.parallax()), rel=1e-10)
    # the direction of a proper motion is that of the meridian, which rounding turns close to a pole
    speed = np.hypot(sample[:, 3], sample[:, 4]) + 1
    turn = 1e-11 + 1e-13 / np.cos(np.radians(moved[:, 1]))
    assert (np.abs(moved[:, 3] - motion.d_lon_coslat.to_value(u.mas / u.yr)) < speed * turn).all()
    assert (np.abs(moved[:, 4] - motion.d_lat.to_value(u.mas / u.yr)) < speed * turn).all()
    assert moved[:, 5] == pytest.approx(motion.d_distance.to_value(u.km / u.s), abs=1e-8)


def test_astropy_agrees_but_for_relativity(sample, moved) -> None:
    slow = (
        np.hypot(sample[:, 3], sample[:, 4]) * 4.74 / sample[:, 2] < 500
    )  # km/s; astropy has its own mind of faster ones
    ra, dec, parallax, pmra, pmdec, rv, t0, t1 = sample[slow].T
    start = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        distance=Distance(parallax=parallax * u.mas),
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        radial_velocity=rv * u.km / u.s,
        obstime=Time(t0, format="jyear", scale="tdb"),
    )
    end = start.apply_space_motion(new_obstime=Time(t1, format="jyear", scale="tdb"))
    assert slow.sum() > 1500
    # astropy includes light time and Doppler terms, of the order v/c of the path; the catalogue of functions forbids them
    path = judge.distance(ra, dec, end.ra.deg, end.dec.deg)
    assert (judge.distance(*moved[slow, :2].T, end.ra.deg, end.dec.deg) < 1e-9 + 0.004 * path).all()


def test_way_back_leads_to_the_start(sky_database, sample) -> None:
    back = np.array(
        sky_database.column(
            f"SELECT sky.epoch_prop(s[1], s[2], s[3], s[4], s[5], s[6], t1, t0) FROM moving, sky.epoch_prop({COLUMNS}) AS s"
            " ORDER BY n"
        )
    )
    assert judge.distance(back[:, 0], back[:, 1], sample[:, 0], sample[:, 1]).max() < 1e-12
    assert back[:, 5] == pytest.approx(sample[:, 5], abs=1e-8)


def test_position_alone_is_the_same(sky_database, moved) -> None:
    found = np.array(sky_database.column(f"SELECT sky.epoch_prop_pos({COLUMNS}) FROM moving ORDER BY n"))
    assert (found == moved[:, :2]).all()


@pytest.mark.parametrize("parallax", ["NULL", "0", "-3.5", "'NaN'"])
def test_star_without_a_parallax_is_infinitely_remote(sky_database, parallax) -> None:
    found, remote = (
        sky_database.column(f"SELECT sky.epoch_prop(10, 20, {value}, 3000, -4000, {rv}, 2000, 2100)")[0]
        for value, rv in ((parallax, 500), ("1e-12", 0))
    )
    assert found[:2] == pytest.approx(remote[:2], abs=1e-13)
    assert found[5] == 500


def test_star_that_rests_stays_where_it_is(sky_database) -> None:
    assert sky_database.column("SELECT sky.epoch_prop_pos(359.5, -45.25, 10, NULL, NULL, NULL, 2000, 3000)")[0] == (
        pytest.approx([359.5, -45.25], abs=1e-13)
    )


def test_star_crosses_a_pole_and_right_ascension_0(sky_database) -> None:
    over = sky_database.column("SELECT sky.epoch_prop_pos(30, 89.9999, 0, 0, 3.6, 0, 2000, 2200)")[0]
    assert over == pytest.approx([210, 89.9999], abs=1e-8)
    assert sky_database.column("SELECT sky.epoch_prop_pos(0, 0, 0, -3600, 0, 0, 2000, 2001)")[0] == pytest.approx(
        [360 - 1e-3, 0], abs=1e-12
    )


def test_unknown_position_in_the_form_of_nan_is_unknown_later_on(sky_database) -> None:
    assert sky_database.column("SELECT sky.epoch_prop_pos('NaN', 1, 1, 1, 1, 1, 2000, 2001)") == [None]
