"""One truth in three places: TAP_SCHEMA, /tables and the FIELDs of results (TAP-17, TAP-53, TAP-72, TAP-75)."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import pyvo
from astropy.io import votable
from astropy.io.votable.dataorigin import extract_data_origin
from lxml import etree

pytestmark = pytest.mark.server

ABOUT_COLUMNS = "table_name, column_name, datatype, arraysize, xtype, unit, ucd, utype, description"
FLAGS = "indexed, principal, std"

Facts = tuple[str | None, ...]
"""Datatype, arraysize, xtype, unit, UCD, utype, description."""


def query(demo: str, adql: str) -> votable.tree.TableElement:
    answer = httpx.post(f"{demo}/tap/sync", data={"LANG": "ADQL", "QUERY": adql}, timeout=60)
    assert answer.status_code == 200, answer.text
    return votable.parse(io.BytesIO(answer.content), verify="exception").get_first_table()


def rows(demo: str, adql: str) -> list[dict[str, Any]]:
    table = query(demo, adql).to_table(use_names_over_ids=True)
    return [{name: row[name] if str(row[name]) not in {"", "--"} else None for name in table.colnames} for row in table]


def plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def in_tap_schema(demo: str) -> dict[str, dict[str, Facts]]:
    found: dict[str, dict[str, Facts]] = {}
    for row in rows(demo, f"SELECT {ABOUT_COLUMNS} FROM tap_schema.columns ORDER BY table_name, column_index"):
        table, name, *facts = row.values()
        found.setdefault(table, {})[name] = tuple(None if fact is None else str(fact) for fact in facts)
    return found


def document(demo: str) -> etree._Element:
    return etree.fromstring(httpx.get(f"{demo}/tap/tables").content)


def in_tables(demo: str) -> dict[str, dict[str, Facts]]:
    return {table.findtext("name"): dict(_columns(table)) for table in document(demo).iter("table")}


def _columns(table: etree._Element) -> Iterator[tuple[str, Facts]]:
    for column in table.iter("column"):
        kind = column.find("dataType")
        facts = (kind.text, kind.get("arraysize"), kind.get("extendedType"))
        yield column.findtext("name"), facts + tuple(map(column.findtext, ("unit", "ucd", "utype", "description")))


def in_results(demo: str, table: str) -> dict[str, Facts]:
    """Attributes as they are written: astropy would spell units in its own way."""
    answer = httpx.get(f"{demo}/tap/sync", params={"LANG": "ADQL", "QUERY": f"SELECT TOP 1 * FROM {table}"})
    fields = etree.fromstring(answer.content).iter("{*}FIELD")
    names = ("datatype", "arraysize", "xtype", "unit", "ucd", "utype")
    return {item.get("name"): (*map(item.get, names), item.findtext("{*}DESCRIPTION")) for item in fields}


def test_tap_schema_says_what_tables_says(demo: str) -> None:  # TAP-17
    stored, listed = in_tap_schema(demo), in_tables(demo)
    assert set(listed) >= {"gaia.dr3_bright", "hipparcos.hip2", "ivoa.obscore", "tap_schema.columns"}
    assert stored.keys() == listed.keys()
    for name in listed:
        assert list(stored[name].items()) == list(listed[name].items())  # in the same order too


def test_results_say_what_tap_schema_says(demo: str) -> None:  # TAP-30, TAP-53
    for table, columns in in_tap_schema(demo).items():
        found = in_results(demo, table)
        assert list(found.items()) == [(plain(name), facts) for name, facts in columns.items()], table


def test_flags_and_tables_are_the_same(demo: str) -> None:  # TAP-17
    flags = {(row["table_name"], row["column_name"]): [row[flag] for flag in ("indexed", "principal", "std")] for row in rows(demo, f"SELECT table_name, column_name, {FLAGS} FROM tap_schema.columns")}  # fmt: skip
    described = {row["table_name"]: row for row in rows(demo, "SELECT * FROM tap_schema.tables")}
    for table in document(demo).iter("table"):
        name = table.findtext("name")
        said = described.pop(name)
        assert (table.get("type"), table.findtext("description")) == (said["table_type"], said["description"])
        for column in table.iter("column"):
            marks = {flag.text for flag in column.iter("flag")}
            listed = [int("indexed" in marks), int("principal" in marks), int(column.get("std") == "true")]
            assert flags.pop((name, column.findtext("name"))) == listed
    assert (described, flags) == ({}, {})


def test_keys_are_the_same(demo: str) -> None:  # TAP-17, TAP-74, TAP-75
    joined = """SELECT k.from_table, k.target_table, c.from_column, c.target_column FROM tap_schema.keys AS k
        JOIN tap_schema.key_columns AS c ON k.key_id = c.key_id"""
    stored = sorted(tuple(row.values()) for row in rows(demo, joined))
    listed = sorted(
        (table.findtext("name"), key.findtext("targetTable"), pair.findtext("fromColumn"), pair.findtext("targetColumn"))
        for table in document(demo).iter("table")
        for key in table.iter("foreignKey")
        for pair in key.iter("fkColumn")
    )  # fmt: skip
    assert stored == listed
    assert len(stored) >= 5


def test_the_size_follows_from_the_arraysize(demo: str) -> None:  # TAP-72
    for row in rows(demo, 'SELECT arraysize, "size" FROM tap_schema.columns'):
        length = str(row["arraysize"] or "").removesuffix("*")
        assert row["size"] == (int(length) if length.isdecimal() else None)


def test_pyvo_reads_tables_and_runs_the_examples(demo: str) -> None:  # TAP-18, TAP-20
    service = pyvo.dal.TAPService(f"{demo}/tap")
    assert {"gaia.dr3_bright", "ivoa.obscore"} <= set(service.tables.keys())
    assert len(service.tables["hipparcos.hip2"].columns) == 26
    examples = [example for example in service.examples if "TAP_UPLOAD" not in example["QUERY"]]
    assert len(examples) >= 7
    for example in examples:
        assert len(example.execute()), example["QUERY"]


def test_a_result_of_the_demo_tells_what_to_cite(demo: str) -> None:
    answer = httpx.get(f"{demo}/tap/sync", params={"LANG": "ADQL", "QUERY": "SELECT TOP 1 ra FROM gaia.dr3_bright"})
    (dataset,) = extract_data_origin(votable.parse(io.BytesIO(answer.content))).origin
    assert dataset.citation == ["doi:10.5270/esa-qa4lep3"]
    assert dataset.creator == ["Gaia Collaboration"]
