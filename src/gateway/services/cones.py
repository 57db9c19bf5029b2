"""Cone searches (SCS): each published table with positions is one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from gateway.errors import NotFoundError
from gateway.services.access import Caller
from gateway.services.queries import QueryService, ResultTable
from gateway.vo import scs
from gateway.vo.formats.base import Info
from gateway.vo.scs import Cone, ConeQuery

LABEL = "gw:scs"


class ConeService:
    """Cone searches on the published tables."""

    def __init__(self, queries: QueryService) -> None:
        self._queries = queries

    async def cones(self, caller: Caller) -> Sequence[Cone]:
        """List the tables that can be searched, in published order."""
        tableset = await self._queries.tableset(caller)
        return [cone for table in tableset.tables if (cone := scs.cone_of(table)) is not None]

    async def find(self, name: str, caller: Caller) -> Cone:
        """Find a table by its published name.

        Raises
        ------
        NotFoundError
            It is not published, or has no positions.
        """
        table = (await self._queries.tableset(caller)).find(name)
        if table is None:
            raise NotFoundError(f"There is no table {name}; GET .../scs lists those that can be searched")
        cone = scs.cone_of(table)
        if cone is None:
            raise NotFoundError(f"{name} has no positions to search by; GET .../scs lists the tables that have")
        return cone

    async def search(self, cone: Cone, query: ConeQuery, caller: Caller, *, infos: Sequence[Info] = ()) -> ResultTable:
        """Find rows until the first of them are there, nearest first; errors are those of `QueryService.open_tree`.

        ``infos`` is what else the answer says of itself.
        """
        table = await self._queries.open_tree(
            scs.search(cone, query),
            caller,
            maxrec=query.maxrec,
            standard_id=scs.STANDARD_ID,
            infos=infos,
            services=(),
            label=LABEL,
        )
        table.header = replace(
            table.header,
            fields=scs.fields(cone, query.verbosity, table.header.fields),
            name=cone.table.qualified_name,
            description=cone.table.description,
        )
        return table

    async def example(self, cone: Cone, caller: Caller) -> tuple[float, float] | None:
        """Give the position of some row, ICRS degrees; ``None`` if the table is empty or the row has none."""
        table = await self._queries.open_tree(
            scs.any_row(cone), caller, maxrec=1, standard_id=scs.STANDARD_ID, services=(), label=LABEL
        )
        async with aclosing(table):
            async for batch in table:
                ra, dec = (column[0].as_py() for column in batch.columns)
                return None if ra is None or dec is None else (float(ra), float(dec))
        return None
