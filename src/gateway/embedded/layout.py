"""Where the embedded mode keeps its things, below the home folder."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import BackendUnavailableError

SOCKET_PATH_MAX = 100
"""Longest path of a socket, bytes: the kernel's limit is 107 on Linux and 103 on macOS."""

POSTGRES_SOCKET = ".s.PGSQL.5432"
"""Name that PostgreSQL gives to its socket; the number only tells sockets in one folder apart."""

LOG_MAX_BYTES = 10 * 2**20
"""A log beyond this size is set aside at the next start, bytes; one older log is kept."""


@dataclass(frozen=True)
class Layout:
    """Paths of one home folder."""

    home: Path

    @property
    def postgres(self) -> Path:
        """Data of PostgreSQL."""
        return self.home / "postgres"

    @property
    def valkey(self) -> Path:
        """Data of Valkey."""
        return self.home / "valkey"

    @property
    def log(self) -> Path:
        """Folder of the logs."""
        return self.home / "log"

    @property
    def run(self) -> Path:
        """Folder of locks and, where its path is short enough, sockets."""
        return self.home / "run"

    @property
    def keeper_lock(self) -> Path:
        """File whose lock says that a keeper lives."""
        return self.run / "keeper.lock"

    @property
    def sockets(self) -> Path:
        """Private folder of the sockets.

        Notes
        -----
        Not below the home when that path is too long for a socket, or has characters that need
        quoting in PostgreSQL's list of folders or in a URL. ``/tmp`` and not ``TMPDIR``, so that every
        process of this user finds the same folder.
        """
        inside = str(self.run)
        fits = len(os.fsencode(f"{inside}/{POSTGRES_SOCKET}")) <= SOCKET_PATH_MAX
        if fits and re.fullmatch(r"[A-Za-z0-9_./-]+", inside):
            return self.run
        digest = hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]
        return Path(f"/tmp/vo-gateway-{os.geteuid()}-{digest}")  # noqa: S108 - made 0700 and checked in prepare()

    @property
    def keeper_socket(self) -> Path:
        """Socket at which the keeper takes users."""
        return self.sockets / "keeper.sock"

    @property
    def valkey_socket(self) -> Path:
        """Socket of Valkey."""
        return self.sockets / "valkey.sock"

    @property
    def database_url(self) -> str:
        """URL of the database ``gateway`` in the embedded PostgreSQL."""
        return f"postgresql://postgres@/gateway?host={self.sockets}"

    @property
    def redis_url(self) -> str:
        """URL of the embedded Valkey."""
        return f"unix://{self.valkey_socket}"

    def prepare(self) -> None:
        """Make the folders that locks, sockets and logs need.

        Raises
        ------
        BackendUnavailableError
            The home folder cannot be written, or somebody else holds the folder of the sockets.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            for folder in (self.run, self.log):
                private_folder(folder, like=self.home)
            private_folder(self.sockets, like=self.home)
        except OSError as e:
            raise BackendUnavailableError(cannot_write(self.home, e)) from e


def cannot_write(home: Path, error: OSError) -> str:
    """Say that the home folder cannot be used, and what to do."""
    return (
        f"The folder {home} cannot be used ({error.strerror or error}): make it writable for this user, free space "
        "on its disk, or choose another with GATEWAY_HOME."
    )


def private_folder(folder: Path, *, like: Path) -> None:
    """Make a folder that only its owner can enter.

    As root in somebody's home it belongs to the owner of `like`, so that they can start the gateway later.
    """
    try:
        folder.mkdir(mode=0o700)
        give_to_owner(folder, like=like)
    except FileExistsError:
        pass
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (os.geteuid() != 0 and found.st_uid != os.geteuid()):
        raise PermissionError(f"{folder} belongs to another user")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def give_to_owner(path: Path, *, like: Path) -> None:
    """As root, give a file to whom another belongs; else do nothing."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def open_log(layout: Layout, name: str) -> int:
    """Open a log for appending; a large one is set aside first. Returns a file descriptor."""
    path = layout.log / f"{name}.log"
    if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
        path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_to_owner(path, like=layout.home)
    return descriptor
