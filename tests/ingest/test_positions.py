import numpy as np
import pyarrow as pa
import pytest

from gateway.errors import IngestError
from gateway.ingest.positions import (
    PositionCounts,
    Positions,
    find_positions,
    healpix,
    in_degrees,
    is_radians,
    to_degrees,
)
from gateway.vo.tableset import Datatype, Field, VOType

DOUBLE = VOType(Datatype.DOUBLE)


def fields(*named: tuple[str, str | None, str | None]) -> list[Field]:
    return [Field(name, DOUBLE, unit=unit, ucd=ucd) for name, ucd, unit in named]


@pytest.mark.parametrize(
    ("columns", "places"),
    [
        ([("a", "pos.eq.ra;meta.main", None), ("b", "pos.eq.dec;meta.main", None)], (0, 1)),
        ([("x", "pos.eq.ra", None), ("a", "POS.EQ.RA;META.MAIN", None), ("b", "pos.eq.dec;meta.main", None)], (1, 2)),
        ([("a", "pos.eq.dec", None), ("b", "pos.eq.ra", None)], (1, 0)),
        ([("RA_ICRS", "POS_EQ_RA_MAIN", "deg"), ("DE_ICRS", "POS_EQ_DEC_MAIN", "deg")], (0, 1)),
        ([("DEC", None, None), ("RA", None, None)], (1, 0)),
        ([("RAJ2000", None, None), ("DEJ2000", None, None)], (0, 1)),
        ([("coord_ra", None, None), ("coord_dec", None, None)], (0, 1)),
        ([("s_ra", None, None), ("s_dec", None, None)], (0, 1)),
    ],
)
def test_positions_are_found(columns: list[tuple[str, str | None, str | None]], places: tuple[int, int]) -> None:
    assert find_positions(fields(*columns), ra=None, dec=None) == (Positions(*places), [])


def test_two_candidates_are_no_position() -> None:
    found, notes = find_positions(
        fields(("a", "pos.eq.ra", None), ("b", "pos.eq.ra", None), ("c", "pos.eq.dec", None)), ra=None, dec=None
    )
    assert found is None
    assert "--ra" in notes[0]


def test_text_named_ra_is_no_position() -> None:
    text = Field("ra", VOType(Datatype.CHAR, "*"))
    assert find_positions([text, *fields(("dec", None, None))], ra=None, dec=None)[0] is None


@pytest.mark.parametrize(("unit", "is_position"), [(None, True), ("deg", True), ("Degrees", True), ("mas", False)])
def test_whole_numbers_are_positions_unless_their_unit_is_another(unit: str | None, is_position: bool) -> None:
    whole = [Field(name, VOType(Datatype.LONG), unit=unit) for name in ("ra", "dec")]
    assert (find_positions(whole, ra=None, dec=None)[0] == Positions(0, 1)) is is_position
    if not is_position:
        with pytest.raises(IngestError, match="'ra' holds no numbers in degrees"):
            find_positions(whole, ra="ra", dec="dec")


def test_columns_asked_for_win() -> None:
    columns = fields(("ra", None, None), ("dec", None, None), ("lon", None, None), ("lat", None, None))
    assert find_positions(columns, ra="LON", dec="lat")[0] == Positions(2, 3)


@pytest.mark.parametrize(("ra", "dec", "reason"), [("ra", None, "both"), ("x", "dec", "no column 'x'")])
def test_wrong_wishes_are_refused(ra: str, dec: str | None, reason: str) -> None:
    with pytest.raises(IngestError, match=reason):
        find_positions(fields(("ra", None, None), ("dec", None, None)), ra=ra, dec=dec)


def test_radians_give_no_index_and_a_hint() -> None:
    found, notes = find_positions(fields(("ra", None, "rad"), ("dec", None, "rad")), ra=None, dec=None)
    assert found is None
    assert "--convert-radians" in notes[0]


@pytest.mark.parametrize(
    ("unit", "after"),
    [
        ("rad", "deg"),
        ("Rad", "deg"),
        ("radian", "deg"),
        ("rad/yr", "deg/yr"),
        ("rad.s-1", "deg.s-1"),
        ("rad yr-1", "deg yr-1"),
    ],
)
def test_units_of_radians(unit: str, after: str) -> None:
    column = Field("a", DOUBLE, unit=unit)
    assert is_radians(column)
    assert in_degrees(column).unit == after


@pytest.mark.parametrize("unit", [None, "", "deg", "mrad", "rad**2", "erad", "radius"])
def test_units_of_anything_else(unit: str | None) -> None:
    assert not is_radians(Field("a", DOUBLE, unit=unit))


def test_degrees_are_those_of_numpy() -> None:
    radians = np.random.default_rng(1).uniform(-10, 10, 1000)
    assert np.array_equal(to_degrees(pa.array(radians)).to_numpy(), np.degrees(radians))


def test_single_precision_is_converted_in_double() -> None:
    radians = np.array([1.1], "f4")
    found = to_degrees(pa.array([1.1, None], pa.float32()))
    assert found.type == pa.float32()
    assert found[0].as_py() == np.degrees(radians.astype("f8")).astype("f4")[0]
    assert found[1].as_py() is None


def test_rows_without_a_usable_position_have_no_index() -> None:
    counts = PositionCounts()
    ra = pa.array([1.0, None, float("nan"), 5.0, float("inf")])
    dec = pa.array([1.0, 2.0, 3.0, 90.5, 0.0])
    assert healpix(ra, dec, counts).is_null().to_pylist() == [False, True, True, True, True]
    assert counts.missing == 4


def test_right_ascension_beyond_the_circle_is_counted_and_wrapped() -> None:
    counts = PositionCounts()
    found = healpix(pa.array([-10.0, 350.0, 370.0, 10.0, 360.0, 0.0]), pa.array([5.0] * 6), counts).to_pylist()
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert found[4] == found[5]
    assert counts.beyond == 2


def test_the_index_is_nested_healpix_of_order_29() -> None:
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import lonlat_to_healpix

    random = np.random.default_rng(3)
    ra, dec = random.uniform(0, 360, 100), random.uniform(-90, 90, 100)
    expected = lonlat_to_healpix(Longitude(ra, u.deg), Latitude(dec, u.deg), 29).astype("i8")
    assert np.array_equal(healpix(pa.array(ra), pa.array(dec), PositionCounts()).to_numpy(), expected)
