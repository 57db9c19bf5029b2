"""Images in the catalog database: what ingest writes, and what services look up."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Self

import asyncpg

from gateway.db.faults import UNAVAILABLE, is_unreachable
from gateway.db.roles import QUERY_ROLE
from gateway.db.urls import DatabaseURL
from gateway.errors import BackendUnavailableError

POOL_SIZE = 4
"""Connections for look-ups by identifier, each of which takes about a millisecond."""

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Plane:
    """Image that belongs to a science image: its role, and where it lies."""

    role: str
    path: str
    """Below the root of the collection."""
    hdu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Science image, as services need to know it."""

    key: str
    obs_publisher_did: str
    collection: str
    root: str
    """Folder or URL below which the collection lies."""
    path: str
    hdu: int
    planes: tuple[Plane, ...]
    progenitors: tuple[str, ...]
    """Paths below the root of the files from which it was made."""
    size: int
    """Bytes of the file when it was ingested."""
    modified: str | None
    etag: str | None
    rules: Mapping[str, Any]
    values: Mapping[str, Any]
    """Columns of ObsCore."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as ingest saw it."""

    path: str
    size: int
    modified: str | None
    etag: str | None
    hdus: tuple[dict[str, Any], ...]
    """HDU records, in the order of the file."""


class ImageCatalog:
    """Looks up datasets as the query role."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Hold a pool of connections to the catalog database."""
        pool = asyncpg.create_pool(
            DatabaseURL.parse(url).with_application_name("gw:images").asyncpg(),
            min_size=0,
            max_size=POOL_SIZE,
            timeout=TIMEOUT_S,
            command_timeout=TIMEOUT_S,
            init=_learn_types,
        )
        async with pool:
            yield cls(pool)

    async def find(self, dids: Sequence[str]) -> dict[str, Dataset]:
        """Find datasets by their publisher DID; identifiers compare without case (IVOA Identifiers 2.0)."""
        rows = await self._fetch(FIND, list({did.lower() for did in dids}))
        return {row["obs_publisher_did"].lower(): _dataset(row) for row in rows}

    async def find_key(self, key: str) -> Dataset | None:
        """Find a dataset by the key that its URLs have."""
        rows = await self._fetch(FIND_KEY, key)
        return _dataset(rows[0]) if rows else None

    async def made_from(self, collection: str, paths: Sequence[str]) -> list[Dataset]:
        """Find the datasets of a collection that lie in some files."""
        return [_dataset(row) for row in await self._fetch(IN_FILES, collection, list(paths))]

    async def files(self, collection: str, paths: Sequence[str]) -> dict[str, StoredFile]:
        """Read what ingest found in some files of a collection."""
        found: dict[str, StoredFile] = {}
        for path, rows in groupby(await self._fetch(FILES, collection, list(paths)), key=itemgetter("path")):
            hdus = list(rows)
            size, modified, etag = hdus[0]["size"], hdus[0]["modified"], hdus[0]["etag"]
            found[path] = StoredFile(path, size, modified, etag, tuple(unpack(row["record"]) for row in hdus))
        return found

    async def _fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        try:
            async with self._pool.acquire(timeout=TIMEOUT_S) as connection, connection.transaction(readonly=True):
                await connection.execute(f"SET LOCAL ROLE {QUERY_ROLE}")
                found: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
                return found
        except Exception as e:
            if is_unreachable(e):
                raise BackendUnavailableError(UNAVAILABLE) from e
            raise


async def _learn_types(connection: asyncpg.Connection) -> None:
    # asyncpg reads up on types that it does not know by set_config(), which may be closed to the query role.
    await connection.prepare("SELECT NULL::text[], NULL::double precision[], NULL::bigint[]")


_SELECT = """
SELECT d.*, f.path, f.size, f.modified, f.etag, c.root, c.rules
FROM gateway_images.dataset d JOIN gateway_images.file f ON f.id = d.file_id
JOIN gateway_images.collection c ON c.name = f.collection
"""
FIND = _SELECT + "WHERE lower(d.obs_publisher_did) = ANY($1)"
FIND_KEY = _SELECT + "WHERE d.key = $1"
IN_FILES = _SELECT + "WHERE f.collection = $1 AND f.path = ANY($2) ORDER BY f.path, d.hdu"
FILES = """
SELECT f.path, f.size, f.modified, f.etag, h.record
FROM gateway_images.hdu h JOIN gateway_images.file f ON f.id = h.file_id
WHERE f.collection = $1 AND f.path = ANY($2) ORDER BY f.path, h.number
"""


def _dataset(row: asyncpg.Record) -> Dataset:
    return Dataset(
        key=row["key"],
        obs_publisher_did=row["obs_publisher_did"],
        collection=row["obs_collection"],
        root=row["root"],
        path=row["path"],
        hdu=row["hdu"],
        planes=tuple(Plane(**plane) for plane in json.loads(row["planes"])),
        progenitors=tuple(row["progenitors"]),
        size=row["size"],
        modified=row["modified"],
        etag=row["etag"],
        rules=json.loads(row["rules"]),
        values=dict(row),
    )


def pack(record: Mapping[str, Any]) -> bytes:
    """Spell an HDU record for the database: headers are mostly blanks."""
    return zlib.compress(json.dumps(record).encode(), 6)


def unpack(content: bytes) -> dict[str, Any]:
    """Read what `pack` wrote."""
    record: dict[str, Any] = json.loads(zlib.decompress(content))
    return record
