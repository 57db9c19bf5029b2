"""Tasks that write results of some size to the store that the settings name; ``python -m tests.jobs.storing`` runs a worker
for them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.jobs.models import Result
from gateway.jobs.options import Workshop
from gateway.jobs.tasks import Work
from gateway.jobs.worker import run
from gateway.settings import Settings
from gateway.storage.results import ResultStore
from gateway.stores import open_results

WORKSHOP = Workshop(
    factory="tests.jobs.storing:open_services",
    tasks="tests.jobs.storing:TASKS",
    queues=("test",),
    preload=("tests.jobs.storing",),
)

BLOCK = bytes(range(256)) * 1024
"""A quarter of a MiB."""


@asynccontextmanager
async def open_services(record: Mapping[str, Any]) -> AsyncIterator[tuple[ResultStore, Path]]:
    settings = Settings(**record)
    async with open_results(settings) as results:
        yield results, settings.results_path


async def blocks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield BLOCK


async def do(work: Work, services: tuple[ResultStore, Path]) -> Sequence[Result]:
    """Write so many quarters of a MiB as the parameter TEXT says, after filling or freeing the disk."""
    results, folder = services
    values = dict(work.parameters)
    ballast = folder / "ballast"
    if values["DO"] == "fill":
        free = await results.free_bytes()
        assert free is not None
        await asyncio.to_thread(ballast.write_bytes, bytes(free - (1 << 20)))
    elif values["DO"] == "free":
        ballast.unlink()
    written = await results.write(work.key("result.bin"), blocks(int(values["TEXT"])))
    return [Result("result", work.key("result.bin"), written.size, "text/plain", rows=1, sha256=written.sha256)]


TASKS = {"test": do}

if __name__ == "__main__":
    sys.exit(run(Settings(), WORKSHOP))
