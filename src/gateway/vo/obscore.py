"""ObsCore 1.1: the columns that describe an observation's data product, and the table that publishes them.

One row for each *science* image: what can be found by SIA 2, linked by DataLink and cut by SODA. Names, units, UCDs and
utypes are the standard's own (ObsCore 1.1, "Data Model Fields", with errata 1 and 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.vo.tableset import Column, Datatype, Field, VOType

SCHEMA = "ivoa"
TABLE = "obscore"

DATA_MODEL = ("ivo://ivoa.net/std/ObsCore#core-1.1", "ObsCore-1.1")
"""Identifier and name as TAPRegExt declares them (OBS-17)."""

DATALINK_FORMAT = "application/x-votable+xml;content=datalink"
"""Value of ``access_format`` where ``access_url`` leads to links; clients compare it as text (SIA2-12)."""

POL_ORDER = tuple("I Q U V RR LL RL LR XX YY XY YX POLI POLA".split())
"""States in the order in which ``pol_states`` lists them (ObsCore 1.1, "pol_states")."""

_TYPES = {
    "text": (VOType(Datatype.CHAR, "*"), "text"),
    "unicode": (VOType(Datatype.UNICODE_CHAR, "*"), "text"),
    "int": (VOType(Datatype.INT), "integer"),
    "long": (VOType(Datatype.LONG), "bigint"),
    "double": (VOType(Datatype.DOUBLE), "double precision"),
    "polygon": (VOType(Datatype.DOUBLE, "*", "polygon"), "double precision[]"),
    "timestamp": (VOType(Datatype.CHAR, "*", "timestamp"), "timestamp without time zone"),
}
"""VOTable type and PostgreSQL type of each word below."""

_MANDATORY = """
dataproduct_type  | text | | meta.code.class | ObsDataset.dataProductType | Logical type: image or cube
calib_level       | int  | | meta.code;obs.calib | ObsDataset.calibLevel | Calibration: 0 raw, 1 instrumental, 2 calibrated, 3 combined, 4 analysis
obs_collection    | unicode | | meta.id | DataID.collection | Collection that the product belongs to
obs_id            | unicode | | meta.id | DataID.observationID | Observation; products of one observation share it
obs_publisher_did | text | | meta.ref.ivoid | Curation.publisherDID | Identifier of the product, for DataLink and SODA
access_url        | text | | meta.ref.url | Access.reference | Links of the product: the file, cutouts, what belongs to it
access_format     | text | | meta.code.mime | Access.format | Media type at access_url
access_estsize    | long | kbyte | phys.size;meta.file | Access.size | Size of the file
target_name       | unicode | | meta.id;src | Target.name | Name of the target as its observer gave it
s_ra              | double | deg | pos.eq.ra | Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C1 | Right ascension of the centre, ICRS
s_dec             | double | deg | pos.eq.dec | Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C2 | Declination of the centre, ICRS
s_fov             | double | deg | phys.angSize;instr.fov | Char.SpatialAxis.Coverage.Bounds.Extent.diameter | Diameter of the circle around the footprint
s_region          | polygon | | pos.outline;obs.field | Char.SpatialAxis.Coverage.Support.Area | Footprint, ICRS; null beyond a hemisphere
s_resolution      | double | arcsec | pos.angResolution | Char.SpatialAxis.Resolution.Refval.value | Width of a point source
s_xel1            | long | | meta.number | Char.SpatialAxis.numBins1 | Pixels along the first celestial axis
s_xel2            | long | | meta.number | Char.SpatialAxis.numBins2 | Pixels along the second celestial axis
t_min             | double | d | time.start;obs.exposure | Char.TimeAxis.Coverage.Bounds.Limits.StartTime | Start, MJD, UTC
t_max             | double | d | time.end;obs.exposure | Char.TimeAxis.Coverage.Bounds.Limits.StopTime | End, MJD, UTC
t_exptime         | double | s | time.duration;obs.exposure | Char.TimeAxis.Coverage.Support.Extent | Exposure time
t_resolution      | double | s | time.resolution | Char.TimeAxis.Resolution.Refval.value | Shortest time that is told apart
t_xel             | long | | meta.number | Char.TimeAxis.numBins | Samples along the time axis
em_min            | double | m | em.wl;stat.min | Char.SpectralAxis.Coverage.Bounds.Limits.LoLimit | Shortest wavelength, vacuum
em_max            | double | m | em.wl;stat.max | Char.SpectralAxis.Coverage.Bounds.Limits.HiLimit | Longest wavelength, vacuum
em_res_power      | double | | spect.resolution | Char.SpectralAxis.Resolution.ResolPower.refVal | Wavelength over its smallest difference told apart
em_xel            | long | | meta.number | Char.SpectralAxis.numBins | Samples along the spectral axis
o_ucd             | text | | meta.ucd | Char.ObservableAxis.ucd | UCD of the pixel values
pol_states        | text | | meta.code;phys.polarization | Char.PolarizationAxis.stateList | Polarization states, as /I/Q/
pol_xel           | long | | meta.number | Char.PolarizationAxis.numBins | Number of polarization states
facility_name     | unicode | | meta.id;instr.tel | Provenance.ObsConfig.Facility.name | Telescope
instrument_name   | unicode | | meta.id;instr | Provenance.ObsConfig.Instrument.name | Instrument
"""

_OPTIONAL = """
dataproduct_subtype | text | | meta.code.class | ObsDataset.dataProductSubtype | Kind of product within its collection
obs_title           | unicode | | meta.title;obs | DataID.title | The product in a few words
s_pixel_scale       | double | arcsec | phys.angSize;instr.pixel | Char.SpatialAxis.Sampling.RefVal.SamplingPeriod | Size of a pixel at the centre
o_unit              | unicode | | meta.unit | Char.ObservableAxis.unit | Unit of the pixel values
"""

INDEXED = frozenset({"obs_publisher_did", "obs_collection", "s_ra", "s_dec", "s_region", "t_min", "em_min", "em_max"})
"""Columns under an index."""


def _fields(rows: str) -> Iterator[tuple[Field, str]]:
    for row in rows.strip().splitlines():
        name, word, unit, ucd, utype, description = (part.strip() for part in row.split("|"))
        kind, sql_type = _TYPES[word]
        yield Field(name, kind, unit or None, ucd, f"obscore:{utype}", description), sql_type


def _column(field: Field, sql_type: str, place: int, *, is_mandatory: bool) -> Column:
    return Column(
        field,
        physical=field.name,
        sql_type=sql_type,
        is_indexed=field.name in INDEXED,
        is_principal=is_mandatory,
        is_std=True,
        index=place,
    )


MANDATORY = tuple(_column(*pair, place, is_mandatory=True) for place, pair in enumerate(_fields(_MANDATORY), start=1))
"""The thirty columns that every ObsCore table has (ObsCore 1.1, "Mandatory fields")."""

OPTIONAL = tuple(
    _column(*pair, place, is_mandatory=False) for place, pair in enumerate(_fields(_OPTIONAL), start=len(MANDATORY) + 1)
)
"""Columns beyond them that this service knows."""


def pol_states(states: Iterable[str]) -> str | None:
    """Write polarization states in the standard's order, ``/I/Q/``; ``None`` if there are none (OBS-14)."""
    known = set(states)
    found = [state for state in POL_ORDER if state in known]
    return f"/{'/'.join(found)}/" if found else None


FROM_RULES = frozenset(
    """
    calib_level dataproduct_subtype obs_id obs_title target_name s_resolution t_min t_max t_exptime t_resolution
    em_min em_max em_res_power o_ucd o_unit pol_states facility_name instrument_name
    """.split()
)
"""Columns that a collection's rules may set or read from other keywords; the rest follows from the pixels' coordinates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of one science image: a row of ObsCore without what the gateway adds (identifier, links, size).

    Units and frames are those of the columns.
    """

    dataproduct_type: str
    dataproduct_subtype: str | None = None
    calib_level: int
    obs_id: str
    obs_title: str | None = None
    target_name: str | None = None
    s_ra: float
    s_dec: float
    s_fov: float
    s_region: tuple[float, ...] | None
    s_resolution: float | None = None
    s_xel1: int
    s_xel2: int
    s_pixel_scale: float
    t_min: float | None = None
    t_max: float | None = None
    t_exptime: float | None = None
    t_resolution: float | None = None
    t_xel: int | None = None
    em_min: float | None = None
    em_max: float | None = None
    em_res_power: float | None = None
    em_xel: int | None = None
    o_ucd: str | None = None
    o_unit: str | None = None
    pol_states: str | None = None
    pol_xel: int = 0
    facility_name: str | None = None
    instrument_name: str | None = None
