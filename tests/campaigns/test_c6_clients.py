"""C6: clients go away at random bytes, or do not read; API processes are killed while they stream (F4 to F7)."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest

from tests.campaigns.campaign import Plan, run
from tests.campaigns.harness import Site
from tests.campaigns.load import Load
from tests.campaigns.report import Report

pytestmark = pytest.mark.campaign

GONE_LIMIT_S = 3.0
"""By when the query of a client that left is over (F5, F6), seconds."""

LOOK_S = 0.25
"""How often the database is looked at; a measured time may be late by so much."""

LONG_TABLE = "SELECT a.id, b.flux FROM campaign.points AS a, campaign.points AS b WHERE a.id < 300"
"""Six million rows: more than any client here takes."""

LATE_TABLE = "SELECT id, flux, paused FROM campaign.slow WHERE id BETWEEN 0 AND 5000 ORDER BY flux"
"""Its first row comes after fifty seconds."""

SLOW_ROWS = "SELECT id, flux, paused FROM campaign.slow WHERE id BETWEEN 0 AND 20"

ACTIVE = """
SELECT pid, state, wait_event, extract(epoch FROM clock_timestamp() - query_start)::integer AS seconds, left(query, 60) AS query
FROM pg_stat_activity WHERE application_name = 'gw:sync' AND state <> 'idle'
"""


@dataclass
class Seen:
    """What was measured."""

    gone_s: list[float] = field(default_factory=list)
    """How long queries outlived their clients, seconds."""
    stalled_s: list[float] = field(default_factory=list)
    """After what time a client that read nothing was cut off, seconds; ``inf``: never."""
    left: list[str] = field(default_factory=list)
    """Queries that went on for too long."""
    well_formed: int = 0
    """Streams of killed processes that looked whole."""


async def campaign(seed: int, *, is_full: bool) -> Report:
    disconnects, early, stalled, kills = (2000, 100, 200, 10) if is_full else (90, 10, 6, 1)
    plan = Plan(
        name="C6",
        title="clients gone or slow, API processes killed",
        minimum={
            "clients gone while rows came": disconnects,
            "clients gone before the first row": early,
            "clients that never read": stalled,
            "API processes killed": kills,
        },
        warm_up=_warm_up,
    )
    seen = Seen()

    async def harm(site: Site, load: Load, report: Report) -> None:
        waves = max(1, kills)
        for wave in range(waves):
            await _disconnects(site, report, _share(disconnects, wave, waves))
            await _wait_quiet(site, seen)
            await _early(site, report, _share(early, wave, waves))
            await _wait_quiet(site, seen)
            await _stalled(site, report, seen, _share(stalled, wave, waves))
            await _kill_while_streaming(site, report, seen)
            await _wait_quiet(site, seen)

    async with Site.open(seed, workers=2) as site:
        load = Load(site, disconnects // 4, slow_s=1.0)
        report = await run(plan, site, load, harm, is_full=is_full)
        report.add(
            f"no query outlives its client by more than {GONE_LIMIT_S:g} s",
            seen.left,
            checked=f"{len(seen.gone_s)} waves, at most {max(seen.gone_s):.1f} s",
        )
        report.add(
            "a client that reads nothing is cut off at the stall limit of 3 s",
            [f"after {seconds:.1f} s" for seconds in seen.stalled_s if seconds > 10],
            checked=f"{len(seen.stalled_s)} clients, at most {max(seen.stalled_s):.1f} s",
        )
        report.add(
            "no stream of a killed process looks whole",
            [f"{seen.well_formed} streams"] if seen.well_formed else [],
            checked=f"{report.faults['API processes killed']} kills",
        )
        report.add(
            "every slot is free afterwards", await _slots(site), checked="as many queries at once as there are slots"
        )
        return report


def _share(total: int, wave: int, waves: int) -> int:
    return total * (wave + 1) // waves - total * wave // waves


@asynccontextmanager
async def _stream(site: Site, query: str, *, buffer: int | None = None) -> AsyncIterator[asyncio.StreamReader]:
    """Send a query on a connection of its own; the connection is reset at the end."""
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", site.port))
    reader, writer = await asyncio.open_connection(sock=client, limit=buffer or 1 << 16)
    form = urlencode({"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": "csv", "MAXREC": "20000000"})
    writer.write(f"GET /tap/sync?{form} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.transport.abort()


async def _warm_up(site: Site) -> None:
    """Stream from every slot, so that buffers have the size that they keep."""
    for _ in range(2):
        await _disconnects(site, Report("", "", 0, False, {}), 16)
        await _wait_quiet(site, Seen())


async def _disconnects(site: Site, report: Report, count: int) -> None:
    turns = asyncio.Semaphore(6)
    lots = random.Random(f"{site.seed} disconnects {report.faults.total()}")

    async def one(wanted: int) -> None:
        async with turns, _stream(site, LONG_TABLE) as reader:
            left = wanted
            async with asyncio.timeout(30):
                while left > 0 and (piece := await reader.read(min(left, 1 << 16))):
                    left -= len(piece)
            if left <= 0:
                report.faults["clients gone while rows came"] += 1

    # Some leave within the header, most somewhere in the rows.
    await asyncio.gather(*(one(int(10 ** lots.uniform(1.5, 6.2))) for _ in range(count)))


async def _early(site: Site, report: Report, count: int) -> None:
    turns = asyncio.Semaphore(6)

    async def one() -> None:
        async with turns, _stream(site, LATE_TABLE):
            await asyncio.sleep(site.random.uniform(0.05, 0.5))
            report.faults["clients gone before the first row"] += 1

    await asyncio.gather(*(one() for _ in range(count)))


async def _stalled(site: Site, report: Report, seen: Seen, count: int) -> None:
    turns = asyncio.Semaphore(8)

    async def one() -> None:
        async with turns, _stream(site, LONG_TABLE, buffer=4096):
            started = time.monotonic()
            # Not a byte is read: what tells that the other side gave up is its query.
            await asyncio.sleep(1)
            while await site.fetch(ACTIVE) and time.monotonic() - started < 12:
                await asyncio.sleep(LOOK_S)
            seconds = time.monotonic() - started
            seen.stalled_s.append(seconds if seconds < 12 else float("inf"))
            report.faults["clients that never read"] += 1

    await asyncio.gather(*(one() for _ in range(count)))


async def _kill_while_streaming(site: Site, report: Report, seen: Seen) -> None:
    """Kill one of two API processes while both stream."""
    cut = asyncio.Event()

    async def one() -> bytes:
        async with _stream(site, LONG_TABLE) as reader:
            last = b""
            try:
                async with asyncio.timeout(15):
                    while piece := await reader.read(1 << 16):
                        last = (last + piece)[-16:]
                        if cut.is_set() and last.endswith(b"0\r\n\r\n"):
                            break
                        await asyncio.sleep(0)
                        if report.faults["API processes killed"] > before and time.monotonic() > ended + 3:
                            return b"of the process that lives"
            except OSError:
                return b"reset"
            return last

    before, ended = report.faults["API processes killed"], time.monotonic() + 60
    streams = [asyncio.create_task(one()) for _ in range(6)]
    await asyncio.sleep(1)
    victim = next(process for process in site.api if process.is_alive)
    victim.kill()
    ended = time.monotonic()
    report.faults["API processes killed"] += 1
    cut.set()
    endings = await asyncio.gather(*streams)
    seen.well_formed += sum(ending.endswith(b"0\r\n\r\n") for ending in endings)
    report.faults["streams cut by that"] += sum(ending != b"of the process that lives" for ending in endings)
    await site.start_api()


async def _wait_quiet(site: Site, seen: Seen) -> None:
    """Wait until no query runs that nobody wants, at most twenty seconds."""
    started = time.monotonic()
    left = []
    while (rows := await site.fetch(ACTIVE)) and time.monotonic() - started < 20:
        left = rows
        await asyncio.sleep(LOOK_S)
    seconds = time.monotonic() - started
    seen.gone_s.append(seconds)
    if seconds > GONE_LIMIT_S + LOOK_S:
        seen.left += [f"after {seconds:.1f} s: {dict(row)}" for row in left]


async def _slots(site: Site) -> list[str]:
    """Use as many slots at once as there are, and name what is refused."""
    asked = [
        site.client.get("/tap/sync", params={"LANG": "ADQL", "QUERY": SLOW_ROWS, "RESPONSEFORMAT": "csv"})
        for _ in range(16)
    ]
    return [
        f"{reply.status_code} {reply.text[:100]}" for reply in await asyncio.gather(*asked) if reply.status_code != 200
    ]


async def test_clients_that_leave_or_stop_reading_leave_nothing_behind() -> None:
    (await campaign(6, is_full=False)).finish()
