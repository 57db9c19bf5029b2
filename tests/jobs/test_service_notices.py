"""Notices of jobs that have ended: signed, sent until they are taken, never to where they must not go (A11)."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from gateway.errors import ParameterError
from gateway.jobs.notices import MOST_TRIES, Notices
from gateway.jobs.phases import Phase
from gateway.jobs.service import JobService
from gateway.jobs.signals import PhaseSignals
from gateway.jobs.store import JobStore
from gateway.storage.addresses import Gatekeeper
from gateway.storage.posting import Poster
from tests.jobs.conftest import ALICE, add, claim_one, until

SECRET = "the operator's secret"


class Receiver:
    """A service that is told; answers with the statuses that it is given, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.heard: list[tuple[dict[str, str], bytes]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        self.heard.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        writer.write(f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[str]:
    server = await asyncio.start_server(receiver, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/told?a=b"


@pytest.fixture
def service(make_service: Callable[..., JobService]) -> JobService:
    return make_service(has_webhooks=True)


@pytest.fixture
def notices(store: JobStore, signals: PhaseSignals) -> Notices:
    return make(store, signals, "127.0.0.1")


def make(store: JobStore, signals: PhaseSignals, *allowed: str) -> Notices:
    poster = Poster(gatekeeper=Gatekeeper(allowed=allowed), time_limit=timedelta(seconds=2))
    return Notices(store=store, signals=signals, poster=poster, secret=SECRET, places={"test": "/test"})


async def ended(service: JobService, store: JobStore, url: str) -> str:
    job = await add(service, WEBHOOK=url, RUNID="mine")
    claim = await claim_one(store)
    assert claim is not None
    await store.end(claim, Phase.COMPLETED)
    return job.job_id


async def owed(database: asyncpg.Connection) -> int:
    await database.execute("UPDATE gateway.notice SET next_try = now()")
    count: int = await database.fetchval("SELECT count(*) FROM gateway.notice")
    return count


async def test_the_end_of_a_job_is_told_once_and_signed(
    service: JobService, store: JobStore, notices: Notices, database: asyncpg.Connection
) -> None:
    receiver = Receiver(204)
    async with listening(receiver) as url:
        pending = await add(service, run=False, WEBHOOK=url)
        job_id = await ended(service, store, url)
        assert await notices.send_due() == 1
        assert await owed(database) == 1  # the one that has not ended
        assert await notices.send_due() == 0
        await service.abort("test", pending.job_id, ALICE)
        assert await notices.send_due() == 1
        assert await owed(database) == 0
    (headers, body), (_, second) = receiver.heard
    told = json.loads(body)
    assert (told["jobId"], told["phase"], told["runId"]) == (job_id, "COMPLETED", "mine")
    assert told["href"].endswith(f"/test/{job_id}")
    assert json.loads(second)["phase"] == "ABORTED"
    # As a receiver checks it: the key is made from the secret and the host.
    instant, _, digest = headers["x-gateway-signature"].removeprefix("t=").partition(",v1=")
    key = hmac.new(SECRET.encode(), b"127.0.0.1", hashlib.sha256).hexdigest()
    assert digest == hmac.new(key.encode(), f"{instant}.".encode() + body, hashlib.sha256).hexdigest()
    assert SECRET not in f"{receiver.heard}"


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_notice_that_is_not_taken_comes_again_and_not_for_ever(
    service: JobService, store: JobStore, notices: Notices, database: asyncpg.Connection, status: int
) -> None:
    receiver = Receiver(status)
    async with listening(receiver) as url:
        await ended(service, store, url)
        assert await notices.send_due() == 1
        assert await notices.send_due() == 0  # not before its time
        for _ in range(MOST_TRIES - 1):
            assert await owed(database) == 1
            assert await notices.send_due() == 1
        assert await owed(database) == 0
    assert len(receiver.heard) == MOST_TRIES


async def test_a_silent_receiver_is_tried_again(
    service: JobService, store: JobStore, notices: Notices, database: asyncpg.Connection
) -> None:
    async with listening(Receiver(200)) as url:
        pass
    await ended(service, store, url)  # nobody listens there any more
    assert await notices.send_due() == 1
    assert await owed(database) == 1


@pytest.mark.parametrize("allowed", ["192.0.2.1", "127.0.0.2"])
async def test_a_host_inside_hears_nothing(
    service: JobService, store: JobStore, signals: PhaseSignals, database: asyncpg.Connection, allowed: str
) -> None:  # A11
    receiver = Receiver(200)
    async with listening(receiver) as url:
        await ended(service, store, url)
        assert await make(store, signals, allowed).send_due() == 1
    assert receiver.heard == []
    assert await owed(database) == 0


async def test_many_senders_send_each_notice_once(
    service: JobService, store: JobStore, notices: Notices, database: asyncpg.Connection
) -> None:
    receiver = Receiver(200)
    async with listening(receiver) as url:
        for _ in range(5):
            await ended(service, store, url)
        sent = await asyncio.gather(*(notices.send_due() for _ in range(6)))
    assert sum(sent) == len(receiver.heard) == 5


async def test_signals_wake_the_sender(service: JobService, store: JobStore, notices: Notices) -> None:
    receiver = Receiver(200)
    async with listening(receiver) as url:
        task = asyncio.create_task(notices.run())
        await asyncio.sleep(0)
        await ended(service, store, url)

        async def heard() -> bool:
            return bool(receiver.heard)

        await until(heard, 5)
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize("url", ["", "ftp://example.org/", "http://user:word@example.org/", "https://exa mple.org/"])
async def test_a_url_that_could_never_be_told_is_refused_at_once(service: JobService, url: str) -> None:
    with pytest.raises(ParameterError, match="WEBHOOK"):
        await add(service, run=False, WEBHOOK=url)


async def test_without_a_secret_nothing_is_owed(
    make_service: Callable[..., JobService], database: asyncpg.Connection
) -> None:
    await add(make_service(), run=False, WEBHOOK="no url")
    assert await owed(database) == 0


async def test_a_job_that_is_deleted_takes_its_notice_along(
    service: JobService, store: JobStore, notices: Notices, database: asyncpg.Connection
) -> None:
    job_id = await ended(service, store, "http://127.0.0.1:1/")
    await service.delete("test", job_id, ALICE)
    assert await notices.send_due() == 0
    await store.purge(age=timedelta(0))
    assert await owed(database) == 0
