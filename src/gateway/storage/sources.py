"""Where images lie: files and URLs, read by ranges.

A location is a path or a ``http(s)://`` URL. Only locations that an operator ingested are ever opened; what comes with
requests is an identifier that is looked up.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from typing_extensions import override

from gateway.errors import BackendUnavailableError, DatasetError, NotFoundError

if TYPE_CHECKING:
    import httpx

SCHEMES = ("http://", "https://")

OTHER_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
"""What begins a URL; no path of ours does, as they are absolute."""

BLOCK_BYTES = 2**20
"""Read ahead over HTTP, bytes: a request costs as much as some hundred kilobytes."""

HTTP_TIMEOUT_S = 30.0
"""Longest silence of a server, seconds."""

AS_STORED = {"Accept-Encoding": "identity"}
"""Sizes and ranges are those of the file, not of what a server makes of it on the way."""

GZIP = b"\x1f\x8b"
"""How a gzipped file begins, whatever its name."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells whether a file is still the same: its size, when it was changed, and its ETag where it has one."""

    size: int
    modified: str | None
    """As the source spells it: nanoseconds of a file, Last-Modified of a URL."""
    etag: str | None = None

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Stamp:
        """Read what `to_json` wrote."""
        return cls(record["size"], record["modified"], record["etag"])

    def to_json(self) -> dict[str, Any]:
        """Spell it for the database and for children."""
        return {"size": self.size, "modified": self.modified, "etag": self.etag}

    @property
    def tag(self) -> str:
        """A strong ETag (RFC 9110) for the bytes."""
        return f'"{self.size:x}-{self.etag or self.modified or "0"}"'.replace(" ", "")


class ByteSource(Protocol):
    """A file somewhere."""

    @property
    def location(self) -> str:
        """Path or URL."""
        ...

    def stamp(self) -> Stamp:
        """Look at the file.

        Raises
        ------
        NotFoundError
            It is not there.
        BackendUnavailableError
            Whoever has it does not answer.
        """
        ...

    def open(self) -> IO[bytes]:
        """Open its bytes for reading and seeking."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine, or of a file system that it mounts."""

    path: Path

    @property
    def location(self) -> str:
        """Absolute path."""
        return str(self.path)

    def stamp(self) -> Stamp:
        """Look at the file."""
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError) as e:
            raise NotFoundError("the file is no longer there") from e
        except OSError as e:
            raise BackendUnavailableError(f"the file cannot be reached: {os.strerror(e.errno or 0)}") from e
        if not stat.S_ISREG(found.st_mode):
            raise DatasetError("it is not a regular file")
        return Stamp(found.st_size, str(found.st_mtime_ns))

    def open(self) -> IO[bytes]:
        """Open its bytes."""
        self.stamp()  # to open a pipe would wait for a writer
        try:
            return self.path.open("rb")
        except FileNotFoundError as e:
            raise NotFoundError("the file is no longer there") from e
        except OSError as e:
            raise BackendUnavailableError(f"the file cannot be read: {os.strerror(e.errno or 0)}") from e


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file behind a URL whose server answers to ranges."""

    location: str
    timeout_s: float = HTTP_TIMEOUT_S
    """Longest silence of the server, seconds."""

    def stamp(self) -> Stamp:
        """Ask for its size and date."""
        with self._client() as client:
            return self._stamp(client)

    def open(self) -> IO[bytes]:
        """Open its bytes; they are fetched as they are read."""
        client = self._client()
        try:
            return cast(
                "IO[bytes]", io.BufferedReader(_Ranges(client, self.location, self._stamp(client)), BLOCK_BYTES)
            )
        except BaseException:
            client.close()
            raise

    def _client(self) -> httpx.Client:
        import httpx

        return httpx.Client(timeout=self.timeout_s, follow_redirects=True, headers=AS_STORED)

    def _stamp(self, client: httpx.Client) -> Stamp:
        import httpx

        try:
            answer = client.head(self.location)
        except httpx.InvalidURL as e:
            raise DatasetError(f"its URL cannot be read: {e}") from e
        except httpx.HTTPError as e:
            raise BackendUnavailableError(f"the server of the file does not answer ({type(e).__name__})") from e
        _check_status(answer.status_code)
        headers = answer.headers
        if not headers.get("content-length", "").isdigit():
            raise DatasetError("the server of the file does not give its size")
        etag = headers.get("etag", "").removeprefix("W/").strip('"')
        return Stamp(int(headers["content-length"]), headers.get("last-modified"), etag or None)


class _Ranges(io.RawIOBase):
    """Bytes of a URL, each read a request for a range."""

    def __init__(self, client: httpx.Client, url: str, stamp: Stamp) -> None:
        self._client = client
        self._url = url
        self._stamp = stamp
        self._place = 0
        self._kept: bytes | None = None

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._stamp.size}[whence]
        self._place = max(base + offset, 0)
        return self._place

    @override
    def tell(self) -> int:
        return self._place

    @override
    def readinto(self, buffer: Any, /) -> int:
        count = min(len(buffer), self._stamp.size - self._place)
        if count <= 0:
            return 0
        if self._stamp.size <= BLOCK_BYTES:  # all of a small file at once; no server needs ranges for that
            self._kept = self._kept or self._fetch(0, self._stamp.size)
            buffer[:count] = self._kept[self._place : self._place + count]
        else:
            buffer[:count] = self._fetch(self._place, count)
        self._place += count
        return count

    @override
    def close(self) -> None:
        self._client.close()
        super().close()

    def _fetch(self, start: int, count: int) -> bytes:
        import httpx

        # the body is looked at only once it is known to be the range: a server without ranges sends the whole file
        wanted = {"Range": f"bytes={start}-{start + count - 1}"}
        found = bytearray()
        try:
            with self._client.stream("GET", self._url, headers=wanted) as answer:
                _check_status(answer.status_code)
                is_whole = answer.status_code == httpx.codes.OK and (start, count) == (0, self._stamp.size)
                if answer.status_code != httpx.codes.PARTIAL_CONTENT and not is_whole:
                    raise DatasetError("the server of the file does not send parts of it (HTTP ranges)")
                span = answer.headers.get("content-range", "").removesuffix("/*")
                here = f"bytes {start}-{start + count - 1}"
                if not is_whole and span not in {here, f"{here}/{self._stamp.size}"}:
                    raise BackendUnavailableError("the server of the file sent another part than was asked for")
                for piece in answer.iter_raw():
                    found += piece
                    if len(found) > count:
                        break
        except httpx.HTTPError as e:
            raise BackendUnavailableError(f"the server of the file does not answer ({type(e).__name__})") from e
        if len(found) != count:
            raise BackendUnavailableError(f"the server of the file sent {len(found)} bytes for {count}")
        return bytes(found)


def _check_status(status: int) -> None:
    """Refuse an answer that has not what was asked for."""
    if status in {404, 410}:
        raise NotFoundError("the file is no longer there")
    if status in {401, 403}:
        raise DatasetError(f"the server of the file does not let us read it (status {status})")
    if status >= 400:
        raise BackendUnavailableError(f"the server of the file answers with an error (status {status})")


def source(location: str) -> ByteSource:
    """Give the source of a location.

    Raises
    ------
    DatasetError
        It is a URL of a kind that is not read.
    """
    if location.lower().startswith(SCHEMES):
        return WebFile(location)
    if OTHER_SCHEME.match(location):
        raise DatasetError("it is neither a path nor an http(s) URL")
    return LocalFile(Path(location))


@contextmanager
def unpacked(file: ByteSource) -> Iterator[IO[bytes]]:
    """Hold a file's content open: of a file that is gzipped as a whole, what is inside."""
    with file.open() as raw:
        is_gzipped = raw.read(len(GZIP)) == GZIP
        raw.seek(0)
        if not is_gzipped:
            yield raw
            return
        with gzip.open(raw) as content:
            yield cast("IO[bytes]", content)
