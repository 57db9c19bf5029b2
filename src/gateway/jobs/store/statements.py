"""Statements of the job store, as text: each of them was argued about word by word.

Locks are always taken in the order job, part, turn; claim and reaper skip what is locked. All times are the database's.
"""

from __future__ import annotations

JOB_CHANNEL = "gateway_job"
"""Channel of NOTIFY; the payload is the identifier of a job whose phase has changed.

A trigger sends it in the transaction of the change, whoever makes the change; but claims and ends set ``gateway.announce``
to ``later`` there, and the store sends `ANNOUNCE` after them, many at once. PostgreSQL commits one transaction with a NOTIFY
at a time.
"""

ANNOUNCE = f"SELECT pg_notify('{JOB_CHANNEL}', id) FROM unnest($1::text[]) AS id"

# One clock for both instants: the latest destruction that may be set is counted from the creation.
CREATE = """
INSERT INTO gateway.job
    (id, job_list, owner, account, base_url, run_id, created, destruction, execution_duration, parameters, uploads)
VALUES ($1, $2, $3, $4, $5, $6, statement_timestamp(), statement_timestamp() + $7::interval, $8, $9, $10)
RETURNING *
"""

# A job's results are those of parts that ended well, in the order of the parts.
READ = """
SELECT j.*, p.parts, p.parts_done, p.attempts, p.progress, p.results
FROM gateway.job j
CROSS JOIN LATERAL (
    SELECT count(*) AS parts, count(*) FILTER (WHERE run_state = 'done') AS parts_done,
           max(jsonb_array_length(history) + (run_state = 'running')::integer) AS attempts,
           jsonb_agg(progress) FILTER (WHERE number = 1) -> 0 AS progress,
           jsonb_agg(results ORDER BY number) FILTER (WHERE result_token IS NOT NULL) AS results
    FROM gateway.job_part WHERE job_id = j.id
) p
WHERE j.id = $1 AND j.destroyed IS NULL
"""

LIST = """
SELECT * FROM gateway.job
WHERE job_list = $1 AND owner = $2 AND account IS NOT DISTINCT FROM $3 AND destroyed IS NULL
  AND phase = ANY($4) AND ($5::timestamptz IS NULL OR created > $5)
ORDER BY created DESC, id LIMIT $6
"""

# A PENDING job counts for an hour: abandoned ones must not lock their owner out for the two weeks they are kept.
LOAD = """
SELECT (SELECT count(*) FROM gateway.job WHERE phase = 'PENDING' AND owner = $1 AND destroyed IS NULL
          AND created > clock_timestamp() - interval '1 hour') AS pending,
       (SELECT count(*) FROM gateway.job WHERE phase = 'QUEUED' AND owner = $1 AND destroyed IS NULL) AS queued,
       (SELECT count(*) FROM gateway.job WHERE phase = 'QUEUED' AND destroyed IS NULL) AS total
"""

ADMIT_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('gateway.admit.' || $1, 0))"

LOCK_PENDING = "SELECT * FROM gateway.job WHERE id = $1 AND destroyed IS NULL FOR UPDATE"

SET_PARAMETERS = """
UPDATE gateway.job SET parameters = $2, uploads = $3, run_id = $4 WHERE id = $1 AND phase = 'PENDING'
"""

SET_DESTRUCTION = """
UPDATE gateway.job SET destruction = least($2, created + $3::interval) WHERE id = $1 AND destroyed IS NULL RETURNING id
"""

SET_EXECUTION_DURATION = """
UPDATE gateway.job SET execution_duration = $2
WHERE id = $1 AND phase IN ('PENDING', 'HELD', 'QUEUED') AND destroyed IS NULL RETURNING id
"""

REFUSE = """
UPDATE gateway.job SET phase = 'ERROR', ended = clock_timestamp(), error_message = $2, error_type = $3
WHERE id = $1 AND phase IN ('PENDING', 'HELD') AND destroyed IS NULL RETURNING id
"""

ENQUEUE = """
WITH moved AS (
    UPDATE gateway.job SET phase = 'QUEUED', open_parts = $3
    WHERE id = $1 AND phase = ANY($4) AND destroyed IS NULL RETURNING id, owner)
INSERT INTO gateway.job_part (job_id, number, queue, owner)
SELECT moved.id, n, $2, moved.owner FROM moved, generate_series(1, $3) AS n
RETURNING id
"""

ABORT = """
UPDATE gateway.job SET phase = 'ABORTED', ended = clock_timestamp()
WHERE id = $1 AND phase = ANY($2) AND destroyed IS NULL RETURNING id
"""

DESTROY = """
UPDATE gateway.job SET destroyed = clock_timestamp(), ended = coalesce(ended, clock_timestamp()),
       phase = CASE WHEN phase = ANY($2) THEN phase ELSE 'ABORTED' END
WHERE id = ANY($1) AND destroyed IS NULL RETURNING id
"""

# A waiting part is over at once; a running one when its worker has killed it, or its lease has run out.
CANCEL_PARTS = """
UPDATE gateway.job_part SET cancel_requested = (run_state = 'running'),
       ended = CASE run_state WHEN 'waiting' THEN clock_timestamp() END,
       run_state = CASE run_state WHEN 'waiting' THEN 'done' ELSE run_state END
WHERE job_id = ANY($1) AND run_state <> 'done'
"""

CLAIM_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('gateway.claim.' || $1, 0))"

# A claim locks the turns of several owners in their order, the reaper and the sweeper in another: one waits for the other.
CLAIM_LOCKS = """
SELECT count(*) FROM (
    SELECT pg_advisory_xact_lock(hashtextextended('gateway.claim.' || queue, 0))
    FROM (SELECT DISTINCT queue FROM gateway.job_turn ORDER BY queue) queues) locked
"""

# The function takes the lock of the queue, then chooses a part, looks again and so on: one round trip, and one commit.
CLAIM = "SELECT * FROM gateway.claim_parts($1, $2, $3, $4, $5)"

HEARTBEAT = """
UPDATE gateway.job_part p SET lease_until = clock_timestamp() + $4::interval, progress = c.progress::jsonb
FROM unnest($1::bigint[], $2::integer[], $3::text[]) AS c (id, token, progress)
WHERE p.id = c.id AND p.token = c.token AND p.run_state = 'running' AND NOT p.cancel_requested
RETURNING p.id, p.token
"""

# The last part that ends well completes the job; any other ending is at once the job's.
END = """
WITH held AS (
    SELECT id FROM gateway.job, set_config('gateway.announce', 'later', true) WHERE id = $1 FOR UPDATE OF job),
part AS (
    UPDATE gateway.job_part p SET run_state = 'done', ended = clock_timestamp(), lease_until = NULL, worker = NULL,
           results = $5, result_token = CASE WHEN $4 = 'COMPLETED' THEN p.token END, reason = $6
    FROM held WHERE p.id = $2 AND p.job_id = held.id AND p.token = $3 AND p.run_state = 'running'
      AND NOT p.cancel_requested RETURNING p.job_id)
UPDATE gateway.job j SET open_parts = open_parts - 1,
       phase = CASE WHEN $4 <> 'COMPLETED' OR open_parts = 1 THEN $4 ELSE phase END,
       ended = CASE WHEN $4 <> 'COMPLETED' OR open_parts = 1 THEN clock_timestamp() END,
       error_message = $6, error_type = $7
FROM part WHERE j.id = part.job_id AND j.phase = 'EXECUTING' RETURNING j.id
"""

PROMOTE = """
UPDATE gateway.job_part p SET queue = $3
WHERE p.id = $1 AND p.token = $2 AND p.run_state = 'running' AND NOT p.cancel_requested
  AND coalesce((SELECT running FROM gateway.job_turn t WHERE t.queue = $3 AND t.owner = p.owner), 0) < $4
RETURNING p.id
"""

WAS_ENDED = """
SELECT EXISTS (SELECT FROM gateway.job_part p JOIN gateway.job j ON j.id = p.job_id
               WHERE p.id = $1 AND p.token = $2 AND p.run_state = 'done' AND NOT p.cancel_requested
                 AND (j.phase = $3 OR p.result_token = $2))
"""

GIVE_BACK = """
WITH held AS (SELECT id FROM gateway.job WHERE id = $1 FOR UPDATE),
part AS (
    UPDATE gateway.job_part p SET token = token + 1, lease_until = NULL, worker = NULL,
           attempts = attempts + $4, losses = losses + $5, reason = $10, queue = coalesce($11, queue),
           run_state = CASE WHEN cancel_requested OR attempts + $4 >= $6 OR losses + $5 >= $7 THEN 'done'
                            ELSE 'waiting' END,
           ended = CASE WHEN cancel_requested OR attempts + $4 >= $6 OR losses + $5 >= $7 THEN clock_timestamp() END
    FROM held WHERE p.id = $2 AND p.job_id = held.id AND p.token = $3 AND p.run_state = 'running'
    RETURNING p.job_id, p.run_state, p.cancel_requested),
failed AS (
    UPDATE gateway.job j SET phase = 'ERROR', ended = clock_timestamp(), error_message = $8, error_type = $9
    FROM part WHERE j.id = part.job_id AND j.phase = 'EXECUTING' AND part.run_state = 'done'
      AND NOT part.cancel_requested RETURNING j.id)
SELECT part.run_state, (SELECT id FROM failed) AS failed FROM part
"""

END_STALLED = """
SELECT count(*) FROM (
    SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
      AND application_name = ANY($1) AND state = 'active' AND wait_event = 'ClientRead'
      AND query_start < clock_timestamp() - $2::interval) ended
"""

UPKEEP_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('gateway.upkeep', 0))"

ADOPT = "UPDATE gateway.job_part SET queue = $2 WHERE queue = $1 AND run_state = 'waiting'"

# After a restart of the database every worker gets one whole lease to renew its claims: nobody could during it.
REAP = """
WITH lost AS (
    SELECT p.id FROM gateway.job_part p JOIN gateway.job j ON j.id = p.job_id
    WHERE p.run_state = 'running' AND p.lease_until < clock_timestamp()
      AND pg_postmaster_start_time() < clock_timestamp() - $1::interval
    ORDER BY p.lease_until LIMIT $2 FOR UPDATE OF p, j SKIP LOCKED),
part AS (
    UPDATE gateway.job_part p SET token = token + 1, lease_until = NULL, worker = NULL, losses = losses + 1,
           run_state = CASE WHEN cancel_requested OR losses + 1 >= $3 THEN 'done' ELSE 'waiting' END,
           ended = CASE WHEN cancel_requested OR losses + 1 >= $3 THEN clock_timestamp() END
    FROM lost WHERE p.id = lost.id
    RETURNING p.job_id, p.queue, p.number, p.token - 1 AS token, p.run_state, p.cancel_requested),
failed AS (
    UPDATE gateway.job j SET phase = 'ERROR', ended = clock_timestamp(), error_message = $4, error_type = 'transient'
    FROM part WHERE j.id = part.job_id AND j.phase = 'EXECUTING' AND part.run_state = 'done'
      AND NOT part.cancel_requested RETURNING j.id)
SELECT part.job_id, part.queue, part.number, part.token, part.job_id IN (SELECT id FROM failed) AS failed FROM part
"""

EXPIRED = """
SELECT id FROM gateway.job WHERE destroyed IS NULL AND destruction < clock_timestamp()
ORDER BY destruction LIMIT $1 FOR UPDATE SKIP LOCKED
"""

PURGE = """
DELETE FROM gateway.job WHERE id IN (
    SELECT id FROM gateway.job j WHERE destroyed < clock_timestamp() - $1::interval
      AND NOT EXISTS (SELECT FROM gateway.job_part p WHERE p.job_id = j.id AND p.run_state <> 'done')
    LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

PURGE_TURNS = "DELETE FROM gateway.job_turn WHERE running = 0 AND oldest IS NULL"

# Callers that never came back; those that do take the rows over.
PURGE_SLOTS = "DELETE FROM gateway.slot WHERE lease_until < clock_timestamp() - interval '1 hour'"

# What the rows still name: uploads, results, and all that the present claim of a running part writes.
REFERENCED = """
SELECT j.id, j.uploads,
       (SELECT jsonb_agg(results) FROM gateway.job_part p WHERE p.job_id = j.id AND p.result_token IS NOT NULL) AS results,
       (SELECT array_agg(number || '.' || token) FROM gateway.job_part p
        WHERE p.job_id = j.id AND p.run_state = 'running') AS claims
FROM gateway.job j WHERE j.id = ANY($1) AND j.destroyed IS NULL
"""

QUEUES = """
SELECT queue, count(*) FILTER (WHERE run_state = 'waiting') AS waiting,
       count(*) FILTER (WHERE run_state = 'running') AS running
FROM gateway.job_part WHERE run_state IN ('waiting', 'running') GROUP BY queue ORDER BY queue
"""
