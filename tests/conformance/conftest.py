"""A whole gateway as a process, with the demo survey: what an astronomer's own client meets."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.stock import free_port


@pytest.fixture(autouse=True)
def _sockets_of_pyvo() -> Iterator[None]:
    """Let go of the sockets that pyvo leaves open, before their warning would fail the suite."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def demo() -> Iterator[str]:
    """URL of a running ``gateway demo``; it must stop by itself within ten seconds when told to."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gw-") as home, (Path(home) / "out.txt").open("wb") as output:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", "--small", "--port", str(port)],
            env=environment | {"GATEWAY_HOME": home},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_ready(url, process, 240, Path(home) / "out.txt")
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            finally:
                process.kill()
        assert process.returncode == 0, (Path(home) / "out.txt").read_text()


def wait_ready(url: str, process: subprocess.Popen[bytes], patience_s: float, output: Path) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the gateway ended with {process.returncode}: {output.read_text()}")
        try:
            if httpx.get(f"{url}/healthz/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"the gateway was not ready after {patience_s} s: {output.read_text()}")
