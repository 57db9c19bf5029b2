"""Fixtures of the tests of the demo survey."""

import pytest

from tests.support.catalogs import Catalog


@pytest.fixture
def catalog(database_url: str) -> Catalog:
    return Catalog(database_url)
