"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request, also when nobody knows who it is."""

    key: str
    """What slots and quotas are counted by: the account, else the address."""
    account: str | None = None
    """Name of the account; ``None`` for anonymous callers."""
    address: str | None = None
    """Network address, where there is one."""


ANONYMOUS = Caller("anonymous")
"""A caller of whom nothing is known."""
