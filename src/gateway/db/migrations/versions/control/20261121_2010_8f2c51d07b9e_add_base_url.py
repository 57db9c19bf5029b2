"""Keep with each job under which URL its creator saw the gateway: links in its results begin with it."""

import sqlalchemy as sa
from alembic import op

revision = "8f2c51d07b9e"
down_revision = "665397fdfd42"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("base_url", sa.Text(), server_default="", nullable=False), schema="gateway")


def downgrade() -> None:
    op.drop_column("job", "base_url", schema="gateway")
