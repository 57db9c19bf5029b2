"""The table in ``docs/conformance/votable.md`` tells the truth about our tests."""

import re

import pytest

from tests.vo.adql.test_conformance import ROOT, names_in

TABLE = (ROOT / "docs" / "conformance" / "votable.md").read_text()
ROWS = re.findall(r"^\| (VOT-\d+) \| (\S) \| (.+?) \| (.+) \|$", TABLE, re.MULTILINE)
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::([\w*]+)`", TABLE)))

# What is not in the table: what only VOTable 1.6 says (24), what is free (27), what our documents do not have yet, or
# leave to others (28 to 33, 35, 43).
REQUIREMENTS = {f"VOT-{n}" for n in (*range(1, 24), 25, 26, 34, *range(36, 43))}
"""What our list of the standard's requirements has for writers and readers."""


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}::{name}" for file, name in NAMED])
def test_a_named_test_exists(file, name) -> None:
    assert names_in(file) if name == "*" else name in names_in(file)


def test_every_requirement_has_one_row_and_every_row_a_test() -> None:
    ids = [row[0] for row in ROWS]
    assert sorted(ids) == sorted(REQUIREMENTS)
    assert all("::" in tests for *_, tests in ROWS)
