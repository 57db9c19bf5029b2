"""As whom PostgreSQL runs when it cannot run as us."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway
from gateway.embedded import binaries, identity, take_lease
from gateway.embedded.layout import Layout
from gateway.errors import BackendUnavailableError
from tests.support.files import entries_below
from tests.support.keepers import end_everything, keeper_pid, postmaster_pid, sql, valkey, wait_until

NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can do this")
as_user = pytest.mark.skipif(os.geteuid() == 0, reason="only for a normal user")

TRIAL = """
import os, sys
from pathlib import Path
from gateway.embedded import take_lease
from gateway.embedded.layout import Layout
lease = take_lease(Path(sys.argv[1]), durable=False, grace=0.2)
print(os.geteuid(), Layout(Path(sys.argv[1])).postgres.stat().st_uid, flush=True)
lease.stop()
"""


def python_for_everybody() -> str | None:
    """A Python that a normal user can run here; root's own may lie in root's home."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        trial = [candidate, "-c", f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"]
        try:
            if subprocess.run(trial, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", check=False).returncode == 0:
                return candidate
        except OSError:
            continue
    return None


@pytest.fixture
def nobodys_home() -> Iterator[Path]:
    """Home folder in a place of ``nobody``'s."""
    folder = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))
    os.chown(folder, NOBODY, NOBODY)
    yield folder / "home"
    end_everything(folder / "home", signal.SIGTERM)
    shutil.rmtree(folder)


@as_user
def test_normal_user_runs_it_as_themselves(home: Path) -> None:
    with take_lease(home, durable=False, valkey=False):
        assert Path(f"/proc/{postmaster_pid(home)}").stat().st_uid == os.geteuid()


@as_root
def test_normal_user_beside_root(nobodys_home: Path) -> None:
    python = python_for_everybody()
    if python is None:
        pytest.skip("no Python here that a normal user can run")
    packages = [Path(gateway.__file__).parents[1], binaries.postgres_programs().parents[2]]
    done = subprocess.run(
        [python, "-c", TRIAL, str(nobodys_home)],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, packages)), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [str(NOBODY), str(NOBODY)], done.stderr


@as_root
@pytest.mark.parametrize("namespaces", [True, False])
def test_root_gets_a_server(home: Path, namespaces: bool) -> None:
    with take_lease(home, durable=False, namespaces=namespaces, grace=0.2) as lease:
        assert sql(lease.servers, "SELECT 1") == 1
        assert valkey(lease.servers).ping()
        lease.stop()


@as_root
def test_root_in_a_namespace_changes_no_owner(empty_home: Path) -> None:
    with take_lease(empty_home, durable=False, valkey=False):
        pass
    assert {entry.st_uid for entry in entries_below(empty_home)} == {0}


@as_root
def test_root_without_namespaces_reaches_a_closed_folder(empty_home: Path) -> None:
    empty_home.mkdir(mode=0o700)
    with take_lease(empty_home, durable=False, valkey=False, namespaces=False) as lease:
        assert sql(lease.servers, "SELECT 1") == 1
        assert Layout(empty_home).postgres.stat().st_uid == NOBODY
        assert stat.S_IMODE(empty_home.stat().st_mode) == 0o700
        lease.stop()
    with take_lease(empty_home, durable=False, valkey=False, grace=0.2) as lease:  # now with namespaces: still works
        assert sql(lease.servers, "SELECT 1") == 1
        lease.stop()


@as_root
def test_root_in_a_users_home_leaves_it_usable(nobodys_home: Path, made_home: Path) -> None:
    shutil.copytree(made_home, nobodys_home)
    for path in (nobodys_home, *nobodys_home.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    with take_lease(nobodys_home, durable=False, grace=0.2) as lease:
        assert sql(lease.servers, "SELECT 1") == 1
        assert {entry.st_uid for entry in entries_below(nobodys_home)} == {NOBODY}
        lease.stop()


@as_root
def test_where_nothing_works_the_way_out_is_named(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(identity, "_works", lambda *_: False)
    with pytest.raises(BackendUnavailableError, match=r"normal user.*GATEWAY_DATABASE_URL"):
        identity.choose_identity(tmp_path / "postgres", tmp_path, Path("/bin/true"))


@as_root
def test_after_a_killed_keeper_servers_of_a_namespace_are_ended(home: Path) -> None:
    with take_lease(home, durable=False, valkey=False):
        first = postmaster_pid(home)
        os.kill(keeper_pid(home), signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{first}").exists())


@as_user
def test_home_of_another_user_is_named() -> None:
    with pytest.raises(BackendUnavailableError, match="GATEWAY_HOME"):
        take_lease(Path("/root/gateway-home"))
