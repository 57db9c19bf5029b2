"""Units of measure, judged by astropy."""

import math
from fractions import Fraction

import astropy.units as u
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.vo.units import NO_PREFIX, PREFIXES, UNITS, UnitError, combined, factor, is_unit, parse_unit

JUDGED = {
    "solLum": "L_sun", "Lsun": "L_sun", "solMass": "M_sun", "Msun": "M_sun", "solRad": "R_sun", "Rsun": "R_sun", "hr": "h",
    "day": "d", "ph": "photon", "count": "ct", "counts": "ct", "pixel": "pix", "au": "AU", "ohm": "Ohm", "percent": "%",
    "angstrom": "Angstrom", "Å": "Angstrom", "B": "byte", "a": "yr", "cy": "100 yr", "hour": "h",
}  # fmt: skip
"""How astropy spells what we call otherwise."""


def judge(name: str) -> u.UnitBase:
    return u.Unit(JUDGED.get(name, name))


def known() -> list[str]:
    """All units that astropy knows too."""
    return sorted(name for name in UNITS if name not in {"bin", "chan", "beam", "voxel", "mag"})


@pytest.mark.parametrize("name", known())
def test_every_unit_has_the_size_that_astropy_gives_it(name) -> None:
    ours, theirs = parse_unit(name), judge(name)
    base = theirs.decompose(
        [u.m, u.kg, u.s, u.A, u.K, u.mol, u.cd, u.rad, u.ct, u.ph, u.pix, u.adu, u.electron, u.bit, u.dex]
    )
    size = float(ours.scale) * math.pi**ours.pi
    assert size == pytest.approx(float(base.scale), rel=1e-12)
    words = {"ct": "count", "ph": "photon", "pix": "pixel"}
    theirs_powers = {words.get(b.name, b.name): Fraction(p) for b, p in zip(base.bases, base.powers, strict=True)}
    assert dict(ours.dimensions) == theirs_powers


PREFIXED = [
    (prefix + name, prefix, name)
    for name in ("m", "s", "Hz", "pc", "Jy", "eV", "yr", "erg", "mag", "G", "W", "arcsec", "Pa")
    for prefix in PREFIXES
    if prefix + name not in UNITS and name not in NO_PREFIX
]


@pytest.mark.parametrize(("text", "prefix", "name"), PREFIXED)
def test_every_prefix_is_a_power_of_ten(text, prefix, name) -> None:
    assert factor(text, name) == Fraction(10) ** PREFIXES[prefix]


@pytest.mark.parametrize(
    ("unit", "to"),
    [
        ("deg", "rad"), ("deg", "arcsec"), ("arcsec", "deg"), ("mas/yr", "deg/d"), ("km/s", "m s-1"), ("km s-1", "pc/yr"),
        ("erg/(s.cm**2)", "W m-2"), ("erg s-1 cm-2 Angstrom-1", "W m-2 um-1"), ("Jy", "erg/(s.cm**2.Hz)"), ("mJy/beam", "Jy beam-1"),
        ("ct/s", "ct/min"), ("10**-16 W/m**2", "W m-2"), ("deg**2", "sr"), ("pc", "AU"), ("kpc", "lyr"), ("solMass/yr", "kg/s"),
        ("Hz**(1/2)", "kHz**(1/2)"), ("1e3 m", "km"), ("/s", "Hz"), ("cm^2", "m2"), ("eV", "keV"), ("%", "%"), ("mmag", "mag"),
    ],
)  # fmt: skip
def test_factors_are_those_of_astropy(unit, to) -> None:
    if "beam" in unit:
        assert factor(unit, to) == Fraction(1, 1000)
        return
    spelt = {
        "/s": "1/s",
        "10**-16 W/m**2": "1e-16 W/m**2",
        "Jy beam-1": "Jy/beam",
        "Hz**(1/2)": "Hz(1/2)",
        "kHz**(1/2)": "kHz(1/2)",
    }
    one, other = (u.Unit(spelt.get(t, t).replace("erg/(s.cm**2.Hz)", "erg s-1 cm-2 Hz-1")) for t in (unit, to))
    assert float(factor(unit, to)) == pytest.approx(one.to(other), rel=1e-9)


def test_degrees_are_exactly_3600_arcseconds() -> None:
    assert factor("deg", "arcsec") == 3600
    assert factor("arcsec", "deg") == Fraction(1, 3600)


@pytest.mark.parametrize(
    ("unit", "to"), [("deg", "kg"), ("mag", "Jy"), ("deg", "Hz"), ("m", "m**2"), ("ct", "photon"), ("s", "Hz")]
)
def test_what_measures_different_things_is_not_converted(unit, to) -> None:
    with pytest.raises(UnitError, match="cannot be converted"):
        factor(unit, to)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "foo",
        "1",
        "42",
        "m//s",
        "m/",
        "(m",
        "m)",
        "m..s",
        "m**",
        "kdeg",
        "m**1000",
        "log(Hz)",
        "mag(",
        "0 m",
        "m s^",
        "-1",
        "x" * 300,
    ],
)
def test_what_is_no_unit_is_refused(text) -> None:
    assert not is_unit(text)


@given(st.text(max_size=30))
def test_any_text_is_a_unit_or_refused(text) -> None:
    try:
        parse_unit(text)
    except UnitError:
        return
    assert text.strip()


@pytest.mark.parametrize(
    ("one", "other", "exponent", "expected"),
    [
        ("deg", "mas", 1, "deg.mas"), ("deg", "deg", 1, "deg**2"), ("km/s", "Mpc", -1, "km/(s.Mpc)"), ("mas", "yr", -1, "mas/yr"),
        ("deg", "deg", -1, None), ("deg", "nonsense", 1, None), ("m", "km s-1", 3, "m.km**3/s**3"), ("deg", "deg", -2, "deg**-1"),
        ("10**3 m", "s", -1, None), ("mas/yr", "yr", 1, "mas"),
    ],
)  # fmt: skip
def test_products_are_spelt_as_vounits_does(one, other, exponent, expected) -> None:
    assert combined(one, other, exponent) == expected
    if expected is not None:
        assert u.Unit(expected, format="vounit").is_equivalent(u.Unit(one) * u.Unit(other) ** exponent)


@given(
    st.sampled_from(["m", "km/s", "deg", "mas/yr", "Jy", "m**(1/2)"]),
    st.sampled_from(["s", "kpc", "mag", "arcsec**2"]),
    st.integers(-3, 3).filter(bool),
)
def test_what_is_spelt_is_read_again(one, other, exponent) -> None:
    assert parse_unit(combined(one, other, exponent)) == parse_unit(one).times(parse_unit(other), Fraction(exponent))
