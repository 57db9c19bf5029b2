"""Which HDUs of a file are science images, and which planes belong to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import DatasetError
from gateway.imaging.hdus import Hdu, with_frame
from gateway.imaging.plane import SkyPlane
from gateway.ingest.images.headers import check_coordinates
from gateway.ingest.images.rules import Role, Rules

if TYPE_CHECKING:
    pass

USUAL: tuple[tuple[Role, re.Pattern[str]], ...] = (
    (Role.MASK, re.compile(r"(BAD)?(PIX)?(MASK|DQ|BPM|BADPIX|FLAGS?|QUAL(ITY)?)[_.-]?\d*")),
    (Role.VARIANCE, re.compile(r"(VARIANCE|VAR|STAT)[_.-]?\d*")),
    (Role.WEIGHT, re.compile(r"(WEIGHT|WHT|WGT|WT|IVAR|INVVAR|INV_?VAR(IANCE)?)(MAP)?[_.-]?\d*")),
    (Role.UNCERTAINTY, re.compile(r"(ERR|ERROR|SIGMA|UNC|UNCERT(AINTY)?|RMS|NOISE)[_.-]?\d*")),
)
"""Names by which surveys call what is not the image itself."""


@dataclass(frozen=True)
class Science:
    """Science image, with the planes of the same file that belong to it."""

    hdu: Hdu
    plane: SkyPlane
    others: tuple[tuple[Role, Hdu], ...]


def science_images(hdus: Sequence[Hdu], rules: Rules) -> tuple[list[Science], list[str]]:
    """Find the science images of a file, and say why its other images are none.

    Returns
    -------
    tuple
        Science images in the order of the file; one line for each image that was passed over.
    """
    images = [hdu for hdu in hdus if hdu.record.is_image and sum(size > 1 for size in hdu.shape) >= 2]
    roles = {hdu.number: role_of(hdu, rules) for hdu in images}
    found: list[tuple[Hdu, SkyPlane]] = []
    notes: list[str] = []
    for hdu in images:
        if roles[hdu.number] is not Role.SCIENCE:
            continue
        try:
            header = with_frame(hdu, hdus[0])
            check_coordinates(header)
            found.append((hdu, SkyPlane.from_header(header)))
        except DatasetError as e:
            notes.append(f"{label(hdu)}: {e.message}")
    others: dict[int, list[tuple[Role, Hdu]]] = {hdu.number: [] for hdu, _ in found}
    for hdu in images:
        role = roles[hdu.number]
        if role in {Role.SCIENCE, Role.IGNORED}:
            continue
        owner = _owner(hdu, [science for science, _ in found])
        if owner is None:
            notes.append(f"{label(hdu)}: a {role} that fits no science image of the file")
        else:
            others[owner.number].append((role, hdu))
    return [Science(hdu, plane, tuple(others[hdu.number])) for hdu, plane in found], notes


def role_of(hdu: Hdu, rules: Rules) -> Role:
    """Tell what an image is by its names; what has no telling name is taken for science."""
    names = [name for name in (hdu.name, str(hdu.header.get("EXTTYPE", "")).strip().upper()) if name]
    if (role := rules.role(names or [""])) is not None:
        return role
    return next((role for role, pattern in USUAL for name in names if pattern.fullmatch(name)), Role.SCIENCE)


def _owner(hdu: Hdu, sciences: Sequence[Hdu]) -> Hdu | None:
    """Science image of the same size: of the same EXTVER, else the nearest before, else the nearest after."""
    fitting = [science for science in sciences if science.shape[-2:] == hdu.shape[-2:]]
    same = [
        science
        for science in fitting
        if "EXTVER" in hdu.header and science.header.get("EXTVER") == hdu.header["EXTVER"]
    ]
    candidates = same or fitting
    before = [science for science in candidates if science.number < hdu.number]
    return before[-1] if before else next(iter(candidates), None)


def label(hdu: Hdu) -> str:
    """Name an HDU for people."""
    return f"HDU {hdu.number} {hdu.name}".strip()
