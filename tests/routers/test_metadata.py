"""What the service says of itself: tables with ETag, examples that run, capabilities that are true (TAP-11..20, VOSI-8..11)."""

import asyncio
import datetime as dt
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pyarrow.parquet as pq
import pytest
from astropy.table import Table as AstropyTable
from lxml import etree

from gateway.db.registry import publish_statements
from gateway.db.roles import QUERY_ROLE
from gateway.ingest.tables import ingest_table
from gateway.routers.tap import TABLES_PARAMETERS
from gateway.settings import Settings
from gateway.vo import formats
from gateway.vo.tableset import Column, Datatype, Field, Schema, Table, VOType
from tests.db.support import admin, execute_all

from .conftest import stars
from .test_settings import client_of
from .test_tap import as_votable, ask, read, upload

TAP = "ivo://ivoa.net/std/TAP"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


async def until_seen() -> None:
    """Wait until what is published is looked at again."""
    await asyncio.sleep(0.6)


# -- tables -----------------------------------------------------------------------------------------------------


async def test_vosi8_the_detail_is_read_without_case(client: httpx.AsyncClient) -> None:
    for detail in ("min", "MIN", "Min"):
        root = etree.fromstring((await client.get("/tap/tables", params={"detail": detail})).content)
        assert [name.text for name in root.iter("name")]
        assert not list(root.iter("column", "foreignKey"))


async def test_vosi8_all_is_told_unless_less_is_asked(client: httpx.AsyncClient) -> None:
    for params in ({}, {"detail": "max"}, {"DETAIL": "MAX"}):
        root = etree.fromstring((await client.get("/tap/tables", params=params)).content)
        assert list(root.iter("column"))
        assert list(root.iter("foreignKey"))


async def test_an_unknown_detail_is_told(client: httpx.AsyncClient) -> None:
    answer = await client.get("/tap/tables", params={"detail": "some"})
    assert answer.status_code == 400
    assert "min" in answer.text


async def test_vosi9_every_listed_table_has_a_document_of_its_own(client: httpx.AsyncClient) -> None:
    whole = etree.fromstring((await client.get("/tap/tables")).content)
    listed = {table.findtext("name"): table for table in whole.iter("table")}
    assert "survey.stars" in listed
    for name, table in listed.items():
        alone = etree.fromstring((await client.get(f"/tap/tables/{name}")).content)
        assert [etree.tostring(child) for child in alone.iterchildren()] == [
            etree.tostring(child) for child in table.iterchildren()
        ]


async def test_a_document_that_the_client_has_is_not_sent_again(client: httpx.AsyncClient) -> None:
    for path in ("tables", "tables?detail=min", "tables/survey.stars", "examples"):
        first = await client.get(f"/tap/{path}")
        tag = first.headers["etag"]
        for known in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
            again = await client.get(f"/tap/{path}", headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        assert (await client.get(f"/tap/{path}", headers={"If-None-Match": '"x"'})).content == first.content


async def test_a_document_is_packed_for_those_who_ask(client: httpx.AsyncClient) -> None:
    plain = await client.get("/tap/tables", headers={"Accept-Encoding": "identity"})
    packed = await client.get("/tap/tables", headers={"Accept-Encoding": "gzip, deflate"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 4
    assert packed.content == plain.content
    assert packed.headers["etag"] == plain.headers["etag"]
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


async def test_a_new_table_makes_new_documents(client: httpx.AsyncClient, database_url: str, tmp_path: Path) -> None:
    documents = ("tables", "tables?detail=min", "examples")
    tags = [(await client.get(f"/tap/{path}")).headers["etag"] for path in documents]
    pq.write_table(stars(), tmp_path / "more.parquet")
    await asyncio.to_thread(ingest_table, [tmp_path / "more.parquet"], name="survey.more", admin_url=database_url)
    await until_seen()
    for path, tag in zip(documents, tags, strict=True):
        again = await client.get(f"/tap/{path}", headers={"If-None-Match": tag})
        assert again.status_code == 200
        assert "survey.more" in again.text


async def test_two_thousand_columns_are_listed_within_10_ms(client: httpx.AsyncClient, database_url: str) -> None:
    columns = tuple(
        Column(Field(f"c{n}", VOType(Datatype.DOUBLE), "deg", "pos.eq.ra", description="What it is"), f"c{n}", "double precision")
        for n in range(1000)
    )  # fmt: skip
    tables = [Table("wide", f"t{n}", columns, "wide", f"t{n}") for n in range(2)]
    async with admin(database_url) as owner:
        await owner.execute("CREATE SCHEMA wide")
        for table in tables:
            named = ", ".join(f"{column.physical} float8" for column in columns)
            await owner.execute(f"CREATE TABLE wide.{table.physical_name} ({named})")
            await execute_all(owner, publish_statements(Schema("wide", ()), table, replace=False))
    await until_seen()

    async def seconds() -> float:
        start = time.perf_counter()
        answer = await client.get("/tap/tables")
        assert answer.text.count("<column ") > 2000
        return time.perf_counter() - start

    assert min([await seconds() for _ in range(20)]) < 0.010


def test_the_parameter_of_tables_is_documented() -> None:
    assert [parameter.name for parameter in TABLES_PARAMETERS] == ["DETAIL"]


# -- examples ---------------------------------------------------------------------------------------------------


async def examples(client: httpx.AsyncClient) -> dict[str, str]:
    """Queries by the id of their example."""
    answer = await client.get("/tap/examples")
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == "application/xhtml+xml"  # TAP-18
    shown = [item for item in etree.fromstring(answer.content).iter() if item.get("typeof") == "example"]
    return {item.get("id"): next(one.text for one in item.iter() if one.get("property") == "query") for item in shown}


async def run(client: httpx.AsyncClient, query: str) -> AstropyTable:
    if "TAP_UPLOAD" not in query:
        return read(await ask(client, query))
    mine = as_votable(AstropyTable({"n": [1], "ra": [10.0], "dec": [20.0]}), "binary2")
    return read(await upload(client, query, mine=mine))


async def test_every_example_runs_and_finds_something(client: httpx.AsyncClient, archive: Path) -> None:
    await until_seen()
    found = {name: await run(client, query) for name, query in (await examples(client)).items()}
    assert list(found) == ["tables", "columns", "cone-1", "images", "upload", "groups"]
    empty = [name for name, table in found.items() if not len(table)]
    assert empty == ["columns"]  # nothing in this survey is said to be a magnitude
    assert sum(found["groups"]["n"]) == 499  # one star has no position
    assert list(found["upload"]["id"]) == [9_007_199_254_740_993]


async def test_a_table_that_cannot_be_read_is_left_out_until_it_can(
    client: httpx.AsyncClient, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("ALTER TABLE survey.stars RENAME TO away")
        assert "cone-1" not in await examples(client)
        await connection.execute("ALTER TABLE survey.away RENAME TO stars")
        assert "cone-1" in await examples(client)
    finally:
        await connection.close()


async def test_a_slow_table_is_left_out_and_not_tried_again(
    client: httpx.AsyncClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.services.examples.PROBE_LIMIT", dt.timedelta(seconds=0.3))
    async with admin(database_url) as owner:
        await owner.execute("ALTER TABLE survey.stars RENAME TO away")
        await owner.execute("CREATE VIEW survey.stars AS SELECT a.* FROM survey.away AS a, LATERAL pg_sleep(60)")
        await owner.execute(f"GRANT SELECT ON survey.stars TO {QUERY_ROLE}")
    assert "cone-1" not in await examples(client)
    start = time.perf_counter()
    assert "cone-1" not in await examples(client)
    assert time.perf_counter() - start < 0.2


async def test_a_catalog_without_rows_has_examples_that_run(
    client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    pq.write_table(stars().slice(0, 0), tmp_path / "none.parquet")
    await asyncio.to_thread(ingest_table, [tmp_path / "none.parquet"], name="a.none", admin_url=database_url)
    await until_seen()
    shown = await examples(client)
    assert not any("a.none" in query for query in shown.values())
    for query in shown.values():
        await run(client, query)


# -- capabilities -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def capabilities(settings: Settings, **changes: object) -> AsyncIterator[etree._Element]:
    async with client_of(settings, **changes) as client:
        yield etree.fromstring((await client.get("/tap/capabilities")).content)


async def test_tap19_examples_are_declared_where_they_are(client: httpx.AsyncClient) -> None:
    root = etree.fromstring((await client.get("/tap/capabilities")).content)
    (found,) = [item for item in root if item.get("standardID") == "ivo://ivoa.net/std/DALI#examples"]
    assert found.find("interface").get(XSI_TYPE) == "vr:WebBrowser"
    url = found.find("interface/accessURL")
    assert url.get("use") == "full"
    assert (await client.get(url.text)).status_code == 200


async def test_tap11_there_is_one_tap_without_a_security_method(client: httpx.AsyncClient) -> None:
    root = etree.fromstring((await client.get("/tap/capabilities")).content)
    assert [item.get("standardID") for item in root].count(TAP) == 1
    assert not list(root.iter("securityMethod"))  # TAP-13, VOSI-2


async def test_tre2_every_declared_language_is_accepted(client: httpx.AsyncClient) -> None:
    root = etree.fromstring((await client.get("/tap/capabilities")).content)
    language = next(root.iter("language"))
    versions = [version.text for version in language.iter("version")]
    for name in ("ADQL", *(f"ADQL-{version}" for version in versions)):
        answer = await ask(client, "SELECT TOP 1 id FROM survey.stars", LANG=name)
        assert answer.status_code == 200, name


async def test_tre5_every_declared_format_is_given(client: httpx.AsyncClient) -> None:
    root = etree.fromstring((await client.get("/tap/capabilities")).content)
    declared = [(item.findtext("mime"), [alias.text for alias in item.iter("alias")]) for item in root.iter("outputFormat")]  # fmt: skip
    assert len(declared) >= len(formats.FORMATS)
    for media_type, aliases in declared:
        for name in (media_type, *aliases):
            answer = await ask(client, "SELECT TOP 1 id FROM survey.stars", RESPONSEFORMAT=name)
            assert answer.status_code == 200, name
            kind = answer.headers["content-type"].replace("; ", ";").removesuffix(";charset=utf-8")
            assert kind == media_type.removesuffix(";charset=utf-8"), name


@pytest.mark.filterwarnings("ignore::pyvo.io.vosi.exceptions.W23")  # pyvo knows TAPRegExt 1.0 too: hence a setting
async def test_capabilities_by_mode_are_told_if_wanted(settings: Settings, catalog: str) -> None:
    from pyvo.io.vosi import parse_capabilities

    async with capabilities(settings) as plain, capabilities(settings, capabilities_by_mode=True) as told:
        assert not plain.xpath("//*[@forMode]")
        (limit,) = told.xpath("//*[@forMode]")
        assert (limit.tag, limit.get("forMode")) == ("executionDuration", "sync")
        assert limit.findtext("hard") == "60"
        tap = next(item for item in parse_capabilities(io.BytesIO(etree.tostring(told))) if item.standardid == TAP)
        assert tap.executionduration.hard  # pyvo still reads the document
        limit.getparent().remove(limit)
        assert etree.tostring(told, method="c14n") == etree.tostring(plain, method="c14n").replace(b"\n\n", b"\n")


# -- results are what the tables say ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::astropy.io.votable.exceptions.W47")  # astropy warns of what others demand
async def test_an_uploaded_lone_character_is_no_array(client: httpx.AsyncClient) -> None:
    """VOTable 1.3, erratum 3: ``arraysize="1"`` of older writers means a scalar."""
    document = b"""<?xml version="1.0"?><VOTABLE version="1.2"><RESOURCE><TABLE>
        <FIELD name="c" datatype="char" arraysize="1"/><FIELD name="d" datatype="double" arraysize="1"/>
        <DATA><TABLEDATA><TR><TD>x</TD><TD>2.5</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""
    answer = await upload(client, "SELECT c, d FROM TAP_UPLOAD.t", t=document)
    assert tuple(read(answer)[0]) == ("x", 2.5)
    assert b"arraysize" not in answer.content


async def test_tap75_the_keys_name_columns_that_are_there(client: httpx.AsyncClient) -> None:
    keys = """SELECT k.key_id, c.from_column FROM tap_schema.keys AS k JOIN tap_schema.key_columns AS c ON k.key_id = c.key_id"""
    both = f"""SELECT f.key_id FROM ({keys}) AS f JOIN tap_schema.keys AS k ON f.key_id = k.key_id
        JOIN tap_schema.key_columns AS p ON p.key_id = k.key_id AND p.from_column = f.from_column
        JOIN tap_schema.columns AS a ON a.table_name = k.from_table AND a.column_name = p.from_column
        JOIN tap_schema.columns AS b ON b.table_name = k.target_table AND b.column_name = p.target_column"""
    assert len(read(await ask(client, keys))) == len(read(await ask(client, both))) == 5
