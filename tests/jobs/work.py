"""What children of the tests are asked to do."""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from gateway.children import report
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError, OverloadedError, ParameterError, QueryError
from gateway.jobs.models import Result
from gateway.jobs.tasks import Work
from gateway.storage.results import LocalResultStore

STATE: dict[str, Any] = {}


def echo(**values: Any) -> dict[str, Any]:
    print("this is not JSON")
    os.write(1, b"nor is this\n")
    return values


async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


def hang(seconds: float) -> None:
    time.sleep(seconds)


def segfault() -> None:
    ctypes.string_at(0)


def exit_with(code: int) -> None:
    os._exit(code)


def allocate(megabytes: int) -> None:
    keep(megabytes)
    time.sleep(30)


def keep(megabytes: int) -> None:
    block = STATE["block"] = bytearray(megabytes << 20)
    for start in range(0, len(block), 4096):
        block[start] = 1


def fail(kind: str) -> None:
    match kind:
        case "query":
            raise QueryError("no such column", line=3, column=14)
        case "parameter":
            raise ParameterError("MAXREC", "-1", "give a whole number")
        case "overloaded":
            raise OverloadedError("all slots are taken", retry_after_s=7)
        case _:
            raise ZeroDivisionError(kind)


def remember(value: str) -> None:
    STATE["value"] = value


def recall() -> str | None:
    return STATE.get("value")


def tell(count: int) -> int:
    for number in range(count):
        report(rows=number)
    return count


def spawn_and_hang(path: str) -> None:
    """Start a grandchild, say its pid, and never return."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    with Path(path).open("w") as file:
        file.write(str(pid))
    signal.pause()


def pid() -> int:
    return os.getpid()


def modules(name: str) -> bool:
    return name in sys.modules


# -- as the task of a job list named "test" ---------------------------------------------------------------


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
    size = await bench.results.write(key, pieces(f"{work.token}:", text))
    return [Result("result", key, size, "text/plain", rows=1)]


TASKS = {"test": do}
