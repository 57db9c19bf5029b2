"""User-defined functions: all of the IVOA's catalogue that needs no network, and our own, whose names begin with ``gw_``.

"Catalogue of ADQL User Defined Functions" 1.2. The names, arguments and meanings are its; a `NULL` argument gives NULL unless it
says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from gateway.vo.adql.functions import frames
from gateway.vo.adql.functions.signatures import Check, Function, Lower, Parameter, Result, double, ours, sky
from gateway.vo.adql.nodes import constant
from gateway.vo.adql.types import CHAR, DOUBLE, INT, LONG, POINT, Kind, Typed, data_type, typed
from gateway.vo.tableset import Datatype, VOType

UDF = "ivo://ivoa.net/std/TAPRegExt#features-udf"
"""Feature group of TAPRegExt."""

ORDERS = range(30)
"""HEALPix orders that 64-bit indices have."""

BINS = range(1, 100_001)
"""Numbers of bins that a histogram may have: as many as the function in PostgreSQL takes, which keeps a row small."""

NEEDS_NETWORK = "ivo_simbadpoint asks a name resolver in the network and is not offered; give the position itself"


def _real(name: str) -> Parameter:
    return Parameter(name, Kind.NUMBER)


def _text(name: str, *, is_literal: bool = False) -> Parameter:
    return Parameter(name, Kind.TEXT, is_literal=is_literal)


def _integer(name: str, sql: str = "integer") -> Parameter:
    return Parameter(name, Kind.NUMBER, is_integer=True, sql=sql)


def _truth(_: Sequence[Typed]) -> Typed:
    return typed(INT)


def _degrees(_: Sequence[Typed]) -> Typed:
    return typed(DOUBLE, unit="deg")


def _days(_: Sequence[Typed]) -> Typed:
    return typed(DOUBLE, unit="d")


def _counts(_: Sequence[Typed]) -> Typed:
    return typed(VOType(Datatype.INT, "*"))


def _position(_: Sequence[Typed]) -> Typed:
    return typed(POINT, unit="deg")


def _index(_: Sequence[Typed]) -> Typed:
    return typed(LONG)


def _joined_text(arguments: Sequence[exp.Expr]) -> exp.Expr:
    # a value of 1 GB would pass through our memory as a whole
    return sky("bounded", exp.Anonymous(this="string_agg", expressions=list(arguments)))


def _joined(arguments: Sequence[Typed]) -> Typed:
    texts = [argument.field.type.datatype for argument in arguments if argument.kind is Kind.TEXT]
    return typed(VOType(max(texts, default=CHAR.datatype, key=lambda text: text is Datatype.UNICODE_CHAR), "*"), "text")


def _astrometry(_: Sequence[Typed]) -> Typed:
    return typed(VOType(Datatype.DOUBLE, "6"))


def _same_shape(arguments: Sequence[Typed]) -> Typed:
    shape = arguments[2].field.type
    return typed(VOType(Datatype.DOUBLE, shape.arraysize, shape.xtype), unit="deg")


def _of_point(function: str) -> Lower:
    """Call with a position's two numbers instead of the position, where it is made of them."""

    def lowered(arguments: Sequence[exp.Expr]) -> exp.Expr:
        order, point = arguments
        made = point.expression if isinstance(point, exp.Dot) else None
        if isinstance(made, exp.Anonymous) and made.this == "point":
            return sky(function, order, *made.expressions)
        return sky(function, order, point)

    return lowered


def _rotated(arguments: Sequence[exp.Expr]) -> exp.Expr:
    source, target, shape = arguments
    matrix = frames.rotation(source.this, target.this)
    numbers = ",".join(repr(number) for row in matrix for number in row)
    array = exp.Cast(this=exp.Literal.string("{" + numbers + "}"), to=data_type("double precision[]"))
    return sky("rotate", shape, array)


def _histogram(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Aggregate that has all its bins even where there are no rows, if their number is known."""
    call = sky("histogram", *arguments)
    bins = constant(arguments[3])
    if bins is None:
        return call
    size = exp.Anonymous(
        this="array_fill",
        expressions=[exp.Literal.number(0), exp.Array(expressions=[exp.Literal.number(int(bins) + 2)])],
    )
    return exp.Coalesce(this=call, expressions=[size])


def _within(place: int, allowed: range, reason: str) -> Check:
    """Make a check that a constant whole number is in a range."""

    def check(arguments: Sequence[exp.Expr]) -> tuple[int, str] | None:
        value = constant(arguments[place])
        return None if value is None or value in allowed else (place, reason)

    return check


def _check_frames(arguments: Sequence[exp.Expr]) -> tuple[int, str] | None:
    for place in (0, 1):
        name = arguments[place].this
        if name not in frames.FROM_ICRS:
            meant = name.upper().replace(" ", "_")
            hint = f"did you mean {meant!r}" if meant in frames.FROM_ICRS else f"known: {', '.join(frames.FROM_ICRS)}"
            return place, f"unknown reference frame {name!r}; {hint}; upper and lower case differ"
    return None


def _function(
    declared: str,
    description: str,
    parameters: tuple[Parameter, ...],
    result: Result,
    lower: Lower,
    *,
    is_aggregate: bool = False,
    check: Check | None = None,
) -> Function:
    name = declared.partition("(")[0]
    return Function(
        name.upper(),
        parameters,
        result,
        lower,
        group=UDF,
        is_aggregate=is_aggregate,
        check=check,
        declared=declared,
        description=description,
        spelling=name,
    )


CHECK_ORDER = _within(0, ORDERS, f"a HEALPix order is a whole number from {ORDERS[0]} to {ORDERS[-1]}")
CHECK_BINS = _within(3, BINS, f"ivo_histogram has {BINS[0]} to {BINS[-1]} bins")
SHAPE = Parameter("geo", Kind.POINT, others=frozenset({Kind.CIRCLE, Kind.POLYGON}))
TIME = Parameter("d", Kind.TIMESTAMP, others=frozenset({Kind.TEXT}))
STAR = tuple(
    _real(name) for name in ("ra", "dec", "parallax", "pmra", "pmdec", "radial_velocity", "ref_epoch", "out_epoch")
)
STAR_ARGUMENTS = ", ".join(f"{parameter.name} REAL" for parameter in STAR)
BOUNDS = ("a1", "b1", "a2", "b2")

UDFS: tuple[Function, ...] = (
    _function(
        "ivo_healpix_index(hpxOrder INTEGER, long REAL, lat REAL) -> BIGINT",
        "Index of the HEALPix cell of an order (0 to 29), in NESTED numbering, that contains a position in degrees.",
        (_integer("hpxOrder"), _real("long"), _real("lat")),
        _index,
        ours("healpix_index"),
        check=CHECK_ORDER,
    ),
    _function(
        "ivo_healpix_index(hpxOrder INTEGER, point POINT) -> BIGINT",
        "Index of the HEALPix cell of an order (0 to 29), in NESTED numbering, that contains a position.",
        (_integer("hpxOrder"), Parameter("point", Kind.POINT)),
        _index,
        _of_point("healpix_index"),
        check=CHECK_ORDER,
    ),
    _function(
        "ivo_healpix_center(hpxOrder INTEGER, hpxIndex INTEGER) -> POINT",
        "Centre of a HEALPix cell of an order (0 to 29) in NESTED numbering; the index may be a BIGINT.",
        (_integer("hpxOrder"), _integer("hpxIndex", "bigint")),
        _position,
        ours("healpix_center"),
        check=CHECK_ORDER,
    ),
    _function(
        f"ivo_epoch_prop_pos({STAR_ARGUMENTS}) -> POINT",
        "Position of a star at out_epoch, from its six parameters at ref_epoch and motion along a straight line. Degrees, mas, "
        "mas/yr (pmra includes the cosine of dec), km/s, Julian years. A parallax that is NULL, 0 or negative means infinitely "
        "remote; NULL proper motions and radial velocity mean 0; any other NULL is an error.",
        STAR,
        _position,
        ours("epoch_prop_pos"),
    ),
    _function(
        f"gw_epoch_prop({STAR_ARGUMENTS}) -> DOUBLE PRECISION(6)",
        "All six parameters of a star at out_epoch, in the order and units of the arguments; otherwise as ivo_epoch_prop_pos.",
        STAR,
        _astrometry,
        ours("epoch_prop"),
    ),
    _function(
        "ivo_geom_transform(from_sys TEXT, to_sys TEXT, geo GEOMETRY) -> GEOMETRY",
        f"A POINT, CIRCLE or POLYGON of one reference frame in another, by a simple rotation. Frames, as string literals: "
        f"{', '.join(frames.FROM_ICRS)}; equinoxes: FK4 B1950, FK5 and ECLIPTIC J2000.",
        (_text("from_sys", is_literal=True), _text("to_sys", is_literal=True), SHAPE),
        _same_shape,
        _rotated,
        check=_check_frames,
    ),
    _function(
        "ivo_to_jd(d TIMESTAMP) -> DOUBLE PRECISION",
        "Julian Date of a timestamp (or of a string that is one), without regard to time scales and zones.",
        (TIME,),
        _days,
        ours("to_jd"),
    ),
    _function(
        "ivo_to_mjd(d TIMESTAMP) -> DOUBLE PRECISION",
        "Modified Julian Date of a timestamp (or of a string that is one), without regard to time scales and zones.",
        (TIME,),
        _days,
        ours("to_mjd"),
    ),
    _function(
        "ivo_string_agg(expression TEXT, delimiter TEXT) -> TEXT",
        "Aggregate: all values that are not NULL, one after the other with the delimiter between them.",
        (_text("expression"), _text("delimiter")),
        _joined,
        _joined_text,
        is_aggregate=True,
    ),
    _function(
        "ivo_nocasematch(value TEXT, pattern TEXT) -> INTEGER",
        "1 if a pattern as of LIKE matches the value without regard to case, else 0.",
        (_text("value"), _text("pattern")),
        _truth,
        ours("nocasematch"),
    ),
    _function(
        "ivo_hasword(haystack TEXT, needle TEXT) -> INTEGER",
        "1 if all words of needle are in haystack without regard to case and English endings, else 0.",
        (_text("haystack"), _text("needle")),
        _truth,
        ours("hasword"),
    ),
    _function(
        "ivo_hashlist_has(hashlist TEXT, item TEXT) -> INTEGER",
        "1 if item is one of the words of a list in which hash signs stand between words, without regard to case, else 0.",
        (_text("hashlist"), _text("item")),
        _truth,
        ours("hashlist_has"),
    ),
    _function(
        "ivo_histogram(val REAL, lower REAL, upper REAL, nbins INTEGER) -> INTEGER[]",
        "Aggregate: number of values below lower (NULL and NaN among them), in each of nbins bins, and above upper. The last bin "
        "includes upper.",
        (_real("val"), _real("lower"), _real("upper"), _integer("nbins")),
        _counts,
        _histogram,
        is_aggregate=True,
        check=CHECK_BINS,
    ),
    _function(
        "ivo_normal_random(mu REAL, sigma REAL) -> DOUBLE PRECISION",
        "A random number of the normal distribution with mean mu and standard deviation sigma.",
        (_real("mu"), _real("sigma")),
        double,
        ours("normal_random"),
    ),
    *(
        _function(
            "ivo_interval_overlaps(a1 NUMERIC, b1 NUMERIC, a2 NUMERIC, b2 NUMERIC) -> INTEGER",
            "1 if the intervals from a1 to b1 and from a2 to b2 have a number in common, ends included, else 0. An interval with "
            "its lower bound above its upper one has none.",
            parameters,
            _truth,
            ours("interval_overlaps"),
        )
        for parameters in (tuple(_integer(name, "bigint") for name in BOUNDS), tuple(_real(name) for name in BOUNDS))
    ),
    _function(
        "ivo_hms_to_degrees(hms TEXT) -> DOUBLE PRECISION",
        "Degrees of hours, minutes and seconds: 'h:m:s', 'hhmmss', 'hHmMsS' or 'h m s'; NULL for any other text.",
        (_text("hms"),),
        _degrees,
        ours("hms_to_degrees"),
    ),
    _function(
        "ivo_dms_to_degrees(dms TEXT) -> DOUBLE PRECISION",
        "Degrees of degrees, minutes and seconds: 'd:m:s', 'ddmmss', 'dDmMsS' or 'd m s', with or without a sign; NULL for any "
        "other text.",
        (_text("dms"),),
        _degrees,
        ours("dms_to_degrees"),
    ),
)
"""All of them, in the order in which they are declared. Forms that differ only in their numbers' types are declared once."""

AGGREGATES = frozenset(function.name for function in UDFS if function.is_aggregate)
"""Upper-case names of those that work on many rows."""

DECLARED: Mapping[str, str] = {
    function.declared: function.description for function in UDFS if function.declared and function.description
}
"""Descriptions by signature, as capabilities declare them."""
