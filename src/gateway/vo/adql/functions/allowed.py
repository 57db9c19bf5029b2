"""The one table of functions: what may be called, with which arguments, what comes out, and what PostgreSQL runs.

A function that is not here cannot be called. The capabilities are generated from the same table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sqlglot import exp

from gateway.vo.adql.functions.signatures import Function, Lower, Parameter, Result, Unit, double, ours, pg, sky
from gateway.vo.adql.functions.udf import DECLARED, NEEDS_NETWORK, UDF, UDFS
from gateway.vo.adql.types import (
    CHAR,
    CIRCLE,
    DOUBLE,
    GEOMETRIES,
    INT,
    MOC,
    POINT,
    POLYGON,
    Kind,
    Typed,
    is_integer,
    typed,
)
from gateway.vo.tableset import VOType
from gateway.vo.units import power_of

GEOMETRY = "ivo://ivoa.net/std/TAPRegExt#features-adqlgeo"
STRING = "ivo://ivoa.net/std/TAPRegExt#features-adql-string"
CONDITIONAL = "ivo://ivoa.net/std/TAPRegExt#features-adql-conditional"
COMMON_TABLE = "ivo://ivoa.net/std/TAPRegExt#features-adql-common-table"
SETS = "ivo://ivoa.net/std/TAPRegExt#features-adql-sets"
TYPE = "ivo://ivoa.net/std/TAPRegExt#features-adql-type"
UNIT = "ivo://ivoa.net/std/TAPRegExt#features-adql-unit"
OFFSET = "ivo://ivoa.net/std/TAPRegExt#features-adql-offset"
EXTENSION = "ivo://org.gateway/features#adql-extensions"
"""Groups of optional features. Mixed case as TAPRegExt spells it: common clients compare the text as it stands."""


def _same_unit(arguments: Sequence[Typed]) -> Typed:
    return typed(DOUBLE, unit=arguments[0].field.unit)


def _degrees(_: Sequence[Typed]) -> Typed:
    return typed(DOUBLE, unit="deg")


def _radians(_: Sequence[Typed]) -> Typed:
    return typed(DOUBLE, unit="rad")


def _text(arguments: Sequence[Typed]) -> Typed:
    return typed(VOType(arguments[0].field.type.datatype, "*"), "text")


X = Parameter("x", Kind.NUMBER)
Y = Parameter("y", Kind.NUMBER)
N = Parameter("n", Kind.NUMBER, is_integer=True)
SEED = Parameter("n", Kind.NUMBER, is_integer=True, sql="bigint")
WHOLE_X = Parameter("x", Kind.NUMBER, is_integer=True, sql="bigint")
WHOLE_Y = Parameter("y", Kind.NUMBER, is_integer=True, sql="bigint")


def _maths(
    name: str,
    lower: Lower,
    *parameters: Parameter,
    optional: int = 0,
    result: Result = double,
    unit: Unit | None = None,
) -> Function:
    return Function(name, parameters or (X,), result, lower, optional, unit=unit)


def _raised(nodes: Sequence[exp.Expr]) -> str | None:
    """Tell the unit of a power, where the exponent is a small whole number."""
    exponent = nodes[1]
    if not (isinstance(exponent, exp.Literal) and exponent.this in {"1", "2", "3", "4"}):
        return None
    return power_of(nodes[0].meta["typed"].field.unit, Fraction(exponent.this))


def _random(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """RAND. ADQL 2.1 leaves open what a seed does.

    A constant begins a sequence that is the same in every query; a value of the row gives the same number for the same value.
    """
    if not arguments:
        return exp.Anonymous(this="random", expressions=[])
    is_constant = next(arguments[0].find_all(exp.Column, exp.Query), None) is None
    return sky("rand_sequence" if is_constant else "rand", *arguments)


def _pi(_: Sequence[exp.Expr]) -> exp.Expr:
    return exp.Anonymous(this="pi", expressions=[])


PLAIN: tuple[Function, ...] = (
    _maths("ABS", pg("abs"), result=_same_unit),
    _maths("CEILING", pg("ceil"), result=_same_unit),
    _maths("DEGREES", pg("degrees"), result=_degrees),
    _maths("EXP", pg("exp")),
    _maths("FLOOR", pg("floor"), result=_same_unit),
    _maths("LOG", pg("ln")),
    _maths("LOG10", pg("log")),
    _maths("MOD", ours("mod"), WHOLE_X, WHOLE_Y, result=_same_unit),  # a double has not all digits of a bigint
    _maths("MOD", ours("mod"), X, Y, result=_same_unit),
    Function("PI", (), double, _pi),
    _maths("POWER", ours("power"), X, Y, unit=_raised),
    _maths("RADIANS", pg("radians"), result=_radians),
    _maths("RAND", _random, SEED, optional=1),
    _maths("ROUND", ours("round"), X, N, optional=1, result=_same_unit),
    _maths("SQRT", pg("sqrt"), unit=lambda nodes: power_of(nodes[0].meta["typed"].field.unit, Fraction(1, 2))),
    _maths("TRUNCATE", ours("truncate"), X, N, optional=1, result=_same_unit),
    _maths("ACOS", ours("acos"), result=_radians),
    _maths("ASIN", ours("asin"), result=_radians),
    _maths("ATAN", pg("atan"), result=_radians),
    _maths("ATAN2", pg("atan2"), Y, X, result=_radians),
    _maths("COS", pg("cos")),
    _maths("COT", pg("cot")),
    _maths("SIN", pg("sin")),
    _maths("TAN", pg("tan")),
    Function("LOWER", (Parameter("text", Kind.TEXT),), _text, pg("lower"), group=STRING),
    Function("UPPER", (Parameter("text", Kind.TEXT),), _text, pg("upper"), group=STRING),
)
"""Functions with one fixed list of parameters."""

FUNCTIONS: Mapping[str, tuple[Function, ...]] = {
    name: tuple(function for function in (*PLAIN, *UDFS) if function.name == name)
    for name in dict.fromkeys(function.name for function in (*PLAIN, *UDFS))
}
"""All forms of each function, by its upper-case name; the first one that fits is called."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Function of ADQL's geometry: its forms are checked by `geometry_result`, and ``geometry.py`` translates it."""

    name: str
    signatures: tuple[str, ...]


GEOMETRY_FUNCTIONS: Mapping[str, Geometry] = {
    geometry.name: geometry
    for geometry in (
        Geometry("AREA", ("AREA(geometry)",)),
        Geometry("BOX", ("BOX(ra, dec, width, height)", "BOX(point, width, height)")),
        Geometry("CENTROID", ("CENTROID(geometry)",)),
        Geometry("CIRCLE", ("CIRCLE(ra, dec, radius)", "CIRCLE(point, radius)")),
        Geometry("CONTAINS", ("CONTAINS(geometry, geometry)",)),
        Geometry("COORD1", ("COORD1(point)",)),
        Geometry("COORD2", ("COORD2(point)",)),
        Geometry("COORDSYS", ("COORDSYS(geometry)",)),
        Geometry("DISTANCE", ("DISTANCE(point, point)", "DISTANCE(ra1, dec1, ra2, dec2)")),
        Geometry("INTERSECTS", ("INTERSECTS(geometry, geometry)",)),
        Geometry("MOC", ("MOC(order, geometry)", "MOC('order/cells ...')")),
        Geometry("POINT", ("POINT(ra, dec)",)),
        Geometry("POLYGON", ("POLYGON(ra1, dec1, ra2, dec2, ra3, dec3, ...)", "POLYGON(point, point, point, ...)")),
        Geometry("REGION", ("REGION('shape in STC-S')",)),
    )
}

RANGE = "RANGE OF RA AND DEC"
"""A box between meridians and parallels. Only trees that we build ourselves can have it: no text can spell its name."""

CONSTRUCTORS = frozenset({"BOX", "CIRCLE", "POINT", "POLYGON"})
"""Functions whose first argument may be a coordinate system (ADQL 2.1, "Coordinate systems": deprecated)."""

COORDINATE_SYSTEMS = frozenset({"", "ICRS", "ICRS GEOCENTER", "ICRS BARYCENTER", "UNKNOWNFRAME"})
"""What the deprecated argument may say: all our positions are ICRS."""

NOT_BUILT: Mapping[str, str] = {
    "IVO_SIMBADPOINT": NEEDS_NETWORK,
}
"""Optional functions that are not offered, and why."""

AGGREGATE_NAMES = ("AVG", "COUNT", "MAX", "MIN", "SUM")
OTHER_NAMES = ("CAST", "COALESCE", "IN_UNIT", "NULLIF")


def names() -> list[str]:
    """Names of everything that can be called, for suggestions."""
    spelt = {forms[0].spelling or name for name, forms in FUNCTIONS.items()}
    return sorted({*spelt, *GEOMETRY_FUNCTIONS, *AGGREGATE_NAMES, *OTHER_NAMES})


def geometry_result(name: str, arguments: Sequence[Typed]) -> Typed | None:
    """Type of a geometry function's value; ``None`` if the arguments fit none of its forms."""
    kinds = [argument.kind for argument in arguments]
    numbers = all(kind in {Kind.NUMBER, Kind.NULL} for kind in kinds)
    match name:
        case "POINT":
            return typed(POINT, unit="deg") if len(kinds) == 2 and numbers else None
        case "CIRCLE":
            return typed(CIRCLE, unit="deg") if _point_and(kinds, 1) or (len(kinds) == 3 and numbers) else None
        case "BOX":
            return typed(POLYGON, unit="deg") if _point_and(kinds, 2) or (len(kinds) == 4 and numbers) else None
        case name if name == RANGE:
            return typed(POLYGON, unit="deg")
        case "POLYGON":
            by_number = numbers and len(kinds) >= 6 and len(kinds) % 2 == 0
            by_point = len(kinds) >= 3 and all(kind is Kind.POINT for kind in kinds)
            return typed(POLYGON, unit="deg") if by_number or by_point else None
        case "DISTANCE":
            by_point = kinds == [Kind.POINT, Kind.POINT]
            return (
                typed(DOUBLE, unit="deg", ucd="pos.angDistance") if by_point or (len(kinds) == 4 and numbers) else None
            )
        case "CONTAINS" | "INTERSECTS":
            pair = len(kinds) == 2 and all(argument.kind in GEOMETRIES or is_moc(argument) for argument in arguments)
            return typed(INT) if pair else None
        case "AREA":
            return typed(DOUBLE, unit="deg**2") if len(kinds) == 1 and kinds[0] in GEOMETRIES else None
        case "CENTROID":
            return typed(POINT, unit="deg") if len(kinds) == 1 and kinds[0] in GEOMETRIES else None
        case "COORDSYS":
            return typed(CHAR) if len(kinds) == 1 and kinds[0] in GEOMETRIES else None
        case "MOC":
            of_region = len(kinds) == 2 and is_integer(arguments[0]) and kinds[1] in GEOMETRIES
            return typed(MOC, "text") if of_region or kinds == [Kind.TEXT] else None
        case _:  # COORD1, COORD2
            return typed(DOUBLE, unit="deg") if kinds == [Kind.POINT] else None


def is_moc(argument: Typed) -> bool:
    """Whether a value is a coverage map."""
    return argument.field.type.xtype == "moc"


def _point_and(kinds: Sequence[Kind], numbers: int) -> bool:
    rest = kinds[1:]
    return kinds[:1] == [Kind.POINT] and len(rest) == numbers and all(kind is Kind.NUMBER for kind in rest)


def form_for(forms: Sequence[Function], arguments: Sequence[Typed]) -> Function | None:
    """Find the form that takes these arguments; ``None`` if there is none."""
    for form in forms:
        if form.takes(len(arguments)) and all(
            parameter.fits(argument) for parameter, argument in zip(form.parameters, arguments, strict=False)
        ):
            return form
    return None


def features() -> Mapping[str, tuple[str, ...]]:
    """List the optional features that are served, as TAPRegExt 1.0 declares them.

    Returns
    -------
    Mapping
        Feature type (an IVOID) to its forms. The texts of the last group, our own extensions, describe themselves.
    """
    from gateway.vo.adql.parsing.extensions import EXTENSIONS

    strings = tuple(function.name for function in PLAIN if function.group == STRING)
    return {
        GEOMETRY: tuple(sorted(name for name in GEOMETRY_FUNCTIONS if name != "MOC")),
        STRING: (*strings, "ILIKE"),
        COMMON_TABLE: ("WITH",),
        SETS: ("UNION", "EXCEPT", "INTERSECT"),
        TYPE: ("CAST",),
        CONDITIONAL: ("COALESCE",),
        UNIT: ("IN_UNIT",),
        OFFSET: ("OFFSET",),
        UDF: tuple(DECLARED),
        EXTENSION: tuple(EXTENSIONS),
    }
