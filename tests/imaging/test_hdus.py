"""HDUs found and pixels read, bit for bit as astropy has them, and no more bytes than needed."""

import gzip
import io
import time
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import DatasetError
from gateway.imaging.hdus import MOST_HEADER_BYTES, Hdu, HduRecord, read_pixels, scan
from tests.support.images import fits_file, image_file, record_of, sky_header

RNG = np.random.default_rng(11)


class Counting(io.BytesIO):
    """Counts the reads, and their bytes."""

    reads = size = 0

    def read(self, size=-1, /):
        found = super().read(size)
        self.reads, self.size = self.reads + 1, self.size + len(found)
        return found


def bits(array):
    """The bytes of an array, big-endian: NaN equal to itself."""
    return array.astype(array.dtype.newbyteorder(">")).tobytes()


def stored(content, number, *, raw=True):
    """All pixels of an HDU as astropy has them."""
    with fits.open(io.BytesIO(content), do_not_scale_image_data=raw) as hdus:
        return np.array(hdus[number].data)


def assert_read(content, number, box) -> None:
    expected = stored(content, number)[tuple(box)]
    found = read_pixels(io.BytesIO(content), record_of(content, number), box)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype.newbyteorder(">")
    assert bits(found) == bits(expected)


def noise(dtype, shape=(37, 53)):
    if np.dtype(dtype).kind == "f":
        found = RNG.normal(100, 10, shape).astype(dtype)
        found.flat[::7] = np.nan
        found.flat[3::31] = -np.inf
        return found
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


BOX = (slice(5, 29), slice(11, 40))
BOXES = [BOX, (slice(0, 37), slice(0, 53)), (slice(36, 37), slice(52, 53)), (slice(0, 1), slice(0, 53))]


@pytest.mark.parametrize("box", BOXES, ids=str)
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8", "u2", "u4", "i1"])
def test_pixels_of_every_bitpix_are_bit_equal(dtype, box) -> None:
    assert_read(fits_file(fits.PrimaryHDU(noise(dtype))), 0, box)


def test_scaled_pixels_are_left_as_stored() -> None:
    hdu = fits.PrimaryHDU(noise("i2"))
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.25, 1000.0, -32768
    content = fits_file(hdu)
    assert_read(content, 0, BOX)
    header = Hdu(record_of(content)).header
    assert (header["BSCALE"], header["BZERO"], header["BLANK"]) == (0.25, 1000.0, -32768)


def test_images_among_tables_are_found_by_their_numbers() -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("names", "PA()", array=np.array(["a", "bcd" * 999, ""], "O"))])
    text = fits.TableHDU.from_columns([fits.Column("n", "I6", array=np.arange(5000))])
    images = [fits.ImageHDU(noise("i2"), name=name) for name in ("one", "two")]
    content = fits_file(
        fits.PrimaryHDU(), table, images[0], text, fits.CompImageHDU(noise("i4"), name="packed"), images[1], table
    )
    records = scan(io.BytesIO(content))
    assert [record.is_image for record in records] == [False, False, True, False, True, True, False]
    assert [record.is_compressed for record in records] == [False] * 4 + [True] + [False] * 2
    assert [Hdu(record).name for record in records][2:6] == ["ONE", "", "PACKED", "TWO"]
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        places = [(hdu.fileinfo()["hdrLoc"], hdu.fileinfo()["datLoc"]) for hdu in hdus]
    assert [(record.offset, record.data_offset) for record in records] == places
    for number in (2, 4, 5):
        assert_read(content, number, BOX)


def test_a_large_image_in_the_middle_costs_only_its_rows() -> None:
    large = np.arange(3000 * 2000, dtype="i4").reshape(3000, 2000)
    content = fits_file(fits.PrimaryHDU(noise("f4")), fits.ImageHDU(large), fits.ImageHDU(noise("f8")))
    file = Counting(content)
    records = scan(file)
    assert file.size < 100_000
    assert_read(content, 2, BOX)
    file = Counting(content)
    found = read_pixels(file, records[1], (slice(1500, 1510), slice(700, 720)))
    assert np.array_equal(found, large[1500:1510, 700:720])
    assert file.size <= 10 * 2000 * 4
    file = Counting(content)
    found = read_pixels(file, records[1], (slice(0, 3000), slice(700, 720)))  # a column: not all of 24 MB
    assert np.array_equal(found, large[:, 700:720])
    assert file.size == 3000 * 20 * 4


def test_a_box_of_a_cube_costs_only_its_rows() -> None:
    cube = np.arange(40 * 200 * 300, dtype="f4").reshape(2, 20, 200, 300)
    content = fits_file(fits.PrimaryHDU(cube))
    file = Counting(content)
    box = (slice(1, 2), slice(3, 7), slice(20, 25), slice(30, 50))
    assert np.array_equal(read_pixels(file, record_of(content), box), cube[box])
    assert file.size <= 4 * 5 * 300 * 4


@settings(max_examples=60, deadline=None)
@given(data=st.data(), axes=st.integers(1, 5))
def test_any_box_of_any_number_of_axes_is_bit_equal(data, axes) -> None:
    shape = tuple(data.draw(st.integers(1, 6)) for _ in range(axes))
    cube = np.arange(np.prod(shape), dtype="i2").reshape(shape)
    box = tuple(slice(a := data.draw(st.integers(0, n - 1)), data.draw(st.integers(a + 1, n))) for n in shape)
    content = fits_file(fits.PrimaryHDU(cube))
    assert np.array_equal(read_pixels(io.BytesIO(content), record_of(content), box), cube[box])


# -- compressed ---------------------------------------------------------------------------------------------

LOSSLESS = [
    *((kind, dtype) for kind in ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1") for dtype in ("u1", "i2", "i4", "u2")),
    *((kind, dtype) for kind in ("GZIP_1", "GZIP_2") for dtype in ("u4", "f4", "f8", "i8")),
    ("RICE_1", "u4"),
]


def packed(pixels, kind, **options) -> bytes:
    return fits_file(fits.PrimaryHDU(), fits.CompImageHDU(pixels, compression_type=kind, **options))


@pytest.mark.parametrize(("kind", "dtype"), LOSSLESS)
def test_pixels_of_lossless_tiles_are_bit_equal(kind, dtype) -> None:
    pixels = noise(dtype)
    if kind == "HCOMPRESS_1":
        pixels = (pixels // 2**16 if dtype == "i4" else pixels).astype(dtype)  # what the codec can hold
    options = {"quantize_level": 0.0} if np.dtype(dtype).kind == "f" else {}
    content = packed(pixels, kind, tile_shape=(16, 16) if kind == "HCOMPRESS_1" else (10, 17), **options)
    assert bits(stored(content, 1, raw=False)) == bits(pixels)
    assert_read(content, 1, BOX)
    assert_read(content, 1, BOXES[2])


def test_pixels_of_plio_tiles_are_bit_equal() -> None:
    mask = RNG.integers(0, 2**12, (37, 53)).astype("i2")
    content = packed(mask, "PLIO_1")
    assert bits(stored(content, 1)) == bits(mask)
    assert_read(content, 1, BOX)


@pytest.mark.parametrize("dither", [-1, 1, 2])
@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "HCOMPRESS_1"])
def test_quantised_pixels_are_what_astropy_unpacks(kind, dither) -> None:
    pixels = RNG.normal(100, 10, (64, 80)).astype("f4")
    pixels[10:14, 20:30] = 0.0  # kept by SUBTRACTIVE_DITHER_2
    if kind != "HCOMPRESS_1":
        pixels[5, 5:9] = np.nan
    content = packed(pixels, kind, tile_shape=(16, 16), quantize_level=16.0, quantize_method=dither, dither_seed=123)
    assert_read(content, 1, (slice(3, 50), slice(7, 71)))
    found = read_pixels(io.BytesIO(content), record_of(content, 1), (slice(0, 64), slice(0, 80)))
    assert np.nanmax(np.abs(found - pixels)) < 3
    assert np.array_equal(np.isnan(found), np.isnan(pixels))


def test_blank_pixels_of_tiles_keep_their_number_and_its_name() -> None:
    hdu = fits.ImageHDU(noise("i2"))
    hdu.data[7, 12:20] = -999
    hdu.header["BLANK"] = -999
    content = packed(hdu.data, "RICE_1", header=hdu.header)
    record = record_of(content, 1)
    assert Hdu(record).header["BLANK"] == -999
    found = read_pixels(io.BytesIO(content), record, BOX)
    assert (found[2, 1:9] == -999).all()


def test_a_cube_of_tiles_is_read_in_all_axes() -> None:
    cube = RNG.integers(0, 1000, (5, 20, 30)).astype("i4")
    content = packed(cube, "RICE_1", tile_shape=(2, 8, 8))
    box = (slice(1, 4), slice(3, 17), slice(5, 29))
    assert np.array_equal(read_pixels(io.BytesIO(content), record_of(content, 1), box), cube[box])


def test_a_box_of_a_large_packed_image_costs_only_its_tiles() -> None:
    content = packed(RNG.integers(0, 60_000, (2048, 2048)).astype("i4"), "GZIP_2", tile_shape=(128, 128))
    record = record_of(content, 1)
    file = Counting(content)
    assert_read(content, 1, (slice(1000, 1010), slice(1000, 1010)))
    read_pixels(file, record, (slice(1000, 1010), slice(1000, 1010)))
    assert file.size < len(content) / 20


def test_a_file_gzipped_as_a_whole_is_read_inside() -> None:
    content = fits_file(fits.PrimaryHDU(noise("f4")), fits.ImageHDU(noise("i2")))
    with gzip.open(io.BytesIO(gzip.compress(content))) as file:
        record = scan(file)[1]
        assert bits(read_pixels(file, record, BOX)) == bits(stored(content, 1)[BOX])


def test_records_survive_json() -> None:
    content = packed(noise("i2"), "RICE_1")
    for record in scan(io.BytesIO(content)):
        assert HduRecord.from_json(record.to_json()) == record


def test_cards_that_are_wrong_are_put_right() -> None:
    record = record_of(image_file(sky_header(RADESYS=None, EQUINOX=0.0)))
    mended = record.with_cards({"EQUINOX": 2000.0, "RADESYS": "FK5"})
    assert Hdu(mended).header["EQUINOX"] == 2000.0
    assert Hdu(mended).header["RADESYS"] == "FK5"
    assert Hdu(record).header["EQUINOX"] == 0.0


# -- what is no FITS file, or a bad one ---------------------------------------------------------------------


def bare(**cards) -> bytes:
    """Header as given, without data."""
    lines = ["SIMPLE  =                    T", *(f"{name:<8}= {value:>20}" for name, value in cards.items()), "END"]
    text = "".join(line.ljust(80) for line in lines).encode()
    return text + b" " * (-len(text) % 2880)


TABLE = dict.fromkeys(("BITPIX", "NAXIS", "NAXIS1", "NAXIS2"), 8) | {"NAXIS": 2, "PCOUNT": 0, "GCOUNT": 1, "TFIELDS": 0}
IMAGE = image_file(sky_header())

BAD = {
    "empty": b"",
    "a byte": b"S",
    "garbage": RNG.bytes(100_000),
    "a page": b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>" * 100,
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(3000),
    "SIMPLE alone": b"SIMPLE  =                    T",
    "cut in its header": IMAGE[:1000],
    "cut in its pixels": IMAGE[:-4000],
    "without END": IMAGE[:80] + b" " * (MOST_HEADER_BYTES * 2),
    "30 GB": bare(BITPIX=16, NAXIS=2, NAXIS1=100_000, NAXIS2=150_000),
    "more than 64 bits": bare(BITPIX=64, NAXIS=2, NAXIS1=2**62, NAXIS2=2**62),
    "a thousand million axes": bare(BITPIX=16, NAXIS=10**9),
    "negative NAXIS": bare(BITPIX=16, NAXIS=-2),
    "negative NAXIS1": bare(BITPIX=16, NAXIS=2, NAXIS1=-5, NAXIS2=5),
    "two negatives": bare(BITPIX=16, NAXIS=2, NAXIS1=-5, NAXIS2=-5) + bytes(2880),
    "NAXIS of half a pixel": bare(BITPIX=16, NAXIS=2, NAXIS1=5.5, NAXIS2=5) + bytes(2880),
    "missing NAXIS2": bare(BITPIX=16, NAXIS=2, NAXIS1=5) + bytes(2880),
    "NAXIS1 of text": bare(BITPIX=16, NAXIS=2, NAXIS1="'5'", NAXIS2=5) + bytes(2880),
    "no BITPIX": bare(NAXIS=2, NAXIS1=5, NAXIS2=5) + bytes(2880),
    "BITPIX 7": bare(BITPIX=7, NAXIS=2, NAXIS1=5, NAXIS2=5) + bytes(2880),
    "a second HDU of 30 GB": IMAGE + bare(BITPIX=16, NAXIS=2, NAXIS1=100_000, NAXIS2=150_000, PCOUNT=0, GCOUNT=1)
    .replace(b"SIMPLE  =                    T", b"XTENSION= 'IMAGE   '          "),
    "a second HDU cut off": (IMAGE + fits_file(fits.PrimaryHDU(), fits.ImageHDU(noise("f8")))[2880:])[:-6000],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_at_once_in_one_line_and_little_memory(name) -> None:
    tracemalloc.start()
    before = time.process_time()
    with pytest.raises(DatasetError) as error:
        scan(io.BytesIO(BAD[name]))
    assert time.process_time() - before < 2
    assert tracemalloc.get_traced_memory()[1] < 4 * MOST_HEADER_BYTES
    tracemalloc.stop()
    assert "\n" not in error.value.message
    assert 10 < len(error.value.message) < 300


@pytest.mark.parametrize("name", ["empty", "garbage", "a page"])
def test_what_is_no_fits_file_is_said_to_be_none(name) -> None:
    with pytest.raises(DatasetError, match="not a FITS file"):
        scan(io.BytesIO(BAD[name]))


def changed(content, **cards) -> bytes:
    """Bytes of a file with some cards of its last header written over."""
    for name, value in cards.items():
        place = content.rindex(f"{name:<8}=".encode())
        content = content[:place] + f"{name:<8}= {value:>20}".ljust(80).encode() + content[place + 80 :]
    return content


@pytest.mark.parametrize(
    "cards",
    [
        {"ZTILE1": 10**6, "ZTILE2": 10**6, "ZNAXIS1": 10**6, "ZNAXIS2": 10**6},
        {"ZNAXIS1": -5},
        {"ZNAXIS": 10**9},
        {"ZTILE1": 0},
        {"ZTILE1": -1},
        {"ZBITPIX": 7},
        {"ZNAXIS1": 1.5},
    ],
    ids=str,
)
def test_tiles_that_cannot_be_or_are_too_large_are_refused_before_they_are_unpacked(cards) -> None:
    content = packed(noise("i4"), "RICE_1", tile_shape=(8, 8))
    with pytest.raises(DatasetError, match=r"tiles|damaged"):
        scan(io.BytesIO(changed(content, **cards)))


def test_a_bomb_of_tiles_makes_no_gigabytes() -> None:
    """A few kilobytes of gzip that claim to be, and are, one huge tile."""
    content = changed(packed(np.zeros((64, 64), "i4"), "GZIP_1", tile_shape=(64, 64)), ZNAXIS2=2**20, ZTILE2=2**20)
    with pytest.raises(DatasetError, match="tiles of 4096 MiB"):
        scan(io.BytesIO(changed(content, ZNAXIS1=1024, ZTILE1=1024)))


# Not HCOMPRESS_1: astropy's decoder writes beyond its buffers then, and the process dies. Pixels are read in children.
@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2"])
def test_damaged_tiles_are_an_error_of_the_dataset_or_other_pixels_but_no_crash(kind) -> None:
    content = bytearray(packed(noise("i2", (64, 64)), kind, tile_shape=(16, 16)))
    record = record_of(bytes(content), 1)
    for _ in range(20):
        broken = bytearray(content)
        for place in RNG.integers(record.data_offset, len(content) - 100, 20):
            broken[place] = RNG.integers(0, 256)
        try:
            assert read_pixels(io.BytesIO(broken), record, (slice(0, 64), slice(0, 64))).shape == (64, 64)
        except DatasetError as e:
            assert "\n" not in e.message  # noqa: PT017 - either may happen


def test_a_file_that_has_become_shorter_is_said_to_be_cut_off() -> None:
    record = record_of(IMAGE)
    with pytest.raises(DatasetError, match="cut off"):
        read_pixels(io.BytesIO(IMAGE[:-4000]), record, (slice(30, 40), slice(0, 50)))


def test_a_last_block_that_is_not_filled_up_is_no_damage() -> None:
    content = fits_file(fits.PrimaryHDU(noise("i2")))
    short = content[: record_of(content).data_offset + 37 * 53 * 2]
    assert bits(read_pixels(io.BytesIO(short), record_of(short), BOX)) == bits(stored(content, 0)[BOX])
    with pytest.raises(DatasetError, match="cut off"):
        scan(io.BytesIO(short[:-1]))


@pytest.mark.parametrize("rest", [bytes(2880), b"junk" * 999, b"XTEN"])
def test_what_follows_the_last_hdu_is_left_alone(rest) -> None:
    assert len(scan(io.BytesIO(IMAGE + rest))) == 1


def test_random_groups_and_images_without_pixels_are_no_images() -> None:
    groups = bare(BITPIX=16, NAXIS=3, NAXIS1=0, NAXIS2=5, NAXIS3=5, GROUPS="T", PCOUNT=1, GCOUNT=2) + bytes(2880)
    assert [record.is_image for record in scan(io.BytesIO(groups + fits_file(fits.PrimaryHDU())[2880:]))] == [False]
    assert not record_of(bare(BITPIX=16, NAXIS=2, NAXIS1=0, NAXIS2=5)).is_image


def test_headers_with_foreign_letters_are_read() -> None:
    content = IMAGE.replace(b"RADESYS = 'ICRS    '  ", b"OBSERVER= 'Jos\xe9    '  ")
    assert content != IMAGE
    assert Hdu(record_of(content)).header["OBSERVER"] == "Jos?"
