"""What every result store does, on a folder and on S3: whole or absent, and only ours (reliability R4, F2, F22, A12)."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.errors import NotFoundError, OverloadedError
from gateway.storage.results import ResultStore, Written, base, fetch_file, folder, s3, save_file

from .keys import JOB, KEY, OTHER, content, none, pieces

LARGE = os.urandom(1_000_000) * 40
"""More than two parts of an upload to S3."""
MORE_THAN_A_PART = LARGE[:17_000_000]


async def test_object_is_read_back(store: ResultStore) -> None:
    assert await store.write(KEY, pieces("hello ", "world")) == Written(11, hashlib.sha256(b"hello world").hexdigest())
    assert (await store.open(KEY)).size == 11
    assert await content(store) == b"hello world"


async def test_large_object_is_read_back(store: ResultStore) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, len(LARGE), 3_000_001):
            yield LARGE[start : start + 3_000_001]

    assert await store.write(KEY, blocks()) == Written(len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert await content(store) == LARGE
    assert await content(store, KEY, 17_000_000, 17_000_010) == LARGE[17_000_000:17_000_010]


async def test_range_is_half_open(store: ResultStore) -> None:
    await store.write(KEY, pieces("hello world"))
    for start, end, expected in (
        (6, None, b"world"),
        (0, 5, b"hello"),
        (4, 7, b"o w"),
        (11, None, b""),
        (5, 3, b""),
        (9, 99, b"ld"),
    ):
        assert await content(store, KEY, start, end) == expected, (start, end)


async def test_empty_object_is_an_object(store: ResultStore) -> None:
    assert await store.write(KEY, pieces()) == Written(0, hashlib.sha256().hexdigest())
    assert await content(store) == b""


async def test_writing_again_replaces(store: ResultStore) -> None:
    await store.write(KEY, pieces("a longer first try"))
    await store.write(KEY, pieces("second"))
    assert await content(store) == b"second"


async def test_nothing_is_seen_before_the_end(store: ResultStore) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield MORE_THAN_A_PART
        with pytest.raises(NotFoundError):
            await store.open(KEY)

    await store.write(KEY, slow())
    assert (await store.open(KEY)).size == len(MORE_THAN_A_PART)


async def test_failing_writer_leaves_nothing(store: ResultStore) -> None:
    with pytest.raises(ZeroDivisionError):
        await store.write(KEY, pieces("half", error=ZeroDivisionError()))
    with pytest.raises(NotFoundError):
        await store.open(KEY)


async def test_cancelled_writer_leaves_nothing(store: ResultStore) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield MORE_THAN_A_PART
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.write(KEY, endless()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(NotFoundError):
        await store.open(KEY)
    assert await store.sweep(age=timedelta(seconds=-5), referenced=none) == 0


BAD_KEYS = [
    "../etc/passwd",
    "job/../../x",
    "job/./x",
    "/etc/passwd",
    "job//x",
    "job/1/",
    "job/1/.hidden",
    "job/1/a\0b",
    "job/1/a\\b",
    "job/1/a\n",
    "job/1/é",
    "a/b/c/d",
    "",
    "job/1/" + "x" * 200,
]


async def test_key_never_leads_out_of_the_store(store: ResultStore) -> None:  # A12
    for key in BAD_KEYS:
        with pytest.raises(NotFoundError):
            await store.open(key)
        with pytest.raises(NotFoundError):
            await store.write(key, pieces("x"))
        with pytest.raises(NotFoundError):
            await store.delete_prefix(key.rstrip("/") + "//")


async def test_unknown_object_is_not_found(store: ResultStore) -> None:
    with pytest.raises(NotFoundError):
        await store.open(KEY)


async def test_deleting_a_token_spares_the_others(store: ResultStore) -> None:
    keys = [f"{JOB}/1.1/result", f"{JOB}/1.10/result", f"{JOB}/2.1/result", f"{OTHER}/1.1/result"]
    for key in keys:
        await store.write(key, pieces("x"))
    await store.delete_prefix(f"{JOB}/1.1/")
    assert [await is_there(store, key) for key in keys] == [False, True, True, True]
    await store.delete_prefix(f"{JOB}/")
    assert [await is_there(store, key) for key in keys] == [False, False, False, True]
    await store.delete_prefix(f"{JOB}/")


async def is_there(store: ResultStore, key: str) -> bool:
    try:
        await store.open(key)
    except NotFoundError:
        return False
    return True


async def test_sweep_asks_in_batches_and_misses_none(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (folder, s3):
        monkeypatch.setattr(module, "SWEEP_BATCH", 3)
    keys = [f"{JOB}/1.{number}/x" for number in range(12)]  # three pages of the tests' S3
    for key in keys:
        await store.write(key, pieces("x"))
    asked: list[str] = []

    async def referenced(some: list[str]) -> set[str]:
        assert len(some) <= 3
        asked.extend(some)
        return {keys[7]}

    assert await store.sweep(age=timedelta(seconds=-5), referenced=referenced) == 11
    assert sorted(asked) == sorted(keys)
    assert [key for key in keys if await is_there(store, key)] == [keys[7]]


async def test_sweep_spares_the_young(store: ResultStore) -> None:
    await store.write(KEY, pieces("x"))
    assert await store.sweep(age=timedelta(minutes=1), referenced=none) == 0
    assert await is_there(store, KEY)


async def test_sweep_of_an_empty_store(store: ResultStore) -> None:
    async def referenced(keys: object) -> set[str]:
        raise AssertionError

    assert await store.sweep(age=timedelta(0), referenced=referenced) == 0


async def test_file_goes_in_and_out(store: ResultStore, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_bytes(LARGE[:1_000_000])
    written = await save_file(store, f"{JOB}/uploads/t", source)
    assert written == Written(1_000_000, hashlib.sha256(source.read_bytes()).hexdigest())
    assert await fetch_file(store, f"{JOB}/uploads/t", tmp_path / "out") == 1_000_000
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_no_room_for_a_copy_is_told_as_something_that_passes(store: ResultStore) -> None:  # F14
    await store.write(KEY, pieces("x" * 100_000))
    with pytest.raises(OverloadedError, match="no room on disk"):
        await fetch_file(store, KEY, Path("/dev/full"))


async def test_reader_may_stop_in_the_middle(store: ResultStore) -> None:
    await store.write(KEY, pieces("x" * 1_000_000))
    async with aclosing((await store.open(KEY)).chunks()) as chunks:
        assert len(await anext(chunks)) <= base.CHUNK_BYTES
    assert len(await content(store)) == 1_000_000
