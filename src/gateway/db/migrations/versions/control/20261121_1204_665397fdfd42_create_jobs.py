"""Create jobs, their parts, and whose turn it is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "665397fdfd42"
down_revision = None
branch_labels = None
depends_on = None

# A copy: what a released migration does never changes.
TRIGGERS = (
    """
CREATE OR REPLACE FUNCTION gateway.announce_phase() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gateway_job', NEW.id);
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER announce_phase AFTER UPDATE OF phase ON gateway.job
    FOR EACH ROW WHEN (OLD.phase IS DISTINCT FROM NEW.phase) EXECUTE FUNCTION gateway.announce_phase()
""",
    """
CREATE OR REPLACE FUNCTION gateway.keep_turn() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    part gateway.job_part := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    LOOP
        -- The lock comes first: each statement here sees what was committed before it, so that of two changes
        -- at once the second counts the first.
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
""",
    """
CREATE TRIGGER keep_turn_insert AFTER INSERT ON gateway.job_part
    FOR EACH ROW EXECUTE FUNCTION gateway.keep_turn()
""",
    """
CREATE TRIGGER keep_turn_update AFTER UPDATE OF run_state ON gateway.job_part
    FOR EACH ROW WHEN (OLD.run_state IS DISTINCT FROM NEW.run_state) EXECUTE FUNCTION gateway.keep_turn()
""",
    """
CREATE TRIGGER keep_turn_delete AFTER DELETE ON gateway.job_part
    FOR EACH ROW WHEN (OLD.run_state <> 'done') EXECUTE FUNCTION gateway.keep_turn()
""",
)


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_list", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("phase", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("destruction", sa.DateTime(timezone=True), nullable=False),
        sa.Column("execution_duration", sa.BigInteger(), nullable=False),
        sa.Column(
            "parameters", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column(
            "uploads", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("open_parts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("destroyed", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(phase IN ('COMPLETED', 'ERROR', 'ABORTED', 'ARCHIVED')) = (ended IS NOT NULL)",
            name=op.f("ck_job_ended_if_final"),
        ),
        sa.CheckConstraint("error_type IN ('transient', 'fatal')", name=op.f("ck_job_error_type")),
        sa.CheckConstraint("id ~ '^[A-Za-z0-9_-]{22,43}$'", name=op.f("ck_job_id")),
        sa.CheckConstraint("jsonb_typeof(parameters) = 'array'", name=op.f("ck_job_parameters")),
        sa.CheckConstraint("jsonb_typeof(uploads) = 'array'", name=op.f("ck_job_uploads")),
        sa.CheckConstraint(
            "phase <> 'ERROR' OR (error_message IS NOT NULL AND error_type IS NOT NULL)",
            name=op.f("ck_job_error_if_failed"),
        ),
        sa.CheckConstraint(
            "phase IN ('PENDING', 'QUEUED', 'EXECUTING', 'COMPLETED', 'ERROR', 'ABORTED', 'HELD', 'ARCHIVED')",
            name=op.f("ck_job_phase"),
        ),
        sa.CheckConstraint("execution_duration >= 0", name=op.f("ck_job_execution_duration")),
        sa.CheckConstraint("open_parts >= 0", name=op.f("ck_job_open_parts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        schema="gateway",
    )
    op.create_index(
        "ix_job_destroyed",
        "job",
        ["destroyed"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("destroyed IS NOT NULL"),
    )
    op.create_index(
        "ix_job_destruction",
        "job",
        ["destruction"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("destroyed IS NULL"),
    )
    op.create_index(
        "ix_job_list",
        "job",
        ["job_list", "owner", sa.literal_column("created DESC"), "id"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("destroyed IS NULL"),
    )
    op.create_index(
        "ix_job_unstarted",
        "job",
        ["phase", "owner"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("phase IN ('PENDING', 'QUEUED') AND destroyed IS NULL"),
    )
    op.create_table(
        "job_turn",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("running", sa.Integer(), server_default="0", nullable=False),
        sa.Column("oldest", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("running >= 0", name=op.f("ck_job_turn_running")),
        sa.PrimaryKeyConstraint("queue", "owner", name=op.f("pk_job_turn")),
        schema="gateway",
    )
    op.create_index(
        "ix_job_turn_next",
        "job_turn",
        ["queue", "running", "oldest"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("oldest IS NOT NULL"),
    )
    op.create_table(
        "job_part",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("run_state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("queued", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("token", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("losses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("result_token", sa.Integer(), nullable=True),
        sa.Column(
            "results", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column(
            "progress", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.CheckConstraint(
            "(run_state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_job_part_lease_if_running")
        ),
        sa.CheckConstraint(
            "(run_state = 'running') = (worker IS NOT NULL)", name=op.f("ck_job_part_worker_if_running")
        ),
        sa.CheckConstraint("jsonb_typeof(results) = 'array'", name=op.f("ck_job_part_results")),
        sa.CheckConstraint(
            "result_token IS NULL OR (run_state = 'done' AND result_token = token)",
            name=op.f("ck_job_part_result_token"),
        ),
        sa.CheckConstraint("run_state IN ('waiting', 'running', 'done')", name=op.f("ck_job_part_run_state")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_job_part_attempts")),
        sa.CheckConstraint("losses >= 0", name=op.f("ck_job_part_losses")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_job_part_number")),
        sa.CheckConstraint("token >= 0", name=op.f("ck_job_part_token")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["gateway.job.id"], name=op.f("fk_job_part_job_id_job"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_part")),
        sa.UniqueConstraint("job_id", "number", name=op.f("uq_job_part_job_id_number")),
        schema="gateway",
    )
    op.create_index(
        "ix_job_part_lease",
        "job_part",
        ["lease_until"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("run_state = 'running'"),
    )
    op.create_index(
        "ix_job_part_running",
        "job_part",
        ["queue", "owner"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("run_state = 'running'"),
    )
    op.create_index(
        "ix_job_part_waiting",
        "job_part",
        ["queue", "owner", "queued", "id"],
        unique=False,
        schema="gateway",
        postgresql_where=sa.text("run_state = 'waiting'"),
    )
    for statement in TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("job_part", schema="gateway")
    op.drop_table("job_turn", schema="gateway")
    op.drop_table("job", schema="gateway")
    op.execute("DROP FUNCTION gateway.keep_turn()")
    op.execute("DROP FUNCTION gateway.announce_phase()")
