"""A result store in a folder: of this machine, or of a file system that all machines of a gateway mount."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import structlog

from gateway.errors import BackendUnavailableError, NotFoundError
from gateway.storage.results.base import (
    CHUNK_BYTES,
    HOLD,
    JOB,
    SWEEP_BATCH,
    IsReferenced,
    StoreFullError,
    Written,
    segments,
)
from gateway.storage.threads import in_thread

log = structlog.get_logger()

TEMPORARY = ".part-"
"""Start of the name of an unfinished object. No key can have it, for segments do not start with a dot."""

LOOK_BYTES = 16 * 2**20
"""How many bytes are written between two looks at the free space."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""How a file system says that it has no room."""

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""How it says that there is no such file; a symbolic link is none of ours."""


@dataclass(frozen=True, slots=True)
class LocalObject:
    """A file of a `LocalResultStore`, or any other file."""

    path: Path
    size: int

    async def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes of a range; an object that is deleted meanwhile is still read to its end."""
        left = max(0, min(self.size, self.size if end is None else end) - start)
        file = await in_thread(partial(_open_at, self.path, start))
        try:
            while left > 0 and (piece := await in_thread(partial(_read, file, min(CHUNK_BYTES, left)))):
                left -= len(piece)
                yield piece
        finally:
            file.close()
        if left > 0:
            raise BackendUnavailableError("This result is shorter than it was")


class LocalResultStore:
    """Objects as files below one folder.

    Parameters
    ----------
    root
        The folder.
    keep_free_bytes
        A long object is given up when the file system has less left: a full disk would stop others too, an embedded
        PostgreSQL for one.
    """

    def __init__(self, root: Path, *, keep_free_bytes: int = 0) -> None:
        self._root = root
        self._keep_free_bytes = keep_free_bytes

    async def write(self, key: str, pieces: AsyncIterable[bytes]) -> Written:
        """Write to a temporary file, fsync it, rename it, fsync its folder."""
        file = _NewFile(self._path(key), keep_free_bytes=self._keep_free_bytes)
        try:
            await in_thread(file.create)
            async for piece in pieces:
                await in_thread(partial(file.add, piece))
            return await in_thread(file.publish)
        except BaseException:
            await in_thread(file.discard)
            raise

    async def open(self, key: str) -> LocalObject:
        """Find a file."""
        path = self._path(key)
        return LocalObject(path, await in_thread(partial(_size, path, self._root)))

    async def sign(self, key: str, *, media_type: str, disposition: str) -> str | None:
        """Tell that a folder has no URLs."""
        del key, media_type, disposition
        return None

    async def delete_prefix(self, prefix: str) -> None:
        """Remove a folder, and the job's folder if it is empty then."""
        folder = self._path(prefix.removesuffix("/"))
        await in_thread(partial(_remove_folder, folder, self._root))

    async def sweep(self, *, age: timedelta, referenced: IsReferenced) -> int:
        """Walk the folder in batches."""
        removed = 0
        old = _old_files(self._root, await in_thread(partial(_now, self._root)) - age.total_seconds())
        while batch := await in_thread(partial(_take, old, SWEEP_BATCH)):
            keys = [path.relative_to(self._root).as_posix() for path in batch]
            kept = await referenced(keys)
            gone = [path for path, key in zip(batch, keys, strict=True) if key not in kept]
            await in_thread(partial(_remove_files, gone, self._root))
            removed += len(gone)
        return removed

    async def free_bytes(self) -> int | None:
        """Free bytes of the file system."""
        return await in_thread(partial(_free_bytes, self._root))

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*segments(key))


class _NewFile:
    """A file that nobody sees until it is whole. Its methods block."""

    def __init__(self, path: Path, *, keep_free_bytes: int) -> None:
        self._path = path
        self._temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
        self._keep_free_bytes = keep_free_bytes
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._size = 0
        self._next_look = LOOK_BYTES
        self._is_published = False

    def create(self) -> None:
        with _writing():
            self._file = _create(self._temporary)

    def add(self, piece: bytes) -> None:
        assert self._file is not None
        with _writing():
            self._file.write(piece)
            self._size += len(piece)
            if self._size >= self._next_look:
                self._next_look += LOOK_BYTES
                if shutil.disk_usage(self._path.parent).free < self._keep_free_bytes:
                    raise StoreFullError
        self._digest.update(piece)

    def publish(self) -> Written:
        assert self._file is not None
        with _writing():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.rename(self._path)
            self._is_published = True
            # The names themselves: of the object in its folder, of the folder in the job's, of the job's in the store.
            for folder in (self._path.parent, self._path.parent.parent, self._path.parent.parent.parent):
                _fsync_folder(folder)
        return Written(self._size, self._digest.hexdigest())

    def discard(self) -> None:
        for path in (self._temporary, self._path) if self._is_published else (self._temporary,):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        if self._file is not None:
            with suppress(OSError):  # what still waits to be written on a full disk is not wanted any more
                self._file.close()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as e:
        log.warning("Result store not written", reason=repr(e))
        if e.errno in FULL:
            raise StoreFullError from e
        raise BackendUnavailableError("The result store cannot be written; try again later") from e


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as e:
        if e.errno in GONE:
            raise NotFoundError("This result is not here any more") from e
        log.warning("Result store not read", reason=repr(e))
        raise BackendUnavailableError("The result store cannot be read; try again later") from e


def _size(path: Path, root: Path) -> int:
    """Size of a file, bytes; what a link leads to is none of ours (A12)."""
    with _reading():
        found = path.lstat()
        if not (stat.S_ISREG(found.st_mode) and path.resolve().is_relative_to(root.resolve())):
            raise NotFoundError("There is no such object in the result store")
        return found.st_size


def _open_at(path: Path, start: int) -> BinaryIO:
    with _reading():
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
        file.seek(start)
        return file


def _read(file: BinaryIO, count: int) -> bytes:
    with _reading():
        return file.read(count)


def _create(path: Path) -> BinaryIO:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):  # a sweeper has just removed the empty folder
            return path.open("xb")


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free_bytes(root: Path) -> int:
    with _writing():
        root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(root).free


# -- removing -----------------------------------------------------------------------------------------------------


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


def _now(root: Path) -> float:
    """Time by the clock that dates the files: that of this machine may be another one (reliability R3, F16)."""
    path = root / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        path.touch()
        now = path.stat().st_mtime
        path.unlink()
    except OSError:  # there is no folder yet, or not even room for an empty file
        return time.time()
    return now


def _old_files(root: Path, before: float) -> Iterator[Path]:
    """Files of jobs and what is left of unfinished ones; empty folders of jobs go on the way. Nothing else is touched."""
    for job in _folders(root, JOB.match):
        for hold in _folders(job, HOLD.match):
            is_empty = True
            with suppress(OSError), os.scandir(hold) as entries:
                for entry in entries:
                    is_empty = False
                    if _is_old(entry, before):
                        yield Path(entry.path)
            if is_empty and _is_old_folder(hold, before):
                _remove_if_empty(hold, root)


def _folders(folder: Path, is_ours: Callable[[str], object]) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_ours(entry.name) and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _is_old(entry: os.DirEntry[str], before: float) -> bool:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return not stat.S_ISDIR(found.st_mode) and found.st_mtime < before


def _is_old_folder(folder: Path, before: float) -> bool:
    try:
        return folder.stat().st_mtime < before
    except FileNotFoundError:
        return False


def _take(paths: Iterator[Path], count: int) -> list[Path]:
    return list(islice(paths, count))


def _remove_files(paths: Sequence[Path], root: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        _remove_if_empty(path.parent, root)
