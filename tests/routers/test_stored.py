"""Stored bytes over HTTP: ranges, validators, digests, and what is said of files of strangers (RFC 9110, RFC 9530, A15)."""

import base64
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.jobs.models import Result
from gateway.jobs.phases import Phase
from gateway.jobs.store import JobStore
from gateway.settings import Settings
from gateway.storage.results import LocalResultStore, ResultStore
from tests.support.files import files_below

from .test_results import ALL, claimed

CONTENT = os.urandom(600_000)


async def pieces() -> AsyncIterator[bytes]:
    yield CONTENT


async def completed(client: httpx.AsyncClient, store: JobStore, results: ResultStore, *, is_old: bool = False) -> str:
    """Path of the result of a job whose task left `CONTENT`."""
    created = await client.post("/tap/async", data={"LANG": "ADQL", "QUERY": ALL, "PHASE": "RUN"})
    claim = await claimed(store)
    key = f"{claim.prefix}result.fits"
    written = await results.write(key, pieces())
    digest = None if is_old else written.sha256
    result = Result("result", key, written.size, "application/fits", rows=3, sha256=digest)
    assert await store.end(claim, Phase.COMPLETED, results=[result])
    return urlsplit(created.headers["location"]).path + "/results/result"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[JobStore]:
    async with JobStore.open(database_url) as store:
        yield store


@pytest.fixture
async def url(client: httpx.AsyncClient, store: JobStore, settings: Settings) -> str:
    return await completed(client, store, LocalResultStore(settings.results_path))


async def test_result_tells_what_it_is(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.get(url)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    headers = answer.headers
    assert headers["content-type"] == "application/fits"
    assert headers["content-length"] == str(len(CONTENT))
    assert headers["content-disposition"] == "inline; filename*=UTF-8''result.fits"
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "private, no-cache"
    algorithm, _, digest = headers["repr-digest"].partition("=")
    assert algorithm == "sha-256"
    assert base64.b64decode(digest.strip(":")) == hashlib.sha256(CONTENT).digest()


async def test_head_is_get_without_its_body(client: httpx.AsyncClient, url: str) -> None:
    head, get = await client.head(url), await client.get(url)
    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(get.headers)


async def test_head_of_another_format_tells_its_type(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.head(url, params={"RESPONSEFORMAT": "csv"})
    assert answer.status_code == 400  # there is no sidecar; that there is none is told alike
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=599990-", 599_990, 600_000),
        ("bytes=-5", 599_995, 600_000),
        ("bytes=9-999999", 9, 600_000),
    ],
)
async def test_range_is_given(client: httpx.AsyncClient, url: str, asked: str, start: int, stop: int) -> None:
    answer = await client.get(url, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/600000"
    assert answer.headers["content-length"] == str(stop - start)


async def test_range_behind_the_end_is_told(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.get(url, headers={"Range": "bytes=600000-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */600000"


async def test_download_goes_on_only_if_it_is_the_same(client: httpx.AsyncClient, url: str) -> None:
    tag = (await client.head(url)).headers["etag"]
    again = await client.get(url, headers={"Range": "bytes=5-", "If-Range": tag})
    assert (again.status_code, again.content) == (206, CONTENT[5:])
    other = await client.get(url, headers={"Range": "bytes=5-", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, CONTENT)


async def test_what_is_known_is_not_sent_again(client: httpx.AsyncClient, url: str) -> None:
    tag = (await client.head(url)).headers["etag"]
    assert tag.startswith('"')
    for condition in (tag, f'"x", W/{tag}', "*"):
        answer = await client.get(url, headers={"If-None-Match": condition})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    assert (await client.get(url, headers={"If-None-Match": '"x"'})).status_code == 200


async def test_two_results_have_two_tags(
    client: httpx.AsyncClient, store: JobStore, settings: Settings, url: str
) -> None:
    """Also those of rows that know no digest yet: the tag comes from the key."""
    results = LocalResultStore(settings.results_path)
    old = [await completed(client, store, results, is_old=True) for _ in range(2)]
    heads = [await client.head(one) for one in (url, *old)]
    assert len({head.headers["etag"] for head in heads}) == 3
    assert "repr-digest" not in heads[1].headers


async def test_object_of_another_size_is_not_served(client: httpx.AsyncClient, url: str, settings: Settings) -> None:
    (name,) = files_below(settings.results_path)
    os.truncate(settings.results_path / name, 1000)
    answer = await client.get(url)
    assert answer.status_code == 500
    assert name not in answer.text


async def test_object_that_is_gone_is_not_found(client: httpx.AsyncClient, url: str, settings: Settings) -> None:
    (name,) = files_below(settings.results_path)
    (settings.results_path / name).unlink()
    assert (await client.get(url)).status_code == 404


async def test_deleted_job_takes_its_result_along_even_for_who_knows_its_tag(
    client: httpx.AsyncClient, url: str
) -> None:
    tag = (await client.head(url)).headers["etag"]
    await client.delete(url.partition("/results")[0])
    assert (await client.get(url, headers={"If-None-Match": tag})).status_code == 404


async def test_uploaded_file_is_an_attachment_that_nobody_runs(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:  # A15
    name = "a bé.html"
    content = b"<script>alert(1)</script>"
    created = await client.post(
        "/tap/async",
        data={"LANG": "ADQL", "QUERY": ALL, "UPLOAD": f"t,param:{name}"},
        files={name: ("x.html", content, "text/html")},
    )
    url = urlsplit(created.headers["location"]).path + f"/parameters/{name}"
    answer = await client.get(url, headers={"Range": "bytes=1-6"})
    assert (answer.status_code, answer.content) == (206, b"script")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b%C3%A9.html"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await client.head(url)).headers["content-length"] == str(len(content))
