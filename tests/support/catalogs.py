"""A catalog database in a test: publish a file, and read a table back as PostgreSQL holds it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import asyncpg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from gateway.db.registry import read_tableset
from gateway.db.urls import DatabaseURL
from gateway.ingest.tables import IngestReport, ingest_table
from gateway.vo.tableset import Table

CATALOGS = os.environ.get("GATEWAY_TEST_CATALOGS")
"""Folder of real catalogs, which are not part of the project."""


class Catalog:
    """A catalog database of this test's own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def publish(self, *files: Path, name: str = "survey.stars", **options: Any) -> IngestReport:
        return ingest_table(files, name=name, admin_url=self.url, **options)

    def fetch(self, query: str, *parameters: object) -> list[Any]:
        async def run() -> list[Any]:
            connection = await asyncpg.connect(DatabaseURL.parse(self.url).asyncpg())
            try:
                return [tuple(row) for row in await connection.fetch(query, *parameters)]
            finally:
                await connection.close()

        return asyncio.run(run())

    def table(self, name: str = "survey.stars") -> Table | None:
        async def run() -> Table | None:
            connection = await asyncpg.connect(DatabaseURL.parse(self.url).asyncpg())
            try:
                return (await read_tableset(connection)).find(name)
            finally:
                await connection.close()

        return asyncio.run(run())

    def rows(self, name: str = "survey.stars", order: str = "1") -> pa.Table:
        """Published columns in published order, under their published names, read by ADBC."""
        table = self.table(name)
        assert table is not None, f"{name} is not published"
        columns = ", ".join(f'"{column.physical}"' for column in table.columns)
        query = f'SELECT {columns} FROM "{table.physical_schema}"."{table.physical_name}" ORDER BY {order}'
        with adbc.connect(DatabaseURL.parse(self.url).libpq()) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            rows = cursor.fetch_arrow_table()
        return rows.rename_columns([column.name for column in table.columns])

    def column(self, name: str, table: str = "survey.stars") -> list[Any]:
        return self.rows(table)[name].to_pylist()

    def names(self) -> set[str]:
        """All tables beyond the gateway's own, published or not."""
        rows = self.fetch(
            "SELECT schemaname || '.' || tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'tap_schema', 'gateway', 'gateway_images', 'sky', 'public')"
        )
        return {row[0] for row in rows}


def real_catalog(name: str) -> Path:
    """A real catalog, or a skipped test."""
    if CATALOGS is None or not (Path(CATALOGS) / name).exists():
        pytest.skip(f"the real catalog {name} is not here (GATEWAY_TEST_CATALOGS names its folder)")
    return Path(CATALOGS) / name


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Compare tables bit by bit: nulls, signs of zero and NaN payloads count."""
    assert found.column_names == expected.column_names
    assert found.num_rows == expected.num_rows
    for name in expected.column_names:
        here, there = found[name].combine_chunks(), expected[name].combine_chunks()
        assert here.type == there.type, name
        assert here.is_null().equals(there.is_null()), f"nulls of {name}"
        if pa.types.is_list(here.type):
            assert pc.list_value_length(here).equals(pc.list_value_length(there)), f"lengths of {name}"
            here, there = here.flatten(), there.flatten()
        if pa.types.is_floating(here.type):
            bits = np.dtype(f"u{here.type.bit_width // 8}")
            present = here.is_valid().to_numpy(zero_copy_only=False)
            one, other = (np.asarray(column.fill_null(0)).view(bits)[present] for column in (here, there))
            assert np.array_equal(one, other), name
        else:
            assert here.equals(there), name
