"""What can be said about jobs that have not ended: their place in the queue, and how long others took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway.jobs.store.pool import Pooled

# As ``gateway.claim_parts`` goes on if nothing ends meanwhile: the owner with the fewest running parts first, then the one who was
# served longest ago. Before my part, which is claimed when as many of mine run as run now and wait before it, another owner gets
# so many more as fewer of theirs run (`lag`). At the tie that follows, who began with fewer was served last.
PLACE = """
WITH part AS (
    SELECT id, queue, owner, queued FROM gateway.job_part
    WHERE job_id = $1 AND run_state <> 'done' ORDER BY run_state = 'waiting' DESC, number LIMIT 1),
own AS (
    SELECT count(*) AS n FROM part JOIN gateway.job_part p
      ON p.queue = part.queue AND p.owner = part.owner AND p.run_state = 'waiting' AND (p.queued, p.id) < (part.queued, part.id)),
others AS (
    SELECT t.queue, t.owner, my.running + own.n - t.running AS lag,
           (-t.running, t.served, t.oldest) < (-my.running, my.served, my.oldest) AS is_first
    FROM part CROSS JOIN own
    JOIN gateway.job_turn my ON my.queue = part.queue AND my.owner = part.owner
    JOIN gateway.job_turn t ON t.queue = part.queue AND t.owner <> part.owner AND t.oldest IS NOT NULL
    WHERE my.running + own.n >= t.running),
theirs AS (
    SELECT coalesce(sum(w.n), 0)::bigint AS n
    FROM others o CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM (
            SELECT FROM gateway.job_part p WHERE p.queue = o.queue AND p.owner = o.owner AND p.run_state = 'waiting'
            LIMIT o.lag + o.is_first::integer) first) w)
SELECT part.queue, clock_timestamp() AS now, own.n + theirs.n AS ahead,
       (SELECT coalesce(sum(running), 0) FROM gateway.job_turn t WHERE t.queue = part.queue) AS running
FROM part, own, theirs
"""

# The newest parts that ended well, without an index of their own: they lie at the end of the primary key, and the bound keeps
# a queue that is never used from being looked for in the whole table.
RUN_TIMES = """
SELECT avg(seconds)::double precision AS mean_s, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median_s
FROM (
    SELECT extract(epoch FROM ended - started)::double precision AS seconds FROM gateway.job_part
    WHERE queue = $1 AND result_token IS NOT NULL AND id > (SELECT max(id) FROM gateway.job_part) - 20000
    ORDER BY id DESC LIMIT 50) recent
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands in its queue."""

    queue: str
    now: datetime
    """When this was so, by the clock of the database."""
    ahead: int
    """Parts that will be claimed before the first of the job's that wait."""
    running: int
    """Parts of the queue that run: about as many as there are slots, if others wait."""


@dataclass(frozen=True, slots=True)
class RunTimes:
    """How long the parts took that ended well of late, seconds."""

    mean_s: float
    """By this a queue becomes shorter."""
    median_s: float
    """So long takes one that nothing is known of."""


class OutlookSide(Pooled):
    """Looks ahead."""

    async def place(self, job_id: str) -> Place | None:
        """Find a job's place; ``None`` if no part of it waits or runs."""
        async with self._connection() as connection:
            row = await connection.fetchrow(PLACE, job_id)
        return None if row is None else Place(row["queue"], row["now"], row["ahead"], row["running"])

    async def run_times(self, queue: str) -> RunTimes | None:
        """Tell how long parts of a queue took of late; ``None`` if none has ended well."""
        async with self._connection() as connection:
            row = await connection.fetchrow(RUN_TIMES, queue)
        return None if row["mean_s"] is None else RunTimes(row["mean_s"], row["median_s"])
