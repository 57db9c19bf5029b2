"""A cutout opens in astropy without complaint, its pixels and places those of the source."""

import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.imaging.assemble import Piece, cut_header, fits_bytes
from gateway.imaging.hdus import Hdu, read_pixels, scan
from tests.support.images import PLANES, SIP, fits_file, image_file, read_wcs, sky_header, with_cards


def cut(content: bytes, number: int, box) -> bytes:
    """File of a box of one HDU, as primary HDU."""
    record = scan(io.BytesIO(content))[number]
    pixels = read_pixels(io.BytesIO(content), record, box)
    return b"".join(fits_bytes([Piece(cut_header(Hdu(record).header, box), pixels)]))


def opened(content: bytes) -> fits.HDUList:
    """The file, after astropy has found nothing to complain of."""
    assert len(content) % 2880 == 0
    hdus = fits.open(io.BytesIO(content), checksum=True, do_not_scale_image_data=True)  # warnings are errors here
    hdus.verify("exception")
    return hdus


def box_of(header, y=(11, 30), x=(5, 42)):
    """A box of pixels in the plane of the sky, all of the other axes."""
    wcs = read_wcs(header)
    box = {wcs.wcs.lng + 1: slice(*x), wcs.wcs.lat + 1: slice(*y)}
    count = int(header["NAXIS"])
    return tuple(box.get(axis, slice(0, int(header[f"NAXIS{axis}"]))) for axis in range(count, 0, -1))


def assert_places(source, found, box, **key) -> None:
    """All corners of the cutout are where they are in the source, in pixels of the source."""
    axes = 2 if "A_ORDER" in source else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = WCS(source, naxis=axes, **key), WCS(found, naxis=axes, **key)
    starts = np.array([part.start for part in reversed(box)][: one.naxis], float)
    sizes = np.array([part.stop - part.start for part in reversed(box)][: one.naxis], float)
    corners = np.stack(np.meshgrid(*[[-0.5, 0.3 * n, n - 0.5] for n in sizes]), -1).reshape(-1, one.naxis)
    expected, world = one.all_pix2world(corners + starts, 0), other.all_pix2world(corners, 0)
    step = one.all_pix2world(corners + starts + 1e-6, 0)
    tolerance = np.abs(step - expected).max(axis=0) + 1e-12
    assert (np.abs((world - expected + 180) % 360 - 180) <= tolerance).all()


@pytest.mark.parametrize("name", PLANES)
def test_a_cutout_is_a_valid_file_with_the_pixels_and_places_of_the_source(name) -> None:
    header = PLANES[name]
    box = box_of(header, *(((5, 30), (11, 35)) if name.startswith("swapped") or "last" in name else ()))
    source = image_file(header)
    with opened(cut(source, 0, box)) as hdus, fits.open(io.BytesIO(source)) as original:
        assert hdus[0].data.tobytes() == original[0].data[box].tobytes()
        assert_places(header, hdus[0].header, box)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(PLANES)))
def test_any_box_keeps_its_places(data, name) -> None:
    header = PLANES[name]
    shape = [int(header[f"NAXIS{axis}"]) for axis in range(int(header["NAXIS"]), 0, -1)]
    box = tuple(slice(a := data.draw(st.integers(0, n - 1)), data.draw(st.integers(a + 1, n))) for n in shape)
    assert_places(header, cut_header(header, box), box)


def test_the_header_of_the_source_is_left_as_it_was() -> None:
    header = PLANES["TAN"].copy()
    cut_header(header, (slice(1, 2), slice(3, 4)))
    assert header.tostring() == PLANES["TAN"].tostring()


def test_second_coordinates_and_offsets_of_detectors_move_too() -> None:
    header = sky_header(
        CTYPE1A="LINEAR", CTYPE2A="LINEAR", CRVAL1A=1000.0, CRVAL2A=2000.0, CRPIX1A=1.0, CRPIX2A=1.0, CD1_1A=1.0, CD2_2A=1.0,
        LTV1=-1000.0, LTV2=-2000.0, LTM1_1=0.5, LTM2_2=1.0,
    )  # fmt: skip
    box = (slice(10, 20), slice(30, 50))
    with opened(cut(image_file(header), 0, box)) as hdus:
        found = hdus[0].header
    assert_places(header, found, box)
    assert_places(header, found, box, key="A")
    # IRAF: pixel = LTM * physical + LTV, so that each pixel keeps its physical place
    for axis, part in enumerate(reversed(box), start=1):
        before = (part.start + 1 - header[f"LTV{axis}"]) / header[f"LTM{axis}_{axis}"]
        assert (1 - found[f"LTV{axis}"]) / found[f"LTM{axis}_{axis}"] == before


def test_the_place_on_a_scanned_plate_moves_too() -> None:
    found = cut_header(sky_header(CNPIX1=7, CNPIX2=9), (slice(10, 20), slice(30, 50)))
    assert (found["CNPIX1"], found["CNPIX2"]) == (37, 19)


def test_coordinates_without_a_reference_pixel_get_one() -> None:
    header = sky_header(CRPIX1=None, CRPIX2=None)  # FITS 4.0: the default is 0
    box = (slice(10, 20), slice(30, 50))
    with opened(cut(image_file(header), 0, box)) as hdus:
        assert (hdus[0].header["CRPIX1"], hdus[0].header["CRPIX2"]) == (-30.0, -10.0)
        assert_places(header, hdus[0].header, box)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8", "u2", "u4", "i1"])
def test_pixels_of_every_type_are_the_bits_of_the_source(dtype) -> None:
    pixels = np.random.default_rng(3).integers(0, 100, (40, 50)).astype(dtype)
    source = fits_file(fits.PrimaryHDU(pixels, sky_header()))
    box = (slice(3, 9), slice(8, 41))
    with opened(cut(source, 0, box)) as hdus, fits.open(io.BytesIO(source), do_not_scale_image_data=True) as original:
        assert hdus[0].data.tobytes() == original[0].data[box].tobytes()
    with fits.open(io.BytesIO(cut(source, 0, box))) as hdus:
        assert np.array_equal(hdus[0].data, pixels[box])


def test_blank_pixels_stay_blank_and_units_are_kept() -> None:
    pixels = np.arange(2000, dtype="f4").reshape(40, 50)
    pixels[12:15, 20:25] = np.nan
    pixels[16, 20] = np.inf
    source = fits_file(fits.PrimaryHDU(pixels, sky_header(BUNIT="nJy")))
    box = (slice(10, 20), slice(15, 30))
    with opened(cut(source, 0, box)) as hdus:
        assert hdus[0].data.astype("f4").tobytes() == pixels[box].tobytes()
        assert hdus[0].header["BUNIT"] == "nJy"
    header = sky_header(BLANK=-999, BSCALE=0.5, BZERO=10.0, BUNIT="adu")
    hdu = fits.PrimaryHDU(np.arange(2000, dtype="i2").reshape(40, 50))
    hdu.data[12, 20] = -999
    hdu.header.update({k: v for k, v in header.items() if k not in {"SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"}})
    with fits.open(io.BytesIO(cut(fits_file(hdu), 0, box))) as hdus:
        assert np.isnan(hdus[0].data[2, 5])
        assert np.isnan(hdus[0].data).sum() == 1
        assert hdus[0].data[0, 0] == 0.5 * (10 * 50 + 15) + 10


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_2", "HCOMPRESS_1"])
def test_a_cutout_of_packed_tiles_is_a_plain_image(kind) -> None:
    pixels = np.random.default_rng(3).normal(0, 9, (40, 50)).astype("f4")
    hdu = fits.CompImageHDU(pixels, sky_header(**SIP), compression_type=kind, tile_shape=(10, 10), name="SCI")
    source = fits_file(fits.PrimaryHDU(), hdu)
    box = (slice(3, 19), slice(8, 41))
    with opened(cut(source, 1, box)) as hdus, fits.open(io.BytesIO(source)) as original:
        assert isinstance(hdus[0], fits.PrimaryHDU)
        assert np.array_equal(hdus[0].data, original[1].data[box])
        assert not [keyword for keyword in hdus[0].header if keyword.startswith(("Z", "TTYPE", "TFORM"))]
        assert_places(original[1].header, hdus[0].header, box)


def test_sums_of_the_source_are_not_passed_on() -> None:
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((40, 50), "i2"), sky_header())]).writeto(file, checksum=True)
    assert b"DATASUM" in file.getvalue()
    found = cut(file.getvalue(), 1, (slice(0, 5), slice(0, 5)))
    with opened(found) as hdus:
        assert "DATASUM" not in hdus[0].header
        assert "CHECKSUM" not in hdus[0].header


def test_a_file_of_several_planes_keeps_their_order_names_and_headers() -> None:
    names = ["SCI", "MASK", "VAR"]
    primary = fits.PrimaryHDU(header=fits.Header([("TELESCOP", "Rubin"), ("EXTEND", True), ("OBSID", "x1")]))
    images = [
        fits.ImageHDU(np.arange(2000).reshape(40, 50).astype(kind), sky_header(), name=name)
        for kind, name in zip(("f4", "i2", "f8"), names, strict=True)
    ]
    source = fits_file(primary, *images)
    records = scan(io.BytesIO(source))
    box = (slice(3, 9), slice(8, 41))
    pieces = [Piece(Hdu(records[0]).header, None)]
    for record in records[1:]:
        header = cut_header(Hdu(record).header, box)
        pieces.append(Piece(header, read_pixels(io.BytesIO(source), record, box)))
    with opened(b"".join(fits_bytes(pieces))) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", *names]
        assert hdus[0].header["TELESCOP"] == "Rubin"
        assert hdus[0].data is None
        for hdu, image in zip(hdus[1:], images, strict=True):
            assert np.array_equal(hdu.data, image.data[box])
            assert_places(image.header, hdu.header, box)


def test_long_texts_comments_and_odd_cards_survive() -> None:
    header = sky_header()
    header["LONGTEXT"] = "a" * 150 + "&'" + "b" * 60
    header["HIERARCH ESO DET CHIP1 NAME"] = "CCD-44"
    header["HISTORY"] = "made by hand " * 12
    header["COMMENT"] = "and so on"
    header.append(("", "a line without a keyword"), end=True)
    header["UNDEF"] = None
    header["BIG"] = 12345678901234567890
    header["TINY"] = 1.2345678901234567e-300
    source = image_file(header)
    header = fits.Header.fromstring(source[: source.index(b"END     ") + 80])
    with opened(cut(source, 0, (slice(0, 40), slice(0, 50)))) as hdus:
        found = hdus[0].header
        for keyword in ("LONGTEXT", "ESO DET CHIP1 NAME", "BIG", "TINY", "UNDEF"):
            assert str(found[keyword]) == str(header[keyword])
        for keyword in ("HISTORY", "COMMENT", ""):
            assert [line for line in found[keyword] if line] == [line for line in header[keyword] if line]


@pytest.mark.parametrize(
    "card",
    [
        b"BADVALUE= 1,234 / decimal comma",
        b"BADTEXT = 'no end of it",
        b"lowcase =                    5",
        b"NANVALUE= NaN",
        b"TIME    = 12:30:00",
        b"OBS NAME= 'space'",
        b"NOVALUE  without a sign",
    ],
)
def test_cards_against_the_standard_do_not_spoil_a_cutout(card) -> None:
    source = image_file(sky_header(SPARE="spare"))
    place = source.index(b"SPARE   =")
    source = source[:place] + card.ljust(80) + source[place + 80 :]
    with opened(cut(source, 0, (slice(0, 4), slice(0, 5)))) as hdus:
        assert hdus[0].data.shape == (4, 5)
        assert hdus[0].header["CRPIX1"] == 25.5


def test_an_hdu_with_only_the_cards_needed_makes_a_file() -> None:
    content = b"".join(fits_bytes([Piece(with_cards(fits.Header()), np.zeros((2, 3), ">f8"))]))
    with opened(content) as hdus:
        assert hdus[0].data.shape == (2, 3)
