"""Rows of the image catalog without files: what searches and look-ups find, put straight into the tables."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
import numpy as np

from gateway.db.images import pack
from gateway.db.schema.images import STORED
from gateway.sky.cells import footprint_cells, numbers, sampled_cells
from gateway.vo.obscore import SCHEMA, TABLE
from gateway.vo.regions import Circle, Polygon, Range, Region
from gateway.vo.tableset import Tableset
from tests.sky import judge
from tests.sky.boxes import brute

COLLECTION = "survey"
FILE = 1
NAMES = ("key", "file_id", "hdu", "planes", "progenitors", *(column.name for column in STORED), "cells")


def tableset() -> Tableset:
    """The tables that `migrate` publishes, without a database."""
    from gateway.db.schema.images import OBSCORE

    assert (OBSCORE.name, OBSCORE.tables[0].name) == (SCHEMA, TABLE)
    return Tableset((OBSCORE,))


def dataset(number: int, *, cells: Sequence[int], **columns: Any) -> dict[str, Any]:
    """Row of a dataset: what is not given has a plain value where it must have one, else none."""
    return {
        "key": f"key{number:06d}",
        "file_id": FILE,
        "hdu": number,
        "planes": "[]",
        "progenitors": [],
        **dict.fromkeys(column.name for column in STORED),
        "dataproduct_type": "image",
        "calib_level": 2,
        "obs_collection": COLLECTION,
        "obs_id": f"o{number}",
        "obs_publisher_did": f"ivo://Example.org/Survey?key{number:06d}",
        "pol_xel": 0,
        "cells": list(cells),
        **columns,
    }


def at(number: int, polygon: Iterable[tuple[float, float]] | np.ndarray, **columns: Any) -> dict[str, Any]:
    """Row of a dataset with this footprint, its cells as ingest makes them."""
    vertices = np.asarray(list(polygon), dtype=float)
    region = Polygon(tuple((float(ra), float(dec)) for ra, dec in vertices))
    return dataset(number, s_region=vertices.ravel().tolist(), cells=footprint_cells(region), **columns)


@functools.cache
def cells_north_of(dec: float) -> list[int]:
    """Cells of a footprint beyond a hemisphere, as ingest makes them: from positions in it."""
    samples = np.random.default_rng(1).uniform(-1, 1, 4000)
    positions = np.column_stack([np.arange(4000) * 137.508 % 360, np.degrees(np.arcsin(samples))])
    vectors = judge.vectors(*positions[positions[:, 1] > dec].T).astype(float)
    return sampled_cells(vectors, 3.0)


def north_of(number: int, dec: float, **columns: Any) -> dict[str, Any]:
    """Row of a dataset that shows all the sky north of a declination, more than a hemisphere."""
    return dataset(number, s_region=None, cells=cells_north_of(dec), **columns)


def tiny(count: int, *, first: int, depth: int = 11, seed: int = 5) -> list[dict[str, Any]]:
    """Rows with footprints of a few arcseconds all over the sky, each within one HEALPix cell, which is then its cover."""
    from gateway.sky.index import cell_centres

    cells = np.random.default_rng(seed).integers(0, 12 * 4**depth, count)
    x, y, z = cell_centres(cells, depth).T
    ra, dec = np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))
    stored = [numbers(cells, np.full(count, depth))]
    stored += [-numbers(cells >> 2 * up, np.full(count, depth - up)) for up in range(1, depth + 1)]
    half, wide = 1e-3, 1e-3 / np.cos(np.radians(dec))
    corners = [(ra - wide) % 360, dec - half, (ra + wide) % 360, dec - half, ra, np.minimum(dec + half, 90)]
    outlines, covers = np.column_stack(corners).tolist(), np.sort(np.column_stack(stored), axis=1).tolist()
    return [
        dataset(first + n, s_region=outline, cells=cover, s_ra=float(a), s_dec=float(d))
        for n, (outline, cover, a, d) in enumerate(zip(outlines, covers, ra, dec, strict=True))
    ]


async def store(
    url: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    collection: str = COLLECTION,
    files: Sequence[Mapping[str, Any]] = ({"id": FILE, "path": "a.fits"},),
    rules: Mapping[str, Any] | None = None,
) -> None:
    """Put rows into a migrated database, with their collection and files."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO gateway_images.collection (name, root, rules) VALUES ($1, $2, $3)",
            collection,
            "/archive",
            json.dumps(rules or {}),
        )
        for file in files:
            await connection.execute(
                "INSERT INTO gateway_images.file (id, collection, path, size, modified, etag, rules_digest)"
                " OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, '')",
                file["id"],
                collection,
                file["path"],
                file.get("size", 2880),
                file.get("modified"),
                file.get("etag"),
            )
            await connection.executemany(
                "INSERT INTO gateway_images.hdu (file_id, number, record) VALUES ($1, $2, $3)",
                [(file["id"], number, pack(record)) for number, record in enumerate(file.get("hdus", ()))],
            )
        await connection.copy_records_to_table(
            "dataset",
            schema_name="gateway_images",
            columns=NAMES,
            records=[tuple(row[name] for name in NAMES) for row in rows],
        )
        await connection.execute("ANALYZE gateway_images.dataset")
    finally:
        await connection.close()


def store_now(url: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """The same outside of an event loop."""
    asyncio.run(store(url, rows, **more))


MARGIN = 1e-9
"""Degrees within which brute force and the product may differ over what touches."""


def meets(region: Region, polygon: np.ndarray) -> bool | None:
    """Whether a region and a footprint have a position in common; ``None`` where they only just do or do not."""
    if is_far(region, polygon):
        return False
    match region:
        case Circle():
            centre = np.array([(region.ra, region.dec)])
            distance = float(judge.rim_distance(centre, polygon)[0])
            if bool(judge.in_polygon(centre, polygon)[0]) and distance > MARGIN:
                return True
            return None if abs(distance - region.radius) < MARGIN else distance < region.radius
        case Range():
            return brute(polygon, (region.ra_min, region.ra_max, region.dec_min, region.dec_max))
        case _:
            other = np.array(region.vertices)
            near = min(judge.rim_distance(polygon, other).min(), judge.rim_distance(other, polygon).min())
            if near < MARGIN:
                return None
            inside = judge.in_polygon(polygon, other).any() or judge.in_polygon(other, polygon).any()
            return bool(inside or rims_cross(polygon, other))


def is_far(region: Region, polygon: np.ndarray) -> bool:
    """Whether the circle around a footprint is clear of a region, so that nothing else needs to be asked."""
    ra, dec, reach = cap(polygon.tobytes())
    match region:
        case Circle():
            return angle(ra, dec, region.ra, region.dec) > region.radius + reach
        case Polygon(vertices=vertices):
            other_ra, other_dec, other_reach = cap(np.array(vertices).tobytes())
            return angle(ra, dec, other_ra, other_dec) > other_reach + reach
        case Range():
            if dec + reach < region.dec_min or dec - reach > region.dec_max:
                return True
            if abs(dec) + reach >= 90 or reach >= 90:
                return False
            width = (region.ra_max - region.ra_min) % 360 if region.ra_max - region.ra_min < 360 else 360.0
            half = math.degrees(math.asin(math.sin(math.radians(reach)) / math.cos(math.radians(dec))))
            return width + 2 * half < 360 and (ra + half - region.ra_min) % 360 > width + 2 * half


@functools.cache
def cap(polygon: bytes) -> tuple[float, float, float]:
    """Circle, a little too large, around the vertices and so around the edges; all the sky beyond a hemisphere."""
    vertices = np.frombuffer(polygon).reshape(-1, 2)
    x, y, z = judge.vectors(*vertices.T).astype(float).sum(axis=0)
    ra, dec = math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))
    reach = max(angle(ra, dec, *vertex) for vertex in vertices) + 1e-5
    return ra, dec, reach if reach < 89 else 180.0


def angle(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Distance of two positions, degrees."""
    turn, d1, d2 = (math.radians(value) for value in (ra2 - ra1, dec1, dec2))
    half = math.sin((d2 - d1) / 2) ** 2 + math.cos(d1) * math.cos(d2) * math.sin(turn / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(min(half, 1.0))))


def rims_cross(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether an edge of one polygon crosses an edge of the other: the ends of each on both sides of the other."""
    p, q = judge.vectors(*one.T), judge.vectors(*other.T)
    for (a, b), (c, d) in itertools.product(_edges(p), _edges(q)):
        n, m = np.cross(a, b), np.cross(c, d)
        if (n @ c) * (n @ d) < 0 and (m @ a) * (m @ b) < 0 and _same_side(n, m, a + b, c + d):
            return True
    return False


def _edges(vectors: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    return zip(vectors, np.roll(vectors, -1, axis=0), strict=True)


def _same_side(n: np.ndarray, m: np.ndarray, middle: np.ndarray, other: np.ndarray) -> bool:
    cut = np.cross(n, m)
    return bool((cut @ middle > 0) == (cut @ other > 0))
