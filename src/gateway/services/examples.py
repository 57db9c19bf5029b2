"""Examples of queries on the tables that are published now: looks at a row of each, so that the examples find something."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta

import structlog

from gateway.errors import GatewayError, TimeLimitError
from gateway.services.access import Caller
from gateway.services.queries import QueryService
from gateway.vo import examples
from gateway.vo.examples import Probe
from gateway.vo.tap import TapRequest

log = structlog.get_logger()

KEPT_AS = "examples"

PROBE_LIMIT = timedelta(seconds=2)
"""Time to find one row of a table. It takes milliseconds, but for views that compute; they make no good example."""


async def examples_document(queries: QueryService, caller: Caller, title: str) -> bytes:
    """Give the document of examples for what a caller may query (DALI 1.1, "DALI-examples"), kept with the tableset.

    Raises
    ------
    BackendUnavailableError
        The catalog database does not answer.
    """
    tableset = await queries.tableset(caller)
    if (kept := tableset.renderings.get(KEPT_AS)) is not None:
        return kept
    rows, is_complete = {}, True
    for name, query in examples.probes(tableset).items():
        try:
            row = await _first_row(queries, query, caller)
        except GatewayError as e:
            # One table that cannot be read now is no reason to show none. A slow one stays slow: it is not tried again.
            log.info("Example left out", table=name, detail=e.message)
            is_complete &= isinstance(e, TimeLimitError)
        else:
            if row is not None:
                rows[name] = row
    document = examples.document(title, examples.examples(tableset, rows))
    if is_complete:
        tableset.renderings[KEPT_AS] = document
    return document


async def _first_row(queries: QueryService, query: str, caller: Caller) -> Probe | None:
    table = await queries.open(TapRequest(query), caller, time_limit=PROBE_LIMIT, label="gw:examples")
    async with aclosing(table):
        async for batch in table:
            if batch.num_rows:
                return [column[0].as_py() for column in batch.columns]
    return None
