"""Values of the job engine: what a job is, what a worker holds, what it left. All frozen, all free of the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from gateway.jobs.phases import Phase
from gateway.vo.dali import ParamBag


class Requester(Protocol):
    """Who asks, as far as jobs care; ``services.access.Caller`` is one."""

    @property
    def key(self) -> str:
        """Whose allowance the job uses: the account, else the client's address."""
        ...

    @property
    def account(self) -> str | None:
        """Account of a caller who has proved it; ``None``: anonymous."""
        ...

    @property
    def base_url(self) -> str:
        """URL under which the caller sees the gateway; links in results begin with it."""
        ...


class ErrorType(StrEnum):
    """Whether trying a job again may help (UWS 1.1, "Error")."""

    TRANSIENT = "transient"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Why a job failed, in words for the one who made it."""

    message: str
    type: ErrorType
    has_detail: bool = True
    """Whether ``/error`` has a document; ours always has one."""


@dataclass(frozen=True, slots=True)
class Upload:
    """File that came with a job: name of the part, key in the result store, bytes."""

    name: str
    key: str
    size: int

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Upload:
        """Read what `to_json` wrote."""
        return cls(record["name"], record["key"], record["size"])

    def to_json(self) -> dict[str, Any]:
        """Spell it for the database and for children."""
        return {"name": self.name, "key": self.key, "size": self.size}


@dataclass(frozen=True, slots=True)
class Result:
    """What a job left: an object in the result store.

    ``rows`` is ``None`` where a result has none; ``is_overflow`` tells that rows were cut at MAXREC; ``sidecar`` is the key
    of the same rows as `services.sidecars` writes them, ``None`` where there are none; ``sha256`` is the digest of the object,
    64 hexadecimal digits, ``None`` in rows of older versions.
    """

    result_id: str
    key: str
    size: int
    media_type: str
    rows: int | None = None
    is_overflow: bool = False
    sidecar: str | None = None
    sha256: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """All objects that belong to it."""
        return (self.key,) if self.sidecar is None else (self.key, self.sidecar)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Result:
        """Read what `to_json` wrote, maybe in a newer version that knows more."""
        return cls(
            result_id=record["id"],
            key=record["key"],
            size=record["size"],
            media_type=record["media_type"],
            rows=record["rows"],
            is_overflow=record["overflow"],
            sidecar=record.get("sidecar"),  # rows of older versions have none
            sha256=record.get("sha256"),
        )

    def to_json(self) -> dict[str, Any]:
        """Spell it for the database and for the worker."""
        return {
            "id": self.result_id,
            "key": self.key,
            "size": self.size,
            "media_type": self.media_type,
            "rows": self.rows,
            "overflow": self.is_overflow,
            "sidecar": self.sidecar,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A UWS job at one instant."""

    job_id: str
    job_list: str
    owner: str
    """Key of its creator: whose slots and whose queue it uses."""
    account: str | None
    """Account of its creator; ``None``: anonymous, open to whoever knows its identifier."""
    base_url: str = ""
    """URL under which its creator saw the gateway; links in results begin with it."""
    run_id: str | None
    phase: Phase
    creation_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None
    destruction: datetime
    execution_duration: timedelta | None
    """Allowed wall-clock time; ``None``: unlimited."""
    quote: datetime | None = None
    """Predicted end; ``None``: unknown, or nobody has looked."""
    parameters: tuple[tuple[str, str], ...] = ()
    uploads: tuple[Upload, ...] = ()
    results: tuple[Result, ...] = ()
    error: ErrorSummary | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    """What a running job has told, for example ``rows`` written so far; empty in lists."""
    attempts: int = 0
    """How often it was begun; of several parts, the one that was begun most often."""
    queue_position: int | None = None
    """Place among all that wait, 1 for the next; ``None``: it does not wait, or nobody has looked."""

    @property
    def bag(self) -> ParamBag:
        """Parameters as a request's bag; files are listed in `uploads`."""
        return ParamBag(self.parameters)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a job is going to be run."""

    queue: str
    """Where its parts wait; see `gateway.jobs.routing`."""
    parts: int = 1


class RunState(StrEnum):
    """Where a part stands between workers; never shown to clients."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


class AttemptEnding(StrEnum):
    """How an attempt at a part ended; the trigger ``keep_history`` tells it from the row."""

    COMPLETED = "completed"
    FAILED = "failed"
    """Its job got an error, or ran into its time limit."""
    CANCELLED = "cancelled"
    """Its job was aborted, deleted, or ended by another part."""
    DIED = "died"
    """Its child process died."""
    LOST = "lost"
    """Its worker was silent for longer than the lease."""
    RELEASED = "released"
    """Its worker stopped and gave it back."""
    MOVED = "moved"
    """It ran for longer than its queue allows, and waits in another one."""
    RETURNED = "returned"
    """It was given back for no reason that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One claim on a part: who ran it, when, and how that ended."""

    token: int
    worker: str
    started: datetime | None
    """``None``: a worker of an older version claimed it."""
    ended: datetime | None
    """``None``: it goes on."""
    ending: AttemptEnding | None
    reason: str | None
    """Why, as the worker told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Unit of work of a job."""

    part_id: int
    number: int
    """Place among the parts of its job, from 1."""
    job_id: str
    queue: str
    run_state: RunState
    token: int
    """Number that fences claims: it grows with every claim and every loss."""
    attempts: int
    """Deaths of the child process while its worker lived."""
    losses: int
    """Leases that ran out, and releases by workers that stopped."""
    worker: str | None
    cancel_requested: bool
    result_token: int | None
    results: tuple[Result, ...]
    history: tuple[Attempt, ...] = ()
    """Its attempts, in their order; the last one may go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker's hold on a part, with all that is needed to run it."""

    part_id: int
    number: int
    """Place of the part in its job, from 1."""
    token: int
    job_id: str
    job_list: str
    queue: str
    owner: str
    account: str | None
    base_url: str = ""
    execution_duration: timedelta | None
    parameters: tuple[tuple[str, str], ...]
    uploads: tuple[Upload, ...]

    @property
    def hold(self) -> tuple[int, int]:
        """Which hold on which part: a worker that lost a part may hold it again beside its old claim."""
        return self.part_id, self.token

    def to_json(self) -> dict[str, Any]:
        """Spell what the child needs of it; ``tasks.Work`` reads it."""
        limit = self.execution_duration
        return {
            "job_id": self.job_id,
            "job_list": self.job_list,
            "number": self.number,
            "token": self.token,
            "owner": self.owner,
            "account": self.account,
            "base_url": self.base_url,
            "time_limit_s": None if limit is None else limit.total_seconds(),
            "parameters": self.parameters,
            "uploads": [upload.to_json() for upload in self.uploads],
        }

    @property
    def label(self) -> str:
        """Name of its database sessions (``application_name``), by which others can end them."""
        return session_label(self.job_id, self.number, self.token)

    @property
    def prefix(self) -> str:
        """Where its results go."""
        return result_prefix(self.job_id, self.number, self.token)


@dataclass(frozen=True, slots=True)
class Loss:
    """A claim that the reaper took back: what the lost worker may have left behind."""

    job_id: str
    queue: str
    number: int
    """Place of the part in its job."""
    token: int
    """Token of the lost claim."""


def session_label(job_id: str, number: int, token: int) -> str:
    """Name of the database sessions of one claim; below the 63 bytes that PostgreSQL keeps."""
    return f"gw:{job_id}:{number}.{token}"


def result_prefix(job_id: str, number: int, token: int) -> str:
    """Key prefix of what one claim of one part writes (reliability R4)."""
    return f"{job_id}/{number}.{token}/"
