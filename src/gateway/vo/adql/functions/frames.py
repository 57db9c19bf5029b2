"""Reference frames of the sky and the rotations between them.

Names are those of the IVOA's vocabulary ``refframe``. Simple rotations only, as the catalogue of user-defined functions asks for:
no terms of aberration (FK4), no motion of the frames. Equinoxes: FK4 B1950, FK5 and ECLIPTIC J2000.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

ARCSECOND = math.radians(1 / 3600)
"""In radians."""


def about(axis: int, angle: float) -> Matrix:
    """Turn the axes of a frame about one of them.

    Parameters
    ----------
    axis
        0, 1 or 2 for x, y or z.
    angle
        Radians.
    """
    cosine, sine = math.cos(angle), math.sin(angle)
    if axis == 0:
        return ((1.0, 0.0, 0.0), (0.0, cosine, sine), (0.0, -sine, cosine))
    if axis == 1:
        return ((cosine, 0.0, -sine), (0.0, 1.0, 0.0), (sine, 0.0, cosine))
    return ((cosine, sine, 0.0), (-sine, cosine, 0.0), (0.0, 0.0, 1.0))


def product(*matrices: Matrix) -> Matrix:
    """Product of matrices; the last one is applied first."""
    result = matrices[0]
    for matrix in matrices[1:]:
        columns = tuple(zip(*matrix, strict=True))
        result = _matrix(
            [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in result]
        )
    return result


def transposed(matrix: Matrix) -> Matrix:
    """Transpose a matrix, which inverts a rotation."""
    return _matrix([list(column) for column in zip(*matrix, strict=True)])


def _matrix(rows: list[list[float]]) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = rows
    return (a, b, c), (d, e, f), (g, h, i)


def _with_pole(ra: float, dec: float, node: float) -> Matrix:
    """Rotation to a frame of which the north pole and the longitude of the old pole are known, degrees."""
    return product(about(2, math.radians(180 - node)), about(1, math.radians(90 - dec)), about(2, math.radians(ra)))


FK5 = product(about(0, 0.0199 * ARCSECOND), about(1, 0.0091 * ARCSECOND), about(2, -0.0229 * ARCSECOND))
"""ICRS to FK5 J2000, from the adopted offsets of pole and origin (Hilton and Hohenkerk 2004; IERS 1997)."""

GALACTIC = product(_with_pole(192.8594812065348, 27.12825118085622, 122.9319185680026), FK5)
"""ICRS to galactic, from the pole and node in FK5 J2000 (Reid and Brunthaler 2004, Appendix)."""

FK4 = product(transposed(_with_pole(192.25, 27.4, 123.0)), GALACTIC)
"""ICRS to FK4 B1950 through galactic coordinates, which are defined in it (Blaauw et al. 1960)."""

ECLIPTIC = product(about(2, 0.041775 * ARCSECOND), about(0, 84381.412819 * ARCSECOND), about(2, -0.052928 * ARCSECOND))
"""ICRS to the mean ecliptic and equinox of J2000 (IAU 2006 precession with its frame bias, Capitaine and Wallace 2006)."""

SUPER_GALACTIC = product(_with_pole(47.37, 6.32, 90.0), GALACTIC)
"""ICRS to supergalactic (de Vaucouleurs et al. 1976: the pole is at galactic 47.37, 6.32; longitude 0 at 137.37, 0)."""

FROM_ICRS: Mapping[str, Matrix] = {
    "ICRS": about(0, 0.0),
    "FK5": FK5,
    "FK4": FK4,
    "GALACTIC": GALACTIC,
    "ECLIPTIC": ECLIPTIC,
    "SUPER_GALACTIC": SUPER_GALACTIC,
}
"""Rotation from ICRS to each frame."""


def rotation(source: str, target: str) -> Matrix:
    """Rotation from one frame to another, both names as in `FROM_ICRS`."""
    return product(FROM_ICRS[target], transposed(FROM_ICRS[source]))
