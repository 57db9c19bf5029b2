"""Control values as clients send them, extremes included (reliability A25)."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.errors import ParameterError
from gateway.jobs.controls import ListFilter, parse_execution_duration, parse_instant, parse_phase, parse_wait
from gateway.jobs.phases import Phase
from gateway.vo.dali import ParamBag

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-02T03:04:05Z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2030-01-02T03:04:05.25", datetime(2030, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("2030-01-02T03:04:05+02:00", datetime(2030, 1, 2, 1, 4, 5, tzinfo=UTC)),
        (" 2030-01-02 ", datetime(2030, 1, 2, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_parse_instant(text: str, expected: datetime) -> None:
    assert parse_instant("DESTRUCTION", text) == expected


@pytest.mark.parametrize(
    "text", ["", "NaN", "tomorrow", "-1", "2030-13-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "10000-01-01T00:00:00Z"]
)
def test_no_instant(text: str) -> None:
    with pytest.raises(ParameterError, match="DESTRUCTION"):
        parse_instant("DESTRUCTION", text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("+10", 10), ("10.9", 10), ("0", 3600), ("3601", 3600), ("9" * 5000, 3600)]
)
def test_parse_execution_duration(text: str, seconds: int) -> None:
    assert parse_execution_duration(text, at_most=HOUR) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "-1", "NaN", "inf", "1e3", "abc", "0x10", "\u0661"])
def test_no_execution_duration(text: str) -> None:
    with pytest.raises(ParameterError, match="EXECUTIONDURATION"):
        parse_execution_duration(text, at_most=HOUR)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("2", 2), ("1.5", 1.5), ("-1", 3600), ("-17", 3600), ("1000000000", 3600)]
)
def test_parse_wait(text: str, seconds: float) -> None:  # UWS-27, 30
    assert parse_wait(text, at_most=HOUR) == seconds


@pytest.mark.parametrize("text", ["", "NaN", "inf", "-inf", "soon", "--1"])
def test_no_wait(text: str) -> None:
    with pytest.raises(ParameterError, match="WAIT"):
        parse_wait(text, at_most=HOUR)


def test_filters_are_read_together() -> None:  # UWS-26
    bag = ParamBag.of([("phase", "error"), ("PHASE", "ABORTED"), ("LAST", "2"), ("AFTER", "2030-01-01T00:00:00Z")])
    assert ListFilter.from_params(bag) == ListFilter(
        frozenset({Phase.ERROR, Phase.ABORTED}), datetime(2030, 1, 1, tzinfo=UTC), 2
    )


def test_archived_jobs_are_listed_only_when_asked_for() -> None:  # UWS-22
    assert Phase.ARCHIVED not in ListFilter.from_params(ParamBag()).phases
    assert ListFilter.from_params(ParamBag.of([("PHASE", "ARCHIVED")])).phases == {Phase.ARCHIVED}


@pytest.mark.parametrize("text", ["0", "-1", "", "x", "1.5", "²"])
def test_no_last(text: str) -> None:  # UWS-25
    with pytest.raises(ParameterError, match="LAST"):
        ListFilter.from_params(ParamBag.of([("LAST", text)]))


def test_unknown_phase_lists_those_there_are() -> None:
    with pytest.raises(ParameterError, match="PENDING, QUEUED"):
        parse_phase("WAITING")
