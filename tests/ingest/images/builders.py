"""Small FITS files, and a collection to put them into."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from gateway.db.images import unpack
from gateway.ingest.images import FileReport, ImagesReport, ingest_images
from tests.support.catalogs import Catalog

AUTHORITY = "example.org"


def sky(ra: float = 10.0, dec: float = 20.0, size: int = 32, **cards: Any) -> fits.Header:
    """Header of a square image around a position, 0.36 arcseconds a pixel."""
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRPIX1"] = header["CRPIX2"] = (size + 1) / 2
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -1e-4, 0.0, 0.0, 1e-4
    header["RADESYS"] = "ICRS"
    header.update(cards)
    return header


def image(
    name: str | None = None, *, size: int = 32, dtype: str = "f4", ra: float = 10.0, **cards: Any
) -> fits.ImageHDU:
    return fits.ImageHDU(np.zeros((size, size), dtype), sky(ra, size=size, **cards), name=name)


def primary(**cards: Any) -> fits.PrimaryHDU:
    hdu = fits.PrimaryHDU()
    hdu.header["FILTER"], hdu.header["MJD-OBS"], hdu.header["EXPTIME"] = "r", 58_000.0, 86.4
    hdu.header.update(cards)
    return hdu


def write(path: Path, *hdus: Any) -> Path:
    """Write a file; of nothing said, one with one image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(list(hdus) or [fits.PrimaryHDU(np.zeros((32, 32), "f4"), sky())]).writeto(path, overwrite=True)
    return path


class Survey:
    """A folder of images, and the collection that is made of it."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self.folder = folder
        self.catalog = catalog

    def write(self, name: str, *hdus: Any) -> Path:
        return write(self.folder / name, *hdus)

    def rules(self, text: str) -> Path:
        path = self.folder.parent / "rules.toml"
        path.write_text(text)
        return path

    def ingest(self, *paths: Path | str, collection: str = "survey", **options: Any) -> ImagesReport:
        return ingest_images(
            [str(path) for path in paths or [self.folder]],
            collection=collection,
            admin_url=self.catalog.url,
            authority=AUTHORITY,
            **options,
        )

    def rows(self, columns: str = "obs_id", order: str = "obs_id, hdu") -> list[Any]:
        return self.catalog.fetch(
            f"SELECT {columns} FROM gateway_images.dataset d JOIN gateway_images.file f ON f.id = d.file_id ORDER BY {order}"
        )

    def everything(self) -> list[Any]:
        """All that the catalog knows of images, numbers of rows aside."""
        return [
            *self.catalog.fetch("SELECT name, root, rules FROM gateway_images.collection ORDER BY name"),
            *self.catalog.fetch("SELECT path, size, modified, rules_digest FROM gateway_images.file ORDER BY path"),
            *self.catalog.fetch("SELECT d.* FROM gateway_images.dataset d ORDER BY key"),
            *self.catalog.fetch("SELECT * FROM gateway_images.hdu ORDER BY file_id, number"),
        ]

    def hdus(self, path: str) -> list[Mapping[str, Any]]:
        rows = self.catalog.fetch(
            "SELECT record FROM gateway_images.hdu h JOIN gateway_images.file f ON f.id = h.file_id"
            " WHERE f.path = $1 ORDER BY number",
            path,
        )
        return [unpack(row[0]) for row in rows]


def outcomes(report: ImagesReport) -> dict[str, str]:
    return {file.path: str(file.outcome) for file in report.files}


def only(report: ImagesReport) -> FileReport:
    (file,) = report.files
    return file
