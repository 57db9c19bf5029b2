"""What clients may do with jobs, and who may (UWS-1..35, reliability A17, A22, A25)."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from gateway.errors import (
    AuthenticationError,
    AuthorizationError,
    BackendUnavailableError,
    IllegalMoveError,
    NotFoundError,
    OverloadedError,
    ParameterError,
    QuotaError,
)
from gateway.jobs.models import ErrorType, Job
from gateway.jobs.phases import Phase
from gateway.jobs.queue import ArqQueue, MemoryQueue
from gateway.jobs.service import JobList, JobService, merge
from gateway.jobs.signals import PhaseSignals
from gateway.jobs.store import JobStore
from gateway.services.access import Caller
from gateway.storage.results import LocalResultStore
from gateway.vo.dali import ParamBag, UploadedPart
from tests.jobs.conftest import ALICE, ANONYMOUS, BOB, add, claim_one, until
from tests.support.timed import timed


def bag(*items: tuple[str, str]) -> ParamBag:
    return ParamBag.of(items)


# -- creating and parameters -------------------------------------------------------------------------------


async def test_new_job_is_pending_with_the_defaults(service: JobService) -> None:
    job = await service.create("test", bag(("RUNID", " my <run>"), ("QUERY", "garbage")), ALICE)  # TAP-23
    assert (job.phase, job.run_id, job.owner, job.account) == (Phase.PENDING, " my <run>", "alice", "alice")
    assert job.execution_duration == timedelta(hours=1)
    assert abs(job.destruction - job.creation_time - timedelta(days=7)) < timedelta(seconds=5)
    assert job == await service.get("test", job.job_id, ALICE)


async def test_empty_job_can_be_created(service: JobService) -> None:  # TAP-22
    assert (await service.create("test", ParamBag(), ANONYMOUS)).parameters == ()


async def test_identifiers_cannot_be_guessed(service: JobService) -> None:
    ids = {(await service.create("test", ParamBag(), ALICE)).job_id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(job_id) * 6 >= 128 for job_id in ids)


async def test_single_values_are_replaced_and_uploads_accumulate(service: JobService) -> None:
    job = await add(service, run=False, QUERY="one", LANG="ADQL", UPLOAD="a,param:a")
    job = await service.set_parameters("test", job.job_id, ALICE, bag(("query", "two"), ("UPLOAD", "b,param:b")))
    assert job.bag.all("QUERY") == ("two",)
    assert job.bag.all("LANG") == ("ADQL",)
    assert job.bag.all("UPLOAD") == ("a,param:a", "b,param:b")


def test_value_sent_twice_at_once_is_kept_for_the_check_to_refuse() -> None:  # DALI-31
    assert merge((("LANG", "x"),), bag(("LANG", "a"), ("LANG", "b"))) == (("LANG", "a"), ("LANG", "b"))


def test_words_that_steer_uws_are_no_parameters() -> None:
    assert merge((), bag(("PHASE", "RUN"), ("ACTION", "x"), ("DUMMY", "kept"))) == (("DUMMY", "kept"),)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_text_that_no_database_holds_is_told(service: JobService, text: str) -> None:
    with pytest.raises(ParameterError, match="QUERY"):
        await service.create("test", bag(("QUERY", text)), ALICE)


async def test_unusual_text_survives(service: JobService) -> None:
    text = '\u202e\'); DROP TABLE job; -- \U0001f30c \\u0000 "x" \x1f'
    job = await service.create("test", bag(("QUERY", text)), ALICE)
    assert (await service.get("test", job.job_id, ALICE)).bag.one("QUERY") == text


async def test_parallel_changes_of_parameters_are_all_kept(service: JobService) -> None:
    job = await add(service, run=False)
    uploads = [f"t{number},param:t{number}" for number in range(8)]
    await asyncio.gather(
        *(service.set_parameters("test", job.job_id, ALICE, bag(("UPLOAD", upload))) for upload in uploads)
    )
    job = await service.get("test", job.job_id, ALICE)
    assert sorted(job.bag.all("UPLOAD")) == uploads


async def test_parameters_are_frozen_after_run(service: JobService) -> None:  # UWS-35
    job = await add(service)
    with pytest.raises(IllegalMoveError, match="QUEUED"):
        await service.set_parameters("test", job.job_id, ALICE, bag(("QUERY", "x")))


async def test_uploaded_files_are_kept_under_the_job(
    service: JobService, results: LocalResultStore, tmp_path: Path
) -> None:  # UWS-11
    def part(name: str, text: str) -> UploadedPart:
        path = tmp_path / f"{len(text)}"
        path.write_text(text)
        return UploadedPart(name, path, len(text))

    job = await service.create("test", ParamBag((), (part("../T a", "one"), part("t", "other"))), ALICE)
    job = await service.set_parameters("test", job.job_id, ALICE, ParamBag((), (part("t", "replaced"),)))
    assert [(upload.name, upload.size) for upload in job.uploads] == [("../T a", 3), ("t", 8)]
    assert all(upload.key.startswith(f"{job.job_id}/uploads/") for upload in job.uploads)
    async with aclosing((await service.open_stored(job.uploads[1].key)).chunks()) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"replaced"


# -- owners ------------------------------------------------------------------------------------------------


async def test_unknown_job_and_job_of_another_list_are_not_found(service: JobService) -> None:  # UWS-1
    job = await add(service, run=False)
    for job_list, job_id in (("test", "nope"), ("other", job.job_id), ("test", job.job_id + "x")):
        with pytest.raises(NotFoundError):
            await service.get(job_list, job_id, ALICE)
    with pytest.raises(NotFoundError):
        await service.create("nosuch", ParamBag(), ALICE)


@pytest.mark.parametrize(("caller", "error"), [(BOB, AuthorizationError), (ANONYMOUS, AuthenticationError)])
async def test_job_of_an_account_is_closed_to_others(
    service: JobService, caller: Caller, error: type[Exception]
) -> None:  # UWS-21, A17
    job = await add(service, run=False)
    arguments = ("test", job.job_id, caller)
    for call in (
        service.get(*arguments),
        service.run(*arguments),
        service.abort(*arguments),
        service.delete(*arguments),
        service.wait(*arguments, "1"),
        service.set_parameters(*arguments, bag(("QUERY", "x"))),
        service.set_destruction(*arguments, "2030-01-01T00:00:00Z"),
        service.set_execution_duration(*arguments, "1"),
    ):
        with pytest.raises(error):
            await call
    assert await service.get("test", job.job_id, ALICE) == job


async def test_anonymous_job_is_open_to_who_knows_its_name(service: JobService) -> None:
    job = await add(service, ANONYMOUS, run=False)
    assert await service.get("test", job.job_id, Caller("198.51.100.7")) == job


async def test_list_has_ones_own_jobs_newest_first(service: JobService) -> None:  # UWS-22
    mine = [await add(service, run=False) for _ in range(3)]
    await add(service, BOB, run=False)
    await add(service, Caller("alice"), run=False)  # an address that is called like the account
    assert [job.job_id for job in await service.list("test", ALICE, ParamBag())] == [
        job.job_id for job in reversed(mine)
    ]
    assert await service.list("other", ALICE, ParamBag()) == ()


async def test_list_filters_hold_together(service: JobService) -> None:  # UWS-23..26
    jobs = [await add(service, run=False) for _ in range(4)]
    for job in jobs[:3]:
        await service.abort("test", job.job_id, ALICE)
    found = await service.list("test", ALICE, bag(("PHASE", "ABORTED"), ("LAST", "2")))
    assert [job.job_id for job in found] == [jobs[2].job_id, jobs[1].job_id]
    after = jobs[1].creation_time.isoformat()
    found = await service.list("test", ALICE, bag(("AFTER", after)))
    assert [job.job_id for job in found] == [jobs[3].job_id, jobs[2].job_id]


# -- phases ------------------------------------------------------------------------------------------------


async def test_run_queues_and_wakes_once(service: JobService, queue: MemoryQueue) -> None:
    job = await add(service)
    assert job.phase is Phase.QUEUED
    assert queue.sent == ["test"]


async def test_run_twice_is_illegal(service: JobService) -> None:  # UWS-2
    job = await add(service)
    with pytest.raises(IllegalMoveError, match="QUEUED"):
        await service.run("test", job.job_id, ALICE)


async def test_runs_at_once_queue_once(service: JobService, store: JobStore) -> None:
    job = await add(service, run=False)
    outcomes = await asyncio.gather(*(service.run("test", job.job_id, ALICE) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(outcome, Job) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, IllegalMoveError) for outcome in outcomes) == 4
    assert len(await store.parts(job.job_id)) == 1


async def test_what_cannot_run_fails_at_run_and_says_why(service: JobService, queue: MemoryQueue) -> None:  # TAP-23
    job = await add(service, TEXT="SELECT * FROM nosuch")
    assert job.phase is Phase.ERROR
    assert job.error is not None
    assert job.error.message == "line 1, column 15: unknown table nosuch"
    assert job.error.type is ErrorType.FATAL
    assert queue.sent == []


async def test_check_that_cannot_be_made_leaves_the_job_pending(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(job: Job) -> int:
        raise BackendUnavailableError("the catalog does not answer")

    job = await add(service, run=False)
    monkeypatch.setitem(service._lists, "test", JobList(validate=away))  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailableError):
        await service.run("test", job.job_id, ALICE)
    assert (await service.get("test", job.job_id, ALICE)).phase is Phase.PENDING


@timed
async def test_run_waits_a_quarter_second_for_the_job_to_start(service: JobService, store: JobStore) -> None:
    job = await add(service, run=False)
    run = asyncio.create_task(service.run("test", job.job_id, ALICE))
    await until(lambda: claim_one(store))
    assert (await run).phase is Phase.EXECUTING
    started = time.monotonic()
    assert (await add(service)).phase is Phase.QUEUED
    assert 0.2 < time.monotonic() - started < 0.6


async def test_held_job_runs_when_asked_again(service: JobService, database: asyncpg.Connection) -> None:
    job = await add(service, run=False)
    await database.execute("UPDATE gateway.job SET phase = 'HELD' WHERE id = $1", job.job_id)
    assert (await service.run("test", job.job_id, ALICE)).phase is Phase.QUEUED


async def test_held_job_that_cannot_run_fails_when_asked_again(
    service: JobService, database: asyncpg.Connection
) -> None:  # C9 found it stuck in HELD
    job = await add(service, run=False, TEXT="nosuch")
    await database.execute("UPDATE gateway.job SET phase = 'HELD' WHERE id = $1", job.job_id)
    assert (await service.run("test", job.job_id, ALICE)).phase is Phase.ERROR


async def test_job_that_cannot_be_queued_at_its_creation_is_not_there(
    service: JobService, monkeypatch: pytest.MonkeyPatch, store: JobStore
) -> None:
    async def away(job: Job) -> int:
        raise BackendUnavailableError("the catalog does not answer")

    monkeypatch.setitem(service._lists, "test", JobList(validate=away))  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailableError):
        await service.create("test", bag(("TEXT", "x")), ALICE, run=True)
    assert await service.list("test", ALICE, ParamBag()) == ()
    assert (await store.load("alice")).pending == 0


async def test_as_many_are_admitted_as_may_wait_however_many_come_at_once(
    make_service: Callable[..., JobService],
) -> None:  # A22
    service = make_service(queue_cap_per_owner=5)
    for owner in range(5):
        caller = Caller(f"owner{owner}")
        outcomes = await asyncio.gather(
            *(service.create("test", bag(("TEXT", "x")), caller) for _ in range(100)), return_exceptions=True
        )
        assert sum(isinstance(outcome, Job) for outcome in outcomes) == 5
        assert sum(isinstance(outcome, QuotaError) for outcome in outcomes) == 95


async def test_abort_is_final(service: JobService) -> None:
    job = await add(service)
    job = await service.abort("test", job.job_id, ALICE)
    assert job.phase is Phase.ABORTED
    assert job.end_time is not None
    for move in (service.abort, service.run):
        with pytest.raises(IllegalMoveError, match="ABORTED"):
            await move("test", job.job_id, ALICE)


async def test_deleted_job_is_gone_with_its_files(
    service: JobService, results: LocalResultStore, tmp_path: Path
) -> None:  # UWS-12
    file = tmp_path / "t"
    file.write_text("x")
    job = await service.create("test", ParamBag((), (UploadedPart("t", file, 1),)), ALICE)
    await service.delete("test", job.job_id, ALICE)
    for call in (service.get, service.delete, service.run, service.abort):
        with pytest.raises(NotFoundError):
            await call("test", job.job_id, ALICE)
    with pytest.raises(NotFoundError):
        await results.open(job.uploads[0].key)
    assert await service.list("test", ALICE, ParamBag()) == ()


async def test_destruction_is_clamped(service: JobService) -> None:  # UWS-14, A25
    job = await add(service, run=False)
    job = await service.set_destruction("test", job.job_id, ALICE, "9999-12-31T23:59:59Z")
    assert job.destruction == job.creation_time + timedelta(days=14)
    job = await service.set_destruction("test", job.job_id, ALICE, "2020-01-01T00:00:00Z")
    assert job.destruction == datetime(2020, 1, 1, tzinfo=UTC)


async def test_execution_duration_is_clamped_and_set_before_the_run_only(
    service: JobService, store: JobStore
) -> None:  # UWS-15
    job = await add(service)
    job = await service.set_execution_duration("test", job.job_id, ALICE, "0")
    assert job.execution_duration == timedelta(hours=4)
    job = await service.set_execution_duration("test", job.job_id, ALICE, "7")
    assert job.execution_duration == timedelta(seconds=7)
    await claim_one(store)
    with pytest.raises(IllegalMoveError, match="EXECUTING"):
        await service.set_execution_duration("test", job.job_id, ALICE, "8")


# -- limits ------------------------------------------------------------------------------------------------


async def test_owner_with_a_full_queue_is_told_the_limit(make_service: Callable[..., JobService]) -> None:
    service = make_service(queue_cap_per_owner=2)
    for _ in range(2):
        await add(service)
    with pytest.raises(QuotaError, match="no more than 2") as error:
        await add(service)
    assert error.value.retry_after_s > 0
    await add(service, BOB)


async def test_full_queue_is_told_to_everyone(make_service: Callable[..., JobService]) -> None:
    service = make_service(queue_cap_total=2)
    await add(service)
    late = await add(service, BOB, run=False)
    await add(service)
    with pytest.raises(QuotaError, match="queue_cap_total"):
        await add(service, BOB)
    with pytest.raises(QuotaError, match="queue_cap_total"):
        await service.run("test", late.job_id, BOB)
    assert (await service.get("test", late.job_id, BOB)).phase is Phase.PENDING


async def test_old_pending_jobs_do_not_lock_their_owner_out(
    make_service: Callable[..., JobService], database: asyncpg.Connection
) -> None:
    service = make_service(queue_cap_per_owner=1)
    await add(service, run=False)
    with pytest.raises(QuotaError):
        await add(service)
    await database.execute("UPDATE gateway.job SET created = created - interval '2 hours'")
    await add(service)


async def test_nearly_full_result_store_takes_no_new_jobs(make_service: Callable[..., JobService]) -> None:  # F14
    with pytest.raises(OverloadedError, match="results_reserve_bytes"):
        await add(make_service(results_reserve_bytes=2**60))


@timed
async def test_dead_redis_costs_a_run_a_fifth_of_a_second(
    make_service: Callable[..., JobService], tmp_path: Path
) -> None:  # F12
    service = make_service(ArqQueue(f"unix://{tmp_path}/none.sock"))
    started = time.monotonic()
    assert (await add(service)).phase is Phase.QUEUED
    assert time.monotonic() - started < 1


# -- waiting -----------------------------------------------------------------------------------------------


@timed
async def test_wait_returns_when_the_phase_changes(service: JobService) -> None:  # UWS-31
    job = await add(service, run=False)
    waits = [asyncio.create_task(service.wait("test", job.job_id, ALICE, "-1")) for _ in range(20)]
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await service.abort("test", job.job_id, ALICE)
    assert {job.phase for job in await asyncio.gather(*waits)} == {Phase.ABORTED}
    assert time.monotonic() - started < 0.5


@timed
async def test_wait_holds_no_longer_than_asked_or_allowed(
    make_service: Callable[..., JobService],
) -> None:  # UWS-27, 30
    service = make_service(wait_cap=timedelta(seconds=0.4))
    job = await add(service, run=False)
    for wait, least, most in (("0.2", 0.2, 0.4), ("-1", 0.4, 0.8), ("1000000000", 0.4, 0.8), ("0", 0, 0.2)):
        started = time.monotonic()
        assert (await service.wait("test", job.job_id, ALICE, wait)).phase is Phase.PENDING
        assert least <= time.monotonic() - started < most


@timed
async def test_wait_returns_at_once_if_the_phase_is_another(service: JobService) -> None:  # UWS-29
    job = await add(service, run=False)
    started = time.monotonic()
    await service.wait("test", job.job_id, ALICE, "10", "QUEUED")
    assert time.monotonic() - started < 0.5


@timed
async def test_wait_returns_at_once_in_a_final_phase(service: JobService) -> None:  # UWS-28
    job = await add(service)
    await service.abort("test", job.job_id, ALICE)
    started = time.monotonic()
    await service.wait("test", job.job_id, ALICE, "-1", "ABORTED")
    assert time.monotonic() - started < 0.5


async def test_waiters_share_one_connection_that_comes_back(
    service: JobService, signals: PhaseSignals, database: asyncpg.Connection
) -> None:
    job = await add(service, run=False)
    waits = [asyncio.create_task(service.wait("test", job.job_id, ALICE, "-1")) for _ in range(50)]
    await asyncio.sleep(0.1)
    listeners = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gw:signals' AND datname = current_database()"
    )
    assert await database.fetchval(listeners) == 1
    await database.execute(listeners.replace("count(*)", "pg_terminate_backend(pid)"))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(signals.is_listening.wait(), 3)
    assert not any(wait.done() for wait in waits)
    await service.abort("test", job.job_id, ALICE)
    await asyncio.wait_for(asyncio.gather(*waits), 1)
    assert signals.waiting == 0


async def test_change_while_the_connection_was_lost_is_seen(
    service: JobService, signals: PhaseSignals, database: asyncpg.Connection
) -> None:
    job = await add(service, run=False)
    wait = asyncio.create_task(service.wait("test", job.job_id, ALICE, "-1"))
    await asyncio.sleep(0.1)
    await database.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
        "WHERE application_name = 'gw:signals' AND datname = current_database()"
    )
    await database.execute("UPDATE gateway.job SET phase = 'ABORTED', ended = now() WHERE id = $1", job.job_id)
    assert (await asyncio.wait_for(wait, 3)).phase is Phase.ABORTED


async def test_waiter_of_a_deleted_job_hears_that_it_is_gone(service: JobService) -> None:
    job = await add(service, run=False)
    wait = asyncio.create_task(service.wait("test", job.job_id, ALICE, "-1"))
    await asyncio.sleep(0.1)
    await service.delete("test", job.job_id, ALICE)
    with pytest.raises(NotFoundError):
        await asyncio.wait_for(wait, 1)
