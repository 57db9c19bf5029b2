"""Create the tables of images: collections, files, HDUs, datasets; footprints in TAP_SCHEMA."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from gateway.db.roles import QUERY_ROLE

revision = "51dcbd82d3ad"
down_revision = "0392488f3fb7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS gateway_images")
    op.create_table(
        "collection",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_collection")),
        schema="gateway_images",
    )
    op.create_table(
        "file",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("rules_digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection"],
            ["gateway_images.collection.name"],
            name=op.f("fk_file_collection_collection"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
        schema="gateway_images",
    )
    op.create_index("uq_file_collection_path", "file", ["collection", "path"], unique=True, schema="gateway_images")
    op.create_table(
        "dataset",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("hdu", sa.Integer(), nullable=False),
        sa.Column("planes", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("progenitors", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("dataproduct_type", sa.Text(), nullable=True),
        sa.Column("calib_level", sa.Integer(), nullable=False),
        sa.Column("obs_collection", sa.Text(), nullable=False),
        sa.Column("obs_id", sa.Text(), nullable=False),
        sa.Column("obs_publisher_did", sa.Text(), nullable=False),
        sa.Column("access_estsize", sa.BigInteger(), nullable=True),
        sa.Column("target_name", sa.Text(), nullable=True),
        sa.Column("s_ra", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("s_dec", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("s_fov", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("s_region", postgresql.ARRAY(sa.DOUBLE_PRECISION()), nullable=True),
        sa.Column("s_resolution", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("s_xel1", sa.BigInteger(), nullable=True),
        sa.Column("s_xel2", sa.BigInteger(), nullable=True),
        sa.Column("t_min", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("t_max", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("t_exptime", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("t_resolution", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("t_xel", sa.BigInteger(), nullable=True),
        sa.Column("em_min", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("em_max", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("em_res_power", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("em_xel", sa.BigInteger(), nullable=True),
        sa.Column("o_ucd", sa.Text(), nullable=True),
        sa.Column("pol_states", sa.Text(), nullable=True),
        sa.Column("pol_xel", sa.BigInteger(), nullable=True),
        sa.Column("facility_name", sa.Text(), nullable=True),
        sa.Column("instrument_name", sa.Text(), nullable=True),
        sa.Column("dataproduct_subtype", sa.Text(), nullable=True),
        sa.Column("obs_title", sa.Text(), nullable=True),
        sa.Column("s_pixel_scale", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("o_unit", sa.Text(), nullable=True),
        sa.Column("cells", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["gateway_images.file.id"], name=op.f("fk_dataset_file_id_file"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_dataset")),
        schema="gateway_images",
    )
    op.create_index(
        "ix_dataset_cells", "dataset", ["cells"], unique=False, schema="gateway_images", postgresql_using="gin"
    )
    op.create_index("ix_dataset_em_min", "dataset", ["em_min"], unique=False, schema="gateway_images")
    op.create_index(
        "ix_dataset_lower_obs_publisher_did",
        "dataset",
        [sa.literal_column("lower(obs_publisher_did)")],
        unique=False,
        schema="gateway_images",
    )
    op.create_index("ix_dataset_obs_collection", "dataset", ["obs_collection"], unique=False, schema="gateway_images")
    op.create_index("ix_dataset_t_min", "dataset", ["t_min"], unique=False, schema="gateway_images")
    op.create_index("uq_dataset_file_id_hdu", "dataset", ["file_id", "hdu"], unique=True, schema="gateway_images")
    op.create_index(
        "uq_dataset_obs_publisher_did", "dataset", ["obs_publisher_did"], unique=True, schema="gateway_images"
    )
    op.create_table(
        "hdu",
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["gateway_images.file.id"], name=op.f("fk_hdu_file_id_file"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("file_id", "number", name=op.f("pk_hdu")),
        schema="gateway_images",
    )
    # Cells are many and each is rare: with the usual number of statistics a small region seems to meet a twentieth of all
    # images, and the index not worth while.
    op.execute("ALTER TABLE gateway_images.dataset ALTER COLUMN cells SET STATISTICS 1000")
    op.execute(f"GRANT USAGE ON SCHEMA gateway_images TO {QUERY_ROLE}")
    op.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA gateway_images TO {QUERY_ROLE}")
    op.add_column("tables", sa.Column("sky_region", sa.Text(), nullable=True), schema="tap_schema")
    op.add_column("tables", sa.Column("sky_cells", sa.Text(), nullable=True), schema="tap_schema")


def downgrade() -> None:
    op.execute("DROP VIEW IF EXISTS ivoa.obscore")
    op.execute("DELETE FROM tap_schema.tables WHERE table_name = 'ivoa.obscore'")
    op.execute("DELETE FROM tap_schema.schemas WHERE schema_name = 'ivoa'")
    op.drop_column("tables", "sky_cells", schema="tap_schema")
    op.drop_column("tables", "sky_region", schema="tap_schema")
    op.drop_table("hdu", schema="gateway_images")
    op.drop_index("uq_dataset_obs_publisher_did", table_name="dataset", schema="gateway_images")
    op.drop_index("uq_dataset_file_id_hdu", table_name="dataset", schema="gateway_images")
    op.drop_index("ix_dataset_t_min", table_name="dataset", schema="gateway_images")
    op.drop_index("ix_dataset_obs_collection", table_name="dataset", schema="gateway_images")
    op.drop_index("ix_dataset_lower_obs_publisher_did", table_name="dataset", schema="gateway_images")
    op.drop_index("ix_dataset_em_min", table_name="dataset", schema="gateway_images")
    op.drop_index("ix_dataset_cells", table_name="dataset", schema="gateway_images", postgresql_using="gin")
    op.drop_table("dataset", schema="gateway_images")
    op.drop_index("uq_file_collection_path", table_name="file", schema="gateway_images")
    op.drop_table("file", schema="gateway_images")
    op.drop_table("collection", schema="gateway_images")
    op.execute("DROP SCHEMA gateway_images")
