"""What children of the tests are asked to do."""

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from gateway.children import report
from gateway.errors import OverloadedError, ParameterError, QueryError

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
