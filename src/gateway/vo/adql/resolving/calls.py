"""Give calls of functions, CAST and CASE their types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from sqlglot import exp

from gateway.vo.adql.functions import allowed
from gateway.vo.adql.functions.signatures import Function, Parameter
from gateway.vo.adql.resolving.comparisons import Comparisons
from gateway.vo.adql.resolving.grouping import check_own_columns
from gateway.vo.adql.resolving.in_unit import in_unit
from gateway.vo.adql.resolving.problems import Problems, counted
from gateway.vo.adql.resolving.scopes import Place, did_you_mean
from gateway.vo.adql.tree import is_constant
from gateway.vo.adql.types import (
    CIRCLE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    NULL,
    POINT,
    POLYGON,
    SHORT,
    TIMESTAMP,
    Kind,
    Typed,
    settled,
    typed,
    unify,
)
from gateway.vo.regions import RegionError
from gateway.vo.stcs import parse_region
from gateway.vo.tableset import Datatype, VOType

CAST_RESULTS: dict[str, VOType] = {
    "SMALLINT": SHORT,
    "INTEGER": INT,
    "BIGINT": LONG,
    "REAL": FLOAT,
    "DOUBLE PRECISION": DOUBLE,
    "TIMESTAMP": TIMESTAMP,
    "POINT": POINT,
    "CIRCLE": CIRCLE,
    "POLYGON": POLYGON,
}

CASTS: dict[str, frozenset[Kind]] = {
    **dict.fromkeys(("SMALLINT", "INTEGER", "BIGINT", "REAL", "DOUBLE PRECISION"), frozenset({Kind.NUMBER, Kind.TEXT})),
    **dict.fromkeys(("CHAR", "VARCHAR"), frozenset({Kind.NUMBER, Kind.TEXT, Kind.TIMESTAMP, Kind.BOOLEAN})),
    "TIMESTAMP": frozenset({Kind.TEXT, Kind.TIMESTAMP}),
    **dict.fromkeys(("POINT", "CIRCLE", "POLYGON"), frozenset({Kind.TEXT})),
}
"""What may be turned into each type (ADQL 2.1, "CAST")."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Resolves the calls of one query."""

    problems: Problems
    comparisons: Comparisons
    visit: Callable[[exp.Expr, Place], Typed]
    condition: Callable[[exp.Expr, Place], None]

    def resolve(self, node: exp.Expr, place: Place) -> Typed:
        """Type a call of any kind."""
        if isinstance(node, exp.Cast):
            return self.cast(node, place)
        if isinstance(node, exp.Case):
            return self.case(node, place)
        assert isinstance(node, exp.Anonymous)
        return self.call(node, place)

    def cast(self, node: exp.Cast, place: Place) -> Typed:
        """``CAST(x AS type)``."""
        value = self.visit(node.this, place)
        to = node.args["to"].args["kind"]
        if value.kind is not Kind.NULL and value.kind not in CASTS[to]:
            wanted = " or ".join(sorted(CASTS[to]))
            self.problems.fail(node, f"CAST to {to} takes a {wanted}, found a {value.kind}")
        if to == "TIMESTAMP" and isinstance(node.this, exp.Literal):
            self.comparisons.check_timestamp(node.this)
        elif to == "TIMESTAMP" and value.kind is Kind.TEXT:
            node.set("this", parsed_timestamp(node.this))
        if to in {"CHAR", "VARCHAR"}:
            length = node.args["to"].expressions
            size = f"{length[0].this}*" if length else "*"
            return typed(VOType(value.field.type.datatype if value.kind is Kind.TEXT else Datatype.CHAR, size), "text")
        unit = value.field.unit if value.kind is Kind.NUMBER else None
        return typed(CAST_RESULTS[to], unit=unit)

    def case(self, node: exp.Case, place: Place) -> Typed:
        """CASE."""
        subject = node.args.get("this")
        value = self.visit(subject, place) if subject is not None else None
        results: list[exp.Expr] = []
        for arm in node.args["ifs"]:
            if value is None or subject is None:
                self.condition(arm.this, place)
            else:
                self.comparisons.check(arm.this, subject, value, arm.this, self.visit(arm.this, place))
            results.append(arm.args["true"])
        if (subject := node.args.get("this")) is not None:
            self.comparisons.check_alike(node, subject, [arm.this for arm in node.args["ifs"]])
        if (default := node.args.get("default")) is not None:
            results.append(default)
        return self.common_type(results, place, "CASE")

    def common_type(self, nodes: Sequence[exp.Expr], place: Place, what: str) -> Typed:
        """One type for several values."""
        common = NULL
        for item in list(nodes):
            value = self.visit(item, place)
            both = unify(common, value)
            if both is None:
                self.problems.fail(item, f"{what} has a {common.kind} and a {value.kind}; all values need one type")
            common = both
        common = settled(common)
        return typed(common.field.type, common.sql, unit=common_unit(nodes))

    def call(self, node: exp.Anonymous, place: Place) -> Typed:
        """Call of a function."""
        name = node.this.upper()
        if name in allowed.NOT_BUILT:
            self.problems.fail(node, allowed.NOT_BUILT[name])
        if name == "IN_UNIT":
            return in_unit(self.problems, node, lambda operand: self.visit(operand, place))
        if name in allowed.GEOMETRY_FUNCTIONS or name == allowed.RANGE:
            return self.geometry(node, name, place)
        if name == "COALESCE":
            if not node.expressions:
                self.problems.fail(node, "COALESCE needs at least one argument")
            return self.common_type(node.expressions, place, name)
        if name == "NULLIF":
            if len(node.expressions) != 2:
                self.problems.fail(node, f"NULLIF takes two arguments, found {len(node.expressions)}")
            values = [self.visit(item, place) for item in list(node.expressions)]
            if values[0].kind is Kind.NULL:
                self.problems.fail(node, "NULLIF of NULL is NULL; leave it out")
            self.comparisons.check(node, node.expressions[0], values[0], node.expressions[1], values[1])
            return typed(values[0].field.type, settled(values[0]).sql, unit=values[0].field.unit)
        forms = allowed.FUNCTIONS.get(name)
        if forms is None:
            self.problems.fail(node, f"unknown function {node.this}{did_you_mean(name, allowed.names(), str)}")
        node.set("this", name)
        return self.known(node, forms, place)

    def known(self, node: exp.Anonymous, forms: Sequence[Function], place: Place) -> Typed:
        """Call of a function of the table."""
        if forms[0].is_aggregate:
            if place.aggregates is not None:
                spelt = forms[0].spelling
                self.problems.fail(node, f"the aggregate function {spelt} cannot stand {place.aggregates}")
            place = Place(place.scope, f"inside {forms[0].spelling}")
        arguments = [self.visit(item, place) for item in list(node.expressions)]
        if forms[0].is_aggregate:
            check_own_columns(self.problems, node, forms[0].spelling or forms[0].name, place.scope)
        form = allowed.form_for(forms, arguments)
        if form is None:
            self.refuse(node, [form for form in forms if form.takes(len(arguments))] or forms, arguments)
        for parameter, item in zip(form.parameters, node.expressions, strict=False):
            if parameter.is_literal and not (isinstance(item, exp.Literal) and item.is_string):
                self.problems.fail(item, f"argument {parameter.name} of {form.signature} is {parameter.wanted}")
            if parameter.kind is Kind.TIMESTAMP and isinstance(item, exp.Literal):
                self.comparisons.check_timestamp(item)
        if form.check is not None and (wrong := form.check(node.expressions)) is not None:
            self.problems.fail(node.expressions[wrong[0]], wrong[1])
        node.meta["form"] = form
        result = form.result(arguments)
        return result if form.unit is None else typed(result.field.type, unit=form.unit(node.expressions))

    def refuse(self, node: exp.Anonymous, forms: Sequence[Function], arguments: Sequence[Typed]) -> NoReturn:
        """Tell why arguments fit no form of a function."""
        calls = " or ".join(dict.fromkeys(form.signature for form in forms))
        name = forms[0].spelling or forms[0].name
        if not forms[0].takes(len(arguments)):
            self.problems.fail(node, f"{name} is called as {calls}; found {counted(len(arguments), 'argument')}")
        form = forms[-1]
        for parameter, argument, item in zip(form.parameters, arguments, node.expressions, strict=False):
            if not parameter.fits(argument):
                self.problems.fail(
                    item,
                    f"argument {parameter.name} of {form.signature} is {parameter.wanted}, found a {argument.kind}",
                )
        raise AssertionError(name)  # a form takes what each of its parameters takes

    def geometry(self, node: exp.Anonymous, name: str, place: Place) -> Typed:
        """Call of a geometry function."""
        node.set("this", name)
        if name == "MOC":
            self.problems.extension("MOC", node)
        if name == "REGION":
            name = self.region(node)
        items = list(node.expressions)
        if name in allowed.CONSTRUCTORS and items:
            self.drop_coordinate_system(node, items, place)
        arguments = [self.visit(item, place) for item in list(node.expressions)]
        result = allowed.geometry_result(name, arguments)
        if result is None:
            forms = " or ".join(allowed.GEOMETRY_FUNCTIONS[name].signatures)
            shown = ", ".join(argument.kind for argument in arguments) or "nothing"
            self.problems.fail(node, f"{name} is called as {forms}; found {shown}")
        return result

    def region(self, node: exp.Anonymous) -> str:
        """REGION: becomes the call that makes the same shape; gives that function's name."""
        (literal,) = node.expressions if len(node.expressions) == 1 else (node,)
        if not (isinstance(literal, exp.Literal) and literal.is_string):
            self.problems.fail(node, "REGION takes one string literal, as in REGION('CIRCLE ICRS 10 20 0.5')")
        try:
            name, numbers = parse_region(literal.this)
        except RegionError as e:
            self.problems.fail(literal, e.message)
        node.set("this", name)
        node.set("expressions", [build_number(value, literal.meta.get("at")) for value in numbers])
        return name

    def drop_coordinate_system(self, node: exp.Anonymous, items: list[exp.Expr], place: Place) -> None:
        """Take away the deprecated first argument; only ICRS is known."""
        first = items[0]
        if isinstance(first, exp.Literal) and first.is_string:
            if first.this.strip().upper() not in allowed.COORDINATE_SYSTEMS:
                self.problems.fail(first, f"coordinate system {first.this!r} is not supported; {cure(first.this)}")
            node.set("expressions", items[1:])
        elif isinstance(first, exp.Column) and len(items) in {3, 4, 7} and node.this != "BOX":
            value = self.visit(first, place)
            if value.kind is Kind.TEXT:
                self.problems.fail(first, "a coordinate system is a string literal, 'ICRS'; or leave it out")


TEXT_AS_TIMESTAMP = Function(
    "TEXT AS TIMESTAMP",
    (Parameter("text", Kind.TIMESTAMP),),
    lambda _: typed(TIMESTAMP),
    lambda arguments: arguments[0],
)
"""What CAST calls before it casts a text of the database: no text of a query can spell its name."""


def parsed_timestamp(node: exp.Expr) -> exp.Expr:
    """Have a text be read as ADQL reads timestamps; PostgreSQL's own cast takes 'now' and 'infinity' too."""
    call = exp.Anonymous(this=TEXT_AS_TIMESTAMP.name, expressions=[node])
    call.meta.update(typed=typed(TIMESTAMP), form=TEXT_AS_TIMESTAMP, at=node.meta.get("at"))
    return call


def cure(system: str) -> str:
    """Say what to write instead of a string that is no coordinate system we know."""
    if system.strip()[:1] in {*"+-0123456789"}:
        return "coordinates are numbers in degrees; ivo_hms_to_degrees('...') and ivo_dms_to_degrees('...') convert"
    return "all positions are ICRS; ivo_geom_transform('GALACTIC', 'ICRS', POINT(l, b)) converts"


def build_number(value: float, at: int | None) -> exp.Expr:
    """Make a number as the parser does, standing where the string stood that it was in."""
    literal: exp.Expr = exp.Literal(this=repr(abs(value)), is_string=False)
    node = exp.Neg(this=literal) if value < 0 else literal
    literal.meta["at"] = node.meta["at"] = at
    return node


def common_unit(nodes: Sequence[exp.Expr]) -> str | None:
    """Tell the unit of all values but NULL and constants, which are meant in the unit of what they stand beside."""
    values = [node for node in nodes if node.meta["typed"].kind is not Kind.NULL and not is_constant(node)]
    units = {node.meta["typed"].field.unit for node in values}
    return units.pop() if len(units) == 1 else None
