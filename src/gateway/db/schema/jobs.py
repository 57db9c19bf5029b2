"""Jobs and their parts: the only truth about work (reliability R1).

``job`` is what UWS shows. ``job_part`` is what workers claim. ``job_turn`` says whose turn it is: one row per
queue and owner, kept by a trigger on ``job_part`` in the transaction of each change, so that a claim reads one index
entry and counts nothing (counting the running parts of every waiting owner took 6 to 12 ms with 10,000 waiting).
``slot`` is what callers hold while they are served (reliability R10).
The triggers ``announce_phase``, ``keep_turn`` and ``keep_history``, and ``claim_parts``, by which workers claim, stand in the
migrations.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from gateway.db.schema.base import CONTROL

_NOW = func.clock_timestamp()


def _instant(name: str, *, default: bool = False, required: bool = False) -> Column[object]:
    return Column(
        name, DateTime(timezone=True), nullable=not (required or default), server_default=_NOW if default else None
    )


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _list(name: str) -> Column[object]:
    return Column(name, JSONB, nullable=False, server_default=text("'[]'::jsonb"))


def _check(name: str, condition: str) -> CheckConstraint:
    return CheckConstraint(condition, name=name)


def _not_negative(*names: str) -> Iterator[CheckConstraint]:
    return (_check(name, f"{name} >= 0") for name in names)


def _arrays(*names: str) -> Iterator[CheckConstraint]:
    return (_check(name, f"jsonb_typeof({name}) = 'array'") for name in names)


job = Table(
    "job",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("job_list", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("account", Text),
    # Under which URL its creator saw the gateway: links in its results begin with it.
    Column("base_url", Text, nullable=False, server_default=""),
    Column("run_id", Text),
    Column("phase", Text, nullable=False, server_default="PENDING"),
    _instant("created", default=True),
    _instant("started"),
    _instant("ended"),
    _instant("destruction", required=True),
    # Whole seconds as on the wire, where 0 is "unlimited" and not "no time" (UWS 1.1, "Execution Duration").
    Column("execution_duration", BigInteger, nullable=False),
    # Ordered pairs [name, value]; names repeat.
    _list("parameters"),
    _list("uploads"),
    Column("error_message", Text),
    Column("error_type", Text),
    # Parts that have not ended. The one that brings it to 0 ends the job, however many end at once.
    _count("open_parts"),
    # Set when the job is deleted or its destruction has come: gone for everyone but the sweeper.
    _instant("destroyed"),
    _check("id", "id ~ '^[A-Za-z0-9_-]{22,43}$'"),
    _check("phase", "phase IN ('PENDING', 'QUEUED', 'EXECUTING', 'COMPLETED', 'ERROR', 'ABORTED', 'HELD', 'ARCHIVED')"),
    _check("ended_if_final", "(phase IN ('COMPLETED', 'ERROR', 'ABORTED', 'ARCHIVED')) = (ended IS NOT NULL)"),
    _check("error_type", "error_type IN ('transient', 'fatal')"),
    _check("error_if_failed", "phase <> 'ERROR' OR (error_message IS NOT NULL AND error_type IS NOT NULL)"),
    *_not_negative("execution_duration", "open_parts"),
    *_arrays("parameters", "uploads"),
)

Index(
    "ix_job_list",
    job.c.job_list,
    job.c.owner,
    job.c.created.desc(),
    job.c.id,
    postgresql_where=job.c.destroyed.is_(None),
)
Index("ix_job_destruction", job.c.destruction, postgresql_where=job.c.destroyed.is_(None))
Index("ix_job_destroyed", job.c.destroyed, postgresql_where=job.c.destroyed.is_not(None))
Index(
    "ix_job_unstarted",
    job.c.phase,
    job.c.owner,
    postgresql_where=text("phase IN ('PENDING', 'QUEUED') AND destroyed IS NULL"),
)

job_part = Table(
    "job_part",
    CONTROL,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job_id", Text, ForeignKey(job.c.id, ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("queue", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("run_state", Text, nullable=False, server_default="waiting"),
    _instant("queued", default=True),
    _instant("started"),
    _instant("ended"),
    _count("token"),
    _count("attempts"),
    _count("losses"),
    _instant("lease_until"),
    Column("worker", Text),
    Column("cancel_requested", Boolean, nullable=False, server_default="false"),
    Column("result_token", Integer),
    _list("results"),
    Column("progress", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # One object for each attempt that has ended: who, when and how. The trigger keep_history writes it.
    _list("history"),
    # When the present, or last, attempt began, and why it ended as its worker tells.
    _instant("claimed"),
    Column("reason", Text),
    UniqueConstraint("job_id", "number"),
    _check("number", "number >= 1"),
    _check("run_state", "run_state IN ('waiting', 'running', 'done')"),
    _check("lease_if_running", "(run_state = 'running') = (lease_until IS NOT NULL)"),
    _check("worker_if_running", "(run_state = 'running') = (worker IS NOT NULL)"),
    # A result belongs to the token under which it was written, and the row keeps that token.
    _check("result_token", "result_token IS NULL OR (run_state = 'done' AND result_token = token)"),
    *_not_negative("token", "attempts", "losses"),
    *_arrays("results", "history"),
)

Index(
    "ix_job_part_waiting",
    job_part.c.queue,
    job_part.c.owner,
    job_part.c.queued,
    job_part.c.id,
    postgresql_where=text("run_state = 'waiting'"),
)
Index("ix_job_part_lease", job_part.c.lease_until, postgresql_where=text("run_state = 'running'"))

job_turn = Table(
    "job_turn",
    CONTROL,
    Column("queue", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    _count("running"),
    # When a part of this owner was last claimed: whoever was served longest ago comes next.
    Column("served", DateTime(timezone=True), nullable=False, server_default=text("'-infinity'")),
    # When the longest waiting part of this owner came; null: none waits.
    _instant("oldest"),
    *_not_negative("running"),
)

Index(
    "ix_job_turn_next",
    job_turn.c.queue,
    job_turn.c.running,
    job_turn.c.served,
    job_turn.c.oldest,
    postgresql_where=job_turn.c.oldest.is_not(None),
)

# Places that a caller holds. Its number makes a place unique, so that no two holders can have the same one.
slot = Table(
    "slot",
    CONTROL,
    Column("caller", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("holder", Text, nullable=False),
    _instant("lease_until", required=True),
    _check("number", "number >= 1"),
    prefixes=["UNLOGGED"],  # a crash frees all, and so does the end of whoever held them
)

# Jobs whose end is still to be told to the URL of their parameter WEBHOOK.
notice = Table(
    "notice",
    CONTROL,
    Column("job_id", Text, ForeignKey(job.c.id, ondelete="CASCADE"), primary_key=True),
    _count("tries"),
    _instant("next_try", default=True),
    *_not_negative("tries"),
)
