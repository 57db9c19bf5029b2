"""A TCP proxy that spoils what passes through it: late, cut, dropped, silent, or forgetful after a COMMIT.

One stands before each server of a campaign. It knows no protocol but one sign: a message of PostgreSQL that holds a COMMIT.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, urlsplit, urlunsplit

PIECE_BYTES = 65_536
"""Bytes forwarded at once."""

GREETING_BYTES = 1_024
"""So much of what a client says first is kept: in it PostgreSQL's clients name their session."""


@dataclass(eq=False)
class Connection:
    """A client, and the server behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    budget: int | None
    """Bytes that still pass from the server to the client; ``None``: all."""
    greeting: bytes = b""
    is_doomed: bool = False
    """Whether the server's next answer is swallowed, and the connection cut then."""

    def abort(self) -> None:
        """Cut both sides, without a farewell."""
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError):
                reset_on_close(writer)
            writer.transport.abort()


@dataclass(eq=False)
class FaultProxy:
    """Forwards between a port of its own and a server, with whatever faults are switched on now."""

    host: str
    upstream: int | str
    """Port of the server, or path of its socket."""
    random: random.Random
    delay_s: float = 0.0
    """Added to each piece, both ways, seconds."""
    is_refusing: bool = False
    """Whether new connections are cut at once: the server seems to be gone."""
    is_silent: bool = False
    """Whether nothing passes while all connections stand: half-open, as after a network that vanished."""
    budget: Callable[[], int | None] = field(default=lambda: None)
    """Gives each new connection the number of bytes from the server after which it is cut."""
    forget: Callable[[bytes], bool] = field(default=lambda _greeting: False)
    """Whether the answer to a COMMIT in a connection with this greeting is to be lost."""
    counts: Counter[str] = field(default_factory=Counter)
    """Faults done: ``dropped``, ``cut``, ``refused``, ``forgotten``."""
    port: int = 0

    def __post_init__(self) -> None:
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, upstream: int | str, seeded: random.Random) -> AsyncIterator[Self]:
        """Hold a proxy before a server of this machine."""
        proxy = cls("127.0.0.1", upstream, seeded)
        server = await asyncio.start_server(proxy._accept, proxy.host, 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            proxy.drop_all()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    @classmethod
    @asynccontextmanager
    async def before(cls, database_url: str, seeded: random.Random) -> AsyncIterator[tuple[Self, str]]:
        """Hold a proxy before a PostgreSQL server; gives it, and the URL of the same database behind it."""
        parts = urlsplit(database_url)
        folder = dict(parse_qsl(parts.query)).get("host")
        upstream: int | str = f"{folder}/.s.PGSQL.{parts.port or 5432}" if folder else parts.port or 5432
        async with cls.open(upstream, seeded) as proxy:
            user = parts.netloc.rpartition("@")[0]
            there = parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}", query="sslmode=disable")
            yield proxy, urlunsplit(there)

    @property
    def connections(self) -> int:
        """How many connections stand."""
        return len(self._connections)

    def drop_all(self) -> int:
        """Cut every connection now; returns how many there were."""
        gone = len(self._connections)
        for connection in tuple(self._connections):
            connection.abort()
        self.counts["dropped"] += gone
        return gone

    def heal(self) -> None:
        """Switch all faults off; a connection that was silent too long was given up by its owner meanwhile."""
        self.delay_s, self.is_refusing, self.is_silent = 0.0, False, False
        self.budget, self.forget = (lambda: None), (lambda _greeting: False)
        self._speaking.set()
        self._speaking = asyncio.Event()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.is_refusing:
                raise ConnectionRefusedError
            answers, server = await (
                asyncio.open_unix_connection(self.upstream)
                if isinstance(self.upstream, str)
                else asyncio.open_connection(self.host, self.upstream)
            )
        except OSError:
            self.counts["refused"] += 1
            reset_on_close(writer)
            writer.transport.abort()
            return
        connection = Connection(writer, server, self.budget())
        self._connections.add(connection)
        pumps = [
            asyncio.create_task(self._requests(reader, connection)),
            asyncio.create_task(self._answers(answers, connection)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._connections.discard(connection)
            for side in (connection.client, connection.server):
                side.close()

    async def _requests(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        while piece := await reader.read(PIECE_BYTES):
            await self._pause()
            if len(connection.greeting) < GREETING_BYTES:
                connection.greeting += piece[:GREETING_BYTES]
            if b"COMMIT" in piece and self.forget(connection.greeting):
                connection.is_doomed = True
            connection.server.write(piece)
            await connection.server.drain()

    async def _answers(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        while piece := await reader.read(PIECE_BYTES):
            await self._pause()
            if connection.is_doomed:
                self.counts["forgotten"] += 1
                connection.abort()
                return
            if connection.budget is not None:
                connection.budget -= len(piece)
                if connection.budget <= 0:
                    self.counts["cut"] += 1
                    connection.client.write(piece[: connection.budget])
                    await connection.client.drain()
                    connection.abort()
                    return
            connection.client.write(piece)
            await connection.client.drain()

    async def _pause(self) -> None:
        while self.is_silent:
            await self._speaking.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s * self.random.uniform(0.5, 1.5))


def reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Make the close of a socket a reset (RST), as the kernel of a machine that crashed sends it."""
    held = writer.get_extra_info("socket")
    if held is not None:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
