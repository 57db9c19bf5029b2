"""Keys as jobs make them, and what lies under them."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from gateway.storage.results import ResultStore

JOB, OTHER, OLD = "job-of-the-tests-number1", "job-of-the-tests-number2", "job-of-the-tests-number3"
KEY = f"{JOB}/1.1/result"


async def pieces(*texts: str, error: BaseException | None = None) -> AsyncIterator[bytes]:
    for text in texts:
        yield text.encode()
    if error is not None:
        raise error


async def content(store: ResultStore, key: str = KEY, start: int = 0, end: int | None = None) -> bytes:
    async with aclosing((await store.open(key)).chunks(start, end)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def none(keys: object) -> set[str]:
    """Nothing is in use any more."""
    return set()
