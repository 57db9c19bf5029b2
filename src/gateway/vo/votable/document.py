"""The XML around the rows: header with FIELDs, trailing INFOs, error documents (VOTable 1.4, DALI 1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from gateway.vo.formats.base import Broken, Complete, Ending, Info, Overflow, TableHeader
from gateway.vo.formats.names import distinct
from gateway.vo.markup import attributes, element, escaped
from gateway.vo.tableset import Field

NAMESPACE = "http://www.ivoa.net/xml/VOTable/v1.3"
"""Namespace of VOTable 1.3 to 1.5; the minor version stands in ``VOTABLE/@version``."""

PROLOGUE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<VOTABLE version="1.4" xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    f' xsi:schemaLocation="{NAMESPACE} http://www.ivoa.net/xml/VOTable/VOTable-1.4.xsd">\n'
)

_UCD = re.compile(r"[A-Za-z0-9_.:;\-]+\Z")
"""What the schema lets stand in ``@ucd``; anything else would make the document invalid."""


def infos_xml(infos: Iterable[Info]) -> str:
    """INFO elements, one a line."""
    return "".join(
        f"<INFO{attributes({'name': info.name, 'value': info.value})}"
        + (f">{escaped(info.text)}</INFO>\n" if info.text else "/>\n")
        for info in infos
    )


def status_xml(value: str, text: str | None = None) -> str:
    """INFO with the QUERY_STATUS (DALI 1.1, "VOTable")."""
    return infos_xml([Info("QUERY_STATUS", value, text)])


def field_ids(names: Iterable[str]) -> Iterator[str]:
    """XML identifiers made from names, unique also without regard to case (VOT-4)."""
    stems = (re.sub(r"[^A-Za-z0-9_.-]", "_", name) for name in names)
    return distinct((stem if re.match(r"[A-Za-z_]", stem) else f"col_{stem}" for stem in stems), is_folded=True)


def field_xml(field: Field, identifier: str, null: int | None = None) -> str:
    """FIELD with all that is known of the column, and the number that stands for null where one does (VOT-16).

    A UCD that the schema forbids is left out: one bad word in a description must not break every result.
    """
    ucd = field.ucd if field.ucd and _UCD.match(field.ucd) else None
    values = {
        "ID": identifier,
        "name": field.name,
        "datatype": field.type.datatype.value,
        "arraysize": field.type.arraysize,
        "xtype": field.type.xtype or None,
        "unit": field.unit or None,
        "ucd": ucd,
        "utype": field.utype or None,
    }
    inner = element("DESCRIPTION", field.description or None)
    if null is not None:
        inner += f'<VALUES null="{null}"/>'
    return f"<FIELD{attributes(values)}" + (f">{inner}</FIELD>\n" if inner else "/>\n")


def table_xml(header: TableHeader, nulls: Sequence[int | None] | None = None) -> str:
    """TABLE up to the last FIELD; the caller writes DATA and closes."""
    ids = field_ids(field.name for field in header.fields)
    fields = "".join(map(field_xml, header.fields, ids, nulls or [None] * len(header.fields)))
    description = element("DESCRIPTION", header.description or None)
    return f"<TABLE{attributes({'name': header.name})}>\n{description}{fields}"


def head_xml(header: TableHeader, nulls: Sequence[int | None] | None = None) -> str:
    """Document up to the last FIELD; QUERY_STATUS says OK, which a trailing INFO may take back."""
    infos = status_xml("OK") + infos_xml(header.infos)
    return f'{PROLOGUE}<RESOURCE type="results">\n{infos}{table_xml(header, nulls)}'


def tail_xml(header: TableHeader, ending: Ending) -> str:
    """Document from the end of DATA on (DALI 1.1, "Overflow", "Errors")."""
    match ending:
        case Complete():
            status = ""
        case Overflow(maxrec=maxrec):
            status = status_xml("OVERFLOW", f"The table was cut after MAXREC={maxrec} rows; more rows match.")
        case Broken(message=message):
            status = status_xml("ERROR", message)
    services = "".join(service.to_xml() for service in header.services)
    return f"</TABLE>\n{status}</RESOURCE>\n{services}</VOTABLE>\n"


def metadata_document(header: TableHeader) -> str:
    """VOTable without DATA, as other formats carry it beside their rows (VOParquet 1.0)."""
    return f'{PROLOGUE}<RESOURCE type="results">\n{infos_xml(header.infos)}{table_xml(header)}{tail_xml(header, Complete())}'


def error_document(message: str, *, infos: Iterable[Info] = ()) -> bytes:
    """VOTable that tells an error instead of rows (DALI 1.1, "Errors"; TAP-58)."""
    body = status_xml("ERROR", message) + infos_xml(infos)
    return f'{PROLOGUE}<RESOURCE type="results">\n{body}</RESOURCE>\n</VOTABLE>\n'.encode()
