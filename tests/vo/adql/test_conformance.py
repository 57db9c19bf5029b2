"""The feature table in ``docs/conformance/adql.md`` tells the truth about our tests."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from gateway.vo.adql.parsing.extensions import EXTENSIONS

ROOT = Path(__file__).parents[3]
TABLE = (ROOT / "docs" / "conformance" / "adql.md").read_text()
ROWS = re.findall(r"^\| (ADQL-\d+) \| (\S) \| (.+?) \| (.+) \|$", TABLE, re.MULTILINE)
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::([\w*]+)`", TABLE)))

REQUIREMENTS = {f"ADQL-{n}" for n in (*range(1, 11), *range(20, 34), 40, 41, *range(45, 49), *range(50, 74))}
"""What our list of the standard's requirements has."""


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return frozenset(name for name in names if name.startswith("test_"))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}::{name}" for file, name in NAMED])
def test_a_named_test_exists(file, name) -> None:
    assert names_in(file) if name == "*" else name in names_in(file)


def test_every_requirement_has_one_row_and_every_row_a_test() -> None:
    ids = [row[0] for row in ROWS]
    assert sorted(ids) == sorted(REQUIREMENTS)
    assert all("::" in tests for *_, tests in ROWS)


def test_the_extensions_of_the_table_are_those_of_the_code() -> None:
    section = TABLE.partition("## Beyond the standard")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", section, re.MULTILINE)
    assert rows == [(extension.form, extension.description) for extension in EXTENSIONS.values()]
