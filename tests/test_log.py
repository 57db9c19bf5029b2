"""What the log settings do, seen from outside: one process, one event."""

import json
import subprocess
import sys

import pytest

EVENTS = """
import structlog
from gateway.log import configure_logs
from gateway.settings import Settings
configure_logs(Settings())
structlog.get_logger().info("Job queued", job_id="a\\nb")
structlog.get_logger().warning("Job lost", job_id="c")
"""


def lines(**settings: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", EVENTS], env=settings, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_log_format_json_is_one_object_a_line() -> None:
    first, second = (json.loads(line) for line in lines(GATEWAY_LOG_FORMAT="json"))
    assert (first["event"], first["level"], first["job_id"]) == ("Job queued", "info", "a\nb")
    assert second["event"] == "Job lost"


def test_log_format_console_cannot_be_made_to_show_lines_of_its_own() -> None:  # A26
    first, second = lines(GATEWAY_LOG_FORMAT="console")
    assert "Job queued" in first
    assert "Job lost" in second


@pytest.mark.parametrize(("level", "count"), [("debug", 2), ("info", 2), ("warning", 1), ("error", 0)])
def test_log_level(level: str, count: int) -> None:
    assert len(lines(GATEWAY_LOG_LEVEL=level)) == count
