"""Cut pixels out of files: what runs in a child process that can be killed (decision 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.errors import BackendUnavailableError, DatasetError, NotFoundError, UsageError
from gateway.imaging.assemble import Piece, cut_header, fits_bytes
from gateway.imaging.hdus import Hdu, HduRecord, read_pixels, scan, with_frame
from gateway.imaging.plane import SkyPlane
from gateway.imaging.window import Window, pixel_window, whole
from gateway.storage.sources import Stamp, source, unpacked
from gateway.vo.shapes import parse_pos


@dataclass(frozen=True)
class _Plane:
    role: str
    location: str
    hdu: Hdu


def cut_file(
    *,
    root: str,
    files: Mapping[str, Mapping[str, Any]],
    planes: Sequence[Mapping[str, Any]],
    region: str | None,
    header: Mapping[str, Any],
    notes: Sequence[str],
    most_pixels: int,
    limit: str,
    output: str,
) -> dict[str, Any]:
    """Cut one dataset into a FITS file.

    Parameters
    ----------
    root
        Folder or URL below which the files lie.
    files
        What ingest found in each, by path; looked at again where the file has changed since.
    planes
        Role, path and HDU of the science image, then of what belongs to it.
    region
        As ``POS`` spells it; ``None``: all of the image.
    header
        Cards that are wrong or missing in the files.
    notes
        What the file tells of its origin.
    most_pixels
        Pixels of all planes together.
    limit
        What has this limit, in words.
    output
        Where the file goes.
    """
    stamps: dict[str, Stamp] = {}
    records = {path: _current(f"{root}/{path}", file, header, stamps) for path, file in files.items()}
    parts = [_plane(root, plane, records) for plane in planes]
    science = parts[0]
    primary = records[planes[0]["path"]][0]
    sky = SkyPlane.from_header(with_frame(science.hdu, Hdu(primary)))
    window = whole(sky) if region is None else pixel_window(sky, parse_pos(region, can_be_point=True))
    fitting = [part for part in parts if part.hdu.shape[-2:] == science.hdu.shape[-2:]]
    boxes = [_box(part.hdu, sky, window) for part in fitting]
    pixels = sum(_count(box) for box in boxes)
    if pixels > most_pixels:
        raise UsageError(
            f"the cutout has {pixels:,} pixels in {len(fitting)} planes, more than the {most_pixels:,} that {limit}; "
            "choose a smaller region"
        )
    pieces = list(_pieces(fitting, boxes, primary, notes))
    if any(source(location).stamp() != stamp for location, stamp in stamps.items()):
        raise BackendUnavailableError("the file of this dataset is being replaced; try again in a moment")
    with Path(output).open("wb") as file:
        size = sum(file.write(piece) for piece in fits_bytes(pieces))
    return {"pixels": pixels, "size": size}


def _current(
    location: str, file: Mapping[str, Any], header: Mapping[str, Any], stamps: dict[str, Stamp]
) -> tuple[HduRecord, ...]:
    """HDU records of a file as it is now; notes its stamp."""
    place = source(location)
    try:
        stamps[location] = place.stamp()
        if stamps[location] == Stamp.from_json(file["stamp"]):
            return tuple(HduRecord.from_json(record) for record in file["hdus"])
        with unpacked(place) as content:
            return tuple(record.with_cards(header) for record in scan(content))
    except NotFoundError as e:
        raise DatasetError("the file of this dataset is no longer in the archive") from e
    except DatasetError as e:
        raise DatasetError(f"the file of this dataset has been replaced, and {e.message}") from e


def _plane(root: str, plane: Mapping[str, Any], records: Mapping[str, Sequence[HduRecord]]) -> _Plane:
    found = records.get(plane["path"], ())
    number = plane["hdu"]
    if number >= len(found) or not found[number].is_image:
        raise DatasetError(f"the file of this dataset has been replaced: its HDU {number} is no longer an image")
    return _Plane(plane["role"], f"{root}/{plane['path']}", Hdu(found[number]))


def _box(hdu: Hdu, sky: SkyPlane, window: Window) -> list[slice]:
    """Range along each axis of an image, the last FITS axis first: the window on the sky, all of the others."""
    box = [slice(0, size) for size in hdu.shape]
    box[-1 - sky.lon_axis] = slice(window.x0, window.x1)
    box[-1 - sky.lat_axis] = slice(window.y0, window.y1)
    return box


def _count(box: Sequence[slice]) -> int:
    count = 1
    for part in box:
        count *= part.stop - part.start
    return count


def _pieces(
    parts: Sequence[_Plane], boxes: Sequence[Sequence[slice]], first: HduRecord, notes: Sequence[str]
) -> Iterator[Piece]:
    """HDUs of the new file: the primary header of the science image's, then the planes."""
    names: set[str] = set()
    for number, (part, box) in enumerate(zip(parts, boxes, strict=True)):
        header = cut_header(part.hdu.header, box)
        if number == 0:
            if part.hdu.number != 0:
                yield Piece(_with_notes(Hdu(first).header.copy(), notes), None)
            else:
                header = _with_notes(header, notes)
        elif not part.hdu.name or part.hdu.name in names:  # three files whose images have one name
            header["EXTNAME"] = part.role.upper()
        names.add(str(header.get("EXTNAME", "")).upper())
        with unpacked(source(part.location)) as content:
            yield Piece(header, read_pixels(content, part.hdu.record, box))


def _with_notes(header: Any, notes: Sequence[str]) -> Any:
    header["HISTORY"] = f"Cutout by vo-gateway {__version__} (SODA 1.0)"
    for note in notes:
        header["HISTORY"] = note
    return header
