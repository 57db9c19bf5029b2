"""A data centre's database: tables that it has already, the gateway beside them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import asyncpg
import numpy as np
import pyarrow as pa
from astropy.io.votable import parse_single_table

from gateway.db.registry import Registry, read_tableset
from gateway.db.roles import QUERY_ROLE
from gateway.ingest.register import RegisterReport, register_table
from gateway.services.access import ANONYMOUS
from gateway.services.queries import QueryLimits, QueryService
from gateway.services.serialise import serialise
from gateway.services.uploads import Uploads
from gateway.sky.search import HealpixIndex
from gateway.vo import formats
from gateway.vo.adql import translate
from gateway.vo.formats.base import Broken
from gateway.vo.provenance import Publisher
from gateway.vo.tableset import Column, Table, Tableset
from gateway.vo.tap import TapRequest
from tests.db.support import engine_on
from tests.services.support import LIMITS, UPLOADS

INDEX = HealpixIndex()


class Site:
    """A database of this test's own, asked as operators and as astronomers do."""

    def __init__(self, url: str) -> None:
        self.url = url

    # -- the data centre ----------------------------------------------------------------------------------

    def run(self, *statements: str) -> None:
        async def work() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(work())

    def fetch(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        async def work() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.url)
            try:
                return [tuple(row) for row in await connection.fetch(query, *values)]
            finally:
                await connection.close()

        return asyncio.run(work())

    def indexes(self, name: str = "gw_zone_%") -> list[str]:
        return [
            row[0] for row in self.fetch("SELECT indexname FROM pg_indexes WHERE indexname LIKE $1 ORDER BY 1", name)
        ]

    # -- the operator -------------------------------------------------------------------------------------

    def register(self, table: str = "public.stars", **options: Any) -> RegisterReport:
        if "name" not in options and table.startswith("public."):
            options["name"] = f"survey.{table.partition('.')[2]}"
        return register_table(table, **{"admin_url": self.url, **options})

    def tableset(self) -> Tableset:
        async def work() -> Tableset:
            connection = await asyncpg.connect(self.url)
            try:
                return await read_tableset(connection)
            finally:
                await connection.close()

        return asyncio.run(work())

    def table(self, name: str = "survey.stars") -> Table | None:
        return self.tableset().find(name)

    def columns(self, name: str = "survey.stars") -> dict[str, Column]:
        table = self.table(name)
        assert table is not None, f"{name} is not published"
        return {column.name: column for column in table.columns}

    # -- astronomers --------------------------------------------------------------------------------------

    def answers(self, queries: Sequence[str], form: str = "votable") -> list[bytes]:
        """Whole answers in a format; what goes wrong after the first row is an error here too."""
        found, _ = formats.find(form)

        async def work() -> list[bytes]:
            registry = Registry(self.url)
            async with engine_on(self.url) as engine:
                service = QueryService(
                    engine=engine,
                    registry=registry,
                    index=INDEX,
                    uploads=Uploads(limits=UPLOADS),
                    limits=QueryLimits(**LIMITS),
                    publisher=Publisher(software="x/1"),
                )
                try:
                    return [await answer(service, query) for query in queries]
                finally:
                    await registry.aclose()

        async def answer(service: QueryService, query: str) -> bytes:
            table = await service.open(TapRequest(query), ANONYMOUS)
            async with aclosing(table), aclosing(serialise(table, found)) as body:
                whole = b"".join([piece async for piece in body])
            assert not isinstance(table.ending, Broken), table.ending
            return whole

        return asyncio.run(work())

    def ask(self, adql: str, form: str = "votable") -> bytes:
        return self.answers([adql], form)[0]

    def rows(self, adql: str) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        table: pa.Table = pq.read_table(io.BytesIO(self.ask(adql, "parquet")))
        return table.to_pylist()

    def column(self, adql: str) -> list[Any]:
        return [next(iter(row.values())) for row in self.rows(adql)]

    def votable(self, adql: str) -> Any:
        return parse_single_table(io.BytesIO(self.ask(adql)), verify="exception")

    def plan(self, adql: str) -> str:
        """How PostgreSQL runs a query under the query role."""
        sql = translate(adql, self.tableset(), index=INDEX).sql

        async def work() -> str:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute(f"SET ROLE {QUERY_ROLE}")
                return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}"))
            finally:
                await connection.close()

        return asyncio.run(work())


def distances(ra: np.ndarray, dec: np.ndarray, ra0: float, dec0: float) -> np.ndarray:
    """Distances to a position, degrees, by vectors."""

    def vectors(ra: Any, dec: Any) -> np.ndarray:
        ra, dec = np.radians(ra), np.radians(dec)
        return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)

    one, other = vectors(ra, dec), vectors(ra0, dec0)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other), axis=-1), one @ other))
