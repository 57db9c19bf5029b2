"""Julian dates and angles in sixties, in SQL, against astropy."""

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import Angle
from astropy.time import Time


def test_julian_dates_are_those_of_astropy(sky_database) -> None:
    rng = np.random.default_rng(3)
    instants = rng.integers(-(2**61) // 400, 2**61 // 400, 5000).astype("datetime64[us]")
    instants[:4] = np.array(
        ["1858-11-17", "2000-01-01T12:00:00", "1582-10-15", "2016-12-31T23:59:59.999999"], "datetime64[us]"
    )
    sky_database.load("instants", n=np.arange(5000), d=pa.array(instants, pa.timestamp("us")))
    found = np.array(sky_database.rows("SELECT sky.to_jd(d), sky.to_mjd(d) FROM instants ORDER BY n"))
    time = Time(instants, scale="tai")  # a scale without leap seconds: naive days have none
    assert np.abs(found[:, 0] - time.jd).max() <= 5e-10  # the last place of a double
    assert np.abs(found[:, 1] - time.mjd).max() <= 3e-11
    assert sky_database.column("SELECT sky.to_mjd(d) FROM instants WHERE n = 1") == [51544.5]
    sky_database.run("DROP TABLE instants")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-02-29", 58908.0),
        ("2020-02-29T06:00:00", 58908.25),
        ("2020-02-29 06:00:00.000Z", 58908.25),
        (" 2020-02-29T06:00:00Z ", 58908.25),
    ],
)
def test_text_is_read_as_a_timestamp(sky_database, text, expected) -> None:
    assert sky_database.column(f"SELECT sky.to_mjd(sky.parse_timestamp('{text}'))") == [expected]


@pytest.mark.parametrize(
    "text", ["now", "today", "infinity", "2020-02-30", "2020-01-01T25:00:00", "2020-01-01T00:00:00+02", ""]
)
def test_text_that_is_no_timestamp_is_refused(sky_database, text) -> None:
    with pytest.raises(Exception, match="is no timestamp"):
        sky_database.column(f"SELECT sky.parse_timestamp('{text}')")


def written(rng, most: int, form: str, unit: str) -> tuple[list[str], list[str]]:
    """Random angles in sixties in a form, and as astropy reads them."""
    ours, theirs = [], []
    for _ in range(1500):
        sign = rng.choice(["", "-", "+"]) if unit == "d" else ""
        decimals = rng.integers(0, 7)
        width = decimals + (3 if decimals else 2)
        a, b, c = rng.integers(0, most), rng.integers(0, 60), f"{rng.uniform(0, 59.4):0{width}.{decimals}f}"
        ours.append(sign + form.format(a=a, b=b, c=c))
        theirs.append(f"{sign}{a}{unit}{b}m{c}s")
    return ours, theirs


FORMS = [
    "{a}:{b}:{c}",
    "{a:02d}{b:02d}{c}",
    "{a}U{b}m{c}s",
    "{a} {b} {c}",
    "{a:02d}:{b:02d}:{c}",
    "{a}U {b}M {c}S",
    "{a:02d}u{b:02d}m{c}s",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("unit", "function"), [("h", "hms_to_degrees"), ("d", "dms_to_degrees")])
def test_angle_in_sixties_is_that_of_astropy(sky_database, form, unit, function) -> None:
    rng = np.random.default_rng(9)
    spelt = form.replace("U", unit.upper()).replace("u", unit)
    ours, theirs = written(rng, 24 if unit == "h" else 90, spelt, unit)
    sky_database.load("sixties", n=np.arange(len(ours)), text=ours)
    found = np.array(sky_database.column(f"SELECT sky.{function}(text) FROM sixties ORDER BY n"), float)
    sky_database.run("DROP TABLE sixties")
    assert np.abs(found - Angle(theirs).to_value(u.deg)).max() < 1e-12


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-00:00:36", -0.01),
        ("-0d0m36s", -0.01),
        ("\N{MINUS SIGN}12:30:00", -12.5),
        ("- 12 30 00", -12.5),
        ("359:59:59.9999", 359.9999999722222),
        ("90:00:00", 90.0),
        ("0:0:0", 0.0),
    ],
)
def test_sign_belongs_to_the_whole_angle(sky_database, text, expected) -> None:
    assert sky_database.column(f"SELECT sky.dms_to_degrees('{text}')")[0] == pytest.approx(expected, abs=1e-13)


BAD = [
    "", " ", "12", "12:30", "12:30:", "12:60:00", "12:30:60", "12:30:-1", "12.5:30:00", "1:2:3:4", "12h30m", "12d30h10s", "abc",
    "12:30:00x", "1e2:00:00", "123456789", "12h30:10s", "NaN", "12:30:1e1", "--12:30:00", "+-1:2:3", "١٢:30:00",
]  # fmt: skip


@pytest.mark.parametrize("function", ["hms_to_degrees", "dms_to_degrees"])
def test_text_that_is_no_angle_is_null(sky_database, function) -> None:
    found = {text: sky_database.column(f"SELECT sky.{function}('{text}')")[0] for text in BAD}
    assert {text for text, value in found.items() if value is not None} == set()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("hms_to_degrees('24:00:00')", 360.0),
        ("hms_to_degrees('24:00:01')", None),
        ("hms_to_degrees('-1:00:00')", None),
        ("dms_to_degrees('360:00:01')", None),
        ("dms_to_degrees('12h30m10s')", None),
        ("hms_to_degrees('12d30m10s')", None),
        ("hms_to_degrees(NULL)", None),
    ],
)
def test_angle_has_its_range_and_its_letters(sky_database, call, expected) -> None:
    assert sky_database.column(f"SELECT sky.{call}") == [expected]
