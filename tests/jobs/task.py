"""The task of the tests' job list, and the services that it runs on."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError, ParameterError
from gateway.jobs.models import Result
from gateway.jobs.tasks import Work
from gateway.storage.results import LocalResultStore
from tests.jobs.work import allocate, fail, segfault


@dataclass(frozen=True)
class Bench:
    """Services of the tests' children."""

    results: LocalResultStore
    database_url: str


@asynccontextmanager
async def open_services(settings: Mapping[str, Any]) -> AsyncIterator[Bench]:
    yield Bench(LocalResultStore(Path(settings["results"])), settings["database_url"])


async def pieces(*texts: str) -> AsyncIterator[bytes]:
    for text in texts:
        yield text.encode()


async def do(work: Work, bench: Bench) -> Sequence[Result]:
    """Do what the parameter DO says, with the text of the parameter TEXT."""
    values = dict(work.parameters)
    text = values.get("TEXT", "")
    key = work.key("result.txt")
    match values["DO"]:
        case "echo":
            pass
        case "echo part":
            text = f"part {work.number}"
        case "sleep":
            await asyncio.sleep(float(text))
        case "write and sleep":
            await bench.results.write(work.key("early.txt"), pieces("early"))
            await asyncio.sleep(float(text))
        case "fail":
            fail(text)
        case "crash":
            segfault()
        case "crash once":
            if work.token == 1:
                segfault()
        case "allocate":
            allocate(int(text))
        case "database away":
            if not Path(text).exists():
                Path(text).touch()
                raise BackendUnavailableError("the catalog does not answer")
        case "query":
            connection = await asyncpg.connect(
                DatabaseURL.parse(bench.database_url).with_application_name(work.label).asyncpg()
            )
            await connection.execute(f"SELECT pg_sleep({float(text)})")
        case "read upload":
            async with aclosing((await bench.results.open(work.uploads[0].key)).chunks()) as chunks:
                text = b"".join([chunk async for chunk in chunks]).decode()
        case other:
            raise ParameterError("DO", other, "unknown")
    written = await bench.results.write(key, pieces(f"{work.token}:", text))
    return [Result("result", key, written.size, "text/plain", rows=1, sha256=written.sha256)]


TASKS = {"test": do}
