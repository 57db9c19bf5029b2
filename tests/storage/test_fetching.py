"""Files behind URLs of clients: which are asked for, and what a server may do (reliability A11, TAP-44, AUTH-47)."""

import asyncio
import gzip
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.errors import UsageError
from gateway.storage.addresses import Gatekeeper
from gateway.storage.fetching import MAX_URL, Fetcher, parse_url

TABLE = b"<VOTABLE/>" * 1000
MAX_BYTES = 100_000

PRIVATE = (
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::8.8.8.8", "2002:7f00:1::1", "2002:a00:1::1",
    "2001:0:5ef5:79fd::1", "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1",
    "100::1", "5f00::1", "192.88.99.1", "3fff::1",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "1.1.1.1", "130.79.128.5", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "64:ff9b::808:808")

LOOPBACK = (
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "0X7F.0.0.1", "2130706433", "017700000001", "0177.0.0.1",
    "127.00.0.1", "0", "0.0.0.0", "localhost", "LOCALHOST", "localhost.", "[::1]", "[0:0:0:0:0:0:0:1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
)  # fmt: skip
"""What means this machine, in the spellings that its resolver understands."""


def never(host: str, port: int) -> None:
    raise AssertionError(f"{host}:{port} was looked up")


def names(**known: str | Sequence[str]) -> Callable:
    """A resolver that knows some names, and addresses as themselves."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        found = known.get(host.replace(".", "_"), [host] if host[0].isdigit() else [])
        return [found] if isinstance(found, str) else found

    return resolve


def fetcher(*, allowed: Sequence[str] = ("127.0.0.1",), resolve: Callable | None = None, **options) -> Fetcher:
    defaults = {"time_limit": timedelta(seconds=5), "idle_limit": timedelta(seconds=0.3)}
    return Fetcher(gatekeeper=Gatekeeper(allowed=allowed, resolve=resolve), **{**defaults, **options})


class Server:
    """A server that answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.connections = 0
        self.answers: dict[str, bytes | Callable] = {}
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(request)
            answer = self.answers.get(request.split()[1], b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def url(self, path: str = "/t") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


def ok(body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Content-Length": len(body), **(headers or {})}.items())
    return b"HTTP/1.1 200 OK\r\n" + lines.encode() + b"\r\n" + body


def moved(to: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


async def get(url: str, folder: Path, **options) -> bytes:
    path = folder / "fetched"
    size = await fetcher(**options).fetch(url, path, max_bytes=MAX_BYTES)
    assert path.stat().st_size == size
    return path.read_bytes()


# -- which hosts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", PRIVATE)
async def test_addresses_inside_are_refused(address: str) -> None:
    keeper = Gatekeeper(resolve=names(host_example=address))
    assert await keeper.addresses("host.example", 80) == []


@pytest.mark.parametrize("address", PUBLIC)
async def test_public_addresses_are_let_through(address: str) -> None:
    keeper = Gatekeeper(resolve=names(host_example=address))
    assert await keeper.addresses("host.example", 80) == [address]


async def test_of_many_addresses_only_public_ones_are_kept() -> None:
    keeper = Gatekeeper(resolve=names(host_example=["10.0.0.1", "8.8.8.8", "::1", "8.8.8.8"]))
    assert await keeper.addresses("host.example", 80) == ["8.8.8.8"]


@pytest.mark.parametrize("allowed", ["10.1.2.3", "10.1.0.0/16", "Host.Example", "host.example."])
async def test_an_operator_may_let_in_hosts_addresses_and_networks(allowed: str) -> None:
    keeper = Gatekeeper(allowed=[allowed], resolve=names(host_example="10.1.2.3", other_example="10.2.0.1"))
    assert await keeper.addresses("host.example", 80) == ["10.1.2.3"]
    assert await keeper.addresses("other.example", 80) == []


async def test_an_allowed_address_is_allowed_in_its_ipv6_clothes() -> None:
    keeper = Gatekeeper(allowed=["10.1.0.0/16"], resolve=names(host_example="::ffff:10.1.2.3"))
    assert await keeper.addresses("host.example", 80) == ["::ffff:10.1.2.3"]


@pytest.mark.parametrize("scheme", ["http", "HTTP", "https"])
@pytest.mark.parametrize("host", LOOPBACK)
async def test_no_spelling_of_this_machine_is_connected_to(
    server: Server, tmp_path: Path, host: str, scheme: str
) -> None:
    with pytest.raises(UsageError, match=r"has no public address, and only public hosts are asked$"):
        await get(f"{scheme}://{host}:{server.port}/t", tmp_path, allowed=())
    assert server.connections == 0


async def test_the_address_that_was_checked_is_the_one_that_is_asked(server: Server, tmp_path: Path) -> None:
    """A name that leads to a public address when it is checked, and inside a moment later."""
    looked_up = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        looked_up.append(host)
        return ["127.0.0.2" if len(looked_up) == 1 else "127.0.0.1"]

    with pytest.raises(UsageError, match="no connection"):
        await get(f"http://rebinding.example:{server.port}/t", tmp_path, allowed=["127.0.0.2"], resolve=rebinding)
    assert looked_up == ["rebinding.example"]
    assert server.connections == 0


async def test_the_host_is_asked_by_its_name(server: Server, tmp_path: Path) -> None:
    server.answers["/t?a=b;c"] = ok(TABLE)
    url = f"http://archive.example:{server.port}/t?a=b;c#top"
    assert await get(url, tmp_path, resolve=names(archive_example="127.0.0.1")) == TABLE
    assert f"Host: archive.example:{server.port}\r\n" in server.asked[0]


async def test_another_address_is_tried_when_one_is_dead(server: Server, tmp_path: Path) -> None:
    server.answers["/t"] = ok(TABLE)
    resolve = names(archive_example=["127.0.0.9", "127.0.0.1"])
    url = f"http://archive.example:{server.port}/t"
    assert await get(url, tmp_path, allowed=["127.0.0.0/8"], resolve=resolve) == TABLE


# -- which URLs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://example.org/t", "only http and https"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "only http and https"),
        ("//example.org/t", "only http and https"),
        ("http:///t", "no host"),
        ("http://", "no host"),
        ("http://:80/", "no host"),
        ("http://user:secret@example.org/t", "user name or password"),
        ("http://example.org@127.0.0.1/t", "user name or password"),
        ("http://127.0.0.1\\@example.org/", "percent-encoded"),
        ("http://example.org/a b", "percent-encoded"),
        ("http://example.org/\r\nX: y", "percent-encoded"),
        ("http://exämple.org/", "percent-encoded"),
        ("http://127。0。0。1/", "percent-encoded"),
        ("http://%31%32%37.0.0.1/", "no host"),
        ("http://example.org:99999/", "cannot be read"),
        ("http://example.org:x/", "cannot be read"),
        ("http://[::1/", "cannot be read"),
        ("http://[x]/", "cannot be read"),
        ("http://example.org/" + "x" * MAX_URL, str(MAX_URL)),
        ("http://8.8.8.8:25/", "port 25"),
        ("http://8.8.8.8:0/", "port 0"),
        ("https://8.8.8.8:22/", "port 22"),
    ],
)
async def test_a_url_that_is_not_fetched_is_told_why(tmp_path: Path, url: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        await get(url, tmp_path, allowed=(), resolve=names())


def test_ipv6_hosts_keep_their_brackets_in_headers() -> None:
    assert parse_url("http://[2606:4700::1]:8080/x").authority == "[2606:4700::1]:8080"
    assert parse_url("https://example.org:443/x").authority == "example.org"


async def test_a_part_of_the_url_behind_a_hash_is_not_sent(server: Server, tmp_path: Path) -> None:
    server.answers["/t"] = ok(TABLE)
    assert await get(server.url("/t#x"), tmp_path) == TABLE


# -- what is sent ----------------------------------------------------------------------------------------------------


async def test_nothing_of_this_machine_is_sent(server: Server, tmp_path: Path, monkeypatch) -> None:  # AUTH-47
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:1")
    server.answers["/a"] = b"HTTP/1.1 302 Moved\r\nSet-Cookie: a=b\r\nLocation: /t\r\nContent-Length: 0\r\n\r\n"
    server.answers["/t"] = ok(TABLE)
    assert await get(server.url("/a"), tmp_path) == TABLE
    for request in server.asked:
        sent = {line.partition(":")[0].lower() for line in request.splitlines()[1:] if line}
        assert sent == {"host", "accept", "accept-encoding", "connection", "user-agent"}


# -- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(server: Server, tmp_path: Path, status: int) -> None:
    server.answers |= {"/a": moved("b/t", status), "/b/t": ok(TABLE)}
    assert await get(server.url("/a"), tmp_path) == TABLE


async def test_three_redirects_are_followed_and_not_four(server: Server, tmp_path: Path) -> None:
    server.answers |= {f"/{n}": moved(f"/{n + 1}") for n in range(4)} | {"/4": ok(TABLE)}
    assert await get(server.url("/1"), tmp_path) == TABLE
    with pytest.raises(UsageError, match="more than 3 redirects"):
        await get(server.url("/0"), tmp_path)


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("http://127.0.0.2:{port}/t", "no public address"),
        ("http://inside.example:{port}/t", "no public address"),
        ("//169.254.169.254/latest/meta-data/", "no public address"),
        ("file:///etc/passwd", "only http and https"),
        ("http://me:secret@127.0.0.1:{port}/t", "user name"),
        ("http://127.0.0.1:{port}/\x01", "percent-encoded"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_url(server: Server, tmp_path: Path, to: str, told: str) -> None:
    server.answers |= {"/a": moved(to.format(port=server.port)), "/t": ok(TABLE)}
    with pytest.raises(UsageError, match=rf"^(after a redirect: .*{told}|.* none that is HTTP)"):
        await get(server.url("/a"), tmp_path, resolve=names(inside_example="10.0.0.1"))
    assert len(server.asked) == 1


# -- size and time ---------------------------------------------------------------------------------------------------


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        await writer.drain()


async def endless_header(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        writer.write(b"x" * 0x1000)
        await writer.drain()


async def endless_promises(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


async def dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def stalling(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await writer.drain()
    await asyncio.sleep(5)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (endless, f"more than {MAX_BYTES} bytes"),
        (ok(b"x", {"Content-Length": "100001"}), f"more than {MAX_BYTES} bytes"),
        (ok(b"x" * (MAX_BYTES + 1), {"Content-Length": str(10**15)}), f"more than {MAX_BYTES} bytes"),
        (ok(b"x", {"Content-Length": str(10**30)}), "none that is HTTP"),
        (ok(b"x", {"Content-Length": "-1"}), "none that is HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
        (endless_header, "broke off its answer"),
        (ok(b"short", {"Content-Length": "99999"}), "broke off its answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "none that is HTTP"),
        (b"", "broke off its answer"),
        (silent, r"silent for 0\.3 s"),
        (stalling, r"silent for 0\.3 s"),
        (dripping, "longer than 0.6 s"),
        (endless_promises, "longer than 0.6 s"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx", "status 206"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (ok(b"x", {"Content-Encoding": "br"}), "encoding 'br'"),
    ],
)
async def test_what_a_server_does_wrong_is_one_sentence(
    server: Server, tmp_path: Path, answer: bytes | Callable, told: str
) -> None:
    server.answers["/t"] = answer
    with pytest.raises(UsageError, match=told) as caught:
        await get(server.url(), tmp_path, time_limit=timedelta(seconds=0.6))
    assert len(caught.value.message) < 200
    assert "\n" not in caught.value.message


async def test_a_file_of_the_largest_size_is_fetched(server: Server, tmp_path: Path) -> None:
    server.answers["/t"] = ok(b"x" * MAX_BYTES)
    assert len(await get(server.url(), tmp_path)) == MAX_BYTES


async def test_a_file_that_is_packed_on_the_way_stays_packed(server: Server, tmp_path: Path) -> None:
    """Whoever reads it unpacks it, within limits of its own."""
    bomb = gzip.compress(bytes(10 * MAX_BYTES))
    server.answers["/t"] = ok(bomb, {"Content-Encoding": "gzip"})
    assert await get(server.url(), tmp_path) == bomb


async def test_a_closed_port_is_told(tmp_path: Path) -> None:
    async with serving() as gone:
        port = gone.port
    with pytest.raises(UsageError, match=f"no connection at port {port}"):
        await get(f"http://127.0.0.1:{port}/", tmp_path)


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of archive.example and its key in one file, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = path.with_suffix(".key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "2", "-subj", "/CN=archive.example", "-addext", "subjectAltName=DNS:archive.example", "-keyout", str(key),
         "-out", str(path)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + key.read_text())
    return path


@pytest.mark.parametrize(
    ("host", "is_trusted", "told"),
    [("archive.example", True, None), ("other.example", True, "who it is"), ("archive.example", False, "who it is")],
)
async def test_a_server_proves_its_name_though_it_is_reached_by_address(
    tmp_path: Path, certificate: Path, host: str, is_trusted: bool, told: str | None
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=str(certificate)) if is_trusted else None
    resolve = names(archive_example="127.0.0.1", other_example="127.0.0.1")
    async with serving(context) as server:
        server.answers["/t"] = ok(TABLE)
        url = f"https://{host}:{server.port}/t"
        if told is None:
            assert await get(url, tmp_path, resolve=resolve, tls=trust) == TABLE
        else:
            with pytest.raises(UsageError, match=told):
                await get(url, tmp_path, resolve=resolve, tls=trust)
