"""Looking at embedded servers from outside."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
from redis import Redis

from gateway.embedded import Servers
from gateway.embedded.layout import Layout
from gateway.embedded.processes import left_behind


def sql(servers: Servers, statement: str) -> Any:
    """First value that a statement gives."""

    async def run() -> Any:
        connection = await asyncpg.connect(servers.database_url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def valkey(servers: Servers) -> Redis:
    assert servers.redis_url is not None
    return Redis.from_url(servers.redis_url)


def keeper_pid(home: Path) -> int:
    return int(Layout(home).keeper_lock.read_text())


def postmaster_pid(home: Path) -> int:
    """The keeper's child: what a killed postmaster leaves for an instant is nobody's."""
    keeper = keeper_pid(home)
    return next(pid for pid, parent in left_behind("postgres", Layout(home).postgres).items() if parent == keeper)


def valkey_pid(home: Path) -> int:
    return next(iter(left_behind("valkey-server", Layout(home).valkey)))


def server_pids(home: Path) -> set[int]:
    layout = Layout(home)
    return {*left_behind("postgres", layout.postgres), *left_behind("valkey-server", layout.valkey)}


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        pass
    except ProcessLookupError:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path("/proc/self").exists()


def wait_until(claim: Callable[[], object], seconds: float = 10) -> None:
    """Wait until something holds; a claim that cannot be looked at yet does not hold."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if claim():
                return
        except (OSError, StopIteration):
            pass
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def end_everything(home: Path, number: int) -> None:
    """End a home's keeper and servers."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(keeper_pid(home), number)
    wait_until(lambda: not server_pids(home), 40)
