"""A job's table again, in other formats and in parts, without running its query again (design, decision 9)."""

import asyncio
import io
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from astropy.io import votable

from gateway.context import TaskServices, open_task_services
from gateway.jobs.models import Claim, Result
from gateway.jobs.phases import Phase
from gateway.jobs.store import JobStore
from gateway.jobs.tasks import Work, run_query
from gateway.settings import Settings
from gateway.storage.results import LocalResultStore, StoreFullError, Written
from tests.routers.conftest import ROWS, stars
from tests.support.files import files_below

Run = Callable[..., Awaitable[str]]
ALL = "SELECT * FROM survey.stars ORDER BY id"


def with_settings(settings: Settings, **changes: Any) -> AbstractAsyncContextManager[TaskServices]:
    """What a job's child has, some settings changed."""
    return open_task_services(settings.model_copy(update=changes).to_record())


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[TaskServices]:
    async with with_settings(settings) as services:
        yield services


@pytest.fixture
async def run(
    client: httpx.AsyncClient, settings: Settings, database_url: str, services: TaskServices
) -> AsyncIterator[Run]:
    """Runs a query as a job, as a worker's child does; gives the URL of its result."""
    async with JobStore.open(database_url) as store:

        async def run(query: str = ALL, *, services: TaskServices = services, **parameters: str) -> str:
            form = {"LANG": "ADQL", "QUERY": query, "PHASE": "RUN", "MAXREC": "400"} | parameters
            created = await client.post("/tap/async", data=form)
            claim = await claimed(store)
            results = await run_query(Work.from_json(claim.to_json()), services)
            assert await store.end(claim, Phase.COMPLETED, results=results)
            return urlsplit(created.headers["location"]).path + "/results/result"

        yield run


async def claimed(store: JobStore) -> Claim:
    """Claim the one part that waits, in whatever queue it is."""
    (backlog,) = [backlog for backlog in await store.backlogs() if backlog.waiting]
    (claim,) = await store.claim(backlog.queue, worker="w", per_owner=9, lease=timedelta(minutes=1))
    return claim


async def fetch(client: httpx.AsyncClient, url: str, **params: Any) -> httpx.Response:
    answer = await client.get(url, params=params)
    assert answer.status_code == 200, answer.text
    return answer


def expected(start: int = 0, stop: int = 400) -> pa.Table:
    return stars().slice(start, stop - start)


def csv_ids(answer: httpx.Response) -> list[int]:
    return pa.csv.read_csv(io.BytesIO(answer.content))["id"].to_pylist()


async def test_result_without_parameters_is_what_was_stored(client: httpx.AsyncClient, run: Run) -> None:
    url = await run(RESPONSEFORMAT="csv")
    answer = await fetch(client, url)
    assert answer.headers["content-type"] == "text/csv;header=present"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert csv_ids(answer) == expected()["id"].to_pylist()
    named = await fetch(client, url, RESPONSEFORMAT="csv")
    assert named.content == answer.content
    assert "content-length" in named.headers


async def test_result_is_had_again_in_other_formats_with_the_same_values(client: httpx.AsyncClient, run: Run) -> None:
    url = await run(RESPONSEFORMAT="csv")
    parquet = pq.read_table(io.BytesIO((await fetch(client, url, RESPONSEFORMAT="parquet")).content))
    assert parquet.to_pydict() == expected().to_pydict()
    answer = await fetch(client, url, responseformat="votable")
    assert answer.headers["content-type"] == "application/x-votable+xml"
    table = votable.parse_single_table(io.BytesIO(answer.content))
    assert [field.name for field in table.fields] == expected().column_names
    for name in ("id", "ra", "dec", "mag"):  # bits, not decimals
        assert np.array_equal(table.array[name].filled(0), expected()[name].fill_null(0).to_numpy()), name
    assert list(table.array["name"]) == expected()["name"].to_pylist()
    assert list(table.array["2MASS"]) == expected()["2MASS"].fill_null("").to_pylist()


async def test_what_is_known_of_a_table_comes_with_it(client: httpx.AsyncClient, run: Run) -> None:
    url = await run(
        "SELECT TOP 3 table_name, description, table_index FROM tap_schema.tables", RESPONSEFORMAT="votable/td"
    )
    stored, again = [
        (await fetch(client, url, **params)).text for params in ({}, {"RESPONSEFORMAT": "votable/td", "MAXREC": "3"})
    ]
    assert again == stored


async def test_rows_are_had_in_parts(client: httpx.AsyncClient, run: Run) -> None:
    url = await run()
    for offset, maxrec, rows in (
        (0, 3, range(3)),
        (5, 3, range(5, 8)),
        (397, 3, range(397, 400)),
        (397, 10, range(397, 400)),
        (399, None, range(399, 400)),
        (400, None, range(0)),
        (10_000, 1, range(0)),
        (0, 0, range(0)),
    ):
        params = {"OFFSET": offset} | ({} if maxrec is None else {"MAXREC": maxrec})
        found = csv_ids(await fetch(client, url, RESPONSEFORMAT="csv", **params))
        assert found == expected()["id"].to_pylist()[rows.start : rows.stop], params
        told = (await fetch(client, url, **params)).text
        assert 'value="OVERFLOW"' in told, params  # behind the last of them too: the job itself was cut at 400


async def test_last_part_of_a_whole_table_says_that_it_is_the_last(
    client: httpx.AsyncClient, run: Run
) -> None:  # DALI-46
    url = await run("SELECT id FROM survey.stars WHERE id < 9007199254740993 + 10")
    for offset, maxrec, is_cut in (
        (0, 9, True),
        (0, 10, False),
        (5, 5, False),
        (5, 4, True),
        (5, 9, False),
        (99, 1, False),
    ):
        told = (await fetch(client, url, OFFSET=offset, MAXREC=maxrec)).text
        assert ('value="OVERFLOW"' in told) == is_cut, (offset, maxrec)


async def test_parts_of_a_large_table_are_the_table(client: httpx.AsyncClient, settings: Settings, run: Run) -> None:
    """Several batches: parts begin and end within them, and cross from one to the next."""
    query = "SELECT a.id, b.ra, b.name FROM survey.stars AS a, survey.stars AS b ORDER BY a.id, b.id"
    async with with_settings(settings, maxrec_hard=250_000) as services:
        url = await run(query, services=services, MAXREC="250000", RESPONSEFORMAT="parquet")
    whole = pq.read_table(io.BytesIO((await fetch(client, url)).content))
    assert whole.num_rows == 250_000
    assert whole["id"].to_pylist() == np.repeat(stars()["id"].to_numpy(), ROWS).tolist()
    (path,) = [path for path in files_below(settings.results_path) if path.endswith("rows.parquet")]
    groups = pq.read_metadata(settings.results_path / path).num_row_groups
    assert groups > 2
    for offset, maxrec in ((0, 1), (100_000, 90_000), (249_999, 5)):
        part = pq.read_table(io.BytesIO((await fetch(client, url, OFFSET=offset, MAXREC=maxrec)).content))
        assert part.equals(whole.slice(offset, maxrec))


async def test_query_does_not_run_again(client: httpx.AsyncClient, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await run()
    monkeypatch.setattr("gateway.services.queries.QueryService.open", None)
    assert len(csv_ids(await fetch(client, url, RESPONSEFORMAT="csv"))) == 400


async def test_wrong_page_is_told(client: httpx.AsyncClient, run: Run) -> None:
    url = await run()
    for params, told in (
        ({"OFFSET": "-1"}, "OFFSET='-1': give a whole number"),
        ({"OFFSET": "abc"}, "OFFSET='abc'"),
        ({"MAXREC": "1.5"}, "MAXREC='1.5'"),
        ({"RESPONSEFORMAT": "nonsense"}, "RESPONSEFORMAT='nonsense': not served here"),
        ({"OFFSET": ["1", "2"]}, "only once"),
    ):
        answer = await client.get(url, params=params)
        assert answer.status_code == 400
        assert told in answer.text


@pytest.mark.parametrize("limit", [0, 2_000])
async def test_sidecar_max_bytes(client: httpx.AsyncClient, run: Run, settings: Settings, limit: int) -> None:
    """Of a table that is too large there is the stored result, and a clear word on anything else."""
    async with with_settings(settings, sidecar_max_bytes=limit) as services:
        url = await run(services=services)
    assert [path.rpartition("/")[2] for path in files_below(settings.results_path)] == ["result.vot"]
    for params in ({"RESPONSEFORMAT": "csv"}, {"OFFSET": "1"}, {"MAXREC": "1"}):
        answer = await client.get(url, params=params)
        assert answer.status_code == 400
        assert "GATEWAY_SIDECAR_MAX_BYTES" in answer.text
        assert "run the query again" in answer.text
    assert len(votable.parse_single_table(io.BytesIO((await fetch(client, url)).content)).array) == 400
    assert "content-length" in (await fetch(client, url, RESPONSEFORMAT="votable")).headers


class NoRoomForSidecars(LocalResultStore):
    """A store that is full before the second object is."""

    async def write(self, key: str, pieces: AsyncIterable[bytes]) -> Written:
        if key.endswith("rows.parquet"):
            async for _ in pieces:
                raise StoreFullError("full")
        return await super().write(key, pieces)


async def test_sidecar_that_cannot_be_written_costs_only_itself(
    client: httpx.AsyncClient, run: Run, services: TaskServices, settings: Settings
) -> None:
    url = await run(services=replace(services, results=NoRoomForSidecars(settings.results_path)))
    assert len(votable.parse_single_table(io.BytesIO((await fetch(client, url)).content)).array) == 400
    assert (await client.get(url, params={"MAXREC": "1"})).status_code == 400


async def test_sidecar_stays_as_long_as_its_job(
    client: httpx.AsyncClient, run: Run, database_url: str, settings: Settings
) -> None:
    url = await run()
    names = files_below(settings.results_path)
    assert len(names) == 2
    results = LocalResultStore(settings.results_path)
    async with JobStore.open(database_url) as store:
        await results.sweep(age=timedelta(0), referenced=store.referenced)
        assert files_below(settings.results_path) == names
        assert (await client.delete(url.partition("/results")[0])).status_code == 303
        assert files_below(settings.results_path) == []
    assert (await client.get(url, params={"MAXREC": "1"})).status_code == 404


async def test_result_that_is_no_table_is_had_whole_only(
    client: httpx.AsyncClient, database_url: str, settings: Settings
) -> None:
    created = await client.post("/tap/async", data={"LANG": "ADQL", "QUERY": ALL, "PHASE": "RUN"})
    async with JobStore.open(database_url) as store:
        claim = await claimed(store)
        path = settings.results_path / claim.prefix / "cutout.fits"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"pixels")
        result = Result("cutout", f"{claim.prefix}cutout.fits", 6, "application/fits")
        assert await store.end(claim, Phase.COMPLETED, results=[result])
    url = urlsplit(created.headers["location"]).path + "/results/cutout"
    assert (await fetch(client, url)).content == b"pixels"
    for params in ({"RESPONSEFORMAT": "csv"}, {"RESPONSEFORMAT": "fits"}, {"OFFSET": "1"}):
        answer = await client.get(url, params=params)
        assert answer.status_code == 400
        assert "is no table" in answer.text


async def test_result_list_names_the_table_once(client: httpx.AsyncClient, run: Run) -> None:
    url = await run()
    listed = (await fetch(client, url.rpartition("/")[0])).text
    assert listed.count("<uws:result ") == 1


async def test_result_without_rows_is_a_table_in_every_format(client: httpx.AsyncClient, run: Run) -> None:
    url = await run("SELECT id, name FROM survey.stars WHERE id < 0", RESPONSEFORMAT="parquet")
    assert (await fetch(client, url, RESPONSEFORMAT="csv")).text.split() == ["id,name"]
    assert 'value="OVERFLOW"' not in (await fetch(client, url, RESPONSEFORMAT="votable")).text


async def test_readers_of_many_parts_at_once_do_not_wait_for_each_other(client: httpx.AsyncClient, run: Run) -> None:
    url = await run()
    async with asyncio.timeout(20):
        answers = await asyncio.gather(
            *(fetch(client, url, RESPONSEFORMAT="csv", OFFSET=number, MAXREC=1) for number in range(40))
        )
    assert [csv_ids(answer)[0] for answer in answers] == expected()["id"].to_pylist()[:40]
