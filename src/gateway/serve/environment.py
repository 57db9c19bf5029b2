"""Settings as environment variables, for processes that must see what their parent sees."""

from __future__ import annotations

import json
import os

from pydantic import SecretStr

from gateway.settings import Settings


def environment(settings: Settings) -> dict[str, str]:
    """Spell settings as the environment of a child: all of them, whatever this process's own environment says."""
    names = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in names}
    plain = settings.model_dump(mode="json", exclude_none=True)
    return inherited | {f"GATEWAY_{name.upper()}": _spell(getattr(settings, name), plain[name]) for name in plain}


def _spell(value: object, plain: object) -> str:
    if isinstance(value, SecretStr):  # masked in the plain form
        return value.get_secret_value()
    if isinstance(plain, list):
        return ",".join(map(str, plain))  # as people write lists of names
    return plain if isinstance(plain, str) else json.dumps(plain)
