"""Cut images (SODA): find the dataset, and let a child process cut it, its planes in step."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from gateway.db.images import Dataset, StoredFile
from gateway.errors import DatasetError, NotFoundError
from gateway.services.access import Caller
from gateway.services.datafiles import FITS
from gateway.services.repository import Repository
from gateway.services.slots import Slots
from gateway.storage.results import LocalObject
from gateway.storage.sources import Stamp
from gateway.vo.shapes import pos_text
from gateway.vo.soda import Cutout, CutoutRequest

log = structlog.get_logger()

CutFile = Callable[..., Awaitable[Mapping[str, Any]]]
"""Calls `gateway.services.cutting.cut_file` somewhere: in a child process that can be killed, or in a thread."""


@dataclass(frozen=True, slots=True)
class CutoutFile:
    """A cutout on disk; whoever asked for it reads it before the context ends."""

    path: Path
    size: int
    name: str
    """File name to offer."""
    media_type: str = FITS

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Bytes of the file, in pieces."""
        return LocalObject(self.path, self.size).chunks()


class CutoutService:
    """Cuts datasets.

    Parameters
    ----------
    repository
        Where datasets are looked up.
    cut
        Does the work with pixels.
    slots
        Cutouts at once in this process.
    most_pixels
        Pixels of one cutout, all planes together.
    limit
        What has this limit, for whoever asks for more.
    """

    def __init__(
        self,
        *,
        repository: Repository,
        cut: CutFile,
        slots: Slots,
        most_pixels: int,
        limit: str = "one cutout may have",
    ) -> None:
        self._repository = repository
        self._cut = cut
        self._slots = slots
        self._most_pixels = most_pixels
        self._limit = limit

    @asynccontextmanager
    async def open(self, cutout: Cutout, caller: Caller) -> AsyncIterator[CutoutFile]:
        """Hold a cutout as a file.

        Raises
        ------
        NotFoundError
            There is no such dataset.
        NoOverlapError
            The region does not touch it.
        UsageError
            It would have more pixels than allowed.
        DatasetError
            Its file cannot be read any more.
        TransientError
            It cannot be cut now.
        """
        dataset = await self._find(cutout.dataset)
        files = await self._repository.files(dataset)
        planes = [{"role": "science", "path": dataset.path, "hdu": dataset.hdu}, *map(asdict, dataset.planes)]
        with tempfile.TemporaryDirectory(prefix="gateway-cutout-") as folder:
            path = Path(folder, "cutout.fits")
            try:
                async with self._slots.take():
                    answer = await self._cut(
                        root=dataset.root,
                        files={name: _spelled(file) for name, file in files.items()},
                        planes=planes,
                        region=None if cutout.region is None else pos_text(cutout.region),
                        header=dataset.rules.get("header", {}),
                        notes=[f"ID={dataset.obs_publisher_did}", *([cutout.shown] if cutout.shown else [])],
                        most_pixels=self._most_pixels,
                        limit=self._limit,
                        output=str(path),
                    )
            except DatasetError as e:
                log.warning(
                    "Image cannot be cut", dataset=dataset.key, root=dataset.root, path=dataset.path, reason=e.message
                )
                raise
            log.info("Image cut", owner=caller.key, dataset=dataset.key, pixels=answer["pixels"])
            yield CutoutFile(path, answer["size"], _file_name(dataset))

    async def check(self, request: CutoutRequest, caller: Caller) -> None:
        """Find out whether the datasets of a request are there, without cutting.

        Raises
        ------
        NotFoundError
            One is not, and which.
        """
        del caller  # everything is public so far
        wanted = list(dict.fromkeys(cutout.dataset for cutout in request.cutouts))
        found = await self._repository.find(wanted)
        for identifier in wanted:
            if identifier.lower() not in found:
                raise _unknown(identifier)

    async def _find(self, identifier: str) -> Dataset:
        found = await self._repository.find([identifier])
        try:
            return found[identifier.lower()]
        except KeyError:
            raise _unknown(identifier) from None


def _file_name(dataset: Dataset) -> str:
    """Name that tells an astronomer what it is, of characters that every file system takes."""
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "_", str(dataset.values["obs_id"])).strip("._")[:80]
    return f"{stem or dataset.key}-cutout.fits"


def _unknown(identifier: str) -> NotFoundError:
    return NotFoundError(f"ID={identifier[:200]!r}: there is no such dataset here; use a value of obs_publisher_did")


def _spelled(file: StoredFile) -> dict[str, Any]:
    return {"stamp": Stamp(file.size, file.modified, file.etag).to_json(), "hdus": list(file.hdus)}


async def cut_in_thread(**arguments: Any) -> Mapping[str, Any]:
    """Cut in a thread of this process: for the children of jobs, which are killable themselves."""
    from gateway.services.cutting import cut_file  # the pixels' libraries take a second to import

    return await asyncio.to_thread(cut_file, **arguments)
