"""One file of images: what is in it, and why it is not taken."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gateway.errors import DatasetError
from gateway.imaging.footprint import Footprint, footprint
from gateway.imaging.hdus import Hdu, HduRecord, scan
from gateway.imaging.shapes import to_vectors
from gateway.ingest.images.headers import card
from gateway.ingest.images.observations import inherited, observation
from gateway.ingest.images.roles import Science, label, science_images
from gateway.ingest.images.rules import Role, Rules
from gateway.sky.cells import footprint_cells, sampled_cells
from gateway.storage.sources import Stamp, source, unpacked
from gateway.vo.obscore import Observation

if TYPE_CHECKING:
    from astropy.io.fits import Header


HDU_SUFFIX = re.compile(r"(\[[^\]]*\])+\Z")
"""HDU in the name of a file, as IRAF and CFITSIO write it."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Science image that a file holds."""

    hdu: int
    shape: tuple[int, ...]
    observation: Observation
    planes: tuple[tuple[Role, int], ...]
    """HDUs of the same file that belong to it."""
    progenitors: tuple[str, ...]
    cells: list[int]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file holds."""

    stamp: Stamp
    records: tuple[HduRecord, ...]
    images: tuple[Found, ...]
    notes: tuple[str, ...] = field(default=())

    def shape(self, hdu: int) -> tuple[int, ...]:
        """Size of the image in an HDU; empty if there is none."""
        return Hdu(self.records[hdu]).shape if hdu < len(self.records) else ()


def inspect(location: str, rules: Rules, *, obs_id: str, is_companion: bool = False) -> Inspection:
    """Look into a file.

    Parameters
    ----------
    obs_id
        Name of the observation where neither rules nor header have one.
    is_companion
        Whether its images belong to those of another file.

    Raises
    ------
    DatasetError
        It holds no image that can be placed on the sky; the text says why.
    """
    file = source(location)
    stamp = file.stamp()
    with unpacked(file) as content:
        records = tuple(record.with_cards(rules.header) for record in scan(content))
    hdus = [Hdu(record) for record in records]
    if is_companion:
        return Inspection(stamp=stamp, records=records, images=())
    sciences, notes = science_images(hdus, rules)
    if not sciences:
        raise DatasetError("; ".join(notes) or "it holds no image of two dimensions")
    images = []
    for science in sciences:
        try:
            found, doubts = _look(science, hdus[0], rules, obs_id)
        except DatasetError as e:
            notes.append(f"{label(science.hdu)}: {e.message}")
            continue
        images.append(found)
        notes += doubts
    if not images:
        raise DatasetError("; ".join(dict.fromkeys(notes)))
    return Inspection(stamp=stamp, records=records, images=tuple(images), notes=tuple(dict.fromkeys(notes)))


def _look(science: Science, primary: Hdu, rules: Rules, obs_id: str) -> tuple[Found, list[str]]:
    """Describe a science image, and say what could not be found out."""
    place = footprint(science.plane)
    progenitors = _progenitors(inherited(science.hdu, primary), rules)
    row, doubts = observation(science, primary, place, rules, obs_id=obs_id, is_combined=bool(progenitors))
    found = Found(
        hdu=science.hdu.number,
        shape=science.hdu.shape,
        observation=row,
        planes=tuple((role, hdu.number) for role, hdu in science.others),
        progenitors=progenitors,
        cells=_cells(place),
    )
    return found, doubts


def dataset_key(collection: str, path: str, hdu: int) -> str:
    """Short, opaque and stable key of a dataset: 80 bits of a hash of what identifies it."""
    digest = hashlib.blake2b("\0".join((collection, path, str(hdu))).encode(), digest_size=10).digest()
    return base64.b32encode(digest).decode().lower()


def _cells(place: Footprint) -> list[int]:
    if place.polygon is not None:
        return footprint_cells(place.polygon)
    return sampled_cells(np.asarray(to_vectors(*place.samples)), place.spacing)


def _progenitors(header: Header, rules: Rules) -> tuple[str, ...]:
    """Names of files as the cards give them, without the HDU that may follow in brackets."""
    names = (card(header, keyword) for keyword in header[rules.progenitors.keywords])
    return tuple(dict.fromkeys(path for name in names if (path := HDU_SUFFIX.sub("", str(name or "").strip()))))
