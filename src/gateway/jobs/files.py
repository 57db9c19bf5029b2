"""Files that came with a job, back on disk for whoever reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.jobs.models import Upload
from gateway.storage.results import ResultStore, fetch_file
from gateway.vo.dali import UploadedPart


async def fetch_uploads(uploads: Sequence[Upload], results: ResultStore, folder: Path) -> dict[str, UploadedPart]:
    """Copy a job's uploaded files from the result store into a folder; give them by name of their part."""
    parts: dict[str, UploadedPart] = {}
    for number, upload in enumerate(uploads):
        path = folder / str(number)
        size = await fetch_file(results, upload.key, path)
        parts[upload.name] = UploadedPart(upload.name, path, size)
    return parts
