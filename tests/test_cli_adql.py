"""``gateway adql`` as it is typed: the SQL of a query, or its fault with its place."""

import json
import time
from pathlib import Path

import pytest

from gateway.cli import EXIT_FAULT
from tests.support.commands import Run, command_line


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    environment = {"GATEWAY_HOME": str(tmp_path / "home"), "GATEWAY_AUTHORITY": "example.org"}
    return command_line(monkeypatch, capsys, environment, "adql")


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", database_url)


@pytest.mark.usefixtures("database")
def test_the_operator_sees_the_sql_of_a_query(gateway: Run) -> None:
    code, out, err = gateway(text="SELECT TOP 3 table_name FROM TAP_SCHEMA.tables ORDER BY 1")
    assert (code, err) == (0, "")
    assert out.startswith("SELECT ")
    assert out.rstrip().endswith("ORDER BY 1 ASC LIMIT 3")


@pytest.mark.usefixtures("database")
def test_a_fault_is_told_with_line_and_column(gateway: Run, tmp_path: Path) -> None:
    file = tmp_path / "query.adql"
    file.write_text("SELECT table_name\nFROM TAP_SCHEMA.table")
    code, out, err = gateway(str(file))
    assert (code, out) == (EXIT_FAULT, "")
    assert err.startswith("2:17: ")
    file.write_text("SELECT table_nam\nFROM TAP_SCHEMA.tables")
    assert gateway(str(file))[2] == "1:8: unknown column table_nam; did you mean table_name?\n"


@pytest.mark.usefixtures("database")
def test_strict_refuses_what_goes_beyond_the_standard(gateway: Run) -> None:
    query = "SELECT NULLIF(table_name, 'x') AS n FROM TAP_SCHEMA.tables;"
    assert gateway(text=query)[0] == 0
    code, _, err = gateway("--strict", text=query)
    assert code == EXIT_FAULT
    assert "extension of this service, not ADQL 2.1" in err


def test_without_tables_only_the_language_is_checked(gateway: Run) -> None:
    code, out, _ = gateway("--no-resolve", text="SELECT a.x, \"B c\" FROM some_schema.t AS a WHERE LOWER(y) = 'z'")
    assert (code, out) == (0, 'SELECT "a"."x", "B c" FROM "some_schema"."t" AS "a" WHERE LOWER("y") = \'z\'\n')
    for wrong in (
        "SELECT x FROM t LIMIT 5",
        "SELECT f(x) FROM t",
        "SELECT SQRT(x, y) FROM t",
        "SELECT POINT(1) FROM t",
        "SELECT pg_sleep(9) FROM t",
    ):
        code, out, err = gateway("--no-resolve", text=wrong)
        assert (code, out) == (EXIT_FAULT, "")
        assert err.startswith("1:")


def test_thousands_of_queries_are_checked_in_one_process(gateway: Run) -> None:
    queries = [
        "SELECT TOP 10 s.ra, s.dec FROM survey.stars AS s WHERE 1 = CONTAINS(POINT(s.ra, s.dec), CIRCLE(10, 20, 1)) ORDER BY s.ra",
        "SELECT x FROM",
    ] * 1000
    lines = "".join(json.dumps({"adql": query}) + "\n" for query in queries)
    started = time.process_time()
    code, out, _ = gateway("--no-resolve", "--json-lines", text=lines)
    taken = time.process_time() - started
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [answer["ok"] for answer in answers] == [True, False] * 1000
    assert answers[0]["error"] is None
    assert answers[1] == {
        "ok": False,
        "sql": None,
        "error": {"message": "expected a table's name, found the end of the query", "line": 1, "column": 14},
    }
    assert taken / len(queries) < 0.0015 * 3  # the aim is 1.5 ms; a busy machine gets three times as much


def test_a_line_that_is_no_query_does_not_end_the_stream(gateway: Run) -> None:
    lines = ["no JSON", "[]", '{"adql": 5}', '{"adql": "SELECT x FROM t"}', '{"adql": "SELECT \\ud800 FROM t"}', ""]
    code, out, _ = gateway("--no-resolve", "--json-lines", text="\n".join(lines))
    assert code == 0
    assert [json.loads(line)["ok"] for line in out.splitlines()] == [False, False, False, True, False]


def test_the_lines_may_stand_in_a_file(gateway: Run, tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text('{"adql": "SELECT x FROM t"}\n' * 3)
    code, out, _ = gateway("--no-resolve", "--json-lines", str(file))
    assert code == 0
    assert [json.loads(line)["ok"] for line in out.splitlines()] == [True] * 3


def test_endless_json_does_not_end_the_stream(gateway: Run) -> None:
    lines = "[" * 100_000 + '\n{"adql": "SELECT x FROM t"}\n'
    code, out, _ = gateway("--no-resolve", "--json-lines", text=lines)
    assert code == 0
    assert [json.loads(line)["ok"] for line in out.splitlines()] == [False, True]


def test_a_byte_order_mark_before_the_query_is_no_fault(gateway: Run, tmp_path: Path) -> None:
    file = tmp_path / "query.adql"
    file.write_text("\ufeffSELECT x FROM t", encoding="utf-8")
    assert gateway("--no-resolve", str(file)) == (0, 'SELECT "x" FROM "t"\n', "")


@pytest.mark.parametrize(
    "query",
    ["SELECT x FROM t", "select x\nfrom t", "(SELECT x FROM t)", "with t as (SELECT 1 AS x FROM u) select x from t"],
)
def test_a_query_may_stand_in_the_place_of_a_file(gateway: Run, query: str) -> None:
    code, out, err = gateway("--no-resolve", query)
    assert (code, err) == (0, "")
    assert 'SELECT "x" FROM "t"' in out


def test_a_file_that_is_not_there_is_told(gateway: Run) -> None:
    code, _, err = gateway("--no-resolve", "query.adql")
    assert code not in (0, EXIT_FAULT)
    assert "cannot be read" in err
