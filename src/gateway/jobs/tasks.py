"""What runs inside a child: the one place where jobs meet services.

A job list's task takes `Work` and the services, and writes to the result store under the claim's prefix. Nothing here
touches the job's row: the worker does, when the child has answered.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, cast

import pyarrow as pa
import structlog

from gateway.children import report
from gateway.errors import DatasetError, NoOverlapError, NotFoundError, ServiceError, UsageError
from gateway.jobs.files import fetch_uploads
from gateway.jobs.models import Result, Upload, result_prefix, session_label
from gateway.services import sidecars
from gateway.services.access import Caller
from gateway.services.cutouts import CutoutService
from gateway.services.queries import QueryService, ResultTable
from gateway.services.rows import Rows
from gateway.services.serialise import serialise
from gateway.services.sidecars import Sidecar
from gateway.storage.results import ResultStore, save_file
from gateway.vo import formats, soda
from gateway.vo.dali import ParamBag
from gateway.vo.formats.base import Format, Overflow
from gateway.vo.soda import CutoutRequest
from gateway.vo.tap import TapRequest

log = structlog.get_logger()

REPORT_INTERVAL_S = 1.0
"""How often a task tells how far it is: readers poll no faster, and each report is a line through a pipe."""

UNLIMITED = timedelta(days=24)
"""Stands for "no limit" where PostgreSQL wants milliseconds in 31 bits, which end after 24.8 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One claim, as it crosses the pipe to the child."""

    job_id: str
    job_list: str
    number: int
    """Place of the part in its job, from 1."""
    token: int
    owner: str
    account: str | None
    base_url: str
    time_limit: timedelta | None
    parameters: tuple[tuple[str, str], ...]
    uploads: tuple[Upload, ...]

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Work:
        """Read what `Claim.to_json` wrote."""
        seconds = record["time_limit_s"]
        return cls(
            job_id=record["job_id"],
            job_list=record["job_list"],
            number=record["number"],
            token=record["token"],
            owner=record["owner"],
            account=record["account"],
            base_url=record["base_url"],
            time_limit=None if seconds is None else timedelta(seconds=seconds),
            parameters=tuple((name, value) for name, value in record["parameters"]),
            uploads=tuple(Upload.from_json(upload) for upload in record["uploads"]),
        )

    @property
    def label(self) -> str:
        """Name of the database sessions of this claim."""
        return session_label(self.job_id, self.number, self.token)

    def key(self, name: str) -> str:
        """Where an object of this claim goes."""
        return result_prefix(self.job_id, self.number, self.token) + name


class Services(Protocol):
    """What tasks work with; made once in each child by the factory that the worker names."""

    @property
    def queries(self) -> QueryService:
        """Queries on the catalog."""
        ...

    @property
    def cutouts(self) -> CutoutService:
        """Cutouts of images."""
        ...

    @property
    def results(self) -> ResultStore:
        """Where results go and uploads lie."""
        ...

    @property
    def sidecar_max_bytes(self) -> int:
        """Largest sidecar that is kept beside a table, bytes."""
        ...


Task = Callable[[Work, Any], Awaitable[Sequence[Result]]]
Factory = Callable[[Mapping[str, Any]], AbstractAsyncContextManager[Any]]


async def run_query(work: Work, services: Services) -> Sequence[Result]:
    """Run a TAP query into the result store."""
    request = TapRequest.from_params(ParamBag(work.parameters))
    form, media_type = formats.find(request.response_format)
    caller = Caller(key=work.owner, account=work.account, base_url=work.base_url)
    with tempfile.TemporaryDirectory(prefix="gw-query-") as name:
        folder = Path(name)
        uploads = await fetch_uploads(work.uploads, services.results, folder)
        table = await services.queries.open(
            request, caller, uploads=uploads, time_limit=work.time_limit or UNLIMITED, label=work.label
        )
        # at the URL of the result no parameters are needed to have it all again
        table.header = replace(table.header, parameters=())
        sidecar = Sidecar(services.results, work.key(sidecars.NAME), table.header, max_bytes=services.sidecar_max_bytes)
        async with aclosing(table), aclosing(sidecar):
            key = work.key(f"result{form.extension}")
            async with aclosing(_pieces(table, form, sidecar)) as pieces:
                written = await services.results.write(key, pieces)
            sidecar_key = await sidecar.finish()
    return [
        Result(
            result_id="result",
            key=key,
            size=written.size,
            sha256=written.sha256,
            media_type=media_type,
            rows=table.nrows,
            is_overflow=isinstance(table.ending, Overflow),
            sidecar=sidecar_key,
        )
    ]


async def run_cutout(work: Work, services: Services) -> Sequence[Result]:
    """Cut one of a job's combinations of dataset and region into the result store (SODA-14).

    One without overlap leaves a text that says so (SODA-15), and so does one of several that cannot be cut for a
    reason of its own: the others are of use without it.
    """
    request = CutoutRequest.from_params(ParamBag(work.parameters))
    cutout = request.cutouts[work.number - 1]
    caller = Caller(key=work.owner, account=work.account, base_url=work.base_url)
    report(cutouts=0)
    try:
        async with services.cutouts.open(cutout, caller) as file:
            key, media_type = work.key(f"cutout-{work.number}.fits"), file.media_type
            written = await save_file(services.results, key, file.path)
    except (UsageError, DatasetError, NotFoundError) as e:
        if len(request.cutouts) == 1 and not isinstance(e, NoOverlapError):
            raise
        key, media_type = work.key(f"cutout-{work.number}.txt"), "text/plain"
        text = soda.fault_text(e, f"{cutout.dataset} {cutout.shown}: {e.message}")
        written = await services.results.write(key, _once(text.encode()))
    return [Result(f"cutout-{work.number}", key, written.size, media_type, sha256=written.sha256)]


async def _once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


TASKS: Mapping[str, Task] = {"tap": run_query, "soda": run_cutout}
"""Task of each job list."""


class _Watched:
    """A table that tells how far it is, gives its rows to the sidecar too, and keeps the error that broke it."""

    def __init__(self, table: ResultTable, sidecar: Sidecar) -> None:
        self._table = table
        self._sidecar = sidecar
        self.error: Exception | None = None
        self._next_report = time.monotonic() + REPORT_INTERVAL_S

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    async def __anext__(self) -> pa.RecordBatch:
        try:
            batch = await anext(self._table)
        except StopAsyncIteration:
            await self._tell_ending()
            raise
        except Exception as e:
            self.error = e
            raise
        await self._sidecar.add(batch)
        await self._tell_ending()
        if time.monotonic() >= self._next_report:
            self._next_report = time.monotonic() + REPORT_INTERVAL_S
            report(rows=self._table.nrows)
        return batch

    async def _tell_ending(self) -> None:
        if self._table.ending is not None:  # what was given was the last: the sidecar waits for nothing more
            await self._sidecar.end(self._table.ending)


async def _pieces(table: ResultTable, form: Format, sidecar: Sidecar) -> AsyncGenerator[bytes, None]:
    """Bytes of a whole table. A broken one raises, where a stream to a client would end with a note in band."""
    watched = _Watched(table, sidecar)
    pieces = serialise(cast("Rows", watched), form)
    try:
        async with aclosing(pieces) as body:
            async for piece in body:
                yield piece
    except Exception:
        if watched.error is not None:
            raise watched.error from None
        raise
    if watched.error is not None:
        raise watched.error


# -- the child's doors ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ready:
    services: Any
    tasks: Mapping[str, Task]
    stack: AsyncExitStack


_ready: _Ready | None = None


async def prepare(factory: str, tasks: str, settings: Mapping[str, Any]) -> None:
    """Open the services of this child, once.

    Parameters
    ----------
    factory
        ``module:function`` that gives an async context manager of the services; named and not imported, for
        only the worker knows who composes them.
    tasks
        ``module:NAME`` of the mapping from job list to task.
    settings
        Passed to the factory.
    """
    global _ready  # noqa: PLW0603 -- one set of services per process
    # Never closed: a child ends by being killed.
    stack = AsyncExitStack()
    make: Factory = _named(factory)
    _ready = _Ready(await stack.enter_async_context(make(settings)), _named(tasks), stack)


async def run_part(work: Mapping[str, Any]) -> dict[str, Any]:
    """Run the task of one claim and give its results as JSON."""
    if _ready is None:
        raise ServiceError("the child was not prepared")
    record = Work.from_json(work)
    results = await _ready.tasks[record.job_list](record, _ready.services)
    return {"results": [result.to_json() for result in results]}


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
