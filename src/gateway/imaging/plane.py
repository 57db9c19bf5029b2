"""The celestial plane of an image: pixel positions to ICRS and back, distortions and other frames included."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gateway.errors import DatasetError
from gateway.imaging.shapes import Floats, to_vectors

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

EQUINOXES = (1850.0, 2150.0)
"""Equinoxes that are believed, Julian or Besselian years. A bogus one moves the image by tens of degrees."""


@dataclass(frozen=True)
class SkyPlane:
    """Two axes of an image that lie on the sky.

    Pixel positions count from 0 at the centre of the first pixel; the image covers ``[-0.5, nx - 0.5]``.
    """

    wcs: WCS
    """World coordinates of the two axes alone, in the order of the image and in its own frame."""
    lon_axis: int
    """Axis of the image along which longitude is given, counted from 0 in FITS order."""
    lat_axis: int
    shape: tuple[int, int]
    """Pixels along the latitude axis and along the longitude axis, ``(ny, nx)``."""

    @classmethod
    def from_header(cls, header: Header) -> SkyPlane:
        """Read the plane from the header of an image.

        Raises
        ------
        DatasetError
            There is no such plane, or what is said of it cannot be.
        """
        wcs = read_wcs(header, axes=2 if is_sip(header) else None)  # SIP is of the first two axes
        lon, lat = int(wcs.wcs.lng), int(wcs.wcs.lat)
        if lon < 0 or lat < 0:
            raise DatasetError("its header has no celestial coordinates (CTYPE of right ascension and declination)")
        equinox = float(wcs.wcs.equinox)
        if math.isfinite(equinox) and not EQUINOXES[0] <= equinox <= EQUINOXES[1]:
            raise DatasetError(f"EQUINOX = {equinox:g} cannot be: positions would be tens of degrees off")
        try:
            celestial = wcs.celestial
        except Exception as e:
            raise DatasetError(f"its celestial coordinates cannot be used: {_first_line(e)}") from e
        plane = cls(celestial, lon, lat, (int(header[f"NAXIS{lat + 1}"]), int(header[f"NAXIS{lon + 1}"])))
        plane.check()
        return plane

    @cached_property
    def frame(self) -> Any:
        """Frame of the coordinates, as astropy has it."""
        from astropy.wcs.utils import wcs_to_celestial_frame

        try:
            return wcs_to_celestial_frame(self.wcs)
        except ValueError as e:
            raise DatasetError(f"the frame of its coordinates is not known: {_first_line(e)}") from e

    @cached_property
    def scale_deg(self) -> float:
        """Root of the area of a pixel, degrees: of the one nearest the middle that has a position."""
        ny, nx = self.shape
        x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, 33), np.linspace(0, ny - 1, 33)))
        known = np.isfinite(self.to_sky(x, y)[0])
        x, y = x[known], y[known]
        nearest = int(np.argmin(np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2)))
        step = np.array([-0.5, 0.5, 0.0, 0.0])
        left, right, low, high = to_vectors(*self.to_sky(x[nearest] + step, y[nearest] + step[[2, 3, 0, 1]]))
        return float(np.degrees(np.sqrt(np.linalg.norm(np.cross(right - left, high - low)))))

    @cached_property
    def is_full(self) -> bool:
        """Whether pixels spread evenly over the image all have positions."""
        ny, nx = self.shape
        x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, 33), np.linspace(0, ny - 1, 33)))
        return bool(np.isfinite(self.to_sky(x, y)[0]).all())

    @property
    def diameter_deg(self) -> float:
        """Diagonal of the image as its middle pixel measures it, degrees."""
        return math.hypot(*self.shape) * self.scale_deg

    def check(self) -> None:
        """Refuse a plane whose pixels have no positions, or that does not find its own pixels again."""
        ny, nx = self.shape
        if nx < 1 or ny < 1:
            raise DatasetError("it has no pixels")
        x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 5)))
        ra, dec = self.to_sky(x, y)
        known = np.isfinite(ra)
        if not known.any():
            raise DatasetError("its coordinates give no position on the sky for any pixel")
        again = np.hypot(
            *(
                np.subtract(*pair)
                for pair in zip(self.to_pixels(ra[known], dec[known]), (x[known], y[known]), strict=True)
            )
        )
        if not (again < 0.1).any():
            raise DatasetError("its coordinates cannot be inverted: no pixel is found again from its position")

    def to_sky(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Give right ascension in [0, 360) and declination, ICRS degrees, of pixel positions; NaN where there is none."""
        lon, lat = self._forward(x, y)
        known = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90 + 1e-9)
        lon, lat = np.where(known, lon, np.nan), np.where(known, np.clip(lat, -90, 90), np.nan)
        if self.frame.name != "icrs":
            lon, lat = self._transformed(lon, lat, self.frame, "icrs")
        return np.mod(lon, 360.0), lat

    def to_pixels(self, ra: npt.ArrayLike, dec: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Give pixel positions of ICRS positions in degrees; NaN where the projection has none.

        Positions that the projection folds over others (a plane seen from behind) have none either.
        """
        lon, lat = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
        lon, lat = np.atleast_1d(lon), np.atleast_1d(lat)
        if self.frame.name != "icrs":
            lon, lat = self._transformed(lon, lat, "icrs", self.frame)
        x, y = self._inverse(lon, lat)
        with np.errstate(invalid="ignore"):
            back_lon, back_lat = self._forward(x, y)
            east = np.abs(np.mod(back_lon - lon + 180, 360) - 180) * np.cos(np.radians(lat))
            folded = ~(np.hypot(east, back_lat - lat) < FOLDED_DEG)
        return np.where(folded, np.nan, x), np.where(folded, np.nan, y)

    def _forward(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
        return self._in_order(self.wcs.all_pix2world, x, y)

    def _inverse(self, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        if self.wcs.sip is None and self.wcs.cpdis1 is None and self.wcs.det2im1 is None:
            return self._in_order(self.wcs.wcs_world2pix, lon, lat)

        def invert(lon: Floats, lat: Floats, origin: int) -> Any:
            return self.wcs.all_world2pix(lon, lat, origin, quiet=True, tolerance=1e-8, maxiter=50, adaptive=True)

        return self._in_order(invert, lon, lat)

    def _in_order(self, function: Any, one: npt.ArrayLike, other: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Give and take the axis of longitude first, whichever is the image's first."""
        # the axes are not put in order once and for all: astropy cannot do so with distortions
        if self.lon_axis < self.lat_axis:
            return self._quietly(function, one, other)
        second, first = self._quietly(function, other, one)
        return first, second

    def _quietly(self, function: Any, one: npt.ArrayLike, other: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Call wcslib, which refuses all positions where one has no counterpart, and ask it piecewise then."""
        first = np.atleast_1d(np.asarray(one, dtype=np.float64))
        second = np.atleast_1d(np.asarray(other, dtype=np.float64))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                a, b = function(first, second, 0)
            except Exception:  # noqa: BLE001 - as above
                return np.full(first.shape, np.nan), np.full(first.shape, np.nan)
        return np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)

    def _transformed(self, lon: Floats, lat: Floats, source: Any, target: Any) -> tuple[Floats, Floats]:
        from astropy import units
        from astropy.coordinates import SkyCoord

        known = np.isfinite(lon) & np.isfinite(lat)
        out_lon, out_lat = np.full(lon.shape, np.nan), np.full(lat.shape, np.nan)
        if known.any():
            found = SkyCoord(lon[known] * units.deg, lat[known] * units.deg, frame=source).transform_to(target)
            out_lon[known], out_lat[known] = found.spherical.lon.deg, found.spherical.lat.deg
        return out_lon, out_lat


FOLDED_DEG = 1e-3
"""By how much a position may miss itself on the way to pixels and back, degrees: distortions are inverted by iteration, and
what is folded over misses itself by much more."""


def is_sip(header: Header) -> bool:
    """Whether the coordinates are distorted by polynomials of the SIP convention."""
    return "A_ORDER" in header or "B_ORDER" in header


def read_wcs(header: Header, *, axes: int | None = None) -> WCS:
    """Read world coordinates of a header.

    Parameters
    ----------
    axes
        How many of its first axes; ``None``: all. astropy reads distorted planes only by themselves, so that all axes of a
        cube come without the distortion.

    Raises
    ------
    DatasetError
        They cannot be read.
    """
    from astropy.wcs import WCS

    if axes is None and is_sip(header) and max(header.get("NAXIS", 0), header.get("WCSAXES", 0)) > 2:
        header = header.copy()
        header.remove("A_ORDER", ignore_missing=True)
        header.remove("B_ORDER", ignore_missing=True)
        for axis in (1, 2):
            header[f"CTYPE{axis}"] = str(header.get(f"CTYPE{axis}", "")).removesuffix("-SIP")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return WCS(header, naxis=axes)
        except KeyError as e:  # astropy's word for a header that has none, whatever its reason
            raise DatasetError("its header has no world coordinates (CTYPE, CRVAL, CRPIX and CD, PC or CDELT)") from e
        except Exception as e:
            raise DatasetError(f"its world coordinates cannot be read: {_first_line(e)}") from e


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("ERROR")]
    return (lines or [type(error).__name__])[0][:200]
