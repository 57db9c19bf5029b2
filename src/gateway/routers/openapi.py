"""OpenAPI for DALI routes, made from the protocols' own parameter tables.

FastAPI's declared parameters compare names with case and cannot be the same for GET and POST; the
handlers read a `ParamBag` instead, and this module tells the document what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from gateway.vo.dali import Parameter


def documented(parameters: Iterable[Parameter], place: Literal["query", "form"]) -> dict[str, Any]:
    """Give the keyword arguments of a route that takes these parameters in the URL or in a form."""
    if place == "query":
        extra: dict[str, Any] = {"parameters": [_in_query(parameter) for parameter in parameters]}
    else:
        schema = {"type": "object", "properties": {p.name: _schema(p) for p in parameters}}
        kinds = ("application/x-www-form-urlencoded", "multipart/form-data")
        extra = {"requestBody": {"content": {kind: {"schema": schema} for kind in kinds}}}
    return {"openapi_extra": extra}


def _in_query(parameter: Parameter) -> dict[str, Any]:
    return {"name": parameter.name, "in": "query", "required": False, "description": parameter.description} | {
        "schema": _schema(parameter)
    }


def _schema(parameter: Parameter) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string"}
    if parameter.example:
        text["example"] = parameter.example
    schema = {"type": "array", "items": text} if parameter.is_repeatable else text
    return schema | {"description": parameter.description}
