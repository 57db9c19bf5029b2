"""Control and catalog on two servers: each has only what is its own, and queries log in as a user of their own."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyvo

from gateway.db import migrate
from gateway.db.roles import QUERY_ROLE
from gateway.embedded import take_lease
from tests.support.servers import as_user
from tests.support.stock import free_port

from .conftest import wait_ready

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


def execute(url: str, *statements: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(url)
        try:
            return [await connection.fetchval(statement) for statement in statements][-1]
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.fixture
def second_server() -> Iterator[str]:
    """URL of the superuser on another PostgreSQL than the session's."""
    home = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))  # short: a socket lies in it
    lease = take_lease(home, valkey=False, durable=False, grace=0.0)
    assert lease.servers.database_url is not None
    yield lease.servers.database_url
    lease.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def environment(empty_database_url: str, redis_url: str, second_server: str, tmp_path: Path) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return mine | {
        "GATEWAY_HOME": str(tmp_path),
        "GATEWAY_DATABASE_URL": empty_database_url,
        "GATEWAY_REDIS_URL": redis_url,
        "GATEWAY_CATALOG_ADMIN_URL": second_server,
        "GATEWAY_CATALOG_URL": as_user(second_server, "web"),
    }


def gateway(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_a_survey_on_two_servers(environment: dict[str, str], second_server: str, tmp_path: Path) -> None:
    control = environment["GATEWAY_DATABASE_URL"]
    execute(second_server, "CREATE ROLE web LOGIN")

    refused = gateway(environment, "migrate")
    assert refused.returncode != 0
    assert f"GRANT {QUERY_ROLE} TO" in refused.stderr
    assert "Traceback" not in refused.stderr

    execute(second_server, f"GRANT {QUERY_ROLE} TO web")
    assert gateway(environment, "migrate").returncode == 0
    assert execute(control, "SELECT to_regnamespace('tap_schema')") is None
    assert execute(second_server, "SELECT to_regnamespace('gateway')") is None
    assert migrate.current(control_url=control, catalog_url=second_server)["catalog"] is not None

    path = tmp_path / "stars.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3], "ra": [10.0, 20.0, 30.0], "dec": [0.0, 1.0, 2.0]}), path)
    ingested = gateway(environment, "ingest", "table", str(path), "--name", "survey.stars")
    assert ingested.returncode == 0, ingested.stderr

    port = free_port()
    with (tmp_path / "out.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--port", str(port)],
            env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_ready(f"http://127.0.0.1:{port}", process, 60, tmp_path / "out.txt")
        tap = pyvo.dal.TAPService(f"http://127.0.0.1:{port}/tap")
        cone = "SELECT id FROM survey.stars WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(20, 1, 0.1))"
        assert list(tap.search(cone)["id"]) == [2]
        job = tap.submit_job(cone)
        job.run().wait(phases=["COMPLETED", "ERROR"], timeout=30)
        assert list(job.fetch_result()["id"]) == [2]
        assert execute(control, "SELECT count(*) FROM gateway.job WHERE phase = 'COMPLETED'") == 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert process.returncode == 0
