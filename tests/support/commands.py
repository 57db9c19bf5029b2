"""The command line in this process, as it is typed."""

import io
import sys
from collections.abc import Callable, Mapping

import pytest

from gateway.cli import main

Run = Callable[..., tuple[int, str, str]]
"""``gateway(*arguments, text="")`` gives the exit code and what was printed to both streams; ``text`` is typed into it."""


def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: Mapping[str, str], *first: str
) -> Run:
    """Run ``gateway`` with these first arguments, in an environment that others may change."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gateway", *first, *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        code: object = 0
        try:
            main()
        except SystemExit as e:
            code = e.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        return code, said.out, said.err

    return run
