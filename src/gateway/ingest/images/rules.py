"""What headers cannot say of a collection: a small TOML file beside its images."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from gateway.errors import IngestError
from gateway.vo.obscore import FROM_RULES, Observation

COLUMN_TYPES: Mapping[str, str] = {field.name: str(field.type) for field in fields(Observation)}
"""Type of each column that rules and headers fill, as its class spells it."""

POSITIVE = frozenset({"s_resolution", "em_min", "em_max", "em_res_power"})
"""Columns in which zero and less are no values."""

MOST_CALIB_LEVEL = 4
"""Highest calibration level (ObsCore 1.1, "calib_level")."""

MOST_BAND_M = 1e5
"""Longest wavelength that is believed, metres: who gives nanometres or Angstrom is told."""

CARD_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|EXTEND|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|END|CONTINUE|COMMENT|HISTORY"
    r"|Z(IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+|QUANTIZ|DITHER0)"
)
"""Cards without which the pixels would be read wrongly, and those that hold no value."""

MOST_CARD_TEXT = 68
"""Characters of a text that fits on one card (FITS 4.0, "Character string")."""

WANTED = {
    "string_type": "a text in quotes",
    "list_type": 'a list, such as ["A", "B"]',
    "dict_type": "a table of keys and values",
    "model_type": "a table of keys and values",
    "model_attributes_type": "a table of keys and values",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "greater_than": "a number above zero",
    "finite_number": "a finite number",
    "string_too_short": "a text that is not empty",
    "bool_type": "true or false",
}
"""What to give instead, for pydantic's types of errors."""

UNION_BRANCHES = frozenset({"str", "int", "float", "bool"})
"""What pydantic appends to the place of a value that may have several types."""


class Role(StrEnum):
    """What an image is to the science image beside it."""

    SCIENCE = "science"
    MASK = "mask"
    VARIANCE = "variance"
    WEIGHT = "weight"
    UNCERTAINTY = "uncertainty"
    IGNORED = "ignored"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Band(_Strict):
    """Wavelengths that a filter lets through, vacuum, metres."""

    em_min: float = Field(gt=0, allow_inf_nan=False)
    em_max: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_order(self) -> Band:
        if self.em_min > self.em_max:
            raise ValueError(f"em_min = {self.em_min:g} is more than em_max = {self.em_max:g}")
        if self.em_max > MOST_BAND_M:
            raise ValueError(f"{self.em_max:g} m is no wavelength: give metres, such as 5.5e-7 for 550 nm")
        return self


class Companion(_Strict):
    """How the name of a file beside the science image's follows from it."""

    replace: str = Field(min_length=1)
    by: str


class Progenitors(_Strict):
    """Header cards that name the files from which an image was made."""

    keywords: str = "IMCMB*"


class Rules(_Strict):
    """Rules of one collection."""

    columns: dict[str, StrictStr | StrictBool | StrictInt | StrictFloat] = Field(default_factory=dict)
    """ObsCore columns with one value for all images."""
    keywords: dict[str, list[str]] = Field(default_factory=dict)
    """Header keywords of ObsCore columns, tried before the usual ones."""
    header: dict[str, StrictStr | StrictBool | StrictInt | StrictFloat] = Field(default_factory=dict)
    """Header cards that are wrong or missing in the files."""
    filters: dict[str, Band] = Field(default_factory=dict)
    """Wavelengths for patterns of the filter's name."""
    hdus: dict[Role, list[str]] = Field(default_factory=dict)
    """Patterns of EXTNAME or EXTTYPE for each role."""
    companions: dict[Role, Companion] = Field(default_factory=dict)
    """Files beside the science image's, by what they hold."""
    progenitors: Progenitors = Progenitors()

    @field_validator("columns", "keywords")
    @classmethod
    def _known_columns(cls, value: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(value) - FROM_RULES):
            raise ValueError(
                f"{', '.join(unknown)}: not among the columns that can be set: {', '.join(sorted(FROM_RULES))}"
            )
        return value

    @field_validator("columns")
    @classmethod
    def _fitting_values(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, given in value.items():
            check_value(name, given)
        return value

    @field_validator("header")
    @classmethod
    def _proper_cards(cls, value: dict[str, Any]) -> dict[str, Any]:
        for keyword, given in value.items():
            _check_card(keyword, given)
        return value

    @field_validator("companions")
    @classmethod
    def _true_companions(cls, value: dict[Role, Companion]) -> dict[Role, Companion]:
        if wrong := sorted(role for role in value if role in {Role.SCIENCE, Role.IGNORED}):
            raise ValueError(f"{', '.join(wrong)}: a companion is one of mask, variance, weight, uncertainty")
        return value

    @property
    def digest(self) -> str:
        """What tells whether the rules are still the same; their order does not count."""
        spelled = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(spelled.encode()).hexdigest()[:16]

    def band(self, name: str) -> Band | None:
        """Find the wavelengths of a filter by its name, case aside; the most exact pattern counts."""
        found = [pattern for pattern in self.filters if _matches(name, pattern)]
        return self.filters[min(found, key=_vagueness)] if found else None

    def role(self, names: Iterable[str]) -> Role | None:
        """Find the role of an HDU by its names; ``None`` if the rules do not say. The most exact pattern counts."""
        known = list(names)
        found = [
            (_vagueness(pattern), role)
            for role, patterns in self.hdus.items()
            for pattern in patterns
            if any(_matches(name, pattern) for name in known)
        ]
        return min(found)[1] if found else None

    def companions_of(self, path: str) -> Mapping[Role, str]:
        """Name the files beside an image, by role."""
        return {
            role: rule.by.join(path.rsplit(rule.replace, 1))
            for role, rule in self.companions.items()
            if rule.replace in path
        }

    def science_of(self, path: str) -> str | None:
        """Name the science image that a file would be the companion of; ``None`` if it is none by its name."""
        for role, rule in self.companions.items():
            if rule.by and rule.by in path:
                science = rule.replace.join(path.rsplit(rule.by, 1))
                if self.companions_of(science).get(role) == path:
                    return science
        return None


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name.strip().upper(), pattern.upper())


def _vagueness(pattern: str) -> tuple[bool, int, str]:
    """Order patterns: those without wildcards first, then the longer ones. PostgreSQL does not keep the file's order."""
    return any(mark in pattern for mark in "*?["), -len(pattern), pattern


def check_value(column: str, value: Any) -> None:
    """Refuse a value that a column cannot have.

    Raises
    ------
    ValueError
        Saying what it can have.
    """
    kind = COLUMN_TYPES[column]
    if kind.startswith("str"):
        if not isinstance(value, str):
            raise ValueError(f"{column} = {value!r}: give a text, in quotes")
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{column} = {value!r}: give a number")
    if kind.startswith("int") and not (value == int(value) and 0 <= value <= MOST_CALIB_LEVEL):
        raise ValueError(f"{column} = {value!r}: give a whole number from 0 to {MOST_CALIB_LEVEL}")
    if column in POSITIVE and value <= 0:
        raise ValueError(f"{column} = {value!r}: give a number above zero")


def _check_card(keyword: str, value: Any) -> None:
    if not CARD_KEYWORD.fullmatch(keyword):
        raise ValueError(f"{keyword!r} is no FITS keyword: use up to eight capital letters, digits, - and _")
    if STRUCTURE.fullmatch(keyword):
        raise ValueError(f"{keyword} says how the pixels are stored and cannot be changed")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{keyword} = {value!r}: a header holds only finite numbers")
    if isinstance(value, str) and not (value.isascii() and value.isprintable() and len(value) <= MOST_CARD_TEXT):
        raise ValueError(f"{keyword}: a header holds texts of up to {MOST_CARD_TEXT} printable ASCII characters")


def read_rules(path: Path) -> Rules:
    """Read the rules of a collection from TOML.

    Raises
    ------
    IngestError
        Naming the file, each place in it and what to change there.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise IngestError(f"{path} cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise IngestError(f"{path} is no text in UTF-8") from e
    except tomllib.TOMLDecodeError as e:
        raise IngestError(f"{path} is no TOML: {e}") from e
    try:
        return Rules.model_validate(content)
    except ValidationError as e:
        raise IngestError(f"{path}: {'; '.join(_told(error) for error in e.errors())}") from e


def _told(error: Any) -> str:
    """One fault: where it is, and what is allowed there."""
    kind, loc = error["type"], tuple(part for part in error["loc"] if part not in UNION_BRANCHES)
    place = ".".join(str(part) for part in loc if part != "[key]")
    if kind == "extra_forbidden":
        return f"{place}: there is no such key; known are {', '.join(_keys_beside(loc))}"
    if kind == "missing":
        return f"{place}: is missing"
    if kind == "enum":
        return f"{place}: is none of {', '.join(Role)}"
    if kind in WANTED:
        return f"{place}: {error['input']!r} does not fit, give {WANTED[kind]}"
    return f"{place}: {str(error['msg']).removeprefix('Value error, ')}"


def _keys_beside(loc: tuple[Any, ...]) -> list[str]:
    inner: dict[str, type[_Strict]] = {"filters": Band, "companions": Companion, "progenitors": Progenitors}
    model = inner.get(str(loc[0]), Rules) if len(loc) > 1 else Rules
    return list(model.model_fields)
