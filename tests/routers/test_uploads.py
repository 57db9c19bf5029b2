"""Tables that come with queries: as pyvo and TOPCAT send them, by URL, of every kind, and bad ones (TAP-37 to TAP-44)."""

import asyncio
import gzip
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyvo
import uvicorn
from astropy import units
from astropy.io import fits
from astropy.table import Table
from lxml import etree

from gateway.context import open_task_services
from gateway.ingest.tables import ingest_table
from gateway.jobs.tasks import Work, run_query
from gateway.main import create_app
from gateway.settings import Settings
from tests.support.servers import Administrator
from tests.support.stock import free_port
from tests.support.web import RangeHandler, served_over_http

from .conftest import stars
from .test_jobs import UWS, document
from .test_settings import client_of
from .test_tap import as_votable, ask, fault, read, upload

ECHO = "SELECT * FROM TAP_UPLOAD.t"


@dataclass(frozen=True)
class Site:
    """A running application."""

    settings: Settings
    url: str


@pytest.fixture(scope="module")
def site(
    database_server: Administrator, database_template: str, _servers: tuple[str, str], tmp_path_factory
) -> Iterator[Site]:
    """One for all tests here: what comes with a query leaves nothing behind."""
    folder = tmp_path_factory.mktemp("site")
    pq.write_table(stars(), folder / "stars.parquet")
    database = database_server.create(database_template)
    ingest_table([folder / "stars.parquet"], name="survey.stars", admin_url=database)
    settings = Settings(
        home=folder, database_url=database, redis_url=_servers[1], maxrec_default=200, maxrec_hard=400,
        upload_hosts=("127.0.0.1",),
    )  # fmt: skip
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield Site(settings, f"http://127.0.0.1:{port}")
    server.should_exit = True
    thread.join()
    database_server.drop(database)


@pytest.fixture
def settings(site: Site) -> Settings:
    """The service may fetch from this machine, as an operator can allow."""
    return site.settings


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, timeout=30) as client:
        yield client


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its URL."""
    folder = tmp_path / "files"
    folder.mkdir()
    with served_over_http(folder) as url:
        yield folder, url


def mine(rows: int = 4) -> Table:
    return Table(
        {"n": np.arange(rows), "ra": [10.0, 200.0, 11.0, 12.0][:rows], "dec": [20.0, -89.0, 20.0, 20.0][:rows]}
    )


async def by_url(client: httpx.AsyncClient, query: str = ECHO, **urls: str) -> httpx.Response:
    return await ask(client, query, UPLOAD=";".join(f"{name},{url}" for name, url in urls.items()))


# -- by URL ----------------------------------------------------------------------------------------------------------


async def test_a_table_behind_a_url_is_queried(client: httpx.AsyncClient, files: tuple[Path, str]) -> None:  # TAP-38
    folder, url = files
    (folder / "t;v=1.vot").write_bytes(as_votable(mine(), "binary2"))
    table = read(await by_url(client, "SELECT n FROM TAP_UPLOAD.t WHERE ra > 11.5", t=f"{url}/t;v=1.vot"))
    assert sorted(table["n"]) == [1, 3]


async def test_tables_of_the_request_and_behind_urls_come_together(
    client: httpx.AsyncClient, files: tuple[Path, str]
) -> None:
    folder, url = files
    (folder / "a.csv").write_text("k,x\n1,one\n2,two\n")
    (folder / "b.csv.gz").write_bytes(gzip.compress(b"k\n2\n3\n"))
    query = "SELECT a.x FROM TAP_UPLOAD.a JOIN TAP_UPLOAD.b ON a.k = b.k JOIN TAP_UPLOAD.c ON b.k = c.k"
    response = await client.post(
        "/tap/sync",
        data={"LANG": "ADQL", "QUERY": query, "UPLOAD": f"a,{url}/a.csv;c,param:c;b,{url}/b.csv.gz"},
        files={"c": ("c.vot", as_votable(Table({"k": [2]}), "tabledata"))},
    )
    assert list(read(response)["x"]) == ["two"]
    repeated = [("LANG", "ADQL"), ("QUERY", "SELECT a.k FROM TAP_UPLOAD.a JOIN TAP_UPLOAD.b ON a.k = b.k")]
    uploads = [("UPLOAD", f"a,{url}/a.csv"), ("UPLOAD", f"b,{url}/b.csv.gz")]
    assert list(read(await client.get("/tap/sync", params=[*repeated, *uploads]))["k"]) == [2]


async def test_a_url_that_gives_no_table_is_told(client: httpx.AsyncClient, files: tuple[Path, str]) -> None:  # TAP-44
    folder, base = files
    (folder / "page.html").write_text("<html><body>Log in</body></html>")
    for url, told in {
        "http://127.0.0.2:8080/x": "127.0.0.2 has no public address",
        "http://169.254.169.254/latest/meta-data/": "no public address",
        "http://[::1]/x": "no public address",
        "http://me:hunter2@127.0.0.1/x": "user name or password",
        "file:///etc/passwd": "param:PART",
        "ftp://127.0.0.1/x": "param:PART",
        "vos://cadc.nrc.ca!vospace/x": "param:PART",
        f"{base}/nothing.vot": "status 404",
        f"{base}/page.html": "a web page and no table",
    }.items():
        response = await by_url(client, t=url)
        assert response.status_code == 400, url
        assert told in fault(response), url


async def test_this_machine_is_asked_nothing_unless_the_operator_allows_it(
    settings: Settings, files: tuple[Path, str]
) -> None:
    async with client_of(settings, upload_hosts=()) as client:
        response = await by_url(client, t=f"{files[1]}/x.vot")
        assert response.status_code == 400
        assert "no public address" in fault(response)


async def test_upload_fetch_limit(settings: Settings, tmp_path: Path) -> None:
    class Slow(RangeHandler):
        def do_GET(self) -> None:
            time.sleep(1)

    with served_over_http(tmp_path, Slow) as url:
        async with client_of(settings, upload_fetch_limit=timedelta(seconds=0.2)) as client:
            started = time.monotonic()
            response = await by_url(client, t=f"{url}/x.vot")
            assert response.status_code == 400
            assert "table t: fetching it took longer than 0.2 s" in fault(response)
            assert time.monotonic() - started < 1


async def test_files_behind_urls_have_the_limits_of_a_request(settings: Settings, files: tuple[Path, str]) -> None:
    folder, url = files
    (folder / "a.csv").write_text("name\n" + "x" * 900 + "\n")
    async with client_of(settings, upload_max_bytes=1000, request_max_bytes=1500) as client:
        assert (await by_url(client, t=f"{url}/a.csv")).status_code == 200
        response = await by_url(client, t=f"{url}/a.csv", u=f"{url}/a.csv")
        assert response.status_code == 400
        assert "more than 1500 bytes together" in fault(response)
        (folder / "a.csv").write_text("name\n" + "x" * 1000 + "\n")
        response = await by_url(client, t=f"{url}/a.csv")
        assert response.status_code == 400
        assert "table t: the file has more than 1000 bytes" in fault(response)


async def test_nothing_of_a_fetched_table_is_left(
    client: httpx.AsyncClient, files: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spool").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spool"))
    folder, url = files
    (folder / "a.csv.gz").write_bytes(gzip.compress(b"k\n1\n2\n"))
    assert len(read(await by_url(client, t=f"{url}/a.csv.gz"))) == 2
    assert (await by_url(client, t=f"{url}/a.csv.gz", u=f"{url}/b.csv.gz")).status_code == 400
    assert list((tmp_path / "spool").iterdir()) == []


async def test_a_job_with_a_url_is_queued_without_asking_there(
    client: httpx.AsyncClient, files: tuple[Path, str]
) -> None:
    """It is fetched once, by the worker that runs the query."""
    data = {"LANG": "ADQL", "QUERY": ECHO, "UPLOAD": f"t,{files[1]}/nothing.vot", "PHASE": "RUN"}
    answer = await client.post("/tap/async", data=data)
    assert answer.status_code == 303
    tree = await document(client, urlsplit(answer.headers["location"]).path)
    assert tree.findtext("uws:phase", namespaces=UWS) == "QUEUED"


async def test_a_job_fetches_its_table_when_it_runs(settings: Settings, catalog: str, files: tuple[Path, str]) -> None:
    folder, url = files
    (folder / "t.csv").write_text("id\n9007199254740993\n")
    query = "SELECT s.name FROM TAP_UPLOAD.t JOIN survey.stars AS s ON s.id = t.id"
    work = Work(
        job_id="a", job_list="tap", number=1, token=1, owner="", account=None, base_url="http://localhost:8080",
        time_limit=None, uploads=(),
        parameters=(("QUERY", query), ("UPLOAD", f"t,{url}/t.csv"), ("RESPONSEFORMAT", "csv")),
    )  # fmt: skip
    async with open_task_services(settings.to_record()) as services:
        (result,) = await run_query(work, services)
        async with aclosing((await services.results.open(result.key)).chunks()) as chunks:
            assert b"".join([chunk async for chunk in chunks]).decode() == "name\nétoile 0\n"


# -- kinds -----------------------------------------------------------------------------------------------------------


def fits_file(table: Table) -> bytes:
    buffer = io.BytesIO()
    fits.table_to_hdu(table).writeto(buffer)
    return buffer.getvalue()


async def test_units_and_ucds_of_a_fits_table_come_back(client: httpx.AsyncClient) -> None:  # VOT-42
    table = mine()
    table["ra"].unit = units.deg
    content = fits_file(table)
    content = content.replace(b"TUNIT2  = 'deg     '" + b" " * 60, b"TUCD2   = 'pos.eq.ra'".ljust(80))
    tree = etree.fromstring((await upload(client, ECHO, t=content)).content)
    fields = {field.get("name"): field for field in tree.iter("{*}FIELD")}
    assert fields["ra"].get("ucd") == "pos.eq.ra"
    table["dec"].unit = units.deg
    tree = etree.fromstring((await upload(client, ECHO, t=fits_file(table))).content)
    assert [field.get("unit") for field in tree.iter("{*}FIELD")] == [None, "deg", "deg"]


async def test_what_this_service_gives_it_takes_back(client: httpx.AsyncClient) -> None:
    """Each of its own formats that is a table file; VOParquet carries what the columns mean."""
    truth = stars()
    for form in ("votable", "votable/td", "csv", "parquet"):
        given = await ask(
            client, "SELECT id, ra, name FROM survey.stars ORDER BY id", MAXREC="400", RESPONSEFORMAT=form
        )
        assert given.status_code == 200, form
        response = await upload(client, "SELECT * FROM TAP_UPLOAD.t ORDER BY id", t=given.content)
        table = read(response)
        assert list(table["id"]) == truth["id"].to_pylist()[: len(table)], form
        assert np.array_equal(np.asarray(table["ra"]), truth["ra"].to_numpy()[: len(table)]), form
        assert list(table["name"]) == truth["name"].to_pylist()[: len(table)], form
        if form != "csv":
            field = next(etree.fromstring(response.content).iter("{*}FIELD"))
            assert field.get("datatype") == "long", form


async def test_positions_of_csv_are_joined(client: httpx.AsyncClient) -> None:
    query = """SELECT mine.n FROM TAP_UPLOAD.mine AS mine
        JOIN survey.stars AS s ON 1 = CONTAINS(POINT(s.ra, s.dec), CIRCLE(mine.ra, mine.dec, 0.001))"""
    content = b"n,RA,Dec\n1,10.0,20.0001\n2,200,-89\n3,,\n"
    assert list(read(await upload(client, query, mine=content))["n"]) == [1]


# -- clients ---------------------------------------------------------------------------------------------------------


# pyvo leaves the files open that it sends.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_pyvo_uploads_tables_files_results_and_urls(site: Site, files: tuple[Path, str], tmp_path: Path) -> None:
    service = pyvo.dal.TAPService(f"{site.url}/tap")
    query = "SELECT * FROM TAP_UPLOAD.mine ORDER BY n"
    table = mine()
    folder, url = files
    table.write(folder / "mine.vot", format="votable")
    first = service.run_sync(query, uploads={"mine": table})
    (tmp_path / "mine.csv").write_text("n,ra,dec\n0,10.0,20\n1,200.0,-89\n2,11.0,20\n3,12.0,20\n")
    for content in (str(folder / "mine.vot"), f"{url}/mine.vot", first, str(tmp_path / "mine.csv")):
        found = service.run_sync(query, uploads={"mine": content}).to_table()
        assert [list(found[name]) for name in table.colnames] == [list(table[name]) for name in table.colnames]
    both = "SELECT a.n FROM TAP_UPLOAD.a JOIN TAP_UPLOAD.b ON a.n = b.n WHERE b.dec < 0"
    assert list(service.run_sync(both, uploads={"a": table, "b": f"{url}/mine.vot"})["n"]) == [1]
    methods = {method.ivo_id.rpartition("#")[2] for method in service.upload_methods}
    assert methods == {"upload-inline", "upload-http", "upload-https"}  # TRE-7
    (folder / "bad.csv").write_text("a,b\n1\n")
    with pytest.raises(pyvo.DALQueryError, match="table mine: row 1: has 1 values for 2 columns"):
        service.run_sync(query, uploads={"mine": f"{url}/bad.csv"})
    service._session.close()


async def test_topcat_sends_its_parts_with_types_and_without_lengths(client: httpx.AsyncClient) -> None:
    """As `uk.ac.starlink.vo.UwsJob` writes a form: text parts with a type of their own, then the table."""
    table = as_votable(mine(), "binary")
    lines = [
        b'--*****\r\nContent-Disposition: form-data; name="REQUEST"\r\n\r\ndoQuery\r\n',
        b'--*****\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name="LANG"\r\n\r\nADQL\r\n',
        b'--*****\r\nContent-Disposition: form-data; name="QUERY"\r\n\r\nSELECT n FROM TAP_UPLOAD.t1 WHERE dec < 0\r\n',
        b'--*****\r\nContent-Disposition: form-data; name="UPLOAD"\r\n\r\nt1,param:t1\r\n',
        b'--*****\r\nContent-Type: application/x-votable+xml\r\nContent-Disposition: form-data; name="t1"; '
        b'filename="t1"\r\n\r\n' + table + b"\r\n--*****--\r\n",
    ]

    async def chunks():
        for line in lines:
            yield line

    headers = {"Content-Type": 'multipart/form-data; boundary="*****"'}
    response = await client.post("/tap/sync", content=chunks(), headers=headers)
    assert list(read(response)["n"]) == [1]


# -- bad input -------------------------------------------------------------------------------------------------------


async def test_an_upload_that_is_named_wrongly_is_told(client: httpx.AsyncClient) -> None:  # TAP-39, TAP-43
    for value, told in {
        "t": "expected name,URI",
        "t,": "expected name,URI",
        ",param:t": "not a table name",
        "1t,param:t": "not a table name",
        "my table,param:t": "not a table name",
        "s.t,param:t": "not a table name",
        "étoiles,param:t": "not a table name",
        "t;DROP,param:t": "expected name,URI",
        "t,param:t;T,param:t": "twice",
        "t,param:": "param:PART",
        "t,somewhere": "param:PART",
        "t,param:other": "no file part named 'other'",
        "x" * 129 + ",param:t": "128 characters",
    }.items():
        fields = {"LANG": "ADQL", "QUERY": ECHO, "UPLOAD": value}
        response = await client.post("/tap/sync", data=fields, files={"t": ("t.csv", b"a,b\n1,2\n")})
        assert response.status_code == 400, value
        assert told in fault(response), value


async def test_a_thousand_columns_are_taken_if_their_rows_fit(client: httpx.AsyncClient) -> None:
    header = ",".join(f"c{n}" for n in range(1000)) + "\n"
    query = "SELECT c0, c999 FROM TAP_UPLOAD.t"
    numbers = await upload(client, query, t=(header + ",".join(["1.5"] * 1000) + "\n").encode())
    assert list(read(numbers)["c999"]) == [1.5]
    texts = await upload(client, query, t=(header + ",".join(["x" * 100] * 1000) + "\n").encode())
    assert texts.status_code == 400
    assert "table t cannot be stored: a row of it is larger" in fault(texts)


async def test_a_name_of_a_column_may_hold_anything(client: httpx.AsyncClient) -> None:  # TAP-40, VOT-43
    content = b'"a ""b""",A,a,";DROP TABLE x--",\xc3\xa9,select\n1,2,3,4,5,6\n'
    query = 'SELECT "a ""b""", "A", "a", ";DROP TABLE x--", "é", "select" FROM TAP_UPLOAD.t'
    assert list(read(await upload(client, query, t=content))[0]) == [1, 2, 3, 4, 5, 6]


async def test_a_file_that_eats_memory_costs_its_reader_and_nothing_else(settings: Settings) -> None:  # A9
    """Some kilobytes of Parquet in which each of 100,000 rows is the same megabyte of text."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 2**20]))
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": text}), sink, compression="zstd", store_schema=False)
    assert len(sink.getvalue()) < 100_000
    async with client_of(settings, child_memory_bytes=400 * 2**20) as client:
        response = await upload(client, ECHO, t=sink.getvalue())
        assert response.status_code == 400
        assert "table t: " in fault(response)
        assert "memory" in fault(response)
        assert list(read(await upload(client, ECHO, t=b"a\n1\n"))["a"]) == [1]


async def test_many_uploads_at_once_do_not_mix(client: httpx.AsyncClient) -> None:  # TAP-39
    answers = await asyncio.gather(
        *(upload(client, "SELECT SUM(n) AS s FROM TAP_UPLOAD.t", t=f"n\n{n}\n{n}\n".encode()) for n in range(8))
    )
    assert [int(read(answer)["s"][0]) for answer in answers] == [2 * n for n in range(8)]
