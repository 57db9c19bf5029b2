"""Result stores of both kinds."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.storage.results import LocalResultStore, ResultStore
from gateway.storage.results.requests import Patience
from gateway.storage.results.s3 import S3Options, S3ResultStore, open_s3
from tests.support.s3 import S3Server

IMPATIENT = Patience(connect_s=10, silence_s=10, call_s=20, pauses_s=(0.01,) * 5)

OpenS3 = Callable[..., AbstractAsyncContextManager[S3ResultStore]]


@pytest.fixture
def open_store(s3: S3Server, bucket: Any) -> OpenS3:
    """Opens the store below ``some/prefix`` of the bucket."""

    def open_store(
        *, link_life: timedelta | None = None, **patience: Any
    ) -> AbstractAsyncContextManager[S3ResultStore]:
        options = S3Options(endpoint=s3.url, link_life=link_life, patience=replace(IMPATIENT, **patience))
        return open_s3(f"s3://{bucket[1]}/some/prefix", options)

    return open_store


@pytest.fixture
async def s3_store(open_store: OpenS3) -> AsyncIterator[S3ResultStore]:
    async with open_store() as store:
        yield store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def folder_store(root: Path) -> LocalResultStore:
    return LocalResultStore(root)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest) -> ResultStore:
    """A store of each kind."""
    found: ResultStore = request.getfixturevalue(f"{request.param}_store")
    return found
