"""gzip that is packed only as far as that pays."""

import gzip
import re
import zlib

import numpy as np
import pytest

from gateway.routers.compression import SMALL, Gzip, takes_gzip

TEXT = b"".join(b"%d,%f\n" % (n, n / 7) for n in range(40_000))
NOISE = np.random.default_rng(1).bytes(200_000)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("gzip, deflate", True),
        ("gzip, deflate, br, zstd", True),
        ("deflate;q=1, GZIP ; q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0.001", True),
        ("identity", False),
        ("br, deflate", False),
        (";;,,=", False),
    ],
)
def test_the_client_says_whether_it_takes_gzip(header: str, wanted: bool) -> None:
    assert takes_gzip(header) is wanted


def packed(pieces: list[bytes], *, slow: set[int] = frozenset()) -> bytes:
    """A stream whose client is slow before some of the pieces."""
    stream, out = Gzip(), []
    for n, piece in enumerate(pieces):
        stream.sent(1_000_000, 10.0 if n in slow else 0.0)
        out.append(stream.piece(piece))
    return b"".join([*out, stream.end()])


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b""],
        [b"a"],
        [TEXT],
        [TEXT[:SMALL]],
        [TEXT[: SMALL - 1]],
        [NOISE, TEXT, b"x", NOISE[:65_535], NOISE[:65_536], NOISE[:131_070], b""],
        [b"\0" * 65_535 * 3],
    ],
)
@pytest.mark.parametrize("slow", [set(), {0}, {1}, {0, 2, 4}, set(range(9))])
def test_every_mixture_of_blocks_is_read_back(pieces: list[bytes], slow: set[int]) -> None:
    assert gzip.decompress(packed(pieces, slow=slow)) == b"".join(pieces)


def test_a_fast_client_is_sent_the_rows_as_they_are() -> None:
    pieces = [TEXT] * 5
    assert len(packed(pieces)) < len(TEXT) * 5 * 1.001
    assert TEXT[:60_000] in packed(pieces)


def test_a_slow_client_is_sent_less() -> None:
    pieces = [TEXT] * 5
    assert len(packed(pieces, slow=set(range(5)))) < len(TEXT) * 5 * 0.5


def test_a_short_piece_tells_nothing_of_the_client() -> None:
    stream = Gzip()
    stream.piece(b"head")
    stream.sent(4, 10.0)
    assert len(stream.piece(TEXT)) > len(TEXT)


def test_little_is_always_packed() -> None:
    answer = TEXT[: SMALL // 2]
    assert len(packed([answer])) < len(answer) * 0.6


def test_a_stream_that_was_cut_is_not_taken_for_whole() -> None:
    cut = packed([TEXT, TEXT])[:-8]
    with pytest.raises(EOFError):
        gzip.decompress(cut)


def test_a_stream_that_was_changed_is_noticed() -> None:
    stream = bytearray(packed([NOISE]))
    stream[1000] ^= 1
    with pytest.raises((gzip.BadGzipFile, zlib.error), match=re.compile("CRC|check", re.IGNORECASE)):
        gzip.decompress(bytes(stream))
