"""From headers to a row of ObsCore."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway.imaging.footprint import Footprint
from gateway.imaging.hdus import Hdu
from gateway.imaging.plane import read_wcs
from gateway.ingest.images.headers import DEGREES, PIXELS, card, comment, seconds
from gateway.ingest.images.roles import Science
from gateway.ingest.images.rules import COLUMN_TYPES, POSITIVE, Rules, check_value
from gateway.ingest.images.spectral import spectrum
from gateway.ingest.images.times import times
from gateway.vo.obscore import FROM_RULES, Observation, pol_states

if TYPE_CHECKING:
    from astropy.io.fits import Header

USUAL: dict[str, tuple[str, ...]] = {
    "target_name": ("OBJECT", "TARGNAME", "TARGET"),
    "facility_name": ("TELESCOP", "OBSERVAT", "FACILITY"),
    "instrument_name": ("INSTRUME", "INSTRUMENT", "DETECTOR"),
    "obs_id": ("OBSID", "OBS_ID", "OBSERVID", "EXPID", "VISIT"),
    "o_unit": ("BUNIT",),
    "s_resolution": ("SEEING", "PSF_FWHM"),
    "obs_title": ("TITLE",),
}
"""Header keywords of columns, the first that says something counts."""

STOKES = {
    1: "I",
    2: "Q",
    3: "U",
    4: "V",
    -1: "RR",
    -2: "LL",
    -3: "RL",
    -4: "LR",
    -5: "XX",
    -6: "YY",
    -7: "XY",
    -8: "YX",
}
"""Values of a STOKES axis (FITS 4.0, "Conventional coordinate types")."""

PIXEL_UCDS = (
    ("jy/beam", "phot.flux.density"),
    ("jy", "phot.flux.density"),
    ("erg/s/cm", "phot.flux.density;em.wl"),
    ("mag", "phot.mag"),
    ("adu", "phot.count"),
    ("count", "phot.count"),
    ("electron", "phot.count"),
    ("dn", "phot.count"),
)
"""UCD of pixels whose unit contains a word."""

CALIBRATED = 2
"""``calib_level`` where nothing is said: an image with coordinates is science ready."""

COMBINED = 3
"""``calib_level`` of an image that was made from others."""


def observation(
    science: Science, primary: Hdu, footprint: Footprint, rules: Rules, *, obs_id: str, is_combined: bool
) -> tuple[Observation, list[str]]:
    """Describe a science image.

    Parameters
    ----------
    obs_id
        Used where neither rules nor header name the observation.
    is_combined
        Whether it was made from other images.

    Returns
    -------
    tuple
        The row, and what could not be found out.
    """
    hdu = science.hdu
    header = inherited(hdu, primary)
    notes: list[str] = []
    light, when = spectrum(hdu, header, rules), times(header)
    if light.note and "em_min" not in rules.columns:
        notes.append(light.note)
    states = _polarization(hdu)
    unit = str(card(header, "BUNIT") or "").lower()
    made = Observation(
        dataproduct_type="cube" if sum(size > 1 for size in hdu.shape) > 2 else "image",
        calib_level=COMBINED if is_combined else CALIBRATED,
        obs_id=obs_id,
        s_ra=footprint.ra,
        s_dec=footprint.dec,
        s_fov=footprint.diameter,
        s_region=None
        if footprint.polygon is None
        else tuple(n for vertex in footprint.polygon.vertices for n in vertex),
        s_xel1=science.plane.shape[1],
        s_xel2=science.plane.shape[0],
        s_pixel_scale=footprint.pixel_scale,
        t_min=when.t_min,
        t_max=when.t_max,
        t_exptime=when.t_exptime,
        t_xel=None if when.t_min is None else 1,
        em_min=light.em_min,
        em_max=light.em_max,
        em_xel=light.em_xel,
        o_ucd=next((ucd for word, ucd in PIXEL_UCDS if word in unit), None),
        pol_states=pol_states(states),
        pol_xel=len(states),
    )
    said = {name: found for name in sorted(FROM_RULES) if (found := _said(name, header, rules)) is not None}
    if "s_resolution" not in said and (beam := _beam(header)) is not None:
        said["s_resolution"] = beam
    changes = {}
    for name, one in said.items():
        try:
            changes[name] = one.typed(name, footprint.pixel_scale)
        except ValueError as e:
            notes.append(f"{one.keyword}: {e}")
    return replace(made, **changes), notes


@dataclass(frozen=True, slots=True)
class _Said:
    """Value that the rules or a card give."""

    value: Any
    keyword: str | None = None
    comment: str = ""

    def typed(self, name: str, pixel_scale: float) -> Any:
        """Give it the column's type and unit.

        Raises
        ------
        ValueError
            It cannot be a value of the column.
        """
        value = typed(name, self.value)
        if self.keyword is None:
            return value
        if name == "s_resolution":
            return value * (pixel_scale if PIXELS.search(self.comment) else 3600 if DEGREES.search(self.comment) else 1)
        if name == "t_exptime":
            return value * seconds(self.comment)
        return value


def inherited(hdu: Hdu, primary: Hdu) -> Header:
    """Header of an image with the cards of the primary header behind it."""
    if hdu.number == primary.number:
        return hdu.header
    found = hdu.header.copy()
    for one in primary.header.cards:
        if one.keyword not in found and one.keyword not in {"", "COMMENT", "HISTORY"}:
            found.append(one, end=True)
    return found


def _said(name: str, header: Header, rules: Rules) -> _Said | None:
    """Value of a column from the rules, else from a keyword; ``None`` if neither says anything."""
    if name in rules.columns:
        return _Said(rules.columns[name])
    for keyword in (*rules.keywords.get(name, ()), *USUAL.get(name, ())):
        value = card(header, keyword)
        is_unknown = name in POSITIVE and value == 0
        if value is not None and not isinstance(value, bool) and not is_unknown:
            return _Said(value.strip() if isinstance(value, str) else value, keyword, comment(header, keyword))
    return None


def _beam(header: Header) -> _Said | None:
    """Width of a radio telescope's beam, whose axes are in degrees (AIPS memo 117, in use everywhere)."""
    axes = [card(header, keyword) for keyword in ("BMAJ", "BMIN")]
    if not all(isinstance(axis, int | float) and axis > 0 for axis in axes):
        return None
    return _Said(math.sqrt(axes[0] * axes[1]) * 3600, "BMAJ")


def typed(name: str, value: Any) -> Any:
    """Value of a column, of its type.

    Raises
    ------
    ValueError
        It cannot be one.
    """
    if COLUMN_TYPES[name].startswith("str"):
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r}: give a number") from None
    check_value(name, number)
    return int(number) if COLUMN_TYPES[name].startswith("int") else number


def _polarization(hdu: Hdu) -> list[str]:
    """States of a STOKES axis."""
    naxis = int(hdu.header["NAXIS"])
    axis = next((n for n in range(1, naxis + 1) if str(hdu.header.get(f"CTYPE{n}", "")).strip() == "STOKES"), None)
    if axis is None:
        return []
    wcs = read_wcs(hdu.header).wcs
    values = (
        wcs.crval[axis - 1] + wcs.cdelt[axis - 1] * (n + 1 - wcs.crpix[axis - 1]) for n in range(hdu.shape[-axis])
    )
    return [STOKES[code] for value in values if (code := round(value)) in STOKES]
