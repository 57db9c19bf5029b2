"""What columns mean: from comments, a description in Felis format, a TAP_SCHEMA of another service."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import IngestError
from gateway.ingest.register.metadata import Said, from_comment
from tests.ingest.register.site import Site


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("flux [Jy] {phot.flux}", Said("flux", "Jy", "phot.flux")),
        ("flux {phot.flux} [Jy]", Said("flux", "Jy", "phot.flux")),
        ("Proper motion [mas/yr]", Said("Proper motion", "mas/yr")),
        ("{pos.eq.ra;meta.main}", Said(None, None, "pos.eq.ra;meta.main")),
        ("[deg]", Said(None, "deg")),
        ("old UCD {POS_EQ_RA_MAIN}", Said("old UCD", None, "POS_EQ_RA_MAIN")),
        ("[Fe/H] abundance [dex]", Said("[Fe/H] abundance", "dex")),
        ("a flag [deprecated]", Said("a flag [deprecated]")),
        ("in the range [0, 1]", Said("in the range [0, 1]")),
        ("a template {name}", Said("a template {name}")),
        ("two\nlines [km s-1]", Said("two\nlines", "km s-1")),
        ("plain", Said("plain")),
        ("  ", Said()),
        (None, Said()),
    ],
)
def test_comments_tell_description_unit_and_ucd(comment: str | None, expected: Said) -> None:
    assert from_comment(comment) == expected


COMMENTS = """
COMMENT ON TABLE public.stars IS 'A hundred stars';
COMMENT ON COLUMN public.stars.ra IS 'Right ascension [deg] {pos.eq.ra;meta.main}';
COMMENT ON COLUMN public.stars.dec IS 'Declination [deg] {pos.eq.dec;meta.main}';
COMMENT ON COLUMN public.stars.mag IS 'Brightness [mag] {phot.mag}';
"""


def test_comments_are_published(few: Site) -> None:
    few.run(COMMENTS)
    few.register()
    mag = few.columns()["mag"].field
    assert (mag.description, mag.unit, mag.ucd) == ("Brightness", "mag", "phot.mag")
    table = few.table()
    assert table is not None
    assert table.description == "A hundred stars"
    field = few.votable("SELECT mag FROM survey.stars").to_table()["mag"]
    assert str(field.unit) == "mag"


def test_ucds_in_comments_tell_the_positions(few: Site) -> None:
    few.run("ALTER TABLE public.stars RENAME ra TO x", "ALTER TABLE public.stars RENAME dec TO y")
    few.run(COMMENTS.replace("stars.ra", "stars.x").replace("stars.dec", "stars.y"))
    assert few.register().index is not None


FELIS = """
name: survey
description: A survey
tables:
  - name: stars
    "@id": "#stars"
    description: Stars of a description
    columns:
      - {name: mag, "@id": "#stars.mag", datatype: float, ivoa:unit: mag, ivoa:ucd: phot.mag;em.opt.V, description: V, tap:principal: 1}
      - {name: gone, "@id": "#stars.gone", datatype: int}
"""


def test_a_description_wins_over_comments(few: Site, tmp_path: Path) -> None:
    few.run(COMMENTS)
    (tmp_path / "d.yaml").write_text(FELIS)
    report = few.register(describe=tmp_path / "d.yaml")
    columns = few.columns()
    assert columns["mag"].field.description == "V"
    assert columns["mag"].field.ucd == "phot.mag;em.opt.V"
    assert columns["mag"].is_principal
    assert columns["ra"].field.description == "Right ascension"
    assert any("gone" in note for note in report.notes)


THEIRS = """
CREATE SCHEMA old;
CREATE TABLE old.tables (schema_name text, table_name text, table_type text, description text, utype text);
CREATE TABLE old.columns (table_name text, column_name text, description text, unit text, ucd text, utype text,
    datatype text, size int, principal int, indexed int, std int);
INSERT INTO old.tables VALUES ('old', 'old.stars', 'table', 'Stars of old', 'some:type');
INSERT INTO old.columns VALUES ('old.stars', 'ra', 'RA of old', 'deg', 'pos.eq.ra', NULL, 'adql:DOUBLE', NULL, 1, 1, 1),
    ('old.stars', '"dec"', 'Dec of old', 'deg', 'pos.eq.dec', NULL, 'adql:DOUBLE', NULL, 1, 1, 0),
    ('old.stars', 'mag', 'Magnitude of old', 'mag', 'phot.mag', 'old:mag', 'adql:REAL', NULL, 0, 0, 0);
"""


def test_descriptions_of_another_tap_schema_are_taken_over(few: Site) -> None:
    """A TAP_SCHEMA of TAP 1.0, without arraysize, xtype and column_index."""
    few.run(COMMENTS, THEIRS)
    few.register(from_tap_schema="old")
    columns = few.columns()
    mag, ra = columns["mag"], columns["ra"]
    assert (mag.field.description, mag.field.unit, mag.field.utype) == ("Magnitude of old", "mag", "old:mag")
    assert (ra.is_principal, mag.is_principal, ra.is_std) == (True, False, True)
    table = few.table()
    assert table is not None
    assert (table.description, table.utype) == ("Stars of old", "some:type")


@pytest.mark.parametrize(
    ("schema", "said"), [("nowhere", "has no tables nowhere.tables"), ("old", "do not have survey.others")]
)
def test_a_tap_schema_that_does_not_help_is_told(few: Site, schema: str, said: str) -> None:
    few.run(THEIRS, "CREATE TABLE public.others (a int)")
    with pytest.raises(IngestError, match=said):
        few.register("public.others", from_tap_schema=schema)


def test_chosen_and_hidden_columns(few: Site) -> None:
    few.register(columns=["id", "RA", "dec", "mag"], hide=["mag"])
    assert list(few.columns()) == ["id", "ra", "dec"]
    (allowed,) = few.fetch("SELECT has_column_privilege('gateway_query', 'public.stars', 'mag', 'SELECT')")
    assert allowed == (False,)


def test_foreign_keys_of_postgresql_are_published(few: Site) -> None:
    few.run("CREATE TABLE public.spectra (n int, star bigint REFERENCES public.stars)")
    few.register()
    few.register("public.spectra")
    table = few.table("survey.spectra")
    assert table is not None
    assert [(key.target_table, key.columns) for key in table.keys] == [("survey.stars", (("star", "id"),))]


def test_indexed_columns_are_told(few: Site) -> None:
    few.register()
    assert {name for name, column in few.columns().items() if column.is_indexed} == {"id"}
