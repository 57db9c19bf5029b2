"""What every result store does, and what its keys look like."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from gateway.errors import NotFoundError, TransientError

SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}\Z")
"""One segment of a key: no separator, no leading dot, nothing that a store reads differently."""

JOB = re.compile(r"[A-Za-z0-9_-]{22,43}\Z")
"""First segment of all keys of a job, as the job's row has it."""

HOLD = re.compile(r"(\d+\.\d+|uploads)\Z")
"""Second segment: part and token of a claim, or the files that came with the job."""

CHUNK_BYTES = 256 * 1024
"""Bytes read at once: large enough that the hop to a thread costs little, small beside a batch of rows."""

SWEEP_BATCH = 500
"""Keys asked about at once."""

IsReferenced = Callable[[Sequence[str]], Awaitable[set[str]]]
"""Tells which of some keys are still in use."""


class StoreFullError(TransientError):
    """The result store has no space left."""

    def __init__(
        self,
        reason: str = "The result store is full; try again later, with fewer rows or columns, or ask the operator for space",
        *,
        retry_after_s: int = 60,
    ) -> None:
        super().__init__(reason, retry_after_s=retry_after_s)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: its size in bytes, and its SHA-256 as 64 hexadecimal digits."""

    size: int
    sha256: str


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

    async def write(self, key: str, pieces: AsyncIterable[bytes]) -> Written:
        """Write an object; it appears whole or not at all, and survives a crash once this returns.

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
        BackendUnavailableError
            The store does not answer.
        """
        ...

    async def sign(self, key: str, *, media_type: str, disposition: str) -> str | None:
        """URL at which its bearer has an object for a while, without asking us.

        Parameters
        ----------
        key
            Which object.
        media_type, disposition
            Content-Type and Content-Disposition of the answer there.

        Returns
        -------
        str or None
            ``None``: this store gives no such URLs, the bytes go through us.
        """
        ...

    async def delete_prefix(self, prefix: str) -> None:
        """Remove the objects of a job (``<job>/``) or of one of its tokens (``<job>/<token>/``), unfinished ones too."""
        ...

    async def sweep(self, *, age: timedelta, referenced: IsReferenced) -> int:
        """Remove objects older than an age that nothing refers to; returns how many.

        What the store holds beside ours is left alone.
        """
        ...

    async def free_bytes(self) -> int | None:
        """Bytes that still fit; ``None`` where there is no such limit."""
        ...


def segments(key: str) -> list[str]:
    """Segments of a key or of a prefix; each is checked, so that none leads out of the store (A12)."""
    parts = key.split("/")
    if not (1 <= len(parts) <= 3 and all(SEGMENT.match(part) for part in parts)):
        raise NotFoundError("There is no such object in the result store")
    return parts


def is_ours(key: str) -> bool:
    """Whether a name found in the store is one that jobs make; others may have put more there."""
    parts = key.split("/")
    return len(parts) == 3 and bool(JOB.match(parts[0]) and HOLD.match(parts[1]))
