"""TAP over HTTP: answers, errors and limits (standards: TAP-1..60)."""

import asyncio
import io
import warnings
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import votable
from astropy.table import Table

from gateway.ingest.tables import ingest_table

from .conftest import stars


async def ask(client: httpx.AsyncClient, query: str, **params: str) -> httpx.Response:
    return await client.post("/tap/sync", data={"LANG": "ADQL", "QUERY": query, **params})


def read(response: httpx.Response) -> Table:
    assert response.status_code == 200, response.text
    return (
        votable.parse(io.BytesIO(response.content), verify="exception")
        .get_first_table()
        .to_table(use_names_over_ids=True)
    )


def status_infos(response: httpx.Response) -> list[str]:
    tree = votable.parse(io.BytesIO(response.content), verify="exception")
    (resource,) = tree.resources
    infos = [*resource.infos, *(info for table in resource.tables for info in table.infos)]
    return [info.value for info in infos if info.name == "QUERY_STATUS"]


def fault(response: httpx.Response) -> str:
    """Text of the error document; fails if it is not a valid one."""
    assert response.headers["content-type"].startswith("application/x-votable+xml"), response.text
    tree = votable.parse(io.BytesIO(response.content), verify="exception")
    (info,) = [info for info in tree.resources[0].infos if info.name == "QUERY_STATUS"]
    assert info.value == "ERROR"
    assert not tree.resources[0].tables
    return str(info.content)


async def test_whole_table_comes_back_equal(client: httpx.AsyncClient) -> None:
    truth = stars()
    table = read(await ask(client, "SELECT * FROM survey.stars ORDER BY id", MAXREC="400"))
    assert table.colnames == truth.column_names  # TAP-51: the hidden index column is not among them
    assert list(table["id"]) == truth["id"].to_pylist()[:400]
    assert list(table["name"]) == truth["name"].to_pylist()[:400]
    assert np.array_equal(np.asarray(table["ra"]), truth["ra"].to_numpy()[:400])


@pytest.mark.parametrize("name", ["SELECT 1 AS x FROM survey.stars", "select TOP 1 1 AS x from Survey.STARS"])
async def test_names_and_keywords_compare_without_case(client: httpx.AsyncClient, name: str) -> None:
    assert read(await ask(client, name)).colnames == ["x"]


async def test_get_and_both_kinds_of_post_answer_alike(client: httpx.AsyncClient) -> None:  # TAP-4
    params = {"LANG": "ADQL", "QUERY": "SELECT id FROM survey.stars ORDER BY id", "RESPONSEFORMAT": "csv"}
    answers = [
        await client.get("/tap/sync", params=params),
        await client.post("/tap/sync", data=params),
        await client.post("/tap/sync", files={name: (None, value) for name, value in params.items()}),
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize(
    ("query", "maxrec", "rows", "statuses"),  # TAP-33, TAP-34, TAP-35
    [
        ("SELECT TOP 5 id FROM survey.stars", "10", 5, ["OK"]),
        ("SELECT TOP 10 id FROM survey.stars", "5", 5, ["OK", "OVERFLOW"]),
        ("SELECT TOP 20 id FROM survey.stars", "20", 20, ["OK"]),
        ("SELECT id FROM survey.stars WHERE mag > 100", "5", 0, ["OK"]),
        ("SELECT id FROM survey.stars", None, 200, ["OK", "OVERFLOW"]),
        ("SELECT id FROM survey.stars", "100000", 400, ["OK", "OVERFLOW"]),
    ],
)
@pytest.mark.parametrize("form", ["votable", "votable/td"])
async def test_maxrec_cuts_and_tells(
    client: httpx.AsyncClient, query: str, maxrec: str | None, rows: int, statuses: list[str], form: str
) -> None:
    params = {"RESPONSEFORMAT": form} | ({"MAXREC": maxrec} if maxrec else {})
    response = await ask(client, query, **params)
    assert len(read(response)) == rows
    assert status_infos(response) == statuses


async def test_maxrec_0_gives_fields_and_overflow(client: httpx.AsyncClient) -> None:  # TAP-34
    response = await ask(client, "SELECT ra, name FROM survey.stars", MAXREC="0")
    assert read(response).colnames == ["ra", "name"]
    assert status_infos(response)[-1] == "OVERFLOW"


async def test_csv_has_a_header_and_its_media_type(client: httpx.AsyncClient) -> None:  # TAP-56
    response = await ask(client, "SELECT id, name FROM survey.stars ORDER BY id", RESPONSEFORMAT="csv", MAXREC="1")
    assert response.headers["content-type"] == "text/csv;header=present"
    assert response.text.splitlines() == ["id,name", "9007199254740993,étoile 0"]


async def test_parquet_keeps_every_value(client: httpx.AsyncClient) -> None:
    query = "SELECT * FROM survey.stars WHERE id < 9007199254741093 ORDER BY id"
    response = await ask(client, query, RESPONSEFORMAT="parquet")
    table = pq.read_table(io.BytesIO(response.content))
    truth = stars().slice(0, 100)
    assert table.column_names == truth.column_names
    for name in truth.column_names:
        assert table[name].to_pylist() == truth[name].to_pylist()


async def test_cone_finds_what_brute_force_finds(client: httpx.AsyncClient) -> None:
    query = "SELECT id FROM survey.stars WHERE 1=CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 25)) ORDER BY id"
    found = list(read(await ask(client, query))["id"])
    table = stars()
    ra, dec = (np.radians(table[name].to_numpy()) for name in ("ra", "dec"))
    cosine = np.sin(dec) * np.sin(np.radians(20)) + np.cos(dec) * np.cos(np.radians(20)) * np.cos(ra - np.radians(10))
    with np.errstate(invalid="ignore"):
        truth = table["id"].to_numpy()[np.degrees(np.arccos(np.clip(cosine, -1, 1))) <= 25]
    assert found == list(truth)
    assert len(found) > 5


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"QUERY": "SELECT * FROM nosuch"}, "nosuch"),
        ({"QUERY": "SELECT * FROM survey.star"}, "survey.stars"),  # did you mean
        ({"QUERY": "SELECT nmae FROM survey.stars"}, "name"),
        ({"QUERY": "SELECT gw_hpx29 FROM survey.stars"}, "gw_hpx29"),  # hidden, so unknown
        ({"QUERY": "SELECT FROM survey.stars"}, "line 1, column 8"),
        ({"QUERY": "SELECT id\nFROM survey.stars WHERE WHERE"}, "line 2"),
        ({"QUERY": "SELECT TOP 5 id FROM survey.stars", "RESPONSEFORMAT": "nonsense"}, "votable"),
        ({"QUERY": "SELECT TOP 5 id FROM survey.stars", "RESPONSEFORMAT": "xlsx"}, "csv"),
        ({"QUERY": "SELECT id FROM survey.stars", "MAXREC": "-1"}, "MAXREC"),
        ({"QUERY": "SELECT id FROM survey.stars", "MAXREC": "abc"}, "MAXREC"),
        ({"QUERY": "SELECT id FROM survey.stars WHERE 1=CONTAINS(POINT(ra,dec),CIRCLE(400,0,1))"}, "400"),
        ({"QUERY": "SELECT id FROM survey.stars WHERE 1=CONTAINS(POINT(ra,dec),CIRCLE(10,95,1))"}, "95"),
        ({"QUERY": ""}, "QUERY"),
        ({}, "QUERY"),
        ({"QUERY": "SELECT 1/0 FROM survey.stars"}, "ivision by zero"),
        ({"QUERY": "DROP TABLE survey.stars"}, "SELECT"),
        ({"QUERY": "SELECT pg_sleep(10) FROM survey.stars"}, "pg_sleep"),
        ({"QUERY": "SELECT id FROM survey.stars; DELETE FROM survey.stars"}, "line 1"),
        ({"QUERY": "SELECT id FROM TAP_UPLOAD.t"}, "TAP_UPLOAD"),
        ({"QUERY": "SELECT id FROM TAP_UPLOAD.t", "UPLOAD": "t,param:t"}, "param:t"),
        ({"QUERY": "SELECT id FROM TAP_UPLOAD.t", "UPLOAD": "t,http://127.0.0.1/x"}, "public"),
        ({"QUERY": "SELECT id FROM survey.stars", "LANG": "PQL"}, "ADQL"),
        ({"QUERY": "SELECT id FROM survey.stars", "RUNID": "x" * 65}, "RUNID"),
    ],
    ids=str,
)
async def test_wrong_request_is_told_what_to_change(
    client: httpx.AsyncClient, params: dict[str, str], told: str
) -> None:
    response = await client.post("/tap/sync", data={"LANG": "ADQL", **params})
    assert response.status_code == 400
    assert told in fault(response)
    again = await ask(client, "SELECT TOP 1 id FROM survey.stars")
    assert again.status_code == 200


@pytest.mark.parametrize("twice", ["QUERY", "MAXREC", "RESPONSEFORMAT", "RUNID", "LANG"])
async def test_single_valued_parameter_given_twice_is_refused(client: httpx.AsyncClient, twice: str) -> None:
    values = {
        "QUERY": "SELECT TOP 1 id FROM survey.stars",
        "LANG": "ADQL",
        "MAXREC": "1",
        "RESPONSEFORMAT": "csv",
        "RUNID": "a",
    }
    response = await client.get("/tap/sync", params=[*values.items(), (twice.lower(), values[twice])])
    assert response.status_code == 400
    assert twice in fault(response)


async def test_body_that_is_no_form_is_told(client: httpx.AsyncClient) -> None:
    response = await client.post("/tap/sync", json={"QUERY": "SELECT 1"})
    assert response.status_code == 400
    assert "application/x-www-form-urlencoded" in fault(response)


DOCTYPE = b"""<?xml version="1.0"?><!DOCTYPE VOTABLE [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<VOTABLE version="1.3"><RESOURCE><TABLE><FIELD name="a" datatype="char" arraysize="*"/>
<DATA><TABLEDATA><TR><TD>&x;</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""


async def upload(client: httpx.AsyncClient, query: str, **tables: bytes) -> httpx.Response:
    fields = {"LANG": "ADQL", "QUERY": query, "UPLOAD": ";".join(f"{name},param:{name}" for name in tables)}
    files = {name: (f"{name}.vot", content, "application/x-votable+xml") for name, content in tables.items()}
    return await client.post("/tap/sync", data=fields, files=files)


async def test_upload_with_a_doctype_is_refused(client: httpx.AsyncClient) -> None:
    response = await upload(client, "SELECT * FROM TAP_UPLOAD.t", t=DOCTYPE)
    assert response.status_code == 400
    assert "DOCTYPE" in fault(response)
    assert "root:" not in response.text


def as_votable(table: Table, form: str) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy makes an XML identifier of "my id" and says so
        document = votable.from_table(table)
    document.get_first_table().format = form
    document.to_xml(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["tabledata", "binary", "binary2"])
async def test_uploaded_table_comes_back_equal(client: httpx.AsyncClient, form: str) -> None:  # TAP-41
    mine = Table({"my id": [1, 2**62, -3], "x": [0.1, 2.5, -1e300], "s": ["a", "b,c", "<&>"]})
    response = await upload(client, "SELECT * FROM TAP_UPLOAD.mine", mine=as_votable(mine, form))
    table = read(response)
    assert table.colnames == ["my id", "x", "s"]  # TAP-40
    for name in mine.colnames:
        assert list(table[name]) == list(mine[name])


async def test_upload_joins_by_position(client: httpx.AsyncClient) -> None:
    mine = Table({"n": [1, 2], "ra": [10.0, 200.0], "dec": [20.0001, -89.0]})
    query = """SELECT mine.n, s.id FROM TAP_UPLOAD.mine AS mine
        JOIN survey.stars AS s ON 1 = CONTAINS(POINT(s.ra, s.dec), CIRCLE(mine.ra, mine.dec, 0.001))"""
    table = read(await upload(client, query, mine=as_votable(mine, "binary2")))
    assert [tuple(row) for row in table] == [(1, 9_007_199_254_740_993)]


async def test_uploaded_right_ascensions_of_any_turn_are_found(client: httpx.AsyncClient) -> None:
    mine = Table({"n": [1, 2, 3], "ra": [-350.0, 370.0, 10.0], "dec": [20.0, 20.0, 20.0]})
    document = votable.from_table(mine)
    for name in ("ra", "dec"):
        document.get_first_table().get_field_by_id(name).ucd = f"pos.eq.{name};meta.main"
    buffer = io.BytesIO()
    document.to_xml(buffer)
    for condition in (
        "1 = CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 0.01))",
        "1 = CONTAINS(POINT(ra, dec), CIRCLE(9.5, 20, 0.6))",
        "1 = CONTAINS(POINT(ra, dec), POLYGON(9, 19, 11, 19, 11, 21, 9, 21))",
        "EXISTS (SELECT 1 FROM survey.stars AS s WHERE DISTANCE(s.ra, s.dec, mine.ra, mine.dec) < 0.001)",
    ):
        table = read(await upload(client, f"SELECT n FROM TAP_UPLOAD.mine WHERE {condition}", mine=buffer.getvalue()))
        assert sorted(table["n"]) == [1, 2, 3], condition
    query = """SELECT mine.n FROM survey.stars AS s JOIN TAP_UPLOAD.mine AS mine
        ON 1 = CONTAINS(POINT(mine.ra, mine.dec), CIRCLE(s.ra, s.dec, 0.001))"""
    assert sorted(read(await upload(client, query, mine=buffer.getvalue()))["n"]) == [1, 2, 3]


async def test_two_uploads_are_joined_and_gone_afterwards(client: httpx.AsyncClient) -> None:  # TAP-38, 39
    one, two = as_votable(Table({"k": [1, 2]}), "binary"), as_votable(Table({"k": [2, 3]}), "tabledata")
    table = read(await upload(client, "SELECT a.k FROM TAP_UPLOAD.a JOIN TAP_UPLOAD.b ON a.k = b.k", a=one, b=two))
    assert list(table["k"]) == [2]
    assert (await ask(client, "SELECT k FROM TAP_UPLOAD.a")).status_code == 400


async def test_tap_schema_describes_itself_and_the_table(client: httpx.AsyncClient) -> None:  # TAP-70, 71
    tables = read(await ask(client, "SELECT table_name FROM TAP_SCHEMA.tables"))
    assert {"survey.stars", "tap_schema.tables", "tap_schema.columns"} <= set(tables["table_name"])
    columns = read(
        await ask(client, "SELECT column_name, \"size\" FROM tap_schema.columns WHERE table_name = 'survey.stars'")
    )
    assert set(columns["column_name"]) == {"id", "ra", "dec", "mag", "name", '"2MASS"', "is_variable"}


async def test_size_without_quotes_is_a_reserved_word(client: httpx.AsyncClient) -> None:  # TAP-73
    response = await ask(client, "SELECT size FROM tap_schema.columns")
    assert response.status_code == 400
    assert '"size"' in fault(response)


async def test_odd_column_name_is_reached_by_quotes(client: httpx.AsyncClient) -> None:
    table = read(await ask(client, 'SELECT "2MASS" FROM survey.stars WHERE "2MASS" = \'00000001\''))
    assert table.colnames == ["2MASS"]
    assert len(table) == 1


async def test_tables_document_lists_what_tap_schema_lists(client: httpx.AsyncClient) -> None:
    document = (await client.get("/tap/tables")).text
    assert "<name>survey.stars</name>" in document
    assert "gw_hpx29" not in document
    assert "<column" not in (await client.get("/tap/tables?detail=min")).text
    assert (await client.get("/tap/tables/survey.stars")).status_code == 200
    assert (await client.get("/tap/tables/survey.nosuch")).status_code == 404


async def test_capabilities_carry_the_public_url_and_a_date(client: httpx.AsyncClient) -> None:
    response = await client.get("/tap/capabilities")
    assert "http://localhost:8080/tap</accessURL>" in response.text
    assert "last-modified" in response.headers  # VOSI-4
    assert (await client.head("/tap/capabilities")).status_code == 200


async def test_unknown_host_is_refused_and_never_echoed(client: httpx.AsyncClient) -> None:  # reliability A14
    response = await client.get("/tap/capabilities", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert "GATEWAY_PUBLIC_BASE_URL" in response.text
    assert "http://evil.example" not in response.text


async def test_availability_is_true(client: httpx.AsyncClient) -> None:
    assert "true" in (await client.get("/tap/availability")).text


async def test_home_page_names_the_tables_and_the_service(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert "survey.stars" in page
    assert "http://localhost:8080/tap" in page


async def test_nothing_of_an_upload_is_left_on_disk(client: httpx.AsyncClient, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    await upload(client, "SELECT * FROM TAP_UPLOAD.t", t=as_votable(Table({"a": [1]}), "binary"))
    assert list((tmp_path / "spool").iterdir()) == []


async def test_positions_in_whole_degrees_are_searched_and_joined(
    client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "grid.csv").write_text("id,ra,dec\n1,10,20\n2,11,20\n3,350,-80\n")
    await asyncio.to_thread(ingest_table, [tmp_path / "grid.csv"], name="survey.grid", admin_url=database_url)
    await asyncio.sleep(0.6)  # until what is published is looked at again
    cone = "SELECT id FROM survey.grid WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(10.4, 20, 0.5))"
    assert list(read(await ask(client, cone))["id"]) == [1]
    join = (
        "SELECT g.id, s.id AS star FROM survey.grid AS g JOIN survey.stars AS s"
        " ON DISTANCE(POINT(g.ra, g.dec), POINT(s.ra, s.dec)) < 0.01"
    )
    assert [tuple(row) for row in read(await ask(client, join))] == [(1, stars()["id"][0].as_py())]


# -- the service as a whole -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html"),
        ("/capabilities", "text/xml"),
        ("/availability", "text/xml"),
        ("/tables", "text/xml"),
        ("/examples", "application/xhtml+xml"),
        ("/async", "text/xml"),
        ("/sync?LANG=ADQL&QUERY=SELECT+TOP+1+id+FROM+survey.stars", "application/x-votable+xml"),
    ],
)
async def test_every_resource_answers_whoever_asks(client: httpx.AsyncClient, path: str, kind: str) -> None:
    response = await client.get(f"/tap{path}")  # TAP-1, TAP-2, TAP-3, TAP-5, TAP-16
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)
    assert "www-authenticate" not in response.headers


async def test_names_of_parameters_compare_without_case(client: httpx.AsyncClient) -> None:  # TAP-21, TAP-24
    params = {
        "lang": "ADQL",
        "Query": "SELECT id FROM survey.stars",
        "maxRec": "2",
        "request": "doQuery",
        "VERSION": "1.0",
    }
    response = await client.post("/tap/sync", data=params | {"DUMMY": "x", "format": "csv"})
    assert len(response.text.splitlines()) == 3


async def test_format_means_responseformat(client: httpx.AsyncClient) -> None:  # TAP-31, TAP-32
    query = "SELECT TOP 2 id FROM survey.stars"
    for form in ("csv", "tsv", "votable"):
        one, other = await ask(client, query, FORMAT=form), await ask(client, query, RESPONSEFORMAT=form)
        assert one.headers["content-type"] == other.headers["content-type"]
        assert form == "votable" or one.content == other.content
    assert (await ask(client, query)).headers["content-type"].startswith("application/x-votable+xml")


async def test_an_unknown_language_is_told(client: httpx.AsyncClient) -> None:  # TAP-26
    response = await ask(client, "SELECT TOP 1 id FROM survey.stars", LANG="OOBLECK")
    assert response.status_code == 400
    assert "unknown query language" in fault(response)


async def test_a_result_is_never_from_a_cache(client: httpx.AsyncClient) -> None:  # TAP-6
    query = "SELECT TOP 1 id FROM survey.stars"
    for response in (await ask(client, query), await client.get("/tap/sync", params={"QUERY": query})):
        assert response.headers["cache-control"] == "no-store"


async def test_unnamed_expressions_have_names_of_their_own(client: httpx.AsyncClient) -> None:  # TAP-54
    names = read(await ask(client, "SELECT TOP 1 1+1, 2+2, ABS(mag), COUNT(*) FROM survey.stars GROUP BY mag")).colnames
    assert len({name.lower() for name in names}) == 4
    assert all(name.isidentifier() for name in names)
    again = ", ".join(f"q.{name}" for name in names)
    nested = f"SELECT {again} FROM (SELECT TOP 1 1+1, 2+2, ABS(mag), COUNT(*) FROM survey.stars GROUP BY mag) AS q"
    assert read(await ask(client, nested)).colnames == names


async def test_shapes_are_arrays_of_dali(client: httpx.AsyncClient) -> None:  # TAP-29
    query = (
        "SELECT TOP 1 POINT(ra, dec) AS p, CIRCLE(ra, dec, 1) AS c, POLYGON(1, 1, 2, 1, 2, 2) AS g FROM survey.stars"
    )
    tree = votable.parse(io.BytesIO((await ask(client, query)).content), verify="exception")
    kinds = [(field.datatype, field.arraysize, field.xtype) for field in tree.get_first_table().fields]
    assert kinds == [("double", "2", "point"), ("double", "3", "circle"), ("double", "*", "polygon")]


TAP_SCHEMA = {
    "schemas": "schema_name utype description schema_index",
    "tables": "schema_name table_name table_type utype description table_index",
    "columns": "table_name column_name datatype arraysize xtype size description utype unit ucd indexed principal std column_index",
    "keys": "key_id from_table target_table description utype",
    "key_columns": "key_id from_column target_column",
}


@pytest.mark.parametrize("name", TAP_SCHEMA)
async def test_tap_schema_has_the_columns_of_the_standard(client: httpx.AsyncClient, name: str) -> None:
    columns = TAP_SCHEMA[name].split()  # TAP-70, TAP-71, TAP-76
    listed = ", ".join(f'"{column}"' if column == "size" else column for column in columns)
    table = read(await ask(client, f"SELECT {listed} FROM TAP_SCHEMA.{name}", MAXREC="400"))
    assert table.colnames == columns == read(await ask(client, f"SELECT * FROM TAP_SCHEMA.{name}")).colnames
    numbers = {
        column for column in columns if column.endswith("_index") or column in {"size", "indexed", "principal", "std"}
    }
    assert {column for column in columns if table[column].dtype.kind == "i"} == numbers
    whole = not any(column in {"indexed", "principal", "std"} and set(table[column]) - {0, 1} for column in columns)
    assert whole
