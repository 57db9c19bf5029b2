"""What clients may do with jobs (UWS 1.1), and who may do it."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from gateway.errors import (
    AuthenticationError,
    AuthorizationError,
    GatewayError,
    IllegalMoveError,
    NotFoundError,
    OverloadedError,
    ParameterError,
    QuotaError,
    TransientError,
    UsageError,
)
from gateway.jobs.controls import ListFilter, parse_execution_duration, parse_instant, parse_phase, parse_wait
from gateway.jobs.files import remove_files
from gateway.jobs.models import ErrorSummary, ErrorType, Job, Plan, Requester, Upload
from gateway.jobs.outlook import Outlook
from gateway.jobs.phases import BLOCKING, Phase, sources
from gateway.jobs.queue import WakeUp
from gateway.jobs.signals import PhaseSignals
from gateway.jobs.store import JobStore
from gateway.jobs.watching import Watchers
from gateway.storage.fetching import parse_url
from gateway.storage.results import ResultStore, StoredObject, save_file
from gateway.vo.dali import ParamBag, UploadedPart

log = structlog.get_logger()

Validator = Callable[[Job], Awaitable[Plan]]
"""Checks at RUN that a job can be run, and tells how; raises a `GatewayError` that says what is wrong."""

CONTROL = frozenset({"PHASE", "ACTION", "WAIT"})
"""Names that steer UWS and are no parameters of the job."""

WEBHOOK = "WEBHOOK"
"""Job parameter with the URL that is told of its end; it means nothing where no secret is set."""

QUEUE_PATIENCE = timedelta(milliseconds=250)
"""How long RUN waits for the job to leave QUEUED: pyvo sleeps a whole second after each phase that is not final."""

SAFETY_POLL_S = 5.0
"""How often a waiter looks at its job unasked, in case that a signal was lost."""

MOST_WAITERS = 2_000
"""Clients that one process lets wait at once; a further one is answered at once, as if its time were over."""

CAP_RETRY_S = 30
"""Retry-After when a queue is full: about the time in which some of its jobs end."""

_SLUG = re.compile(r"[^A-Za-z0-9_-]+")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """What a job may ask for, and how many there may be; see `gateway.settings` for each."""

    execution_duration_default: timedelta
    execution_duration_hard: timedelta
    retention_default: timedelta
    retention_hard: timedelta
    queue_cap_per_owner: int
    queue_cap_total: int
    wait_cap: timedelta
    results_reserve_bytes: int
    has_webhooks: bool = False
    event_streams: int = 200
    event_streams_per_caller: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """What is particular to the jobs of one list."""

    validate: Validator
    repeatable: frozenset[str] = frozenset()
    """Parameters whose values accumulate; any other that comes again replaces what was there (TAP 1.1, "UPLOAD")."""


class JobService:
    """Create, steer, read and watch jobs.

    Every method takes the job list and the caller. A job of another list, a destroyed or an unknown one raises
    `NotFoundError`; the job of another account `AuthorizationError`, or `AuthenticationError` for an
    anonymous caller. An anonymous job is open to whoever knows its identifier, which cannot be guessed.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        results: ResultStore,
        wake_up: WakeUp,
        signals: PhaseSignals,
        lists: Mapping[str, JobList],
        limits: JobLimits,
    ) -> None:
        """Join the parts.

        Parameters
        ----------
        store, results, wake_up, signals
            Where jobs are, where their files are, who tells workers, who tells waiters.
        lists
            The job lists that exist.
        limits
            What is allowed.
        """
        self._store = store
        self._results = results
        self._wake_up = wake_up
        self._signals = signals
        self._lists = lists
        self._limits = limits
        self._outlook = Outlook(store)
        self._watchers = Watchers(
            signals, self._seen, most=limits.event_streams, most_per_caller=limits.event_streams_per_caller
        )

    # -- reading ------------------------------------------------------------------------------------------

    async def get(self, job_list: str, job_id: str, caller: Requester) -> Job:
        """Read a job."""
        job = await self._store.get(job_id)
        if job.job_list != job_list:
            raise NotFoundError(f"There is no job {job_id[:64]!r} here")
        _check_owner(job, caller)
        return job

    async def look(self, job_list: str, job_id: str, caller: Requester) -> Job:
        """Read a job with what is known of its future: its quote and its place in the queue."""
        return await self._outlook.add_to(await self.get(job_list, job_id, caller))

    async def find(self, job_id: str, caller: Requester) -> Job:
        """Read a job, whichever list it is in."""
        job = await self._store.get(job_id)
        _check_owner(job, caller)
        return job

    async def list(self, job_list: str, caller: Requester, bag: ParamBag) -> tuple[Job, ...]:
        """Read the caller's own jobs that pass the filters PHASE, AFTER and LAST, newest first.

        Whether anonymous callers are shown a list at all is for the router to say.
        """
        wanted = ListFilter.from_params(bag)
        return await self._store.list(
            job_list, caller.key, caller.account, phases=wanted.phases, after=wanted.after, last=wanted.last
        )

    async def open_stored(self, key: str) -> StoredObject:
        """Open a result or an upload that a job names."""
        return await self._results.open(key)

    async def sign_stored(self, key: str, *, media_type: str, disposition: str) -> str | None:
        """URL of the store itself for a result that a job names; ``None``: its bytes go through us."""
        return await self._results.sign(key, media_type=media_type, disposition=disposition)

    # -- creating and changing ----------------------------------------------------------------------------

    async def create(self, job_list: str, bag: ParamBag, caller: Requester, *, run: bool = False) -> Job:
        """Create a PENDING job; what its parameters say is looked at when it runs (TAP-22, TAP-23).

        Parameters
        ----------
        job_list, bag, caller
            What kind of job, its parameters and files, and whose it is.
        run
            Run it at once. One that cannot be queued now is not created: nobody would know its name.

        Raises
        ------
        QuotaError
            The caller, or everybody, has too many jobs that wait.
        ParameterError
            A value holds characters that no text can have.
        """
        known = self._known(job_list)
        await self._check_space()
        parameters = merge((), bag, known.repeatable)
        self._check_webhook(bag)
        job_id = secrets.token_urlsafe(18)
        try:
            job = await self._store.create(
                job_id,
                job_list=job_list,
                owner=caller.key,
                account=caller.account,
                base_url=caller.base_url,
                run_id=_run_id(parameters),
                retention=self._limits.retention_default,
                execution_duration=self._limits.execution_duration_default,
                parameters=parameters,
                uploads=await self._save(job_id, bag.parts),
                admit=lambda load: self._check_caps(load.pending + load.queued, load.total),
            )
        except BaseException:
            await remove_files(self._results, f"{job_id}/")
            raise
        await self._owe_notice(job)
        return await self._run_new(job, caller) if run else job

    async def _run_new(self, job: Job, caller: Requester) -> Job:
        try:
            return await self.run(job.job_list, job.job_id, caller)
        except GatewayError:
            with suppress(GatewayError):  # a job that stays goes at its destruction
                await self.delete(job.job_list, job.job_id, caller)
            raise

    async def set_parameters(self, job_list: str, job_id: str, caller: Requester, bag: ParamBag) -> Job:
        """Add to the parameters of a PENDING job; single-valued ones replace their earlier values."""
        job = await self.get(job_list, job_id, caller)
        if job.phase is not Phase.PENDING:  # before the files are stored; looked at again under the lock
            raise IllegalMoveError(f"Parameters can be set while a job is PENDING only; this one is {job.phase}")
        self._check_webhook(bag)
        files = await self._save(job_id, bag.parts)
        async with self._store.pending(job_id) as pending:
            names = {file.name for file in files}
            uploads = tuple(file for file in pending.job.uploads if file.name not in names) + files
            parameters = merge(pending.job.parameters, bag, self._known(job_list).repeatable)
            await pending.set_parameters(parameters, uploads, _run_id(parameters))
        job = await self._store.get(job_id)
        await self._owe_notice(job)
        return job

    def _check_webhook(self, bag: ParamBag) -> None:
        """Refuse at once what could never be told: after the job has ended nobody would hear of it."""
        for url in bag.all(WEBHOOK) if self._limits.has_webhooks else ():
            try:
                parse_url(url)
            except UsageError as e:
                raise ParameterError(WEBHOOK, url, e.message) from e

    async def _owe_notice(self, job: Job) -> None:
        if self._limits.has_webhooks and job.bag.all(WEBHOOK):
            await self._store.owe_notice(job.job_id)

    async def set_destruction(self, job_list: str, job_id: str, caller: Requester, text: str) -> Job:
        """Set when the job goes; later than allowed is cut to what is (UWS-14)."""
        instant = parse_instant("DESTRUCTION", text)
        await self.get(job_list, job_id, caller)
        await self._store.set_destruction(job_id, instant, at_most=self._limits.retention_hard)
        return await self._store.get(job_id)

    async def set_execution_duration(self, job_list: str, job_id: str, caller: Requester, text: str) -> Job:
        """Set how long the job may run; more than allowed is cut to what is (UWS-15)."""
        duration = parse_execution_duration(text, at_most=self._limits.execution_duration_hard)
        await self.get(job_list, job_id, caller)
        is_set = await self._store.set_execution_duration(job_id, duration)
        job = await self._store.get(job_id)
        if not is_set:
            raise IllegalMoveError(f"The time limit can be set before a job runs; this one is {job.phase}")
        return job

    # -- phases -------------------------------------------------------------------------------------------

    async def run(self, job_list: str, job_id: str, caller: Requester) -> Job:
        """Queue a job, or move it to ERROR at once if it cannot be run; give it up to 250 ms to start.

        Raises
        ------
        IllegalMoveError
            It was run already.
        QuotaError
            The queue is full; the job stays PENDING.
        TransientError
            It cannot be checked now; the job stays PENDING.
        """
        job = await self.get(job_list, job_id, caller)
        if job.phase not in sources(Phase.QUEUED):
            raise _illegal("run", job)
        await self._check_space()
        try:
            plan = await self._known(job_list).validate(job)
        except (TransientError, QuotaError):
            raise
        except GatewayError as e:
            return await self._refuse(job, e)
        is_queued = await self._store.enqueue(
            job_id,
            plan.queue,
            parts=plan.parts,
            owner=job.owner,
            admit=lambda load: self._check_caps(load.queued, load.total),
        )
        if not is_queued:
            raise _illegal("run", await self._store.get(job_id))
        log.info("Job queued", job_id=job_id, job_list=job_list, owner=job.owner, queue=plan.queue, parts=plan.parts)
        await self._wake_up.wake(plan.queue)
        return await self.wait_left_queue(job_id)

    async def abort(self, job_list: str, job_id: str, caller: Requester) -> Job:
        """End a job that has not ended; what runs for it is killed within seconds."""
        job = await self.get(job_list, job_id, caller)
        if not await self._store.abort(job_id):
            raise _illegal("abort", await self._store.get(job_id))
        log.info("Job aborted", job_id=job_id, phase=job.phase)
        return await self._store.get(job_id)

    async def delete(self, job_list: str, job_id: str, caller: Requester) -> None:
        """End a job and forget it with all its files."""
        await self.get(job_list, job_id, caller)
        if not await self._store.destroy(job_id):
            raise NotFoundError(f"There is no job {job_id[:64]!r} here")
        log.info("Job deleted", job_id=job_id)
        await remove_files(self._results, f"{job_id}/")

    async def _refuse(self, job: Job, error: GatewayError) -> Job:
        if not await self._store.refuse(job.job_id, ErrorSummary(error.message, ErrorType.FATAL)):
            raise _illegal("run", await self._store.get(job.job_id))
        log.info("Job refused", job_id=job.job_id, reason=error.message)
        return await self._store.get(job.job_id)

    # -- waiting ------------------------------------------------------------------------------------------

    async def wait(
        self, job_list: str, job_id: str, caller: Requester, wait: str | float, phase: str | None = None
    ) -> Job:
        """Read a job when its phase has changed or the time is over (UWS 1.1, "Blocking").

        Parameters
        ----------
        job_list, job_id, caller
            Which job, and who asks.
        wait
            Seconds as sent; negative: as long as the service allows.
        phase
            Answer at once if the phase is another one.
        """
        seconds = parse_wait(str(wait), at_most=self._limits.wait_cap)
        expected = None if phase is None else parse_phase(phase)
        job = await self.get(job_list, job_id, caller)
        is_held = job.phase in BLOCKING and (expected is None or job.phase is expected)
        if is_held and self._signals.waiting < MOST_WAITERS:
            job = await self._leave({job.phase}, job_id, seconds)
        return await self._outlook.add_to(job)

    def watch(self, job_id: str, caller: Requester) -> AsyncGenerator[Job | None, None]:
        """Give a job now and whenever something of it changes, until it has ended; ``None`` when nothing has for a while.

        Whose job it is was found out before, by `find`.
        """
        return self._watchers.follow(job_id, caller.key)

    async def _seen(self, job_id: str) -> Job:
        return await self._outlook.add_to(await self._store.get(job_id))

    def stop_waiting(self) -> None:
        """Answer all who wait for a job, or watch one, as if their time were over: this process is about to stop."""
        self._signals.stop_waiting()

    async def wait_left_queue(self, job_id: str, seconds: float = QUEUE_PATIENCE.total_seconds()) -> Job:
        """Read a job when it is no longer PENDING or QUEUED, or the time is over."""
        return await self._leave({Phase.PENDING, Phase.QUEUED}, job_id, seconds)

    async def _leave(self, phases: Collection[Phase], job_id: str, seconds: float) -> Job:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        with self._signals.watch(job_id) as changed:
            # Read after watching: what changes from now on is told.
            job = await self._store.get(job_id)
            while job.phase in phases and (left := until - loop.time()) > 0 and not self._signals.is_stopping:
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), min(left, SAFETY_POLL_S))
                changed.clear()
                job = await self._store.get(job_id)
        return job

    # -- limits -------------------------------------------------------------------------------------------

    def _known(self, job_list: str) -> JobList:
        try:
            return self._lists[job_list]
        except KeyError:
            raise NotFoundError(f"There is no job list {job_list!r} here") from None

    def _check_caps(self, own: int, total: int) -> None:
        if own >= self._limits.queue_cap_per_owner:
            raise QuotaError(
                f"{own} of your jobs wait already, and no more than {self._limits.queue_cap_per_owner} may "
                "(queue_cap_per_owner); delete some or let them end",
                retry_after_s=CAP_RETRY_S,
            )
        if total >= self._limits.queue_cap_total:
            raise QuotaError(
                f"The queue is full: {total} jobs wait (queue_cap_total); try again later", retry_after_s=CAP_RETRY_S
            )

    async def _check_space(self) -> None:
        free = await self._results.free_bytes()
        if free is not None and free < self._limits.results_reserve_bytes:
            raise OverloadedError(
                "The result store is nearly full (results_reserve_bytes), no new jobs are taken; try again later",
                retry_after_s=60,
            )

    async def _save(self, job_id: str, parts: Collection[UploadedPart]) -> tuple[Upload, ...]:
        return tuple([await self._save_one(job_id, part) for part in parts])

    async def _save_one(self, job_id: str, part: UploadedPart) -> Upload:
        # Names come from strangers and may differ in case only; a file that replaces another never overwrites it.
        name = f"{secrets.token_hex(4)}-{_SLUG.sub('_', part.name)[:64]}"
        key = f"{job_id}/uploads/{name}"
        return Upload(_storable("UPLOAD", part.name), key, (await save_file(self._results, key, part.path)).size)


def merge(
    parameters: tuple[tuple[str, str], ...], bag: ParamBag, repeatable: frozenset[str] = frozenset()
) -> tuple[tuple[str, str], ...]:
    """Put new parameters over earlier ones, in the order in which they came.

    A name that is sent twice at once keeps both values: it is for the job's own check to refuse that (DALI-31).
    """
    new = tuple((_storable(name, name), _storable(name, value)) for name, value in bag.items if name not in CONTROL)
    replaced = {name for name, _ in new} - repeatable
    return tuple(pair for pair in parameters if pair[0] not in replaced) + new


def _storable(name: str, text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ParameterError(
            _UNSTORABLE.sub("?", name), _UNSTORABLE.sub("?", text), "holds a NUL or half a character; remove it"
        )
    return text


def _run_id(parameters: tuple[tuple[str, str], ...]) -> str | None:
    values = [value for name, value in parameters if name == "RUNID"]
    return values[-1] if values else None


def _check_owner(job: Job, caller: Requester) -> None:
    if job.account is None or job.account == caller.account:
        return
    if caller.account is None:
        raise AuthenticationError("This job belongs to an account; log in")
    raise AuthorizationError("This job belongs to another account")


def _illegal(verb: str, job: Job) -> IllegalMoveError:
    return IllegalMoveError(f"Cannot {verb} this job: it is {job.phase}")
