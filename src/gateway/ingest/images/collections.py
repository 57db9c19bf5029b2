"""Collections as a whole: which there are, and how one goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.errors import NotFoundError
from gateway.ingest.connection import admin_connection
from gateway.ingest.images.load import BusyError, Loader, only_one

READ = """
SELECT c.name, c.root, (SELECT count(*) FROM gateway_images.file f WHERE f.collection = c.name) AS files,
       (SELECT count(*) FROM gateway_images.dataset d WHERE d.obs_collection = c.name) AS images
FROM gateway_images.collection c ORDER BY c.name
"""

DROP = "DELETE FROM gateway_images.collection WHERE name = $1"


@dataclass(frozen=True, slots=True)
class Summary:
    """A collection in one line."""

    name: str
    root: str
    """Folder or URL below which its files lie."""
    files: int
    images: int
    """Science images."""


def list_collections(admin_url: str) -> list[Summary]:
    """Give all collections, by name."""

    async def work() -> list[Summary]:
        async with admin_connection(admin_url) as connection:
            return [Summary(**row) for row in await connection.fetch(READ)]

    return asyncio.run(work())


def drop_collection(name: str, admin_url: str) -> Summary:
    """Forget a collection; its files stay where they are. Gives what it had.

    Raises
    ------
    NotFoundError
        There is none of that name; the text names those that are.
    BusyError
        It is being ingested.
    """

    async def work() -> Summary:
        async with admin_connection(admin_url) as connection, only_one(connection, name) as is_alone:
            if not is_alone:
                raise BusyError(f"an ingest of {name} is running; wait for its end, or stop it")
            known = {row["name"]: Summary(**row) for row in await connection.fetch(READ)}
            if name not in known:
                others = f"there are {', '.join(known)}" if known else "there are none at all"
                raise NotFoundError(f"there is no collection {name}; {others}")
            await connection.execute(DROP, name)
            await Loader(connection, name, "").finish()
            return known[name]

    return asyncio.run(work())
