"""A FITS file made of parts of other FITS files, its coordinates exact."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from gateway.imaging.hdus import BLOCK

if TYPE_CHECKING:
    from astropy.io.fits import Header

STRUCTURE = "SIMPLE XTENSION BITPIX NAXIS PCOUNT GCOUNT GROUPS EXTEND BLOCKED CHECKSUM DATASUM ZHECKSUM ZDATASUM TFIELDS THEAP".split()
"""Keywords that say how bytes lie in a file; they are written anew."""

WCS_NAMES = ("", *ascii_uppercase)
"""Alternate descriptions of coordinates (FITS 4.0, "World coordinate systems")."""

NAMED = re.compile(r"[A-Z0-9_-]{1,8} *(?<=^.{8})= |(COMMENT |HISTORY |HIERARCH| {8})")
"""How a card begins (FITS 4.0, "Keyword record"); what a source has else becomes a comment."""


@dataclass(frozen=True)
class Piece:
    """HDU of the new file."""

    header: Header
    """Header of the image that the pixels come from, its coordinates moved already."""
    pixels: npt.NDArray[Any] | None
    """As stored, big-endian; ``None``: an HDU without pixels."""


def cut_header(header: Header, box: Sequence[slice]) -> Header:
    """Copy the header of an image for a box of its pixels.

    All its coordinates move with the box (FITS 4.0, CRPIXj), as do the offsets by which observatories tell where a
    part of a detector comes from (LTVi, CNPIXi). Nothing else changes.

    Parameters
    ----------
    box
        Half-open ranges, one for each axis, the last FITS axis first.
    """
    found = header.copy()
    for axis, part in enumerate(reversed(box), start=1):
        if part.start == 0:
            continue
        for name in WCS_NAMES:
            keyword = f"CRPIX{axis}{name}"
            if keyword in found or f"CTYPE{axis}{name}" in found:
                found[keyword] = float(found.get(keyword, 0.0)) - part.start
        if f"LTV{axis}" in found:
            found[f"LTV{axis}"] = float(found[f"LTV{axis}"]) - part.start  # pixel = LTM * place on the detector + LTV
        if f"CNPIX{axis}" in found:
            found[f"CNPIX{axis}"] = found[f"CNPIX{axis}"] + part.start
    return found


def fits_bytes(pieces: Sequence[Piece]) -> Iterator[bytes]:
    """Write a file of HDUs, the first of them primary."""
    for number, piece in enumerate(pieces):
        yield _header_bytes(piece, is_primary=number == 0, has_others=len(pieces) > 1)
        if piece.pixels is not None:
            content = piece.pixels.tobytes()
            yield content
            yield bytes(-len(content) % BLOCK)


def _header_bytes(piece: Piece, *, is_primary: bool, has_others: bool) -> bytes:
    from astropy.io.fits import Header

    pixels = piece.pixels
    shape = () if pixels is None else pixels.shape
    bitpix = 8 if pixels is None else pixels.itemsize * (-8 if pixels.dtype.kind == "f" else 8)
    made = Header()
    if is_primary:
        made["SIMPLE"] = (True, "conforms to FITS standard")
    else:
        made["XTENSION"] = ("IMAGE", "image extension")
    made["BITPIX"] = bitpix
    made["NAXIS"] = len(shape)
    for axis, size in enumerate(reversed(shape), start=1):
        made[f"NAXIS{axis}"] = size
    if not is_primary:
        made["PCOUNT"] = 0
        made["GCOUNT"] = 1
    elif has_others:
        made["EXTEND"] = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy mends what it can of cards against the standard
        for card in piece.header.cards:
            if card.keyword in STRUCTURE or (card.keyword.startswith("NAXIS") and card.keyword[5:].isdigit()):
                continue
            made.append(card if NAMED.match(card.image) else ("COMMENT", card.image.rstrip()), end=True)
        text: str = made.tostring(sep="", endcard=True, padding=True)
    return text.encode("ascii", "replace")
