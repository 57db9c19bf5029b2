"""Create TAP_SCHEMA, the schema of the SQL functions, and the query role's way to both."""

import sqlalchemy as sa
from alembic import op

from gateway.db.roles import QUERY_ROLE

revision = "0392488f3fb7"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schemas",
        sa.Column("schema_name", sa.Text(), nullable=False),
        sa.Column("utype", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("schema_index", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("schema_name", name=op.f("pk_schemas")),
        schema="tap_schema",
    )
    op.create_table(
        "version",
        sa.Column("is_single", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("changed", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sky_digest", sa.Text(), nullable=True),
        sa.Column("standard_digest", sa.Text(), nullable=True),
        sa.CheckConstraint("is_single", name=op.f("ck_version_is_single")),
        sa.PrimaryKeyConstraint("is_single", name=op.f("pk_version")),
        schema="tap_schema",
    )
    op.create_table(
        "tables",
        sa.Column("schema_name", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("table_type", sa.Text(), nullable=False),
        sa.Column("utype", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("table_index", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("physical_schema", sa.Text(), nullable=False),
        sa.Column("physical_name", sa.Text(), nullable=False),
        sa.Column("nrows", sa.BigInteger(), nullable=True),
        sa.Column("sky_ra", sa.Text(), nullable=True),
        sa.Column("sky_dec", sa.Text(), nullable=True),
        sa.Column("sky_healpix", sa.Text(), nullable=True),
        sa.Column("sky_has_zones", sa.Boolean(), server_default="false", nullable=False),
        sa.ForeignKeyConstraint(
            ["schema_name"], ["tap_schema.schemas.schema_name"], name=op.f("fk_tables_schema_name_schemas")
        ),
        sa.CheckConstraint("table_type IN ('table', 'view')", name=op.f("ck_tables_table_type")),
        sa.PrimaryKeyConstraint("table_name", name=op.f("pk_tables")),
        schema="tap_schema",
    )
    op.create_table(
        "columns",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("column_name", sa.Text(), nullable=False),
        sa.Column("datatype", sa.Text(), nullable=False),
        sa.Column("arraysize", sa.Text(), nullable=True),
        sa.Column("xtype", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("utype", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("ucd", sa.Text(), nullable=True),
        sa.Column("indexed", sa.Integer(), nullable=False),
        sa.Column("principal", sa.Integer(), nullable=False),
        sa.Column("std", sa.Integer(), nullable=False),
        sa.Column("column_index", sa.Integer(), nullable=True),
        sa.Column("physical_name", sa.Text(), nullable=False),
        sa.Column("sql_type", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["table_name"],
            ["tap_schema.tables.table_name"],
            name=op.f("fk_columns_table_name_tables"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("indexed IN (0, 1)", name=op.f("ck_columns_indexed")),
        sa.CheckConstraint("principal IN (0, 1)", name=op.f("ck_columns_principal")),
        sa.CheckConstraint("std IN (0, 1)", name=op.f("ck_columns_std")),
        sa.PrimaryKeyConstraint("table_name", "column_name", name=op.f("pk_columns")),
        schema="tap_schema",
    )
    op.create_table(
        "keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("from_table", sa.Text(), nullable=False),
        sa.Column("target_table", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("utype", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["from_table"], ["tap_schema.tables.table_name"], name=op.f("fk_keys_from_table_tables"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["target_table"],
            ["tap_schema.tables.table_name"],
            name=op.f("fk_keys_target_table_tables"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_keys")),
        schema="tap_schema",
    )
    op.create_index(op.f("ix_keys_from_table"), "keys", ["from_table"], unique=False, schema="tap_schema")
    op.create_index(op.f("ix_keys_target_table"), "keys", ["target_table"], unique=False, schema="tap_schema")
    op.create_table(
        "key_columns",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("from_column", sa.Text(), nullable=False),
        sa.Column("target_column", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["tap_schema.keys.key_id"], name=op.f("fk_key_columns_key_id_keys"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_id", "from_column", name=op.f("pk_key_columns")),
        schema="tap_schema",
    )
    op.execute("INSERT INTO tap_schema.version DEFAULT VALUES")
    op.execute("CREATE SCHEMA IF NOT EXISTS sky")
    op.execute(f"GRANT USAGE ON SCHEMA tap_schema, sky TO {QUERY_ROLE}")
    for table in ("schemas", "tables", "columns", "keys", "key_columns", "version"):
        op.execute(f"GRANT SELECT ON tap_schema.{table} TO {QUERY_ROLE}")


def downgrade() -> None:
    op.execute("DROP SCHEMA sky CASCADE")
    op.drop_table("key_columns", schema="tap_schema")
    op.drop_index(op.f("ix_keys_target_table"), table_name="keys", schema="tap_schema")
    op.drop_index(op.f("ix_keys_from_table"), table_name="keys", schema="tap_schema")
    op.drop_table("keys", schema="tap_schema")
    op.drop_table("columns", schema="tap_schema")
    op.drop_table("tables", schema="tap_schema")
    op.drop_table("version", schema="tap_schema")
    op.drop_table("schemas", schema="tap_schema")
