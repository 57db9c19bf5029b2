"""An S3 server for tests: moto's, in a process of its own on loopback, behind what moto lacks and what goes wrong.

``python -m tests.support.s3`` prints its port and serves until its standard input ends. Before moto stand:

- signatures: a request without a valid one is refused, and so is a signed URL after its time;
- the true age of unfinished uploads, and pages when they are listed;
- faults, each told by ``PUT /-/faults`` as a JSON list (see `Fault`).
"""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

ACCESS_KEY, SECRET_KEY, REGION = "gateway-tests", "not-a-secret", "us-east-1"
PAGE = 5
"""Objects and unfinished uploads of one page of a listing; Amazon's pages have 1,000."""
NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


@dataclass
class Fault:
    """What happens to the next requests that match."""

    method: str
    """HTTP method."""
    what: str
    """``status`` (refused with `status` and `code`), ``hang`` (no answer for `seconds`), ``lose`` (done, but answered with
    `status`), ``cut`` (the answer's body ends after `after` bytes), ``drop`` (done as far as anyone can see, but nothing is
    kept), ``skip`` (passes)."""
    query: str = ""
    """Part of the query string, for example ``partNumber``."""
    times: int = 1
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 0.0
    after: int = 0

    def matches(self, environ: Environ) -> bool:
        return self.times > 0 and environ["REQUEST_METHOD"] == self.method and self.query in environ["QUERY_STRING"]


# -- in the server's process ------------------------------------------------------------------------------------


class Front:
    """WSGI application before moto's."""

    def __init__(self, moto: Callable[[Environ, StartResponse], Iterable[bytes]]) -> None:
        self._moto = moto
        self._faults: list[Fault] = []
        self._seen: list[str] = []
        self._begun: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/-/"):
            return self._control(environ, start)
        try:
            refusal = refuse(environ)
        except (KeyError, ValueError):
            refusal = "AuthorizationQueryParametersError"
        if refusal:
            return error(start, 403, refusal)
        with self._lock:
            self._seen.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
            fault = next((fault for fault in self._faults if fault.matches(environ)), None)
            if fault is not None:
                fault.times -= 1
        return self._serve(environ, start, fault)

    def _control(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        with self._lock:
            if environ["REQUEST_METHOD"] == "PUT":
                told = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
                self._faults = [Fault(**one) for one in told]
                self._seen = []
            answer = {"left": sum(fault.times for fault in self._faults), "seen": self._seen}
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def _serve(self, environ: Environ, start: StartResponse, fault: Fault | None) -> Iterable[bytes]:
        match fault.what if fault else "pass":
            case "status":
                read_all(environ)
                return error(start, fault.status, fault.code)
            case "hang":
                read_all(environ)
                time.sleep(fault.seconds)
                return error(start, 503, "ServiceUnavailable")
            case "drop":
                read_all(environ)
                start("200 OK", [("ETag", '"0"'), ("Content-Length", "0")])
                return []
            case "lose":
                b"".join(self._moto(environ, lambda *_: None))
                return error(start, fault.status, fault.code)
            case "cut":
                return cut(self._moto(environ, start), fault.after)
            case _:
                return self._noted(environ, start)

    def _noted(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """Pass to moto; note when uploads begin, and tell it in their list."""
        names = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
        if "uploads" not in names:
            return self._moto(environ, start)
        heads: list[Any] = []
        body = b"".join(self._moto(environ, lambda *head: heads.append(head)))
        if environ["REQUEST_METHOD"] == "POST":
            (upload_id,) = [one.text for one in ET.fromstring(body).iter() if one.tag.endswith("UploadId")]
            self._begun[upload_id or ""] = datetime.now(UTC)
        elif environ["REQUEST_METHOD"] == "GET" and heads[0][0].startswith("200"):
            body = self._page(body, names)
        status, headers, *_ = heads[0]
        start(
            status, [(k, v) for k, v in headers if k.lower() != "content-length"] + [("Content-Length", str(len(body)))]
        )
        return [body]

    def _page(self, body: bytes, names: Mapping[str, str]) -> bytes:
        """Cut moto's whole list to a page, in the order of Amazon's."""
        root = ET.fromstring(body)
        found = {}
        for one in [child for child in root if child.tag.endswith("Upload")]:
            root.remove(one)
            ids = {child.tag.rpartition("}")[2]: child for child in one}
            ids["Initiated"].text = self._begun[ids["UploadId"].text or ""].isoformat().replace("+00:00", "Z")
            found[ids["Key"].text or "", ids["UploadId"].text or ""] = one
        after = (names.get("key-marker", ""), names.get("upload-id-marker", ""))
        rest = [place for place in sorted(found) if place > after]
        for place in rest[:PAGE]:
            root.append(found[place])
        told = {child.tag.rpartition("}")[2]: child for child in root}
        told["IsTruncated"].text = str(len(rest) > PAGE).lower()
        if len(rest) > PAGE:
            space = root.tag.rpartition("}")[0] + "}" if "}" in root.tag else ""
            for name, text in zip(("NextKeyMarker", "NextUploadIdMarker"), rest[PAGE - 1], strict=True):
                if name not in told:
                    told[name] = ET.SubElement(root, space + name)
                told[name].text = text
        return ET.tostring(root)


def read_all(environ: Environ) -> None:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def cut(body: Iterable[bytes], after: int) -> Iterator[bytes]:
    yield b"".join(body)[:after]
    raise ConnectionResetError("cut on purpose")


def error(start: StartResponse, status: int, code: str) -> Iterable[bytes]:
    body = f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
    start(f"{status} {code}", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def refuse(environ: Environ) -> str | None:
    """Code of the refusal of a request that is not signed by us (AWS, "Signature Version 4"); ``None``: it is."""
    names = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
    told = dict(names)
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if "X-Amz-Signature" in told:
        date, given = told["X-Amz-Date"], told["X-Amz-Signature"]
        signed, payload = told["X-Amz-SignedHeaders"], "UNSIGNED-PAYLOAD"
        begun = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > begun + timedelta(seconds=int(told["X-Amz-Expires"])):
            return "AccessDenied"
        names = [(name, value) for name, value in names if name != "X-Amz-Signature"]
    elif authorization.startswith("AWS4-HMAC-SHA256 "):
        fields = dict(one.strip().split("=", 1) for one in authorization.partition(" ")[2].split(","))
        date, given = environ["HTTP_X_AMZ_DATE"], fields["Signature"]
        signed, payload = fields["SignedHeaders"], environ["HTTP_X_AMZ_CONTENT_SHA256"]
    else:
        return "AccessDenied"
    canonical = "\n".join(
        (
            environ["REQUEST_METHOD"],
            quote(unquote(environ["RAW_URI"].partition("?")[0]), safe="/-_.~"),
            "&".join(sorted(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in names)),
            *(f"{name}:{' '.join(header(environ, name).split())}" for name in signed.split(";")),
            "",
            signed,
            payload,
        )
    )
    scope = f"{date[:8]}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET_KEY}".encode()
    for step in (*scope.split("/"), text):
        key = hmac.digest(key, step.encode(), "sha256")
    return None if hmac.compare_digest(key.hex(), given) else "SignatureDoesNotMatch"


def header(environ: Environ, name: str) -> str:
    plain = name.upper().replace("-", "_")
    return str(environ.get(plain if plain in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{plain}", ""))


def serve() -> None:
    """Serve until standard input ends; prints the port first."""
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = str(PAGE)
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: object) -> None:
            """Say nothing."""

    front = Front(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, front, threaded=True, request_handler=Quiet)
    print(server.port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


# -- in the tests' process --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class S3Server:
    """The server, as tests see it."""

    port: int
    environment: Mapping[str, str] = field(
        default_factory=lambda: {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    )
    """Variables of processes that use it."""

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """Hold a server."""
        command = [sys.executable, "-W", "ignore", "-m", "tests.support.s3"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield cls(int(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(10)
            process.stdout.close()

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def break_down(self, *faults: Fault) -> None:
        """Set what goes wrong from now on, and forget what was seen."""
        self._ask("PUT", json.dumps([asdict(fault) for fault in faults]).encode())

    def left(self) -> int:
        """How many faults have not happened."""
        return int(self._ask("GET")["left"])

    def seen(self) -> list[str]:
        """Requests since the faults were set."""
        return list(self._ask("GET")["seen"])

    def _ask(self, method: str, body: bytes | None = None) -> Any:
        with urlopen(Request(f"{self.url}/-/faults", data=body, method=method), timeout=10) as answer:
            return json.load(answer)


if __name__ == "__main__":
    serve()
