"""When an image was taken: MJD, UTC."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.ingest.images.headers import UTC, card, comment, seconds

if TYPE_CHECKING:
    from astropy.io.fits import Header

DAY_S = 86_400.0
CREDIBLE_MJD = (-20_000.0, 100_000.0)
"""Instants that are believed: the year 1804 to the year 2132."""

STARTS = ("MJD-BEG", "MJD-OBS", "MJDSTART", "DATE-BEG", "DATE-OBS", "MJD_OBS", "DATE_OBS")
ENDS = ("MJD-END", "MJDEND", "DATE-END", "DATE_END")
EXPOSURES = ("XPOSURE", "EXPTIME", "EXPOSURE", "EXP_TIME", "TEXPTIME", "ITIME")
CLOCKS = ("TIME-OBS", "UT", "UTC-OBS", "UTSTART")
OLD_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{2})\Z")


@dataclass(frozen=True, slots=True)
class Times:
    """Start and end, MJD in UTC, and exposure, seconds."""

    t_min: float | None = None
    t_max: float | None = None
    t_exptime: float | None = None


def times(header: Header) -> Times:
    """Find when an image was taken (FITS 4.0, "Time coordinates").

    Parameters
    ----------
    header
        Header of the image, the primary header's cards behind it.
    """
    scale = str(header.get("TIMESYS", "UTC")).strip().lower()
    start = next((found for keyword in STARTS if (found := _instant(header, keyword, scale)) is not None), None)
    end = next((found for keyword in ENDS if (found := _instant(header, keyword, scale)) is not None), None)
    exposure = next((found for keyword in EXPOSURES if (found := _exposure(header, keyword)) is not None), None)
    if start is not None and end is None:
        end = start + (exposure or 0.0) / DAY_S
    if start is not None and end is not None and end < start:
        end = start
    return Times(start, end if start is not None else None, exposure)


def _exposure(header: Header, keyword: str) -> float | None:
    """Seconds, in whatever unit the comment has them; zero and less say that it is not known."""
    try:
        number = float(card(header, keyword)) * seconds(comment(header, keyword))
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _instant(header: Header, keyword: str, scale: str) -> float | None:
    """MJD, UTC, of a keyword; ``None`` where it says nothing that can be read or believed."""
    value = card(header, keyword)
    if value is None:
        return None
    if UTC.search(comment(header, keyword)):
        scale = "utc"
    from astropy.time import Time

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if keyword.startswith("MJD"):
                found = Time(float(value), format="mjd", scale=_scale(scale))
            else:
                found = Time(_iso(str(value), header), format="isot", scale=_scale(scale))
            mjd = float(found.utc.mjd)
        except Exception:  # noqa: BLE001 - astropy has many words for what is no time
            return None
    return mjd if CREDIBLE_MJD[0] < mjd < CREDIBLE_MJD[1] else None


def _scale(word: str) -> str:
    known = {"ut": "utc", "utc": "utc", "tai": "tai", "tt": "tt", "et": "tt", "tdb": "tdb", "tcb": "tcb", "tcg": "tcg"}
    return known.get(word, "utc")


def _iso(text: str, header: Header) -> str:
    text = text.strip()
    if old := OLD_DATE.match(text):  # before 1999 dates were written day/month/year
        text = f"19{old[3]}-{int(old[2]):02}-{int(old[1]):02}"
    if "T" not in text:
        clock = next((str(found).strip() for k in CLOCKS if (found := card(header, k)) is not None), "")
        text += f"T{clock}" if re.match(r"\d{1,2}:\d{2}(:\d{2}(\.\d*)?)?\Z", clock) else "T00:00:00"
    return text.removesuffix("Z")
