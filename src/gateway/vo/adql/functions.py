"""The one table of functions: what may be called, with which arguments, what comes out, and what PostgreSQL runs.

A function that is not here cannot be called. The capabilities are generated from the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.vo.adql.types import CIRCLE, DOUBLE, GEOMETRIES, INT, POINT, POLYGON, Kind, Typed, is_integer, typed
from gateway.vo.tableset import VOType

GEOMETRY = "ivo://ivoa.net/std/TAPRegExt#features-adqlgeo"
STRING = "ivo://ivoa.net/std/TAPRegExt#features-adql-string"
CONDITIONAL = "ivo://ivoa.net/std/TAPRegExt#features-adql-conditional"
COMMON_TABLE = "ivo://ivoa.net/std/TAPRegExt#features-adql-common-table"
SETS = "ivo://ivoa.net/std/TAPRegExt#features-adql-sets"
TYPE = "ivo://ivoa.net/std/TAPRegExt#features-adql-type"
OFFSET = "ivo://ivoa.net/std/TAPRegExt#features-adql-offset"
EXTENSION = "ivo://org.gateway/features#adql-extensions"
"""Groups of optional features. Mixed case as TAPRegExt spells it: common clients compare the text as it stands."""

Lower = Callable[[Sequence[exp.Expr]], exp.Expr]
Result = Callable[[Sequence[Typed]], Typed]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a function."""

    name: str
    kind: Kind
    is_integer: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """One form of a function that may be called."""

    name: str
    parameters: tuple[Parameter, ...]
    result: Result
    lower: Lower | None
    """Makes the expression for PostgreSQL from lowered arguments; ``None``: geometry, done by ``lower.py``."""
    optional: int = 0
    """How many of the last parameters may be left out."""
    group: str | None = None
    """Feature group of TAPRegExt; ``None``: mandatory in ADQL 2.1."""

    @property
    def signature(self) -> str:
        """How to call it, for messages."""
        needed = len(self.parameters) - self.optional
        names = [parameter.name for parameter in self.parameters]
        shown = ", ".join(names[:needed])
        for name in names[needed:]:
            shown += f"[, {name}]" if shown else f"[{name}]"
        return f"{self.name}({shown})"


def pg(name: str) -> Lower:
    """Call of a function of PostgreSQL's own."""
    return lambda arguments: exp.Anonymous(this=name, expressions=list(arguments))


def sky(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Call of one of our functions in schema ``sky``."""
    return exp.Dot(
        this=exp.Identifier(this="sky", quoted=False), expression=exp.Anonymous(this=name, expressions=list(arguments))
    )


def ours(name: str) -> Lower:
    """Call of a function in schema ``sky`` with the arguments as they are."""
    return lambda arguments: sky(name, *arguments)


def _double(_: Sequence[Typed]) -> Typed:
    return typed(DOUBLE)


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


def _maths(name: str, lower: Lower, *parameters: Parameter, optional: int = 0, result: Result = _double) -> Function:
    return Function(name, parameters or (X,), result, lower, optional)


def _random(_: Sequence[exp.Expr]) -> exp.Expr:
    # ADQL 2.1 gives the argument of RAND no defined effect
    return exp.Anonymous(this="random", expressions=[])


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
    _maths("MOD", ours("mod"), X, Y, result=_same_unit),
    Function("PI", (), _double, _pi),
    _maths("POWER", pg("power"), X, Y),
    _maths("RADIANS", pg("radians"), result=_radians),
    _maths("RAND", _random, N, optional=1),
    _maths("ROUND", ours("round"), X, N, optional=1, result=_same_unit),
    _maths("SQRT", pg("sqrt")),
    _maths("TRUNCATE", ours("truncate"), X, N, optional=1, result=_same_unit),
    _maths("ACOS", pg("acos"), result=_radians),
    _maths("ASIN", pg("asin"), result=_radians),
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

FUNCTIONS: Mapping[str, Function] = {function.name: function for function in PLAIN}
"""By upper-case name."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Function of ADQL's geometry: its forms are checked by `geometry_result`, and ``lower.py`` translates it."""

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
        Geometry("DISTANCE", ("DISTANCE(point, point)", "DISTANCE(ra1, dec1, ra2, dec2)")),
        Geometry("INTERSECTS", ("INTERSECTS(geometry, geometry)",)),
        Geometry("POINT", ("POINT(ra, dec)",)),
        Geometry("POLYGON", ("POLYGON(ra1, dec1, ra2, dec2, ra3, dec3, ...)", "POLYGON(point, point, point, ...)")),
    )
}

RANGE = "RANGE OF RA AND DEC"
"""A box between meridians and parallels. Only trees that we build ourselves can have it: no text can spell its name."""

CONSTRUCTORS = frozenset({"BOX", "CIRCLE", "POINT", "POLYGON"})
"""Functions whose first argument may be a coordinate system (ADQL 2.1, "Coordinate systems": deprecated)."""

COORDINATE_SYSTEMS = frozenset({"", "ICRS", "ICRS GEOCENTER", "ICRS BARYCENTER", "UNKNOWNFRAME"})
"""What the deprecated argument may say: all our positions are ICRS."""

NOT_BUILT: Mapping[str, str] = {
    "COORDSYS": "COORDSYS is not supported; all positions are ICRS",
    "IN_UNIT": "IN_UNIT is not supported yet",
    "REGION": "REGION is not supported yet; write POINT, CIRCLE or POLYGON",
}
"""Functions of ADQL 2.1 that are optional and not offered."""

AGGREGATE_NAMES = ("AVG", "COUNT", "MAX", "MIN", "SUM")
OTHER_NAMES = ("CAST", "COALESCE", "NULLIF")


def names() -> list[str]:
    """Names of everything that can be called, for suggestions."""
    return sorted({*FUNCTIONS, *GEOMETRY_FUNCTIONS, *AGGREGATE_NAMES, *OTHER_NAMES})


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
            pair = len(kinds) == 2 and all(kind in GEOMETRIES for kind in kinds)
            return typed(INT) if pair else None
        case "AREA":
            return typed(DOUBLE, unit="deg**2") if len(kinds) == 1 and kinds[0] in GEOMETRIES else None
        case "CENTROID":
            return typed(POINT, unit="deg") if len(kinds) == 1 and kinds[0] in GEOMETRIES else None
        case _:  # COORD1, COORD2
            return typed(DOUBLE, unit="deg") if kinds == [Kind.POINT] else None


def _point_and(kinds: Sequence[Kind], numbers: int) -> bool:
    rest = kinds[1:]
    return kinds[:1] == [Kind.POINT] and len(rest) == numbers and all(kind is Kind.NUMBER for kind in rest)


def fits(parameter: Parameter, argument: Typed) -> bool:
    """Whether a value may be given for a parameter."""
    if argument.kind is Kind.NULL:
        return True
    if argument.kind is not parameter.kind:
        return False
    return not parameter.is_integer or is_integer(argument)


def features() -> Mapping[str, tuple[str, ...]]:
    """List the optional features that are served, as TAPRegExt 1.0 declares them.

    Returns
    -------
    Mapping
        Feature type (an IVOID) to its forms. The texts of the last group, our own extensions, describe themselves.
    """
    from gateway.vo.adql.extensions import EXTENSIONS

    strings = tuple(function.name for function in PLAIN if function.group == STRING)
    return {
        GEOMETRY: tuple(sorted(GEOMETRY_FUNCTIONS)),
        STRING: (*strings, "ILIKE"),
        COMMON_TABLE: ("WITH",),
        SETS: ("UNION", "EXCEPT", "INTERSECT"),
        TYPE: ("CAST",),
        CONDITIONAL: ("COALESCE",),
        OFFSET: ("OFFSET",),
        EXTENSION: tuple(EXTENSIONS),
    }
