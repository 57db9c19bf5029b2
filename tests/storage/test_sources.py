"""Files and URLs, read by ranges: a real folder, and real HTTP servers of this machine."""

import contextlib
import gzip
import io
import os
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from gateway.errors import BackendUnavailableError, DatasetError, NotFoundError, TransientError
from gateway.imaging.hdus import read_pixels, scan
from gateway.storage.sources import BLOCK_BYTES, LocalFile, Stamp, WebFile, source, unpacked
from tests.support.images import image_file, sky_header

CONTENT = np.random.default_rng(7).bytes(3 * BLOCK_BYTES + 12_345)


class Handler(BaseHTTPRequestHandler):
    """Serves what its server holds, with ranges unless told otherwise, and remembers what was asked."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None: ...

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body) -> None:
        server = self.server
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        server.asked.append((self.command, self.headers.get("Range"), self.headers.get("Accept-Encoding")))
        trouble = server.trouble.get(self.command)
        if trouble == "stall":
            server.released.wait(10)
            return
        if trouble == "hang up":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if isinstance(trouble, int) or self.path not in server.files:
            self.send_response(trouble or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, headers = server.files[self.path], dict(server.headers)
        if span and trouble != "whole":
            first, last = int(span[1]), min(int(span[2]), len(body) - 1)
            headers["Content-Range"] = f"bytes {first + (trouble == 'another')}-{last}/{len(body)}"
            body = body[first : last + 1]
        self.send_response(206 if "Content-Range" in headers else 200)
        if trouble != "no size":
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            with contextlib.suppress(OSError):  # a client that has seen enough
                self.wfile.write(body[: len(body) // 2] if trouble == "cut" else body)
        if trouble == "cut":
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.headers, self.trouble, self.asked = {}, {}, {}, []
        self.released = threading.Event()

    def handle_error(self, request, client_address) -> None:
        """Say nothing of clients that hung up, as some of the tests do."""

    def url(self, path) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


@pytest.fixture
def server():
    found = Server()
    found.files["/image.fits"] = CONTENT
    found.headers = {"Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT", "ETag": '"abc-1"'}
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.released.set()
    found.shutdown()
    thread.join()
    found.server_close()


# -- files --------------------------------------------------------------------------------------------------


def test_a_file_is_read_from_anywhere(tmp_path) -> None:
    (path := tmp_path / "a.fits").write_bytes(CONTENT)
    file = source(str(path))
    assert isinstance(file, LocalFile)
    assert file.location == str(path)
    with file.open() as content:
        content.seek(1000)
        assert content.read(10) == CONTENT[1000:1010]


def test_the_stamp_of_a_file_changes_when_it_is_replaced_or_touched(tmp_path) -> None:
    (path := tmp_path / "a.fits").write_bytes(b"one")
    before = LocalFile(path).stamp()
    assert before == LocalFile(path).stamp()
    assert before.size == 3
    (tmp_path / "b.fits").write_bytes(b"two")
    os.utime(tmp_path / "b.fits", ns=(1, 10**9 + 1))  # as long as the first, another nanosecond
    (tmp_path / "b.fits").replace(path)
    after = LocalFile(path).stamp()
    assert after != before
    assert after.tag != before.tag
    os.utime(path, ns=(1, 10**9 + 2))
    assert LocalFile(path).stamp() != after


def test_stamps_survive_json_and_make_strong_tags() -> None:
    stamp = Stamp(10, "Sat, 21 Nov 2026 10:00:00 GMT", "abc")
    assert Stamp.from_json(stamp.to_json()) == stamp
    for one in (stamp, Stamp(10, None), Stamp(10, "Sat, 21 Nov 2026 10:00:00 GMT")):
        assert re.fullmatch(r'"[\x21\x23-\x7e]+"', one.tag)  # RFC 9110, "ETag"


def test_a_missing_file_is_not_found(tmp_path) -> None:
    for path in (tmp_path / "none.fits", tmp_path / "none" / "a.fits"):
        for look in (LocalFile(path).stamp, LocalFile(path).open):
            with pytest.raises(NotFoundError):
                look()


def test_a_file_in_place_of_a_folder_is_not_found(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"")
    for look in (LocalFile(tmp_path / "a" / "b.fits").stamp, LocalFile(tmp_path / "a" / "b.fits").open):
        with pytest.raises(NotFoundError):
            look()


def test_what_is_no_file_is_refused_without_being_read(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.fits")  # opening it would wait for ever
    for path in (tmp_path, tmp_path / "pipe.fits"):
        with pytest.raises(DatasetError, match="not a regular file"):
            LocalFile(path).stamp()
        with pytest.raises(DatasetError, match="not a regular file"):
            LocalFile(path).open()


@pytest.mark.parametrize("name", ["ftp://host/a.fits", "file:///etc/passwd", "s3://bucket/a.fits", "gopher://x/a"])
def test_urls_of_other_schemes_are_refused(name) -> None:
    with pytest.raises(DatasetError, match="neither a path nor an http"):
        source(name)


@pytest.mark.parametrize("name", ["http://h/a.fits", "https://h/a.fits", "HTTP://h/a.fits"])
def test_urls_of_the_web_are_files_of_the_web(name) -> None:
    assert source(name) == WebFile(name)


# -- gzip ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.fits.gz", "a.fits"])
def test_what_is_gzipped_is_unpacked_whatever_its_name(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(gzip.compress(CONTENT, 1))
    with unpacked(LocalFile(tmp_path / name)) as content:
        assert content.seek(0, io.SEEK_END) == len(CONTENT)
        content.seek(BLOCK_BYTES)
        assert content.read(100) == CONTENT[BLOCK_BYTES : BLOCK_BYTES + 100]


@pytest.mark.parametrize("name", ["a.fits.gz", "a.fits"])
def test_what_is_not_gzipped_is_left_as_it_is(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(CONTENT)
    with unpacked(LocalFile(tmp_path / name)) as content:
        assert content.read() == CONTENT


@pytest.mark.parametrize("content", [b"", b"\x1f"])
def test_files_too_short_for_gzip_are_left_as_they_are(tmp_path, content) -> None:
    (tmp_path / "a.fits").write_bytes(content)
    with unpacked(LocalFile(tmp_path / "a.fits")) as found:
        assert found.read() == content


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:2], lambda b: b[:-8] + b"\0" * 8])
def test_a_damaged_gzip_file_is_a_dataset_that_cannot_be_read(tmp_path, damage) -> None:
    (tmp_path / "a.fits.gz").write_bytes(damage(gzip.compress(image_file(sky_header()))))
    with unpacked(LocalFile(tmp_path / "a.fits.gz")) as content, pytest.raises(DatasetError, match="not a readable"):
        scan(content)


# -- the web ------------------------------------------------------------------------------------------------


def test_a_file_of_the_web_is_read_from_anywhere(server) -> None:
    with WebFile(server.url("/image.fits")).open() as content:
        assert content.seek(0, io.SEEK_END) == len(CONTENT)
        for start, size in ((0, 10), (2_000_000, 70_000), (5, BLOCK_BYTES * 2 + 1), (len(CONTENT) - 3, 100)):
            content.seek(start)
            assert content.read(size) == CONTENT[start : start + size]
        assert content.read(1) == b""


def test_only_what_is_needed_is_fetched_and_reads_nearby_cost_one_request(server) -> None:
    with WebFile(server.url("/image.fits")).open() as content:
        for start in range(0, 100_000, 1000):
            content.seek(start)
            content.read(500)
    gets = [span for method, span, _ in server.asked if method == "GET"]
    assert gets == [f"bytes=0-{BLOCK_BYTES - 1}"]


def test_the_file_is_asked_for_as_it_is_stored(server) -> None:
    WebFile(server.url("/image.fits")).stamp()
    with WebFile(server.url("/image.fits")).open() as content:
        content.read(10)
    assert {encoding for _, _, encoding in server.asked} == {"identity"}


def test_the_stamp_of_a_file_of_the_web_is_what_its_server_says(server) -> None:
    file = WebFile(server.url("/image.fits"))
    stamp = file.stamp()
    assert stamp == Stamp(len(CONTENT), "Sat, 21 Nov 2026 10:00:00 GMT", "abc-1")
    server.headers["ETag"] = 'W/"W/abc-1"'  # weak, and with the letters of the prefix in it
    assert file.stamp() == Stamp(len(CONTENT), "Sat, 21 Nov 2026 10:00:00 GMT", "W/abc-1")
    server.files["/image.fits"] = CONTENT + b"!"
    assert file.stamp().size == len(CONTENT) + 1


def test_the_pixels_of_an_image_of_the_web_are_those_of_the_file(server, tmp_path) -> None:
    header = sky_header(shape=(700, 900))
    server.files["/b.fits"] = image_file(header)
    server.files["/b.fits.gz"] = gzip.compress(server.files["/b.fits"], 1)
    box = (slice(300, 310), slice(40, 60))
    expected = np.arange(700 * 900, dtype=">f4").reshape(700, 900)[box]
    for name in ("/b.fits", "/b.fits.gz"):
        with unpacked(source(server.url(name))) as content:
            (record,) = scan(content)
            assert np.array_equal(read_pixels(content, record, box), expected)


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_file_that_the_server_has_no_more_is_not_found(server, status, method) -> None:
    file = WebFile(server.url("/image.fits"))
    server.trouble[method] = status
    with pytest.raises(NotFoundError), file.open() as content:
        content.read(1)


@pytest.mark.parametrize("trouble", [500, 502, 503, 429, "hang up"])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_server_in_trouble_is_one_to_ask_again_later(server, trouble, method) -> None:
    server.trouble[method] = trouble
    with pytest.raises(BackendUnavailableError), WebFile(server.url("/image.fits")).open() as content:
        content.read(1)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_server_that_is_silent_is_given_up(server, method) -> None:
    server.trouble[method] = "stall"
    before = time.monotonic()
    with pytest.raises(TransientError), WebFile(server.url("/image.fits"), timeout_s=0.2).open() as content:
        content.read(1)
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("trouble", ["cut", "another"])
def test_an_answer_that_is_not_the_part_asked_for_is_never_taken(server, trouble) -> None:
    server.trouble["GET"] = trouble
    with pytest.raises(BackendUnavailableError), WebFile(server.url("/image.fits")).open() as content:
        content.read(100)


def test_a_file_that_was_replaced_while_it_is_read_is_never_mixed(server) -> None:
    with WebFile(server.url("/image.fits")).open() as content:
        content.read(10)
        server.files["/image.fits"] = CONTENT + b"more"
        content.seek(2 * BLOCK_BYTES)
        with pytest.raises(BackendUnavailableError):
            content.read(10)


def test_a_server_without_ranges_is_named_and_its_file_not_fetched(server) -> None:
    server.trouble["GET"] = "whole"
    with (
        WebFile(server.url("/image.fits")).open() as content,
        pytest.raises(DatasetError, match=r"does not send parts of it \(HTTP ranges\)"),
    ):
        content.read(10)


def test_a_small_file_of_a_server_without_ranges_is_read(server) -> None:
    server.files["/small.fits"] = CONTENT[:9000]
    server.trouble["GET"] = "whole"
    with WebFile(server.url("/small.fits")).open() as content:
        content.seek(100)
        assert content.read(200) == CONTENT[100:300]


@pytest.mark.parametrize("status", [401, 403])
def test_a_file_that_its_server_keeps_to_itself_is_a_dataset_that_cannot_be_read(server, status) -> None:
    server.trouble["HEAD"] = status
    with pytest.raises(DatasetError, match=f"does not let us read it .*{status}"):
        WebFile(server.url("/image.fits")).stamp()


def test_a_server_that_tells_no_size_is_named(server) -> None:
    server.trouble["HEAD"] = "no size"
    with pytest.raises(DatasetError, match="does not give its size"):
        WebFile(server.url("/image.fits")).stamp()


def test_no_server_at_all_is_one_to_ask_again_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(BackendUnavailableError, match="does not answer"):
        WebFile(f"http://127.0.0.1:{port}/a.fits").stamp()


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(DatasetError, match="URL"):
        WebFile("http://127.0.0.1:port/a.fits").stamp()


def test_a_server_that_fails_amid_the_pixels_is_no_damage_of_the_file(server) -> None:
    server.files["/b.fits"] = image_file(sky_header(shape=(1000, 1000)))
    with WebFile(server.url("/b.fits")).open() as content:
        (record,) = scan(content)
        server.trouble["GET"] = 503
        with pytest.raises(BackendUnavailableError):
            read_pixels(content, record, (slice(990, 1000), slice(0, 10)))
