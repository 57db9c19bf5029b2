"""What an ingest of images did, file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a file."""

    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    COMPANION = "companion"
    """It belongs to the images of another file, and was looked at now."""
    REFUSED = "refused"
    MISSING = "missing"
    """The collection has it, but it is not there any more."""
    REMOVED = "removed"
    """As before, and the collection has forgotten it."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file, for people."""

    path: str
    """Below the root of the collection."""
    outcome: Outcome
    images: int = 0
    """Science images that the collection has from it."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImagesReport:
    """What an ingest of images did."""

    collection: str
    files: tuple[FileReport, ...]
    seconds: float = 0.0
    looked_at: int = 0
    """Files whose content was read."""
    unread: int = 0
    """Files that were not come to, as the ingest was interrupted."""
    is_interrupted: bool = False
    notes: tuple[str, ...] = ()
    """About the collection as a whole."""

    def count(self, outcome: Outcome) -> int:
        """Files with that outcome."""
        return sum(report.outcome is outcome for report in self.files)

    def counts(self) -> list[tuple[Outcome, int, int]]:
        """Give outcome, files and images of each outcome that occurred."""
        files, images = Counter[Outcome](), Counter[Outcome]()
        for report in self.files:
            files[report.outcome] += 1
            images[report.outcome] += report.images
        return [(outcome, files[outcome], images[outcome]) for outcome in Outcome if files[outcome]]

    @property
    def is_all_refused(self) -> bool:
        """Whether nothing was taken, and nothing had been before."""
        return bool(self.files) and all(report.outcome is Outcome.REFUSED for report in self.files)


@dataclass(frozen=True, slots=True)
class Step:
    """How far an ingest has come."""

    done: int
    """Files, of `total`."""
    total: int
    images: int
    """Science images found in them."""
    path: str
    """File that was done last."""


StepSink = Callable[[Step], None]
"""Told after each file."""


def ignore(step: Step) -> None:
    """Show nothing."""


def listed(files: Sequence[FileReport], most: int) -> list[FileReport]:
    """Choose the files that a table lists: all, or where there are more than `most`, those with something to say."""
    if len(files) <= most:
        return list(files)
    return [one for one in files if one.outcome is Outcome.REFUSED or one.notes]
