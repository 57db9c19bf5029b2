"""A small archive of images: across RA = 0, in one file and in two, compressed, made from others."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from gateway.ingest.images import ImagesReport, ingest_images
from tests.support.images import sky_header

SHAPE = (90, 120)
SCALE = 0.002
"""Degrees per pixel."""

RULES = """
[companions.mask]
replace = ".fits"
by = ".mask.fits"

[filters."r"]
em_min = 5.5e-7
em_max = 7.0e-7
"""


def pixels(offset: int = 0) -> npt.NDArray[np.float32]:
    """Image in which every pixel has a value of its own."""
    return np.arange(SHAPE[0] * SHAPE[1], dtype="f4").reshape(SHAPE) + offset


def header(centre: tuple[float, float], **cards: object) -> fits.Header:
    """Header of an image around a position."""
    return sky_header(shape=SHAPE, centre=centre, scale=SCALE, **cards)


def primary(name: str, **cards: object) -> fits.PrimaryHDU:
    """Primary HDU without pixels."""
    hdu = fits.PrimaryHDU()
    hdu.header.update({"OBJECT": name, "FILTER": "r", "MJD-OBS": 60_000.25, "EXPTIME": 30.0, "TELESCOP": "Test"})
    hdu.header.update(cards)
    return hdu


def make(folder: Path) -> Path:
    """Write the files."""
    folder.mkdir()
    zero = header((0.02, 10.0))
    three = fits.HDUList(
        [
            primary("zero", OBSID="zero"),
            fits.ImageHDU(pixels(), zero, name="IMAGE"),
            fits.ImageHDU((pixels() % 7).astype("i2"), zero, name="MASK"),
            fits.CompImageHDU(pixels(1), zero, name="VARIANCE", compression_type="GZIP_2", quantize_level=0),
        ]
    )
    three.writeto(folder / "zero.fits")
    north = header((200.0, 89.95))
    fits.PrimaryHDU(pixels(2), north).writeto(folder / "north.fits")
    fits.PrimaryHDU((pixels() % 5).astype("u1"), north).writeto(folder / "north.mask.fits")
    packed = header((10.0, -20.0), **{"DATE-OBS": "2024-01-01T00:00:00"})
    fits.PrimaryHDU(pixels(3), packed).writeto(folder / "packed.fits.gz")
    coadd = fits.HDUList(
        [primary("coadd", IMCMB001="zero.fits", IMCMB002="gone.fits"), fits.ImageHDU(pixels(4), zero, name="IMAGE")]
    )
    coadd.writeto(folder / "coadd.fits")
    (folder / "broken.fits").write_bytes((folder / "zero.fits").read_bytes()[:9_000])
    return folder


def publish(folder: Path, admin_url: str) -> ImagesReport:
    """Ingest them."""
    rules = folder.parent / "rules.toml"
    rules.write_text(RULES)
    return ingest_images(
        [str(folder)], collection="test", admin_url=admin_url, authority="example.org.gateway", describe=rules
    )
