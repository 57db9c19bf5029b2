"""DALI parameters and TAP requests (standards: DALI-30..38, TAP-21..43)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MultipleValuesError, ParameterError, UploadError
from gateway.vo.dali import ParamBag, normal_media_type, parse_maxrec, parse_run_id
from gateway.vo.tap import TapRequest, UploadRef, parse_uploads


def bag(*items: tuple[str, str]) -> ParamBag:
    return ParamBag.of(items)


def test_names_compare_without_case() -> None:  # DALI-30
    assert bag(("mAxReC", "5")).one("MAXREC") == "5"


def test_single_valued_parameter_given_twice_is_refused() -> None:  # DALI-31
    with pytest.raises(MultipleValuesError, match="only once"):
        bag(("MAXREC", "1"), ("maxrec", "2")).one("MAXREC")


@pytest.mark.parametrize(("text", "expected"), [("0", 0), ("10", 10), (" 7 ", 7), ("", None), ("+3", 3)])
def test_maxrec_is_a_whole_number(text: str, expected: int | None) -> None:
    assert parse_maxrec(bag(("MAXREC", text))) == expected


@pytest.mark.parametrize("text", ["-1", "abc", "1.5", "1e3", "NaN", "9" * 30, "0x10", "\u0661"])
def test_other_maxrec_is_refused(text: str) -> None:  # DALI-36
    with pytest.raises(ParameterError, match="MAXREC"):
        parse_maxrec(bag(("MAXREC", text)))


def test_absent_maxrec_is_none() -> None:
    assert parse_maxrec(bag()) is None


def test_run_id_of_64_characters_is_kept_and_65_refused() -> None:  # DALI-38
    assert parse_run_id(bag(("RUNID", "x" * 64))) == "x" * 64
    with pytest.raises(ParameterError, match="64"):
        parse_run_id(bag(("RUNID", "x" * 65)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text/csv", "text/csv"),
        ("Text/CSV ; Header = present", "text/csv;Header=present"),
        ("application/x-votable xml", "application/x-votable+xml"),  # an unescaped plus sign
        ("application/x-votable+xml;serialization=BINARY2", "application/x-votable+xml;serialization=BINARY2"),
        ("VOTable", "votable"),
    ],
)
def test_media_types_are_compared_in_one_spelling(text: str, expected: str) -> None:
    assert normal_media_type(text) == expected


def test_query_alone_makes_a_request() -> None:
    request = TapRequest.from_params(bag(("query", "SELECT 1")))
    assert request == TapRequest("SELECT 1", "votable", None, None, ())


@pytest.mark.parametrize("lang", ["ADQL", "adql", "ADQL-2.0", "ADQL-2.1"])
def test_declared_languages_are_accepted(lang: str) -> None:  # TAP-25
    assert TapRequest.from_params(bag(("QUERY", "q"), ("LANG", lang))).query == "q"


@pytest.mark.parametrize("lang", ["PQL", "ADQL-3.0", "SQL", "ADQL 2.1"])
def test_unknown_language_is_told(lang: str) -> None:  # TAP-26
    with pytest.raises(ParameterError, match="unknown query language"):
        TapRequest.from_params(bag(("QUERY", "q"), ("LANG", lang)))


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_empty_query_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="QUERY"):
        TapRequest.from_params(bag(("QUERY", text)))


def test_spurious_parameters_are_ignored() -> None:  # TAP-24
    params = bag(("QUERY", "q"), ("REQUEST", "doQuery"), ("VERSION", "1.0"), ("DUMMY", "x"))
    assert TapRequest.from_params(params).query == "q"


def test_format_is_a_synonym_of_responseformat() -> None:  # TAP-31
    assert TapRequest.from_params(bag(("QUERY", "q"), ("FORMAT", "csv"))).response_format == "csv"


def test_repeated_uploads_accumulate() -> None:  # TAP-38
    assert parse_uploads(("a,param:x", "b,http://example.org/t")) == (
        UploadRef("a", "param:x"),
        UploadRef("b", "http://example.org/t"),
    )


def test_uploads_joined_by_semicolon_are_read_as_tap_1_0_wrote_them() -> None:
    assert [ref.name for ref in parse_uploads(("a,param:x;b,param:y",))] == ["a", "b"]


@pytest.mark.parametrize(
    "value", ["a", "a,", ",param:x", "1a,param:x", "a b,param:x", "s.t,param:x", '"a",param:x', "_a,param:x"]
)
def test_malformed_upload_is_told(value: str) -> None:  # TAP-39
    with pytest.raises(UploadError):
        parse_uploads((value,))


def test_same_upload_name_twice_is_refused_whatever_its_case() -> None:  # TAP-43
    with pytest.raises(UploadError, match="twice"):
        parse_uploads(("A,param:x", "a,param:y"))


@given(st.text(max_size=80))
def test_no_maxrec_text_ends_in_another_error(text: str) -> None:
    try:
        value = parse_maxrec(bag(("MAXREC", text)))
    except ParameterError:
        return
    assert value is None or value >= 0


@given(st.lists(st.text(max_size=40), max_size=4))
def test_no_upload_text_ends_in_another_error(values: list[str]) -> None:
    try:
        refs = parse_uploads(tuple(values))
    except UploadError:
        return
    assert len({ref.name.lower() for ref in refs}) == len(refs)
