"""Fixtures of the tests of table files."""

from tests.ingest.conftest import write

__all__ = ["write"]
