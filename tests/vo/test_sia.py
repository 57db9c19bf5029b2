"""SIA 2.0: requests as they come, and the rows of PostgreSQL that answer them, judged one by one in Python."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import pytest

from gateway.errors import MultipleValuesError, ParameterError
from gateway.sky.search import HealpixIndex
from gateway.vo.adql import translate_tree
from gateway.vo.dali import ParamBag
from gateway.vo.formats import TABLEDATA
from gateway.vo.formats.base import TableHeader
from gateway.vo.obscore import DATALINK_FORMAT, POL_ORDER, pol_states
from gateway.vo.regions import Circle, Polygon, Range
from gateway.vo.shapes import Interval, parse_pos, pos_text
from gateway.vo.sia import INTERVALS, MOST_VALUES, PARAMETERS, WORDS, SiaQuery, descriptor, search
from tests.sky import judge
from tests.support import datasets
from tests.support.every_type import is_schema_valid, write
from tests.support.servers import Administrator

RNG = np.random.default_rng(20)
TABLES = datasets.tableset()
INDEX = HealpixIndex()


def query(*items: tuple[str, str]) -> SiaQuery:
    return SiaQuery.from_params(ParamBag.of(items))


# -- reading --------------------------------------------------------------------------------------


def test_sia2_3_all_parameters_are_optional() -> None:
    assert query() == SiaQuery()


def test_sia2_3_values_of_one_parameter_are_kept_in_order() -> None:
    found = query(("POS", "CIRCLE 1 2 3"), ("BAND", "1"), ("pos", "RANGE 1 2 3 4"), ("Band", "2 3"), ("pol", "Q"))
    assert found.pos == (Circle(1.0, 2.0, 3.0), Range(1.0, 2.0, 3.0, 4.0))
    assert found.intervals == (("BAND", (Interval(1.0, 1.0), Interval(2.0, 3.0))),)
    assert found.pol == ("Q",)


@pytest.mark.parametrize("name", [parameter.name for parameter in PARAMETERS])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_is_no_value(name, value) -> None:
    assert query((name, value)) in {SiaQuery(), SiaQuery(response_format=value)}


@pytest.mark.parametrize("name", INTERVALS)
def test_sia2_5_numeric_parameters_take_numbers_and_open_intervals(name) -> None:
    found = query((name, "1.5"), (name.lower(), "-Inf 2"), (name.title(), "2 +Inf"))
    assert found.intervals == ((name, (Interval(1.5, 1.5), Interval(-math.inf, 2.0), Interval(2.0, math.inf))),)


@pytest.mark.parametrize("name", INTERVALS)
@pytest.mark.parametrize("value", ["2 1", "NaN", "1 NaN", "x", "1 2 3", "1,2", "1/2", "1_0", "Inf", "Inf Inf"])
def test_sia2_13_numeric_parameters_refuse_the_rest(name, value) -> None:
    with pytest.raises(ParameterError) as caught:
        query((name, "1"), (name, value))
    assert caught.value.name == name
    assert value in caught.value.message


@pytest.mark.parametrize(("name", "column"), [pair for pair in WORDS.items() if pair[0] != "FORMAT"])
def test_sia2_6_words_are_kept_as_they_are(name, column) -> None:
    assert query((name.lower(), "O'Neill % _ Straße")).words == ((column, ("O'Neill % _ Straße",)),)


@pytest.mark.parametrize(
    "value",
    [
        "application/x-votable+xml;content=datalink",
        "application/x-votable xml;content=datalink",
        "Application/X-VOTable+XML; content=datalink ",
    ],
)
def test_sia2_12_a_media_type_is_the_same_however_it_is_spelled(value) -> None:
    assert query(("FORMAT", value)).words == (("access_format", (DATALINK_FORMAT,)),)


@pytest.mark.parametrize("state", POL_ORDER)
def test_pol_takes_each_state_of_the_standard(state) -> None:
    assert query(("POL", state)).pol == (state,)


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("POL", "i", "expected one of I, Q, U, V, RR"),
        ("POL", "I Q", "expected one of I, Q"),
        ("POL", "/I/", "expected one of I, Q"),
        ("POL", "%", "expected one of I, Q"),
        ("CALIB", "5", "expected one of 0, 1, 2, 3, 4"),
        ("CALIB", "-1", "expected one of 0"),
        ("CALIB", "2.0", "expected one of 0"),
        ("CALIB", "two", "expected one of 0"),
        ("CALIB", "²", "expected one of 0"),
        ("POS", "10 20", "expected CIRCLE ra dec radius"),
        ("MAXREC", "-1", "0 or more"),
        ("MAXREC", "ten", "whole number"),
    ],
)
def test_sia2_13_values_that_no_row_can_have_are_refused(name, value, hint) -> None:
    with pytest.raises(ParameterError, match=hint) as caught:
        query((name, value))
    assert caught.value.name == name


@pytest.mark.parametrize("parameter", [p for p in PARAMETERS if p.is_repeatable], ids=lambda p: p.name)
def test_one_hundred_values_are_taken_and_no_more(parameter) -> None:
    value = {"POS": "CIRCLE 1 2 3", "POL": "I", "CALIB": "2"}.get(parameter.name, "1")
    assert query(*[(parameter.name, value)] * MOST_VALUES, (parameter.name, ""))
    with pytest.raises(ParameterError, match="101 values; at most 100 are taken, send several requests"):
        query(*[(parameter.name, value)] * (MOST_VALUES + 1))


@pytest.mark.parametrize("name", ["MAXREC", "RESPONSEFORMAT"])
def test_what_shapes_the_answer_may_come_once(name) -> None:
    assert query(("maxrec", "7"), ("responseformat", "csv")) == SiaQuery(maxrec=7, response_format="csv")
    with pytest.raises(MultipleValuesError):
        query((name, "1"), (name, "2"))


def test_sia2_15_unknown_parameters_are_ignored() -> None:
    assert query(("RELEASE", "x"), ("_", "1"), ("UPLOAD", "")) == SiaQuery()


def test_sia2_11_the_service_describes_all_its_parameters_to_clients() -> None:
    described = descriptor("http://example.org/sia2/query")
    assert described.is_self
    assert described.standard_id == "ivo://ivoa.net/std/SIA#query-2.0"
    by_name = {one.name: one for one in described.inputs}
    assert list(by_name) == [parameter.name for parameter in PARAMETERS]
    assert {name: by_name[name].unit for name in INTERVALS} == {
        "BAND": "m",
        "TIME": "d",
        "FOV": "deg",
        "SPATRES": "arcsec",
        "SPECRP": None,
        "EXPTIME": "s",
        "TIMERES": "s",
    }
    assert by_name["POL"].options == POL_ORDER
    for name, one in by_name.items():
        assert all(query((name, option)) != SiaQuery() for option in one.options)
    header = TableHeader((TABLES.schemas[0].tables[0].columns[0].field,), services=(described,))
    assert is_schema_valid(write(TABLEDATA, header))


# -- rows -----------------------------------------------------------------------------------------

ROWS = 260


def random_rows(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Datasets all over the sky, of all sizes, with a third of what may be unknown unknown."""

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.3 else value

    def interval(low: float, high: float) -> tuple[Any, Any]:
        one, other = sorted(np.exp(rng.uniform(np.log(low), np.log(high), 2)).tolist())
        kind = rng.random()
        return (
            (None, None) if kind < 0.2 else (None, other) if kind < 0.3 else (one, one) if kind < 0.5 else (one, other)
        )

    rows = []
    for number in range(ROWS):
        em, t = interval(1e-8, 1e-1), interval(40_000, 60_000)
        columns = {
            "dataproduct_type": rng.choice(["image", "image", "cube", "spectrum", None]),
            "calib_level": int(rng.integers(0, 5)),
            "obs_collection": str(rng.choice(["A", "a", "B c", "O'Neill"])),
            "em_min": em[0],
            "em_max": em[1],
            "t_min": t[0],
            "t_max": t[1],
            "s_fov": maybe(float(rng.uniform(0, 5))),
            "s_resolution": maybe(float(rng.uniform(0, 5))),
            "em_res_power": maybe(float(rng.uniform(0, 5))),
            "t_exptime": maybe(float(rng.integers(0, 5))),
            "t_resolution": maybe(float(rng.uniform(0, 5))),
            "pol_states": pol_states(rng.choice(POL_ORDER, rng.integers(0, 4)).tolist()),
            "facility_name": maybe(str(rng.choice(["VLT", "vlt", "%", "Keck_I"]))),
            "instrument_name": maybe(str(rng.choice(["CAM", "cam", "_"]))),
            "target_name": maybe(str(rng.choice(["M 31", "M 32", "m 31", "Cen Å"]))),
        }
        columns["dataproduct_type"] = columns["dataproduct_type"] and str(columns["dataproduct_type"])
        if number < 4:
            rows.append(datasets.north_of(number, -91, **columns))
        elif number < 8:
            rows.append(datasets.north_of(number, -30, **columns))
        else:
            rows.append(datasets.at(number, judge.random_polygon(rng, largest=40, smallest=0.01), **columns))
    return rows


@dataclass
class Archive:
    """Datasets in a database, and the same in memory."""

    connection: adbc.Connection
    rows: dict[str, dict[str, Any]]

    def table(self, sql: str) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def found(self, request: SiaQuery) -> set[str]:
        """Observations that PostgreSQL finds."""
        translation = translate_tree(search(request), TABLES, index=INDEX)
        names = [field.name for field in translation.fields]
        ids = self.table(translation.sql).column(names.index("obs_id")).to_pylist()
        assert len(ids) == len(set(ids))
        return set(ids)

    def check(self, request: SiaQuery) -> int:
        """Compare with brute force; gives the number of rows found."""
        found = self.found(request)
        for name, row in self.rows.items():
            truth = fulfils(row, request)
            assert truth is None or truth is (name in found), (name, truth, row["s_region"], request)
        return len(found)


@pytest.fixture(scope="module")
def archive(database_server: Administrator, database_template: str) -> Iterator[Archive]:
    url = database_server.create(database_template)
    rows = random_rows(np.random.default_rng(11))
    datasets.store_now(url, rows)
    with adbc.connect(url, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")  # so few rows would be read through, and the index not be asked
            cursor.execute("SET jit = off")
        yield Archive(connection, {row["obs_id"]: row for row in rows})
    database_server.drop(url)


def sampled(row: dict[str, Any], region: Any) -> bool | None:
    """Whether a region meets a footprint beyond a hemisphere: the first four are all the sky, the rest north of -30."""
    if row["hdu"] < 4:
        return True
    north = Range(0.0, 360.0, -29.0, 90.0)
    match region:
        case Circle(dec=dec, radius=radius):
            return True if dec + radius > -29 else False if dec + radius < -45 else None
        case Range(dec_max=dec):
            return True if dec > -29 else False if dec < -90 else None
        case Polygon(vertices=vertices):
            return True if max(dec for _, dec in vertices) > north.dec_min else None


def any_(claims: Any) -> bool | None:
    claims = list(claims)
    return True if True in claims else None if None in claims else False


def fulfils(row: dict[str, Any], request: SiaQuery) -> bool | None:
    """Whether a row answers a request, by the words of the standard; ``None`` where its footprint only just touches."""
    if row["dataproduct_type"] not in {"image", "cube"}:
        return False
    for column, words in request.words:
        value = DATALINK_FORMAT if column == "access_format" else row[column]
        if value not in words:
            return False
    if request.ids and row["obs_publisher_did"].lower() not in {name.lower() for name in request.ids}:
        return False
    if request.calib and row["calib_level"] not in request.calib:
        return False
    if request.pol and not set(request.pol) & set((row["pol_states"] or "").split("/")):
        return False
    for name, intervals in request.intervals:
        low, high = row[INTERVALS[name].low], row[INTERVALS[name].high]
        if low is None or high is None or not any(one.low <= high and low <= one.high for one in intervals):
            return False
    if not request.pos:
        return True
    if row["s_region"] is None:
        return any_(sampled(row, region) for region in request.pos)
    polygon = np.array(row["s_region"]).reshape(-1, 2)
    return any_(datasets.meets(region, polygon) for region in request.pos)


def test_sia2_14_only_images_and_cubes_are_found(archive) -> None:
    found = archive.found(query())
    assert {archive.rows[name]["dataproduct_type"] for name in found} == {"image", "cube"}
    assert archive.check(query()) == len(found) > 150
    assert archive.found(query(("DPTYPE", "spectrum"))) == set()


def random_region(rng: np.random.Generator) -> str:
    centre = judge.random_positions(rng, 1)[0]
    size = float(np.exp(rng.uniform(np.log(0.01), np.log(60))))
    match rng.integers(0, 4):
        case 0:
            return pos_text(Circle(float(centre[0]), float(centre[1]), 0.0 if rng.random() < 0.2 else size))
        case 1:
            polygon = judge.random_polygon(rng, largest=60, smallest=0.01)
            return pos_text(Polygon(tuple((float(ra), float(dec)) for ra, dec in polygon)))
        case _:
            west, east = (centre[0] - size) % 360, (centre[0] + size) % 360
            south, north = max(centre[1] - size, -90.0), min(centre[1] + size, 90.0)
            return pos_text(Range(float(west), float(east), float(south), float(north)))


def test_sia2_pos_finds_the_footprints_that_brute_force_finds(archive) -> None:
    rng = np.random.default_rng(12)
    found = [archive.check(query(("POS", random_region(rng)))) for _ in range(40)]
    assert sum(number > 0 for number in found) > 20
    assert archive.check(query(*(("POS", random_region(rng)) for _ in range(3))))


@pytest.mark.parametrize(
    "pos",
    [
        "CIRCLE 0 0 1",
        "CIRCLE 360 0 1",
        "CIRCLE 0 90 3",
        "CIRCLE 123 -90 3",
        "CIRCLE 10 20 0",
        "CIRCLE 10 20 180",
        "CIRCLE 10 20 100",
        "RANGE 350 10 -5 5",
        "RANGE 10 350 -5 5",
        "RANGE 0 360 80 90",
        "RANGE 0 360 -90 90",
        "RANGE 0 360 -10 10",
        "RANGE -Inf +Inf 40 45",
        "RANGE 0 360 89.5 +Inf",
        "RANGE 100 100 -Inf +Inf",
        "RANGE 0 170 -1 1",
        "RANGE 90 270 -90 -60",
        "RANGE 20 20 30 30",
        "POLYGON 350 -5 10 -5 10 5 350 5",
        "POLYGON 0 80 90 80 180 80 270 80",
        "POLYGON 270 -80 180 -80 90 -80 0 -80",
        "POLYGON 0 10 120 10 240 10",
        "POLYGON 100 0 110 0 110 10 105 2 100 10",
    ],
)
def test_sia2_pos_at_the_seam_the_poles_and_beyond_a_hemisphere(archive, pos) -> None:
    archive.check(query(("POS", pos)))


def test_all_sky_images_are_found_everywhere_by_their_cells(archive) -> None:
    whole = {name for name, row in archive.rows.items() if row["hdu"] < 4 and fulfils(row, SiaQuery())}
    north = {name for name, row in archive.rows.items() if 4 <= row["hdu"] < 8 and fulfils(row, SiaQuery())}
    assert whole
    assert north
    for pos in ("CIRCLE 10 80 0", "CIRCLE 200 -80 0", "RANGE 5 6 -80 -79", "POLYGON 10 -60 11 -60 10 -61"):
        found = archive.found(query(("POS", pos)))
        assert whole <= found
        assert (north <= found) is (parse_pos(pos, can_be_point=True) == Circle(10.0, 80.0, 0.0))
        assert north <= found or not north & found


@pytest.mark.parametrize("name", INTERVALS)
def test_sia2_5_intervals_overlap_with_their_ends_and_sia2_4_never_what_is_unknown(archive, name) -> None:
    what = INTERVALS[name]
    known = [(row[what.low], row[what.high]) for row in archive.rows.values() if fulfils(row, SiaQuery())]
    known = [(low, high) for low, high in known if None not in {low, high}]
    rng = np.random.default_rng(13)
    texts = ["-Inf +Inf", "-Inf -1", "-1e300 -1", "1e30 Inf"]
    for _ in range(6):
        (a, b), (c, _) = (known[place] for place in rng.integers(0, len(known), 2))
        texts += [repr(a), repr(b), f"{b!r} inf", f"-inf {a!r}", f"{min(a, c)!r} {max(a, c)!r}"]
        texts += [f"{np.nextafter(b, math.inf)!r} inf".replace("np.float64(", "").replace(")", "")]
    for text in texts:
        archive.check(query((name, text)))
    assert archive.check(query((name, "-Inf +Inf"))) == len(known) > 0
    assert archive.check(query((name, repr(known[0][0])))) >= 1
    assert archive.check(query((name, f"-inf {known[0][0]!r}"), (name, f"{known[0][0]!r} inf"))) == len(known)


CHOICES: dict[str, Callable[[np.random.Generator], str]] = {
    "POS": random_region,
    "BAND": lambda rng: " ".join(map(repr, sorted(np.exp(rng.uniform(-18, -3, 2)).tolist()))),
    "TIME": lambda rng: " ".join(map(repr, sorted(rng.uniform(40_000, 60_000, 2).tolist()))),
    "FOV": lambda rng: f"{rng.uniform(0, 4):.3f} Inf",
    "SPATRES": lambda rng: f"-Inf {rng.uniform(1, 5):.3f}",
    "SPECRP": lambda rng: f"0 {rng.uniform(1, 5):.3f}",
    "EXPTIME": lambda rng: str(rng.integers(0, 6)),
    "TIMERES": lambda rng: f"{rng.uniform(0, 4):.3f} 9",
    "POL": lambda rng: str(rng.choice(POL_ORDER)),
    "ID": lambda rng: f"IVO://example.ORG/survey?KEY{rng.integers(0, ROWS):06d}",
    "COLLECTION": lambda rng: str(rng.choice(["A", "a", "B c", "O'Neill", "' OR 1=1 --", "none"])),
    "FACILITY": lambda rng: str(rng.choice(["VLT", "vlt", "%", "Keck_I", "Keck%"])),
    "INSTRUMENT": lambda rng: str(rng.choice(["CAM", "_", "cam", "\\"])),
    "DPTYPE": lambda rng: str(rng.choice(["image", "cube", "IMAGE", "spectrum"])),
    "TARGET": lambda rng: str(rng.choice(["M 31", "m 31", "Cen Å", "M_31"])),
    "FORMAT": lambda rng: str(rng.choice([DATALINK_FORMAT, "image/fits"])),
    "CALIB": lambda rng: str(rng.integers(0, 5)),
}


@pytest.mark.parametrize("name", CHOICES)
def test_sia2_2_each_parameter_constrains_as_brute_force_says(archive, name) -> None:
    rng = np.random.default_rng(14)
    everything = archive.found(query())
    found = [archive.check(query(*((name, CHOICES[name](rng)) for _ in range(n)))) for n in (1, 1, 1, 2, 3, 5)]
    assert min(found) < len(everything)
    assert max(found) > 0


@pytest.mark.parametrize("state", POL_ORDER)
def test_a_polarization_state_is_not_found_in_the_name_of_another(archive, state) -> None:
    archive.check(query(("POL", state)))


def test_sia2_3_values_are_alternatives_and_parameters_narrow_each_other(archive) -> None:
    rng = np.random.default_rng(15)
    names = [name for name in CHOICES if name not in {"ID", "FORMAT"}]
    found = []
    for _ in range(80):
        chosen = rng.choice(names, rng.integers(2, 4), replace=False)
        items = [(str(name), CHOICES[str(name)](rng)) for name in chosen for _ in range(rng.integers(1, 6))]
        found.append(archive.check(query(*items)))
    assert sum(number > 0 for number in found) > 25


def test_all_parameters_at_once_with_all_the_values_they_take(archive) -> None:
    rng = np.random.default_rng(16)
    items = [
        (name, choose(rng)) for name, choose in CHOICES.items() for _ in range(MOST_VALUES if name != "POS" else 20)
    ]
    archive.found(query(*items))


def test_sia2_6_ids_compare_without_case(archive) -> None:
    did = next(row for row in archive.rows.values() if row["dataproduct_type"] == "image")["obs_publisher_did"]
    for spelled in (did, did.lower(), did.upper()):
        assert archive.check(query(("ID", spelled))) == 1
    assert archive.found(query(("ID", did + "x"))) == set()


def test_the_index_of_identifiers_is_used(archive) -> None:
    sql = translate_tree(search(query(("ID", "ivo://a/b?c"), ("ID", "ivo://a/b?d"))), TABLES).sql
    with archive.connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
        cursor.execute(f"EXPLAIN {sql}")
        assert "ix_dataset_lower_obs_publisher_did" in "\n".join(cursor.fetch_arrow_table().column(0).to_pylist())


def test_sia2_7_one_row_more_than_asked_for_tells_of_an_overflow(archive) -> None:
    translation = translate_tree(search(query()), TABLES, index=INDEX, maxrec=5)
    assert archive.table(translation.sql).num_rows == 6
    assert translation.maxrec == 5
    assert archive.table(translate_tree(search(query()), TABLES, maxrec=0).sql).num_rows == 1


def test_sia2_8_the_columns_are_those_of_obscore_with_their_metadata() -> None:
    fields = translate_tree(search(query(("POS", "CIRCLE 1 2 3"))), TABLES, index=INDEX).fields
    (table,) = TABLES.schemas[0].tables
    assert fields == tuple(column.field for column in table.columns)
