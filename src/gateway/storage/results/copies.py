"""Files of this machine into the result store, and back."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from pathlib import Path

import structlog

from gateway.errors import OverloadedError
from gateway.storage.results.base import ResultStore, Written
from gateway.storage.results.folder import LocalObject
from gateway.storage.threads import in_thread

log = structlog.get_logger()


async def save_file(store: ResultStore, key: str, path: Path) -> Written:
    """Write a file of this machine to the store."""
    size = (await in_thread(path.stat)).st_size
    async with aclosing(LocalObject(path, size).chunks()) as pieces:
        return await store.write(key, pieces)


async def fetch_file(store: ResultStore, key: str, path: Path) -> int:
    """Copy an object to a file of this machine; returns its size, bytes.

    Raises
    ------
    OverloadedError
        This machine has no room for it.
    """
    found = await store.open(key)
    try:
        with path.open("wb") as file:
            async with aclosing(found.chunks()) as pieces:
                async for piece in pieces:
                    await in_thread(partial(file.write, piece))
    except OSError as e:
        log.warning("Object not copied", key=key, reason=repr(e))
        raise OverloadedError("there is no room on disk for the files of this job; try again later") from e
    return found.size
