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
from gateway.db.leases import Leases
from gateway.db.planner import Planner
from gateway.db.registry import Registry
from gateway.jobs.files import fetch_uploads
from gateway.jobs.models import Job, Plan
from gateway.jobs.notices import Notices
from gateway.jobs.queue import ArqQueue
from gateway.jobs.routing import CUTOUT, Routing
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
from gateway.services.slots import CallerSlots, Slots
from gateway.services.uploads import ReadUpload, UploadLimits, Uploads, read_in_thread
from gateway.settings import Settings
from gateway.sky.search import HealpixIndex
from gateway.storage.addresses import Gatekeeper
from gateway.storage.fetching import Fetcher
from gateway.storage.posting import Poster
from gateway.storage.results import ResultStore
from gateway.stores import open_results
from gateway.vo import paths, soda
from gateway.vo.provenance import Publisher
from gateway.vo.soda import CutoutRequest
from gateway.vo.tap import TapRequest

UPLOAD_CHILDREN = 2
"""Uploads that one API process reads at once; further ones wait. One child is kept warm."""

HEAD_START_S = 2.0
"""How long an API process may warm up before it answers, so that the first query is as fast as the next. Usually 0.6 s."""

WEBHOOK_LIMIT = timedelta(seconds=10)
"""Longest that a notice may take; a receiver that does more than take note of it does that later."""

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
        caller_slots = await stack.enter_async_context(_open_caller_slots(settings))
        queries = await stack.enter_async_context(
            open_queries(settings, read_upload=_in_child(children), caller_slots=caller_slots)
        )
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
        results = await stack.enter_async_context(open_results(settings))
        wake_up = ArqQueue(urls.redis)
        stack.push_async_callback(wake_up.aclose)
        planner = Planner(urls.catalog or urls.catalog_admin)
        stack.push_async_callback(planner.aclose)
        jobs = JobService(
            store=store,
            results=results,
            wake_up=wake_up,
            signals=signals,
            lists={
                "tap": JobList(
                    validate=_query_validator(queries, results, planner, Routing.of(settings)),
                    repeatable=frozenset({"UPLOAD"}),
                ),
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
                has_webhooks=settings.webhook_secret is not None,
                event_streams=settings.event_streams,
                event_streams_per_caller=settings.event_streams_per_caller,
                results_reserve_bytes=settings.results_reserve_bytes,
            ),
        )
        if settings.webhook_secret is not None:
            poster = Poster(gatekeeper=Gatekeeper(allowed=settings.webhook_hosts), time_limit=WEBHOOK_LIMIT)
            stack.callback(poster.close)
            secret = settings.webhook_secret.get_secret_value()
            notices = Notices(store=store, signals=signals, poster=poster, secret=secret, places=paths.JOBS)
            await stack.enter_async_context(_in_background(notices.run(), head_start_s=0))
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
    settings: Settings,
    *,
    read_upload: ReadUpload = read_in_thread,
    slots: int | None = None,
    caller_slots: CallerSlots | None = None,
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
            caller_slots=caller_slots,
        )


@asynccontextmanager
async def _open_caller_slots(settings: Settings) -> AsyncIterator[CallerSlots | None]:
    if settings.sync_slots_per_caller == 0:
        yield None
        return
    async with Leases.open(settings.urls().control, lease=settings.lease) as leases:
        yield CallerSlots(
            leases,
            per_caller=settings.sync_slots_per_caller,
            patience=settings.slot_patience,
            includes_loopback=settings.sync_slots_on_loopback,
        )


@asynccontextmanager
async def open_task_services(record: Mapping[str, Any]) -> AsyncIterator[TaskServices]:
    """Hold what a job's child needs; ``record`` is `Settings.to_record`. A child does one thing at a time."""
    settings = Settings(**record)
    async with (
        open_queries(settings, slots=1) as queries,
        open_repository(settings) as repository,
        open_results(settings) as results,
    ):
        cutouts = CutoutService(
            repository=repository,
            cut=cut_in_thread,
            slots=_cutout_slots(settings, 1),
            most_pixels=settings.cutout_max_pixels,
        )
        yield TaskServices(
            queries=queries,
            cutouts=cutouts,
            results=results,
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


def _query_validator(queries: QueryService, results: ResultStore, planner: Planner, routing: Routing) -> Validator:
    """Check at RUN that a TAP job's parameters make a query that can run, its uploads included, and whether it is quick."""

    async def validate(job: Job) -> Plan:
        request = TapRequest.from_params(job.bag)
        caller = Caller(key=job.owner, account=job.account, base_url=job.base_url)
        with TemporaryDirectory(prefix="gateway-check-") as folder:
            uploads = await fetch_uploads(job.uploads, results, Path(folder))
            translation = await queries.check(request, caller, uploads=uploads)
        cost = None
        # Uploaded tables are not there yet, so that nothing can be said of queries on them.
        if translation is not None and not request.uploads and not routing.asks_for_little(job.execution_duration):
            cost = await planner.cost(translation.sql)
        return Plan(routing.queue(job.execution_duration, cost))

    return validate


def _cutout_validator(cutouts: CutoutService) -> Validator:
    """Check at RUN that a SODA job's parameters make cutouts of datasets that are there; each is a part of the job."""

    async def validate(job: Job) -> Plan:
        request = CutoutRequest.from_params(job.bag)
        await cutouts.check(request, Caller(key=job.owner, account=job.account, base_url=job.base_url))
        return Plan(CUTOUT, parts=len(request.cutouts))

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
