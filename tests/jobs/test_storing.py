"""Jobs whose result store fails: S3 that is tired, a disk that is full, a worker that is killed (reliability F2, F14, F15)."""

import asyncio
import hashlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.jobs import files
from gateway.jobs.backends import Backends
from gateway.jobs.models import ErrorType, Job, RunState
from gateway.jobs.phases import Phase
from gateway.jobs.queue import MemoryQueue
from gateway.jobs.service import JobService
from gateway.jobs.store import JobStore
from gateway.jobs.upkeep import Upkeep
from gateway.serve.environment import environment
from gateway.settings import Settings
from gateway.storage.results import LocalResultStore
from gateway.stores import open_results
from tests.jobs.conftest import add, claim_one, ended, queued, until, working
from tests.jobs.storing import BLOCK, WORKSHOP, blocks
from tests.support.s3 import Fault, S3Server


@pytest.fixture
def in_s3(settings: Settings, s3: S3Server, bucket: Any) -> Settings:
    changes = {
        "results": f"s3://{bucket[1]}/jobs",
        "results_endpoint": s3.url,
        "results_timeout": timedelta(seconds=30),
    }
    return settings.model_copy(update=changes)


async def left_in(bucket: Any) -> tuple[list[str], int]:
    """Objects, and how many unfinished uploads."""
    client, name = bucket
    objects = (await client.list_objects_v2(Bucket=name)).get("Contents", ())
    return [one["Key"] for one in objects], len((await client.list_multipart_uploads(Bucket=name)).get("Uploads", ()))


def holds(job: Job, count: int) -> bool:
    """Whether a job's row tells size and digest of so many blocks."""
    (result,) = job.results
    return (result.size, result.sha256) == (count * len(BLOCK), hashlib.sha256(BLOCK * count).hexdigest())


async def test_lease_is_kept_while_a_tired_store_is_asked_again(
    in_s3: Settings, service: JobService, store: JobStore, s3: S3Server
) -> None:  # F15
    s3.break_down(Fault("PUT", "status", times=5))  # asked again for four to eight seconds; the lease is two
    async with working(in_s3, workshop=WORKSHOP):
        job = await ended(store, (await add(service, DO="write", TEXT="4")).job_id, 60)
    assert (job.phase, s3.left()) == (Phase.COMPLETED, 0)
    assert holds(job, 4)
    (part,) = await store.parts(job.job_id)
    assert (part.token, part.attempts, part.losses) == (1, 0, 0)


async def test_store_that_stays_away_ends_the_job_with_a_transient_error(
    in_s3: Settings, service: JobService, store: JobStore, s3: S3Server, bucket: Any
) -> None:  # F15
    s3.break_down(Fault("PUT", "status", "partNumber=2", status=403, code="AccessDenied", times=99))
    async with working(in_s3, workshop=WORKSHOP):
        job = await ended(store, (await add(service, DO="write", TEXT="130")).job_id, 60)
        assert job.phase is Phase.ERROR
        assert job.error is not None
        assert job.error.type is ErrorType.TRANSIENT
        assert "result store does not answer" in job.error.message
        assert await left_in(bucket) == ([], 0)
        s3.break_down()  # and it is back, without a restart
        job = await ended(store, (await add(service, DO="write", TEXT="130")).job_id, 60)
    assert job.phase is Phase.COMPLETED
    assert holds(job, 130)


@asynccontextmanager
async def storing(settings: Settings, *before: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker as a process."""
    command = (*before, sys.executable, "-m", "tests.jobs.storing")
    process = await asyncio.create_subprocess_exec(*command, env=environment(settings))
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_worker_killed_in_the_middle_of_an_upload_leaves_one_whole_result(
    in_s3: Settings, service: JobService, store: JobStore, s3: S3Server, bucket: Any
) -> None:  # F2
    s3.break_down(Fault("PUT", "hang", "partNumber=2", seconds=5))
    async with storing(in_s3) as first:
        job = await add(service, DO="write", TEXT="130")

        async def sends_the_second_part() -> bool:
            return any("partNumber=2" in one for one in await asyncio.to_thread(s3.seen))

        await until(sends_the_second_part, 60)
        assert (await left_in(bucket))[1] == 1
        first.send_signal(signal.SIGKILL)
        await first.wait()
        s3.break_down()
        async with storing(in_s3):
            job = await ended(store, job.job_id, 120)
    assert job.phase is Phase.COMPLETED
    assert holds(job, 130)
    assert await left_in(bucket) == ([f"jobs/{job.results[0].key}"], 0)


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="needs a file system of its own")
async def test_full_disk_fails_the_job_that_fills_it_and_passes(
    settings: Settings, service: JobService, store: JobStore, tmp_path: Path
) -> None:  # F14
    """The worker's result folder is a file system of 4 MiB that only it sees; the disk is filled, used, freed, used."""
    settings = settings.model_copy(update={"results_reserve_bytes": 0})
    folder = tmp_path / "results"
    folder.mkdir()
    mounted = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'
    async with storing(settings, "unshare", "-rm", "sh", "-c", mounted, str(folder)) as process:

        async def run(do: str, text: str) -> Job:
            job = await add(service, DO=do, TEXT=text)
            ending = asyncio.create_task(ended(store, job.job_id, 60))
            gone = asyncio.create_task(process.wait())
            await asyncio.wait((ending, gone), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if not ending.done():
                ending.cancel()
                pytest.skip("this machine lets nobody mount a file system")
            return ending.result()

        assert (await run("fill", "1")).phase is Phase.COMPLETED
        failed = await run("write", "8")
        assert failed.phase is Phase.ERROR
        assert failed.error is not None
        assert failed.error.type is ErrorType.TRANSIENT
        assert "full" in failed.error.message
        small = await run("write", "1")  # there is room for it again: the temporary is gone
        assert (small.phase, holds(small, 1)) == (Phase.COMPLETED, True)
        assert (await run("free", "1")).phase is Phase.COMPLETED
        large = await run("write", "8")
        assert (large.phase, holds(large, 8)) == (Phase.COMPLETED, True)


async def test_removal_gives_up_on_a_store_that_does_not_answer(
    in_s3: Settings, s3: S3Server, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:  # F15: neither a job's end nor the reaper waits for it
    monkeypatch.setattr(files, "REMOVE_LIMIT_S", 0.2)
    key = "a-job-that-has-ended-1234/1.1/result"
    async with open_results(in_s3) as results:
        await results.write(key, blocks(1))
        s3.break_down(Fault("GET", "hang", "list-type", seconds=3))
        async with asyncio.timeout(2):
            await files.remove_files(results, "a-job-that-has-ended-1234/")
        assert await left_in(bucket) == ([f"jobs/{key}"], 0)
        assert await results.sweep(age=timedelta(seconds=-5), referenced=nothing) == 1


async def nothing(keys: object) -> set[str]:
    return set()


class Stuck(LocalResultStore):
    """A store so large that nobody sees the end of a sweep."""

    async def sweep(self, **_: object) -> int:
        await asyncio.Event().wait()
        raise AssertionError


async def test_reaper_does_not_wait_for_the_sweeper(store: JobStore, database_url: str, tmp_path: Path) -> None:  # F1
    upkeep = Upkeep(
        store=store,
        results=Stuck(tmp_path),
        wake_up=MemoryQueue(),
        backends=Backends(database_url),
        queues=("test",),
        lease=timedelta(seconds=0.3),
        sweep_age=timedelta(seconds=1),
    )
    keeping = asyncio.create_task(upkeep.run())
    await asyncio.sleep(0.2)  # it sweeps by now
    job_id = await queued(store)
    assert await claim_one(store, lease=timedelta(seconds=0.1)) is not None

    async def is_waiting_again() -> bool:
        (part,) = await store.parts(job_id)
        return part.run_state is RunState.WAITING

    try:
        await until(is_waiting_again)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
