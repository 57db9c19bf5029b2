"""Images: collections, their files, the HDUs in them, and one dataset for each science image (decisions 10 and 11).

``ivoa.obscore`` is a view of these tables. Paths are relative to the root of their collection, so that an archive can be moved;
``access_url`` is made when a query runs, from the URL under which the client sees the service.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSONB

from gateway.db.roles import BASE_URL
from gateway.db.schema.base import CATALOG, IMAGES_SCHEMA
from gateway.db.sql import identifier, literal
from gateway.vo import obscore, paths
from gateway.vo.tableset import Schema, SkyIndex
from gateway.vo.tableset import Table as PublishedTable

collection = Table(
    "collection",
    CATALOG,
    Column("name", Text, primary_key=True),
    Column("root", Text, nullable=False),
    Column("rules", JSONB, nullable=False, server_default="{}"),
    Column("created", DateTime(timezone=True), nullable=False, server_default=func.now()),
    schema=IMAGES_SCHEMA,
)

file = Table(
    "file",
    CATALOG,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("collection", Text, ForeignKey(collection.c.name, ondelete="CASCADE"), nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified", Text),
    Column("etag", Text),
    Column("rules_digest", Text, nullable=False),
    Index("uq_file_collection_path", "collection", "path", unique=True),
    schema=IMAGES_SCHEMA,
)

hdu = Table(
    "hdu",
    CATALOG,
    Column("file_id", BigInteger, ForeignKey(file.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("record", LargeBinary, nullable=False),
    schema=IMAGES_SCHEMA,
)

_TYPES: dict[str, Any] = {
    "text": Text,
    "integer": Integer,
    "bigint": BigInteger,
    "double precision": DOUBLE_PRECISION,
    "double precision[]": ARRAY(DOUBLE_PRECISION),
}

COMPUTED = frozenset({"access_url", "access_format"})
"""Columns of ObsCore that are not stored."""

STORED = tuple(column for column in (*obscore.MANDATORY, *obscore.OPTIONAL) if column.name not in COMPUTED)
"""Columns of ObsCore that are."""

NEVER_NULL = frozenset({"calib_level", "obs_collection", "obs_id", "obs_publisher_did"})
"""Columns that the standard forbids to be null (ObsCore 1.1, "Mandatory fields")."""

dataset = Table(
    "dataset",
    CATALOG,
    Column("key", Text, primary_key=True),
    Column("file_id", BigInteger, ForeignKey(file.c.id, ondelete="CASCADE"), nullable=False),
    Column("hdu", Integer, nullable=False),
    Column("planes", JSONB, nullable=False, server_default="[]"),
    Column("progenitors", ARRAY(Text), nullable=False, server_default="{}"),
    *(Column(column.name, _TYPES[column.sql_type], nullable=column.name not in NEVER_NULL) for column in STORED),
    Column("cells", ARRAY(BigInteger), nullable=False),
    Index("uq_dataset_file_id_hdu", "file_id", "hdu", unique=True),
    Index("ix_dataset_cells", "cells", postgresql_using="gin"),
    Index("uq_dataset_obs_publisher_did", "obs_publisher_did", unique=True),
    Index("ix_dataset_lower_obs_publisher_did", text("lower(obs_publisher_did)")),
    Index("ix_dataset_obs_collection", "obs_collection"),
    Index("ix_dataset_t_min", "t_min"),
    Index("ix_dataset_em_min", "em_min"),
    schema=IMAGES_SCHEMA,
)
"""Science images. ``planes`` lists what belongs to each: pairs of role, path and HDU; ``progenitors`` are paths."""

_LINKS = f"current_setting('{BASE_URL}', true) || '{paths.LINKS}?ID='"


def view_statements() -> list[str]:
    """Give the SQL that makes the view ``ivoa.obscore`` anew."""
    expressions = {
        "access_url": f"{_LINKS} || replace(obs_publisher_did, '?', '%3F')",
        "access_format": literal(obscore.DATALINK_FORMAT),
    }
    columns = ", ".join(
        f"{expressions[column.name]}::text AS {column.name}" if column.name in expressions else column.name
        for column in (*obscore.MANDATORY, *obscore.OPTIONAL)
    )
    name = f"{obscore.SCHEMA}.{obscore.TABLE}"
    return [
        f"CREATE SCHEMA IF NOT EXISTS {obscore.SCHEMA}",
        f"DROP VIEW IF EXISTS {name}",
        f"CREATE VIEW {name} AS SELECT {columns}, cells FROM {identifier(IMAGES_SCHEMA)}.dataset",
    ]


OBSCORE = Schema(
    obscore.SCHEMA,
    (
        PublishedTable(
            schema=obscore.SCHEMA,
            name=obscore.TABLE,
            columns=(*obscore.MANDATORY, *obscore.OPTIONAL),
            physical_schema=obscore.SCHEMA,
            physical_name=obscore.TABLE,
            type="view",
            description="Images of all collections, one row for each science image (ObsCore 1.1)",
            utype="ivo://ivoa.net/std/ObsCore#table-1.1",
            sky=SkyIndex("s_ra", "s_dec", region="s_region", cells="cells"),
        ),
    ),
    description="Tables that standards of the Virtual Observatory define",
)
"""What `migrate` publishes of them."""
