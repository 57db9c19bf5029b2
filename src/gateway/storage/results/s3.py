"""A result store in a bucket of S3, or of a server that speaks like it.

An object appears when its upload is finished, never before. Large ones go up in parts; what a killed process left of
them is not seen by anyone, and the sweeper removes it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, Self
from urllib.parse import urlsplit

import structlog

from gateway.errors import BackendUnavailableError, GatewayError, NotFoundError, NotSupportedError
from gateway.storage.results.base import CHUNK_BYTES, SWEEP_BATCH, IsReferenced, Written, is_ours, segments
from gateway.storage.results.requests import Bucket, Patience, broken_body

log = structlog.get_logger()

PART_BYTES = 16 * 2**20
"""Size of all parts of an upload but the last. S3 takes 10,000 of them, so that an object may have 160 GB; a writer
holds two in memory."""

SMALL_BYTES = 64 * 1024
"""Hashing so little takes less time than handing it to a thread and back."""

ABORT_LIMIT_S = 10.0
"""Longest that a failed writer tries to take back its upload; then the sweeper will."""

MOST_CONNECTIONS = 256
"""Connections of one process: each download that goes through us holds one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """How an S3 store is reached; credentials and region come from where AWS programs look for them."""

    endpoint: str | None = None
    """URL of a server that is not Amazon's."""
    link_life: timedelta | None = None
    """How long a signed URL works; ``None``: none are given, all bytes go through us."""
    patience: Patience = field(default_factory=Patience)


@asynccontextmanager
async def open_s3(url: str, options: S3Options) -> AsyncIterator[S3ResultStore]:
    """Hold the store at ``s3://bucket/prefix``; nothing is asked of it before it is used.

    Raises
    ------
    NotSupportedError
        The extra ``s3`` is not installed.
    """
    try:
        from aiobotocore.config import AioConfig
    except ImportError as e:
        raise NotSupportedError("results in S3 need an extra: pip install 'vo-gateway[s3]'") from e
    parts = urlsplit(url)
    config = AioConfig(
        connect_timeout=options.patience.connect_s,
        read_timeout=options.patience.silence_s,
        retries={"total_max_attempts": 1},  # `Bucket` has its own, which tell the log and end in an error of ours
        max_pool_connections=MOST_CONNECTIONS,
        signature_version="s3v4",
        # Servers that are not Amazon's know no bucket's own host name, and few know the newer checksums.
        s3={"addressing_style": "path" if options.endpoint else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    async with session().create_client("s3", endpoint_url=options.endpoint, config=config) as client:
        bucket = Bucket(client, parts.netloc, patience=options.patience)
        yield S3ResultStore(bucket, prefix=parts.path.strip("/"), link_life=options.link_life)


@cache
def session() -> Any:
    """Give what makes clients; it keeps the description of S3, which takes a quarter of a second to read."""
    from aiobotocore.session import get_session

    return get_session()


class S3Object:
    """An object of a bucket."""

    def __init__(self, bucket: Bucket, name: str, *, size: int, etag: str) -> None:
        self.size = size
        """Bytes."""
        self._bucket = bucket
        self._name = name
        self._etag = etag

    async def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes of a range; a connection that breaks is made again where it broke."""
        stop = min(self.size, self.size if end is None else end)
        tries = iter(self._bucket.patience.pauses())
        while start < stop:
            try:
                async with self._body(start, stop) as body:
                    while piece := await _read(body, min(CHUNK_BYTES, stop - start)):
                        tries = iter(self._bucket.patience.pauses())
                        start += len(piece)
                        yield piece
            except _BrokenError as e:
                if (pause := next(tries, None)) is None:
                    raise BackendUnavailableError("The result store broke off; try again later") from e
                log.warning("Result store broke off", key=self._name, at=start, reason=repr(e.__cause__))
                await asyncio.sleep(pause)

    @asynccontextmanager
    async def _body(self, start: int, stop: int) -> AsyncIterator[Any]:
        answer = await self._bucket.call(
            "get_object", Key=self._name, Range=f"bytes={start}-{stop - 1}", IfMatch=self._etag
        )
        body = answer["Body"]
        try:
            yield body
        finally:
            body.close()


class _BrokenError(Exception):
    """A body ended before its end."""


async def _read(body: Any, count: int) -> bytes:
    if count == 0:
        return b""
    try:
        piece: bytes = await body.read(count)
    except broken_body() as e:
        raise _BrokenError from e
    if not piece:
        raise _BrokenError
    return piece


class S3ResultStore:
    """Objects in a bucket, below a prefix."""

    def __init__(self, bucket: Bucket, *, prefix: str = "", link_life: timedelta | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._link_life = link_life

    async def write(self, key: str, pieces: AsyncIterable[bytes]) -> Written:
        """Send an object in one request if it is small, else in parts; then look whether it is there."""
        name = self._name(key)
        digest = hashlib.sha256()
        size = 0
        async with _Upload(self._bucket, name) as upload, aclosing(_parts(pieces)) as parts:
            async for part in parts:
                if len(part) < SMALL_BYTES:
                    digest.update(part)
                else:
                    await asyncio.to_thread(digest.update, part)
                size += len(part)
                await (upload.add(part) if len(part) == PART_BYTES else upload.finish(part))
        await self._confirm(name, size)
        return Written(size, digest.hexdigest())

    async def open(self, key: str) -> S3Object:
        """Find an object."""
        name = self._name(key)
        found = await self._bucket.call("head_object", Key=name)
        return S3Object(self._bucket, name, size=found["ContentLength"], etag=found["ETag"])

    async def sign(self, key: str, *, media_type: str, disposition: str) -> str | None:
        """URL for a while, if the operator wants such."""
        if self._link_life is None:
            return None
        return await self._bucket.sign(
            life=self._link_life,
            Key=self._name(key),
            ResponseContentType=media_type,
            ResponseContentDisposition=disposition,
            ResponseCacheControl="private, no-cache",
        )

    async def delete_prefix(self, prefix: str) -> None:
        """Remove objects and unfinished uploads."""
        segments(prefix.removesuffix("/"))
        name = f"{self._prefix}{prefix.removesuffix('/')}/"
        async for page in self._bucket.objects(name):
            await self._bucket.remove([one["Key"] for one in page.items])
        async for page in self._bucket.uploads(name):
            await self._abort_all(page.items)

    async def sweep(self, *, age: timedelta, referenced: IsReferenced) -> int:
        """List the bucket page by page; ages are by the clock of the store."""
        removed = 0
        async for page in self._bucket.objects(self._prefix):
            keys = [self._key(one["Key"]) for one in page.items if one["LastModified"] < page.now - age]
            removed += await self._sweep([key for key in keys if is_ours(key)], referenced)
        async for page in self._bucket.uploads(self._prefix):
            stale = [one for one in page.items if one["Initiated"] < page.now - age and is_ours(self._key(one["Key"]))]
            await self._abort_all(stale)
            removed += len(stale)
        return removed

    async def free_bytes(self) -> int | None:
        """Tell that a bucket has no limit."""
        return None

    async def _sweep(self, keys: Sequence[str], referenced: IsReferenced) -> int:
        removed = 0
        for start in range(0, len(keys), SWEEP_BATCH):
            batch = keys[start : start + SWEEP_BATCH]
            kept = await referenced(batch)
            gone = [self._name(key) for key in batch if key not in kept]
            await self._bucket.remove(gone)
            removed += len(gone)
        return removed

    async def _abort_all(self, uploads: Sequence[Any]) -> None:
        for one in uploads:
            with suppress(NotFoundError):  # another sweeper was first, or it has just been finished
                await self._bucket.call("abort_multipart_upload", Key=one["Key"], UploadId=one["UploadId"])

    async def _confirm(self, name: str, size: int) -> None:
        """Ask the store for the size; only then a row may name the result (reliability F15)."""
        try:
            found = await self._bucket.call("head_object", Key=name)
        except NotFoundError as e:
            raise BackendUnavailableError("The result store has not kept the result; try again later") from e
        if found["ContentLength"] != size:
            log.error("Result store changed the size", key=name, size=size, found=found["ContentLength"])
            raise BackendUnavailableError("The result store has not kept all of the result; try again later")

    def _name(self, key: str) -> str:
        return self._prefix + "/".join(segments(key))

    def _key(self, name: str) -> str:
        return name.removeprefix(self._prefix)


async def _parts(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Join pieces to parts of `PART_BYTES`, and a last one that is shorter and may be empty."""
    kept: list[memoryview] = []
    size = 0
    async for piece in pieces:
        left = memoryview(piece)
        while size + len(left) >= PART_BYTES:
            room = PART_BYTES - size
            part = b"".join([*kept, left[:room]])
            kept, size, left = [], 0, left[room:]
            yield part
        if left:
            kept.append(left)
            size += len(left)
    yield b"".join(kept)


class _Upload:
    """An object on its way: one part is sent while the next is made. Taken back unless it is finished."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket = bucket
        self._name = name
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._sending: asyncio.Task[None] | None = None
        self._is_finished = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        if self._upload_id is not None and not self._is_finished:
            await asyncio.shield(self._abort(self._upload_id))

    async def add(self, content: bytes) -> None:
        """Send a part, once the one before has arrived."""
        if self._upload_id is None:
            self._upload_id = (await self._bucket.call("create_multipart_upload", Key=self._name))["UploadId"]
        await self._arrival()
        self._sending = asyncio.create_task(self._send(len(self._parts) + 1, content, self._upload_id))

    async def finish(self, content: bytes) -> None:
        """Send what is left, and make the object appear."""
        if self._upload_id is None:
            await self._bucket.call("put_object", Key=self._name, Body=content)
            return
        if content:
            await self.add(content)
        await self._arrival()
        # Asked twice because an answer was lost, the store knows no such upload any more: whoever looks finds the object.
        with suppress(NotFoundError):
            await self._bucket.call(
                "complete_multipart_upload",
                Key=self._name,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )
        self._is_finished = True

    async def _arrival(self) -> None:
        if self._sending is not None:
            await self._sending

    async def _send(self, number: int, content: bytes, upload_id: str) -> None:
        answer = await self._bucket.call(
            "upload_part", Key=self._name, UploadId=upload_id, PartNumber=number, Body=content
        )
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    async def _abort(self, upload_id: str) -> None:
        try:
            async with asyncio.timeout(ABORT_LIMIT_S):
                await self._bucket.call("abort_multipart_upload", Key=self._name, UploadId=upload_id)
        except (GatewayError, TimeoutError) as e:  # the sweeper will find it
            log.warning("Upload not aborted", key=self._name, reason=repr(e))
