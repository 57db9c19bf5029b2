"""Short messages to URLs that clients name, with the guards of `storage.fetching` (reliability A11).

A redirect is not followed: it would send a signed message to a host that nobody named.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import timedelta

import httpcore

from gateway import __version__
from gateway.errors import TransientError
from gateway.storage.addresses import Gatekeeper
from gateway.storage.fetching import Pinned, Target, parse_url, reachable


class Poster:
    """Sends messages."""

    def __init__(self, *, gatekeeper: Gatekeeper, time_limit: timedelta, tls: ssl.SSLContext | None = None) -> None:
        """Send on behalf of clients.

        Parameters
        ----------
        gatekeeper
            Says which hosts may be reached.
        time_limit
            Longest that one message may take.
        tls
            How servers prove who they are; ``None``: by the usual certificates.
        """
        self._gatekeeper = gatekeeper
        self._time_limit = time_limit
        self._tls = tls

    async def post(self, url: str, body: bytes, headers: Sequence[tuple[str, str]]) -> int:
        """Send a body; give the status of the answer, whose own body is not read.

        Raises
        ------
        UsageError
            The URL may not be asked.
        TransientError
            Its server does not answer.
        """
        target = parse_url(url)
        try:
            async with asyncio.timeout(self._time_limit.total_seconds()):
                return await self._exchange(target, await reachable(self._gatekeeper, target), body, headers)
        except (TimeoutError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as e:
            raise TransientError(f"{target.host} does not answer: {type(e).__name__}") from e

    def close(self) -> None:
        """Give back what outlives a message."""
        self._gatekeeper.close()

    async def _exchange(
        self, target: Target, addresses: Sequence[str], body: bytes, headers: Sequence[tuple[str, str]]
    ) -> int:
        if target.scheme == "https" and self._tls is None:
            self._tls = await asyncio.to_thread(httpcore.default_ssl_context)
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls, max_connections=1, network_backend=Pinned(addresses)
            ) as pool,
            pool.stream(
                "POST",
                target.to_url(),
                headers=[
                    ("Host", target.authority),
                    ("Content-Length", str(len(body))),
                    ("Connection", "close"),
                    ("User-Agent", f"vo-gateway/{__version__}"),
                    *headers,
                ],
                content=body,
            ) as answer,
        ):
            return int(answer.status)
