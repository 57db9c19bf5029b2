"""Notices that are owed: one row for each job whose end is to be told elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gateway.jobs.models import Job
from gateway.jobs.phases import FINAL
from gateway.jobs.store.pool import Pooled
from gateway.jobs.store.rows import to_job, words

OWE = "INSERT INTO gateway.notice (job_id) VALUES ($1) ON CONFLICT DO NOTHING"

# Whoever takes a notice has it until the next try: a process that dies over it, or a database that goes away before `SETTLE`,
# costs a second notice, never a lost one.
TAKE = """
UPDATE gateway.notice n SET tries = n.tries + 1, next_try = clock_timestamp() + $2::interval * power(4, n.tries)
FROM (SELECT d.job_id FROM gateway.notice d JOIN gateway.job j ON j.id = d.job_id
      WHERE d.next_try <= clock_timestamp() AND j.phase = ANY($1) AND j.destroyed IS NULL
      ORDER BY d.next_try LIMIT $3 FOR UPDATE OF d SKIP LOCKED) due, gateway.job j
WHERE n.job_id = due.job_id AND j.id = due.job_id
RETURNING n.tries, j.*
"""

SETTLE = "DELETE FROM gateway.notice WHERE job_id = $1"


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice to send now."""

    job: Job
    tries: int
    """With this one."""


class NoticeSide(Pooled):
    """What is owed to those who wait elsewhere."""

    async def owe_notice(self, job_id: str) -> None:
        """Remember that the end of a job is to be told."""
        async with self._connection() as connection:
            await connection.execute(OWE, job_id)

    async def take_notices(self, *, pause: timedelta, at_most: int) -> tuple[Notice, ...]:
        """Take notices of jobs that have ended; each comes again after ``pause``, and then after four times as long."""
        async with self._connection() as connection:
            rows = await connection.fetch(TAKE, words(FINAL), pause, at_most)
        return tuple(Notice(to_job(row), row["tries"]) for row in rows)

    async def settle_notice(self, job_id: str) -> None:
        """Forget a notice that was taken, or will be tried no more."""
        async with self._connection() as connection:
            await connection.execute(SETTLE, job_id)
