"""The result store that the settings name. Apart from `gateway.context`, so that a worker need not import all services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.settings import Settings
from gateway.storage.results import LocalResultStore, ResultStore
from gateway.storage.results.requests import Patience
from gateway.storage.results.s3 import S3Options, open_s3


@asynccontextmanager
async def open_results(settings: Settings) -> AsyncIterator[ResultStore]:
    """Hold the store of job results."""
    url = settings.results_url
    if url is None:
        # What already runs may go a little below the mark at which no new jobs are taken.
        yield LocalResultStore(settings.results_path, keep_free_bytes=settings.results_reserve_bytes // 4)
        return
    silence_s = settings.results_timeout.total_seconds()
    options = S3Options(
        endpoint=settings.results_endpoint,
        link_life=settings.results_link_life if settings.results_delivery == "redirect" else None,
        patience=Patience(connect_s=min(5.0, silence_s), silence_s=silence_s, call_s=3 * silence_s),
    )
    async with open_s3(url, options) as store:
        yield store
