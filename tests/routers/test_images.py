"""From a search to the pixels: SIA 2, DataLink, SODA and whole files, in this process."""

import asyncio
import csv
import io
import re
import threading
import time
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
from astropy.io import fits, votable
from astropy.wcs import WCS
from fastapi import FastAPI

from gateway.ingest.images import ingest_images
from tests.routers import archive as made
from tests.support.web import RangeHandler, served_over_http
from tests.support.xsd import JAR, is_valid

UWS = "{http://www.ivoa.net/xml/UWS/v1.0}"
ZERO = "CIRCLE 0.0 10.0 0.01"


async def table(client: httpx.AsyncClient, url: str, **params: Any) -> list[dict[str, str]]:
    answer = await client.get(url, params=params | {"RESPONSEFORMAT": "csv"})
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(answer.text.splitlines()))


def cutout(answer: httpx.Response) -> fits.HDUList:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/fits"  # SODA-11
    assert int(answer.headers["content-length"]) == len(answer.content)
    return fits.open(io.BytesIO(answer.content), lazy_load_hdus=False)


def claiming(*axes: int) -> bytes:
    """Return a header that claims more pixels than any file has, and no pixels."""
    cards = ["SIMPLE  =                    T", "BITPIX  =                  -32", f"NAXIS   = {len(axes):20}"]
    cards += [f"NAXIS{number}  = {size:20}" for number, size in enumerate(axes, start=1)]
    return "".join(f"{card:<80}" for card in [*cards, "END"]).ljust(2880).encode()


# -- searching ----------------------------------------------------------------------------------------------------


async def test_images_are_found_by_what_they_show(client: httpx.AsyncClient, archive: Path) -> None:
    async def ids(**params: Any) -> set[str]:
        return {row["obs_id"] for row in await table(client, "/sia2/query", **params)}

    assert await ids() == {"zero", "north", "packed", "coadd"}
    assert await ids(POS=ZERO) == {"zero", "coadd"}
    assert await ids(POS=["CIRCLE 359.99 10 0.02", "POLYGON 9 -21 11 -21 11 -19 9 -19"]) == {"zero", "coadd", "packed"}
    assert await ids(POS="RANGE 0 360 89 90") == {"north"}
    assert await ids(BAND="6e-7") == {"zero", "coadd"}
    assert await ids(BAND="6e-7", POS="RANGE 0 360 89 90") == set()  # SIA2-3
    assert await ids(TIME="60000.25 +Inf") == {"zero", "coadd", "packed"}
    assert await ids(TIME="-Inf Inf") == {"zero", "coadd", "packed"}  # north has no time: SIA2-4
    assert await ids(COLLECTION="test", CALIB="2", DPTYPE="image") == {"zero", "north", "packed"}
    assert await ids(CALIB="3", DPTYPE=["image", "cube"]) == {"coadd"}
    assert await ids(COLLECTION="TEST") == set()  # SIA2-6
    assert await ids(FACILITY="Test") == {"zero", "coadd"}


async def test_answer_carries_what_clients_go_on_with(client: httpx.AsyncClient, archive: Path) -> None:
    """SIA2-10, SIA2-11, SIA2-12, DL-22, DL-26."""
    answer = await client.get("/sia2/query", params={"POS": ZERO})
    assert answer.headers["content-type"].startswith("application/x-votable+xml")
    parsed = votable.parse(io.BytesIO(answer.content), verify="ignore")
    services = {
        str(next(p.value for p in r.params if p.name == "standardID")): r for r in parsed.resources if r.type == "meta"
    }
    assert set(services) == {
        "ivo://ivoa.net/std/DataLink#links-1.1",
        "ivo://ivoa.net/std/SODA#sync-1.0",
        "ivo://ivoa.net/std/SODA#async-1.0",
        "ivo://ivoa.net/std/SIA#query-2.0",
    }
    rows = parsed.get_first_table()
    identifier = next(field for field in rows.fields if field.name == "obs_publisher_did")
    for name in ("ivo://ivoa.net/std/DataLink#links-1.1", "ivo://ivoa.net/std/SODA#sync-1.0"):
        (group,) = services[name].groups
        assert next(p for p in group.entries if p.name == "ID").ref == identifier.ID
    assert set(rows.array["access_format"]) == {"application/x-votable+xml;content=datalink"}
    assert all(url.startswith("http://localhost:8080/datalink/links?ID=ivo://") for url in rows.array["access_url"])


async def test_links_are_under_the_name_by_which_the_caller_came(client: httpx.AsyncClient, archive: Path) -> None:
    answer = await client.get("/sia2/query", params={"RESPONSEFORMAT": "csv"}, headers={"Host": "127.0.0.1:99"})
    assert "http://127.0.0.1:99/datalink/links?ID=" in answer.text
    assert "localhost" not in answer.text
    tap = await client.post(
        "/tap/sync", data={"QUERY": "SELECT access_url FROM ivoa.obscore", "LANG": "ADQL", "RESPONSEFORMAT": "csv"}
    )
    assert tap.text.count("http://localhost:8080/datalink/links?ID=") == 4


async def test_maxrec_cuts_and_says_so(client: httpx.AsyncClient, archive: Path) -> None:  # SIA2-7
    cut = (await client.get("/sia2/query", params={"MAXREC": "2"})).text
    assert cut.count("<TR>") == 2
    assert 'value="OVERFLOW"' in cut
    none = (await client.get("/sia2/query", params={"MAXREC": "0"})).text
    assert none.count("<TR>") == 0
    assert 'name="this"' in none


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"POS": "CIRCLE 400 0 1"}, "right ascension 400 is outside 0 to 360"),
        ({"POS": "CIRCLE ten 0 1"}, "'ten' is no number"),
        ({"POS": "BOX 1 2 3 4"}, "CIRCLE"),
        ({"BAND": "2 1"}, "BAND"),
        ({"CALIB": "7"}, "expected one of 0, 1, 2, 3, 4"),
        ({"POL": "Z"}, "expected one of I, Q, U, V"),
        ({"MAXREC": "many"}, "whole number"),
        ({"RESPONSEFORMAT": "png"}, "not served here"),
    ],
)
async def test_wrong_searches_are_told_what_to_change(
    client: httpx.AsyncClient, params: dict[str, str], told: str
) -> None:  # SIA2-13
    answer = await client.get("/sia2/query", params=params)
    assert answer.status_code == 400
    status = ET.fromstring(answer.content).find(".//{*}INFO[@name='QUERY_STATUS']")
    assert status is not None
    assert status.get("value") == "ERROR"
    assert (status.text or "").startswith("UsageFault: ")
    assert told in (status.text or "")
    if "RESPONSEFORMAT" not in params:
        plain = await client.get("/sia2/query", params=params | {"RESPONSEFORMAT": "csv"})
        assert plain.headers["content-type"].startswith("text/plain")
        assert plain.text.startswith("UsageFault: ")


async def test_unknown_parameters_are_ignored_and_names_have_no_case(client: httpx.AsyncClient, archive: Path) -> None:
    rows = await table(client, "/sia2/query", pos=ZERO, Camera="any")  # SIA2-15
    assert {row["obs_id"] for row in rows} == {"zero", "coadd"}
    posted = await client.post("/sia2/query", data={"POS": ZERO, "RESPONSEFORMAT": "csv"})  # SIA2-1
    assert posted.text.count("\n") == 3


async def test_an_archive_without_images_answers_an_empty_table(client: httpx.AsyncClient) -> None:
    assert await table(client, "/sia2/query", POS=ZERO) == []
    answer = await client.get("/sia2/query", params={"POS": ZERO})
    assert 'name="QUERY_STATUS" value="OK"' in answer.text
    assert "<TR>" not in answer.text


# -- linking ------------------------------------------------------------------------------------------------------


async def test_links_name_the_file_its_planes_and_what_can_be_cut(
    client: httpx.AsyncClient, dids: dict[str, str]
) -> None:
    rows = await table(client, "/datalink/links", ID=dids["zero"])
    assert [row["semantics"] for row in rows] == ["#this", "#cutout", "#cutout", "#auxiliary", "#auxiliary"]
    assert [row["local_semantics"] for row in rows[3:]] == ["#mask", "#variance"]
    this = rows[0]
    file = await client.get(this["access_url"])
    assert file.headers["content-type"] == this["content_type"] == "application/fits"
    assert len(file.content) == int(this["content_length"])
    for row in rows:
        assert sum(bool(row[name]) for name in ("access_url", "service_def", "error_message")) == 1  # DL-6


async def test_planes_in_files_of_their_own_have_links_of_their_own(
    client: httpx.AsyncClient, dids: dict[str, str], archive: Path
) -> None:
    rows = await table(client, "/datalink/links", ID=dids["north"])
    (mask,) = [row for row in rows if row["semantics"] == "#auxiliary"]
    answer = await client.get(mask["access_url"])
    assert answer.content == (archive / "north.mask.fits").read_bytes()
    assert "north.mask.fits" in answer.headers["content-disposition"]


async def test_a_coadd_knows_its_inputs(client: httpx.AsyncClient, dids: dict[str, str], archive: Path) -> None:
    rows = [
        row for row in await table(client, "/datalink/links", ID=dids["coadd"]) if row["semantics"] == "#progenitor"
    ]
    there, gone = rows
    assert (await client.get(there["access_url"])).content == (archive / "zero.fits").read_bytes()
    assert gone["error_message"].startswith("NotFoundFault: gone.fits")


async def test_unknown_identifiers_have_a_row_that_says_so(client: httpx.AsyncClient, dids: dict[str, str]) -> None:
    """DL-2, DL-7, DL-8."""
    answer = await client.post(
        "/datalink/links", data={"ID": [dids["packed"], "ivo://nowhere/x", dids["north"].upper()]}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-votable+xml;content=datalink"  # DL-11
    rows = votable.parse_single_table(io.BytesIO(answer.content), verify="ignore").array
    assert list(dict.fromkeys(rows["ID"])) == [dids["packed"], "ivo://nowhere/x", dids["north"].upper()]
    (wrong,) = rows[rows["ID"] == "ivo://nowhere/x"]
    assert wrong["error_message"].startswith("NotFoundFault: ")
    assert wrong["semantics"] == "#this"


async def test_no_identifier_is_an_empty_table(client: httpx.AsyncClient) -> None:  # DL-4
    answer = await client.get("/datalink/links")
    assert answer.status_code == 200
    assert b'value="OK"' in answer.content
    assert b"<TR>" not in answer.content


async def test_too_many_identifiers_are_answered_in_part(client: httpx.AsyncClient) -> None:  # DL-3
    answer = await client.post("/datalink/links", data={"ID": [f"ivo://nowhere/{n}" for n in range(1_001)]})
    assert answer.status_code == 200
    assert answer.content.count(b"<TR>") == 1_000
    assert b'value="OVERFLOW"' in answer.content


async def test_a_form_with_far_too_many_fields_is_refused(client: httpx.AsyncClient) -> None:  # A23
    answer = await client.post("/datalink/links", data={"ID": ["x"] * 20_001})
    assert answer.status_code == 400
    assert b"Too many fields" in answer.content


@pytest.mark.parametrize("text", ["votable", "application/x-votable+xml", "APPLICATION/X-VOTABLE+XML;content=datalink"])
async def test_plain_votables_of_links_are_tabledata(client: httpx.AsyncClient, text: str) -> None:  # DL-5
    answer = await client.get("/datalink/links", params={"ID": "x", "RESPONSEFORMAT": text})
    assert b"<TABLEDATA>" in answer.content


async def test_unknown_format_of_links_is_an_error_document(client: httpx.AsyncClient) -> None:  # DL-13
    answer = await client.get("/datalink/links", params={"ID": "x", "RESPONSEFORMAT": "png"})
    assert answer.status_code == 400
    assert b"UsageFault: RESPONSEFORMAT=" in answer.content


# -- cutting ------------------------------------------------------------------------------------------------------


async def test_planes_are_cut_in_step_and_their_coordinates_hold(
    client: httpx.AsyncClient, dids: dict[str, str], archive: Path
) -> None:
    answer = await client.get("/soda/sync", params={"ID": dids["zero"], "CIRCLE": "0.0 10.0 0.02"})
    cut = cutout(answer)
    cut.verify("exception")
    assert [hdu.name for hdu in cut] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
    assert cut[0].header["OBJECT"] == "zero"
    with fits.open(archive / "zero.fits") as source:
        sky, whole = WCS(cut[1].header), WCS(source[1].header)
        y, x = np.mgrid[0 : cut[1].data.shape[0], 0 : cut[1].data.shape[1]]
        there_x, there_y = whole.all_world2pix(*sky.all_pix2world(x, y, 0), 0)
        x0, y0 = round(there_x[0, 0]), round(there_y[0, 0])
        assert np.abs(there_x - x - x0).max() < 1e-6
        assert np.abs(there_y - y - y0).max() < 1e-6
        box = np.s_[y0 : y0 + x.shape[0], x0 : x0 + x.shape[1]]
        for name in ("IMAGE", "MASK", "VARIANCE"):
            assert np.array_equal(cut[name].data, source[name].data[box])
    assert 20 <= x.shape[1] <= 22  # 0.04 degrees at 0.002 degrees per pixel, tight


async def test_ways_to_say_the_same_region_cut_the_same(client: httpx.AsyncClient, dids: dict[str, str]) -> None:
    """SODA-6."""

    async def cut(**params: str) -> bytes:
        answer = await client.get("/soda/sync", params={"ID": dids["packed"], **params})
        return b"".join(
            hdu.data.tobytes() + str([hdu.header["CRPIX1"], hdu.header["CRPIX2"]]).encode()
            for hdu in cutout(answer)
            if hdu.size
        )

    circle = "10 -20 0.03"
    polygon = "9.98 -20.02 10.02 -20.02 10.02 -19.98 9.98 -19.98"
    assert await cut(CIRCLE=circle) == await cut(POS=f"CIRCLE {circle}") == await cut(POS=f"circle  {circle}")
    assert await cut(POLYGON=polygon) == await cut(POS=f"POLYGON {polygon}")
    assert len(await cut(POS="RANGE 9.99 10.01 -90 +Inf")) > 0


async def test_all_of_an_image_without_a_region_or_with_a_larger_one(
    client: httpx.AsyncClient, dids: dict[str, str]
) -> None:  # SODA-5
    for params in ({}, {"CIRCLE": "10 -20 5"}, {"POS": "RANGE -Inf Inf -Inf Inf"}):
        cut = cutout(await client.get("/soda/sync", params={"ID": dids["packed"]} | params))
        assert np.array_equal(cut[0].data, made.pixels(3))


async def test_companion_files_are_cut_too(client: httpx.AsyncClient, dids: dict[str, str]) -> None:
    cut = cutout(await client.post("/soda/sync", data={"ID": dids["north"], "CIRCLE": "200 89.95 0.01"}))
    assert len(cut) == 2
    assert cut[1].name == "MASK"
    assert np.array_equal(cut[1].data, (cut[0].data - 2) % 5)


async def test_no_overlap_is_no_content(client: httpx.AsyncClient, dids: dict[str, str]) -> None:  # SODA-12
    answer = await client.get("/soda/sync", params={"ID": dids["zero"], "CIRCLE": "180 -10 0.1"})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        ({}, 400, "UsageError: ID="),
        ({"ID": "ivo://nowhere/x"}, 404, "UsageError: ID='ivo://nowhere/x': there is no such dataset"),
        ({"CIRCLE": "0 10 0"}, 400, "UsageError: CIRCLE='0 10 0': a circle of radius 0"),
        ({"CIRCLE": "0 ten 1"}, 400, "UsageError: CIRCLE='0 ten 1': 'ten' is no number"),
        ({"POS": "CIRCLE 0 10"}, 400, "UsageError: POS="),
        ({"POLYGON": "0 0 1 1"}, 400, "UsageError: POLYGON="),
        ({"BAND": "5e-7 6e-7"}, 400, "UsageError: BAND"),
        ({"CIRCLE": ["0 10 0.1", "0 10 0.2"]}, 400, "MultiValuedParamNotSupported: CIRCLE="),  # SODA-3
        ({"CIRCLE": "0 10 0.1", "POS": "CIRCLE 0 10 0.1"}, 400, "MultiValuedParamNotSupported: "),
    ],
)
async def test_wrong_requests_are_told_what_to_change(
    client: httpx.AsyncClient, dids: dict[str, str], params: dict[str, Any], status: int, text: str
) -> None:  # SODA-4, SODA-13
    if params and "ID" not in params:
        params = {"ID": dids["zero"]} | params
    answer = await client.get("/soda/sync", params=params)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith(text)


async def test_two_identifiers_at_once_are_for_jobs(client: httpx.AsyncClient, dids: dict[str, str]) -> None:
    answer = await client.get("/soda/sync", params={"ID": list(dids.values())})
    assert answer.status_code == 400
    assert answer.text.startswith("MultiValuedParamNotSupported: ID=")


async def test_replaced_file_gives_its_own_pixels_and_never_the_old_places(
    client: httpx.AsyncClient, dids: dict[str, str], archive: Path
) -> None:
    """The records of ingest say where the old file had its pixels; the new one has them elsewhere."""
    header = made.header((0.02, 10.0))
    new = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(made.pixels(5_000), header, name="IMAGE")])
    new[0].header["COMMENT"] = "longer than before " * 200
    new.writeto(archive / "coadd.fits", overwrite=True)
    cut = cutout(await client.get("/soda/sync", params={"ID": dids["coadd"]}))
    assert np.array_equal(cut["IMAGE"].data, made.pixels(5_000))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "Error: the file of this dataset is no longer in the archive"),
        (b"<html>gone</html>", "Error: the file of this dataset has been replaced, and "),
        (b"", "Error: the file of this dataset has been replaced, and "),
        (claiming(90_000, 90_000), "Error: the file of this dataset has been replaced, and "),
        (claiming(-5, 10), "Error: the file of this dataset has been replaced, and "),
    ],
)
async def test_file_that_cannot_be_read_any_more_is_told_and_the_service_stays_up(
    client: httpx.AsyncClient, dids: dict[str, str], archive: Path, content: bytes | None, told: str
) -> None:
    path = archive / "coadd.fits"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    answer = await client.get("/soda/sync", params={"ID": dids["coadd"], "CIRCLE": "0 10 0.01"})
    assert answer.status_code == 500
    assert answer.text.startswith(told)
    cutout(await client.get("/soda/sync", params={"ID": dids["zero"], "CIRCLE": "0 10 0.01"}))


async def test_a_file_cut_short_since_ingest_is_told(
    client: httpx.AsyncClient, dids: dict[str, str], archive: Path
) -> None:
    path = archive / "zero.fits"
    path.write_bytes(path.read_bytes()[:20_000])
    answer = await client.get("/soda/sync", params={"ID": dids["zero"]})
    assert answer.status_code == 500
    assert answer.text.startswith("Error: the file of this dataset has been replaced, and ")


async def test_images_behind_urls_are_cut_and_given_by_ranges(
    client: httpx.AsyncClient, archive: Path, database_url: str
) -> None:
    with served_over_http(archive) as url:
        await asyncio.to_thread(
            ingest_images,
            [f"{url}/zero.fits", f"{url}/packed.fits.gz"],
            collection="web",
            admin_url=database_url,
            authority="example.org.gateway",
        )
        rows = await table(client, "/sia2/query", COLLECTION="web")
        dids = {row["obs_id"]: row["obs_publisher_did"] for row in rows}
        cut = cutout(await client.get("/soda/sync", params={"ID": dids["zero"], "CIRCLE": "0 10 0.02"}))
        with fits.open(archive / "zero.fits") as source:
            assert cut["VARIANCE"].data[3, 4] - cut["IMAGE"].data[3, 4] == 1
            assert cut["IMAGE"].data[3, 4] in source["IMAGE"].data
        packed = cutout(await client.get("/soda/sync", params={"ID": dids["packed"]}))
        assert np.array_equal(packed[0].data, made.pixels(3))
        file = (await table(client, "/datalink/links", ID=dids["zero"]))[0]["access_url"]
        part = await client.get(file, headers={"Range": "bytes=2880-5759"})
        assert part.content == (archive / "zero.fits").read_bytes()[2880:5760]
    answer = await client.get("/soda/sync", params={"ID": dids["zero"], "CIRCLE": "0 10 0.02"})
    assert answer.status_code == 503
    assert answer.text.startswith("ServiceUnavailable: ")
    assert (await client.get(file)).status_code == 503


# -- cutting as a job ---------------------------------------------------------------------------------------------


async def run_job(client: httpx.AsyncClient, items: list[tuple[str, str]]) -> str:
    body = httpx.QueryParams([*items, ("PHASE", "RUN")])
    answer = await client.post(
        "/soda/async", content=str(body), headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_bad_jobs_end_in_error_at_once(client: httpx.AsyncClient, archive: Path) -> None:
    for items, told in (
        ([("ID", "ivo://nowhere/x")], "there is no such dataset"),
        ([("CIRCLE", "1 2 3")], "give the publisher DID"),
        ([("ID", "x"), ("CIRCLE", "1 2")], "CIRCLE="),
    ):
        job = await run_job(client, items)
        document = ET.fromstring((await client.get(job)).content)
        assert document.findtext(f"{UWS}phase") == "ERROR"
        assert told in (document.findtext(f"{UWS}errorSummary/{UWS}message") or "")
        assert told in (await client.get(f"{job}/error")).text


# -- whole files --------------------------------------------------------------------------------------------------


@pytest.fixture
async def file(client: httpx.AsyncClient, dids: dict[str, str]) -> str:
    """URL of a file of 20 kB or so."""
    return (await table(client, "/datalink/links", ID=dids["north"]))[0]["access_url"]


async def test_files_are_given_by_ranges(client: httpx.AsyncClient, file: str, archive: Path) -> None:
    content = (archive / "north.fits").read_bytes()
    size = len(content)
    for asked, part in (
        ("bytes=0-79", content[:80]),
        ("bytes=2880-", content[2880:]),
        ("bytes=-100", content[-100:]),
        (f"bytes=10-{size * 2}", content[10:]),
        (f"bytes=-{size * 2}", content),
    ):
        answer = await client.get(file, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, part), asked
        first = size - len(part) if asked.startswith("bytes=-") else int(asked[6:].split("-")[0])
        assert answer.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{size}"
    for asked in ("bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6"):
        answer = await client.get(file, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, content), asked
    beyond = await client.get(file, headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{size}"


async def test_files_have_validators(client: httpx.AsyncClient, file: str, archive: Path) -> None:
    head = await client.head(file)
    tag = head.headers["etag"]
    assert head.content == b""
    assert int(head.headers["content-length"]) == (archive / "north.fits").stat().st_size
    assert (await client.get(file, headers={"If-None-Match": f'W/"x", {tag}'})).status_code == 304
    resumed = await client.get(file, headers={"If-Range": tag, "Range": "bytes=5-9"})
    assert resumed.status_code == 206
    (archive / "north.fits").write_bytes(b"another file")
    assert (await client.get(file, headers={"If-None-Match": tag})).content == b"another file"
    restarted = await client.get(file, headers={"If-Range": tag, "Range": "bytes=5-9"})
    assert (restarted.status_code, restarted.content) == (200, b"another file")


async def test_files_that_are_not_there_are_404(client: httpx.AsyncClient, file: str, archive: Path) -> None:
    assert (await client.get("/data/nosuchkey")).status_code == 404
    assert "it has: mask" in (await client.get(file, params={"PLANE": "weight"})).text
    (archive / "north.fits").unlink()
    answer = await client.get(file)
    assert answer.status_code == 404
    assert str(archive) not in answer.text


async def test_nothing_outside_the_archive_can_be_named(client: httpx.AsyncClient, archive: Path) -> None:
    for path in ("/data/..%2F..%2Fetc%2Fpasswd", "/data/%2Fetc%2Fpasswd", "/data/zero.fits", "/data/"):
        assert (await client.get(path)).status_code == 404


# -- describing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "standards"),
    [
        ("/sia2", {"ivo://ivoa.net/std/SIA#query-2.0": "/query"}),
        ("/datalink", {"ivo://ivoa.net/std/DataLink#links-1.1": "/links"}),
        ("/soda", {"ivo://ivoa.net/std/SODA#sync-1.0": "/sync", "ivo://ivoa.net/std/SODA#async-1.0": "/async"}),
    ],
)
async def test_every_service_describes_itself(
    client: httpx.AsyncClient, path: str, standards: dict[str, str]
) -> None:  # SODA-17, DL-15, SIA2-1
    document = (await client.get(f"{path}/capabilities")).content
    assert not JAR.exists() or is_valid(document)
    found = {
        capability.get("standardID"): capability.findtext("interface/accessURL")
        for capability in ET.fromstring(document)
    }
    own = "ivo://ivoa.net/std/VOSI#"
    expected = {name: f"http://localhost:8080{path}{end}" for name, end in standards.items()}
    expected |= {f"{own}{name}": f"http://localhost:8080{path}/{name}" for name in ("capabilities", "availability")}
    assert found == expected
    availability = (await client.get(f"{path}/availability")).content
    assert not JAR.exists() or is_valid(availability)
    assert b"true" in availability


@pytest.mark.parametrize("path", ["/tap", "/sia2", "/soda", "/datalink"])
async def test_a_person_who_opens_a_service_reads_what_it_is(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert f"http://localhost:8080{path}" in page.text
    for link in re.findall(r'href="([^"]+)"', page.text):
        assert (await client.get(link)).status_code == 200, link


async def test_tap_declares_obscore(client: httpx.AsyncClient) -> None:  # OBS-17
    document = (await client.get("/tap/capabilities")).text
    assert re.search(r'<dataModel ivo-id="ivo://ivoa.net/std/ObsCore#core-1.1">ObsCore-1.1</dataModel>', document)


async def test_a_client_that_leaves_ends_its_cutout(
    app: FastAPI, client: httpx.AsyncClient, archive: Path, database_url: str
) -> None:
    """The server of the file says nothing for half a minute; the child that waits for it is killed with the request (F5)."""
    is_stalled, go_on = threading.Event(), threading.Event()

    class Stalling(RangeHandler):
        def do_GET(self) -> None:
            if is_stalled.is_set():
                go_on.wait(30)
            super().do_GET()

    with served_over_http(archive, Stalling) as url:
        await asyncio.to_thread(
            ingest_images, [f"{url}/zero.fits"], collection="web", admin_url=database_url, authority="example.org"
        )
        (row,) = await table(client, "/sia2/query", COLLECTION="web")
        is_stalled.set()
        query = str(httpx.QueryParams({"ID": row["obs_publisher_did"], "CIRCLE": "0 10 0.02"}))
        first = [{"type": "http.request", "body": b"", "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            if first:
                return first.pop()
            await asyncio.sleep(0.5)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/soda/sync", "raw_path": b"/soda/sync", "query_string": query.encode(), "root_path": "",
            "headers": [(b"host", b"localhost:8080")], "client": ("127.0.0.1", 1), "server": ("localhost", 8080),
            "state": {},
        }  # fmt: skip
        started = time.monotonic()
        await app(scope, receive, send)
        assert time.monotonic() - started < 5
        assert sent == []
        go_on.set()
        is_stalled.clear()
        cutout(await client.get("/soda/sync", params={"ID": row["obs_publisher_did"], "CIRCLE": "0 10 0.02"}))


async def test_a_frame_in_the_primary_header_counts_for_the_cutout_too(
    client: httpx.AsyncClient, archive: Path, database_url: str
) -> None:
    """INHERIT: what ingest took for FK4 is FK4 when it is cut, and not half a degree beside it."""
    sky = made.header((150.0, 30.0), RADESYS=None, INHERIT=True)
    image = fits.HDUList(
        [made.primary("old", OBSID="old", RADESYS="FK4", EQUINOX=1950.0), fits.ImageHDU(made.pixels(), sky)]
    )
    image.writeto(archive / "old.fits")
    await asyncio.to_thread(made.publish, archive, database_url)
    (row,) = [row for row in await table(client, "/sia2/query") if row["obs_id"] == "old"]
    assert abs(float(row["s_ra"]) - 150.0) > 0.5  # in ICRS it is elsewhere
    region = f"{row['s_ra']} {row['s_dec']} 0.01"
    cut = cutout(await client.get("/soda/sync", params={"ID": row["obs_publisher_did"], "CIRCLE": region}))
    middle = made.pixels()[made.SHAPE[0] // 2, made.SHAPE[1] // 2]
    assert cut[1].data.min() < middle < cut[1].data.max()


async def test_openapi_describes_every_service_once(app: FastAPI) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # FastAPI warns of operations that share a name
        document = app.openapi()
    assert {"/sia2/query", "/datalink/links", "/soda/sync", "/soda/async", "/data/{key}"} <= set(document["paths"])
    names = {parameter["name"] for parameter in document["paths"]["/sia2/query"]["get"]["parameters"]}
    assert {"POS", "BAND", "TIME", "COLLECTION", "ID", "FACILITY", "INSTRUMENT", "CALIB", "DPTYPE", "MAXREC"} <= names
