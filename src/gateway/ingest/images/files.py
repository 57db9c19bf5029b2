"""Which files an ingest of images looks at, and where they lie in their collection."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from gateway.errors import IngestError
from gateway.storage.sources import SCHEMES

FITS_NAME = re.compile(r".+\.(fits?|fts)(\.(fz|gz))?\Z", re.IGNORECASE)
"""Names of FITS files in a folder; a file that is named itself may be called anything."""

COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,62}\Z")
"""What may stand in an IVOA identifier without being escaped (IVOA Identifiers 2.0, "Resource keys")."""


def check_collection(name: str) -> None:
    """Refuse a name that cannot be part of an identifier.

    Raises
    ------
    IngestError
        It cannot.
    """
    if not COLLECTION_NAME.match(name):
        raise IngestError(
            f"{name!r} is no name of a collection: use up to 63 letters, digits, dots, hyphens and underscores, "
            "since it becomes part of identifiers"
        )


@dataclass(frozen=True, slots=True)
class Places:
    """What an ingest was pointed at."""

    given: tuple[str, ...]
    """Absolute paths and URLs that were named."""
    locations: tuple[str, ...]
    """Absolute paths and URLs of all FITS files there, in order, none twice."""
    missing: tuple[tuple[str, str], ...] = ()
    """Absolute paths that were named and have no FITS file, each with the reason."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """Folders that cannot be listed, each with the reason."""


def find_files(paths: Sequence[str]) -> Places:
    """Find all FITS files under some paths.

    Raises
    ------
    IngestError
        A path can never be read by this version.
    """
    given: dict[str, None] = {}
    locations: dict[str, None] = {}
    missing: list[tuple[str, str]] = []
    unreadable: list[tuple[str, str]] = []
    for path in paths:
        if path.startswith(SCHEMES):
            if urlsplit(path).path.endswith("/"):
                raise IngestError(f"{path}: name the files themselves; a folder cannot be listed over HTTP")
            given[path] = locations[path] = None
            continue
        if "://" in path:
            raise IngestError(f"{path}: this version reads images from folders and from http(s) URLs")
        place = os.path.realpath(Path(path).expanduser())
        given[place] = None
        if Path(place).is_dir():
            found = list(_below(place, unreadable))
            locations |= dict.fromkeys(found)
            if not found:
                missing.append((place, "no FITS files (*.fits, *.fit, *.fts, also with .fz or .gz) below it"))
        elif os.path.lexists(place):
            locations[place] = None
        else:
            missing.append((place, "there is no such file or folder"))
    return Places(tuple(given), tuple(locations), tuple(missing), tuple(unreadable))


def _below(top: str, unreadable: list[tuple[str, str]]) -> Iterator[str]:
    """FITS files of a folder and its subfolders, links followed, hidden ones left out."""
    seen: set[str] = set()

    def tell(error: OSError) -> None:
        unreadable.append((str(error.filename), f"the folder cannot be listed: {error.strerror}"))

    for folder, folders, names in os.walk(top, followlinks=True, onerror=tell):
        seen.add(os.path.realpath(folder))
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(f"{folder}/{name}") not in seen  # a link may lead back
        )
        yield from (
            f"{folder.rstrip('/')}/{name}"
            for name in sorted(names)
            if FITS_NAME.match(name) and not name.startswith(".")
        )


def common_root(places: Places) -> str:
    """Folder or URL below which all files lie: what was named if it is one folder, else their nearest common one.

    Raises
    ------
    IngestError
        There is none.
    """
    locations = places.locations
    if len(places.given) == 1 and places.given[0] not in locations:
        return places.given[0]
    if all(location.startswith(SCHEMES) for location in locations):
        schemes = {urlsplit(location)[:2] for location in locations}
        if len(schemes) > 1:
            raise IngestError("the URLs are of several servers; ingest each server's files as a collection of its own")
        scheme, host = schemes.pop()
        folders = [str(PurePosixPath(urlsplit(location).path).parent) for location in locations]
        return f"{scheme}://{host}{os.path.commonpath(folders)}".rstrip("/")
    if any(location.startswith(SCHEMES) for location in locations):
        raise IngestError("files and URLs cannot lie in one collection; ingest them as two")
    return os.path.commonpath([str(Path(location).parent) for location in locations])


def relative(location: str, root: str) -> str | None:
    """Path of a file below the root of its collection; ``None`` if it lies elsewhere."""
    prefix = root.rstrip("/") + "/"
    return location[len(prefix) :] if location.startswith(prefix) else None
