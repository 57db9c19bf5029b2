"""Pairs of text: a query, ``=>``, and the SQL that is made of it. ``GATEWAY_UPDATE_GOLDEN=1`` writes them anew."""

import os
from pathlib import Path

import pytest

from gateway.vo.adql import translate
from tests.vo.adql.tables import TABLES, FixedIndex

FOLDER = Path(__file__).parents[2] / "data" / "adql"


def pairs(path: Path) -> list[tuple[str, str]]:
    blocks = [block for block in path.read_text().split("\n\n") if block.strip()]
    return [tuple(part.strip() for part in block.split("\n=>", 1)) for block in blocks]


CASES = [(path, *pair) for path in sorted(FOLDER.glob("*.sql")) for pair in pairs(path)]


@pytest.mark.skipif(not os.environ.get("GATEWAY_UPDATE_GOLDEN"), reason="renews the files")
def test_write_the_pairs_anew() -> None:
    for path in sorted(FOLDER.glob("*.sql")):
        blocks = [f"{query}\n=>\n{translate(query, TABLES, index=FixedIndex()).sql}\n" for query, _ in pairs(path)]
        path.write_text("\n".join(blocks))


@pytest.mark.parametrize(("path", "query", "sql"), CASES, ids=[f"{c[0].stem}: {c[1]}" for c in CASES])
def test_the_sql_is_the_expected_one(path, query, sql) -> None:
    assert translate(query, TABLES, index=FixedIndex()).sql == sql
