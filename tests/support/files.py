"""Looking at folders in which others write and remove meanwhile."""

import os
from collections.abc import Iterator
from pathlib import Path


def entries_below(root: Path) -> Iterator[os.stat_result]:
    """State of a folder and of all that is below it, as far as it is still there when its turn comes."""
    for folder, _, names in os.walk(root):  # unlike rglob, it passes over folders that have gone
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            try:
                yield path.lstat()
            except FileNotFoundError:
                continue


def files_below(root: Path) -> list[str]:
    """Names of all files below a folder, relative to it, sorted."""
    return sorted(
        Path(folder, name).relative_to(root).as_posix() for folder, _, names in os.walk(root) for name in names
    )
