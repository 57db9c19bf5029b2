"""The result store in S3: what a server may do to it (reliability F2, F14, F15), and its signed URLs (A18)."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from gateway.errors import BackendUnavailableError, NotFoundError, NotSupportedError
from gateway.storage.results import StoreFullError, Written
from gateway.storage.results.s3 import PART_BYTES, S3Options, S3ResultStore, open_s3, session
from tests.support.s3 import PAGE, Fault, S3Server

from .conftest import OpenS3
from .keys import JOB, KEY, OTHER, content, none, pieces

BLOCK = os.urandom(1_000_000)
LARGE = BLOCK * 20
"""Two parts."""


async def blocks(count: int = 20) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield BLOCK


async def names(bucket: Any) -> list[str]:
    client, name = bucket
    found = []
    async for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        found += [one["Key"] for one in page.get("Contents", ())]
    return found


async def unfinished(bucket: Any) -> int:
    client, name = bucket
    return len((await client.list_multipart_uploads(Bucket=name)).get("Uploads", ()))


# -- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "status", times=5),
        Fault("PUT", "status", status=500, code="InternalError"),
        Fault("PUT", "status", status=429, code="TooManyRequests"),
        Fault("PUT", "status", status=400, code="RequestTimeout"),
        Fault("PUT", "hang", seconds=3),
        Fault("POST", "lose", "uploadId", status=500),  # it was finished, and nobody was told
        Fault("POST", "cut", "uploadId", after=10),
        Fault("HEAD", "status", times=5),
    ],
    ids=lambda fault: f"{fault.method} {fault.query} {fault.what} {fault.status}",
)
async def test_write_gets_through_what_passes(open_store: OpenS3, s3: S3Server, fault: Fault) -> None:  # F15
    s3.break_down(fault)
    async with open_store(silence_s=1 if fault.what == "hang" else 10) as store:
        assert (await store.write(KEY, blocks())).size == len(LARGE)
        assert s3.left() == 0, "nothing was injected"
        assert await content(store) == LARGE


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "status", "partNumber=2", times=99),
        Fault("POST", "status", "uploadId", times=99),
        Fault("PUT", "status", status=403, code="AccessDenied"),
        Fault("PUT", "status", "partNumber=2", status=404, code="NoSuchBucket"),
    ],
    ids=lambda fault: f"{fault.method} {fault.query} {fault.what} {fault.status}",
)
async def test_write_ends_in_an_error_and_takes_its_upload_back(
    open_store: OpenS3, s3: S3Server, bucket: Any, fault: Fault
) -> None:  # F15
    s3.break_down(fault)
    async with open_store() as store:
        with pytest.raises(BackendUnavailableError) as error:
            await store.write(KEY, blocks())
        asked = sum(fault.query in one and one.startswith(fault.method) for one in s3.seen())
        assert asked <= 1 + 5 + (fault.query == "")
        assert str(s3.port) not in error.value.message
        s3.break_down()
        assert (await names(bucket), await unfinished(bucket)) == ([], 0)


async def test_store_that_loses_what_it_took_is_found_out(open_store: OpenS3, s3: S3Server) -> None:  # F15
    s3.break_down(Fault("PUT", "drop"))
    async with open_store() as store:
        with pytest.raises(BackendUnavailableError):
            await store.write(KEY, pieces("x"))


async def test_store_without_room_is_full(open_store: OpenS3, s3: S3Server, bucket: Any) -> None:  # F14
    async with open_store() as store:
        for fault in (
            Fault("PUT", "status", "partNumber", status=507, code="InsufficientStorage", times=9),
            Fault("PUT", "status", "partNumber", status=403, code="QuotaExceeded", times=9),
        ):
            s3.break_down(fault)
            with pytest.raises(StoreFullError):
                await store.write(KEY, blocks())
            assert s3.left() >= 7, "no room does not pass within seconds"
        s3.break_down()
        assert await unfinished(bucket) == 0
        assert (await store.write(KEY, pieces("x"))).size == 1


async def test_reader_goes_on_where_the_connection_broke(open_store: OpenS3, s3: S3Server) -> None:  # F15
    async with open_store() as store:
        await store.write(KEY, blocks(3))
        s3.break_down(
            Fault("GET", "cut", after=700_000),
            Fault("GET", "status"),
            Fault("GET", "cut"),
            Fault("GET", "cut", after=3),
        )
        assert await content(store) == BLOCK * 3
        assert s3.left() == 0
        assert len(s3.seen()) == 6


async def test_reader_gives_up_in_the_end(open_store: OpenS3, s3: S3Server) -> None:
    async with open_store() as store:
        await store.write(KEY, pieces("hello world"))
        s3.break_down(Fault("GET", "cut", times=99))
        with pytest.raises(BackendUnavailableError):
            await content(store)
        assert len(s3.seen()) == 1 + 1 + 5  # HEAD, and one GET that is tried again


async def test_reader_never_mixes_two_objects(open_store: OpenS3, s3: S3Server) -> None:  # F22
    async with open_store() as store:
        await store.write(KEY, blocks(2))
        chunks = (await store.open(KEY)).chunks()
        s3.break_down(Fault("GET", "cut", after=300_000))
        first = await anext(chunks)
        assert BLOCK.startswith(first)
        await store.write(KEY, pieces("z" * 2_000_000))
        with pytest.raises(NotFoundError):
            [chunk async for chunk in chunks]


async def test_server_that_is_away_is_told_without_its_name() -> None:
    options = S3Options(endpoint="http://127.0.0.1:9")
    async with open_s3("s3://bucket-of-tests", options) as store:
        store._bucket.patience = options.patience.__class__(pauses_s=(0.01,))
        with pytest.raises(BackendUnavailableError) as error:
            await store.open(KEY)
    assert "127" not in error.value.message


async def test_missing_credentials_are_no_hang(monkeypatch: pytest.MonkeyPatch, s3: S3Server, bucket: Any) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr("gateway.storage.results.s3.session", session.__wrapped__)  # one that knows none from before
    async with asyncio.timeout(5), open_s3(f"s3://{bucket[1]}", S3Options(endpoint=s3.url)) as store:
        with pytest.raises(BackendUnavailableError):
            await store.write(KEY, pieces("x"))
    assert not any(KEY in one for one in s3.seen())


async def test_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiobotocore.config", None)
    with pytest.raises(NotSupportedError, match=r"vo-gateway\[s3\]"):
        async with open_s3("s3://bucket-of-tests", S3Options()):
            pass


# -- what is removed ----------------------------------------------------------------------------------------------


async def test_nothing_outside_of_the_prefix_is_touched(s3_store: S3ResultStore, bucket: Any) -> None:
    client, name = bucket
    others = [
        f"some/prefix-not/{KEY}",
        f"some/{KEY}",
        KEY,
        "some/prefix/notes.txt",
        "some/prefix/images/1.1/a.fits",
        f"some/prefix/{JOB}/more/a",
    ]
    for other in others:
        await client.put_object(Bucket=name, Key=other, Body=b"x")
    await s3_store.write(KEY, pieces("x"))
    assert await s3_store.sweep(age=timedelta(seconds=-5), referenced=none) == 1
    assert await names(bucket) == sorted(others)
    await s3_store.delete_prefix(f"{OTHER}/")
    assert await names(bucket) == sorted(others)


async def test_stale_uploads_are_swept_page_by_page_and_young_ones_spared(
    s3_store: S3ResultStore, bucket: Any
) -> None:  # F2
    client, name = bucket
    for number in range(2 * PAGE + 1):
        await client.create_multipart_upload(Bucket=name, Key=f"some/prefix/{JOB}/1.{number}/result")
    await client.create_multipart_upload(Bucket=name, Key="some/prefix/not-ours")
    assert await s3_store.sweep(age=timedelta(minutes=1), referenced=none) == 0
    assert await s3_store.sweep(age=timedelta(seconds=-5), referenced=none) == 2 * PAGE + 1
    assert await unfinished(bucket) == 1


async def test_deleting_a_job_takes_its_uploads_and_pages_of_objects(s3_store: S3ResultStore, bucket: Any) -> None:
    client, name = bucket
    for number in range(2 * PAGE + 1):
        await s3_store.write(f"{JOB}/{number}.1/cutout.fits", pieces("x"))
        await client.create_multipart_upload(Bucket=name, Key=f"some/prefix/{JOB}/{number}.2/cutout.fits")
    await s3_store.delete_prefix(f"{JOB}/")
    assert (await names(bucket), await unfinished(bucket)) == ([], 0)


WRITER = """
import asyncio, sys
from gateway.storage.results.s3 import S3Options, open_s3

async def blocks():
    while True:
        yield bytes(1 << 20)
        print(".", end="", flush=True)

async def main():
    async with open_s3(sys.argv[1], S3Options(endpoint=sys.argv[2])) as store:
        await store.write(sys.argv[3], blocks())

asyncio.run(main())
"""


async def test_killed_writer_leaves_nothing_to_be_seen_and_the_sweep_takes_the_rest(
    s3_store: S3ResultStore, s3: S3Server, bucket: Any
) -> None:  # F2
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, f"s3://{bucket[1]}/some/prefix", s3.url, KEY], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.read, 40)
    process.kill()
    process.wait()
    process.stdout.close()
    with pytest.raises(NotFoundError):
        await s3_store.open(KEY)
    assert await unfinished(bucket) == 1
    assert await s3_store.sweep(age=timedelta(seconds=-5), referenced=none) == 1
    assert await unfinished(bucket) == 0


async def test_writer_holds_two_parts_and_no_more(s3_store: S3ResultStore) -> None:
    import tracemalloc

    async def zeros() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(2**20)

    tracemalloc.start()
    try:
        assert (await s3_store.write(KEY, zeros())).size == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < 5 * PART_BYTES
    finally:
        tracemalloc.stop()


# -- signed URLs (A18) --------------------------------------------------------------------------------------------


async def signed(store: S3ResultStore) -> str:
    await store.write(KEY, pieces("hello world"))
    url = await store.sign(KEY, media_type="text/csv;header=present", disposition="inline; filename*=UTF-8''result.csv")
    assert url is not None
    return url


def ask(url: str, method: str = "GET") -> httpx.Response:
    return httpx.request(method, url, timeout=10)


async def test_signed_url_gives_the_object_as_we_would(open_store: OpenS3) -> None:
    async with open_store(link_life=timedelta(minutes=15)) as store:
        answer = await asyncio.to_thread(ask, await signed(store))
    assert (answer.status_code, answer.text) == (200, "hello world")
    assert answer.headers["content-type"] == "text/csv;header=present"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''result.csv"


async def test_signed_url_ends(open_store: OpenS3) -> None:
    async with open_store(link_life=timedelta(seconds=1)) as store:
        url = await signed(store)
        assert (await asyncio.to_thread(ask, url)).status_code == 200
        await asyncio.sleep(2.1)
        assert (await asyncio.to_thread(ask, url)).status_code == 403


async def test_signed_url_dies_with_its_job(open_store: OpenS3) -> None:
    async with open_store(link_life=timedelta(minutes=15)) as store:
        url = await signed(store)
        await store.delete_prefix(f"{JOB}/")
        assert (await asyncio.to_thread(ask, url)).status_code in {403, 404}


async def test_changed_url_is_refused(open_store: OpenS3) -> None:
    async with open_store(link_life=timedelta(minutes=15)) as store:
        url = await signed(store)
        await store.write(f"{OTHER}/1.1/result", pieces("of another"))
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    changed = [parts._replace(path=parts.path.replace(JOB, OTHER)).geturl()]
    for name, value in query.items():
        other = {"X-Amz-Expires": "604800", "X-Amz-SignedHeaders": "host;range"}.get(
            name, f"{value[:-1]}{'0' if value[-1] != '0' else '1'}"
        )
        changed.append(parts._replace(query=urlencode(query | {name: other})).geturl())
        changed.append(parts._replace(query=urlencode({k: v for k, v in query.items() if k != name})).geturl())
    changed.append(url + "&versionId=1")
    changed.append(parts._replace(query="").geturl())

    def statuses() -> list[int]:
        with httpx.Client(timeout=10) as client:
            return [client.get(one).status_code for one in changed] + [client.delete(url).status_code]

    assert set(await asyncio.to_thread(statuses)) <= {400, 403}
    assert len(changed) > 15
    assert (await asyncio.to_thread(ask, url)).status_code == 200


async def test_no_link_unless_the_operator_wants_it(s3_store: S3ResultStore) -> None:
    assert await s3_store.sign(KEY, media_type="text/plain", disposition="inline") is None


async def test_empty_bucket_name_prefix_is_the_bucket_itself(s3: S3Server, bucket: Any) -> None:
    async with open_s3(f"s3://{bucket[1]}", S3Options(endpoint=s3.url)) as store:
        started = time.monotonic()
        assert isinstance(await store.write(KEY, pieces("x")), Written)
        assert time.monotonic() - started < 5
    assert await names(bucket) == [KEY]
