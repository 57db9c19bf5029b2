"""The application in this process, on a real database with two small tables."""

import csv
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from gateway.ingest.tables import ingest_table
from gateway.jobs.store import JobStore
from gateway.main import create_app
from gateway.settings import Settings
from tests.routers.archive import make, publish

ROWS = 500


def stars() -> pa.Table:
    """500 stars, seed fixed; the first is at (10, 20) and the last has no position."""
    generator = np.random.default_rng(20261121)
    ra = generator.uniform(0, 360, ROWS)
    dec = np.degrees(np.arcsin(generator.uniform(-1, 1, ROWS)))
    ra[0], dec[0] = 10.0, 20.0
    missing = np.zeros(ROWS, bool)
    missing[-1] = True
    return pa.table(
        {
            "id": pa.array(np.arange(ROWS) + 9_007_199_254_740_993, pa.int64()),  # beyond 2**53
            "ra": pa.array(ra, mask=missing),
            "dec": pa.array(dec, mask=missing),
            "mag": pa.array(generator.normal(15, 2, ROWS).astype("f4")),
            "name": pa.array([f"étoile {n}" for n in range(ROWS)]),
            "2MASS": pa.array([f"{n:08d}" if n % 3 else None for n in range(ROWS)]),
            "is_variable": pa.array([None, True, False] * (ROWS // 3) + [None] * (ROWS % 3)),
        }
    )


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        database_url=database_url,
        redis_url=redis_url,
        maxrec_default=200,
        maxrec_hard=400,
    )


@pytest.fixture
def catalog(database_url: str, tmp_path: Path) -> str:
    """Name of the published table of `stars`."""
    path = tmp_path / "stars.parquet"
    pq.write_table(stars(), path)
    ingest_table([path], name="survey.stars", admin_url=database_url)
    return "survey.stars"


@pytest.fixture
async def app(settings: Settings, catalog: str) -> AsyncIterator[FastAPI]:
    application = create_app(settings)
    async with LifespanManager(application, startup_timeout=30, shutdown_timeout=30):
        yield application


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080", timeout=30) as client:
        yield client


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[JobStore]:
    """The jobs of the application, as a worker sees them."""
    async with JobStore.open(database_url, connections=2) as store:
        yield store


@pytest.fixture
def archive(database_url: str, tmp_path: Path) -> Path:
    """Folder of the images that are published as the collection ``test``."""
    folder = make(tmp_path / "archive")
    publish(folder, database_url)
    return folder


@pytest.fixture
async def dids(client: httpx.AsyncClient, archive: Path) -> dict[str, str]:
    """Publisher DID of each image, by its obs_id."""
    answer = await client.get("/sia2/query", params={"RESPONSEFORMAT": "csv"})
    assert answer.status_code == 200, answer.text
    return {row["obs_id"]: row["obs_publisher_did"] for row in csv.DictReader(answer.text.splitlines())}
