"""What STILTS (TOPCAT's engine) and pyvo do with the service, beyond what the README shows."""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
import pyvo
from astropy.coordinates import SkyCoord
from astropy.table import Table

pytestmark = pytest.mark.server

needs_stilts = pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
STARS = "hipparcos.hip2"


def stilts(task: str, **arguments: object) -> list[dict[str, str]]:
    """Rows that a task of STILTS gives."""
    words = [f"{name}={value}" for name, value in arguments.items()]
    done = subprocess.run(
        ["stilts", task, *words, "ofmt=csv"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.fixture(scope="module")
def stars(demo: str) -> Table:
    """All stars of the demo with their positions."""
    query = f"SELECT hip, ra, dec FROM {STARS} WHERE ra IS NOT NULL AND dec IS NOT NULL"
    return pyvo.dal.TAPService(f"{demo}/tap").search(query, maxrec=1_000_000).to_table()


def vectors(table: Table) -> np.ndarray:
    """Positions on the unit sphere, one in each row."""
    coordinates = SkyCoord(table["ra"], table["dec"], unit="deg").cartesian.xyz
    return np.asarray(coordinates).T


@pytest.fixture(scope="module")
def beside(stars: Table, tmp_path_factory: pytest.TempPathFactory) -> tuple[Table, Path]:
    """Positions half an arcsecond north of two hundred stars, and a file of them."""
    chosen = stars[np.random.default_rng(5).choice(len(stars), 200, replace=False)]
    mine = Table({"hip": np.asarray(chosen["hip"]), "ra": np.asarray(chosen["ra"]), "dec": np.asarray(chosen["dec"])})
    mine["dec"] += np.where(mine["dec"] < 89, 0.5, -0.5) / 3600
    path = tmp_path_factory.mktemp("mine") / "mine.csv"
    mine.write(path, format="ascii.csv")
    return mine, path


@needs_stilts
def test_tapskymatch_finds_every_star(demo: str, stars: Table, beside: tuple[Table, Path]) -> None:
    mine, path = beside
    found = stilts(
        "tapskymatch", ifmt="csv", **{"in": path}, inlon="ra", inlat="dec", tapurl=f"{demo}/tap", taptable=STARS,
        taplon="ra", taplat="dec", tapcols="hip", sr=1 / 3600, find="each", blocksize=60, suffixremote="_there",
    )  # fmt: skip
    there = [row["hip_there"] for row in found]
    nearest = stars["hip"][(vectors(mine) @ vectors(stars).T).argmax(axis=1)]
    assert there == [str(number) for number in nearest]


@needs_stilts
def test_coneskymatch_asks_for_each_position(demo: str, beside: tuple[Table, Path]) -> None:
    mine, path = beside
    found = stilts(
        "coneskymatch", ifmt="csv", **{"in": path}, icmd="head 5", ra="ra", dec="dec", sr=1 / 3600, servicetype="cone",
        serviceurl=f"{demo}/scs/{STARS}?", copycols="hip", find="best", parallel=2,
    )  # fmt: skip
    assert len(found) == 5
    assert [row["hip_0"] for row in found] == [str(number) for number in mine["hip"][:5]]
    assert all(row["hip_0"] == row["hip_1"] == row["main_id"] for row in found)


@needs_stilts
@pytest.mark.parametrize("sync", [True, False])
def test_tapquery_joins_an_uploaded_table(demo: str, beside: tuple[Table, Path], sync: bool) -> None:
    mine, path = beside
    query = (
        f"SELECT u.hip AS here, s.hip AS there FROM TAP_UPLOAD.up1 AS u JOIN {STARS} AS s "
        "ON DISTANCE(POINT(u.ra, u.dec), POINT(s.ra, s.dec)) < 0.0003"
    )
    found = stilts(
        "tapquery", tapurl=f"{demo}/tap", adql=query, nupload=1, upload1=path, ufmt1="csv", sync=str(sync).lower()
    )
    assert {row["here"] for row in found} == {str(number) for number in mine["hip"]}


def test_pyvo_sees_the_limits_and_keeps_to_them(demo: str) -> None:
    tap = pyvo.dal.TAPService(f"{demo}/tap")
    assert 0 < tap.maxrec <= tap.hardlimit
    assert tap.get_tap_capability().uploadmethods
    assert len(tap.search(f"SELECT hip FROM {STARS}", maxrec=7)) == 7
    with pytest.warns(pyvo.dal.exceptions.DALOverflowWarning):
        assert len(tap.search(f"SELECT a.hip FROM {STARS} AS a, (SELECT TOP 50 hip FROM {STARS}) AS b")) == tap.maxrec


def test_a_java_client_is_not_given_html(demo: str) -> None:  # decision 13: what HttpURLConnection sends
    accept = {"Accept": "text/html, image/gif, image/jpeg, */*; q=0.2"}
    form = {"LANG": "ADQL", "QUERY": f"SELECT TOP 1 hip FROM {STARS}"}
    for answer in (
        httpx.post(f"{demo}/tap/sync", data=form, headers=accept),
        httpx.get(f"{demo}/tap/sync", params=form, headers=accept),
        httpx.post(f"{demo}/tap/sync", data={**form, "QUERY": "SELECT"}, headers=accept),
        httpx.get(f"{demo}/tap/tables", headers=accept),
        httpx.get(f"{demo}/tap/capabilities", headers=accept),
        httpx.get(f"{demo}/tap/availability", headers=accept),
    ):
        assert "xml" in answer.headers["content-type"]
        assert answer.text.startswith("<?xml")
