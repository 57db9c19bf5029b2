"""Service descriptors: what a table says of services that take its rows (DataLink 1.1, "Service Descriptors")."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.vo.markup import attributes, element
from gateway.vo.tableset import Datatype, VOType

_TEXT = VOType(Datatype.CHAR, "*")


@dataclass(frozen=True, slots=True)
class InputParam:
    """Parameter of a service.

    With a value it is always sent so; with a reference, the row's value of that field is; else it is the user's to give.
    """

    name: str
    type: VOType = _TEXT
    ucd: str | None = None
    unit: str | None = None
    value: str = ""
    ref: str | None = None
    """XML identifier of a FIELD of the same document."""
    description: str | None = None
    minimum: str | None = None
    maximum: str | None = None
    options: tuple[str, ...] = ()

    def to_xml(self) -> str:
        """PARAM element."""
        head = attributes(
            {
                "name": self.name,
                "datatype": self.type.datatype.value,
                "arraysize": self.type.arraysize,
                "xtype": self.type.xtype,
                "ucd": self.ucd,
                "unit": self.unit,
                "ref": self.ref,
                "value": self.value,
            }
        )
        bounds = "".join(
            f"<{tag}{attributes({'value': value})}/>"
            for tag, value in (("MIN", self.minimum), ("MAX", self.maximum))
            if value
        ) + "".join(f"<OPTION{attributes({'value': option})}/>" for option in self.options)
        inner = element("DESCRIPTION", self.description) + (f"<VALUES>{bounds}</VALUES>" if bounds else "")
        return f"<PARAM{head}" + (f">{inner}</PARAM>\n" if inner else "/>\n")


@dataclass(frozen=True, slots=True)
class ServiceDescriptor:
    """A service that can be called from a table."""

    access_url: str
    inputs: tuple[InputParam, ...]
    standard_id: str | None = None
    identifier: str | None = None
    """XML identifier, where rows refer to it (``service_def``)."""
    name: str | None = None
    description: str | None = None
    content_type: str | None = None
    is_self: bool = False
    """Whether it describes the very service that gave the document."""

    def to_xml(self) -> str:
        """RESOURCE element."""
        head = attributes(
            {
                "type": "meta",
                "utype": "adhoc:service",
                "ID": self.identifier,
                "name": "this" if self.is_self else self.name,
            }
        )
        params = "".join(
            InputParam(name, value=value).to_xml()
            for name, value in (
                ("standardID", self.standard_id),
                ("accessURL", self.access_url),
                ("contentType", self.content_type),
            )
            if value
        )
        inputs = "".join(one.to_xml() for one in self.inputs)
        return (
            f"<RESOURCE{head}>\n{element('DESCRIPTION', self.description)}{params}"
            f'<GROUP name="inputParams">\n{inputs}</GROUP>\n</RESOURCE>\n'
        )
