"""Wavelengths of an image: from its spectral axis, else from its filter."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gateway.imaging.hdus import Hdu
from gateway.imaging.plane import read_wcs
from gateway.ingest.images.headers import card
from gateway.ingest.images.rules import Rules

if TYPE_CHECKING:
    from astropy.io.fits import Header

CREDIBLE_M = (1e-18, 1e5)
"""Wavelengths that are believed, metres: TeV photons to the longest radio waves ever observed."""

FILTERS: dict[str, tuple[float, float]] = {
    # SDSS, Pan-STARRS, DECam and Rubin agree on these names, and on where half of the light passes, within 10 nm.
    "u": (3.25e-7, 3.95e-7),
    "g": (4.0e-7, 5.5e-7),
    "r": (5.5e-7, 7.0e-7),
    "i": (6.9e-7, 8.3e-7),
    "z": (8.2e-7, 9.4e-7),
    "y": (9.4e-7, 1.06e-6),
    # Johnson-Cousins (Bessell 2005)
    "U": (3.3e-7, 3.96e-7),
    "B": (3.98e-7, 4.92e-7),
    "V": (5.07e-7, 5.95e-7),
    "R": (5.89e-7, 7.27e-7),
    "I": (7.31e-7, 8.81e-7),
    # 2MASS, UKIDSS, VISTA
    "J": (1.17e-6, 1.33e-6),
    "H": (1.49e-6, 1.78e-6),
    "K": (2.03e-6, 2.38e-6),
    "Ks": (1.99e-6, 2.31e-6),
    # Gaia
    "G": (3.3e-7, 1.05e-6),
    "BP": (3.3e-7, 6.8e-7),
    "RP": (6.3e-7, 1.05e-6),
}
"""Common filters by their names, letter case included: from where to where about half of the light passes, vacuum metres."""

CENTRE_AND_WIDTH = re.compile(r"\b(\d{4,5}(?:\.\d+)?)\s*[/ ]\s*(\d{2,4}(?:\.\d+)?)(?=\s|A\b|\Z)")
"""Centre and width in Angstrom, as NOIRLab's filters carry them in their names."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Spectral coverage, vacuum metres."""

    em_min: float | None = None
    em_max: float | None = None
    em_xel: int | None = None
    note: str | None = None
    """Why nothing is known."""


def spectrum(hdu: Hdu, header: Header, rules: Rules) -> Spectrum:
    """Find the wavelengths of an image.

    Parameters
    ----------
    hdu
        The image.
    header
        Its header, the primary header's cards behind it.
    rules
        Those of its collection.
    """
    axis = _axis(hdu)
    if axis is not None and (hdu.shape[-axis] > 1 or not _filter_name(header)):
        return _from_axis(hdu, axis)
    name = _filter_name(header)
    if name is None:
        return Spectrum(em_xel=1)
    if (band := rules.band(name)) is not None:
        return Spectrum(band.em_min, band.em_max, 1)
    if (found := CENTRE_AND_WIDTH.search(name)) is not None:
        centre, width = float(found[1]) * 1e-10, float(found[2]) * 1e-10
        return Spectrum(centre - width / 2, centre + width / 2, 1)
    if name in FILTERS:
        return Spectrum(*FILTERS[name], 1)
    return Spectrum(em_xel=1, note=f"FILTER {name!r} is not known: give its wavelengths in [filters] of the rules")


def _filter_name(header: Header) -> str | None:
    for keyword in ("FILTER", "FILTER1", "FILTNAM", "FILTERS", "BAND"):
        name = str(card(header, keyword) or "").strip()
        if name and name.strip("_").lower() not in {"unknown", "none", "clear", "open", "n/a"}:
            return name
    return None


def _axis(hdu: Hdu) -> int | None:
    """FITS number of the spectral axis."""
    spec = int(read_wcs(hdu.header).wcs.spec)
    if spec >= 0:
        return spec + 1
    naxis = int(hdu.header["NAXIS"])
    names = {"ENERGY", "WAVELENGTH", "LAMBDA", "CHANNEL", "VELOCITY", "VELO-LSR", "FELO-HEL"}
    return next((n for n in range(1, naxis + 1) if str(hdu.header.get(f"CTYPE{n}", "")).strip().upper() in names), None)


def _from_axis(hdu: Hdu, axis: int) -> Spectrum:
    size = hdu.shape[-axis]
    ctype = str(hdu.header.get(f"CTYPE{axis}", "")).strip()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            wcs = read_wcs(hdu.header).spectral
            if wcs.wcs.has_cd():
                # wcslib's translation scales CDELT alone, which a CD matrix hides: the step would stay in the old unit.
                step = float(wcs.wcs.cd[0, 0])
                del wcs.wcs.cd
                wcs.wcs.pc, wcs.wcs.cdelt = [[1.0]], [step]
            wcs.wcs.sptr("WAVE-???")
            edges = wcs.wcs_pix2world(np.array([-0.5, size - 0.5]), 0)[0]
        except Exception:  # noqa: BLE001 - wcslib: no spectral axis, no rest frequency, no such conversion
            edges = np.full(2, np.nan)
    low, high = float(np.min(edges)), float(np.max(edges))
    if not (CREDIBLE_M[0] <= low <= high <= CREDIBLE_M[1]):
        return Spectrum(
            em_xel=size, note=f"axis {axis} ({ctype}) gives no credible wavelengths: set em_min and em_max in the rules"
        )
    return Spectrum(low, high, size)
