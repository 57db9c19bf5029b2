"""The tables in ``docs/conformance`` tell the truth about our tests."""

import ast
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "docs" / "conformance"

REQUIREMENTS: dict[str, tuple[str, Collection[int]]] = {
    "adql.md": ("ADQL", {*range(1, 11), *range(20, 34), 40, 41, *range(45, 49), *range(50, 74)}),
    "tap.md": ("TAP", {*range(1, 45), *range(50, 61), *range(70, 78)}),
    "scs.md": ("SCS", {*range(1, 17)}),
    "uws.md": ("UWS", {*range(1, 36)}),
    # Not in the table: what only VOTable 1.6 says (24), what is free (27), what our documents do not have yet, or leave to
    # others (28 to 33, 35, 43).
    "votable.md": ("VOT", {*range(1, 24), 25, 26, 34, *range(36, 43)}),
}
"""What our lists of the standards' requirements have, by document."""


UNMET = {"SCS-9"}
"""Optional requirements that are not met, and say so instead of naming a test."""


def named_tests() -> Iterator[tuple[str, str]]:
    for document in REQUIREMENTS:
        yield from re.findall(r"`([\w/]+\.py)::([\w*]+)`", (DOCUMENTS / document).read_text())


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return frozenset(name for name in names if name.startswith("test_"))


def test_no_document_is_left_out() -> None:
    assert {path.name for path in DOCUMENTS.glob("*.md")} == set(REQUIREMENTS)


@pytest.mark.parametrize(("file", "name"), sorted(set(named_tests())))
def test_a_named_test_exists(file: str, name: str) -> None:
    assert names_in(file) if name == "*" else name in names_in(file)


@pytest.mark.parametrize("document", REQUIREMENTS)
def test_every_requirement_has_one_row_and_every_row_a_test(document: str) -> None:
    standard, numbers = REQUIREMENTS[document]
    text = (DOCUMENTS / document).read_text()
    rows = re.findall(rf"^\| ({standard}-\d+) \| \S \| .+? \| (.+) \|$", text, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(f"{standard}-{number}" for number in numbers)
    assert {name for name, tests in rows if "::" not in tests} <= UNMET
