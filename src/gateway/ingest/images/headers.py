"""Cards of headers as they are in the wild: some cannot be read, and units stand in comments."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from gateway.errors import DatasetError

if TYPE_CHECKING:
    from astropy.io.fits import Header

SECONDS: tuple[tuple[re.Pattern[str], float], ...] = (
    (re.compile(r"\bminutes?\b|[\[(]\s*mins?\.?\s*[\])]", re.IGNORECASE), 60.0),
    (re.compile(r"\bhours?\b|[\[(]\s*h(rs?)?\s*[\])]", re.IGNORECASE), 3600.0),
    (re.compile(r"\bdays?\b|[\[(]\s*d\s*[\])]", re.IGNORECASE), 86_400.0),
    (re.compile(r"\bmilliseconds?\b|\bmsec\b|[\[(]\s*ms\s*[\])]", re.IGNORECASE), 1e-3),
)
"""Words in the comment of a duration, and the seconds that they stand for; without one it is seconds."""

PIXELS = re.compile(r"\bpix(els?)?\b", re.IGNORECASE)
DEGREES = re.compile(r"\bdegrees?\b|[\[(]\s*deg\s*[\])]", re.IGNORECASE)
"""Words in the comment of an angle; without one it is arcseconds."""

UTC = re.compile(r"\bUTC?\b|\(U(T|TC)?\s*\Z")
"""Words in the comment of a date that is UTC, whatever TIMESYS says; comments are cut off at the end of their card."""


COORDINATES = re.compile(r"(CRVAL|CRPIX|CDELT|CROTA)\d|(CD|PC|PV)\d_\d+|(A|B)_(ORDER|\d_\d)|LONPOLE|LATPOLE|EQUINOX")
"""Cards of coordinates that hold a number; wcslib takes a default where it cannot read one, and the image is elsewhere."""


def check_coordinates(header: Header) -> None:
    """Refuse coordinates of which wcslib would read only a part, or make up what is missing.

    Raises
    ------
    DatasetError
        Naming the card.
    """
    for keyword in set(header):
        if COORDINATES.fullmatch(keyword):
            value = card(header, keyword)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise DatasetError(f"its coordinates cannot be used: {keyword} is no number")
    matrix = [card(header, f"CD{i}_{j}") for i in (1, 2) for j in (1, 2) if f"CD{i}_{j}" in header]
    if matrix and not any(matrix):
        raise DatasetError("its coordinates cannot be used: all numbers of its CD matrix are zero")


def card(header: Header, keyword: str) -> Any:
    """Value of a card; ``None`` if there is none, it is blank, or it is no FITS value."""
    from astropy.io.fits import VerifyError

    try:
        value = header.get(keyword)
    except (VerifyError, ValueError):
        return None
    return None if value is None or (isinstance(value, str) and not value.strip()) else value


def comment(header: Header, keyword: str) -> str:
    """Comment of a card; empty if there is none."""
    from astropy.io.fits import VerifyError

    try:
        return str(header.comments[keyword]) if keyword in header else ""
    except (VerifyError, ValueError):
        return ""


def seconds(text: str) -> float:
    """Length of the unit that the comment of a duration names, seconds."""
    return next((length for pattern, length in SECONDS if pattern.search(text)), 1.0)
