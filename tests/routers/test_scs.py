"""Cone searches over HTTP: against brute force, with pyvo and with STILTS."""

import asyncio
import csv
import io
import shutil
import warnings
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import asyncpg
import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyvo
import uvicorn
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import votable
from fastapi import FastAPI
from pyvo.io.vosi import parse_capabilities

from gateway.db.registry import read_tableset
from gateway.ingest.tables import ingest_table
from gateway.sky.search import HealpixIndex
from gateway.vo import scs
from gateway.vo.adql import translate_tree
from gateway.vo.regions import Circle
from gateway.vo.scs import ConeQuery
from tests.routers.conftest import stars

VOTABLE = "{http://www.ivoa.net/xml/VOTable/v1.3}"
STARS = "/scs/survey.stars"
HERE = {"RA": "10", "DEC": "20", "SR": "25"}


@pytest.fixture
async def served(app: FastAPI) -> AsyncIterator[str]:
    """Base URL of the application behind a real server."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="error"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def rows(client: httpx.AsyncClient, **params: Any) -> list[dict[str, str]]:
    answer = await client.get(STARS, params=HERE | params | {"RESPONSEFORMAT": "csv"})
    assert answer.status_code == 200
    return list(csv.DictReader(answer.text.splitlines()))


def document(answer: httpx.Response) -> ET.Element:
    assert answer.headers["content-type"].startswith("text/xml")  # SCS-5
    return ET.fromstring(answer.text)


def error(answer: httpx.Response) -> str:
    """Text of the one INFO that is the error; there is no table beside it."""
    root = document(answer)
    assert root.find(f".//{VOTABLE}TABLE") is None
    (info,) = root.findall(f"{VOTABLE}INFO[@name='Error']")
    return info.attrib["value"]


async def test_rows_are_those_of_brute_force_nearest_first(client: httpx.AsyncClient) -> None:  # SCS-4
    table = stars()
    known = table.filter(table["ra"].is_valid())
    positions = SkyCoord(known["ra"].to_numpy(), known["dec"].to_numpy(), unit="deg")
    for ra, dec, radius in ((10, 20, 30), (0, 0, 20), (359.9, -30, 25), (123, 90, 40), (123, -90, 35), (5, 5, 180)):
        distances = positions.separation(SkyCoord(ra, dec, unit="deg")).deg
        inside = np.flatnonzero(distances <= radius)
        expected = [known["name"][int(place)].as_py() for place in inside[np.argsort(distances[inside])]]
        found = await rows(client, RA=ra, DEC=dec, SR=radius, MAXREC=400)
        assert [row["name"] for row in found] == expected[:400]
        assert len(expected) > 3


async def test_maxrec_keeps_the_nearest_and_says_so(client: httpx.AsyncClient) -> None:  # SCS-14, DALI-36
    near = await rows(client, SR="180", MAXREC="3")
    assert [row["id"] for row in near] == [row["id"] for row in await rows(client)][:3]
    assert near[0]["name"] == "étoile 0"
    cut = await client.get(STARS, params=HERE | {"SR": "180", "MAXREC": "3"})
    assert 'value="OVERFLOW"' in cut.text
    assert document(cut).findall(f".//{VOTABLE}TR").__len__() == 3
    none = await client.get(STARS, params=HERE | {"MAXREC": "0"})
    assert document(none).findall(f".//{VOTABLE}TR") == []
    assert document(none).findall(f".//{VOTABLE}FIELD") != []


async def test_no_match_is_an_empty_table(client: httpx.AsyncClient) -> None:  # SCS-12
    answer = await client.get(STARS, params={"RA": "11", "DEC": "21", "SR": "1e-9"})
    assert document(answer).findall(f".//{VOTABLE}TR") == []
    assert 'value="OVERFLOW"' not in answer.text


async def test_radius_0_gives_the_description_only(client: httpx.AsyncClient) -> None:  # SCS-13
    answer = await client.get(STARS, params=HERE | {"SR": "0"})  # a star is exactly there
    root = document(answer)
    assert root.findall(f".//{VOTABLE}TR") == []
    assert [info.attrib["value"] for info in root.iter(f"{VOTABLE}INFO") if info.get("name") == "QUERY_STATUS"] == [
        "OK"
    ]
    names = [field.attrib["name"] for field in root.iter(f"{VOTABLE}FIELD")]
    assert names == ["main_id", *stars().column_names]


async def test_answer_has_one_table_with_the_three_columns(client: httpx.AsyncClient) -> None:  # SCS-7, SCS-8, SCS-16
    answer = await client.get(STARS, params=HERE | {"VERB": "1", "unknown": "x"})  # SCS-3
    root = document(answer)
    (resource,) = root.findall(f"{VOTABLE}RESOURCE")
    assert resource.get("type") == "results"
    assert len(resource.findall(f"{VOTABLE}TABLE")) == 1
    fields = {field.attrib["ucd"]: field.attrib for field in root.iter(f"{VOTABLE}FIELD")}
    assert list(fields) == ["ID_MAIN", "POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN"]
    assert [field["datatype"] for field in fields.values()] == ["char", "double", "double"]
    parsed = votable.parse_single_table(io.BytesIO(answer.content)).to_table()
    assert len(set(parsed["main_id"])) == len(parsed) > 10
    infos = {info.attrib["name"]: info.attrib["value"] for info in root.iter(f"{VOTABLE}INFO")}
    assert infos["standardID"] == "ivo://ivoa.net/std/ConeSearch"


async def test_get_and_post_in_any_case_answer_alike(client: httpx.AsyncClient) -> None:  # SCS-3, SCS-14
    params = HERE | {"RESPONSEFORMAT": "csv"}
    small = {name.lower(): value for name, value in params.items()}
    answers = [
        await client.get(STARS, params=params),
        await client.get(STARS, params=small),
        await client.post(STARS, data=params),
        await client.post(STARS, files={name: (None, value) for name, value in params.items()}),
    ]
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["content-type"].startswith("text/csv")


async def test_wrong_request_is_told_in_a_document_that_old_clients_read(client: httpx.AsyncClient) -> None:  # SCS-11
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"RA": ""}, "RA='': give the right ascension"),
        ({"DEC": "91"}, "DEC='91': declination 91 is outside"),
        ({"SR": "x"}, "SR='x': 'x' is no number"),
        ({"SR": "-1"}, "SR='-1'"),
        ({"VERB": "9"}, "VERB='9'"),
        ({"MAXREC": "abc"}, "MAXREC='abc'"),
        ({"RESPONSEFORMAT": "nonsense"}, "RESPONSEFORMAT='nonsense'"),
        ({"RA": ["1", "2"]}, "give this parameter only once"),
    )
    for params, told in wrong:
        for answer in (await client.get(STARS, params=HERE | params), await client.post(STARS, data=HERE | params)):
            assert answer.status_code == 200
            assert told in error(answer)


async def test_table_that_cannot_be_searched_is_404_with_a_document(client: httpx.AsyncClient) -> None:  # DALI-42
    for name, told in (("survey.none", "no table survey.none"), ("tap_schema.tables", "no positions")):
        answer = await client.get(f"/scs/{name}", params=HERE)
        assert answer.status_code == 404
        assert told in error(answer)
        for child in ("capabilities", "availability"):
            assert (await client.get(f"/scs/{name}/{child}")).status_code == 404
    page = (await client.get("/scs")).text
    assert "http://localhost:8080/scs/survey.stars" in page
    assert "tap_schema" not in page


async def test_odd_names_are_reached_by_their_published_spelling(
    client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.parquet"
    pq.write_table(pa.table({"size": [3.0], "ra": [1.0], "dec": [2.0]}), path)
    await asyncio.to_thread(ingest_table, [path], name="survey.order", admin_url=database_url)
    async with asyncio.timeout(10):
        while "order" not in (page := (await client.get("/scs")).text):  # what is published is looked up once a second
            await asyncio.sleep(0.1)
    (url,) = [part for part in page.split('"') if "order" in part and part.startswith("http")]
    answer = await client.get(url.partition("?")[0], params={"RA": "1", "DEC": "2", "SR": "1"})
    assert len(document(answer).findall(f".//{VOTABLE}TR")) == 1


async def test_capabilities_tell_the_limits_and_a_query_that_finds_something(client: httpx.AsyncClient) -> None:
    root = ET.fromstring((await client.get(f"{STARS}/capabilities")).text)  # SCS-15
    cone, *vosi = root.findall("capability")
    assert cone.get("standardID") == "ivo://ivoa.net/std/ConeSearch"
    assert cone.get("{http://www.w3.org/2001/XMLSchema-instance}type") == "cs:ConeSearch"
    url = cone.find("interface/accessURL")
    assert (url.text, url.get("use")) == ("http://localhost:8080/scs/survey.stars?", "base")
    assert float(cone.findtext("maxSR")) == 180
    assert cone.findtext("maxRecords") == "400"
    assert cone.findtext("verbosity") == "true"
    test = {name.upper(): cone.findtext(f"testQuery/{name}") for name in ("ra", "dec", "sr")}
    assert len(await rows(client, **test)) > 0
    assert {one.get("standardID").rpartition("#")[2] for one in vosi} == {"capabilities", "availability"}
    for one in vosi:
        assert (await client.get(one.findtext("interface/accessURL"))).status_code == 200
    assert "true" in (await client.get(f"{STARS}/availability")).text


async def test_pyvo_searches_and_reads_the_roles(served: str) -> None:
    def search() -> None:
        service = pyvo.dal.SCSService(f"{served}{STARS}")
        found = service.search(pos=SkyCoord(10, 20, unit="deg"), radius=25 * u.deg, verbosity=3)
        assert len(found) > 5
        assert (found[0].pos.ra.deg, found[0].pos.dec.deg) == (10.0, 20.0)
        assert found[0].id == "10 20"
        assert found[0]["id"] == 9_007_199_254_740_993
        assert [column.name for column in service.columns] == ["main_id", *stars().column_names]
        assert len(pyvo.conesearch(f"{served}{STARS}?", pos=(10, 20), radius=0.1)) == 1
        content = httpx.get(f"{served}{STARS}/capabilities").content
        with warnings.catch_warnings():  # pyvo knows no types of capabilities but TAP's, and says so
            warnings.simplefilter("ignore")
            capabilities = parse_capabilities(io.BytesIO(content))
        assert {one.standardid for one in capabilities} >= {"ivo://ivoa.net/std/ConeSearch"}
        with pytest.raises(pyvo.DALQueryError, match="a radius of 0 to 180 degrees"):
            service.search(pos=(10, 20), radius=181)
        with pytest.raises(pyvo.DALQueryError, match="no table survey"):
            pyvo.conesearch(f"{served}/scs/survey.none", pos=(10, 20), radius=1)

    await asyncio.to_thread(search)


async def stilts(*arguments: str) -> tuple[int | None, str]:
    """Exit code and words of a run of STILTS."""
    process = await asyncio.create_subprocess_exec("stilts", *arguments, stdout=PIPE, stderr=STDOUT)
    said = (await process.communicate())[0].decode()
    return process.returncode, said


NEEDS_STILTS = pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts (Debian package) is not installed")


@NEEDS_STILTS
async def test_stilts_matches_a_list_of_positions(served: str, tmp_path: Path) -> None:
    places = tmp_path / "places.csv"
    places.write_text("ra,dec\n10,20\n200,-45\n359.99,89.9\n")
    out = tmp_path / "out.csv"
    arguments = (
        "coneskymatch", f"serviceurl={served}{STARS}", "servicetype=cone", f"in={places}", "ra=ra", "dec=dec", "sr=20",
        "find=all", "verb=3", "parallel=2", f"out={out}", "ofmt=csv",
    )  # fmt: skip
    returned, said = await stilts(*arguments)
    assert returned == 0, said
    table = stars()
    known = table.filter(table["ra"].is_valid())
    positions = SkyCoord(known["ra"].to_numpy(), known["dec"].to_numpy(), unit="deg")
    expected = sum(
        int((positions.separation(SkyCoord(ra, dec, unit="deg")).deg <= 20).sum())
        for ra, dec in ((10, 20), (200, -45), (359.99, 89.9))
    )
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == expected


@NEEDS_STILTS
async def test_stilts_tells_what_is_wrong(served: str) -> None:  # SCS-11
    returned, said = await stilts("cone", f"serviceurl={served}{STARS}", "lon=10", "lat=91", "radius=1", "ofmt=csv")
    assert returned != 0
    assert "declination 91 is outside -90 to 90 degrees" in said


async def test_a_cone_reads_the_index_and_not_the_table(database_url: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    count = 20_000
    path = tmp_path / "many.parquet"
    ra, dec = generator.uniform(0, 360, count), np.degrees(np.arcsin(generator.uniform(-1, 1, count)))
    pq.write_table(pa.table({"ra": ra, "dec": dec}), path)
    await asyncio.to_thread(ingest_table, [path], name="survey.many", admin_url=database_url)
    connection = await asyncpg.connect(database_url)
    tableset = await read_tableset(connection)
    cone = scs.cone_of(tableset.find("survey.many"))
    assert cone is not None
    nearest = np.argsort(SkyCoord(ra, dec, unit="deg").separation(SkyCoord(10, 20, unit="deg")))
    # few rows are sorted; a few of many are read in growing rings, and never all that the cone holds
    for radius, maxrec, has_rings in ((5.0, 100, False), (180.0, 3, True), (180.0, 9_000, False)):
        query = scs.search(cone, ConeQuery(Circle(10, 20, radius), maxrec=maxrec))
        sql = translate_tree(query, tableset, index=HealpixIndex(), maxrec=maxrec).sql
        assert ("gw_rings" in sql) == has_rings
        found = await connection.fetch(sql)
        assert [row["ra"] for row in found[:3]] == list(ra[nearest[:3]])
        assert len(found) == maxrec + 1 or radius < 180  # one more tells of the overflow
        if radius < 180 or has_rings:
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}"))
            assert "Index" in plan, plan
            assert "Seq Scan" not in plan, plan
    await connection.close()
