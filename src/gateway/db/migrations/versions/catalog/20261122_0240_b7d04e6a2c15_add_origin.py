"""Keep with each published table whence it is and how to cite it: every result says so."""

import sqlalchemy as sa
from alembic import op

revision = "b7d04e6a2c15"
down_revision = "51dcbd82d3ad"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tables", sa.Column("origin", sa.Text(), nullable=True), schema="tap_schema")


def downgrade() -> None:
    op.drop_column("tables", "origin", schema="tap_schema")
