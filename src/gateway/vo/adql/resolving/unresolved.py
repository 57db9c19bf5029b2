"""Check what can be checked of a query without knowing any table: which functions it calls, and with how many arguments."""

from __future__ import annotations

from sqlglot import exp

from gateway.vo.adql.functions import allowed
from gateway.vo.adql.resolving.problems import Problems, counted
from gateway.vo.adql.resolving.scopes import did_you_mean

ARITIES = {
    "AREA": {1}, "BOX": {3, 4, 5}, "CENTROID": {1}, "CIRCLE": {2, 3, 4}, "CONTAINS": {2}, "COORD1": {1}, "COORD2": {1},
    "DISTANCE": {2, 4}, "INTERSECTS": {2}, "POINT": {2, 3}, "IN_UNIT": {2}, "NULLIF": {2},
}  # fmt: skip
"""Numbers of arguments that geometry and a few more may have, the deprecated coordinate system included."""


def check_functions(problems: Problems, query: exp.Query) -> None:
    """Refuse calls of unknown functions, and of known ones with a wrong number of arguments.

    Raises
    ------
    QueryError
        With the place of the first such call that is found.
    """
    for node in query.find_all(exp.Anonymous):
        name, count = node.this.upper(), len(node.expressions)
        if name in allowed.NOT_BUILT:
            problems.fail(node, allowed.NOT_BUILT[name])
        forms = allowed.FUNCTIONS.get(name)
        if forms is not None:
            if not any(form.takes(count) for form in forms):
                calls = " or ".join(dict.fromkeys(form.signature for form in forms))
                problems.fail(node, f"{name} is called as {calls}; found {counted(count, 'argument')}")
        elif name not in allowed.names():
            problems.fail(node, f"unknown function {node.this}{did_you_mean(name, allowed.names(), str)}")
        elif (
            count not in ARITIES.get(name, {count})
            or (name == "COALESCE" and not count)
            or (name == "POLYGON" and count < 3)
        ):
            problems.fail(node, f"{name} does not take {counted(count, 'argument')}")
