"""Run one ADQL query for a caller: the use case behind TAP sync, TAP async, the command line and the portal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Self

import pyarrow as pa
import structlog
from sqlglot import exp

from gateway.db.arrow import conform
from gateway.db.engine import CatalogEngine
from gateway.db.faults import incident
from gateway.db.registry import Registry
from gateway.db.sessions import QuerySession, RowStream
from gateway.errors import GatewayError, QueryError, TimeLimitError, UploadError
from gateway.services.access import Caller
from gateway.services.slots import CallerSlots, Slots
from gateway.services.uploads import SCHEMA as UPLOAD_SCHEMA
from gateway.services.uploads import ReceivedUpload, Uploads
from gateway.vo import formats
from gateway.vo.adql import RegionIndex, Translation, features, translate, translate_tree
from gateway.vo.adql.functions.udf import DECLARED
from gateway.vo.adql.parsing.extensions import EXTENSIONS
from gateway.vo.capabilities import Features
from gateway.vo.dali import UploadedPart
from gateway.vo.descriptors import ServiceDescriptor
from gateway.vo.formats.base import Complete, Ending, Info, Overflow, TableHeader, arrow_schema
from gateway.vo.provenance import Publisher, dataset_infos, query_infos, tap_infos
from gateway.vo.regions import Circle
from gateway.vo.tableset import Schema, Tableset
from gateway.vo.tap import TapRequest

log = structlog.get_logger()

STANDARD_ID = "ivo://ivoa.net/std/TAP"

LONG_QUERY = 4_000
"""Characters from which a query is translated in a thread: it may take longer than other requests should wait."""

NO_UPLOADS: Mapping[str, UploadedPart] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLimits:
    """What one query, and all of one process together, may use."""

    maxrec_default: int
    """Rows when MAXREC is absent."""
    maxrec_hard: int
    """Most rows, whatever MAXREC says."""
    time_limit: timedelta
    """Limit of a query that is given none."""
    query_length: int
    """Longest ADQL text, characters."""
    slots: int
    """Queries that run at once in this process."""
    slot_patience: timedelta
    """How long a request waits for a slot."""


class ResultTable:
    """Rows of a query, with all that belongs to them.

    Iterates over record batches of canonical types, one column for each field of the header. The first batch
    has been read when the table is made. Whoever has it closes it: that gives back slot, connection and
    uploaded tables, and ends the statement if it still runs.
    """

    header: TableHeader
    """Fields and INFOs."""
    ending: Ending | None
    """How the rows end, once that is known: from the start if all of them fit into one batch, else when the last
    has been given."""
    nrows: int
    """Rows given so far."""

    def __init__(
        self, header: TableHeader, rows: RowStream | None, *, maxrec: int | None, resources: AsyncExitStack
    ) -> None:
        self.header = header
        self.nrows = 0
        self._rows = rows
        self._maxrec = maxrec
        self._schema = arrow_schema(header.fields)
        self._resources = resources
        self.ending = self._early_ending()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        if self._rows is None:
            raise StopAsyncIteration
        batch = await anext(self._rows, None)
        if batch is None:
            self._rows = None
            self.ending = self.ending or Complete()
            raise StopAsyncIteration
        if self._maxrec is not None and self.nrows + batch.num_rows > self._maxrec:
            batch = await self._cut(batch, self._maxrec)
            if not batch.num_rows:
                raise StopAsyncIteration
        self.nrows += batch.num_rows
        return canonical(batch, self._schema)

    async def aclose(self) -> None:
        """Give back all that the table holds; may be called again."""
        # Shielded: a caller who is being cancelled still leaves everything tidy.
        await asyncio.shield(self._resources.aclose())

    async def _cut(self, batch: pa.RecordBatch, maxrec: int) -> pa.RecordBatch:
        assert self._rows is not None
        self.ending = Overflow(maxrec)
        # The statement is limited to one row more than MAXREC: read to its end, so that the connection can be kept.
        async for _ in self._rows:
            pass
        self._rows = None
        return batch.slice(0, maxrec - self.nrows)

    def _early_ending(self) -> Ending | None:
        if self._rows is None:
            return Overflow(0)  # TAP-34
        if (total := self._rows.total) is None:
            return None
        return Complete() if self._maxrec is None or total <= self._maxrec else Overflow(self._maxrec)


def canonical(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Give a batch the types that its fields promise.

    Raises
    ------
    ServiceError
        The translation promised what PostgreSQL does not give.
    """
    try:
        return conform(batch, schema)
    except (pa.ArrowException, ValueError) as e:
        raise incident("Result has other types than promised", detail=repr(e)) from e


class QueryService:
    """Queries on the catalog, one session for each.

    Parameters
    ----------
    engine, registry
        The catalog database and what is published in it.
    index
        Turns regions into ranges of the sky's index; ``None``: regions are tested row by row.
    uploads
        Receives the tables that come with queries.
    publisher
        Who answers; every result says so.
    caller_slots
        What one caller may use of all processes; ``None``: as much as there is.
    """

    def __init__(
        self,
        *,
        engine: CatalogEngine,
        registry: Registry,
        index: RegionIndex | None,
        uploads: Uploads,
        limits: QueryLimits,
        publisher: Publisher,
        caller_slots: CallerSlots | None = None,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._index = index
        self._uploads = uploads
        self._limits = limits
        self._publisher = publisher
        self._slots = Slots(
            limits.slots,
            patience=limits.slot_patience,
            busy=f"all {limits.slots} slots for queries are taken (sync_slots); try again in a few seconds, or send "
            "the query as a job",
        )
        self._caller_slots = caller_slots

    async def open(
        self,
        request: TapRequest,
        caller: Caller,
        *,
        uploads: Mapping[str, UploadedPart] = NO_UPLOADS,
        time_limit: timedelta | None = None,
        label: str = "gw:sync",
    ) -> ResultTable:
        """Run a query until its first rows are there.

        Parameters
        ----------
        uploads
            File parts that came with the request, by name.
        time_limit
            Wall-clock limit from now to the last row; ``None``: the service's own.
        label
            Name of the session in ``pg_stat_activity``.

        Raises
        ------
        QueryError, UploadError, NotSupportedError
            The request is wrong.
        OverloadedError, TimeLimitError, BackendUnavailableError, ServiceError
            It may be right, but cannot be answered now.
        """
        limit = time_limit or self._limits.time_limit
        started = time.monotonic()
        async with AsyncExitStack() as resources:
            await self._take_slots(caller, resources)
            received = await self._receive(request, uploads, limit, resources)
            maxrec = self._maxrec(request.maxrec)
            translation = await self._translate(request, await self._tableset(caller, received), maxrec)
            rows = None
            if maxrec > 0:
                session = await resources.enter_async_context(
                    self._engine.session(
                        time_limit=limit,
                        spent=timedelta(seconds=time.monotonic() - started),
                        label=label,
                        base_url=caller.base_url,
                        can_write_temp=bool(received),
                    )
                )
                rows = await _execute(session, translation, received)
            log.info("Query opened", owner=caller.key, maxrec=maxrec, uploads=len(received), label=label)
            infos = (*tap_infos(request, caller.base_url), *self._infos(STANDARD_ID, translation))
            header = TableHeader(translation.fields, infos, parameters=request.parameters)
            return ResultTable(header, rows, maxrec=translation.maxrec, resources=resources.pop_all())

    async def open_tree(
        self,
        query: exp.Query,
        caller: Caller,
        *,
        maxrec: int | None,
        standard_id: str,
        infos: Sequence[Info] = (),
        services: Sequence[ServiceDescriptor],
        label: str,
    ) -> ResultTable:
        """Run a query that `gateway.vo.adql.build` made, until its first rows are there.

        Parameters
        ----------
        maxrec
            Rows wanted; ``None``: the service's own number.
        standard_id
            Protocol through which it was asked.
        infos, services
            What else the answer says of itself, and what can be done with its rows.
        label
            Name of the session in ``pg_stat_activity``.

        Raises
        ------
        OverloadedError, TimeLimitError, BackendUnavailableError, ServiceError
            It cannot be answered now.
        """
        async with AsyncExitStack() as resources:
            await self._take_slots(caller, resources)
            most = self._maxrec(maxrec)
            translation = translate_tree(query, await self.tableset(caller), index=self._index, maxrec=most)
            rows = None
            if most > 0:
                session = await resources.enter_async_context(
                    self._engine.session(time_limit=self._limits.time_limit, label=label, base_url=caller.base_url)
                )
                rows = await _execute(session, translation, ())
            log.info("Query opened", owner=caller.key, maxrec=most, label=label)
            infos = (*infos, *self._infos(standard_id, translation))
            header = TableHeader(translation.fields, infos, services=tuple(services))
            return ResultTable(header, rows, maxrec=translation.maxrec, resources=resources.pop_all())

    async def check(
        self, request: TapRequest, caller: Caller, *, uploads: Mapping[str, UploadedPart] = NO_UPLOADS
    ) -> Translation | None:
        """Find out whether a query can run, without running it: format, uploads, syntax, names and types.

        Returns
        -------
        Translation or None
            ``None``: nobody knows before tables behind URLs have been fetched, which is done once, when it runs.

        Raises
        ------
        ParameterError, QueryError, UploadError, NotSupportedError
            It cannot, and why.
        """
        formats.find(request.response_format)
        if any(ref.is_remote for ref in request.uploads):
            return None
        async with AsyncExitStack() as resources:
            received = await self._receive(request, uploads, self._limits.time_limit, resources, has_rows=False)
            return await self._translate(request, await self._tableset(caller, received), self._maxrec(request.maxrec))

    async def tableset(self, caller: Caller) -> Tableset:
        """Tables that a caller may query."""
        del caller  # everything is public so far
        return await self._registry.load()

    async def fault(self) -> str | None:
        """Say why no query would work now; ``None`` if one would."""
        try:
            await self._registry.load()
        except GatewayError as e:
            return e.message
        return None

    def features(self) -> Features:
        """List the optional features of the query language, in groups, as capabilities declare them."""
        return [(group, [(form, _described(form)) for form in forms]) for group, forms in features().items()]

    async def warm(self) -> None:
        """Do once what makes a first query slow: import the sky's library, connect, read what is published.

        For a background task while the service starts; a database that is away makes no difference to it.
        """
        with suppress(GatewayError):
            if self._index is not None:
                await asyncio.to_thread(self._index.ranges, Circle(0.0, 0.0, 1.0))
            await self._registry.load()
            async with self._engine.session(time_limit=self._limits.time_limit, label="gw:warm"):
                pass

    # -- steps -------------------------------------------------------------------------------------------------

    async def _take_slots(self, caller: Caller, resources: AsyncExitStack) -> None:
        if self._caller_slots is not None:  # first: who waits for a slot of its own holds none of everybody's
            await resources.enter_async_context(self._caller_slots.take(caller))
        await resources.enter_async_context(self._slots.take())

    async def _receive(
        self,
        request: TapRequest,
        parts: Mapping[str, UploadedPart],
        limit: timedelta,
        resources: AsyncExitStack,
        *,
        has_rows: bool = True,
    ) -> Sequence[ReceivedUpload]:
        if not request.uploads:
            return ()
        try:
            async with asyncio.timeout(limit.total_seconds()):
                received = self._uploads.receive(request.uploads, parts, has_rows=has_rows)
                return await resources.enter_async_context(received)
        except TimeoutError:
            raise TimeLimitError(
                f"reading the uploaded tables took longer than the time limit of {limit.total_seconds():g} s"
            ) from None

    async def _tableset(self, caller: Caller, received: Sequence[ReceivedUpload]) -> Tableset:
        tableset = await self.tableset(caller)
        if not received:
            return tableset
        schema = Schema(UPLOAD_SCHEMA, tuple(upload.table for upload in received))
        return replace(tableset, schemas=(*tableset.schemas, schema))

    async def _translate(self, request: TapRequest, tableset: Tableset, maxrec: int) -> Translation:
        length = len(request.query)
        if length > self._limits.query_length:
            raise QueryError(
                f"the query has {length} characters; at most {self._limits.query_length} are read, "
                "so upload long lists as a table"
            )

        def work() -> Translation:
            return translate(request.query, tableset, index=self._index, maxrec=maxrec)

        return await asyncio.to_thread(work) if length > LONG_QUERY else work()

    def _maxrec(self, asked: int | None) -> int:
        return min(self._limits.maxrec_default if asked is None else asked, self._limits.maxrec_hard)

    def _infos(self, standard_id: str, translation: Translation) -> tuple[Info, ...]:
        return (
            *query_infos(standard_id, datetime.now(UTC)),
            *self._publisher.infos(standard_id),
            *dataset_infos(translation.tables),
        )


async def _execute(session: QuerySession, translation: Translation, received: Sequence[ReceivedUpload]) -> RowStream:
    for upload in received:
        try:
            await session.upload(upload.table, upload.batches(), schema=upload.schema)
        except QueryError as e:
            raise UploadError(
                f"table {upload.table.name} cannot be stored: a row of it is larger than the database can hold (1,000 "
                "numbers or some hundred texts); send fewer columns"
            ) from e
    rows = await session.execute(translation.sql)
    if rows.first is not None:
        # A wrong promise is an error document now, and not a broken table later.
        canonical(rows.first.slice(0, 0), arrow_schema(translation.fields))
    return rows


def _described(form: str) -> str | None:
    extension = EXTENSIONS.get(form)
    return extension.description if extension else DECLARED.get(form)
