"""What only one ``gateway serve`` can have: its home folder and its port."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.embedded.layout import Layout, give_to_owner
from gateway.errors import BackendUnavailableError, UsageError
from gateway.settings import Settings

BACKLOG = 2048
"""Connections that wait while all API processes are busy or restarting; the kernel may allow fewer."""


class Claim:
    """The right to serve from a home folder."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def announce(self, url: str) -> None:
        """Write down who we are, for the next one who tries."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)


@contextmanager
def claim_home(home: Path) -> Iterator[Claim]:
    """Hold the right to serve from a home folder; the kernel ends it with the process.

    Raises
    ------
    UsageError
        Another process has it; the text names its URL and process id, and the ways out.
    """
    layout = Layout(home)
    layout.prepare()
    path = _lock_file(layout)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_to_owner(path, like=home)
    except OSError as e:
        raise BackendUnavailableError(f"{path} cannot be written: {e.strerror}") from e
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise UsageError(
                f"gateway serve already runs on {home}: {_running(path)}. For more workers run `gateway worker`; for "
                "a second service set GATEWAY_HOME to another folder."
            ) from e
        yield Claim(descriptor)
    finally:
        os.close(descriptor)


def running_service(settings: Settings) -> str | None:
    """Name the service that runs on the home folder: URL and process id; ``None`` when none does."""
    path = _lock_file(Layout(settings.home_path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _running(path)
    else:
        return None
    finally:
        os.close(descriptor)


def listen(host: str, port: int) -> socket.socket:
    """Claim a port.

    Parameters
    ----------
    port
        Number, or 0 for any free one.

    Raises
    ------
    UsageError
        The address or the port cannot be had; the text says what to choose instead.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as e:
        raise UsageError(f"{host} is not an address: give one of this machine's with --host, or 0.0.0.0 for all") from e
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # a port that is bound only would not be ours yet
    except OSError as e:
        listener.close()
        raise UsageError(_refusal(host, port, e)) from e
    return listener


def local_url(listener: socket.socket, base_path: str) -> str:
    """URL at which a socket is reached from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{base_path}"


def _refusal(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} on {host} is in use; stop that program or choose another port with --port"
        case errno.EACCES:
            return f"Port {port} is for the system's administrator; choose one above 1023 with --port"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine; choose another with --host, or 0.0.0.0 for all"
        case _:
            return f"Port {port} on {host} cannot be used: {error.strerror}"


def _lock_file(layout: Layout) -> Path:
    return layout.run / "serve.lock"


def _running(path: Path) -> str:
    try:
        found = json.loads(path.read_text())
        return f"{found['url']} (process {found['pid']})"
    except (OSError, ValueError, KeyError):  # between its lock and its announcement
        return "it is just starting"
