"""Give whole files of datasets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

import structlog

from gateway.db.images import Dataset
from gateway.errors import NotFoundError
from gateway.services.access import Caller
from gateway.services.repository import Repository
from gateway.storage.sources import ByteSource, Stamp
from gateway.vo.formats.base import TruncatedError

log = structlog.get_logger()

FITS = "application/fits"
GZIP = "application/gzip"

CHUNK_BYTES = 2**20
"""Bytes read at once."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file as it is now."""

    source: ByteSource
    stamp: Stamp
    name: str
    """File name to offer."""
    media_type: str

    @asynccontextmanager
    async def content(self, span: range) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Hold the bytes of a span open, to be read in pieces.

        Raises
        ------
        NotFoundError, BackendUnavailableError
            The file cannot be opened any more.
        """
        file = await asyncio.to_thread(self.source.open)
        try:
            yield _pieces(file, span)
        finally:
            await asyncio.to_thread(file.close)


async def _pieces(file: IO[bytes], span: range) -> AsyncGenerator[bytes, None]:
    await asyncio.to_thread(file.seek, span.start)
    left = len(span)
    while left:
        try:
            piece = await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))
        except OSError as e:
            log.warning("File broke off", reason=str(e))
            piece = b""
        if not piece:  # cut short meanwhile: so is the body, and the client sees it
            raise TruncatedError
        left -= len(piece)
        yield piece


class DataFileService:
    """Files of datasets."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def open(self, key: str, caller: Caller, *, role: str | None = None) -> DataFile:
        """Look at the file of a dataset.

        Parameters
        ----------
        key
            Key of the dataset.
        role
            ``mask``, ``variance``, ``weight``: the file with that plane, where it lies in one of its own.

        Raises
        ------
        NotFoundError
            There is no such dataset, no such plane, or no such file any more.
        """
        del caller  # everything is public so far
        dataset = await self._repository.find_key(key)
        if dataset is None:
            raise NotFoundError(f"there is no dataset {key[:64]!r} here")
        path = _path(dataset, role)
        source = self._repository.source(dataset, path)
        try:
            stamp = await asyncio.to_thread(source.stamp)
        except NotFoundError:
            raise NotFoundError("the file of this dataset is no longer in the archive") from None
        return DataFile(source, stamp, PurePosixPath(path).name, media_type(path))


def media_type(path: str) -> str:
    """Media type of a FITS file by its name: what is gzipped as a whole is no FITS until it is unpacked."""
    return GZIP if path.lower().endswith(".gz") else FITS


def _path(dataset: Dataset, role: str | None) -> str:
    if role is None:
        return dataset.path
    for plane in dataset.planes:
        if plane.role == role.lower():
            return plane.path
    roles = ", ".join(dict.fromkeys(plane.role for plane in dataset.planes)) or "none"
    raise NotFoundError(f"this dataset has no {role[:32]!r}; it has: {roles}")
