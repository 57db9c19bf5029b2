"""Fixtures of the tests of image ingest."""

from pathlib import Path

import pytest

from tests.ingest.images.builders import Survey
from tests.support.catalogs import Catalog


@pytest.fixture
def survey(tmp_path: Path, catalog: Catalog) -> Survey:
    folder = tmp_path / "survey"
    folder.mkdir()
    return Survey(folder, catalog)
