"""Jobs in PostgreSQL: each move one conditional UPDATE, each claim fenced by a token (reliability R1 to R6, R10)."""

from __future__ import annotations

from gateway.jobs.store.clients import LIST_LIMIT, ClientSide, Load, PendingJob
from gateway.jobs.store.notices import NoticeSide
from gateway.jobs.store.outlook import OutlookSide
from gateway.jobs.store.pool import CONNECTION_ERRORS, NAMES, connect
from gateway.jobs.store.statements import CLAIM_LOCK, HEARTBEAT, JOB_CHANNEL, UPKEEP_LOCK
from gateway.jobs.store.upkeep import BATCH, Backlog, UpkeepSide
from gateway.jobs.store.workers import MAX_ATTEMPTS, MAX_LOSSES, GivenBack, WorkerSide

__all__ = [
    "BATCH",
    "CLAIM_LOCK",
    "CONNECTION_ERRORS",
    "HEARTBEAT",
    "JOB_CHANNEL",
    "LIST_LIMIT",
    "MAX_ATTEMPTS",
    "MAX_LOSSES",
    "NAMES",
    "UPKEEP_LOCK",
    "Backlog",
    "GivenBack",
    "JobStore",
    "Load",
    "PendingJob",
    "connect",
]


class JobStore(ClientSide, OutlookSide, NoticeSide, WorkerSide, UpkeepSide):
    """Jobs and parts, and every move that they make."""
