"""What an ingest of images says on a terminal: a bar while it runs, a table at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.ingest.images.report import FileReport, ImagesReport, Outcome, Step, listed

MOST_LISTED = 100
"""Files up to which a table lists them all; of more, those with something to say."""

COLOURS = {Outcome.REFUSED: "red", Outcome.MISSING: "yellow", Outcome.ADDED: "green", Outcome.UPDATED: "green"}

WIDE = 1_000
"""Columns of a table that no terminal shows: one file, one line."""

PATH_SHOWN = 40
"""Characters of the current file beside the bar."""


LINE_INTERVAL_S = 5.0
"""Time between lines in a log."""


@contextmanager
def files_bar(console: Console, what: str) -> Iterator[Callable[[Step], None]]:
    """Show how far files have come, and the last of them; where nobody watches, a line now and then."""
    if not console.is_terminal:
        yield _Lines(console, what).tell
        return
    columns = (
        SpinnerColumn(),
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[path]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, path="")

        def show(step: Step) -> None:
            path = step.path if len(step.path) <= PATH_SHOWN else f"...{step.path[3 - PATH_SHOWN :]}"
            bar.update(task, completed=step.done, total=step.total, path=path)

        yield show


class _Lines:
    """Says how far files have come, for logs."""

    def __init__(self, console: Console, what: str) -> None:
        self._console = console
        self._what = what
        self._last = time.monotonic()

    def tell(self, step: Step) -> None:
        if time.monotonic() - self._last > LINE_INTERVAL_S:
            self._last = time.monotonic()
            self._console.print(f"{self._what}: {step.done:,} of {step.total:,}", highlight=False)


def show_report(report: ImagesReport, console: Console, *, is_full: bool = False) -> None:
    """Print what happened to each file, or, of many, to those that were refused or noted; then the totals."""
    is_narrow = console.is_terminal
    if not is_narrow:
        console = Console(file=console.file, width=WIDE)
    chosen = report.files if is_full else listed(report.files, MOST_LISTED)
    if chosen:
        console.print(_files_table(chosen, "\n" if is_narrow else "; "))
    if len(chosen) < len(report.files):
        console.print(
            f"{len(report.files) - len(chosen):,} files with nothing to say are not listed; --list lists all.",
            highlight=False,
        )
    for note in report.notes:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    totals = ", ".join(f"{files:,} {outcome}" for outcome, files, _ in report.counts()) or "no files"
    images = sum(images for _, _, images in report.counts())
    rate = f" ({report.looked_at / report.seconds:,.0f} files/s)" if report.looked_at and report.seconds else ""
    console.print(
        f"{report.collection}: {totals}; images: {images:,}; {report.seconds:.1f} s{rate}.",
        highlight=False,
        soft_wrap=True,
    )


def _files_table(files: Sequence[FileReport], between: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold", ratio=3)
    table.add_column("outcome", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("notes", overflow="fold", ratio=5)
    for file in files:
        table.add_row(
            Text(file.path),
            Text(file.outcome, style=COLOURS.get(file.outcome, "")),
            str(file.images) if file.images else "",
            Text(between.join(file.notes)),
        )
    return table
