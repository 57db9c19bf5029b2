"""Keep the history of each part's attempts, let parts move between queues, and lease slots to callers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "c41d9a7be205"
down_revision = "8f2c51d07b9e"
branch_labels = None
depends_on = None

# A copy: what a released migration does never changes.
COUNT_TURN = """
CREATE OR REPLACE FUNCTION gateway.count_turn(of_queue text, of_owner text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    running_now integer;
BEGIN
    LOOP
        -- The lock comes first: each statement here sees what was committed before it, so that of two changes
        -- at once the second counts the first.
        PERFORM FROM gateway.job_turn WHERE queue = of_queue AND owner = of_owner FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO gateway.job_turn (queue, owner) VALUES (of_queue, of_owner) ON CONFLICT DO NOTHING;
    END LOOP;
    SELECT count(*) INTO running_now FROM gateway.job_part p
    WHERE p.queue = of_queue AND p.owner = of_owner AND p.run_state = 'running';
    UPDATE gateway.job_turn SET
        running = running_now,
        served = CASE WHEN running_now > running THEN clock_timestamp() ELSE served END,
        oldest = (SELECT p.queued FROM gateway.job_part p
                  WHERE p.queue = of_queue AND p.owner = of_owner AND p.run_state = 'waiting'
                  ORDER BY p.queued, p.id LIMIT 1)
    WHERE queue = of_queue AND owner = of_owner;
END
$$
"""

KEEP_TURN = """
CREATE OR REPLACE FUNCTION gateway.keep_turn() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    part gateway.job_part := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.queue <> NEW.queue THEN
        -- In one order, whichever way the part moves: two moves at once must not wait for each other.
        PERFORM gateway.count_turn(least(OLD.queue, NEW.queue), part.owner);
        PERFORM gateway.count_turn(greatest(OLD.queue, NEW.queue), part.owner);
    ELSE
        PERFORM gateway.count_turn(part.queue, part.owner);
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
    LOOP
        PERFORM FROM gateway.job_turn WHERE queue = part.queue AND owner = part.owner FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO gateway.job_turn (queue, owner) VALUES (part.queue, part.owner) ON CONFLICT DO NOTHING;
    END LOOP;
    UPDATE gateway.job_turn SET
        running = (SELECT count(*) FROM gateway.job_part p
                   WHERE p.queue = part.queue AND p.owner = part.owner AND p.run_state = 'running'),
        oldest = (SELECT p.queued FROM gateway.job_part p
                  WHERE p.queue = part.queue AND p.owner = part.owner AND p.run_state = 'waiting'
                  ORDER BY p.queued, p.id LIMIT 1)
    WHERE queue = part.queue AND owner = part.owner;
    RETURN NULL;
END
$$
"""

# Derived from the row alone, so that workers of an older version write history too.
KEEP_HISTORY = """
CREATE OR REPLACE FUNCTION gateway.keep_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.run_state = 'running' THEN
        NEW.claimed := clock_timestamp();
        NEW.reason := NULL;
    ELSIF OLD.run_state = 'running' THEN
        NEW.history := OLD.history || jsonb_build_object(
            'token', OLD.token, 'worker', OLD.worker, 'started', OLD.claimed, 'ended', clock_timestamp(),
            'reason', NEW.reason,
            'ending', CASE
                WHEN NEW.result_token IS NOT NULL THEN 'completed'
                WHEN NEW.cancel_requested THEN 'cancelled'
                WHEN NEW.attempts > OLD.attempts THEN 'died'
                WHEN NEW.losses > OLD.losses AND OLD.lease_until < clock_timestamp() THEN 'lost'
                WHEN NEW.losses > OLD.losses THEN 'released'
                WHEN NEW.run_state = 'done' THEN 'failed'
                WHEN NEW.queue <> OLD.queue THEN 'moved'
                ELSE 'returned' END);
    END IF;
    RETURN NEW;
END
$$
"""

TRIGGERS = (
    COUNT_TURN,
    KEEP_TURN,
    "DROP TRIGGER keep_turn_update ON gateway.job_part",
    """
CREATE TRIGGER keep_turn_update AFTER UPDATE OF run_state, queue ON gateway.job_part
    FOR EACH ROW WHEN (OLD.run_state IS DISTINCT FROM NEW.run_state OR OLD.queue <> NEW.queue)
    EXECUTE FUNCTION gateway.keep_turn()
""",
    KEEP_HISTORY,
    """
CREATE TRIGGER keep_history BEFORE UPDATE OF run_state ON gateway.job_part
    FOR EACH ROW WHEN (OLD.run_state IS DISTINCT FROM NEW.run_state) EXECUTE FUNCTION gateway.keep_history()
""",
)

TRIGGERS_BEFORE = (
    "DROP TRIGGER keep_history ON gateway.job_part",
    "DROP FUNCTION gateway.keep_history()",
    KEEP_TURN_BEFORE,
    "DROP TRIGGER keep_turn_update ON gateway.job_part",
    """
CREATE TRIGGER keep_turn_update AFTER UPDATE OF run_state ON gateway.job_part
    FOR EACH ROW WHEN (OLD.run_state IS DISTINCT FROM NEW.run_state) EXECUTE FUNCTION gateway.keep_turn()
""",
    "DROP FUNCTION gateway.count_turn(text, text)",
)


def upgrade() -> None:
    op.add_column(
        "job_part",
        sa.Column(
            "history", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        schema="gateway",
    )
    op.add_column("job_part", sa.Column("claimed", sa.DateTime(timezone=True), nullable=True), schema="gateway")
    op.add_column("job_part", sa.Column("reason", sa.Text(), nullable=True), schema="gateway")
    op.create_check_constraint("history", "job_part", "jsonb_typeof(history) = 'array'", schema="gateway")
    op.add_column(
        "job_turn",
        sa.Column("served", sa.DateTime(timezone=True), server_default=sa.text("'-infinity'"), nullable=False),
        schema="gateway",
    )
    op.drop_index("ix_job_turn_next", table_name="job_turn", schema="gateway")
    op.create_index(
        "ix_job_turn_next",
        "job_turn",
        ["queue", "running", "served", "oldest"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("oldest IS NOT NULL"),
    )
    op.create_table(
        "slot",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f("ck_slot_number")),
        sa.PrimaryKeyConstraint("caller", "number", name=op.f("pk_slot")),
        schema="gateway",
        prefixes=["UNLOGGED"],
    )
    for statement in TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    for statement in TRIGGERS_BEFORE:
        op.execute(statement)
    op.drop_table("slot", schema="gateway")
    op.drop_index("ix_job_turn_next", table_name="job_turn", schema="gateway")
    op.create_index(
        "ix_job_turn_next",
        "job_turn",
        ["queue", "running", "oldest"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("oldest IS NOT NULL"),
    )
    op.drop_column("job_turn", "served", schema="gateway")
    op.drop_constraint(op.f("ck_job_part_history"), "job_part", schema="gateway")
    op.drop_column("job_part", "reason", schema="gateway")
    op.drop_column("job_part", "claimed", schema="gateway")
    op.drop_column("job_part", "history", schema="gateway")
