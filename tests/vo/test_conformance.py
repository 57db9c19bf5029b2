"""The table in ``docs/conformance/tap.md`` tells the truth about our tests."""

import re

import pytest

from tests.vo.adql.test_conformance import ROOT, names_in

TABLE = (ROOT / "docs" / "conformance" / "tap.md").read_text()
ROWS = re.findall(r"^\| (TAP-\d+) \| (\S) \| (.+?) \| (.+) \|$", TABLE, re.MULTILINE)
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::([\w*]+)`", TABLE)))

REQUIREMENTS = [f"TAP-{n}" for n in (*range(1, 45), *range(50, 61), *range(70, 78))]
"""What our list of the standard's requirements has."""


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}::{name}" for file, name in NAMED])
def test_a_named_test_exists(file, name) -> None:
    assert names_in(file) if name == "*" else name in names_in(file)


def test_every_requirement_has_one_row_and_every_row_a_test() -> None:
    assert [row[0] for row in ROWS] == REQUIREMENTS
    assert all("::" in tests for *_, tests in ROWS)
