"""Home folders of embedded servers, ended with the test whatever became of them."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.embedded import take_lease
from tests.support.keepers import end_everything


@pytest.fixture(scope="session")
def made_home() -> Iterator[Path]:
    """A home folder with a cluster that nobody runs, to be copied: making one takes a second."""
    with tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp") as folder:
        home = Path(folder, "home")
        take_lease(home, durable=False).stop()
        yield home


@pytest.fixture
def empty_home() -> Iterator[Path]:
    """A home folder that does not exist yet; its path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))
    yield folder / "home"
    end_everything(folder / "home", signal.SIGTERM)
    shutil.rmtree(folder)


@pytest.fixture
def home(empty_home: Path, made_home: Path) -> Path:
    """A home folder with a cluster that nobody runs yet."""
    shutil.copytree(made_home, empty_home, symlinks=True)
    return empty_home
