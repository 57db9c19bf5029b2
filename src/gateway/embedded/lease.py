"""The user's side of the embedded servers: a connection to the keeper, held for as long as they are used."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.embedded.layout import Layout
from gateway.errors import BackendUnavailableError

GRACE = 3.0
"""How long the servers stay up without a user, seconds: the next command of a shell finds them warm."""

ATTEMPTS = 5
"""How often a keeper that ends while we ask it is replaced."""

STOP_PATIENCE = 45.0
"""Longest wait for the servers to stop, seconds: PostgreSQL's own time for an orderly end and some more."""


@dataclass(frozen=True)
class Servers:
    """URLs of the embedded servers; ``None`` for one that was not asked for."""

    database_url: str | None
    redis_url: str | None


class Lease:
    """The right to use the embedded servers, until it is closed or this process ends.

    A child that inherits `fileno` shares the lease: the servers stay until it has ended too.

    Attributes
    ----------
    servers
        URLs of the servers.
    """

    def __init__(self, take: Callable[[], tuple[socket.socket, Servers]]) -> None:
        self._take = take
        self._connection, self.servers = take()

    def fileno(self) -> int:
        """Descriptor of the connection; readable only when the keeper has ended."""
        return self._connection.fileno()

    @property
    def is_lost(self) -> bool:
        """Whether the keeper has ended, and the servers with it."""
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def renew(self) -> None:
        """Take the servers again after the keeper has ended; their URLs stay.

        Raises
        ------
        BackendUnavailableError
            They cannot be started now; the lease is as lost as before.
        """
        connection, self.servers = self._take()
        self._connection.close()
        self._connection = connection

    def close(self) -> None:
        """Give the lease back; the servers stop after a while if nobody else uses them."""
        self._connection.close()

    def stop(self) -> None:
        """Give the lease back; if nobody else uses the servers, they have stopped when this returns."""
        try:
            self._connection.settimeout(STOP_PATIENCE)
            self._connection.sendall(b'{"leave": true}\n')
            while self._connection.recv(4096):
                pass
        except OSError:
            pass
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def take_lease(
    home: Path,
    *,
    postgres: bool = True,
    valkey: bool = True,
    progress: Callable[[str], None] | None = None,
    grace: float = GRACE,
    durable: bool = True,
    namespaces: bool = True,
) -> Lease:
    """Use the embedded servers of a home folder, starting them if nobody has.

    Parameters
    ----------
    home
        Absolute path of the folder that holds their data; made if there is none.
    postgres, valkey
        Which servers are wanted.
    progress
        Called with a short text at each step of a start that is not instant.
    grace
        How long a keeper started by this call lets the servers idle, seconds.
    durable
        Whether a COMMIT waits for the disk; only tests say no. The first user decides.
    namespaces
        Whether root may use a user namespace for PostgreSQL. The first user decides.

    Raises
    ------
    BackendUnavailableError
        A server cannot be started; the text says why and what to do.
    """
    wanted = [name for name, is_wanted in (("postgres", postgres), ("valkey", valkey)) if is_wanted]
    options = ["--grace", str(grace), *([] if durable else ["--no-sync"]), *([] if namespaces else ["--no-namespace"])]
    return Lease(partial(_take, Layout(home), wanted, options, progress or _say_nothing))


def _take(
    layout: Layout, wanted: list[str], options: list[str], progress: Callable[[str], None]
) -> tuple[socket.socket, Servers]:
    """Connect to the keeper, starting one if there is none, and wait for the servers."""
    for _ in range(ATTEMPTS):
        connection = _connect(layout)
        if connection is None:
            _start_keeper(layout.home, options)
            connection = _connect(layout)
        if connection is not None and (servers := _ask(connection, wanted, progress)) is not None:
            return connection, servers
    raise BackendUnavailableError(
        f"The supervisor of the embedded servers ends before it answers; see {layout.log / 'keeper.log'}."
    )


def _say_nothing(_text: str) -> None:
    pass


def _connect(layout: Layout) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(layout.keeper_socket))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        return None
    except OSError as e:
        connection.close()
        raise BackendUnavailableError(
            f"The embedded servers of {layout.home} belong to another user ({e.strerror}): start as that user, or "
            "choose another folder with GATEWAY_HOME."
        ) from e
    return connection


def _start_keeper(home: Path, options: list[str]) -> None:
    """Start a keeper; when this returns it takes connections, or another one does."""
    # -P: not the current folder's modules. A session of its own: Ctrl-C in the terminal is not for the keeper.
    started = subprocess.run(
        [sys.executable, "-P", "-m", "gateway.embedded.keeper", str(home), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if started.returncode != 0:
        lines = started.stderr.strip().splitlines() or [f"the supervisor ended with code {started.returncode}"]
        raise BackendUnavailableError(lines[-1])


def _ask(connection: socket.socket, wanted: list[str], progress: Callable[[str], None]) -> Servers | None:
    """Ask for servers and wait; ``None`` when the keeper was about to end."""
    failure: str | None = None
    try:
        connection.sendall(json.dumps({"want": wanted}).encode() + b"\n")
        for answer in _answers(connection):
            match answer:
                case {"progress": text}:
                    progress(text)
                case {"ready": urls}:
                    return Servers(**urls)
                case {"failed": text}:
                    failure = text
                    break
                case _:
                    break
    except OSError:
        pass
    except BaseException:  # Ctrl-C while waiting: the keeper must not count us
        connection.close()
        raise
    connection.close()
    if failure is not None:
        raise BackendUnavailableError(failure)
    return None


def _answers(connection: socket.socket) -> Iterator[dict[str, Any]]:
    rest = b""
    while chunk := connection.recv(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, lines)
