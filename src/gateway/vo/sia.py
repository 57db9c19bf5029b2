"""SIA 2.0: the request, and the ADQL that answers it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.errors import ParameterError
from gateway.vo.adql.build import any_of, column, meets, number, select, text
from gateway.vo.dali import ParamBag, Parameter, normal_media_type, parse_maxrec
from gateway.vo.descriptors import InputParam, ServiceDescriptor
from gateway.vo.obscore import MANDATORY, OPTIONAL, POL_ORDER, SCHEMA, TABLE
from gateway.vo.regions import Region
from gateway.vo.shapes import POS_FORMS, Interval, parse_interval, parse_pos
from gateway.vo.tableset import Datatype, VOType

STANDARD_ID = "ivo://ivoa.net/std/SIA#query-2.0"

MOST_VALUES = 100
"""Values of one parameter in one request."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Parameter whose intervals have to overlap a row's interval."""

    low: str
    high: str
    unit: str


INTERVALS = {
    "BAND": Overlap("em_min", "em_max", "m"),
    "TIME": Overlap("t_min", "t_max", "d, MJD"),
    "FOV": Overlap("s_fov", "s_fov", "deg"),
    "SPATRES": Overlap("s_resolution", "s_resolution", "arcsec"),
    "SPECRP": Overlap("em_res_power", "em_res_power", "no unit"),
    "EXPTIME": Overlap("t_exptime", "t_exptime", "s"),
    "TIMERES": Overlap("t_resolution", "t_resolution", "s"),
}
"""Numeric parameters with the columns that they constrain (SIA 2.0, "Parameters")."""

WORDS = {
    "COLLECTION": "obs_collection",
    "FACILITY": "facility_name",
    "INSTRUMENT": "instrument_name",
    "DPTYPE": "dataproduct_type",
    "TARGET": "target_name",
    "FORMAT": "access_format",
}
"""Parameters that must equal a column, letter case included; media types compare as they are commonly spelled."""

PARAMETERS = (
    Parameter(
        "POS", f"Images that this region meets: {POS_FORMS}.", is_repeatable=True, example="CIRCLE 56.75 24.12 0.5"
    ),
    *(
        Parameter(name, f"One number or an interval, {what.unit}; -Inf and Inf leave an end open.", is_repeatable=True)
        for name, what in INTERVALS.items()
    ),
    Parameter("POL", f"Polarization state: {', '.join(POL_ORDER)}.", is_repeatable=True),
    Parameter("ID", "Publisher DID of the dataset.", is_repeatable=True),
    *(Parameter(name, f"Value of {column}.", is_repeatable=True) for name, column in WORDS.items()),
    Parameter("CALIB", "Calibration level, 0 to 4.", is_repeatable=True),
    Parameter("MAXREC", "Most rows wanted; 0: the description of the answer only."),
    Parameter("RESPONSEFORMAT", "Format of the answer, VOTable unless said otherwise."),
)


@dataclass(frozen=True, slots=True)
class SiaQuery:
    """Image search: values of one parameter are alternatives, parameters narrow each other (SIA 2.0, "Parameters")."""

    pos: tuple[Region, ...] = ()
    intervals: tuple[tuple[str, tuple[Interval, ...]], ...] = ()
    """Names of numeric parameters with their alternatives."""
    words: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Columns with the values of which they must have one."""
    ids: tuple[str, ...] = ()
    pol: tuple[str, ...] = ()
    calib: tuple[int, ...] = ()
    maxrec: int | None = None
    response_format: str | None = None

    @classmethod
    def from_params(cls, bag: ParamBag) -> SiaQuery:
        """Read a request.

        Raises
        ------
        ParameterError
            A value is not what its parameter takes.
        """

        def values(name: str) -> Sequence[str]:
            found = [value for value in bag.all(name) if value.strip()]
            if len(found) > MOST_VALUES:
                raise ParameterError(
                    name, found[0], f"{len(found)} values; at most {MOST_VALUES} are taken, send several requests"
                )
            return found

        return cls(
            pos=tuple(parse_pos(text, can_be_point=True) for text in values("POS")),
            intervals=tuple(
                (name, tuple(parse_interval(name, text, unit=what.unit) for text in texts))
                for name, what in INTERVALS.items()
                if (texts := values(name))
            ),
            words=tuple(
                (column, tuple(map(normal_media_type, texts) if name == "FORMAT" else texts))
                for name, column in WORDS.items()
                if (texts := values(name))
            ),
            ids=tuple(values("ID")),
            pol=tuple(_one_of("POL", text.strip(), POL_ORDER) for text in values("POL")),
            calib=tuple(int(_one_of("CALIB", text.strip(), tuple("01234"))) for text in values("CALIB")),
            maxrec=parse_maxrec(bag),
            response_format=bag.one("RESPONSEFORMAT"),
        )


def _one_of(name: str, text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise ParameterError(name, text, f"expected one of {', '.join(known)}")
    return text


def search(query: SiaQuery) -> exp.Select:
    """Make the query on ``ivoa.obscore`` that answers an image search.

    What is not known of an image never fulfils a condition (SIA2-4); of null that is so by itself.
    """
    conditions: list[exp.Expr] = [
        exp.In(this=column("dataproduct_type"), expressions=[text("image"), text("cube")])
    ]  # SIA2-14
    if query.pos:
        conditions.append(any_of([meets("s_region", shape) for shape in query.pos]))
    conditions += [any_of(_overlap(INTERVALS[name], intervals)) for name, intervals in query.intervals]
    conditions += [exp.In(this=column(name), expressions=list(map(text, words))) for name, words in query.words]
    if query.ids:
        did = exp.Anonymous(this="LOWER", expressions=[column("obs_publisher_did")])
        conditions.append(exp.In(this=did, expressions=[text(identifier.lower()) for identifier in query.ids]))
    if query.pol:
        conditions.append(
            any_of([exp.Like(this=column("pol_states"), expression=text(f"%/{state}/%")) for state in query.pol])
        )
    if query.calib:
        conditions.append(exp.In(this=column("calib_level"), expressions=[number(level) for level in query.calib]))
    names = [one.name for one in (*MANDATORY, *OPTIONAL)]
    return select(names, (SCHEMA, TABLE), conditions)


def _overlap(what: Overlap, intervals: Sequence[Interval]) -> list[exp.Expr]:
    """Conditions that a row's interval overlaps one of some; an open end asks only that the row's is known."""
    found: list[exp.Expr] = []
    for interval in intervals:
        high: exp.Expr = exp.Not(this=exp.Is(this=column(what.high), expression=exp.Null()))
        low: exp.Expr = exp.Not(this=exp.Is(this=column(what.low), expression=exp.Null()))
        if math.isfinite(interval.low):
            high = exp.GTE(this=column(what.high), expression=number(interval.low))
        if math.isfinite(interval.high):
            low = exp.LTE(this=column(what.low), expression=number(interval.high))
        found.append(exp.Paren(this=exp.And(this=low, expression=high)))
    return found


_INTERVAL = VOType(Datatype.DOUBLE, "2", "interval")
_TYPES = dict.fromkeys(INTERVALS, _INTERVAL) | {"CALIB": VOType(Datatype.INT), "MAXREC": VOType(Datatype.INT)}
_OPTIONS = {"POL": POL_ORDER, "CALIB": tuple("01234"), "DPTYPE": ("image", "cube")}
_FIELDS = {column.name: column.field for column in (*MANDATORY, *OPTIONAL)}


def descriptor(access_url: str) -> ServiceDescriptor:
    """Describe this very service in its answers (SIA2-11): every parameter, with unit and UCD of what it constrains."""

    def one(parameter: Parameter) -> InputParam:
        constrained = INTERVALS[parameter.name].low if parameter.name in INTERVALS else WORDS.get(parameter.name)
        field = _FIELDS[constrained] if constrained else None
        return InputParam(
            parameter.name,
            _TYPES.get(parameter.name, VOType(Datatype.CHAR, "*")),
            ucd=field.ucd if field and parameter.name not in INTERVALS else None,
            unit=field.unit if field else None,
            description=parameter.description,
            options=_OPTIONS.get(parameter.name, ()),
        )

    return ServiceDescriptor(
        access_url,
        tuple(one(parameter) for parameter in PARAMETERS),
        standard_id=STANDARD_ID,
        description="Image search; values of one parameter are alternatives, parameters narrow each other",
        is_self=True,
    )
