# noqa: INP001 - a script, not a package
"""Write docs/commands.md and docs/settings.md from the code: ``make docs``."""

import subprocess
import sys
from pathlib import Path

from gateway.settings import Settings

HERE = Path(__file__).parent


def settings_table() -> str:
    """One row for each setting."""
    lines = [
        "# Settings",
        "",
        "Environment variables, or keys (lower case, without `GATEWAY_`) of the TOML file that `GATEWAY_CONFIG` names.",
        "",
        "| variable | default | meaning |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in {None, "", ()} else f"`{field.default}`"
        lines.append(f"| `GATEWAY_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files."""
    (HERE / "settings.md").write_text(settings_table(), encoding="utf-8")
    command = [
        "-m",
        "typer",
        "gateway.cli",
        "utils",
        "docs",
        "--name",
        "gateway",
        "--output",
        str(HERE / "commands.md"),
    ]
    subprocess.run([sys.executable, *command], check=True)


if __name__ == "__main__":
    main()
