"""Files of jobs: what came with them, back on disk for whoever reads it, and what they left, removed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from gateway.errors import GatewayError
from gateway.jobs.models import Upload
from gateway.storage.results import ResultStore, fetch_file
from gateway.vo.dali import UploadedPart

log = structlog.get_logger()

REMOVE_LIMIT_S = 5.0
"""Longest that anyone waits for a removal: a store that is away must hold up neither a job's end nor the reaper."""


async def fetch_uploads(uploads: Sequence[Upload], results: ResultStore, folder: Path) -> dict[str, UploadedPart]:
    """Copy a job's uploaded files from the result store into a folder; give them by name of their part."""
    parts: dict[str, UploadedPart] = {}
    for number, upload in enumerate(uploads):
        path = folder / str(number)
        size = await fetch_file(results, upload.key, path)
        parts[upload.name] = UploadedPart(upload.name, path, size)
    return parts


async def remove_files(results: ResultStore, prefix: str) -> None:
    """Remove what no row names any more; what cannot be removed now, the sweeper will find."""
    try:
        async with asyncio.timeout(REMOVE_LIMIT_S):
            await results.delete_prefix(prefix)
    except (GatewayError, OSError) as e:  # TimeoutError is an OSError
        log.warning("Results not removed", prefix=prefix, reason=repr(e))
