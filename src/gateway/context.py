"""Where concrete classes meet: settings in, services out. Nothing below this module reads settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway import __version__
from gateway.children import ChildPool, ChildSettings
from gateway.db.engine import CatalogEngine
from gateway.db.images import ImageCatalog
from gateway.db.registry import Registry
from gateway.errors import NotSupportedError
from gateway.jobs.files import fetch_uploads
from gateway.jobs.models import Job
from gateway.jobs.queue import ArqQueue
from gateway.jobs.service import JobLimits, JobList, JobService, Validator
from gateway.jobs.signals import PhaseSignals
from gateway.jobs.store import JobStore
from gateway.services.access import Caller
from gateway.services.cones import ConeService
from gateway.services.cutouts import CutFile, CutoutService, cut_in_thread
from gateway.services.datafiles import DataFileService
from gateway.services.discovery import DiscoveryService
from gateway.services.links import LinkService
from gateway.services.queries import QueryLimits, QueryService
from gateway.services.repository import FileRepository, Repository
from gateway.services.sidecars import StoredTables
from gateway.services.slots import Slots
from gateway.services.uploads import ReadUpload, UploadLimits, Uploads, read_in_thread
from gateway.settings import Settings
from gateway.sky.search import HealpixIndex
from gateway.storage.addresses import Gatekeeper
from gateway.storage.fetching import Fetcher
from gateway.storage.results import LocalResultStore, ResultStore
from gateway.vo import soda
from gateway.vo.provenance import Publisher
from gateway.vo.soda import CutoutRequest
from gateway.vo.tap import TapRequest

UPLOAD_CHILDREN = 2
"""Uploads that one API process reads at once; further ones wait. One child is kept warm."""

HEAD_START_S = 2.0
"""How long an API process may warm up before it answers, so that the first query is as fast as the next. Usually 0.6 s."""

FRONT_CONNECTIONS = 8
"""Connections of one API process to the control database; reading a job takes about a millisecond."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an API process works with."""

    queries: QueryService
    discovery: DiscoveryService
    cones: ConeService
    links: LinkService
    cutouts: CutoutService
    files: DataFileService
    jobs: JobService
    tables: StoredTables


@dataclass(frozen=True, kw_only=True)
class TaskServices:
    """What a job's child process works with."""

    queries: QueryService
    cutouts: CutoutService
    results: ResultStore
    sidecar_max_bytes: int


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """What ``gateway status`` reads."""

    queries: QueryService
    store: JobStore
    wake_up: ArqQueue


@asynccontextmanager
async def open_context(settings: Settings) -> AsyncIterator[Context]:
    """Hold everything that an API process needs."""
    urls = settings.urls()
    async with AsyncExitStack() as stack:
        children = await stack.enter_async_context(
            ChildPool.open(_upload_children(settings), size=UPLOAD_CHILDREN, warm=1)
        )
        cutters = await stack.enter_async_context(
            ChildPool.open(_cutting_children(settings), size=settings.cutout_slots, warm=1)
        )
        queries = await stack.enter_async_context(open_queries(settings, read_upload=_in_child(children)))
        repository = await stack.enter_async_context(open_repository(settings))
        cutouts = CutoutService(
            repository=repository,
            cut=_cut_in_child(cutters, settings.sync_time_limit),
            slots=_cutout_slots(settings, settings.cutout_slots),
            most_pixels=settings.cutout_max_pixels_sync,
            limit="one request may have (a job to /soda/async may have more)",
        )
        store = await stack.enter_async_context(JobStore.open(urls.control, connections=FRONT_CONNECTIONS))
        signals = await stack.enter_async_context(PhaseSignals.open(urls.control))
        results = open_results(settings)
        wake_up = ArqQueue(urls.redis)
        stack.push_async_callback(wake_up.aclose)
        jobs = JobService(
            store=store,
            results=results,
            wake_up=wake_up,
            signals=signals,
            lists={
                "tap": JobList(validate=_query_validator(queries, results), repeatable=frozenset({"UPLOAD"})),
                "soda": JobList(validate=_cutout_validator(cutouts), repeatable=frozenset(soda.REPEATABLE)),
            },
            limits=JobLimits(
                execution_duration_default=settings.execution_duration_default,
                execution_duration_hard=settings.execution_duration_hard,
                retention_default=settings.retention_default,
                retention_hard=settings.retention_hard,
                queue_cap_per_owner=settings.queue_cap_per_owner,
                queue_cap_total=settings.queue_cap_total,
                wait_cap=settings.wait_cap,
                results_reserve_bytes=settings.results_reserve_bytes,
            ),
        )
        await stack.enter_async_context(_in_background(queries.warm(), head_start_s=HEAD_START_S))
        yield Context(
            queries=queries,
            discovery=DiscoveryService(queries),
            cones=ConeService(queries),
            links=LinkService(repository),
            cutouts=cutouts,
            files=DataFileService(repository),
            jobs=jobs,
            tables=StoredTables(results),
        )


@asynccontextmanager
async def open_queries(
    settings: Settings, *, read_upload: ReadUpload = read_in_thread, slots: int | None = None
) -> AsyncIterator[QueryService]:
    """Hold what queries need, and nothing else: for the command line and for jobs' children."""
    urls = settings.urls()
    slots = slots or settings.sync_slots
    engine = CatalogEngine(
        urls.catalog or urls.catalog_admin,
        size=slots,
        patience=settings.slot_patience,
        work_mem=settings.query_memory,
        temp_file_limit=settings.query_temp_limit,
    )
    registry = Registry(urls.catalog or urls.catalog_admin)
    fetcher = Fetcher(gatekeeper=Gatekeeper(allowed=settings.upload_hosts), time_limit=settings.upload_fetch_limit)
    async with AsyncExitStack() as stack:
        stack.callback(fetcher.close)
        stack.push_async_callback(registry.aclose)
        stack.push_async_callback(engine.aclose)
        yield QueryService(
            engine=engine,
            registry=registry,
            index=HealpixIndex(),
            uploads=Uploads(
                limits=UploadLimits(
                    max_bytes=settings.upload_max_bytes,
                    max_rows=settings.upload_max_rows,
                    max_columns=settings.upload_max_columns,
                    max_tables=settings.upload_max_tables,
                    max_fetched_bytes=settings.request_max_bytes,
                ),
                read=read_upload,
                fetcher=fetcher,
            ),
            limits=QueryLimits(
                maxrec_default=settings.maxrec_default,
                maxrec_hard=settings.maxrec_hard,
                time_limit=settings.sync_time_limit,
                query_length=settings.query_max_length,
                slots=slots,
                slot_patience=settings.slot_patience,
            ),
            publisher=_publisher(settings),
        )


@asynccontextmanager
async def open_task_services(record: Mapping[str, Any]) -> AsyncIterator[TaskServices]:
    """Hold what a job's child needs; ``record`` is `Settings.to_record`. A child does one thing at a time."""
    settings = Settings(**record)
    async with open_queries(settings, slots=1) as queries, open_repository(settings) as repository:
        cutouts = CutoutService(
            repository=repository,
            cut=cut_in_thread,
            slots=_cutout_slots(settings, 1),
            most_pixels=settings.cutout_max_pixels,
        )
        yield TaskServices(
            queries=queries,
            cutouts=cutouts,
            results=open_results(settings),
            sidecar_max_bytes=settings.sidecar_max_bytes,
        )


@asynccontextmanager
async def open_repository(settings: Settings) -> AsyncIterator[Repository]:
    """Hold what finds images."""
    urls = settings.urls()
    async with ImageCatalog.open(urls.catalog or urls.catalog_admin) as catalog:
        yield FileRepository(catalog)


def _cutout_slots(settings: Settings, count: int) -> Slots:
    return Slots(
        count,
        patience=settings.slot_patience,
        busy=f"all {count} slots for cutouts are taken (cutout_slots); try again in a few seconds, or send the request "
        "as a job to /soda/async",
    )


@asynccontextmanager
async def open_instruments(settings: Settings) -> AsyncIterator[Instruments]:
    """Hold what tells the state of a gateway."""
    urls = settings.urls()
    async with open_queries(settings) as queries, JobStore.open(urls.control, connections=1) as store:
        wake_up = ArqQueue(urls.redis)
        try:
            yield Instruments(queries=queries, store=store, wake_up=wake_up)
        finally:
            await wake_up.aclose()


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None], *, head_start_s: float) -> AsyncIterator[None]:
    """Let work go on beside what follows, after it had some time for itself."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait((task,), timeout=head_start_s)
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


def open_results(settings: Settings) -> ResultStore:
    """Give the store of job results."""
    if settings.results and "://" in settings.results:
        raise NotSupportedError(
            f"GATEWAY_RESULTS={settings.results!r}: this version stores results in folders only; name a folder"
        )
    return LocalResultStore(settings.results_path)


def _query_validator(queries: QueryService, results: ResultStore) -> Validator:
    """Check at RUN that a TAP job's parameters make a query that can run, its uploads included."""

    async def validate(job: Job) -> int:
        request = TapRequest.from_params(job.bag)
        caller = Caller(key=job.owner, account=job.account, base_url=job.base_url)
        with TemporaryDirectory(prefix="gateway-check-") as folder:
            await queries.check(request, caller, uploads=await fetch_uploads(job.uploads, results, Path(folder)))
        return 1

    return validate


def _cutout_validator(cutouts: CutoutService) -> Validator:
    """Check at RUN that a SODA job's parameters make cutouts of datasets that are there; each is a part of the job."""

    async def validate(job: Job) -> int:
        request = CutoutRequest.from_params(job.bag)
        await cutouts.check(request, Caller(key=job.owner, account=job.account, base_url=job.base_url))
        return len(request.cutouts)

    return validate


def _publisher(settings: Settings) -> Publisher:
    # The authority of the example is nobody's, so that services of it have no identifier.
    is_example = settings.authority == Settings.model_fields["authority"].default
    return Publisher(
        software=f"vo-gateway/{__version__}",
        name=settings.publisher,
        contact=settings.contact,
        authority=None if is_example else settings.authority,
    )


def _upload_children(settings: Settings) -> ChildSettings:
    return ChildSettings(
        memory_bytes=settings.child_memory_bytes,
        preload=("gateway.services.reading", "gateway.sky.index"),
    )


def _cutting_children(settings: Settings) -> ChildSettings:
    return ChildSettings(memory_bytes=settings.child_memory_bytes, preload=("gateway.services.cutting",))


def _cut_in_child(children: ChildPool, within: timedelta) -> CutFile:
    async def cut(**arguments: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await children.call("gateway.services.cutting:cut_file", within=within, **arguments)
        return answer

    return cut


def _in_child(children: ChildPool) -> ReadUpload:
    async def read(**arguments: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await children.call("gateway.services.reading:read_upload", **arguments)
        return answer

    return read
