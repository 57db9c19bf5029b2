"""Every result says who made it, with which query, and whence the data are (Data Origin in the VO, IVOA Note).

astropy's reader of these INFOs is the judge.
"""

import asyncio
import datetime as dt
import io
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from astropy.io import votable
from astropy.io.votable.dataorigin import DataOrigin, extract_data_origin

from gateway.ingest.register import register_table
from gateway.ingest.tables import ingest_table
from gateway.settings import Settings
from tests.db.support import admin

from .conftest import stars
from .test_settings import client_of
from .test_tap import ask, read

QUERY = "SELECT TOP 3 id FROM survey.stars ORDER BY id"

DESCRIPTION = """
name: survey
dataorigin:rights_uri: https://creativecommons.org/publicdomain/zero/1.0/
dataorigin:creator: Somebody
tables:
- name: cited
  dataorigin:citation: doi:10.1234/stars
  dataorigin:creator: [Nobody A., É. Personne]
  dataorigin:publication_date: 2026-01-02
  dataorigin:nonsense: x
  columns:
  - {name: id, datatype: long}
"""


def origin(response: httpx.Response) -> DataOrigin:
    assert response.status_code == 200, response.text
    return extract_data_origin(votable.parse(io.BytesIO(response.content), verify="exception"))


def datasets(response: httpx.Response) -> dict[str, list[str]]:
    """Values of each term that tells of the data."""
    (found,) = origin(response).origin
    return {name: values for name, values in vars(found).items() if isinstance(values, list) and name != "infos"}


@pytest.mark.parametrize("form", ["votable", "votable/td"])
async def test_a_result_tells_its_query_and_when_it_ran(client: httpx.AsyncClient, form: str) -> None:
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    query = origin(await ask(client, QUERY, RESPONSEFORMAT=form)).query
    assert query.query == QUERY
    assert query.service_protocol == "ivo://ivoa.net/std/TAP"
    assert query.server_software.startswith("vo-gateway/")
    assert before <= dt.datetime.fromisoformat(query.request_date) <= dt.datetime.now(dt.UTC)


async def test_the_request_that_a_result_tells_gives_it_again(client: httpx.AsyncClient) -> None:
    first = await ask(client, QUERY, RESPONSEFORMAT="votable/td", MAXREC="2")
    again = await client.get(origin(first).query.request)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert list(read(again)["id"]) == list(read(first)["id"])


async def test_what_the_operator_sets_is_told(settings: Settings, catalog: str) -> None:
    changes = {"publisher": "Our <data> centre", "contact": "help@example.org", "authority": "org.example.us"}
    async with client_of(settings, **changes) as client:
        query = origin(await ask(client, QUERY)).query
    assert (query.publisher, query.contact) == ("Our <data> centre", "help@example.org")
    assert query.service_ivoid == "ivo://org.example.us/tap"


async def test_the_authority_of_the_example_is_nobodys(client: httpx.AsyncClient) -> None:
    query = origin(await ask(client, QUERY)).query
    assert (query.service_ivoid, query.publisher, query.contact) == (None, None, None)


async def test_image_searches_tell_their_own_protocol(settings: Settings, catalog: str, archive: Path) -> None:
    async with client_of(settings, authority="org.example.us") as client:
        answer = await client.get("/sia2/query", params={"POS": "CIRCLE 10 20 5", "maxrec": "3"})
        query = origin(answer).query
        again = await client.get(query.request)
    assert again.content.partition(b"<DATA>")[2] == answer.content.partition(b"<DATA>")[2]
    assert query.service_protocol == "ivo://ivoa.net/std/SIA#query-2.0"
    assert query.service_ivoid == "ivo://org.example.us/sia2"


async def test_cone_searches_tell_their_own_protocol_and_request(client: httpx.AsyncClient) -> None:
    answer = await client.get("/scs/survey.stars", params={"RA": "10", "DEC": "20", "SR": "5"})
    document = votable.parse(io.BytesIO(answer.content), verify="ignore")  # UCDs of old are demanded here
    query = extract_data_origin(document).query
    assert query.service_protocol == "ivo://ivoa.net/std/ConeSearch"
    assert len(document.get_first_table().array) > 0
    again = await client.get(query.request)
    assert again.content.partition(b"<DATA>")[2] == answer.content.partition(b"<DATA>")[2]


async def cited(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "survey.yaml").write_text(DESCRIPTION)
    pq.write_table(stars().select(["id"]), tmp_path / "cited.parquet")
    report = await asyncio.to_thread(
        ingest_table,
        [tmp_path / "cited.parquet"],
        name="survey.cited",
        admin_url=database_url,
        describe=tmp_path / "survey.yaml",
    )
    notes = " ".join(report.warnings)
    assert "dataorigin:nonsense" in notes  # what is not a word of the note is told
    assert "dataorigin:citation" not in notes


EXPECTED = {
    "citation": ["doi:10.1234/stars"],
    "creator": ["Nobody A.", "É. Personne"],  # the table's own wins over the schema's
    "publication_date": ["2026-01-02"],
    "rights_uri": ["https://creativecommons.org/publicdomain/zero/1.0/"],
}


async def test_an_ingested_table_says_whence_it_is(
    client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    await cited(database_url, tmp_path)
    await asyncio.sleep(0.6)  # until what is published is looked at again
    assert datasets(await ask(client, "SELECT TOP 1 id FROM survey.cited")) == EXPECTED
    joined = "SELECT TOP 1 a.id FROM survey.cited AS a JOIN survey.stars AS b ON a.id = b.id"
    assert datasets(await ask(client, joined)) == EXPECTED
    assert origin(await ask(client, QUERY)).origin == []  # this table says nothing


async def test_a_registered_table_says_whence_it_is(
    client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "survey.yaml").write_text(DESCRIPTION)
    async with admin(database_url) as owner:
        await owner.execute("CREATE TABLE public.cited AS SELECT 1::bigint AS id")
    await asyncio.to_thread(
        register_table,
        "public.cited",
        name="survey.cited",
        admin_url=database_url,
        describe=tmp_path / "survey.yaml",
    )
    await asyncio.sleep(0.6)
    assert datasets(await ask(client, "SELECT id FROM survey.cited")) == EXPECTED
