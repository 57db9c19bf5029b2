"""Every image of a folder of real ones, from the search to its cutout over HTTP (GATEWAY_TEST_IMAGES)."""

import asyncio
import csv
import gzip
import io
import warnings
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt
from astropy.io import fits

from gateway.db.images import Dataset, ImageCatalog
from gateway.ingest.images import ingest_images
from tests.support.images import astropy_sky, given_images, separation


def opened(path: Path) -> fits.HDUList:
    content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    return fits.open(io.BytesIO(content), do_not_scale_image_data=True)


def start(cut: fits.Header, source: fits.Header, axis: int) -> int:
    """First pixel of the cutout along an axis, by how far the reference pixel moved."""
    moved = source[f"CRPIX{axis}"] - cut[f"CRPIX{axis}"]
    assert abs(moved - round(moved)) < 1e-9
    return round(moved)


def offsets(cut: fits.Header, source: fits.Header) -> dict[int, int]:
    """First pixel of the cutout along each axis."""
    axes = range(1, cut["NAXIS"] + 1)
    return {axis: start(cut, source, axis) if f"CRPIX{axis}" in source else 0 for axis in axes}


def assert_same_pixels(cut: fits.ImageHDU, source: fits.ImageHDU, first: dict[int, int]) -> None:
    """Pixels are those of the source, bit for bit."""
    axes = range(cut.header["NAXIS"], 0, -1)
    expected = source.section[tuple(slice(first[axis], first[axis] + cut.header[f"NAXIS{axis}"]) for axis in axes)]
    assert cut.data.shape == expected.shape
    here, there = (array.astype(array.dtype.newbyteorder(">")).tobytes() for array in (cut.data, expected))
    assert here == there


def assert_same_places(cut: fits.Header, source: fits.Header) -> None:
    width, height = cut["NAXIS1"], cut["NAXIS2"]
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5)))
    here = astropy_sky(cut, x, y)
    there = astropy_sky(source, x + start(cut, source, 1), y + start(cut, source, 2))
    known: npt.NDArray[np.bool_] = np.isfinite(there[0])
    assert known.any()
    scale = float(
        separation((there[0][known][:1], there[1][known][:1]), (there[0][known][1:2], there[1][known][1:2]))[0]
    )
    apart = separation((here[0][known], here[1][known]), (there[0][known], there[1][known]))
    assert apart.max() <= 1e-6 * scale


async def test_every_image_that_was_taken_in_is_cut_as_it_is(client: httpx.AsyncClient, database_url: str) -> None:
    folder = given_images()
    report = await asyncio.to_thread(
        ingest_images, [str(folder)], collection="real", admin_url=database_url, authority="example.org"
    )
    refused = [file for file in report.files if not file.images]
    assert [file.path for file in refused] == ["l1448_13co_cube_equinox_zero.fits"]
    answer = await client.get("/sia2/query", params={"COLLECTION": "real", "RESPONSEFORMAT": "csv"})
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert len(rows) == sum(file.images for file in report.files)
    warnings.simplefilter("ignore")
    async with ImageCatalog.open(database_url) as catalog:
        found = await catalog.find([row["obs_publisher_did"] for row in rows])
    for row in rows:
        dataset: Dataset = found[row["obs_publisher_did"].lower()]
        radius = min(float(row["s_fov"]) / 10, 2.0)
        region = f"{row['s_ra']} {row['s_dec']} {radius}"
        answer = await client.get("/soda/sync", params={"ID": row["obs_publisher_did"], "CIRCLE": region})
        assert answer.status_code == 200, (dataset.path, answer.text)
        with (
            opened(folder / dataset.path) as source,
            fits.open(io.BytesIO(answer.content), do_not_scale_image_data=True) as cut,
        ):
            cut.verify("exception")
            planes = [hdu for hdu in cut if hdu.size]
            wanted = [dataset.hdu, *(plane.hdu for plane in dataset.planes if plane.path == dataset.path)]
            assert len(planes) == len(wanted), dataset.path
            first = offsets(planes[0].header, source[dataset.hdu].header)  # of all planes: some have no coordinates
            for plane, number in zip(planes, wanted, strict=True):
                assert_same_pixels(plane, source[number], first)
            assert_same_places(planes[0].header, source[dataset.hdu].header)
