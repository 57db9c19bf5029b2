"""The result store in a folder: durable, and never more than its own (reliability R4, F14, F16, F22, A12)."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from gateway.errors import BackendUnavailableError, NotFoundError
from gateway.storage.results import LocalResultStore, StoreFullError, folder
from tests.support.files import files_below

from .keys import JOB, KEY, OLD, OTHER, content, none, pieces

HOUR = timedelta(hours=1)


def make_old(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (0, time.time() - 7200))


async def test_writers_that_fail_leave_no_file_and_no_temporary(folder_store: LocalResultStore, root: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        await folder_store.write(KEY, pieces("half", error=ZeroDivisionError()))
    with pytest.raises(asyncio.CancelledError):
        await folder_store.write(KEY, pieces("half", error=asyncio.CancelledError()))
    assert files_below(root) == []


async def test_writer_cancelled_while_it_publishes_leaves_nothing(
    folder_store: LocalResultStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = asyncio.Event()
    loop = asyncio.get_running_loop()
    go = folder._fsync_folder

    def slowly(path: Path) -> None:
        loop.call_soon_threadsafe(published.set)
        time.sleep(0.1)
        go(path)

    monkeypatch.setattr(folder, "_fsync_folder", slowly)
    task = asyncio.create_task(folder_store.write(KEY, pieces("whole")))
    await published.wait()
    assert files_below(root) == [KEY]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_below(root) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_file_and_its_folders_are_synced_before_write_returns(
    folder_store: LocalResultStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    await folder_store.write(KEY, pieces("x"))
    assert Path(synced[0]).name.startswith(".part-")
    assert synced[1:] == [str(root / JOB / "1.1"), str(root / JOB), str(root)]


FULL_DISK = """
import asyncio, pathlib, sys
from gateway.storage.results import LocalResultStore, StoreFullError
from tests.storage.keys import JOB, OTHER, pieces
from tests.support.files import files_below

async def main(root):
    store = LocalResultStore(root)
    first = await store.write(f"{JOB}/1.1/small", pieces("x" * 1000))
    free = await store.free_bytes()
    assert 0 < free < 4 << 20, free
    try:
        await store.write(f"{OTHER}/1.1/large", pieces(*["x" * 65536] * 128))
    except StoreFullError as e:
        assert "full" in e.message and str(root) not in e.message and e.retry_after_s == 60
    else:
        raise AssertionError("8 MiB went into 4")
    assert files_below(root) == [f"{JOB}/1.1/small"], files_below(root)
    await store.write(f"{OTHER}/1.2/small", pieces("y" * 1000))  # others go on
    (root / "ballast").write_bytes(bytes((await store.free_bytes()) - 65536))
    try:
        await store.write(f"{OTHER}/1.3/large", pieces("x" * 1_000_000))
    except StoreFullError:
        pass
    (root / "ballast").unlink()
    await store.write(f"{OTHER}/1.3/large", pieces("x" * 1_000_000))  # and so does the same one, later
    print("done")

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="needs a file system of its own")
def test_full_disk_fails_one_writer_and_no_other(tmp_path: Path) -> None:  # F14
    mounted = 'mount -t tmpfs -o size=4m tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, FULL_DISK],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount a file system")
    assert done.stdout.endswith("done\n"), done.stderr + done.stdout


async def test_long_object_is_given_up_before_the_disk_is_full(root: Path) -> None:  # F14
    store = LocalResultStore(root, keep_free_bytes=1 << 60)
    await store.write(KEY, pieces("short"))
    with pytest.raises(StoreFullError):
        await store.write(f"{JOB}/1.2/long", pieces(*["x" * 2**20] * 17))
    assert files_below(root) == [KEY]


async def test_folder_that_cannot_be_made_is_told_without_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = LocalResultStore(tmp_path / "file" / "results")
    with pytest.raises(BackendUnavailableError) as error:
        await store.write(KEY, pieces("x"))
    assert str(tmp_path) not in str(error.value)


async def test_link_out_of_the_store_is_not_followed(
    folder_store: LocalResultStore, root: Path, tmp_path: Path
) -> None:  # A12
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/result").write_text("secret")
    (root / JOB / "1.1").mkdir(parents=True)
    (root / KEY).symlink_to(tmp_path / "secrets/result")
    (root / JOB / "1.2").symlink_to(tmp_path / "secrets")
    for key in (KEY, f"{JOB}/1.2/result", f"{JOB}/1.1"):
        with pytest.raises(NotFoundError):
            await folder_store.open(key)
    await folder_store.sweep(age=timedelta(seconds=-1), referenced=none)
    await folder_store.delete_prefix(f"{JOB}/")
    assert files_below(tmp_path) == ["secrets/result"]


async def test_file_that_lost_its_end_is_no_whole_result(folder_store: LocalResultStore, root: Path) -> None:
    await folder_store.write(KEY, pieces("hello world"))
    found = await folder_store.open(KEY)
    os.truncate(root / KEY, 5)
    with pytest.raises(BackendUnavailableError):
        assert [chunk async for chunk in found.chunks()] == [b"hello"]


async def test_open_download_survives_a_delete(folder_store: LocalResultStore) -> None:  # F22
    await folder_store.write(KEY, pieces("x" * 1_000_000))
    chunks = (await folder_store.open(KEY)).chunks()
    first = await anext(chunks)
    await folder_store.delete_prefix(f"{JOB}/")
    rest = [chunk async for chunk in chunks]
    assert len(first) + sum(map(len, rest)) == 1_000_000
    with pytest.raises(NotFoundError):
        await content(folder_store)


async def test_sweep_removes_what_is_old_and_unnamed(folder_store: LocalResultStore, root: Path) -> None:
    for key in (f"{OLD}/1.1/named", f"{OLD}/1.1/unnamed", f"{OTHER}/uploads/unnamed", f"{JOB}/1.1/unnamed"):
        await folder_store.write(key, pieces("x"))
    temporary = root / OLD / "1.1/.part-1234"  # of a writer that was killed (F2)
    temporary.touch()
    empty = root / OLD / "1.2"
    empty.mkdir()
    make_old(*root.glob(f"{OLD}/1.1/*"), *root.glob(f"{OTHER}/uploads/*"), temporary, empty)

    async def referenced(keys: object) -> set[str]:
        return {f"{OLD}/1.1/named"}

    assert await folder_store.sweep(age=HOUR, referenced=referenced) == 3
    assert files_below(root) == [f"{JOB}/1.1/unnamed", f"{OLD}/1.1/named"]
    assert sorted(path.name for path in root.iterdir()) == sorted([JOB, OLD])
    assert not empty.exists()


async def test_sweep_touches_nothing_that_no_job_made(folder_store: LocalResultStore, root: Path) -> None:
    """An operator may name a folder that holds other things, a home or an archive for example."""
    await folder_store.write(KEY, pieces("x"))
    others = [
        "notes.txt",
        "images/1.1/a.fits",
        f"{JOB}/notes",
        f"{JOB}/more/a",
        f"{OTHER}/1.1/deep/a",
        f"{OTHER}.bak/1.1/a",
    ]
    for name in others:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    make_old(*(path for path in root.rglob("*") if path.is_file()))
    assert await folder_store.sweep(age=HOUR, referenced=none) == 1
    assert files_below(root) == sorted(others)


async def test_age_is_by_the_clock_that_dates_the_files(
    folder_store: LocalResultStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # F16: this machine's clock is two hours ahead of the file server's
    await folder_store.write(KEY, pieces("x"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    assert await folder_store.sweep(age=HOUR, referenced=none) == 0
    assert files_below(root) == [KEY]


async def test_free_space_is_known(folder_store: LocalResultStore) -> None:
    assert (await folder_store.free_bytes() or 0) > 0


async def test_folder_gives_no_links(folder_store: LocalResultStore) -> None:
    assert await folder_store.sign(KEY, media_type="text/plain", disposition="inline") is None


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
    folder._create(root / JOB / "1.1/x").close()
    assert calls == 2


async def test_kill_at_any_byte_leaves_no_partial_object(root: Path) -> None:  # F2
    """A process is killed over and over while it writes: what is seen is whole, what is left is swept."""
    script = (
        "import asyncio, os, pathlib, sys\n"
        "from gateway.storage.results import LocalResultStore\n"
        "async def blocks():\n"
        "    for _ in range(64): yield bytes(65536); print('.', end='', flush=True)\n"
        "async def main():\n"
        "    for n in range(10**6): await LocalResultStore(pathlib.Path(sys.argv[1])).write(sys.argv[2] + f'/1.{n}/r', blocks())\n"
        "asyncio.run(main())\n"
    )
    for dots in (1, 30, 63, 64, 65, 100):
        process = subprocess.Popen([sys.executable, "-c", script, str(root), f"{JOB}{dots}"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.read(dots)
        process.kill()
        process.wait()
        process.stdout.close()
    store = LocalResultStore(root)
    whole = [name for name in files_below(root) if not Path(name).name.startswith(".part-")]
    partial = len(files_below(root)) - len(whole)
    assert partial >= 3
    for name in whole:
        assert len(await content(store, name)) == 64 * 65536

    async def all_whole(keys: object) -> set[str]:
        return set(whole)

    assert await store.sweep(age=timedelta(seconds=-1), referenced=all_whole) == partial
    assert files_below(root) == whole


async def test_writing_waits_for_its_thread_before_it_tidies_up(
    folder_store: LocalResultStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    add = folder._NewFile.add
    added: list[bytes] = []

    def slowly(file: folder._NewFile, piece: bytes) -> None:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.1)
        add(file, piece)  # raises if the file was closed meanwhile
        added.append(piece)

    monkeypatch.setattr(folder._NewFile, "add", slowly)

    async def blocks() -> AsyncIterator[bytes]:
        yield b"x"

    task = asyncio.create_task(folder_store.write(KEY, blocks()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert added == [b"x"]
    assert files_below(root) == []
