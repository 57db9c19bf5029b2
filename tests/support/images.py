"""Small FITS images with known places on the sky, and astropy's word on where their pixels are."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

from gateway.imaging.hdus import HduRecord, scan
from gateway.imaging.plane import SkyPlane

Floats = npt.NDArray[np.float64]


def sky_header(
    projection: str = "TAN",
    *,
    shape: tuple[int, ...] = (40, 50),
    centre: tuple[float, float] = (150.0, 2.2),
    scale: float = 0.01,
    turn: float = 0.0,
    lon: str = "RA--",
    lat: str = "DEC-",
    **cards: Any,
) -> fits.Header:
    """Header of an image, east to the left.

    Parameters
    ----------
    shape
        Size of each axis, the last FITS axis first.
    centre, scale
        Position of the middle of the image, and size of a pixel, degrees.
    turn
        By how much north is turned, degrees.
    cards
        More cards, or others; ``None`` takes one away.
    """
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, -32, len(shape)
    for axis, size in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = size
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    header.update(
        CTYPE1=f"{lon}-{projection}", CTYPE2=f"{lat}-{projection}", CUNIT1="deg", CUNIT2="deg", RADESYS="ICRS",
        CRPIX1=(shape[-1] + 1) / 2, CRPIX2=(shape[-2] + 1) / 2, CRVAL1=centre[0], CRVAL2=centre[1],
        CD1_1=-scale * c, CD1_2=scale * s, CD2_1=scale * s, CD2_2=scale * c,
    )  # fmt: skip
    return with_cards(header, **cards)


def with_cards(header: fits.Header, **cards: Any) -> fits.Header:
    """Copy a header, with cards changed; ``None`` takes one away."""
    found = header.copy()
    for keyword, value in cards.items():
        if value is None:
            found.remove(keyword, ignore_missing=True)
        else:
            found[keyword] = value
    return found


SIP = {
    "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-4, "A_1_1": -1e-4,
    "B_0_2": 3e-4, "B_1_1": 1e-4, "AP_ORDER": 2, "BP_ORDER": 2, "AP_2_0": -2e-4, "AP_1_1": 1e-4, "BP_0_2": -3e-4, "BP_1_1": -1e-4,
}  # fmt: skip
"""A distortion of about a tenth of a pixel at the corners of a small image."""

TPV = {
    "CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.0, "PV1_4": 2e-3, "PV1_5": -1e-3, "PV2_1": 1.0, "PV2_4": 1e-3,
    "PV2_6": 3e-3,
}  # fmt: skip

ZPN = {"PV2_1": 1.0, "PV2_3": -50.0}

CUBE = {
    "CTYPE3": "STOKES", "CRVAL3": 1.0, "CDELT3": 1.0, "CRPIX3": 1.0,
    "CTYPE4": "FREQ", "CRVAL4": 1.4e9, "CDELT4": 1e6, "CRPIX4": 1.0, "CUNIT4": "Hz",
    "CD3_3": 1.0, "CD4_4": 1e6,
}  # fmt: skip
"""Two more axes."""

SWAPPED = {
    "CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 2.2, "CRVAL2": 150.0, "CD1_1": 0.01, "CD1_2": 0.0, "CD2_1": 0.0,
    "CD2_2": -0.01,
}  # fmt: skip
"""Declination along the first axis."""

PLANES: dict[str, fits.Header] = {
    "TAN": sky_header(turn=33.0),
    "SIN": sky_header("SIN", centre=(0.02, -30.0)),
    "SFL": sky_header("SFL", centre=(60.0, 0.0), scale=0.2),
    "CAR": sky_header("CAR", centre=(0.0, 0.0), scale=0.5),
    "ZEA": sky_header("ZEA", centre=(10.0, 90.0), scale=0.3),
    "ZPN": sky_header("ZPN", centre=(85.0, -5.0), **ZPN),
    "SIP": sky_header(**SIP),
    "TPV": sky_header(**TPV),
    "FK5": sky_header(RADESYS="FK5", EQUINOX=2000.0),
    "FK5-1975": sky_header(RADESYS="FK5", EQUINOX=1975.0),
    "FK4": sky_header(RADESYS="FK4", EQUINOX=1950.0),
    "Galactic": sky_header("CAR", lon="GLON", lat="GLAT", centre=(0.0, 0.0), RADESYS=None),
    "Ecliptic": sky_header(lon="ELON", lat="ELAT", RADESYS=None, EQUINOX=2000.0),
    "no RADESYS": sky_header(RADESYS=None),
    "no CUNIT": sky_header(CUNIT1=None, CUNIT2=None),
    "EPOCH": sky_header(RADESYS=None, EPOCH=1950.0),
    "arcseconds": sky_header(
        CUNIT1="arcsec", CUNIT2="arcsec", CRVAL1=150 * 3600.0, CRVAL2=7920.0, CD1_1=-36.0, CD2_2=36.0
    ),
    "CDELT and CROTA": sky_header(
        CD1_1=None, CD1_2=None, CD2_1=None, CD2_2=None, CDELT1=-0.01, CDELT2=0.01, CROTA2=30.0
    ),
    "swapped": sky_header(**SWAPPED),
    "swapped SIP": sky_header(**SWAPPED | SIP | {"CTYPE1": "DEC--TAN-SIP", "CTYPE2": "RA---TAN-SIP"}),
    "cube": sky_header(shape=(3, 40, 50), CTYPE3="FREQ", CRVAL3=1.4e9, CRPIX3=1.0, CD3_3=1e6, CUNIT3="Hz"),
    "SIP cube": sky_header(shape=(3, 40, 50), CTYPE3="FREQ", CRVAL3=1.4e9, CRPIX3=1.0, CD3_3=1e6, CUNIT3="Hz", **SIP),
    "IQUV": sky_header("SIN", shape=(1, 4, 40, 50), **CUBE),
    "cube with the sky last": sky_header(
        shape=(50, 40, 3), CTYPE1="FREQ", CRVAL1=1.4e9, CRPIX1=1.0, CUNIT1="Hz", CD1_1=1e6, CD1_2=0.0, CD2_1=0.0,
        CTYPE2="RA---TAN", CRVAL2=150.0, CRPIX2=20.0, CD2_2=-0.01,
        CTYPE3="DEC--TAN", CRVAL3=2.2, CRPIX3=25.0, CUNIT3="deg", CD3_3=0.01,
    ),
}  # fmt: skip
"""Headers of all kinds of planes."""


def plane(header: fits.Header) -> SkyPlane:
    """Plane of a header."""
    return SkyPlane.from_header(header)


def read_wcs(header: fits.Header) -> WCS:
    """Read coordinates with astropy alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(header, naxis=2 if "A_ORDER" in header else None)


def astropy_sky(header: fits.Header, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """ICRS degrees of pixels, counted from 0: x along the axis of longitude, y along that of latitude."""
    wcs = read_wcs(header)  # a plane with distortions by itself, as astropy demands
    lon, lat = wcs.wcs.lng, wcs.wcs.lat
    pixels = [np.zeros(len(x)) for _ in range(wcs.naxis)]
    pixels[lon], pixels[lat] = np.asarray(x, float), np.asarray(y, float)
    world = wcs.all_pix2world(*pixels, 0)
    unit = [units.Unit(text or "deg") for text in wcs.wcs.cunit]
    frame = wcs_to_celestial_frame(wcs.celestial)
    found = SkyCoord(world[lon] * unit[lon], world[lat] * unit[lat], frame=frame).icrs
    return found.ra.deg, found.dec.deg


def separation(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Floats:
    """Angles between positions, degrees."""
    return np.asarray(SkyCoord(*one, unit="deg").separation(SkyCoord(*other, unit="deg")).deg)


def fits_file(*hdus: Any) -> bytes:
    """Bytes of a file of HDUs."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.HDUList(list(hdus)).writeto(file, output_verify="ignore")
    return file.getvalue()


def image_file(header: fits.Header, pixels: npt.NDArray[Any] | None = None) -> bytes:
    """Bytes of a file with one image: of its own pixels, each another number, where none are given."""
    if pixels is None:
        shape = tuple(int(header[f"NAXIS{axis}"]) for axis in range(int(header["NAXIS"]), 0, -1))
        pixels = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    return fits_file(fits.PrimaryHDU(pixels, header))


def record_of(content: bytes, number: int = 0) -> HduRecord:
    """Record of an HDU of a file."""
    return scan(io.BytesIO(content))[number]


def given_images() -> Path:
    """Folder of real images, from the environment; the test is skipped without."""
    if not (folder := os.environ.get("GATEWAY_TEST_IMAGES")):
        pytest.skip("GATEWAY_TEST_IMAGES is not set")
    return Path(folder)
