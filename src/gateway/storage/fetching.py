"""Files behind URLs that clients name, fetched with the guards that this takes (reliability A11).

A client may name any URL, and this machine stands where the client does not: so only public hosts are asked, the
address that was checked is the one that is connected to, each redirect is checked like the first URL, nothing of the
caller or of this machine is sent along (no credentials, cookies, proxies), and size, time and silence have limits.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import httpcore
from typing_extensions import override

from gateway import __version__
from gateway.errors import UsageError
from gateway.storage.addresses import Gatekeeper

MAX_REDIRECTS = 3
"""More than archives use, and few enough that nobody is sent around."""

MAX_URL = 8_192
"""Longest URL, characters: signed ones of object stores have some thousands."""

IDLE_LIMIT = timedelta(seconds=10)
"""Longest silence of a server, from the connection to its last byte."""

MAX_ADDRESSES = 3
"""Addresses of a host that are tried."""

WEB_PORTS = frozenset({80, 443})
"""Ports below 1024 that are asked: at the others wait mail servers and the like, for whom a request is an attack."""

PORTS_OF_USERS = 1024

PIECE_BYTES = 1 << 18
"""Bytes that gather before they are written."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

OK = 200

HOST = re.compile(r"[A-Za-z0-9._-]{1,253}\Z")

HEADERS = (
    ("Accept", "*/*"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
    ("User-Agent", f"vo-gateway/{__version__}"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart, ready to be asked for."""

    scheme: str
    host: str
    """Name or address, without brackets."""
    port: int
    path: str
    """With its query."""

    @property
    def authority(self) -> str:
        """Host as a header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.scheme) else f"{host}:{self.port}"

    def to_url(self) -> httpcore.URL:
        """Put it together for the HTTP client."""
        return httpcore.URL(
            scheme=self.scheme.encode(), host=self.host.encode(), port=self.port, target=self.path.encode()
        )


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def parse_url(url: str) -> Target:
    """Take a URL apart.

    Raises
    ------
    UsageError
        It is none that is fetched.
    """
    if len(url) > MAX_URL:
        raise UsageError(f"the URL has more than {MAX_URL} characters, the most that are read")
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>'):
        raise UsageError("the URL holds characters that no URL may hold as they are; write them percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("the URL cannot be read; write it as in https://example.org/table.vot") from None
    scheme, host = parts.scheme.lower(), parts.hostname or ""
    if scheme not in {"http", "https"}:
        raise UsageError("only http and https URLs are fetched")
    if "@" in parts.netloc:
        raise UsageError("a URL with a user name or password is not fetched; use one that needs none")
    if not (HOST.match(host) or ":" in host):
        raise UsageError("the URL names no host; write it as in https://example.org/table.vot")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme, host, _default_port(scheme) if port is None else port, path)


async def reachable(gatekeeper: Gatekeeper, target: Target) -> Sequence[str]:
    """Give the addresses that may be connected to; the one place that decides.

    Raises
    ------
    UsageError
        There is none.
    """
    is_allowed = gatekeeper.allows(target.host)
    if target.port < PORTS_OF_USERS and target.port not in WEB_PORTS and not is_allowed:
        raise UsageError(f"port {target.port} is not that of a web server; use 80, 443 or one from {PORTS_OF_USERS}")
    addresses = await gatekeeper.addresses(target.host, target.port)
    if not addresses:
        # One sentence for names that do not exist and for those inside: nobody learns which is which.
        raise UsageError(f"{target.host} has no public address, and only public hosts are asked")
    return addresses[:MAX_ADDRESSES]


class Fetcher:
    """Fetches files behind URLs."""

    def __init__(
        self,
        *,
        gatekeeper: Gatekeeper,
        time_limit: timedelta,
        idle_limit: timedelta = IDLE_LIMIT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Fetch on behalf of clients.

        Parameters
        ----------
        gatekeeper
            Says which hosts may be reached.
        time_limit
            Longest that one file may take, redirects and all.
        idle_limit
            Longest silence of a server.
        tls
            How servers prove who they are; ``None``: by the usual certificates.
        """
        self._gatekeeper = gatekeeper
        self._time_limit = time_limit
        self._idle_limit = idle_limit
        self._tls = tls

    async def fetch(self, url: str, path: Path, *, max_bytes: int) -> int:
        """Copy what a URL leads to into a new file; give its bytes.

        Raises
        ------
        UsageError
            It cannot or may not be fetched, and why. The caller chose the URL, so whatever is wrong with it is theirs.
        """
        try:
            async with asyncio.timeout(self._time_limit.total_seconds()):
                return await self._follow(url, path, max_bytes)
        except TimeoutError:
            seconds = self._time_limit.total_seconds()
            raise UsageError(f"fetching it took longer than {seconds:g} s, the most allowed") from None

    def close(self) -> None:
        """Give back what outlives a fetch."""
        self._gatekeeper.close()

    async def _follow(self, url: str, path: Path, max_bytes: int) -> int:
        for redirects in range(MAX_REDIRECTS + 1):
            try:
                target = parse_url(url)
                found = await self._ask(target, await reachable(self._gatekeeper, target), path, max_bytes)
            except UsageError as e:
                if not redirects:
                    raise
                raise UsageError(f"after a redirect: {e.message}") from e
            if isinstance(found, int):
                return found
            url = urljoin(url, found).partition("#")[0]
        raise UsageError(f"the URL leads through more than {MAX_REDIRECTS} redirects, the most that are followed")

    async def _ask(self, target: Target, addresses: Sequence[str], path: Path, max_bytes: int) -> int | str:
        try:
            return await self._exchange(target, addresses, path, max_bytes)
        except httpcore.TimeoutException:
            raise UsageError(
                f"{target.host} was silent for {self._idle_limit.total_seconds():g} s, the most allowed"
            ) from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as e:
            raise UsageError(_why(e, target)) from e

    async def _exchange(self, target: Target, addresses: Sequence[str], path: Path, max_bytes: int) -> int | str:
        """Send one request; give the bytes saved, or where it redirects to."""
        if target.scheme == "https" and self._tls is None:
            self._tls = await asyncio.to_thread(httpcore.default_ssl_context)  # reads a file of 200 kB
        silence = self._idle_limit.total_seconds()
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls, max_connections=1, network_backend=Pinned(addresses)
            ) as pool,
            pool.stream(
                "GET",
                target.to_url(),
                headers=[("Host", target.authority), *HEADERS],
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), silence)},
            ) as answer,
        ):
            headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
            if answer.status in REDIRECTS and "location" in headers:
                return headers["location"]
            _check_answer(answer.status, headers, target, max_bytes)
            return await _save(answer, path, max_bytes)


def _check_answer(status: int, headers: dict[str, str], target: Target, max_bytes: int) -> None:
    if status != OK:
        raise UsageError(f"{target.host} answers with status {status} instead of a file")
    # What is sent gzip'd although that was not asked for is kept as it is: readers unpack it within their limits.
    if (coding := headers.get("content-encoding", "identity").strip().lower()) not in {"identity", "gzip", "x-gzip"}:
        raise UsageError(f"{target.host} sends the file in the encoding {coding[:40]!r}, which was not asked for")
    if (claimed := headers.get("content-length", "0")).isdigit() and int(claimed) > max_bytes:
        raise UsageError(_too_large(max_bytes))


def _too_large(max_bytes: int) -> str:
    return f"the file has more than {max_bytes} bytes, the most allowed"


async def _save(answer: httpcore.Response, path: Path, max_bytes: int) -> int:
    size = 0
    gathered = bytearray()
    with path.open("xb") as file:
        async for piece in answer.aiter_stream():
            size += len(piece)
            if size > max_bytes:
                raise UsageError(_too_large(max_bytes))
            gathered += piece
            if len(gathered) >= PIECE_BYTES:
                await asyncio.to_thread(_write, file, gathered)
                gathered = bytearray()
        await asyncio.to_thread(_write, file, gathered)
    return size


def _write(file: IO[bytes], content: bytearray) -> None:
    file.write(content)


def _why(error: Exception, target: Target) -> str:
    """Say what went wrong on the network, without the words of libraries."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"{target.host} cannot prove who it is (TLS); use a URL with a valid certificate"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.ConnectError):
        return f"{target.host} accepts no connection at port {target.port}"
    return f"{target.host} broke off its answer, or gave none that is HTTP"


class Pinned(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, whatever the name leads to by now."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._network = httpcore.AnyIOBackend()

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        error: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._addresses:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                error = e
        raise error
