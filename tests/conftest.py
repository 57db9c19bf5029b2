"""Servers and databases for tests that need them: real ones, started by the suite itself."""

import importlib.util
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.support.s3 import S3Server
from tests.support.servers import HOME, Administrator, take_servers

# The same examples every time: a run that fails must fail again. To hunt for new ones: --hypothesis-profile=hunt
settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("hunt", print_blob=True)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the folder of the session's servers, once for all of xdist's workers."""
    if HOME not in os.environ and not hasattr(config, "workerinput"):
        os.environ[HOME] = tempfile.mkdtemp(prefix="gw-", dir="/tmp")  # short: sockets lie in it
        config.add_cleanup(remove_home)


def remove_home() -> None:
    """Remove the folder; servers that still run notice and end."""
    shutil.rmtree(os.environ.pop(HOME), ignore_errors=True)


@pytest.fixture(scope="session")
def _servers() -> Iterator[tuple[str, str]]:
    """Hold the servers; gives the URLs of a superuser's database and of Valkey."""
    lease, server = take_servers()
    assert lease.servers.redis_url is not None
    yield server, lease.servers.redis_url
    lease.stop()


@pytest.fixture(scope="session")
def database_server(_servers: tuple[str, str]) -> Iterator[Administrator]:
    """A PostgreSQL server in which databases may be made."""
    with Administrator(_servers[0]) as administrator:
        yield administrator


@pytest.fixture(scope="session")
def database_template(database_server: Administrator) -> str:
    """Name of a migrated database to clone."""
    return database_server.template()


@pytest.fixture
def database_url(database_server: Administrator, database_template: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    url = database_server.create(database_template)
    yield url
    database_server.drop(url)


@pytest.fixture
def empty_database_url(database_server: Administrator) -> Iterator[str]:
    """An empty database of this test's own."""
    url = database_server.create("template0")
    yield url
    database_server.drop(url)


@pytest.fixture
def redis_url(_servers: tuple[str, str], worker_id: str) -> str:
    """A Valkey database that is empty, and that no other test uses meanwhile."""
    from redis import Redis

    number = int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0
    url = f"{_servers[1]}?db={number}"
    with Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    if importlib.util.find_spec("moto") is None:
        pytest.fail("moto is not installed: pip install -e '.[dev]'")
    with S3Server.open() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server with nothing wrong, and our credentials in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3_server.break_down()
    yield s3_server
    s3_server.break_down()


@pytest.fixture
async def bucket(s3: S3Server) -> AsyncIterator[Any]:
    """A client, and the name of an empty bucket of this test's own."""
    from gateway.storage.results.s3 import session

    name = f"test-{secrets.token_hex(6)}"
    async with session().create_client("s3", endpoint_url=s3.url) as client:
        await client.create_bucket(Bucket=name)
        yield client, name
