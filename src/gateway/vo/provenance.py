"""Where a table came from: INFOs of every result ("Data Origin in the VO" 1.2, IVOA Note).

A file that is found again after a year says who made it, with which query, from what, and what to cite. The words are the
note's; ``standardID`` is DALI's own for the protocol and stands beside ``service_protocol``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from gateway.vo import paths
from gateway.vo.formats.base import Info
from gateway.vo.tableset import Table
from gateway.vo.tap import TapRequest

LONGEST_REQUEST = 2_000
"""Characters of a URL that may be sent again: browsers and servers take no more, and ``query`` has the text anyway."""

SERVICES = {
    "ivo://ivoa.net/std/TAP": paths.TAP,
    "ivo://ivoa.net/std/SIA": paths.SIA2,
    "ivo://ivoa.net/std/ConeSearch": paths.CONES,
}
"""Path of the service that speaks each standard, whose identifier is made from it."""

DATASET_TERMS: Mapping[str, str] = {
    "data_ivoid": "Identifier of the data collection",
    "citation": "What to cite",
    "reference_url": "Page about the data",
    "resource_version": "Version of the data",
    "rights_uri": "Licence",
    "rights": "Licence or copyright",
    "creator": "Who made the data",
    "journal": "Journal of the article",
    "article": "Article about the data",
    "cites": "What the data refer to",
    "is_derived_from": "What the data were made from",
    "original_date": "Date of what the data were made from",
    "publication_date": "Date of first publication here",
    "last_update_date": "Date of the last change here",
}
"""What a published table may say of itself, with words for people (Data Origin, "Dataset Origin")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Who answers: what is the same in all results of a service."""

    software: str
    """Name and version."""
    name: str | None = None
    contact: str | None = None
    """E-mail address or URL."""
    authority: str | None = None
    """IVOA authority of the identifiers of services; ``None``: they have none."""

    def infos(self, standard_id: str) -> tuple[Info, ...]:
        """Give the INFOs about the service that speaks a standard (Data Origin, "Query information")."""
        found = (
            ("service_ivoid", self._ivoid(standard_id), "Identifier of the service"),
            ("publisher", self.name, "Data centre that made this table"),
            ("contact", self.contact, "Where to ask"),
            ("server_software", self.software, "Software of the service"),
        )
        return tuple(Info(name, value, text) for name, value, text in found if value)

    def _ivoid(self, standard_id: str) -> str | None:
        path = SERVICES.get(standard_id.partition("#")[0])
        return f"ivo://{self.authority}{path}" if self.authority and path else None


def query_infos(standard_id: str, at: datetime) -> tuple[Info, ...]:
    """Give the INFOs about a query: its protocol, and the instant at which it ran (aware)."""
    return (
        Info("standardID", standard_id),
        Info("service_protocol", standard_id, "Protocol through which this table was retrieved"),
        Info("request_date", at.strftime("%Y-%m-%dT%H:%M:%SZ"), "When the query ran (UTC)"),
    )


def tap_infos(request: TapRequest, base_url: str) -> Iterator[Info]:
    """Give the INFOs about what TAP was asked: the query, and a URL that asks again where there is one."""
    yield Info("query", request.query)
    if not base_url or request.uploads:  # a URL does not bring the uploads along
        return
    asked = {"LANG": "ADQL", "QUERY": request.query, "RESPONSEFORMAT": request.response_format}
    asked |= {} if request.maxrec is None else {"MAXREC": str(request.maxrec)}
    yield from request_infos(f"{base_url}{paths.TAP}/sync", tuple(asked.items()))


def request_infos(url: str, parameters: Sequence[tuple[str, str]]) -> Iterator[Info]:
    """Give the INFO with the URL that asks again, unless it is too long for one."""
    whole = f"{url}?{urlencode(parameters)}"
    if len(whole) <= LONGEST_REQUEST:
        yield Info("request", whole, "Asks for this table again")


def dataset_infos(tables: Iterable[Table]) -> Iterator[Info]:
    """Give the INFOs about the published tables that a result was made from."""
    for table in tables:
        for term, value in table.origin:
            yield Info(term, value, f"{DATASET_TERMS[term]} ({table.qualified_name})")
