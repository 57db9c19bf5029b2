"""A pooler between the gateway and PostgreSQL: in transaction mode it is refused, in session mode it works."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.db import migrate
from gateway.embedded.identity import choose_identity
from tests.support.stock import free_port, wait_until_open

PGBOUNCER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"

pytestmark = pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="PgBouncer is not on this machine")


@contextmanager
def pooler(url: str, mode: str, folder: Path) -> Iterator[str]:
    """URL of a database through PgBouncer, which refuses to run as root like PostgreSQL itself."""
    parts, port = urlsplit(url), free_port()
    (socket,) = parse_qs(parts.query).get("host", [parts.hostname])
    user = parts.username or "postgres"
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={socket} port={parts.port or 5432} user={user}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\nignore_startup_parameters = extra_float_digits\n"
    )
    identity = choose_identity(folder, folder, Path(PGBOUNCER))
    process = subprocess.Popen([PGBOUNCER, settings], cwd="/", preexec_fn=identity.enter, stderr=subprocess.DEVNULL)
    try:
        wait_until_open(port)
        yield f"postgresql://{user}@127.0.0.1:{port}{parts.path}"
    finally:
        process.terminate()
        process.wait(10)


async def upgrade(url: str) -> None:
    await asyncio.to_thread(migrate.upgrade, control_url=url, catalog_url=url)


async def test_transaction_pooler_is_refused(empty_database_url: str, tmp_path: Path) -> None:
    refusal = pytest.raises(migrate.MigrationError, match="pooler in transaction mode")
    with pooler(empty_database_url, "transaction", tmp_path) as url, refusal as error:
        await upgrade(url)
    assert "pool_mode=session" in str(error.value)


async def test_session_pooler_is_welcome(empty_database_url: str, tmp_path: Path) -> None:
    with pooler(empty_database_url, "session", tmp_path) as url:
        await upgrade(url)
        found = await asyncio.to_thread(migrate.current, control_url=url, catalog_url=url)
    assert found == {"control": migrate.CONTROL.head(), "catalog": migrate.CATALOG.head()}
