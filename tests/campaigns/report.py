"""What a campaign did and found, as Markdown that can be pasted into the documentation."""

from __future__ import annotations

import os
import platform
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".cache" / "campaigns"
"""Where reports are written; git does not see it."""


@dataclass(frozen=True)
class Verdict:
    """An invariant, and what breaks it."""

    name: str
    claim: str
    broken: Sequence[str] = ()
    checked: str = ""
    """How much was looked at."""


@dataclass
class Report:
    """One campaign."""

    campaign: str
    title: str
    seed: int
    is_full: bool
    minimum: Mapping[str, int]
    """Faults without which the campaign has shown nothing."""
    faults: Counter[str] = field(default_factory=Counter)
    outcome: dict[str, object] = field(default_factory=dict)
    """Counts and times, in the order of the table."""
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What deserves a look and breaks nothing."""

    def add(self, claim: str, broken: Sequence[str], *, checked: str = "") -> None:
        """Judge a claim of this campaign's own, beside the invariants."""
        self.verdicts.append(Verdict("", claim, tuple(broken), checked))

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.campaign}-{'full' if self.is_full else 'short'}-{self.seed}"

    def keep(self, logs: Iterable[Path]) -> None:
        """Keep the logs of a run that deserves a look."""
        folder = FOLDER / f"{self.name}.logs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for log in logs:
            shutil.copyfile(log, folder / log.name)

    @property
    def missing(self) -> list[str]:
        """Faults of which too few were done."""
        return [
            f"{name}: {self.faults[name]} of {least}"
            for name, least in self.minimum.items()
            if self.faults[name] < least
        ]

    @property
    def first_broken(self) -> Verdict | None:
        """The first claim that does not hold."""
        return next((verdict for verdict in self.verdicts if verdict.broken), None)

    def markdown(self) -> str:
        """The whole report."""
        form = "full" if self.is_full else "short"
        machine = (
            f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
        )
        lines = [
            f"### {self.campaign}: {self.title}",
            "",
            f"Seed {self.seed}, {form} form, {machine}.",
            "",
            "| count | |",
            "| --- | --- |",
            *(f"| {name} | {count} |" for name, count in sorted(self.faults.items())),
            *(f"| {name} | {value} |" for name, value in self.outcome.items()),
            "",
            "| | claim | looked at | verdict |",
            "| --- | --- | --- | --- |",
            *(
                f"| {v.name} | {v.claim} | {v.checked} | {f'**broken: {len(v.broken)}**' if v.broken else 'holds'} |"
                for v in self.verdicts
            ),
            "",
        ]
        if self.missing:
            lines += [f"**Too few faults were done:** {'; '.join(self.missing)}", ""]
        if (first := self.first_broken) is not None:
            lines += [
                f"**First broken: {first.name} {first.claim}**",
                "",
                *(f"- `{text}`" for text in first.broken[:8]),
                "",
            ]
        if self.notes:
            lines += ["Notes:", "", *(f"- {note}" for note in self.notes), ""]
        return "\n".join(lines)

    def finish(self) -> None:
        """Print it, write it, and fail if something is broken or nothing was done."""
        text = self.markdown()
        print(f"\n{text}", flush=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{self.name}.md").write_text(text)
        assert not self.missing, f"{self.campaign} seed {self.seed}: too few faults were done: {self.missing}"
        first = self.first_broken
        assert first is None, f"{self.campaign} seed {self.seed}: {first.name} {first.claim}: {list(first.broken[:5])}"
