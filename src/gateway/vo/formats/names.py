"""Names of columns where each must be there once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def distinct(names: Iterable[str], *, is_folded: bool = False) -> Iterator[str]:
    """Names in their order; those that repeat, maybe without regard to case, get a number."""
    taken: set[str] = set()
    for name in names:
        candidate, number = name, 1
        while (key := candidate.lower() if is_folded else candidate) in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(key)
        yield candidate
