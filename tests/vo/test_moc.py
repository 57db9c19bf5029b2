"""Coverage maps in ASCII, against the standard's examples and mocpy."""

import mocpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.vo.moc import Moc, MocError, fewer, parse_moc

WHOLE = 12 * 4**29


def test_moc4_the_example_of_the_standard_is_read() -> None:
    moc = parse_moc("1/1 2 4 2/12-14 21 23 25 8/")
    assert moc.order == 8
    assert moc.ascii() == "1/1-2 4 2/12-14 21 23 25 8/"
    assert moc.ranges[0] == (4**28, 3 * 4**28 + 3 * 4**27 - 1)


def test_moc10_the_whole_sky_and_nothing() -> None:
    assert parse_moc("0/0-11").ranges == ((0, WHOLE - 1),)
    assert parse_moc("5/").ranges == parse_moc("").ranges == ()
    assert parse_moc("5/").ascii() == "5/"


def test_moc5_the_prefix_of_space_is_taken() -> None:
    assert parse_moc("s1/3").ranges == parse_moc("1/3").ranges


def test_moc3_four_siblings_are_their_parent() -> None:
    assert parse_moc("2/4 5 6 7").ascii() == "1/1 2/"
    assert parse_moc("1/1 2/4 5").ranges == parse_moc("1/1").ranges


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("30/1", "beyond 29"),
        ("1/48", "numbered 0 to 47"),
        ("1/5-3", "ascending"),
        ("3", "no part"),
        ("1/-3", "no part"),
        ("1/a", "no part"),
        ("t61/1", "no part"),
        ("1/1;DROP", "no part"),
        ("1/" + "9" * 30, "no part"),
    ],
)
def test_what_is_no_coverage_is_refused(text, reason) -> None:
    with pytest.raises(MocError, match=reason):
        parse_moc(text)


cells = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12 * 4**6 - 1)), min_size=1, max_size=40)


def written(cells: list[tuple[int, int]]) -> str:
    return " ".join(f"{order}/{index % (12 * 4**order)}" for order, index in cells)


@given(cells)
def test_moc4_what_is_written_reads_the_same_as_mocpy_has_it(cells) -> None:
    moc = parse_moc(written(cells))
    assert parse_moc(moc.ascii()) == moc
    judge = mocpy.MOC.from_string(moc.ascii())
    assert [(int(low), int(high) - 1) for low, high in judge.to_depth29_ranges] == list(moc.ranges)


@given(cells, cells)
def test_relations_are_those_of_sets(one, other) -> None:
    a, b = parse_moc(written(one)), parse_moc(written(other))
    first, second = mocpy.MOC.from_string(a.ascii()), mocpy.MOC.from_string(b.ascii())
    assert a.meets(b) is (not first.intersection(second).empty())
    common = second.intersection(first).to_depth29_ranges
    assert a.contains(b) is np.array_equal(common, second.to_depth29_ranges)


def test_fewer_ranges_hold_all_of_the_many() -> None:
    low = np.cumsum(np.random.default_rng(1).integers(2, 10**9, 300))
    ranges = tuple((int(a), int(a)) for a in low)
    few = fewer(ranges, 32)
    assert len(few) == 32
    assert all(any(a <= at <= b for a, b in few) for at, _ in ranges)
    assert fewer(ranges, 300) == ranges
    assert Moc(few, 29).contains(Moc(ranges, 29))


@given(cells)
def test_a_complement_is_what_mocpy_has(cells) -> None:
    moc = parse_moc(written(cells))
    rest = moc.complement()
    assert rest.complement().ranges == moc.ranges
    assert not rest.meets(moc)
    assert mocpy.MOC.from_string(rest.ascii()) == mocpy.MOC.from_string(moc.ascii()).complement()


def test_nothing_and_the_whole_sky_are_each_others_complement() -> None:
    nothing, everything = parse_moc("3/"), parse_moc("0/0-11")
    assert nothing.complement().ranges == everything.ranges
    assert everything.complement().ranges == ()


@given(cells, st.integers(12, 60))
def test_a_coarse_map_has_few_cells_and_holds_the_map(cells, most) -> None:
    moc = parse_moc(written(cells))
    coarse = moc.coarse(most)
    assert coarse.contains(moc)
    assert len(list(coarse.cells())) <= most
    if len(list(moc.cells())) <= most:
        assert coarse.ranges == moc.ranges
