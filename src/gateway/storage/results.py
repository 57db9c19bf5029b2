"""The result store: objects under keys, each complete or absent (reliability R4).

A key is ``<job>/<token>/<name>``, or ``<job>/uploads/<name>`` for a file that came with a job. Readers follow the
job's row to a key; nobody lists the store but the sweeper, which removes what no row names.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from gateway.errors import BackendUnavailableError, NotFoundError, TransientError

SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}\Z")
"""One segment of a key: no separator, no leading dot, nothing that a file system reads differently."""

CHUNK_BYTES = 256 * 1024
"""Bytes read at once: large enough that the hop to a thread costs little, small beside a batch of rows."""

TEMPORARY = ".part-"
"""Start of the name of an unfinished object. No key can have it, for segments do not start with a dot."""

SWEEP_BATCH = 500
"""Keys asked about at once."""

IsReferenced = Callable[[Sequence[str]], Awaitable[set[str]]]
"""Tells which of some keys are still in use."""


class StoreFullError(TransientError):
    """The result store has no space left."""


class StoredObject(Protocol):
    """An object that is there: its size, and its bytes from anywhere in it."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes of the half-open range ``[start, end)``, in pieces; close the iterator when done."""
        ...


class ResultStore(Protocol):
    """Where results and uploads lie."""

    async def write(self, key: str, pieces: AsyncIterable[bytes]) -> int:
        """Write an object; it appears whole or not at all, and survives a crash once this returns.

        Returns
        -------
        int
            Size, bytes.

        Raises
        ------
        StoreFullError
            The store has no space left.
        BackendUnavailableError
            The store does not answer.
        """
        ...

    async def open(self, key: str) -> StoredObject:
        """Find an object.

        Raises
        ------
        NotFoundError
            There is none under this key.
        """
        ...

    async def delete_prefix(self, prefix: str) -> None:
        """Remove the objects of a job (``<job>/``) or of one of its tokens (``<job>/<token>/``), unfinished ones too."""
        ...

    async def sweep(self, *, age: timedelta, referenced: IsReferenced) -> int:
        """Remove objects older than an age that nothing refers to; returns how many."""
        ...

    async def free_bytes(self) -> int | None:
        """Bytes that still fit; ``None`` where there is no such limit."""
        ...


@dataclass(frozen=True, slots=True)
class LocalObject:
    """A file of a `LocalResultStore`."""

    path: Path
    size: int

    async def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes of a range; an object that is deleted meanwhile is still read to its end."""
        left = max(0, min(self.size, self.size if end is None else end) - start)
        file = await asyncio.to_thread(_open_at, self.path, start)
        try:
            while left > 0 and (piece := await asyncio.to_thread(file.read, min(CHUNK_BYTES, left))):
                left -= len(piece)
                yield piece
        finally:
            file.close()


class LocalResultStore:
    """Objects as files below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def write(self, key: str, pieces: AsyncIterable[bytes]) -> int:
        """Write to a temporary file, fsync it, rename it, fsync its folder."""
        path = self._path(key)
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
        try:
            file = await asyncio.to_thread(_create, temporary)
            try:
                size = 0
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)
                    size += len(piece)
                await asyncio.to_thread(_publish, file, temporary, path)
            finally:
                file.close()
        except OSError as e:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise _refusal(e) from e
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return size

    async def open(self, key: str) -> LocalObject:
        """Find a file."""
        path = self._path(key)
        try:
            stat = await asyncio.to_thread(path.stat)
        except (FileNotFoundError, NotADirectoryError) as e:
            raise NotFoundError("This result is not here any more") from e
        return LocalObject(path, stat.st_size)

    async def delete_prefix(self, prefix: str) -> None:
        """Remove a folder, and the job's folder if it is empty then."""
        folder = self._path(prefix.removesuffix("/"))
        await asyncio.to_thread(_remove_folder, folder, self._root)

    async def sweep(self, *, age: timedelta, referenced: IsReferenced) -> int:
        """Walk the folder in batches."""
        before = time.time() - age.total_seconds()
        removed = 0
        old = _old_files(self._root, before)
        while batch := await asyncio.to_thread(_take, old, SWEEP_BATCH):
            keys = [path.relative_to(self._root).as_posix() for path in batch]
            kept = await referenced(keys)
            gone = [path for path, key in zip(batch, keys, strict=True) if key not in kept]
            await asyncio.to_thread(_remove_files, gone, self._root)
            removed += len(gone)
        return removed

    async def free_bytes(self) -> int | None:
        """Free bytes of the file system."""
        await asyncio.to_thread(self._root.mkdir, parents=True, exist_ok=True)
        return (await asyncio.to_thread(shutil.disk_usage, self._root)).free

    def _path(self, key: str) -> Path:
        """Place of a key; every segment is checked, so that none leads out of the folder (A12)."""
        segments = key.split("/")
        if not (1 <= len(segments) <= 3 and all(SEGMENT.match(segment) for segment in segments)):
            raise NotFoundError("There is no such object in the result store")
        return self._root.joinpath(*segments)


async def save_file(store: ResultStore, key: str, path: Path) -> int:
    """Write a file of this machine to the store."""
    size = (await asyncio.to_thread(path.stat)).st_size
    async with aclosing(LocalObject(path, size).chunks()) as pieces:
        return await store.write(key, pieces)


async def fetch_file(store: ResultStore, key: str, path: Path) -> int:
    """Copy an object to a file of this machine; returns its size, bytes."""
    found = await store.open(key)
    with path.open("wb") as file:
        async with aclosing(found.chunks()) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
    return found.size


def _refusal(error: OSError) -> TransientError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreFullError(
            "The result store is full; try again later, with fewer rows or columns, or ask the operator for space",
            retry_after_s=60,
        )
    return BackendUnavailableError("The result store cannot be written; try again later")


def _open_at(path: Path, start: int) -> BinaryIO:
    try:
        file = path.open("rb")
    except FileNotFoundError as e:
        raise NotFoundError("This result is not here any more") from e
    file.seek(start)
    return file


def _create(path: Path) -> BinaryIO:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):  # a sweeper has just removed the empty folder
            return path.open("xb")


def _publish(file: BinaryIO, temporary: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    temporary.rename(path)
    # The names themselves: of the object in its folder, of the folder in the job's, of the job's in the store.
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_folder(folder: Path, root: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _remove_if_empty(folder.parent, root)


def _remove_if_empty(folder: Path, root: Path) -> None:
    while folder != root and root in folder.parents:
        try:
            folder.rmdir()
        except OSError:  # it is not empty, or another sweeper was first
            return
        folder = folder.parent


def _old_files(root: Path, before: float) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with suppress(FileNotFoundError):
                if path.lstat().st_mtime < before:
                    yield path


def _take(paths: Iterator[Path], count: int) -> list[Path]:
    return list(islice(paths, count))


def _remove_files(paths: Sequence[Path], root: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        _remove_if_empty(path.parent, root)
