"""TAP_SCHEMA (TAP 1.1, "Metadata: TAP_SCHEMA"), with the columns that only the gateway reads beside the standard ones.

Names of schemas, tables and columns are stored as ADQL writes them, in double quotes where they need
them. `gateway.db.schema.standard` describes the published part; what is not in it (``physical_*``,
``sky_*``, ...) cannot be named in a query.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, DateTime, ForeignKey, Integer, Table, Text, func
from sqlalchemy.sql.schema import SchemaItem

from gateway.db.schema.base import CATALOG


def _text(name: str, *constraints: SchemaItem, required: bool = False) -> Column[str]:
    return Column(name, Text, *constraints, nullable=not required)


def _flag(name: str) -> Column[int]:
    return Column(name, Integer, CheckConstraint(f"{name} IN (0, 1)", name=name), nullable=False)


schemas = Table(
    "schemas",
    CATALOG,
    Column("schema_name", Text, primary_key=True),
    _text("utype"),
    _text("description"),
    Column("schema_index", Integer),
    # not published
    _text("title"),
)

tables = Table(
    "tables",
    CATALOG,
    _text("schema_name", ForeignKey(schemas.c.schema_name), required=True),
    Column("table_name", Text, primary_key=True),
    Column("table_type", Text, CheckConstraint("table_type IN ('table', 'view')", name="table_type"), nullable=False),
    _text("utype"),
    _text("description"),
    Column("table_index", Integer),
    # not published
    _text("title"),
    _text("physical_schema", required=True),
    _text("physical_name", required=True),
    Column("nrows", BigInteger),
    _text("sky_ra"),
    _text("sky_dec"),
    _text("sky_healpix"),
    Column("sky_has_zones", Boolean, nullable=False, server_default="false"),
    _text("sky_region"),
    _text("sky_cells"),
    _text("origin"),  # JSON, an array of pairs
)

columns = Table(
    "columns",
    CATALOG,
    Column("table_name", Text, ForeignKey(tables.c.table_name, ondelete="CASCADE"), primary_key=True),
    Column("column_name", Text, primary_key=True),
    _text("datatype", required=True),
    _text("arraysize"),
    _text("xtype"),
    Column("size", Integer),
    _text("description"),
    _text("utype"),
    _text("unit"),
    _text("ucd"),
    _flag("indexed"),
    _flag("principal"),
    _flag("std"),
    Column("column_index", Integer),
    # not published
    _text("physical_name", required=True),
    _text("sql_type", required=True),
)

keys = Table(
    "keys",
    CATALOG,
    Column("key_id", Text, primary_key=True),
    Column("from_table", Text, ForeignKey(tables.c.table_name, ondelete="CASCADE"), nullable=False, index=True),
    Column("target_table", Text, ForeignKey(tables.c.table_name, ondelete="CASCADE"), nullable=False, index=True),
    _text("description"),
    _text("utype"),
)

key_columns = Table(
    "key_columns",
    CATALOG,
    Column("key_id", Text, ForeignKey(keys.c.key_id, ondelete="CASCADE"), primary_key=True),
    Column("from_column", Text, primary_key=True),
    _text("target_column", required=True),
)

version = Table(
    "version",
    CATALOG,
    # A primary key that can only be true: the table holds one row.
    Column(
        "is_single", Boolean, CheckConstraint("is_single", name="is_single"), primary_key=True, server_default="true"
    ),
    Column("version", BigInteger, nullable=False, server_default="0"),
    Column("changed", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _text("sky_digest"),
    _text("standard_digest"),
)
"""One row. ``version`` grows with every publication and tells readers that their copy is stale; the digests
name the SQL functions and the self-description that are installed."""
