"""Settings come from the environment, and a wrong one is told by its name."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.settings import Settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("0.5", 0.5), ("90s", 90), ("15m", 900), ("4h", 14400), ("14d", 1209600), ("PT1M", 60)],
)
def test_durations_are_seconds_or_carry_their_unit(monkeypatch, text: str, seconds: float) -> None:
    monkeypatch.setenv("GATEWAY_LEASE", text)
    assert Settings().lease == timedelta(seconds=seconds)


def test_hosts_are_separated_by_commas(monkeypatch) -> None:
    monkeypatch.setenv("GATEWAY_ALLOWED_HOSTS", "a.example, b.example")
    assert Settings().allowed_hosts == ("a.example", "b.example")


def test_file_gives_settings_and_the_environment_wins(monkeypatch, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('port = 9000\ntitle = "From the file"\n')
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    monkeypatch.setenv("GATEWAY_PORT", "9001")
    settings = Settings()
    assert (settings.port, settings.title) == (9001, "From the file")


def test_public_url_loses_its_trailing_slash(monkeypatch) -> None:
    monkeypatch.setenv("GATEWAY_PUBLIC_BASE_URL", "https://vo.example.org/")
    assert Settings().public_base_url == "https://vo.example.org"


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_wrong_value_is_one_line_that_names_the_variable(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "settings"],
        env={"GATEWAY_PORT": "eighty", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "GATEWAY_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_secrets_are_not_shown(monkeypatch) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://me:hunter2@db/gateway")
    assert "hunter2" not in repr(Settings())
