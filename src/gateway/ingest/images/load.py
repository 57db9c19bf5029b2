"""Images into the catalog: one transaction for each file, so that an ingest that is stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg

from gateway.db.images import Plane, pack
from gateway.db.schema.images import STORED
from gateway.db.sql import identifier
from gateway.errors import IngestError
from gateway.imaging.hdus import HduRecord
from gateway.ingest.images.inspect import Found, dataset_key
from gateway.storage.sources import Stamp


class BusyError(IngestError):
    """Another process ingests the collection."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as the catalog knows it."""

    name: str
    root: str
    rules: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A file as the catalog knows it."""

    stamp: Stamp
    rules_digest: str
    images: int
    """Science images that the collection has from it."""


READ_COLLECTION = "SELECT name, root, rules FROM gateway_images.collection WHERE name = $1"

WRITE_COLLECTION = """
INSERT INTO gateway_images.collection (name, root, rules) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET root = EXCLUDED.root, rules = EXCLUDED.rules
"""

READ_NAMES = "SELECT name FROM gateway_images.collection ORDER BY name"

READ_FILES = """
SELECT f.path, f.size, f.modified, f.etag, f.rules_digest, count(d.file_id) AS images
FROM gateway_images.file f LEFT JOIN gateway_images.dataset d ON d.file_id = f.id
WHERE f.collection = $1 GROUP BY f.id
"""

WRITE_FILE = """
INSERT INTO gateway_images.file (collection, path, size, modified, etag, rules_digest) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (collection, path) DO UPDATE SET
    size = EXCLUDED.size, modified = EXCLUDED.modified, etag = EXCLUDED.etag, rules_digest = EXCLUDED.rules_digest
RETURNING id, xmax = 0 AS is_new
"""

DROP_FILES = "DELETE FROM gateway_images.file WHERE collection = $1 AND path = ANY($2)"

CLEAR_HDUS = "DELETE FROM gateway_images.hdu WHERE file_id = $1"
WRITE_HDU = "INSERT INTO gateway_images.hdu (file_id, number, record) VALUES ($1, $2, $3)"
DROP_DATASETS = "DELETE FROM gateway_images.dataset WHERE file_id = $1 AND NOT key = ANY($2)"

_NAMES = ("key", "file_id", "hdu", "planes", "progenitors", *(column.name for column in STORED), "cells")
WRITE_DATASET = (
    f"INSERT INTO gateway_images.dataset ({', '.join(map(identifier, _NAMES))})"
    f" VALUES ({', '.join(f'${n}' for n in range(1, len(_NAMES) + 1))})"
    f" ON CONFLICT (key) DO UPDATE SET ({', '.join(map(identifier, _NAMES[1:]))})"
    f" = ROW ({', '.join(f'EXCLUDED.{identifier(name)}' for name in _NAMES[1:])})"
)

FINISH = """
UPDATE tap_schema.tables SET nrows = (SELECT count(*) FROM gateway_images.dataset) WHERE table_name = 'ivoa.obscore'
"""


class Loader:
    """Writes one collection."""

    def __init__(self, connection: asyncpg.Connection, collection: str, authority: str) -> None:
        self._connection = connection
        self._collection = collection
        self._authority = authority

    async def collection(self) -> Collection | None:
        """Read the collection; ``None`` if it is new."""
        row = await self._connection.fetchrow(READ_COLLECTION, self._collection)
        return None if row is None else Collection(row["name"], row["root"], json.loads(row["rules"]))

    async def set_collection(self, root: str, rules: Mapping[str, Any]) -> None:
        """Make or change the collection."""
        await self._connection.execute(WRITE_COLLECTION, self._collection, root, json.dumps(rules))

    async def names(self) -> list[str]:
        """Read the names of all collections."""
        return [row["name"] for row in await self._connection.fetch(READ_NAMES)]

    async def files(self) -> dict[str, Known]:
        """Read the files that it has."""
        rows = await self._connection.fetch(READ_FILES, self._collection)
        return {
            row["path"]: Known(Stamp(row["size"], row["modified"], row["etag"]), row["rules_digest"], row["images"])
            for row in rows
        }

    async def drop_files(self, paths: Sequence[str]) -> None:
        """Forget files and their datasets."""
        await self._connection.execute(DROP_FILES, self._collection, list(paths))

    async def write(
        self,
        path: str,
        stamp: Stamp,
        records: Sequence[HduRecord],
        images: Sequence[tuple[Found, Sequence[Plane]]],
        *,
        rules_digest: str,
    ) -> bool:
        """Write a file with its datasets; ``True`` if it is new. All of it appears at once, or nothing."""
        async with self._connection.transaction():
            file = await self._connection.fetchrow(
                WRITE_FILE, self._collection, path, stamp.size, stamp.modified, stamp.etag, rules_digest
            )
            file_id = file["id"]
            await self._connection.execute(CLEAR_HDUS, file_id)
            await self._connection.executemany(
                WRITE_HDU, [(file_id, record.number, pack(record.to_json())) for record in records]
            )
            rows = [self._row(file_id, path, stamp, found, planes) for found, planes in images]
            await self._connection.execute(DROP_DATASETS, file_id, [row[0] for row in rows])
            await self._connection.executemany(WRITE_DATASET, rows)
        return bool(file["is_new"])

    async def finish(self) -> None:
        """Tell the planner, and who reads the tableset, what is there now."""
        await self._connection.execute("ANALYZE gateway_images.dataset")
        async with self._connection.transaction():
            await self._connection.execute(
                "UPDATE tap_schema.version SET version = version + 1, changed = clock_timestamp()"
            )
            await self._connection.execute(FINISH)

    def _row(self, file_id: int, path: str, stamp: Stamp, found: Found, planes: Sequence[Plane]) -> tuple[Any, ...]:
        key = dataset_key(self._collection, path, found.hdu)
        values = asdict(found.observation) | {
            "obs_collection": self._collection,
            "obs_publisher_did": f"ivo://{self._authority}/{self._collection}?{key}",
            "access_estsize": max(1, round(stamp.size / 1000)),
        }
        spelled = json.dumps([asdict(plane) for plane in planes])
        return (
            key,
            file_id,
            found.hdu,
            spelled,
            list(found.progenitors),
            *(values[column.name] for column in STORED),
            found.cells,
        )


@asynccontextmanager
async def only_one(connection: asyncpg.Connection, collection: str) -> AsyncIterator[bool]:
    """Be the only one who ingests a collection; gives ``False`` while another does."""
    key = f"gateway images {collection.lower()}"
    got = await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", key)
    try:
        yield bool(got)
    finally:
        if got and not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", key)
