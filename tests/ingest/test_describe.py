from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import IngestError
from gateway.ingest.describe import read_description
from gateway.vo.tableset import Datatype, Field, VOType

STARS = """
name: survey
"@id": "#survey"
description: A survey
version: {current: "1"}
tables:
- name: stars
  "@id": "#stars"
  description: Its stars
  primaryKey: "#stars.id"
  tap:table_index: 3
  mysql:engine: MyISAM
  columns:
  - {name: id, "@id": "#stars.id", datatype: long, ivoa:ucd: meta.id;meta.main, tap:principal: 1, nullable: false}
  - {name: ra, "@id": "#stars.ra", datatype: double, fits:tunit: deg, ivoa:ucd: pos.eq.ra, tap:column_index: 2}
  - {name: name, "@id": "#stars.name", datatype: string, length: 12, description: Its name}
  - {name: seen, "@id": "#stars.seen", datatype: timestamp}
  - {name: flux, "@id": "#stars.flux", datatype: float, votable:arraysize: 5, votable:utype: a.b}
  indexes:
  - {name: by_name, "@id": "#by_name", columns: ["#stars.name", id]}
- name: visits
  "@id": "#visits"
  columns:
  - {name: star, "@id": "#visits.star", datatype: long}
  constraints:
  - {name: of_star, "@id": "#of_star", "@type": ForeignKey, columns: ["#visits.star"], referencedColumns: ["#stars.id"]}
"""


@pytest.fixture
def stars(write: Callable[..., Path]) -> Path:
    return write("stars.yaml", STARS)


def test_tables_are_found_without_case(stars: Path) -> None:
    description = read_description(stars)
    assert description.description == "A survey"
    assert description.find("Stars").description == "Its stars"
    assert description.find("visits").constraints[0].referenced == ("#stars.id",)


def test_a_table_that_is_not_described_is_told(stars: Path) -> None:
    with pytest.raises(IngestError, match="no table 'galaxies', only stars, visits"):
        read_description(stars).find("galaxies")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("id", VOType(Datatype.LONG)),
        ("ra", VOType(Datatype.DOUBLE)),
        ("name", VOType(Datatype.CHAR, "12*")),
        ("seen", VOType(Datatype.CHAR, "*", "timestamp")),
        ("flux", VOType(Datatype.FLOAT, "5")),
    ],
)
def test_types(stars: Path, name: str, kind: VOType) -> None:
    column = read_description(stars).find("stars").find(name)
    assert column is not None
    assert column.type == kind


def test_what_is_said_wins_and_the_rest_stays(stars: Path) -> None:
    column = read_description(stars).find("stars").find("RA")
    assert column is not None
    known = Field("RA", VOType(Datatype.FLOAT), unit="rad", ucd="pos", utype="u", description="from the file")
    assert column.apply(known) == Field(
        "ra", VOType(Datatype.DOUBLE), unit="deg", ucd="pos.eq.ra", utype="u", description="from the file"
    )


def test_references_are_ids_or_names(stars: Path) -> None:
    table = read_description(stars).find("stars")
    assert table.resolve(table.indexes[0].columns) == ("name", "id")
    assert table.resolve(table.primary_key) == ("id",)


def test_keys_for_other_programs_need_no_note_and_unknown_ones_do(write: Callable[..., Path]) -> None:
    path = write(
        "d.yaml", STARS.replace("nullable: false", "ivoa:colour: red").replace("mysql:engine", "tap:tabel_index")
    )
    description = read_description(path)
    notes = description.notes(description.find("stars"))
    assert notes == ["the description has keys that are not read: ivoa:colour, tap:tabel_index"]
    assert description.notes(description.find("visits")) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs the keys name and tables"),
        ("- a", "needs the keys name and tables"),
        ("name: x\n a: :", "line 2: not YAML"),
        ("name: survey", "at tables"),
        (STARS.replace("datatype: timestamp", "datatype: date"), "'seen' has the datatype 'date'"),
        (STARS.replace('columns: ["#stars.name", id]', 'columns: ["#stars.mag"]'), "has no column '#stars.mag'"),
        (STARS.replace('"#stars.id"\n', '"#stars.key"\n', 1), "has no column '#stars.key'"),
        (STARS.replace("tap:table_index: 3", "tap:table_index: many"), r"at tables\.0\.tap:table_index"),
    ],
)
def test_a_broken_description_is_told_by_its_place(write: Callable[..., Path], text: str, reason: str) -> None:
    with pytest.raises(IngestError, match=reason):
        read_description(write("d.yaml", text))


def test_a_missing_description_is_told(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no such file"):
        read_description(tmp_path / "absent.yaml")
