from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gateway.errors import IngestError
from gateway.ingest.sorting import Sorter

SCHEMA = pa.schema([("value", pa.string()), ("key", pa.int64())])


def batches(keys: list[int | None], size: int) -> list[pa.RecordBatch]:
    table = pa.table({"value": [f"v{key}" for key in keys], "key": pa.array(keys, pa.int64())})
    return table.to_batches(max_chunksize=size)


def run(keys: list[int | None], *, budget: int, size: int = 100) -> tuple[pa.Table, bool]:
    sorter = Sorter(SCHEMA, "key", memory_budget=budget)
    for batch in batches(keys, size):
        sorter.add(batch)
    rows = pa.Table.from_batches(sorter.batches(), SCHEMA)
    is_spilled = sorter.is_spilled
    sorter.close()
    return rows, is_spilled


def keys(count: int) -> list[int | None]:
    random = np.random.default_rng(7)
    return [None if random.random() < 0.05 else int(key) for key in random.integers(0, 10**6, count)]


@pytest.mark.parametrize(("budget", "spilled"), [(1 << 30, False), (30_000, True), (1, True)])
def test_rows_come_back_sorted_with_nulls_last(budget: int, spilled: bool) -> None:
    given = keys(10_000)
    rows, is_spilled = run(given, budget=budget)
    assert is_spilled is spilled
    expected = sorted(key for key in given if key is not None) + [None] * given.count(None)
    assert rows["key"].to_pylist() == expected
    assert rows["value"].to_pylist() == [f"v{key}" for key in expected]


def test_all_rows_at_one_place_are_merged_too() -> None:
    rows, _ = run([5] * 5_000, budget=10_000)
    assert rows.num_rows == 5_000


def test_no_rows_are_no_batches() -> None:
    rows, _ = run([], budget=1)
    assert rows.num_rows == 0


def test_without_a_key_rows_keep_their_order() -> None:
    given = keys(3_000)
    sorter = Sorter(SCHEMA, None, memory_budget=1_000)
    for batch in batches(given, 100):
        sorter.add(batch)
    assert pa.Table.from_batches(sorter.batches(), SCHEMA)["key"].to_pylist() == given
    sorter.close()


def test_nothing_is_left_in_the_folder_even_while_sorting(tmp_path: Path) -> None:
    sorter = Sorter(SCHEMA, "key", memory_budget=1, folder=tmp_path)
    for batch in batches(keys(1_000), 100):
        sorter.add(batch)
    assert sorter.is_spilled
    assert not list(tmp_path.iterdir())
    sorter.close()


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    sorter = Sorter(SCHEMA, "key", memory_budget=1, folder=tmp_path / "absent")
    with pytest.raises(IngestError, match="cannot be sorted in"):
        sorter.add(batches([1, 2], 2)[0])


def test_a_full_device_is_told() -> None:
    sorter = Sorter(SCHEMA, "key", memory_budget=1)
    sorter.add(batches([1], 1)[0])
    assert sorter._spill is not None
    sorter._spill._file.close()
    sorter._spill._file = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115  # closed by the sorter
    with pytest.raises(IngestError, match=r"no space left in .*TMPDIR"):
        sorter.add(batches([2], 1)[0])
    sorter.close()
