"""Fixtures of the tests of ingest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.catalogs import Catalog


@pytest.fixture
def catalog(database_url: str) -> Catalog:
    return Catalog(database_url)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write text or bytes to a file of a name."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file
