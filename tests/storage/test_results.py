"""The local result store: whole or absent, and nothing outside of its folder (reliability R4, F2, F14, A12)."""

import asyncio
import errno
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from gateway.errors import NotFoundError, TransientError
from gateway.storage import results as module
from gateway.storage.results import LocalResultStore, fetch_file, save_file
from tests.support.files import files_below

HOUR = timedelta(hours=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def store(root: Path) -> LocalResultStore:
    return LocalResultStore(root)


async def pieces(*texts: str, error: Exception | None = None) -> AsyncIterator[bytes]:
    for text in texts:
        yield text.encode()
    if error is not None:
        raise error


async def content(store: LocalResultStore, key: str, start: int = 0, end: int | None = None) -> str:
    async with aclosing((await store.open(key)).chunks(start, end)) as chunks:
        return b"".join([chunk async for chunk in chunks]).decode()


async def test_object_is_read_back(store: LocalResultStore) -> None:
    assert await store.write("job/1/result", pieces("hello ", "world")) == 11
    assert (await store.open("job/1/result")).size == 11
    assert await content(store, "job/1/result") == "hello world"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(6, None, "world"), (0, 5, "hello"), (4, 7, "o w"), (11, None, ""), (5, 3, ""), (9, 99, "ld")],
)
async def test_range_is_half_open(store: LocalResultStore, start: int, end: int | None, expected: str) -> None:
    await store.write("job/1/result", pieces("hello world"))
    assert await content(store, "job/1/result", start, end) == expected


async def test_empty_object_is_an_object(store: LocalResultStore) -> None:
    assert await store.write("job/1/result", pieces()) == 0
    assert await content(store, "job/1/result") == ""


async def test_nothing_is_seen_before_the_end(store: LocalResultStore, root: Path) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"half"
        with pytest.raises(NotFoundError):
            await store.open("job/1/result")

    await store.write("job/1/result", slow())
    assert files_below(root) == ["job/1/result"]


async def test_failing_writer_leaves_nothing(store: LocalResultStore, root: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        await store.write("job/1/result", pieces("half", error=ZeroDivisionError()))
    assert files_below(root) == []


async def test_cancelled_writer_leaves_nothing(store: LocalResultStore, root: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"half"
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.write("job/1/result", endless()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_below(root) == []


async def test_full_disk_is_transient_and_leaves_nothing(
    store: LocalResultStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))

    monkeypatch.setattr(module, "_publish", full)
    with pytest.raises(TransientError, match="full") as error:
        await store.write("job/1/result", pieces("x"))
    assert str(root) not in str(error.value)
    assert files_below(root) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_file_and_its_folders_are_synced_before_write_returns(
    store: LocalResultStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    await store.write("job/1/result", pieces("x"))
    assert Path(synced[0]).name.startswith(".part-")
    assert synced[1:] == [str(root / "job/1"), str(root / "job"), str(root)]


@pytest.mark.parametrize(
    "key",
    [
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
    ],
)
async def test_key_never_leads_out_of_the_store(store: LocalResultStore, key: str) -> None:  # A12
    with pytest.raises(NotFoundError):
        await store.open(key)
    with pytest.raises(NotFoundError):
        await store.write(key, pieces("x"))
    if key:
        with pytest.raises(NotFoundError):
            await store.delete_prefix(key.rstrip("/") + "//")


async def test_unknown_object_is_not_found(store: LocalResultStore) -> None:
    with pytest.raises(NotFoundError):
        await store.open("job/1/result")


async def test_deleting_a_token_spares_the_others(store: LocalResultStore, root: Path) -> None:
    for key in ("job/1/result", "job/2/result", "other/1/result"):
        await store.write(key, pieces("x"))
    await store.delete_prefix("job/1/")
    assert files_below(root) == ["job/2/result", "other/1/result"]
    await store.delete_prefix("job/")
    assert files_below(root) == ["other/1/result"]
    await store.delete_prefix("job/")


async def test_open_download_survives_a_delete(store: LocalResultStore) -> None:  # F22
    await store.write("job/1/result", pieces("x" * 1_000_000))
    chunks = (await store.open("job/1/result")).chunks()
    first = await anext(chunks)
    await store.delete_prefix("job/")
    rest = [chunk async for chunk in chunks]
    assert len(first) + sum(map(len, rest)) == 1_000_000


async def test_sweep_removes_what_is_old_and_unnamed(store: LocalResultStore, root: Path) -> None:
    for key in ("old/1/named", "old/1/unnamed", "gone/1/unnamed", "new/1/unnamed"):
        await store.write(key, pieces("x"))
    (root / "old/1/.part-1234").touch()
    for path in [*root.glob("old/1/*"), *root.glob("gone/1/*"), root / "old/1/.part-1234"]:
        os.utime(path, (0, time.time() - 7200))

    async def referenced(keys: object) -> set[str]:
        return {"old/1/named"}

    assert await store.sweep(age=HOUR, referenced=referenced) == 3
    assert files_below(root) == ["new/1/unnamed", "old/1/named"]
    assert not (root / "gone").exists()


async def test_sweep_asks_in_batches_and_misses_none(
    store: LocalResultStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_BATCH", 3)
    for number in range(10):
        await store.write(f"job/{number}/x", pieces("x"))
    asked: list[int] = []

    async def referenced(keys: list[str]) -> set[str]:
        asked.append(len(keys))
        return set()

    assert await store.sweep(age=timedelta(seconds=-1), referenced=referenced) == 10
    assert max(asked) == 3
    assert files_below(root) == []


async def test_sweep_of_a_store_that_is_not_there(store: LocalResultStore) -> None:
    async def referenced(keys: object) -> set[str]:
        raise AssertionError

    assert await store.sweep(age=HOUR, referenced=referenced) == 0


async def test_file_goes_in_and_out(store: LocalResultStore, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_bytes(os.urandom(1_000_000))
    assert await save_file(store, "job/uploads/t", source) == 1_000_000
    assert await fetch_file(store, "job/uploads/t", tmp_path / "out") == 1_000_000
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


async def test_free_space_is_known(store: LocalResultStore) -> None:
    assert (await store.free_bytes() or 0) > 0


def test_create_survives_a_sweeper_that_removes_its_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    original = Path.open

    def racing(path: Path, mode: str) -> BinaryIO:
        nonlocal calls
        calls += 1
        if calls == 1:
            path.parent.rmdir()
        return original(path, mode)  # type: ignore[return-value]

    monkeypatch.setattr(Path, "open", racing)
    module._create(root / "job/1/x").close()
    assert calls == 2
