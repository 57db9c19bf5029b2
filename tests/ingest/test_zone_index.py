"""The index of declination zones serves joins by position, whatever the type of the positions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.ingest.tables import ingest_table
from tests.ingest.register.site import Site


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int32()])
def test_a_join_looks_up_zone_and_right_ascension_in_the_index(
    database_url: str, tmp_path: Path, kind: pa.DataType
) -> None:
    numbers = np.arange(20_000)
    pq.write_table(
        pa.table(
            {
                "id": numbers,
                "ra": pa.array(numbers * 37 % 360).cast(kind),
                "dec": pa.array(numbers * 17 % 170 - 85).cast(kind),
            }
        ),
        tmp_path / "stars.parquet",
    )
    ingest_table([tmp_path / "stars.parquet"], name="survey.stars", admin_url=database_url)
    plan = Site(database_url).plan(
        "SELECT a.id FROM survey.stars AS a JOIN survey.stars AS b"
        " ON DISTANCE(POINT(a.ra, a.dec), POINT(b.ra, b.dec)) < 1e-4 WHERE a.id < 10"
    )
    conditions = [line for line in plan.splitlines() if "Index Cond" in line and "* '120'" in line]
    assert conditions, plan
    ra = "(ra >= " if kind == pa.float64() else "((ra)::double precision >= "
    assert all(ra in line for line in conditions), plan
