"""The README's examples run as printed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
PRINTED_URL = "http://127.0.0.1:8080"

pytestmark = pytest.mark.server


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run_python(example: str, demo: str) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", example.replace(PRINTED_URL, demo)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_example_runs_as_printed(demo: str) -> None:
    example, _ = blocks("python")
    printed = run_python(example, demo)
    assert "source_id" in printed
    assert "Sirius" in printed
    assert "Vega" in printed


def test_image_example_runs_as_printed(demo: str) -> None:
    """A star that is alone lies within a tenth of a pixel of where the coordinates put it, at once and by job."""
    _, example = blocks("python")
    printed = run_python(example, demo)
    assert "#cutout" in printed
    distances = [float(found) for found in re.findall(r"(\d\.\d{3}) px", printed)]
    assert len(distances) >= 3, printed
    assert max(distances) < 0.1


def test_curl_example_runs_as_printed(demo: str) -> None:
    (example,) = [block for block in blocks("sh") if block.startswith("curl")]
    done = subprocess.run(
        ["sh", "-c", example.replace(PRINTED_URL, demo)], capture_output=True, text=True, timeout=60, check=True
    )
    header, *rows = done.stdout.splitlines()
    assert header == "hip,ra,dec,hpmag"
    assert rows[0].startswith("32349,")  # Sirius
    assert len(rows) == 3


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
def test_stilts_example_runs_as_printed(demo: str) -> None:
    (example,) = [block for block in blocks("sh") if block.startswith("stilts")]
    done = subprocess.run(
        ["sh", "-c", example.replace(PRINTED_URL, demo)], capture_output=True, text=True, timeout=120, check=True
    )
    assert "source_id" in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]) == 3
