"""Claim parts in one statement, keep turns by what changed, and let workers announce after the commit."""

import sqlalchemy as sa
from alembic import op

revision = "9c2a6f1e4d70"
down_revision = "5e0b7d93ac41"
branch_labels = None
depends_on = None

# A copy: what a released migration does never changes. gateway.count_turn stays: a session may be in the older trigger.

# NOTIFY lets one transaction of the whole server commit at a time, so who claims or ends many parts a second sends it afterwards.
ANNOUNCE_PHASE = """
CREATE OR REPLACE FUNCTION gateway.announce_phase() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('gateway.announce', true) IS DISTINCT FROM 'later' THEN
        PERFORM pg_notify('gateway_job', NEW.id);
    END IF;
    RETURN NULL;
END
$$
"""

ANNOUNCE_PHASE_BEFORE = """
CREATE OR REPLACE FUNCTION gateway.announce_phase() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gateway_job', NEW.id);
    RETURN NULL;
END
$$
"""

MOVE_TURN = """
CREATE FUNCTION gateway.move_turn(of_queue text, of_owner text, was text, becomes text, came timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    more integer := (becomes IS NOT DISTINCT FROM 'running')::integer - (was IS NOT DISTINCT FROM 'running')::integer;
BEGIN
    IF was = 'waiting' THEN
        -- The lock comes first: the next statement sees what was committed before it, so that of two changes at once the
        -- second knows of the first.
        PERFORM FROM gateway.job_turn WHERE queue = of_queue AND owner = of_owner FOR UPDATE;
        UPDATE gateway.job_turn SET
            running = running + more,
            served = CASE WHEN more > 0 THEN clock_timestamp() ELSE served END,
            oldest = (SELECT p.queued FROM gateway.job_part p
                      WHERE p.queue = of_queue AND p.owner = of_owner AND p.run_state = 'waiting'
                      ORDER BY p.queued, p.id LIMIT 1)
        WHERE queue = of_queue AND owner = of_owner;
    ELSIF becomes IN ('waiting', 'running') THEN
        INSERT INTO gateway.job_turn AS t (queue, owner, running, served, oldest)
        VALUES (of_queue, of_owner, greatest(more, 0), CASE WHEN more > 0 THEN clock_timestamp() ELSE '-infinity' END,
                CASE becomes WHEN 'waiting' THEN came END)
        ON CONFLICT (queue, owner) DO UPDATE SET
            running = t.running + more, served = greatest(t.served, excluded.served), oldest = least(t.oldest, excluded.oldest);
    ELSIF was = 'running' THEN
        UPDATE gateway.job_turn SET running = running + more WHERE queue = of_queue AND owner = of_owner;
    END IF;
END
$$
"""

KEEP_TURN = """
CREATE OR REPLACE FUNCTION gateway.keep_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM gateway.move_turn(NEW.queue, NEW.owner, NULL, NEW.run_state, NEW.queued);
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM gateway.move_turn(OLD.queue, OLD.owner, OLD.run_state, NULL, OLD.queued);
    ELSIF OLD.queue = NEW.queue THEN
        PERFORM gateway.move_turn(NEW.queue, NEW.owner, OLD.run_state, NEW.run_state, NEW.queued);
    ELSIF OLD.queue < NEW.queue THEN
        -- In one order, whichever way the part moves: two moves at once must not wait for each other.
        PERFORM gateway.move_turn(OLD.queue, OLD.owner, OLD.run_state, NULL, OLD.queued);
        PERFORM gateway.move_turn(NEW.queue, NEW.owner, NULL, NEW.run_state, NEW.queued);
    ELSE
        PERFORM gateway.move_turn(NEW.queue, NEW.owner, NULL, NEW.run_state, NEW.queued);
        PERFORM gateway.move_turn(OLD.queue, OLD.owner, OLD.run_state, NULL, OLD.queued);
    END IF;
    RETURN NULL;
END
$$
"""

KEEP_TURN_BEFORE = """
CREATE OR REPLACE FUNCTION gateway.keep_turn() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    part gateway.job_part := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.queue <> NEW.queue THEN
        PERFORM gateway.count_turn(least(OLD.queue, NEW.queue), part.owner);
        PERFORM gateway.count_turn(greatest(OLD.queue, NEW.queue), part.owner);
    ELSE
        PERFORM gateway.count_turn(part.queue, part.owner);
    END IF;
    RETURN NULL;
END
$$
"""

# Fewest running first, then who was served longest ago, so that many old jobs of one owner hold up nobody (L4); then age.
# Four owners are looked at because the first part of the first may be locked by an abort.
CLAIM_PARTS = """
CREATE FUNCTION gateway.claim_parts(
    of_queue text, per_owner integer, by_worker text, lease interval, at_most integer,
    OUT part_id bigint, OUT number integer, OUT token integer, OUT queue text, OUT id text, OUT job_list text, OUT owner text,
    OUT account text, OUT base_url text, OUT execution_duration bigint, OUT parameters jsonb, OUT uploads jsonb)
RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('gateway.announce', 'later', true);
    -- A statement of its own: the claim has to see what earlier holders of the lock have committed.
    PERFORM pg_advisory_xact_lock(hashtextextended('gateway.claim.' || of_queue, 0));
    FOR turn IN 1..at_most LOOP
        RETURN QUERY
        WITH next AS (
            SELECT w.id FROM (
                SELECT queue, owner, running, served, oldest FROM gateway.job_turn
                WHERE queue = of_queue AND oldest IS NOT NULL AND running < per_owner
                ORDER BY running, served, oldest LIMIT 4) t
            CROSS JOIN LATERAL (
                SELECT p.id FROM gateway.job_part p JOIN gateway.job j ON j.id = p.job_id
                WHERE p.queue = t.queue AND p.owner = t.owner AND p.run_state = 'waiting'
                  AND j.phase IN ('QUEUED', 'EXECUTING') AND j.destroyed IS NULL
                ORDER BY p.queued, p.id LIMIT 1 FOR UPDATE OF p, j SKIP LOCKED) w
            ORDER BY t.running, t.served, t.oldest LIMIT 1),
        part AS (
            UPDATE gateway.job_part p SET run_state = 'running', token = p.token + 1, worker = by_worker,
                   lease_until = clock_timestamp() + lease, started = coalesce(p.started, clock_timestamp()), progress = '{}'
            FROM next WHERE p.id = next.id RETURNING p.id, p.number, p.token, p.queue, p.job_id)
        UPDATE gateway.job j SET phase = 'EXECUTING', started = coalesce(j.started, clock_timestamp())
        FROM part WHERE j.id = part.job_id
        RETURNING part.id, part.number, part.token, part.queue, j.id, j.job_list, j.owner,
                  j.account, j.base_url, j.execution_duration, j.parameters, j.uploads;
        EXIT WHEN NOT FOUND;
    END LOOP;
END
$$
"""


def upgrade() -> None:
    for statement in (ANNOUNCE_PHASE, MOVE_TURN, KEEP_TURN, CLAIM_PARTS):
        op.execute(statement)
    op.drop_index("ix_job_part_running", table_name="job_part", schema="gateway")


def downgrade() -> None:
    op.create_index(
        "ix_job_part_running",
        "job_part",
        ["queue", "owner"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("run_state = 'running'"),
    )
    for statement in (KEEP_TURN_BEFORE, ANNOUNCE_PHASE_BEFORE):
        op.execute(statement)
    op.execute("DROP FUNCTION gateway.move_turn(text, text, text, text, timestamptz)")
    op.execute("DROP FUNCTION gateway.claim_parts(text, integer, text, interval, integer)")
