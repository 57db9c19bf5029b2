"""What a VOTable says about a column, as a reader needs it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.errors import UploadError
from gateway.vo.formats.base import COMPLEX_DATATYPES
from gateway.vo.tableset import Datatype, Field, VOType

_ARRAYSIZE = re.compile(r"(?:[0-9]+x)*(?:[0-9]+\*?|\*)\Z")
"""VOTable 1.4, "Table Cells": only the last axis may vary."""

_TIMESTAMPS = frozenset({"timestamp", "adql:timestamp"})
"""Spellings of DALI 1.1 and of TAP 1.0; compared in lower case."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """FIELD of a document that is read."""

    field: Field
    is_lone_bit: bool = False
    """Whether the field is a boolean here, but a bit in the document."""
    null: str | None = None
    """Value that stands for null (``VALUES/@null``)."""

    @property
    def length(self) -> int | None:
        """Elements of each cell (two for one complex number); ``None`` if it varies."""
        arraysize = self.field.type.arraysize
        if arraysize is not None and arraysize.endswith("*"):
            return None
        return self._items * math.prod(_axes(arraysize))

    @property
    def step(self) -> int:
        """Number that the elements of a cell of varying length are a multiple of."""
        return self._items * math.prod(_axes((self.field.type.arraysize or "").rpartition("x")[0] or None))

    @property
    def _items(self) -> int:
        return 2 if self.field.type.datatype in COMPLEX_DATATYPES else 1


def _axes(arraysize: str | None) -> list[int]:
    return [int(axis) for axis in arraysize.split("x")] if arraysize else []


def field_spec(attributes: Mapping[str, str], number: int) -> FieldSpec:
    """Read the attributes of a FIELD.

    Parameters
    ----------
    attributes
        As the XML has them.
    number
        Place of the FIELD, from 1, for messages.

    Raises
    ------
    UploadError
        The FIELD has no name, or a type that VOTable does not know.
    """
    name = attributes.get("name") or attributes.get("ID")
    if not name:
        raise UploadError(f"FIELD number {number} has no name; give it one")
    type_ = _votype(name, attributes)
    return FieldSpec(
        is_lone_bit=type_.datatype is Datatype.BOOLEAN and attributes.get("datatype") == Datatype.BIT.value,
        field=Field(
            name=name,
            type=type_,
            unit=attributes.get("unit") or None,
            ucd=attributes.get("ucd") or None,
            utype=attributes.get("utype") or None,
        ),
    )


def _votype(name: str, attributes: Mapping[str, str]) -> VOType:
    try:
        datatype = Datatype(attributes.get("datatype", ""))
    except ValueError:
        raise UploadError(
            f"column {name}: {attributes.get('datatype')!r} is not a datatype of VOTable; use one of "
            f"{', '.join(Datatype)}"
        ) from None
    arraysize = attributes.get("arraysize", "").strip() or None
    if arraysize is not None and (not _ARRAYSIZE.match(arraysize) or math.prod(_axes(arraysize.strip("*x"))) == 0):
        raise UploadError(f"column {name}: arraysize={arraysize!r} is not one; write for example 3, *, 10* or 2x*")
    type_ = VOType(datatype, arraysize, attributes.get("xtype") or None)
    if (type_.xtype or "").lower() in _TIMESTAMPS:  # of numbers it means nothing
        type_ = replace(type_, xtype="timestamp" if type_.is_text else None)
    if arraysize == "1":  # how older writers say that a value is a scalar; deprecated by erratum 3 of VOTable 1.3
        type_ = replace(type_, arraysize=None)
    if type_.is_text:
        return type_
    # astropy calls a column of booleans one of lone bits.
    return replace(type_, datatype=Datatype.BOOLEAN) if type_.datatype is Datatype.BIT and not type_.is_array else type_
