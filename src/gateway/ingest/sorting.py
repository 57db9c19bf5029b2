"""Rows in the order of an integer key, with no more memory than allowed.

Runs that fit the budget are sorted in memory; if there is more than one, all but none stay on disk and are
merged block by block. The disk is one file without a name, so that nothing is left behind even by kill -9.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gateway.errors import IngestError

BLOCK_ROWS = 65_536
"""Most rows of a block."""

MAX_RUN_BYTES = 1 << 30
"""Largest run, whatever the budget: Arrow counts the bytes of a binary column in 31 bits."""

BLOCK_BYTES = 4 << 20
"""Size of a block that goes straight on."""

STORED_BYTES = 512 << 10
"""Size of a block on disk. The merge holds one block of every run: 60 MB for 10 GB of rows in runs of 85 MB."""

LAST = np.iinfo(np.int64).max
"""Key of rows whose value is null: they come last."""

Keys = npt.NDArray[np.int64]


@dataclass(slots=True)
class Spill:
    """Batches on disk, in a file that nobody else sees and that goes with the process."""

    folder: Path | None
    schema: pa.Schema
    _file: IO[bytes] = field(init=False)
    _end: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115  # closed by close()
        except OSError as e:
            raise self._fault(e) from e

    def write(self, batch: pa.RecordBatch) -> tuple[int, int]:
        """Store a batch; give its place (start, length) in bytes."""
        message = batch.serialize()
        place = (self._end, message.size)
        try:
            view = memoryview(message)
            while view:
                view = view[self._file.write(view) :]
        except OSError as e:
            raise self._fault(e) from e
        self._end += message.size
        return place

    def read(self, place: tuple[int, int]) -> pa.RecordBatch:
        """Give back a batch."""
        start, length = place
        self._file.seek(start)
        data = bytearray(length)
        view, done = memoryview(data), 0
        while done < length:
            done += self._file.readinto(view[done:])  # type: ignore[attr-defined]  # raw file: buffering=0
        return pa.ipc.read_record_batch(pa.py_buffer(data), self.schema)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def _fault(self, error: OSError) -> IngestError:
        where = self.folder or tempfile.gettempdir()
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return IngestError(
                f"no space left in {where}, where rows are sorted: free some, or set TMPDIR to a folder with about the size "
                "of the uncompressed table"
            )
        return IngestError(f"rows cannot be sorted in {where}: {error.strerror}")


class Sorter:
    """Take batches in any order, give them back sorted.

    Parameters
    ----------
    schema
        Schema of the batches.
    key
        Name of the int64 column to sort by, nulls last; ``None`` keeps the order of arrival.
    memory_budget
        Bytes that rows may take in memory.
    folder
        Where rows go that do not fit; the system's temporary folder if ``None``.
    """

    def __init__(self, schema: pa.Schema, key: str | None, *, memory_budget: int, folder: Path | None = None) -> None:
        self._schema = schema
        self._key = key
        # Sorting a run needs the run, its sorted copy and the block that is being written.
        self._run_bytes = min(MAX_RUN_BYTES, max(1, memory_budget // 3))
        self._folder = folder
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._spill: Spill | None = None
        self._runs: list[list[tuple[int, int]]] = []

    @property
    def is_spilled(self) -> bool:
        """Whether rows went to disk."""
        return self._spill is not None

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        self._held.append(batch)
        self._held_bytes += batch.nbytes
        if self._held_bytes > self._run_bytes:
            self._spill_run()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give all rows back in order, once."""
        if self._spill is None:
            yield from self._sorted_run()
            return
        if self._held:
            self._spill_run()
        yield from self._merged() if self._key else (self._spill.read(place) for run in self._runs for place in run)

    def close(self) -> None:
        """Forget everything."""
        self._held = []
        if self._spill is not None:
            self._spill.close()

    def _sorted_run(self) -> Iterator[pa.RecordBatch]:
        held, self._held, self._held_bytes = self._held, [], 0
        if self._key is None:
            yield from held
            return
        if not held:
            return
        # Large blocks straight on are gathered from where the rows are; many small ones are worth a copy in one piece.
        whole = pa.Table.from_batches([pa.concat_batches(held)] if self._spill else held)
        held.clear()
        order = np.argsort(self._keys(whole), kind="quicksort")
        block_bytes = STORED_BYTES if self._spill else BLOCK_BYTES
        rows = min(BLOCK_ROWS, max(1, block_bytes * len(order) // max(1, whole.nbytes)))
        for start in range(0, len(order), rows):
            yield from whole.take(pa.array(order[start : start + rows])).combine_chunks().to_batches()

    def _spill_run(self) -> None:
        if self._spill is None:
            self._spill = Spill(self._folder, self._schema)
        self._runs.append([self._spill.write(block) for block in self._sorted_run()])

    def _keys(self, rows: pa.RecordBatch | pa.Table) -> Keys:
        keys: Keys = rows[self._key].fill_null(LAST).to_numpy()
        return keys

    def _merged(self) -> Iterator[pa.RecordBatch]:
        """Merge sorted runs: all rows up to the smallest last key of the blocks in hand are next."""
        hands = [_Hand(self, iter(run)) for run in self._runs]
        while hands := [hand for hand in hands if hand.refill()]:
            bound = min(int(hand.keys[-1]) for hand in hands)
            pieces = [piece for hand in hands if (piece := hand.take(bound)).num_rows]
            whole = pa.concat_batches(pieces)
            order = np.argsort(self._keys(whole), kind="quicksort")
            yield whole.take(pa.array(order)) if len(pieces) > 1 else whole

    def block(self, place: tuple[int, int]) -> tuple[pa.RecordBatch, Keys]:
        """Read a block and its keys back."""
        assert self._spill is not None
        batch = self._spill.read(place)
        return batch, self._keys(batch)


class _Hand:
    """The block of one run that is being merged."""

    def __init__(self, sorter: Sorter, places: Iterator[tuple[int, int]]) -> None:
        self._sorter = sorter
        self._places = places
        self._batch: pa.RecordBatch | None = None
        self.keys: Keys = np.empty(0, np.int64)

    def refill(self) -> bool:
        """Hold some rows, if any are left."""
        while not len(self.keys):
            place = next(self._places, None)
            if place is None:
                return False
            self._batch, self.keys = self._sorter.block(place)
        return True

    def take(self, bound: int) -> pa.RecordBatch:
        """Hand out the rows up to a key, that one included."""
        assert self._batch is not None
        count = int(np.searchsorted(self.keys, bound, side="right"))
        piece = self._batch.slice(0, count)
        self._batch, self.keys = self._batch.slice(count), self.keys[count:]
        return piece
