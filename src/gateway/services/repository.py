"""Where images come from: datasets by identifier, what is known of their files, and the files' bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.db.images import Dataset, ImageCatalog, StoredFile
from gateway.storage.sources import ByteSource, source


class Repository(Protocol):
    """Images of an archive. Files are the first kind; a survey's own data system may be another."""

    async def find(self, dids: Sequence[str]) -> Mapping[str, Dataset]:
        """Find datasets by publisher DID; the keys are the DIDs in lower case, since they compare without case."""
        ...

    async def find_key(self, key: str) -> Dataset | None:
        """Find a dataset by the key that its URLs have."""
        ...

    async def made_from(self, dataset: Dataset) -> Mapping[str, Dataset]:
        """Find the datasets from which one was made, by the name that it has for them."""
        ...

    async def files(self, dataset: Dataset) -> Mapping[str, StoredFile]:
        """Give what ingest found in the files of a dataset and of what belongs to it: a cache, to be checked on use."""
        ...

    def source(self, dataset: Dataset, path: str) -> ByteSource:
        """Give the bytes of one of these files."""
        ...


class FileRepository:
    """Files in folders and behind URLs, as ``gateway ingest images`` recorded them."""

    def __init__(self, catalog: ImageCatalog) -> None:
        self._catalog = catalog

    async def find(self, dids: Sequence[str]) -> Mapping[str, Dataset]:
        """Find datasets by publisher DID."""
        return await self._catalog.find(dids)

    async def find_key(self, key: str) -> Dataset | None:
        """Find a dataset by its key."""
        return await self._catalog.find_key(key)

    async def made_from(self, dataset: Dataset) -> Mapping[str, Dataset]:
        """Find the datasets from which one was made, by path; of a file with several images the first."""
        found: dict[str, Dataset] = {}
        if dataset.progenitors:
            for one in await self._catalog.made_from(dataset.collection, dataset.progenitors):
                found.setdefault(one.path, one)
        return found

    async def files(self, dataset: Dataset) -> Mapping[str, StoredFile]:
        """Give what ingest found in the files."""
        paths = dict.fromkeys([dataset.path, *(plane.path for plane in dataset.planes)])
        return await self._catalog.files(dataset.collection, list(paths))

    def source(self, dataset: Dataset, path: str) -> ByteSource:
        """Give the bytes of a file."""
        return source(f"{dataset.root}/{path}")
