"""SODA 1.0: what a request asks for, and the description by which clients learn how to ask."""

import pytest

from gateway.errors import (
    AuthenticationError,
    AuthorizationError,
    BackendUnavailableError,
    MultipleValuesError,
    NotFoundError,
    NotSupportedError,
    ParameterError,
    QuotaError,
    ServiceError,
    UsageError,
)
from gateway.vo.dali import ParamBag
from gateway.vo.regions import Circle, Polygon, Range
from gateway.vo.soda import ASYNC_ID, MOST_CUTOUTS, NOT_YET, PARAMETERS, SYNC_ID, CutoutRequest, descriptor, fault_text

CIRCLE, POLYGON = ("CIRCLE", "10 20 1"), ("POLYGON", "10 0 20 0 15 9")
ONE = Circle(10.0, 20.0, 1.0)


def bag(*items: tuple[str, str]) -> ParamBag:
    return ParamBag.of(items)


def request(*items: tuple[str, str]) -> CutoutRequest:
    return CutoutRequest.from_params(bag(*items))


def wanted(*items: tuple[str, str]) -> list[tuple[str, object]]:
    return [(cutout.dataset, cutout.region) for cutout in request(*items).cutouts]


def test_a_dataset_without_a_region_is_wanted_whole() -> None:
    assert wanted(("ID", "ivo://a/b?C")) == [("ivo://a/b?C", None)]


def test_soda4_the_identifier_is_used_as_it_is() -> None:
    for identifier in ("ivo://Example.org/x?Y%2Fz", "a b", "ä&<>'\""):
        assert wanted(("id", identifier)) == [(identifier, None)]


@pytest.mark.parametrize("items", [[], [("ID", "")], [("ID", "  ")], [CIRCLE], [("ID", ""), CIRCLE]])
def test_soda4_a_missing_identifier_is_an_error_that_tells_where_they_are(items) -> None:
    with pytest.raises(ParameterError, match="obs_publisher_did") as caught:
        request(*items)
    assert caught.value.name == "ID"


@pytest.mark.parametrize(
    ("items", "region"),
    [
        ([CIRCLE], ONE),
        ([POLYGON], Polygon(((10.0, 0.0), (20.0, 0.0), (15.0, 9.0)))),
        ([("pos", "CIRCLE 10 20 1")], ONE),
        ([("Pos", "range 350 10 -1 1")], Range(350.0, 10.0, -1.0, 1.0)),
        ([("POS", "POLYGON 10 0 20 0 15 9")], Polygon(((10.0, 0.0), (20.0, 0.0), (15.0, 9.0)))),
        ([CIRCLE, ("POS", ""), ("POLYGON", " ")], ONE),
    ],
)
def test_soda6_regions_come_by_either_name(items, region) -> None:
    assert wanted(("ID", "x"), *items) == [("x", region)]


def test_soda14_each_dataset_is_combined_with_each_region_in_the_order_sent() -> None:
    found = wanted(("ID", "x"), CIRCLE, ("ID", "y"), POLYGON, ("POS", "RANGE 1 2 3 4"), ("circle", "1 2 3"))
    regions = [ONE, Polygon(((10.0, 0.0), (20.0, 0.0), (15.0, 9.0))), Range(1.0, 2.0, 3.0, 4.0), Circle(1.0, 2.0, 3.0)]
    assert found == [(name, region) for name in "xy" for region in regions]


def test_each_cutout_shows_the_parameters_that_asked_for_it() -> None:
    found = request(("ID", "x"), CIRCLE, ("POS", "RANGE 1 2 3 4"))
    assert [cutout.shown for cutout in found.cutouts] == ["CIRCLE=10 20 1", "POS=RANGE 1 2 3 4"]
    assert request(("ID", "x")).cutouts[0].shown == ""


@pytest.mark.parametrize(
    "item",
    [
        ("CIRCLE", "10 20 0"),
        ("CIRCLE", "10 20"),
        ("CIRCLE", "10 20 -1"),
        ("CIRCLE", "CIRCLE 10 20 1"),
        ("POLYGON", "10 20 30 40"),
        ("POLYGON", "1 2 3 4 5 x"),
        ("POS", "CIRCLE 10 20 0"),
        ("POS", "10 20 1"),
        ("POS", "RANGE 1 2 4 3"),
    ],
)
def test_soda8_a_bad_region_is_told_by_its_own_name_and_value(item) -> None:
    with pytest.raises(ParameterError) as caught:
        request(("ID", "x"), CIRCLE, item)
    assert caught.value.name == item[0]
    assert caught.value.message.startswith(f"{item[0]}={item[1]!r}: ")


@pytest.mark.parametrize("name", ["BAND", "TIME", "POL", "MOC"])
def test_soda9_filters_that_are_not_served_are_refused_and_not_ignored(name) -> None:
    assert name in NOT_YET
    with pytest.raises(NotSupportedError, match=f"^{name}: .*leave {name} out"):
        request(("ID", "x"), (name.lower(), "1 2"))
    assert wanted(("ID", "x"), (name, " ")) == [("x", None)]
    assert issubclass(NotSupportedError, UsageError)


def test_only_what_is_served_is_declared() -> None:
    assert {parameter.name for parameter in PARAMETERS} == {"ID", "CIRCLE", "POLYGON", "POS"}
    assert not {parameter.name for parameter in PARAMETERS} & set(NOT_YET)


def test_one_thousand_cutouts_are_made_and_no_more() -> None:
    circles = [("CIRCLE", f"10 20 {n}") for n in range(1, 101)]
    assert len(request(*[("ID", str(n)) for n in range(MOST_CUTOUTS // 100)], *circles).cutouts) == MOST_CUTOUTS
    assert len(request(*[("ID", str(n)) for n in range(MOST_CUTOUTS)]).cutouts) == MOST_CUTOUTS
    for datasets in (11, 500):
        with pytest.raises(ParameterError, match=f"{datasets * 100} cutouts .*at most {MOST_CUTOUTS}.*send several"):
            request(*[("ID", str(n)) for n in range(datasets)], *circles)


# -- synchronous ----------------------------------------------------------------------------------


def only(*items: tuple[str, str]) -> tuple[str, object]:
    cutout = request(*items).only(bag(*items))
    return cutout.dataset, cutout.region


def test_a_synchronous_request_has_one_cutout() -> None:
    assert only(("ID", "x"), CIRCLE) == ("x", ONE)
    assert only(("ID", ""), ("ID", "x"), ("CIRCLE", ""), CIRCLE) == ("x", ONE)


@pytest.mark.parametrize(
    ("items", "name"),
    [
        ([("ID", "x"), ("ID", "y")], "ID"),
        ([("ID", "x"), ("ID", "y"), CIRCLE], "ID"),
        ([("ID", "x"), CIRCLE, CIRCLE], "CIRCLE"),
        ([("ID", "x"), CIRCLE, POLYGON], "CIRCLE"),
        ([("ID", "x"), ("POS", "CIRCLE 1 2 3"), ("POS", "CIRCLE 4 5 6")], "POS"),
        ([("ID", "x"), ("ID", " "), CIRCLE, POLYGON], "CIRCLE"),
    ],
)
def test_soda3_several_cutouts_at_once_are_refused_by_the_name_that_came_twice(items, name) -> None:
    with pytest.raises(MultipleValuesError) as caught:
        only(*items)
    assert caught.value.name == name


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (MultipleValuesError("ID", ("a", "b")), "MultiValuedParamNotSupported"),
        (ParameterError("CIRCLE", "x", "no"), "UsageError"),
        (NotSupportedError("BAND"), "UsageError"),
        (NotFoundError("x"), "UsageError"),
        (AuthenticationError("x"), "AuthenticationError"),
        (AuthorizationError("x"), "AuthorizationError"),
        (BackendUnavailableError("x"), "ServiceUnavailable"),
        (QuotaError("x"), "ServiceUnavailable"),
        (ServiceError("x"), "Error"),
        (RuntimeError("x"), "Error"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_soda13_the_text_of_an_error_begins_with_the_standard_s_word(error, label) -> None:
    assert fault_text(error, "what happened") == f"{label}: what happened\n"


# -- descriptor -----------------------------------------------------------------------------------

PATTERN = {
    "ID": ("meta.id;meta.main", None, "char", "*", None),
    "CIRCLE": ("pos.outline;obs", "deg", "double", "3", "circle"),
    "POLYGON": ("pos.outline;obs", "deg", "double", "*", "polygon"),
    "POS": ("pos.outline;obs", None, "char", "*", None),
}
"""The standard's table of parameters: UCD, unit, datatype, arraysize, xtype."""


def test_soda9_parameters_have_the_standard_s_names_ucds_units_and_types() -> None:
    found = descriptor("http://x/soda/sync", is_sync=True, identifier="soda", ref="did")
    assert {
        one.name: (one.ucd, one.unit, one.type.datatype.value, one.type.arraysize, one.type.xtype)
        for one in found.inputs
    } == PATTERN
    assert [one.name for one in found.inputs] == [parameter.name for parameter in PARAMETERS]


def test_soda9_the_standard_s_identifiers_are_told() -> None:
    for is_sync, expected in ((True, SYNC_ID), (False, ASYNC_ID)):
        found = descriptor("http://x", is_sync=is_sync, identifier="soda", dataset="ivo://a/b?c")
        assert found.standard_id == expected
    assert (SYNC_ID, ASYNC_ID) == ("ivo://ivoa.net/std/SODA#sync-1.0", "ivo://ivoa.net/std/SODA#async-1.0")


def test_soda10_one_dataset_has_its_identifier_and_what_is_around_it() -> None:
    outline = Polygon(((10.0, 0.0), (20.0, 0.0), (15.0, 9.0)))
    found = descriptor("http://x", is_sync=True, identifier="s", dataset="ivo://a/b?c", circle=ONE, polygon=outline)
    by_name = {one.name: one for one in found.inputs}
    assert (by_name["ID"].value, by_name["ID"].ref) == ("ivo://a/b?c", None)
    assert [float(word) for word in by_name["CIRCLE"].maximum.split()] == [10, 20, 1]
    assert [float(word) for word in by_name["POLYGON"].maximum.split()] == [10, 0, 20, 0, 15, 9]
    assert all(by_name[name].value == "" for name in ("CIRCLE", "POLYGON", "POS"))


def test_rows_of_a_table_give_the_identifier() -> None:
    found = descriptor("http://x", is_sync=False, identifier="s", ref="obs_publisher_did")
    assert (found.inputs[0].value, found.inputs[0].ref) == ("", "obs_publisher_did")
    assert all(one.maximum is None for one in found.inputs)
