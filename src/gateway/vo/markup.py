"""XML as text: what may stand in a document, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 cannot hold in any spelling."""

_SPECIAL = re.compile('[&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]')
"""Characters that need care somewhere; most texts have none."""

REPLACEMENT = "\ufffd"


def clean(text: str) -> str:
    """Replace what XML cannot hold by U+FFFD (VOT-36)."""
    return _FORBIDDEN.sub(REPLACEMENT, text)


def escaped(text: str) -> str:
    """Text as element content. A carriage return is written as a reference, else parsers make it a line feed."""
    if not _SPECIAL.search(text):
        return text
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


def attribute(text: str) -> str:
    """Text as an attribute value, without the quotes; white space survives the parser's normalisation."""
    if not _SPECIAL.search(text):
        return text
    text = escaped(text).replace('"', "&quot;")
    return text.replace("\n", "&#10;").replace("\t", "&#9;")


def attributes(values: Mapping[str, str | None]) -> str:
    """Attributes with a leading blank each; those without value are left out."""
    return "".join(f' {name}="{attribute(value)}"' for name, value in values.items() if value is not None)


def element(name: str, text: str | None, **values: str | None) -> str:
    """Element with text; nothing at all when the text is ``None``."""
    if text is None:
        return ""
    return f"<{name}{attributes(values) if values else ''}>{escaped(text)}</{name}>"
