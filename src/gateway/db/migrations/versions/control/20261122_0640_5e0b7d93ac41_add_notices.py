"""Keep the notices that are owed to those who wait for jobs elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "5e0b7d93ac41"
down_revision = "c41d9a7be205"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notice",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_try", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("tries >= 0", name=op.f("ck_notice_tries")),
        sa.ForeignKeyConstraint(["job_id"], ["gateway.job.id"], name=op.f("fk_notice_job_id_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_notice")),
        schema="gateway",
    )


def downgrade() -> None:
    op.drop_table("notice", schema="gateway")
