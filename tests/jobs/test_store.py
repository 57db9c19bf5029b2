"""Moves of jobs and parts in PostgreSQL, and who wins when two are made at once (reliability R2, R3, R5)."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gateway.errors import BackendUnavailableError, IllegalMoveError, NotFoundError
from gateway.jobs.models import Claim, ErrorSummary, ErrorType, Result, RunState
from gateway.jobs.phases import FINAL, MOVES, Phase
from gateway.jobs.store import CLAIM_LOCK, MAX_ATTEMPTS, MAX_LOSSES, UPKEEP_LOCK, GivenBack, JobStore, connect
from tests.jobs.conftest import LEASE, claim_one, phase_of, queued

ERROR = ErrorSummary("it broke", ErrorType.FATAL)
SECOND = timedelta(seconds=1)


def result(claim: Claim) -> Result:
    return Result("result", claim.prefix + "result", 5, "text/plain", rows=1, is_overflow=True)


async def expire_leases(database: asyncpg.Connection) -> None:
    await database.execute(
        "UPDATE gateway.job_part SET lease_until = clock_timestamp() - interval '1 s' WHERE run_state = 'running'"
    )


async def turns(database: asyncpg.Connection) -> list[tuple[str, int, bool]]:
    rows = await database.fetch(
        "SELECT owner, running, oldest IS NOT NULL AS waits FROM gateway.job_turn ORDER BY owner"
    )
    return [tuple(row) for row in rows]


# -- a whole life ------------------------------------------------------------------------------------------


async def test_job_completes_and_keeps_its_result(store: JobStore) -> None:
    job_id = await queued(store)
    claim = await claim_one(store)
    assert claim is not None
    assert (claim.job_id, claim.token, claim.parameters) == (job_id, 1, (("DO", "echo"),))
    assert await phase_of(store, job_id) is Phase.EXECUTING
    assert await store.end(claim, Phase.COMPLETED, results=[result(claim)])
    job = await store.get(job_id)
    assert job.phase is Phase.COMPLETED
    assert job.results == (result(claim),)
    assert job.start_time is not None
    assert job.end_time is not None
    assert job.creation_time <= job.start_time <= job.end_time
    (part,) = await store.parts(job_id)
    assert (part.run_state, part.token, part.result_token, part.worker) == (RunState.DONE, 1, 1, None)


async def test_failed_job_tells_why(store: JobStore) -> None:
    job_id = await queued(store)
    claim = await claim_one(store)
    assert claim is not None
    assert await store.end(claim, Phase.ERROR, error=ERROR)
    job = await store.get(job_id)
    assert (job.phase, job.error, job.results) == (Phase.ERROR, ERROR, ())


async def test_job_of_several_parts_ends_with_the_last(store: JobStore) -> None:
    job_id = await queued(store, parts=3)
    claims = await store.claim("test", worker="w", per_owner=9, lease=LEASE, at_most=9)
    assert len(claims) == 3
    for number, claim in enumerate(claims):
        assert (await store.get(job_id)).progress == {"parts": 3, "parts_done": number}
        assert await phase_of(store, job_id) is Phase.EXECUTING
        assert await store.end(claim, Phase.COMPLETED, results=[result(claim)])
    assert await phase_of(store, job_id) is Phase.COMPLETED
    assert len((await store.get(job_id)).results) == 3


async def test_parts_that_end_at_once_complete_their_job_once(store: JobStore) -> None:
    for _ in range(10):
        job_id = await queued(store, parts=4)
        claims = await store.claim("test", worker="w", per_owner=9, lease=LEASE, at_most=4)
        assert all(await asyncio.gather(*(store.end(claim, Phase.COMPLETED) for claim in claims)))
        assert await phase_of(store, job_id) is Phase.COMPLETED


async def test_one_failing_part_ends_the_job_and_cancels_the_others(
    store: JobStore, database: asyncpg.Connection
) -> None:
    job_id = await queued(store, parts=3)
    first, second = await store.claim("test", worker="w", per_owner=9, lease=LEASE, at_most=2)
    assert await store.end(first, Phase.ERROR, error=ERROR)
    assert await phase_of(store, job_id) is Phase.ERROR
    assert await claim_one(store) is None
    assert not await store.end(second, Phase.COMPLETED)
    assert await store.give_back(second, error=ERROR) is GivenBack.ENDED
    assert await turns(database) == [("alice", 0, False)]


# -- what is not there -------------------------------------------------------------------------------------


async def test_unknown_job_is_not_found(store: JobStore) -> None:
    with pytest.raises(NotFoundError):
        await store.get("nope")


async def test_destroyed_job_is_not_found(store: JobStore) -> None:
    job_id = await queued(store)
    assert await store.destroy(job_id)
    assert not await store.destroy(job_id)
    with pytest.raises(NotFoundError):
        await store.get(job_id)
    assert await claim_one(store) is None
    assert not await store.abort(job_id)
    assert not await store.enqueue(job_id, "test")


async def test_worker_frozen_in_the_middle_of_a_claim_holds_up_nobody(store: JobStore) -> None:  # F3
    job_id = await queued(store)

    async def freeze() -> None:
        async with store._transaction() as connection:
            await connection.execute(CLAIM_LOCK, "test")
            await connection.execute("SELECT FROM gateway.job WHERE id = $1 FOR UPDATE", job_id)
            is_frozen.set()
            await asyncio.sleep(8)

    is_frozen = asyncio.Event()
    frozen = asyncio.create_task(freeze())
    await is_frozen.wait()
    started = time.monotonic()
    assert await claim_one(store) is not None
    assert time.monotonic() - started < 7
    with pytest.raises(BackendUnavailableError):
        await frozen


async def test_database_that_does_not_answer_is_told(tmp_path: object) -> None:
    url = f"postgresql://postgres@/none?host={tmp_path}"
    async with JobStore.open(url) as store:
        with pytest.raises(BackendUnavailableError, match="does not answer"):
            await store.get("x")
    with pytest.raises(BackendUnavailableError):
        await connect(url, "test")


# -- legal moves only --------------------------------------------------------------------------------------

SET_PHASE = """
UPDATE gateway.job SET phase = $2, ended = CASE WHEN $3 THEN clock_timestamp() END,
       error_message = CASE WHEN $2 = 'ERROR' THEN 'x' END, error_type = CASE WHEN $2 = 'ERROR' THEN 'fatal' END
WHERE id = $1
"""


@pytest.mark.parametrize("phase", list(MOVES))
async def test_store_makes_the_moves_of_the_table_only(
    store: JobStore, database: asyncpg.Connection, phase: Phase
) -> None:
    moves = {
        Phase.QUEUED: lambda job_id: store.enqueue(job_id, "test"),
        Phase.ABORTED: store.abort,
    }
    for to, move in moves.items():
        job_id = await queued(store)
        await database.execute("DELETE FROM gateway.job_part WHERE job_id = $1", job_id)
        await database.execute(SET_PHASE, job_id, phase, phase in FINAL)
        assert await move(job_id) is (to in MOVES[phase])
        assert await phase_of(store, job_id) is (to if to in MOVES[phase] else phase)


async def test_parameters_change_while_pending_only(store: JobStore) -> None:
    job_id = await queued(store)
    with pytest.raises(IllegalMoveError, match="QUEUED"):
        async with store.pending(job_id):
            pass


async def test_database_refuses_a_result_of_another_token(store: JobStore, database: asyncpg.Connection) -> None:
    await queued(store)
    with pytest.raises(asyncpg.CheckViolationError, match="ck_job_part_result_token"):
        await database.execute("UPDATE gateway.job_part SET run_state = 'done', token = 2, result_token = 1")


# -- races -------------------------------------------------------------------------------------------------


async def test_two_runs_at_once_queue_one_part(store: JobStore, database: asyncpg.Connection) -> None:
    job_id = await queued(store)
    await database.execute("DELETE FROM gateway.job_part")
    await database.execute("UPDATE gateway.job SET phase = 'PENDING'")
    assert sum(await asyncio.gather(*(store.enqueue(job_id, "test") for _ in range(8)))) == 1
    assert len(await store.parts(job_id)) == 1


async def test_abort_and_completion_at_once_have_one_winner(store: JobStore) -> None:  # F21
    winners: Counter[Phase] = Counter()
    for number in range(60):
        job_id = await queued(store)
        claim = await claim_one(store)
        assert claim is not None
        moves = [store.end(claim, Phase.COMPLETED, results=[result(claim)]), store.abort(job_id)]
        if number % 2:
            moves.reverse()
        outcome = await asyncio.gather(*moves)
        assert sum(outcome) == 1
        phase = await phase_of(store, job_id)
        ended = outcome[number % 2]
        assert phase is (Phase.COMPLETED if ended else Phase.ABORTED)
        winners[phase] += 1
        if not ended:
            assert await store.give_back(claim, error=ERROR) is GivenBack.ENDED
    assert len(winners) == 2, "the race was never won by one side: it is no race"


async def test_delete_and_completion_at_once_leave_no_result(store: JobStore) -> None:  # F22
    for _ in range(40):
        job_id = await queued(store)
        claim = await claim_one(store)
        assert claim is not None
        await asyncio.gather(store.end(claim, Phase.COMPLETED, results=[result(claim)]), store.destroy(job_id))
        with pytest.raises(NotFoundError):
            await store.get(job_id)
        assert await store.referenced([claim.prefix + "result"]) == set()
        await store.give_back(claim, error=ERROR)


async def test_abort_and_claim_at_once_never_run_an_aborted_job(store: JobStore) -> None:
    for _ in range(40):
        job_id = await queued(store)
        claim, is_aborted = await asyncio.gather(claim_one(store), store.abort(job_id))
        assert is_aborted
        assert await phase_of(store, job_id) is Phase.ABORTED
        if claim is not None:
            assert not await store.end(claim, Phase.COMPLETED)
            assert await store.give_back(claim, error=ERROR) is GivenBack.ENDED
        assert await claim_one(store) is None


async def test_two_claimers_never_get_the_same_part(store: JobStore) -> None:
    for _ in range(30):
        await queued(store)
    claims = await asyncio.gather(*(claim_one(store, per_owner=100) for _ in range(40)))
    ids = [claim.part_id for claim in claims if claim is not None]
    assert len(ids) == len(set(ids)) == 30


async def test_sixteen_claimers_never_exceed_the_owners_limit(store: JobStore, database: asyncpg.Connection) -> None:
    for number in range(60):  # A22
        await queued(store, f"owner{number % 3}")
    most: Counter[str] = Counter()
    running: Counter[str] = Counter()

    async def claimer() -> None:
        idle = 0
        while idle < 20:
            claim = await claim_one(store, per_owner=2)
            if claim is None:
                idle += 1
                await asyncio.sleep(0.005)
                continue
            idle = 0
            running[claim.owner] += 1
            most[claim.owner] = max(most[claim.owner], running[claim.owner])
            await asyncio.sleep(0.03)
            running[claim.owner] -= 1
            assert await store.end(claim, Phase.COMPLETED)

    await asyncio.gather(*(claimer() for _ in range(16)))
    assert most == {"owner0": 2, "owner1": 2, "owner2": 2}
    assert await database.fetchval("SELECT count(*) FROM gateway.job WHERE phase = 'COMPLETED'") == 60
    assert await turns(database) == [(f"owner{n}", 0, False) for n in range(3)]  # I8


# -- whose turn --------------------------------------------------------------------------------------------


async def test_fewest_running_comes_first_then_age(store: JobStore) -> None:
    for owner in ("greedy", "greedy", "greedy", "modest", "greedy", "late"):
        await queued(store, owner)
    order = [claim.owner for claim in await store.claim("test", worker="w", per_owner=9, lease=LEASE, at_most=9)]
    assert order == ["greedy", "modest", "late", "greedy", "greedy", "greedy"]


async def test_limit_of_an_owner_leaves_slots_to_others(store: JobStore) -> None:
    for owner in ("greedy", "greedy", "greedy", "modest"):
        await queued(store, owner)
    claims = await store.claim("test", worker="w", per_owner=2, lease=LEASE, at_most=9)
    assert Counter(claim.owner for claim in claims) == {"greedy": 2, "modest": 1}


async def test_other_queue_is_left_alone(store: JobStore) -> None:
    await queued(store)
    assert await store.claim("cutout", worker="w", per_owner=9, lease=LEASE) == ()


async def test_turns_survive_a_purge_of_idle_owners(store: JobStore, database: asyncpg.Connection) -> None:
    job_id = await queued(store, "idle")
    assert await store.abort(job_id)
    await queued(store, "busy")
    await store.purge(age=SECOND)
    assert await turns(database) == [("busy", 0, True)]
    await queued(store, "idle")
    assert await claim_one(store) is not None
    assert await claim_one(store) is not None


# -- the fence ---------------------------------------------------------------------------------------------


async def test_stale_token_commits_nothing(store: JobStore, database: asyncpg.Connection) -> None:  # F3
    job_id = await queued(store)
    stale = await claim_one(store)
    assert stale is not None
    await expire_leases(database)
    (loss,) = await store.reap(lease=timedelta(0))
    assert (loss.job_id, loss.token) == (job_id, 1)
    assert await phase_of(store, job_id) is Phase.EXECUTING  # R6
    fresh = await claim_one(store)
    assert fresh is not None
    assert fresh.token > stale.token
    assert not await store.end(stale, Phase.COMPLETED, results=[result(stale)])
    assert not await store.was_ended(stale, Phase.COMPLETED)
    assert await store.give_back(stale, error=ERROR) is GivenBack.LOST
    assert await store.end(fresh, Phase.COMPLETED, results=[result(fresh)])
    assert (await store.get(job_id)).results == (result(fresh),)


async def test_commit_whose_answer_was_lost_is_recognised(store: JobStore) -> None:  # F9
    await queued(store)
    claim = await claim_one(store)
    assert claim is not None
    assert not await store.was_ended(claim, Phase.COMPLETED)
    assert await store.end(claim, Phase.COMPLETED)
    assert not await store.end(claim, Phase.COMPLETED)
    assert await store.was_ended(claim, Phase.COMPLETED)


async def test_live_lease_is_not_reaped(store: JobStore) -> None:
    await queued(store)
    assert await claim_one(store) is not None
    assert await store.reap(lease=timedelta(0)) == ()


async def test_nothing_is_reaped_within_a_lease_of_a_restart(store: JobStore, database: asyncpg.Connection) -> None:
    await queued(store)
    assert await claim_one(store) is not None
    await expire_leases(database)
    assert await store.reap(lease=timedelta(days=365)) == ()  # the server is younger than that


async def test_eight_reapers_take_each_part_once(store: JobStore, database: asyncpg.Connection) -> None:  # F24
    for number in range(250):
        await queued(store, f"owner{number % 7}")
    await store.claim("test", worker="w", per_owner=1000, lease=LEASE, at_most=250)
    await expire_leases(database)
    taken: list[str] = []

    async def reaper() -> None:
        for _ in range(30):
            taken.extend(loss.job_id for loss in await store.reap(lease=timedelta(0)))

    await asyncio.gather(*(reaper() for _ in range(8)))
    assert len(taken) == len(set(taken)) == 250
    assert await database.fetchval("SELECT count(*) FROM gateway.job_part WHERE losses = 1 AND token = 2") == 250


async def test_lost_lease_of_a_cancelled_part_ends_it(store: JobStore, database: asyncpg.Connection) -> None:
    job_id = await queued(store)
    await claim_one(store)
    assert await store.abort(job_id)
    await expire_leases(database)
    await store.reap(lease=timedelta(0))
    (part,) = await store.parts(job_id)
    assert part.run_state is RunState.DONE
    assert await phase_of(store, job_id) is Phase.ABORTED


async def test_part_lost_too_often_fails_its_job(store: JobStore, database: asyncpg.Connection) -> None:
    job_id = await queued(store)
    for number in range(MAX_LOSSES):
        assert await phase_of(store, job_id) in {Phase.QUEUED, Phase.EXECUTING}, number
        assert await claim_one(store) is not None
        await expire_leases(database)
        assert len(await store.reap(lease=timedelta(0))) == 1
    job = await store.get(job_id)
    assert job.phase is Phase.ERROR
    assert job.error is not None
    assert job.error.type is ErrorType.TRANSIENT


async def test_deaths_and_losses_are_counted_apart(store: JobStore) -> None:  # F20, F18
    job_id = await queued(store)
    for number in range(1, MAX_ATTEMPTS + 1):
        claim = await claim_one(store)
        assert claim is not None
        assert await store.give_back(claim, error=ERROR, losses=1) is GivenBack.WAITING
        claim = await claim_one(store)
        assert claim is not None
        became = await store.give_back(claim, error=ERROR, deaths=1)
        assert became is (GivenBack.ENDED if number == MAX_ATTEMPTS else GivenBack.WAITING)
    (part,) = await store.parts(job_id)
    assert (part.attempts, part.losses, part.run_state) == (MAX_ATTEMPTS, MAX_ATTEMPTS, RunState.DONE)
    assert (await store.get(job_id)).error == ERROR


# -- destruction -------------------------------------------------------------------------------------------


async def test_expired_jobs_are_destroyed_once(store: JobStore, database: asyncpg.Connection) -> None:  # UWS-18
    gone, kept = await queued(store), await queued(store)
    claim = await claim_one(store)
    assert claim is not None
    assert claim.job_id == gone
    await store.set_destruction(gone, datetime(2020, 1, 1, tzinfo=UTC), at_most=timedelta(days=14))
    taken = await asyncio.gather(*(store.expire() for _ in range(4)))
    assert [job_id for ids in taken for job_id in ids] == [gone]
    assert not await store.end(claim, Phase.COMPLETED)
    assert await phase_of(store, kept) is Phase.QUEUED


async def test_destroyed_job_is_forgotten_when_nothing_runs_for_it(
    store: JobStore, database: asyncpg.Connection
) -> None:
    job_id = await queued(store)
    claim = await claim_one(store)
    assert claim is not None
    await store.destroy(job_id)
    assert await store.purge(age=timedelta(seconds=-1)) == 0
    await store.give_back(claim, error=ERROR)
    assert await store.purge(age=timedelta(hours=1)) == 0
    assert await store.purge(age=timedelta(seconds=-1)) == 1
    assert await database.fetchval("SELECT count(*) FROM gateway.job") == 0


async def test_a_client_that_freezes_between_two_messages_keeps_nobody_from_reaping(
    store: JobStore, database: asyncpg.Connection
) -> None:  # F3
    """Until the driver sends the rest its session is active, and no time-out of PostgreSQL ends it."""
    job_id = await queued(store)
    assert await claim_one(store, lease=timedelta(0)) is not None
    with suppress(BackendUnavailableError):  # what the frozen process hears when it wakes up
        async with store._transaction() as frozen:
            assert await frozen.fetchval(UPKEEP_LOCK)
            await frozen.prepare("SELECT 1")  # sends "parse", as the first half of a statement
            assert await store.reap(lease=timedelta(0)) == ()
            assert await store.end_stalled() == 0  # it may still be coming
            deadline = time.monotonic() + 10
            while not await store.end_stalled():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
            while not (losses := await store.reap(lease=timedelta(0))):  # on a busy machine it is gone a little later
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            await frozen.fetchval("SELECT 2")
    assert [loss.job_id for loss in losses] == [job_id]


async def test_references_are_results_uploads_and_running_claims(store: JobStore) -> None:
    done = await queued(store)
    claim = await claim_one(store)
    assert claim is not None
    await store.end(claim, Phase.COMPLETED, results=[result(claim)])
    running = await queued(store)
    other = await claim_one(store)
    assert other is not None
    named = {f"{done}/1.1/result", f"{running}/1.1/anything"}
    unnamed = {
        f"{done}/1.1/.part-1",
        f"{done}/1.2/result",
        f"{running}/1.0/result",
        f"{running}/2.1/result",
        "unknown/1.1/result",
    }
    assert await store.referenced([*named, *unnamed]) == named


async def test_backlogs_count_what_waits_and_runs(store: JobStore) -> None:
    for _ in range(3):
        await queued(store)
    await claim_one(store)
    (backlog,) = await store.backlogs()
    assert (backlog.queue, backlog.waiting, backlog.running) == ("test", 2, 1)


# -- a database that drops connections -----------------------------------------------------------------------


async def test_a_session_ended_between_two_statements_is_told_as_an_absent_database(
    store: JobStore, database: asyncpg.Connection
) -> None:  # F8
    """Asyncpg has another error for each instant at which a session can end; all of them mean: try again."""
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gw:jobs' AND datname = current_database()"
    told = 0
    for _ in range(100):
        ending = asyncio.create_task(database.execute(end))
        try:
            for _ in range(4):
                await store.reap(lease=LEASE)
        except BackendUnavailableError:
            told += 1
        await ending
    assert told > 10


async def test_slots_of_callers_that_never_come_back_are_forgotten(
    store: JobStore, database: asyncpg.Connection
) -> None:  # R10
    await database.execute(
        "INSERT INTO gateway.slot VALUES ('gone', 1, 'x', clock_timestamp() - interval '2 h'), "
        "('here', 1, 'x', clock_timestamp() + interval '1 s')"
    )
    await store.purge(age=timedelta(hours=1))
    assert await database.fetchval("SELECT array_agg(caller) FROM gateway.slot") == ["here"]
