"""ObsCore 1.1: the columns are the standard's, letter for letter, and the empty table answers as any other."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.db.registry import Registry
from gateway.db.schema.images import NEVER_NULL, OBSCORE
from gateway.vo.dali import ParamBag
from gateway.vo.obscore import FROM_RULES, MANDATORY, OPTIONAL, POL_ORDER, Observation, pol_states
from gateway.vo.sia import SiaQuery, search
from gateway.vo.tableset import Datatype, Table
from tests.services.support import rows, service_on

SPACE, TIME, SPECTRUM = "Char.SpatialAxis", "Char.TimeAxis", "Char.SpectralAxis"
POSITION = f"{SPACE}.Coverage.Location.Coord.Position2D.Value2"

# Copied from the standard's own table, "Mandatory fields" (REC 2017-05-09, errata 1 and 2): type, unit, UCD, utype.
STANDARD = {
    "dataproduct_type": ("char*", "", "meta.code.class", "ObsDataset.dataProductType"),
    "calib_level": ("int", "", "meta.code;obs.calib", "ObsDataset.calibLevel"),
    "obs_collection": ("char*", "", "meta.id", "DataID.collection"),
    "obs_id": ("char*", "", "meta.id", "DataID.observationID"),
    "obs_publisher_did": ("char*", "", "meta.ref.ivoid", "Curation.publisherDID"),
    "access_url": ("char*", "", "meta.ref.url", "Access.reference"),
    "access_format": ("char*", "", "meta.code.mime", "Access.format"),
    "access_estsize": ("long", "kbyte", "phys.size;meta.file", "Access.size"),
    "target_name": ("char*", "", "meta.id;src", "Target.name"),
    "s_ra": ("double", "deg", "pos.eq.ra", f"{POSITION}.C1"),
    "s_dec": ("double", "deg", "pos.eq.dec", f"{POSITION}.C2"),
    "s_fov": ("double", "deg", "phys.angSize;instr.fov", f"{SPACE}.Coverage.Bounds.Extent.diameter"),
    "s_region": ("double*polygon", "", "pos.outline;obs.field", f"{SPACE}.Coverage.Support.Area"),
    "s_resolution": ("double", "arcsec", "pos.angResolution", f"{SPACE}.Resolution.Refval.value"),
    "s_xel1": ("long", "", "meta.number", f"{SPACE}.numBins1"),
    "s_xel2": ("long", "", "meta.number", f"{SPACE}.numBins2"),
    "t_min": ("double", "d", "time.start;obs.exposure", f"{TIME}.Coverage.Bounds.Limits.StartTime"),
    "t_max": ("double", "d", "time.end;obs.exposure", f"{TIME}.Coverage.Bounds.Limits.StopTime"),
    "t_exptime": ("double", "s", "time.duration;obs.exposure", f"{TIME}.Coverage.Support.Extent"),
    "t_resolution": ("double", "s", "time.resolution", f"{TIME}.Resolution.Refval.value"),
    "t_xel": ("long", "", "meta.number", f"{TIME}.numBins"),
    "em_min": ("double", "m", "em.wl;stat.min", f"{SPECTRUM}.Coverage.Bounds.Limits.LoLimit"),
    "em_max": ("double", "m", "em.wl;stat.max", f"{SPECTRUM}.Coverage.Bounds.Limits.HiLimit"),
    "em_res_power": ("double", "", "spect.resolution", f"{SPECTRUM}.Resolution.ResolPower.refVal"),
    "em_xel": ("long", "", "meta.number", f"{SPECTRUM}.numBins"),
    "o_ucd": ("char*", "", "meta.ucd", "Char.ObservableAxis.ucd"),
    "pol_states": ("char*", "", "meta.code;phys.polarization", "Char.PolarizationAxis.stateList"),
    "pol_xel": ("long", "", "meta.number", "Char.PolarizationAxis.numBins"),
    "facility_name": ("char*", "", "meta.id;instr.tel", "Provenance.ObsConfig.Facility.name"),
    "instrument_name": ("char*", "", "meta.id;instr", "Provenance.ObsConfig.Instrument.name"),
}
STANDARD_OPTIONAL = {
    "dataproduct_subtype": ("char*", "", "meta.code.class", "ObsDataset.dataProductSubtype"),
    "obs_title": ("char*", "", "meta.title;obs", "DataID.title"),
    "s_pixel_scale": ("double", "arcsec", "phys.angSize;instr.pixel", f"{SPACE}.Sampling.RefVal.SamplingPeriod"),
    "o_unit": ("char*", "", "meta.unit", "Char.ObservableAxis.unit"),
}


def described(column) -> tuple[str, str, str, str]:
    field = column.field
    # text beyond ASCII is unicodeChar in VOTable; it is still the standard's text
    datatype = "char" if field.type.datatype is Datatype.UNICODE_CHAR else field.type.datatype.value
    return (
        f"{datatype}{field.type.arraysize or ''}{field.type.xtype or ''}",
        field.unit or "",
        field.ucd or "",
        (field.utype or "").removeprefix("obscore:"),
    )


def test_obs1_the_mandatory_columns_are_the_standard_s_thirty_in_its_order() -> None:
    assert [column.name for column in MANDATORY] == list(STANDARD)
    assert len(STANDARD) == 30


@pytest.mark.parametrize("column", [*MANDATORY, *OPTIONAL], ids=lambda column: column.name)
def test_obs2_type_unit_ucd_and_utype_are_the_standard_s(column) -> None:
    assert described(column) == (STANDARD | STANDARD_OPTIONAL)[column.name]
    assert column.field.utype.startswith("obscore:")
    assert column.field.description


@pytest.mark.parametrize("column", [*MANDATORY, *OPTIONAL], ids=lambda column: column.name)
def test_ucds_are_known_words(column) -> None:
    from astropy.io.votable.ucd import parse_ucd

    assert parse_ucd(column.field.ucd, check_controlled_vocabulary=True)


def test_obs1_all_are_standard_and_the_mandatory_ones_principal() -> None:
    assert all(column.is_std for column in (*MANDATORY, *OPTIONAL))
    assert all(column.is_principal for column in MANDATORY)
    assert not any(column.is_principal for column in OPTIONAL)
    assert [column.index for column in (*MANDATORY, *OPTIONAL)] == list(range(1, len(MANDATORY) + len(OPTIONAL) + 1))


def test_obs4_obs5_columns_that_must_not_be_null() -> None:
    assert sorted(NEVER_NULL) == ["calib_level", "obs_collection", "obs_id", "obs_publisher_did"]


def test_an_observation_has_only_columns_of_the_table() -> None:
    names = {column.name for column in (*MANDATORY, *OPTIONAL)}
    assert set(Observation.__dataclass_fields__) <= names
    assert names >= FROM_RULES


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], None),
        (["I"], "/I/"),
        (["V", "U", "Q", "I"], "/I/Q/U/V/"),
        (["YX", "XX", "XY", "YY"], "/XX/YY/XY/YX/"),
        (["LR", "RL", "LL", "RR"], "/RR/LL/RL/LR/"),
        (["POLA", "POLI", "I", "I"], "/I/POLI/POLA/"),
        (["?"], None),
    ],
)
def test_obs14_polarization_states_have_slashes_around_and_the_standard_s_order(states, expected) -> None:
    assert pol_states(states) == expected


@given(st.sets(st.sampled_from(POL_ORDER), min_size=1))
def test_obs14_a_state_is_found_between_slashes_if_and_only_if_it_was_given(states) -> None:
    written = pol_states(states)
    assert re.fullmatch("(/[A-Z]+)+/", written)
    assert {state for state in POL_ORDER if f"/{state}/" in written} == states


# -- published ------------------------------------------------------------------------------------


@pytest.fixture
async def published(database_url: str) -> Table:
    registry = Registry(database_url)
    try:
        found = await registry.load()
    finally:
        await registry.aclose()
    (table,) = (
        table for schema in found.schemas for table in schema.tables if (schema.name, table.name) == ("ivoa", "obscore")
    )
    return table


async def test_obs1_migrate_publishes_the_table(published: Table) -> None:
    (ours,) = OBSCORE.tables
    assert [column.field for column in published.columns] == [column.field for column in ours.columns]
    assert published.sky == ours.sky
    assert (published.type, published.utype) == ("view", "ivo://ivoa.net/std/ObsCore#table-1.1")


async def test_obs2_tap_schema_tells_the_same(database_url: str) -> None:
    async with service_on(database_url) as service:
        found = await rows(
            service,
            "SELECT column_name, datatype, arraysize, xtype, unit, ucd, utype, std, principal"
            " FROM tap_schema.columns WHERE table_name = 'ivoa.obscore' ORDER BY column_index",
        )
    assert [row["column_name"] for row in found] == [*STANDARD, *STANDARD_OPTIONAL]
    for row in found:
        expected = (STANDARD | STANDARD_OPTIONAL)[row["column_name"]]
        datatype = "char" if row["datatype"] == "unicodeChar" else row["datatype"]
        kind = f"{datatype}{row['arraysize'] or ''}{row['xtype'] or ''}"
        assert (kind, row["unit"] or "", row["ucd"], row["utype"]) == (*expected[:3], f"obscore:{expected[3]}")
        assert (row["std"], row["principal"]) == (1, int(row["column_name"] in STANDARD))


@pytest.mark.parametrize(
    "query",
    [
        f"SELECT {', '.join(STANDARD)} FROM ivoa.ObsCore",
        f"SELECT {', '.join(name.upper() for name in STANDARD)} FROM IVOA.OBSCORE",
        "SELECT * FROM ivoa.obscore WHERE 1 = INTERSECTS(CIRCLE(10, 20, 1), s_region)",
        "SELECT DISTINCT obs_collection FROM ivoa.obscore WHERE access_url IS NULL",
    ],
)
async def test_obs1_an_empty_archive_answers_with_no_rows(database_url: str, query: str) -> None:
    async with service_on(database_url) as service:
        assert await rows(service, query) == []


async def test_cells_are_no_column_that_a_query_can_name(database_url: str) -> None:
    from gateway.errors import QueryError

    async with service_on(database_url) as service:
        with pytest.raises(QueryError, match="cells"):
            await rows(service, "SELECT cells FROM ivoa.obscore")


def test_sia2_8_a_search_has_all_mandatory_columns() -> None:
    names = [item.name for item in search(SiaQuery.from_params(ParamBag())).expressions]
    assert names == [*STANDARD, *STANDARD_OPTIONAL]
