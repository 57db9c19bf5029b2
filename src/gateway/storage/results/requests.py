"""Requests to a bucket: each tried again for a while, each failure an error of ours."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import structlog

from gateway.errors import BackendUnavailableError, GatewayError, NotFoundError
from gateway.storage.results.base import StoreFullError

log = structlog.get_logger()

FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioStorageQuotaExceeded"})
"""Error codes of stores that have no room; of Amazon's there is always some."""

TIRED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "OperationAborted"})
"""Error codes that ask to come again, whatever their status."""

GONE = frozenset({"NoSuchKey", "NoSuchUpload", "NotFound", "PreconditionFailed", "404", "412"})
"""Error codes of an object or an upload that is not there, or is not the one that was meant."""

REMOVED_AT_ONCE = 1000
"""Most objects that S3 removes by one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a store may take, and how often it is asked again (reliability F15)."""

    connect_s: float = 5.0
    silence_s: float = 20.0
    """Longest that it may say nothing."""
    call_s: float = 60.0
    """Longest request, its body included."""
    pauses_s: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 4.0)
    """Before each further try; each is cut at random by up to a half, so that clients do not come back together."""

    def pauses(self) -> Iterator[float]:
        """Pauses of one request, seconds."""
        return (pause * random.uniform(0.5, 1) for pause in self.pauses_s)  # noqa: S311


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what a bucket holds."""

    items: Sequence[Any]
    now: datetime
    """When it was listed, by the clock of the store."""


class Bucket:
    """A bucket, by an open client of aiobotocore."""

    def __init__(self, client: Any, name: str, *, patience: Patience) -> None:
        self._client = client
        self._name = name
        self.patience = patience

    async def call(self, operation: str, **arguments: Any) -> Any:
        """Make a request; all that are made here may be made twice.

        Raises
        ------
        NotFoundError
            There is no such object or upload.
        StoreFullError
            There is no room.
        BackendUnavailableError
            The store does not answer, or does not let us in; why stands in the log.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        pauses = self.patience.pauses()
        while True:
            try:
                async with asyncio.timeout(self.patience.call_s):
                    return await getattr(self._client, operation)(Bucket=self._name, **arguments)
            except ClientError as e:
                reason = _reason(e)
                pause = next(pauses, None) if _is_passing(e) else None
                error = _error(e)
            except (BotoCoreError, OSError) as e:  # TimeoutError is an OSError
                reason = f"{type(e).__name__}: {e}"[:200]
                pause = next(pauses, None) if _is_of_network(e) else None
                error = _unavailable()
            if pause is None:
                if isinstance(error, BackendUnavailableError):
                    log.warning("Result store failed", operation=operation, reason=reason)
                raise error
            log.warning("Result store asked again", operation=operation, reason=reason)
            await asyncio.sleep(pause)

    async def sign(self, *, life: timedelta, **arguments: Any) -> str:
        """URL by which its bearer may get an object for so long."""
        url: str = await self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._name, **arguments}, ExpiresIn=int(life.total_seconds())
        )
        return url

    async def objects(self, prefix: str) -> AsyncIterator[Page]:
        """List objects, page by page."""
        marker: dict[str, str] = {}
        while True:
            answer = await self.call("list_objects_v2", Prefix=prefix, **marker)
            yield Page(answer.get("Contents", ()), _now(answer))
            if not answer.get("IsTruncated"):
                return
            marker = {"ContinuationToken": answer["NextContinuationToken"]}

    async def uploads(self, prefix: str) -> AsyncIterator[Page]:
        """List unfinished uploads, page by page."""
        markers: dict[str, str] = {}
        while True:
            answer = await self.call("list_multipart_uploads", Prefix=prefix, **markers)
            items = [one for one in answer.get("Uploads", ()) if one["Key"].startswith(prefix)]
            yield Page(items, _now(answer))
            if not answer.get("IsTruncated"):
                return
            markers = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    async def remove(self, names: Sequence[str]) -> None:
        """Remove objects; those that are not there are no error."""
        for start in range(0, len(names), REMOVED_AT_ONCE):
            some = [{"Key": name} for name in names[start : start + REMOVED_AT_ONCE]]
            answer = await self.call("delete_objects", Delete={"Objects": some, "Quiet": True})
            if errors := answer.get("Errors"):
                log.warning("Result store failed", operation="delete_objects", reason=errors[0].get("Code"))
                raise _unavailable()


def broken_body() -> tuple[type[Exception], ...]:
    """Errors that reading an answer's body may raise when the connection breaks."""
    from aiohttp import ClientError as ConnectionTrouble
    from botocore.exceptions import BotoCoreError

    return (ConnectionTrouble, BotoCoreError, OSError)


def _now(answer: Any) -> datetime:
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _reason(error: Any) -> str:
    return f"{error.response.get('Error', {}).get('Code')} ({_status(error)})"


def _is_passing(error: Any) -> bool:
    status = _status(error)
    return (status >= 500 and status != 507) or status == 429 or error.response.get("Error", {}).get("Code") in TIRED


def _is_of_network(error: Exception) -> bool:
    from botocore.exceptions import HTTPClientError

    return isinstance(error, HTTPClientError | OSError)


def _error(error: Any) -> GatewayError:
    code = error.response.get("Error", {}).get("Code")
    if code in FULL or _status(error) == 507:
        return StoreFullError()
    if code in GONE:
        return NotFoundError("This result is not here any more")
    return _unavailable()


def _unavailable() -> BackendUnavailableError:
    return BackendUnavailableError("The result store does not answer; try again later")
