"""What only one ``gateway serve`` can have: its home folder and its port."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.embedded.layout import Layout, give_to_owner
from gateway.errors import BackendUnavailableError, UsageError
from gateway.settings import Settings

BACKLOG = 2048
"""Connections that wait while all API processes are busy or restarting; the kernel may allow fewer."""


HANDOVER = 20.0
"""Longest wait for one that is stopping or was killed, seconds: its processes may drain for 5 and take 8 to end."""

POLL = 0.05
"""How often a wait looks, seconds."""


class Claim:
    """The right to serve from a home folder.

    Attributes
    ----------
    follows_a_crash
        Whether the last one to serve here did not stop in order: its processes may still be ending.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.follows_a_crash = os.fstat(descriptor).st_size > 0

    def announce(self, url: str) -> None:
        """Write down who we are, for the next one who tries."""
        self._write({"pid": os.getpid(), "url": url})

    def announce_stop(self) -> None:
        """Write down that the place is free soon."""
        self._write({"stopping": True})

    def clear(self) -> None:
        """Write down that all has stopped in order."""
        os.ftruncate(self._descriptor, 0)

    def _write(self, words: dict[str, object]) -> None:
        text = json.dumps(words).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))


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
        _lock(descriptor, path, home)
        claim = Claim(descriptor)
        yield claim
        claim.clear()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, home: Path) -> None:
    """Lock the file; one who is stopping is waited for."""
    deadline = time.monotonic() + HANDOVER
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            if "stopping" in _read(path) and time.monotonic() < deadline:
                time.sleep(POLL)
                continue
            raise UsageError(
                f"gateway serve already runs on {home}: {_describe(_read(path))}. For more workers run `gateway "
                "worker`; for a second service set GATEWAY_HOME to another folder."
            ) from e
        return


def running_service(settings: Settings) -> str | None:
    """Name the service that runs on the home folder: URL and process id; ``None`` when none does."""
    found = _announced(settings)
    return None if found is None else _describe(found)


def service_url(settings: Settings) -> str | None:
    """URL of the service that runs on the home folder; ``None`` when none does."""
    found = _announced(settings) or {}
    return str(found["url"]) if "url" in found else None


def _announced(settings: Settings) -> dict[str, object] | None:
    """Read what the service of a home folder says of itself; ``None`` when none runs."""
    path = _lock_file(Layout(settings.home_path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    else:
        return None
    finally:
        os.close(descriptor)


def listen(host: str, port: int, *, patience: float = 0) -> socket.socket:
    """Claim a port.

    Parameters
    ----------
    port
        Number, or 0 for any free one.
    patience
        How long to wait for a port in use to become free, seconds.

    Raises
    ------
    UsageError
        The address or the port cannot be had; the text says what to choose instead.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as e:
        raise UsageError(f"{host} is not an address: give one of this machine's with --host, or 0.0.0.0 for all") from e
    deadline = time.monotonic() + patience
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)  # a port that is bound only would not be ours yet
        except OSError as e:
            listener.close()
            if e.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise UsageError(_refusal(host, port, e)) from e
            time.sleep(POLL)
            continue
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


def _read(path: Path) -> dict[str, object]:
    try:
        found: dict[str, object] = json.loads(path.read_text())
    except (OSError, ValueError):  # between its lock and its announcement
        return {}
    return found


def _describe(found: dict[str, object]) -> str:
    match found:
        case {"url": url, "pid": pid}:
            return f"{url} (process {pid})"
        case {"stopping": _}:
            return "it is stopping"
        case _:
            return "it is just starting"
