import pytest

from gateway.errors import IngestError
from gateway.ingest.names import MAX_PHYSICAL_BYTES, parse_table_name, physical_names, published_names


@pytest.mark.parametrize(
    ("name", "physical"),
    [
        ("ra", "ra"),
        ("RAJ2000", "raj2000"),
        ("2MASS", "c_2mass"),
        ("B-V", "b_v"),
        ("e_B-V", "e_b_v"),
        ("my column", "my_column"),
        ("select", "select"),
        ("Ωm", "c__m"),
        ("_RAJ2000", "c__raj2000"),
        ("", "c_"),
        ("gw_hpx29", "c_gw_hpx29"),
        ("ctid", "ctid_2"),
        ("xmin", "xmin_2"),
    ],
)
def test_physical_name(name: str, physical: str) -> None:
    assert physical_names([name]) == [physical]


def test_physical_names_are_unique_whatever_clashes() -> None:
    names = physical_names(["A", "a", "B-V", "B_V", "b v", "a_2"])
    assert names == ["a", "a_2", "b_v", "b_v_2", "b_v_3", "a_2_2"]


def test_names_of_80_characters_stay_apart_within_63_bytes() -> None:
    names = physical_names([f"{'x' * 79}{last}" for last in "ab"])
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= MAX_PHYSICAL_BYTES for name in names)


def test_published_names_are_those_of_the_file() -> None:
    names = ["2MASS", "my column", "B-V", "SELECT", "Ωm", "x" * 80]
    assert published_names(names) == (names, [])


def test_names_that_differ_only_by_case_become_reachable_both() -> None:
    names, notes = published_names(["Mag", "mag", "MAG"])
    assert names == ["Mag", "mag_2", "MAG_3"]
    assert len(notes) == 2


def test_a_column_without_a_name_gets_one() -> None:
    assert published_names(["a", "", " "])[0] == ["a", "column_2", "column_3"]


def test_line_breaks_leave_names() -> None:
    assert published_names(["a\nb"])[0] == ["a b"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("survey.stars", ("survey", "stars")),
        (' survey."my stars" ', ("survey", "my stars")),
        ('"2MASS"."a.b"', ("2MASS", "a.b")),
        ('s."a""b"', ("s", 'a"b')),
    ],
)
def test_parse_table_name(text: str, parts: tuple[str, str]) -> None:
    assert parse_table_name(text) == parts


@pytest.mark.parametrize("text", ["stars", "", ".stars", "survey."])
def test_a_name_without_schema_is_refused(text: str) -> None:
    with pytest.raises(IngestError, match="no table name"):
        parse_table_name(text)


@pytest.mark.parametrize(
    "schema",
    [
        "tap_schema",
        "TAP_SCHEMA",
        "TAP_UPLOAD",
        "ivoa",
        "gateway",
        "sky",
        "pg_catalog",
        "PG_x",
        "information_schema",
        "public",
    ],
)
def test_schemas_of_others_are_refused(schema: str) -> None:
    with pytest.raises(IngestError, match="reserved"):
        parse_table_name(f"{schema}.stars")
