"""Find images (SIA 2): a query on ``ivoa.obscore`` with what clients need to go on from its rows."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.access import Caller
from gateway.services.queries import QueryService, ResultTable
from gateway.vo import datalink, paths, sia, soda
from gateway.vo.descriptors import ServiceDescriptor
from gateway.vo.formats.base import Info
from gateway.vo.sia import SiaQuery

IDENTIFIER = "obs_publisher_did"
"""Column, and XML identifier of its FIELD, that links and cutouts are asked for with."""


class DiscoveryService:
    """Image search."""

    def __init__(self, queries: QueryService) -> None:
        self._queries = queries

    async def search(self, query: SiaQuery, caller: Caller, *, infos: Sequence[Info] = ()) -> ResultTable:
        """Find images until the first rows are there; errors are those of `QueryService.open`.

        ``infos`` is what else the answer says of itself.
        """
        return await self._queries.open_tree(
            sia.search(query),
            caller,
            maxrec=query.maxrec,
            standard_id=sia.STANDARD_ID,
            infos=infos,
            services=_services(caller.base_url),
            label="gw:sia",
        )


def _services(base_url: str) -> tuple[ServiceDescriptor, ...]:
    """Describe what takes the rows, and this service itself (SIA2-10, SIA2-11)."""
    return (
        datalink.links_descriptor(base_url + paths.LINKS, ref=IDENTIFIER),
        soda.descriptor(base_url + paths.CUTOUT, is_sync=True, identifier="soda-sync", ref=IDENTIFIER),
        soda.descriptor(base_url + paths.CUTOUT_JOBS, is_sync=False, identifier="soda-async", ref=IDENTIFIER),
        sia.descriptor(base_url + paths.IMAGE_SEARCH),
    )
