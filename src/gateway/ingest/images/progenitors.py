"""Files from which an image was made: what its header calls them, and where they lie in the collection."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

PACKED = ("", ".fz", ".gz", ".fits", ".fits.fz", ".fits.gz")
"""Endings that a file may have got since its name was written down."""


class Progenitors:
    """Finds files of a collection by the names that headers give them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._names: dict[str, str | None] = {}
        for path in self._paths:
            name = posixpath.basename(path)
            self._names[name] = None if name in self._names else path

    def find(self, name: str, *, beside: str) -> str:
        """Path of a file: as named from the root, or from the folder of the image, or the only one of that name.

        What is not found stays as it is: the file may come later.
        """
        return next((found for found in self._candidates(name, beside) if found is not None), name)

    def _candidates(self, name: str, beside: str) -> Iterator[str | None]:
        near = posixpath.normpath(posixpath.join(posixpath.dirname(beside), name))
        for ending in PACKED:
            for path in (name + ending, near + ending):
                yield path if path in self._paths else None
        for ending in PACKED:
            yield self._names.get(posixpath.basename(name) + ending)
