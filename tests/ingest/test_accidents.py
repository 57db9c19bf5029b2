"""What an ingest leaves behind when it dies, starves or meets another: nothing, and the next one works."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.errors import IngestError
from tests.support.catalogs import Catalog

CHILD = """
import sys
from pathlib import Path
from gateway.ingest.tables import ingest_table

def show(progress):
    print(progress.phase.value, progress.done, flush=True)

ingest_table(
    [Path(sys.argv[1])], name="survey.stars", admin_url=sys.argv[2], progress=show,
    memory_budget=int(sys.argv[3]), folder=Path(sys.argv[4]),
)
"""


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    random = np.random.default_rng(2)
    path = tmp_path / "stars.parquet"
    count = 400_000
    rows = {"n": np.arange(count), "ra": random.uniform(0, 360, count), "dec": random.uniform(-90, 90, count)}
    pq.write_table(pa.table(rows), path)
    return path


def child(path: Path, catalog: Catalog, folder: Path, budget: int = 2_000_000) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(path), catalog.url, str(budget), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("phase", ["reading", "loading", "indexing"])
def test_kill_9_leaves_nothing_and_the_next_one_works(
    catalog: Catalog, stars: Path, tmp_path: Path, phase: str
) -> None:
    folder = tmp_path / "sorting"
    folder.mkdir()
    with child(stars, catalog, folder) as victim:
        assert victim.stdout is not None
        for line in victim.stdout:
            if line.startswith(phase):
                break
        victim.send_signal(signal.SIGKILL)
    assert victim.returncode == -signal.SIGKILL
    assert not list(folder.iterdir())
    assert catalog.table() is None
    # The next one waits until PostgreSQL has noticed, by itself.
    assert catalog.publish(stars).rows == 400_000
    assert catalog.names() == {"survey.stars"}
    assert catalog.fetch("SELECT count(*) FROM survey.stars") == [(400_000,)]


def test_of_two_ingests_of_one_name_one_wins(catalog: Catalog, stars: Path) -> None:
    outcomes: list[str] = []

    def run() -> None:
        try:
            outcomes.append(f"published {catalog.publish(stars).rows}")
        except IngestError as e:
            outcomes.append(e.message)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner, loser = sorted(outcomes, key=lambda outcome: not outcome.startswith("published "))
    assert winner == "published 400000"
    assert "survey.stars is published already" in loser
    assert catalog.names() == {"survey.stars"}


def test_ingests_of_two_names_do_not_disturb_each_other(catalog: Catalog, stars: Path) -> None:
    reports = []
    threads = [
        threading.Thread(target=lambda name=name: reports.append(catalog.publish(stars, name=name)))
        for name in ("survey.a", "survey.b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.rows for report in reports] == [400_000] * 2
    assert catalog.names() == {"survey.a", "survey.b"}


def test_a_cancelled_ingest_leaves_nothing(catalog: Catalog, stars: Path) -> None:
    from gateway.ingest.progress import Phase, Progress
    from gateway.ingest.tables import publish_files

    async def run() -> None:
        loading = asyncio.Event()
        loop = asyncio.get_running_loop()

        def watch(progress: Progress) -> None:
            if progress.phase is Phase.LOADING:
                loop.call_soon_threadsafe(loading.set)

        task = asyncio.create_task(publish_files([stars], name="survey.stars", admin_url=catalog.url, progress=watch))
        await loading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert catalog.names() == set()
    assert catalog.publish(stars).rows == 400_000


# -- disks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a tiny file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_for_sorting_is_one_clear_line(catalog: Catalog, stars: Path, tiny_disk: Path) -> None:
    with pytest.raises(IngestError, match=r"no space left in .*tiny.*TMPDIR") as caught:
        catalog.publish(stars, memory_budget=1_000_000, folder=tiny_disk)
    assert "\n" not in caught.value.message
    assert catalog.names() == set()
    assert not list(tiny_disk.iterdir())


def test_a_full_disk_for_unpacking_is_one_clear_line(
    catalog: Catalog, stars: Path, tiny_disk: Path, tmp_path: Path
) -> None:
    import gzip

    packed = tmp_path / "stars.parquet.gz"
    packed.write_bytes(gzip.compress(stars.read_bytes(), 1))
    with pytest.raises(IngestError, match=r"cannot be unpacked into .*tiny"):
        catalog.publish(packed, folder=tiny_disk)


def test_a_full_disk_of_postgresql_is_one_clear_line(catalog: Catalog, stars: Path, tiny_disk: Path) -> None:
    tiny_disk.chmod(0o700)
    name = f"tiny_{os.getpid()}"
    try:
        catalog.fetch(f"CREATE TABLESPACE {name} LOCATION '{tiny_disk}'")
    except Exception as e:  # noqa: BLE001  # whatever keeps this server from using the folder
        pytest.skip(f"this server cannot use the tiny file system: {e}")
    database = catalog.fetch("SELECT current_database()")[0][0]
    try:
        catalog.fetch(f"ALTER DATABASE {database} SET default_tablespace = {name}")
        with pytest.raises(IngestError, match=r"PostgreSQL has no disk space left.*nothing was published") as caught:
            catalog.publish(stars)
        assert "\n" not in caught.value.message
        assert catalog.names() == set()
        catalog.fetch(f"ALTER DATABASE {database} RESET default_tablespace")
        assert catalog.publish(stars).rows == 400_000
    finally:
        catalog.fetch(f"ALTER DATABASE {database} RESET default_tablespace")
        catalog.fetch(f"DROP TABLESPACE {name}")


# -- memory ---------------------------------------------------------------------------------------------------

MEASURE = """
import resource, sys
from pathlib import Path
from gateway.ingest.tables import ingest_table

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

ingest_table([Path(sys.argv[1])], name="survey.small", admin_url=sys.argv[3], memory_budget=64 << 20)
before = peak()
ingest_table([Path(sys.argv[2])], name="survey.large", admin_url=sys.argv[3], memory_budget=64 << 20)
print(peak() - before)
"""


@pytest.mark.slow
def test_a_large_file_needs_no_more_memory_than_allowed(catalog: Catalog, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    count, wide = 800_000, 45
    small, large = tmp_path / "small.parquet", tmp_path / "large.parquet"
    schema = pa.schema([("ra", pa.float64()), ("dec", pa.float64())] + [(f"c{n}", pa.float64()) for n in range(wide)])

    def rows(number: int) -> pa.Table:
        columns = [random.uniform(0, 360, number), random.uniform(-90, 90, number)]
        return pa.table([*columns, *(random.random(number) for _ in range(wide))], schema=schema)

    pq.write_table(rows(1_000), small)
    with pq.ParquetWriter(large, schema, use_dictionary=False) as writer:
        for _ in range(4):
            writer.write_table(rows(count // 4))  # row groups of 75 MB
    assert large.stat().st_size > 280e6
    command = [sys.executable, "-c", MEASURE, str(small), str(large), catalog.url]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 220e6, f"{grown / 1e6:.0f} MB for a file of {large.stat().st_size / 1e6:.0f} MB"
    assert catalog.fetch("SELECT count(*) FROM survey.large") == [(count,)]
