"""As whom the servers run.

PostgreSQL refuses to run as root, and ``initdb`` wants a user with a name. So, as root (or as a user without an
entry in the user database, as in some containers):

1. whose data it is runs the server, when they are not root's;
2. else a new *user namespace*, in which root wears another number: no user is added, no permission changed, the
   files stay root's;
3. else (many containers forbid namespaces) the user ``nobody``, who keeps the one capability of passing closed
   folders, so that data and programs may lie below root's own home.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import BackendUnavailableError

CLONE_NEWUSER = 0x10000000
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522

NOBODY = 65534
"""Number of ``nobody`` on Linux; macOS has its own, which the user database knows."""

REFUSED = (
    "PostgreSQL refuses to run as root, and this system allows neither a user namespace nor running it as another "
    "user: start the gateway as a normal user, or set GATEWAY_DATABASE_URL to a PostgreSQL of yours."
)

_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork; a child must not load libraries


@dataclass(frozen=True)
class Same:
    """The servers run as we do."""

    def enter(self) -> None:
        """Change nothing."""


@dataclass(frozen=True)
class Namespace:
    """The servers run in a user namespace in which we have another number."""

    inner_uid: int
    outer_uid: int
    outer_gid: int

    def enter(self) -> None:
        """Move this process (a fresh child) into the namespace."""
        if _libc.unshare(CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        _write("/proc/self/setgroups", b"deny")
        _write("/proc/self/uid_map", b"%d %d 1" % (self.inner_uid, self.outer_uid))
        _write("/proc/self/gid_map", b"%d %d 1" % (self.inner_uid, self.outer_gid))


@dataclass(frozen=True)
class User:
    """The servers run as another user; only root can choose that."""

    uid: int
    gid: int

    def enter(self) -> None:
        """Become that user, keeping the right to pass closed folders where the system allows it."""
        linux = sys.platform == "linux"
        if linux:
            _libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(self.gid)
        os.setuid(self.uid)
        if linux:
            _keep_capability(CAP_DAC_OVERRIDE)


Identity = Same | Namespace | User


def choose_identity(data: Path, home: Path, program: Path, *, namespaces: bool = True) -> Identity:
    """Find as whom PostgreSQL can run here.

    Parameters
    ----------
    data
        Folder of its data; it need not exist yet.
    home
        Home folder, which exists.
    program
        The server's program, run with ``--version`` as a trial.
    namespaces
        Whether user namespaces may be used.

    Raises
    ------
    BackendUnavailableError
        As nobody; the text says what to do.
    """
    uid = os.geteuid()
    if uid != 0:
        inside = Namespace(_inner_uid(), uid, os.getegid())
        return inside if namespaces and not _has_name(uid) and _works(inside, program) else Same()
    owner = (data if data.exists() else home).stat()
    if owner.st_uid != 0:
        candidates: list[Identity] = [User(owner.st_uid, owner.st_gid)]
    else:
        candidates = [Namespace(_inner_uid(), 0, os.getegid())] if namespaces and sys.platform == "linux" else []
        candidates.append(_nobody())
    for candidate in candidates:
        if _works(candidate, program):
            return candidate
    raise BackendUnavailableError(REFUSED)


def own(identity: Identity, folder: Path) -> None:
    """Give a folder and all in it to the user that the server runs as; costs one look when it is theirs."""
    if not isinstance(identity, User) or folder.stat().st_uid == identity.uid:
        return
    for parent, _, files in os.walk(folder):
        os.chown(parent, identity.uid, identity.gid)
        for name in files:
            os.chown(Path(parent, name), identity.uid, identity.gid, follow_symlinks=False)


def entering(identity: Identity, death_signal: int) -> Callable[[], None]:
    """Make the function that a fresh child runs before it becomes a server.

    The child is sent `death_signal` when the process that started it dies, however it dies (Linux only).
    """
    parent = os.getpid()

    def enter() -> None:
        identity.enter()
        die_with_parent(death_signal, parent)  # last: a change of identity forgets it

    return enter


def die_with_parent(signal_number: int, parent: int) -> None:
    """Ask the kernel for a signal to this process when its parent ends; nothing on other systems than Linux."""
    if sys.platform != "linux":
        return
    _libc.prctl(1, signal_number, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died between the fork and here; 0 is a parent outside our pid namespace
        os.kill(os.getpid(), signal_number)


def _works(identity: Identity, program: Path) -> bool:
    try:
        trial = subprocess.run(
            [str(program), "--version"],
            preexec_fn=identity.enter,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return trial.returncode == 0


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _inner_uid() -> int:
    """Choose a number to wear in a namespace; ``initdb`` asks the user database for its name."""
    known = {entry.pw_uid for entry in pwd.getpwall()} - {0}
    return next((uid for uid in (1000, NOBODY) if uid in known), min(known, default=1000))


def _nobody() -> User:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return User(NOBODY, NOBODY)
    return User(entry.pw_uid, entry.pw_gid)


def _write(path: str, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def _keep_capability(capability: int) -> None:
    """Carry one capability over to the program that follows; without it the plain rights must do."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; low words, high words
    if _libc.capset(header, sets) == 0:
        _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)
