"""DataLink 1.1: the table of links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from gateway.vo.dali import Parameter
from gateway.vo.descriptors import InputParam, ServiceDescriptor
from gateway.vo.formats.base import Info, TableHeader, arrow_schema
from gateway.vo.tableset import Datatype, Field, VOType

STANDARD_ID = "ivo://ivoa.net/std/DataLink#links-1.1"

MEDIA_TYPE = "application/x-votable+xml;content=datalink"

THIS, CUTOUT, AUXILIARY, PROGENITOR = "#this", "#cutout", "#auxiliary", "#progenitor"
"""Terms of http://www.ivoa.net/rdf/datalink/core that we use."""

PARAMETERS = (
    Parameter("ID", "Publisher DID of a dataset, as ObsCore and SIA give it.", is_repeatable=True),
    Parameter("RESPONSEFORMAT", "Format of the answer, VOTable unless said otherwise."),
)

_TEXT = VOType(Datatype.CHAR, "*")
_UNICODE = VOType(Datatype.UNICODE_CHAR, "*")

FIELDS = (
    Field("ID", _UNICODE, ucd="meta.id;meta.main", description="Identifier that was asked for"),
    Field("access_url", _TEXT, ucd="meta.ref.url", description="Where it is"),
    Field("service_def", _TEXT, ucd="meta.ref", description="Service descriptor of this document, by its ID"),
    Field("error_message", _UNICODE, ucd="meta.code.error", description="Why there is no link"),
    Field("description", _UNICODE, ucd="meta.note", description="What it is"),
    Field("semantics", _TEXT, ucd="meta.code", description="What it is to the dataset"),
    Field("content_type", _TEXT, ucd="meta.code.mime", description="Media type"),
    Field("content_length", VOType(Datatype.LONG), unit="byte", ucd="phys.size;meta.file", description="Size"),
    Field("content_qualifier", _TEXT, description="Kind of product"),
    Field("local_semantics", _TEXT, ucd="meta.id.assoc", description="Our own name for links of one kind"),
)
"""Columns of the table (DataLink 1.1, "{links} endpoint": "List of successful links")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Row of the table; it has a URL, a service or an error."""

    id: str
    semantics: str
    access_url: str | None = None
    service_def: str | None = None
    error_message: str | None = None
    description: str | None = None
    content_type: str | None = None
    content_length: int | None = None
    content_qualifier: str | None = None
    local_semantics: str | None = None


def links_table(
    links: Sequence[Link], services: Sequence[ServiceDescriptor], infos: Sequence[Info] = ()
) -> tuple[TableHeader, pa.RecordBatch]:
    """Make the table of some links."""
    header = TableHeader(FIELDS, (Info("standardID", STANDARD_ID), *infos), name="links", services=tuple(services))
    schema = arrow_schema(FIELDS)
    columns = [
        pa.array([getattr(link, field.name if field.name != "ID" else "id") for link in links], field_type)
        for field, field_type in zip(FIELDS, schema.types, strict=True)
    ]
    return header, pa.RecordBatch.from_arrays(columns, schema=schema)


def links_descriptor(access_url: str, ref: str) -> ServiceDescriptor:
    """Describe the links of rows whose identifier is in a field (DataLink 1.1, "Service Descriptors")."""
    return ServiceDescriptor(
        access_url,
        (InputParam("ID", ucd="meta.id;meta.main", ref=ref),),
        standard_id=STANDARD_ID,
        identifier="links",
        name="links",
        description="Links of each dataset: its file, cutouts, what belongs to it",
        content_type=MEDIA_TYPE,
    )
