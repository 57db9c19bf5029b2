"""IN_UNIT: values in another unit (ADQL 2.1, "Unit operations")."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from sqlglot import exp

from gateway.vo.adql.resolving.problems import Problems
from gateway.vo.adql.types import DECIMAL, DOUBLE, Kind, Typed, number, typed
from gateway.vo.units import UnitError, factor, is_unit


def in_unit(problems: Problems, node: exp.Anonymous, visit: Callable[[exp.Expr], Typed]) -> Typed:
    """Resolve ``IN_UNIT(x, 'unit')``; the call becomes a product.

    Raises
    ------
    QueryError
        One of the two is no unit, or they measure different things.
    """
    if len(node.expressions) != 2:
        problems.fail(node, f"IN_UNIT is called as IN_UNIT(x, 'unit'); found {len(node.expressions)} arguments")
    wanted = node.expressions[1]
    if not (isinstance(wanted, exp.Literal) and wanted.is_string):
        problems.fail(wanted, "the second argument of IN_UNIT is a unit in single quotes, as in IN_UNIT(ra, 'rad')")
    if not is_unit(wanted.this):
        problems.fail(
            wanted, f"{wanted.this!r} is no unit that IN_UNIT knows; write it as VOUnits does, as in 'mas/yr'"
        )
    value = visit(node.expressions[0])
    operand = node.expressions[0]
    if value.kind is not Kind.NUMBER:
        problems.fail(operand, f"IN_UNIT needs a number, found a {value.kind}")
    unit = value.field.unit
    if not unit:
        problems.fail(operand, "this value has no unit, so IN_UNIT cannot convert it; multiply it yourself")
    if not is_unit(unit):
        problems.fail(operand, f"this value has the unit {unit!r}, which IN_UNIT does not know")
    try:
        by = factor(unit, wanted.this)
    except UnitError as e:
        problems.fail(node, str(e))
    result = typed(DOUBLE, unit=wanted.this)
    converted = scaled(operand, value, by)
    converted.meta.update(typed=result, at=node.meta.get("at"))
    if (name := operand.meta.get("published")) is not None:
        converted.meta["label"] = f"in_unit_{name}"
    node.replace(converted)
    return result


def scaled(node: exp.Expr, value: Typed, by: Fraction | float) -> exp.Expr:
    """Multiply a value, as a double. What is exact stays so: arcseconds are divided by 3600 to be degrees."""
    is_double = value.sql == "double precision"
    base: exp.Expr = exp.Paren(this=node)
    base.meta["typed"] = value
    if not is_double:
        base = exp.Cast(this=base, to=exp.DataType(this=exp.DType.USERDEFINED, kind="DOUBLE PRECISION"))
        base.meta["typed"] = typed(DOUBLE)
    if by == 1:
        return base
    is_part = isinstance(by, Fraction) and by.numerator == 1 and by.denominator < 2**53
    shown = f"{Fraction(by).denominator}.0" if is_part else repr(float(by))
    literal = exp.Literal.number(shown)
    literal.meta["typed"] = number(DECIMAL)
    product = exp.Div(this=base, expression=literal, typed=True) if is_part else exp.Mul(this=base, expression=literal)
    product.meta["typed"] = typed(DOUBLE)
    return exp.Paren(this=product)
