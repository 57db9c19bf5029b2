"""A job's cutouts, as its child makes them: real files, a real catalog, a real store."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import asyncpg
import pytest
from astropy.io import fits

from gateway.context import TaskServices, open_task_services
from gateway.errors import DatasetError, UsageError
from gateway.jobs.models import Result
from gateway.jobs.tasks import Work, run_cutout
from gateway.settings import Settings
from tests.routers import archive as made

HERE, AWAY = ("CIRCLE", "0 10 0.02"), ("CIRCLE", "180 -10 0.1")


@pytest.fixture
def archive(database_url: str, tmp_path: Path) -> Path:
    folder = made.make(tmp_path / "archive")
    made.publish(folder, database_url)
    return folder


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, redis_url=redis_url, cutout_max_pixels=20_000)


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[TaskServices]:
    async with open_task_services(settings.to_record()) as services:
        yield services


@pytest.fixture
async def dids(database_url: str, archive: Path) -> dict[str, str]:
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT obs_id, obs_publisher_did FROM ivoa.obscore")
    await connection.close()
    return {row["obs_id"]: row["obs_publisher_did"] for row in rows}


async def cut(services: TaskServices, number: int, *parameters: tuple[str, str]) -> Result:
    """Run one part."""
    work = Work(
        job_id="a-job-of-twenty-four-long", job_list="soda", number=number, token=3, owner="local", account=None,
        base_url="http://gateway.test", time_limit=None, parameters=parameters, uploads=(),
    )  # fmt: skip
    (result,) = await run_cutout(work, services)
    assert result.result_id == f"cutout-{number}"
    assert result.key.startswith(f"{work.job_id}/{number}.3/")
    return result


async def content(services: TaskServices, result: Result) -> bytes:
    async with aclosing((await services.results.open(result.key)).chunks()) as chunks:
        found = b"".join([chunk async for chunk in chunks])
    assert len(found) == result.size
    return found


async def test_every_combination_is_a_part(services: TaskServices, dids: dict[str, str]) -> None:  # SODA-14
    """Parts are numbered region by region within dataset by dataset."""
    parameters = (("ID", dids["zero"]), ("ID", dids["coadd"]), HERE, AWAY)
    results = [await cut(services, number, *parameters) for number in range(1, 5)]
    assert [result.media_type for result in results] == ["application/fits", "text/plain"] * 2
    first, third = [fits.HDUList.fromstring(await content(services, results[n])) for n in (0, 2)]
    assert "VARIANCE" in first
    assert "VARIANCE" not in third  # the coadd has none
    text = (await content(services, results[1])).decode()
    assert text.startswith(f"UsageError: {dids['zero']} CIRCLE=180 -10 0.1: ")  # SODA-15


async def test_no_overlap_is_a_text_also_if_it_is_the_only_cutout(
    services: TaskServices, dids: dict[str, str]
) -> None:  # SODA-15
    result = await cut(services, 1, ("ID", dids["zero"]), AWAY)
    assert result.media_type == "text/plain"


async def test_one_of_several_that_cannot_be_read_leaves_a_text(
    services: TaskServices, dids: dict[str, str], archive: Path
) -> None:
    (archive / "coadd.fits").unlink()
    parameters = (("ID", dids["zero"]), ("ID", dids["coadd"]), HERE)
    assert (await cut(services, 1, *parameters)).media_type == "application/fits"
    text = (await content(services, await cut(services, 2, *parameters))).decode()
    assert text.startswith("Error: ")
    assert "no longer in the archive" in text
    assert str(archive) not in text


async def test_the_only_cutout_that_cannot_be_read_is_the_job_s_error(
    services: TaskServices, dids: dict[str, str], archive: Path
) -> None:
    (archive / "coadd.fits").unlink()
    with pytest.raises(DatasetError, match="no longer in the archive"):
        await cut(services, 1, ("ID", dids["coadd"]), HERE)


async def test_cutout_max_pixels(services: TaskServices, dids: dict[str, str]) -> None:
    """Three planes of 10,800 pixels are more than 20,000; one plane is not."""
    assert (await cut(services, 1, ("ID", dids["packed"]))).media_type == "application/fits"
    with pytest.raises(UsageError, match="32,400 pixels in 3 planes, more than the 20,000 that one cutout may have"):
        await cut(services, 1, ("ID", dids["zero"]))
