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
    base_url: str = ""
    """URL under which the caller sees this gateway, without a trailing slash; links in answers begin with it."""


ANONYMOUS = Caller("anonymous")
"""A caller of whom nothing is known."""
