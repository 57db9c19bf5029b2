"""The XML around the rows: header with FIELDs, trailing INFOs, error documents (VOTable 1.4, DALI 1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gateway.vo.formats.base import Broken, Complete, Ending, Info, Overflow, TableHeader
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
    taken: set[str] = set()
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        if not re.match(r"[A-Za-z_]", stem):
            stem = f"col_{stem}"
        candidate, number = stem, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{stem}_{number}"
        taken.add(candidate.lower())
        yield candidate


def field_xml(field: Field, identifier: str) -> str:
    """FIELD with all that is known of the column.

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
    description = element("DESCRIPTION", field.description or None)
    return f"<FIELD{attributes(values)}" + (f">{description}</FIELD>\n" if description else "/>\n")


def table_xml(header: TableHeader) -> str:
    """TABLE up to the last FIELD; the caller writes DATA and closes."""
    ids = field_ids(field.name for field in header.fields)
    fields = "".join(field_xml(field, identifier) for field, identifier in zip(header.fields, ids, strict=True))
    description = element("DESCRIPTION", header.description or None)
    return f"<TABLE{attributes({'name': header.name})}>\n{description}{fields}"


def head_xml(header: TableHeader) -> str:
    """Document up to the last FIELD; QUERY_STATUS says OK, which a trailing INFO may take back."""
    return f'{PROLOGUE}<RESOURCE type="results">\n{status_xml("OK")}{infos_xml(header.infos)}{table_xml(header)}'


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
