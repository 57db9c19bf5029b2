"""Random queries on a real server: each is refused, runs, or ends in a fault of its own; never in one of ours (C10).

``GATEWAY_FUZZ=100`` tries a hundred times as many.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from gateway.db.engine import CatalogEngine
from gateway.errors import GatewayError, QueryError, TransientError
from gateway.vo.adql import translate, translate_unresolved
from tests.campaigns.fuzz import queries
from tests.db.support import engine_on
from tests.support.adql_catalog import adql_catalog
from tests.support.servers import Administrator
from tests.vo.adql import tables

SEEDS = range(int(os.environ.get("GATEWAY_FUZZ", "1")) * 5)
COUNT = 300

FOREIGN = re.compile(r"\bpg_|relation|PL/pgSQL|SQLSTATE|HINT|LINE \d|sky\.|title_1|c_2mass|gw_hpx29|sqlglot|Traceback")
"""What only PostgreSQL or Python would say, or what is not published."""


@pytest.fixture(scope="module")
def catalog_url(database_server: Administrator, database_template: str) -> Iterator[str]:
    with adql_catalog(database_server, database_template) as url:
        yield url


@dataclass
class Ends:
    """How queries end."""

    refused: dict[str, QueryError] = field(default_factory=dict)
    told: dict[str, GatewayError] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    ran: int = 0

    async def add(self, engine: CatalogEngine, query: str) -> None:
        """Translate a query and run it."""
        try:
            translation = translate(query, tables.TABLES, index=tables.FixedIndex(), maxrec=10)
        except QueryError as e:
            self.refused[query] = e
            return
        try:
            async with engine.session(time_limit=timedelta(seconds=10), label="gw:fuzz") as session:
                stream = await session.execute(translation.sql)
                found = [batch async for batch in stream]
        except (QueryError, TransientError) as e:
            self.told[query] = e
        except GatewayError as e:
            self.faults[query] = str(e.__cause__).split("Query was")[0]
        else:
            self.ran += 1
            assert all(len(batch.schema) == len(translation.fields) for batch in found), query


async def test_a_random_query_never_ends_in_a_fault_of_ours(catalog_url: str) -> None:
    ends = Ends()
    async with engine_on(catalog_url) as engine:
        for query in (query for seed in SEEDS for query in queries(seed, COUNT)):
            await ends.add(engine, query)
    assert ends.faults == {}
    assert {query: e for query, e in ends.refused.items() if e.line is None or len(e.reason) > 500} == {}
    assert {query: e for query, e in (ends.refused | ends.told).items() if FOREIGN.search(e.message)} == {}
    assert len(ends.refused) > 500
    assert len(ends.told) > 5
    assert ends.ran > 200


@pytest.mark.parametrize("seed", range(1_000, 1_004))
def test_a_random_query_is_translated_or_refused_in_time(seed: int) -> None:  # A8
    for query in queries(seed, 400):
        started = time.process_time()
        with suppress(QueryError):
            translate(query, tables.TABLES, index=tables.FixedIndex())
        with suppress(QueryError):
            translate_unresolved(query)
        assert time.process_time() - started < 0.3, query
