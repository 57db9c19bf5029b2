"""Run a command against a stock PostgreSQL of any version: ``python -m tests.support.stock FOLDER COMMAND...``.

``FOLDER`` holds ``initdb`` and ``postgres``. The server is new, listens on the loopback interface only, is found by the
command in ``GATEWAY_TEST_DATABASE_SERVER``, and is removed afterwards. Works as root too.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from gateway.embedded.identity import choose_identity, entering, own

SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200", "listen_addresses": "127.0.0.1"}


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@contextmanager
def stock_server(programs: Path, **settings: str) -> Iterator[str]:
    """URL of a superuser's database on a new server, with settings of its own."""
    home = Path(tempfile.mkdtemp(prefix="gw-stock-", dir="/tmp"))
    data, port = home / "data", free_port()
    try:
        identity = choose_identity(data, home, programs / "postgres")
        data.mkdir(mode=0o700)
        own(identity, home)
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", preexec_fn=identity.enter, env={"LC_ALL": "C"},
        )  # fmt: skip
        options = [word for name, value in (SETTINGS | settings).items() for word in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(port), "-k", home, *options],
            stderr=subprocess.DEVNULL, cwd="/", preexec_fn=entering(identity, signal.SIGINT), env={"LC_ALL": "C"},
        )  # fmt: skip
        try:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            wait_until_open(port)
            asyncio.run(wait_until_started(url))
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def wait_until_open(port: int, patience_s: float = 30) -> None:
    """Wait until something listens on a port."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {patience_s} s")


async def wait_until_started(url: str, patience_s: float = 30) -> None:
    """Wait until a server that listens lets one in."""
    async with asyncio.timeout(patience_s):
        while True:
            try:
                await (await asyncpg.connect(url)).close()
            except asyncpg.CannotConnectNowError:
                await asyncio.sleep(0.05)
            else:
                return


def main() -> int:
    folder, *command = sys.argv[1:]
    with stock_server(Path(folder).resolve()) as url:
        return subprocess.run(command, env=os.environ | {"GATEWAY_TEST_DATABASE_SERVER": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
