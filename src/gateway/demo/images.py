"""The images of the demo survey: simulated from the real Gaia stars of a few fields.

Every star stands where Gaia DR3 has it (ICRS, epoch J2016.0) with its G magnitude; noise has a fixed seed, so that each
build gives the same pixels. Single-epoch images of one field are dithered; a coadd covers all of its field's images and names
them in ``IMCMBnnn`` cards. Nothing in them but the stars is real, and their headers say so.
"""

from __future__ import annotations

import fcntl
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gateway.demo.catalogs import gaia_stars
from gateway.errors import IngestError
from gateway.ingest.images import BusyError, ImagesReport, ingest_images
from gateway.ingest.images.pool import cores, open_pool, submit
from gateway.ingest.images.report import Step, StepSink, ignore

if TYPE_CHECKING:
    from astropy.io.fits import CompImageHDU, Header, PrimaryHDU

Floats = npt.NDArray[np.float64]
Stars = tuple[Floats, Floats, Floats]

COLLECTION = "demo"

RULES = Path(__file__).with_name("images.toml")
"""What the headers do not say."""

MOST_PROCESSES = 8
"""Each holds some images of 67 megabytes."""

SCALE_DEG = 8 / 3600
"""Size of a pixel, degrees."""

FWHM_PX = 2.2
"""Width of a star, pixels."""

MOFFAT_BETA = 3.0
"""Steepness of its wings."""

FAINTEST = 0.5
"""Electrons per pixel to which wings are drawn: a twentieth of the noise."""

ZERO_POINT = 25.0
"""Magnitude of a star of one electron."""

READ_NOISE = 4.0
BACKGROUND = 60.0
"""Electrons per pixel, as is the noise."""

SATURATION = 2.0e5
"""Electrons from which a pixel is flagged; its value stays true."""

TILE = 256
"""Side of a compressed tile, pixels."""

FIRST_MJD = 57388.5
"""Noon of 1 January 2016, UTC: the epoch of the positions."""

EXPOSURE_S = 30.0


@dataclass(frozen=True, slots=True)
class Field:
    """Part of the sky that the survey shows."""

    name: str
    target: str
    ra: float
    dec: float
    has_coadd: bool = False
    is_distorted: bool = False
    """Whether its camera has SIP distortions."""


FIELDS = (
    Field("pleiades", "Pleiades", 56.75, 24.12, has_coadd=True),
    Field("pegasus", "Great Square of Pegasus", 0.0, 15.0, has_coadd=True),  # across RA = 0
    Field("polaris", "North celestial pole", 40.0, 89.2),
    Field("orion", "Belt of Orion", 84.05, -1.2, is_distorted=True),
    Field("carina", "Carina", 161.2, -59.7, is_distorted=True),
    Field("octans", "South celestial pole", 300.0, -88.6),
)

DITHERS = ((-0.42, -0.4, 0.0), (0.42, -0.38, 90.0), (-0.4, 0.42, 12.0), (0.4, 0.4, 187.0))
"""Offsets of the images of a field, as parts of their width, and their position angles, degrees."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a survey is built."""

    visit: int
    """Side of a single-epoch image, pixels."""
    coadd: int
    fields: int
    megabytes: int
    """Disk space of all images."""


FULL = Size(2048, 4096, len(FIELDS), 140)
SMALL = Size(256, 512, 3, 3)


@dataclass(frozen=True, slots=True)
class Exposure:
    """One image to be made."""

    path: str
    """Below the survey's folder."""
    field: Field
    ra: float
    dec: float
    angle: float
    """Degrees from the image's y axis to north."""
    size: int
    mjd: float
    seed: int
    inputs: tuple[str, ...] = ()
    """Files that it stands for, if it is a coadd."""


def exposures(size: Size) -> Iterator[Exposure]:
    """List the images of the survey."""
    for number, field in enumerate(FIELDS[: size.fields]):
        width = size.visit * SCALE_DEG
        paths = []
        for place, (east, north, angle) in enumerate(DITHERS):
            path = f"visits/{field.name}-{place + 1}.fits"
            ra, dec = _offset(field.ra, field.dec, east * width, north * width)
            seed = 100 * number + place
            yield Exposure(path, field, ra, dec, angle, size.visit, FIRST_MJD + number + place / 24, seed)
            paths.append(path)
        if field.has_coadd:
            yield Exposure(
                f"coadds/{field.name}.fits",
                field,
                field.ra,
                field.dec,
                0.0,
                size.coadd,
                FIRST_MJD + number,
                100 * number + 99,
                tuple(paths),
            )


def build(
    folder: Path,
    *,
    size: Size = FULL,
    processes: int | None = None,
    progress: StepSink = ignore,
) -> list[Path]:
    """Write the images that are not there yet, each complete or not at all; gives all of them.

    Parameters
    ----------
    folder
        Where they go. Who comes while another builds there waits for its end.
    processes
        How many draw at once; by default as many as there are cores, and only this one for small images.

    Raises
    ------
    IngestError
        They cannot be written.
    """
    wanted = list(exposures(size))
    if processes is None:
        processes = 1 if size.visit <= SMALL.visit else min(cores(), MOST_PROCESSES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            for part in folder.glob("*/.*.part"):
                part.unlink()
            _build_missing(folder, wanted, processes, progress)
    except OSError as e:
        raise IngestError(
            f"the demo images cannot be written to {folder}: {e.strerror or e}. They need {size.megabytes} MB; "
            "GATEWAY_HOME names another place"
        ) from e
    return [folder / exposure.path for exposure in wanted]


def _build_missing(folder: Path, wanted: Sequence[Exposure], processes: int, progress: StepSink) -> None:
    missing = [exposure for exposure in wanted if not (folder / exposure.path).exists()]
    if not missing:
        return
    count = len(wanted) - len(missing)
    progress(Step(count, len(wanted), count, ""))
    stars = _bright_stars()
    # The largest first, so that none is left alone at the end.
    for path in _written(folder, sorted(missing, key=lambda one: -one.size), stars, processes):
        count += 1
        progress(Step(count, len(wanted), count, path))


def _written(folder: Path, missing: Sequence[Exposure], stars: Stars, processes: int) -> Iterator[str]:
    """Write images, and give the path of each as it is done."""
    if processes <= 1:
        for exposure in missing:
            yield _write(folder, exposure, _near(exposure, stars))
        return
    pool = open_pool(min(processes, len(missing)))
    try:
        for future in as_completed([submit(pool, _write, folder, one, _near(one, stars)) for one in missing]):
            yield future.result()
    except BrokenProcessPool as e:
        raise OSError("a process that drew one ended (no memory left?)") from e
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until nobody else builds in a folder, and keep others waiting."""
    with (folder / ".building").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # goes with the process, however it ends
        yield


def _bright_stars() -> Stars:
    """Right ascension and declination, ICRS degrees at J2016.0, and G magnitude of the stars of the demo survey."""
    table = gaia_stars()
    ra, dec, magnitude = (table[name].to_numpy().astype("f8") for name in ("ra", "dec", "phot_g_mean_mag"))
    return ra, dec, magnitude


def ensure_built(home: Path, *, is_small: bool = False, progress: StepSink = ignore) -> Path:
    """Build the images under the home folder, as far as that is not done; gives their folder.

    Parameters
    ----------
    is_small
        Whether fewer and smaller images do. Where all of the others are, they are given.
    """
    full, small = home / "demo" / "images", home / "demo" / "images-small"
    has_all = all((full / exposure.path).exists() for exposure in exposures(FULL))
    folder, size = (small, SMALL) if is_small and not has_all else (full, FULL)
    build(folder, size=size, progress=progress)
    return folder


def publish(folder: Path, *, admin_url: str, authority: str, progress: StepSink = ignore) -> ImagesReport | None:
    """Publish images that were built as the collection ``demo``; ``None`` if another process does so at this moment."""
    try:
        return ingest_images(
            [str(folder)],
            collection=COLLECTION,
            admin_url=admin_url,
            authority=authority,
            root=str(folder),
            describe=RULES,
            progress=progress,
        )
    except BusyError:
        return None


def _near(exposure: Exposure, stars: Stars) -> Stars:
    """Stars that may be on an image."""
    ra, dec, magnitude = stars
    radius = math.radians(exposure.size * SCALE_DEG * 0.75)
    cosine = np.sin(np.radians(dec)) * math.sin(math.radians(exposure.dec)) + np.cos(np.radians(dec)) * math.cos(
        math.radians(exposure.dec)
    ) * np.cos(np.radians(ra - exposure.ra))
    near = cosine > math.cos(radius)
    return ra[near], dec[near], magnitude[near]


def _write(folder: Path, exposure: Exposure, stars: Stars) -> str:
    """Write an image; the file appears under its name when it is complete."""
    from astropy.io.fits import HDUList

    image, mask, variance = draw(exposure, stars)
    header = _coordinates(exposure)
    hdus = HDUList(
        [
            _primary(exposure),
            _plane(image, "IMAGE", header, "electron", quantize_level=8.0),
            _plane(mask, "MASK", header, None, quantize_level=0.0),
            _plane(variance, "VARIANCE", header, "electron2", quantize_level=-0.5),
        ]
    )
    path = folder / exposure.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            hdus.writeto(file, checksum=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return exposure.path


def draw(
    exposure: Exposure, stars: Stars
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Draw image, mask and variance, shape ``(size, size)``, electrons and their squares."""
    from astropy.wcs import WCS

    size, depth = exposure.size, max(1, len(exposure.inputs))
    signal = np.full((size, size), BACKGROUND, np.float32)
    x, y = WCS(_coordinates(exposure)).all_world2pix(stars[0], stars[1], 0)
    flux = 10 ** (0.4 * (ZERO_POINT - stars[2]))
    for at_x, at_y, electrons in zip(x.tolist(), y.tolist(), flux.tolist(), strict=True):
        _add_star(signal, at_x, at_y, electrons)
    variance = (signal + np.float32(READ_NOISE**2)) / np.float32(depth)
    noise = np.random.default_rng(exposure.seed).standard_normal((size, size), dtype=np.float32)
    image = signal + noise * np.sqrt(variance) - np.float32(BACKGROUND)
    mask = np.where(signal > SATURATION, np.int16(1), np.int16(0))
    edge = 4
    for side in (np.s_[:edge], np.s_[-edge:], np.s_[:, :edge], np.s_[:, -edge:]):
        mask[side] |= np.int16(2)
    return image, mask, variance


def _add_star(signal: npt.NDArray[np.float32], x: float, y: float, electrons: float) -> None:
    """Add a star with a Moffat profile, as the air makes it: the brighter, the wider its wings are seen."""
    width = FWHM_PX / (2 * math.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    peak = electrons * (MOFFAT_BETA - 1) / (math.pi * width**2)
    reach = math.ceil(width * math.sqrt(max(peak / FAINTEST, 2.0) ** (1 / MOFFAT_BETA) - 1))
    size = signal.shape[0]
    x0, x1 = max(round(x) - reach, 0), min(round(x) + reach + 1, size)
    y0, y1 = max(round(y) - reach, 0), min(round(y) + reach + 1, size)
    if x0 >= x1 or y0 >= y1:
        return
    distance2 = (np.arange(x0, x1) - x) ** 2 + (np.arange(y0, y1)[:, None] - y) ** 2
    signal[y0:y1, x0:x1] += (peak * (1 + distance2 / width**2) ** -MOFFAT_BETA).astype(np.float32)


def _offset(ra: float, dec: float, east: float, north: float) -> tuple[float, float]:
    """Position at tangent-plane offsets, degrees, from another."""
    xi, eta = math.radians(east), math.radians(north)
    d = math.radians(dec)
    depth = math.cos(d) - eta * math.sin(d)
    found_ra = math.radians(ra) + math.atan2(xi, depth)
    found_dec = math.atan2(math.sin(d) + eta * math.cos(d), math.hypot(xi, depth))
    return math.degrees(found_ra) % 360.0, math.degrees(found_dec)


def _coordinates(exposure: Exposure) -> Header:
    from astropy.io.fits import Header

    header = Header()
    kind = "-SIP" if exposure.field.is_distorted and not exposure.inputs else ""
    header["WCSAXES"] = 2
    header["CTYPE1"], header["CTYPE2"] = f"RA---TAN{kind}", f"DEC--TAN{kind}"
    header["CUNIT1"], header["CUNIT2"] = "deg", "deg"
    header["CRPIX1"] = header["CRPIX2"] = (exposure.size + 1) / 2
    header["CRVAL1"], header["CRVAL2"] = exposure.ra, exposure.dec
    angle = math.radians(exposure.angle)
    header["CD1_1"], header["CD1_2"] = -SCALE_DEG * math.cos(angle), SCALE_DEG * math.sin(angle)
    header["CD2_1"], header["CD2_2"] = SCALE_DEG * math.sin(angle), SCALE_DEG * math.cos(angle)
    header["RADESYS"] = "ICRS"
    if kind:
        header["A_ORDER"] = header["B_ORDER"] = 3
        bend = 4.0 / (exposure.size / 2) ** 3  # four pixels in the corners
        header["A_3_0"] = header["A_1_2"] = header["B_0_3"] = header["B_2_1"] = bend
    return header


def _primary(exposure: Exposure) -> PrimaryHDU:
    from astropy.io.fits import PrimaryHDU
    from astropy.time import Time

    header = PrimaryHDU().header
    header["OBJECT"] = exposure.field.target
    header["TITLE"] = f"Simulated {'coadd' if exposure.inputs else 'image'}: {exposure.field.target}"
    header["SIMULATD"] = (True, "nothing but the stars' places is real")
    header["TELESCOP"] = ("Simulated", "no telescope took this image")
    header["INSTRUME"] = "vo-gateway demo"
    header["FILTER"] = ("G", "Gaia G")
    header["OBSID"] = exposure.path.rpartition("/")[2].removesuffix(".fits") + ("-coadd" if exposure.inputs else "")
    header["TIMESYS"] = "UTC"
    header["DATE-OBS"] = Time(exposure.mjd, format="mjd").isot
    header["MJD-OBS"] = exposure.mjd
    spent = EXPOSURE_S * max(1, len(exposure.inputs))
    last = exposure.mjd + (len(exposure.inputs) - 1) / 24 if exposure.inputs else exposure.mjd
    end = last + EXPOSURE_S / 86_400
    header["DATE-END"] = Time(end, format="mjd").isot
    header["MJD-END"] = end
    header["EXPTIME"] = (spent, "[s]")
    header["SEEING"] = (FWHM_PX * SCALE_DEG * 3600, "[arcsec] width of a star at half maximum")
    header["MAGZERO"] = (ZERO_POINT, "magnitude of one electron")
    for number, path in enumerate(exposure.inputs, start=1):
        header[f"IMCMB{number:03}"] = path
    header["HISTORY"] = "Simulated by vo-gateway: the stars brighter than G = 10 of Gaia DR3"
    header["HISTORY"] = "(ESA/Gaia/DPAC, CC BY-SA 3.0 IGO) where they were at J2016.0, with"
    header["HISTORY"] = "Moffat profiles and Gaussian noise. Nothing else in this image is real."
    return PrimaryHDU(header=header)


def _plane(
    pixels: npt.NDArray[np.float32] | npt.NDArray[np.int16],
    name: str,
    coordinates: Header,
    unit: str | None,
    *,
    quantize_level: float,
) -> CompImageHDU:
    """Compress a plane; `quantize_level` is that of FITS: parts of the noise, or with a minus the step itself."""
    from astropy.io.fits import CompImageHDU

    header = coordinates.copy()
    if unit:
        header["BUNIT"] = unit
    if name == "MASK":
        header["MP_SAT"], header["MP_EDGE"] = (0, "bit of saturated pixels"), (1, "bit of the image's rim")
    return CompImageHDU(
        pixels,
        header=header,
        name=name,
        compression_type="RICE_1",
        tile_shape=(min(TILE, pixels.shape[0]),) * 2,
        quantize_level=quantize_level,
        quantize_method=1,
        dither_seed=1,
    )
