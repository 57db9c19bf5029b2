"""``gateway serve`` as a process, with an application that starts quickly."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from gateway.embedded import take_lease
from gateway.errors import UsageError
from gateway.serve.claims import claim_home, listen, local_url, running_service
from gateway.serve.environment import environment
from gateway.settings import Settings
from tests.support.keepers import is_alive, keeper_pid, server_pids, wait_until

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]


class Service:
    """A running ``serve``."""

    def __init__(self, home: Path, process: subprocess.Popen[str], errors: Path) -> None:
        self.home = home
        self.process = process
        self._errors = errors
        self.url = ""

    @property
    def said(self) -> str:
        return self._errors.read_text()

    def wait_ready(self) -> None:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("ready "), self.said
        self.url = line.split()[1]

    def ask(self) -> list[str]:
        """Process id of an API process, and the URLs that it sees."""
        return httpx.get(self.url, timeout=10).text.splitlines()

    @property
    def worker(self) -> int:
        return int((self.home / "worker.pid").read_text())

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(15)


@contextmanager
def started(home: Path, *arguments: str, port: int = 0, wait: bool = True, **settings: str) -> Iterator[Service]:
    """Run ``serve`` until the block ends."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    mine = {"GATEWAY_HOME": str(home), "GATEWAY_PORT": str(port), "PYTHONPATH": str(ROOT)}
    mine |= {f"GATEWAY_{name.upper()}": value for name, value in settings.items()}
    home.mkdir(parents=True, exist_ok=True)
    errors = home / f"stderr-{time.monotonic_ns()}"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.tiny", *arguments],
            env=plain | mine,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with process:
        service = Service(home, process, errors)
        try:
            if wait:
                service.wait_ready()
            yield service
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            finally:
                process.kill()


def is_free(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


@pytest.fixture(scope="module")
def running(made_home: Path) -> Iterator[Service]:
    """A service for tests that only look at it."""
    with tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp") as folder:
        home = Path(folder, "home")
        shutil.copytree(made_home, home)
        with started(home) as service:
            yield service


# -- up and down -------------------------------------------------------------------------------------------


def test_children_see_the_embedded_servers(running: Service) -> None:
    _, database_url, redis_url = running.ask()
    assert database_url == f"postgresql://postgres@/gateway?host={running.home / 'run'}"
    assert redis_url == f"unix://{running.home / 'run' / 'valkey.sock'}"


def test_answers_name_their_software(running: Service) -> None:
    (server,) = httpx.get(running.url).headers.get_list("server")
    assert server.startswith("vo-gateway/")
    assert server.endswith(" (IVOA)")


def test_running_service_is_named(running: Service) -> None:
    assert running_service(Settings(home=running.home)) == f"{running.url} (process {running.process.pid})"


def test_second_serve_on_a_home_is_one_line(running: Service) -> None:
    with started(running.home, wait=False) as second:
        assert second.process.wait(30) == 2
        assert second.said == (
            f"gateway: gateway serve already runs on {running.home}: {running.url} (process {running.process.pid}). For "
            "more workers run `gateway worker`; for a second service set GATEWAY_HOME to another folder.\n"
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_stops_everything(home: Path, number: int) -> None:
    with started(home) as service:
        api, worker, keeper = int(service.ask()[0]), service.worker, keeper_pid(home)
        begun = time.monotonic()
        assert service.end(number) == 0
        assert time.monotonic() - begun < 10
        assert not is_alive(api)
        assert not is_alive(worker)
        assert not server_pids(home)
        wait_until(lambda: not is_alive(keeper), 2)
        assert is_free(service.url)
        assert running_service(Settings(home=home)) is None


def test_servers_of_others_stay_up(home: Path) -> None:
    with take_lease(home, durable=False, grace=0.2), started(home) as service:
        service.end()
        assert server_pids(home)


def test_several_api_processes_share_the_port(home: Path) -> None:
    with started(home, api_processes="2") as service:
        first = {service.ask()[0] for _ in range(20)}
        for pid in first:
            os.kill(int(pid), signal.SIGSTOP)  # whoever answered: now the other one must
        try:
            if len(first) == 1:
                assert service.ask()[0] not in first
        finally:
            for pid in first:
                os.kill(int(pid), signal.SIGCONT)


# -- what dies ---------------------------------------------------------------------------------------------


def test_killed_api_process_is_started_again(home: Path) -> None:
    with started(home) as service:
        killed = service.ask()[0]
        os.kill(int(killed), signal.SIGKILL)
        assert service.ask()[0] != killed  # the connection waits in the backlog meanwhile
        assert "API process 1 ended (SIGKILL); it is started again in 0.5 s" in service.said


def test_killed_worker_is_started_again(home: Path) -> None:
    with started(home) as service:
        wait_until(lambda: service.worker)
        killed = service.worker
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: service.worker != killed)


def test_killed_keeper_is_replaced(home: Path) -> None:
    with started(home) as service:
        killed = keeper_pid(home)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: keeper_pid(home) != killed and len(server_pids(home)) > 2)
        assert service.ask()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_killed_parent_takes_all_with_it_and_the_next_start_works(home: Path) -> None:
    with started(home) as service:
        api, worker = int(service.ask()[0]), service.worker
        port = int(service.url.rpartition(":")[2])
        service.end(signal.SIGKILL)
    with started(home, port=port) as service:
        assert service.ask()
        assert not is_alive(api)
        assert not is_alive(worker)


def test_application_that_never_starts_ends_the_service(home: Path) -> None:
    with started(home, "create_broken_app", wait=False) as service:
        assert service.process.wait(20) == 1
        assert "API process 1 does not start; see above for the reason" in service.said
        assert "broken on purpose" in service.said
    assert not server_pids(home)


# -- what is taken -----------------------------------------------------------------------------------------


def test_busy_port_is_one_line(home: Path) -> None:
    with listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        with started(home, port=port, wait=False) as service:
            assert service.process.wait(30) == 2
            assert service.said == (
                f"gateway: Port {port} on 127.0.0.1 is in use; stop that program or choose another port with --port\n"
            )


def test_serve_that_is_stopping_is_waited_for(tmp_path: Path) -> None:
    with claim_home(tmp_path) as claim:
        claim.announce("http://x")
        claim.announce_stop()
        code = "import sys, pathlib; from gateway.serve.claims import claim_home\nwith claim_home(pathlib.Path(sys.argv[1])): pass"
        second = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1)
    assert second.wait(5) == 0


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("no such host", 0, "is not an address"),
        ("192.0.2.1", 0, "is not an address of this machine"),
    ],
)
def test_address_that_cannot_be_had_is_named(host: str, port: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        listen(host, port)


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1"), ("0.0.0.0", "http://127.0.0.1")])
def test_local_url(host: str, url: str) -> None:
    with listen(host, 0) as listener:
        assert local_url(listener, "/vo") == f"{url}:{listener.getsockname()[1]}/vo"


# -- settings for the children -----------------------------------------------------------------------------


def test_environment_says_all_that_the_settings_say(monkeypatch, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        database_url=SecretStr("postgresql://u:p%40ss@h/d"),
        allowed_hosts=("a.example", "b.example"),
        sync_time_limit=timedelta(minutes=3),
        port=1234,
        base_path="/vo",
    )
    monkeypatch.setenv("GATEWAY_PORT", "9")  # an argument of the command line beat it; it must not come back
    monkeypatch.setenv("gateway_title", "lower case counts too")
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("gateway_title")
    assert Settings() == settings
    assert "gateway_title" not in environment(settings)
