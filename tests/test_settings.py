"""Settings come from the environment, and a wrong one is told by its name."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.cli import load_settings
from gateway.errors import ParameterError
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


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("GATEWAY_LOG_LEVEL", "verbose", "'debug', 'info', 'warning' or 'error'"),
        ("GATEWAY_LOG_FORMAT", "xml", "'console' or 'json'"),
        ("GATEWAY_QUERY_MEMORY", "lots", "64MB"),
        ("GATEWAY_QUERY_TEMP_LIMIT", "4 GB", "64MB"),
        ("GATEWAY_BASE_PATH", "vo", "/vo"),
        ("GATEWAY_PUBLIC_BASE_URL", "vo.example.org", "whole URL"),
        ("GATEWAY_AUTHORITY", "our survey", "org.example"),
        ("GATEWAY_REDIS_URL", "me:hunter2@cache", "redis://host:6379"),
        ("GATEWAY_LEASE", "soon", "duration"),
        ("GATEWAY_UPLOAD_HOSTS", "archive.internal, 10.1.0.0/99", "'10.1.0.0/99' is none"),
        ("GATEWAY_UPLOAD_HOSTS", "http://archive.internal", "host names"),
        ("GATEWAY_RESULTS", "gs://bucket/prefix", "s3://bucket/prefix"),
        ("GATEWAY_RESULTS", "s3://bucket/../other", "s3://bucket/prefix"),
        ("GATEWAY_RESULTS_ENDPOINT", "minio.internal:9000", "http://minio.internal:9000"),
        ("GATEWAY_RESULTS_DELIVERY", "post", "'proxy' or 'redirect'"),
        ("GATEWAY_RESULTS_LINK_LIFE", "2h", "at most an hour"),
        ("GATEWAY_WORKER_SLOTS", "0", "greater than or equal to 1"),
        ("GATEWAY_CONFIG", "/nowhere/gateway.toml", "No such file"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(monkeypatch, variable: str, value: str, told: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ParameterError, match=variable) as error:
        load_settings()
    assert told in error.value.message
    assert "hunter2" not in error.value.message


@pytest.mark.parametrize(("content", "told"), [("port = \n", "Invalid value"), ("prot = 1\n", "no such setting")])
def test_wrong_file_is_told(monkeypatch, tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "gateway.toml").write_text(content)
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "gateway.toml"))
    with pytest.raises(ParameterError, match=told):
        load_settings()


def test_words_may_have_any_letter_case(monkeypatch) -> None:
    monkeypatch.setenv("GATEWAY_LOG_LEVEL", "WARNING")
    assert Settings().log_level == "warning"
