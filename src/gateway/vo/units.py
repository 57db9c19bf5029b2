"""Units of measure: how much of one makes another.

VOUnits 1.0, and the looser ways in which units of columns are written (``km s-1``, ``erg/cm^2/s``). Small on purpose: a query
needs one factor, and must not wait for a library to load.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import NoReturn

PREFIXES: Mapping[str, int] = {
    "y": -24, "z": -21, "a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "µ": -6, "μ": -6, "m": -3, "c": -2, "d": -1,
    "da": 1, "h": 2, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "Z": 21, "Y": 24,
}  # fmt: skip
"""Powers of ten."""

MAX_POWER = 100
"""Greatest exponent; nothing measured comes near, and a power of a fraction costs memory."""


class UnitError(ValueError):
    """A text is no unit, or two units measure different things."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Amount of some dimension."""

    scale: Fraction = Fraction(1)
    """Size in SI units, apart from `pi`: exact, so that 1 deg is 3600 arcsec and not nearly so."""
    pi: int = 0
    """Power of pi in the size."""
    dimensions: Mapping[str, Fraction] = field(default_factory=dict)
    """Powers of ``m kg s A K mol cd rad`` and of what is counted (``mag``, ``photon``, ...)."""
    names: Mapping[str, Fraction] = field(default_factory=dict, compare=False)
    """Powers of the units as they were written."""

    def times(self, other: Unit, power: Fraction = Fraction(1)) -> Unit:
        """Multiply by a power of another unit."""
        scaled = other.scale**power  # a float for roots, which are rare
        turns = other.pi * power
        scale = self.scale * Fraction(scaled)
        if turns.denominator != 1:
            scale, turns = scale * Fraction(math.pi ** float(turns)), Fraction(0)
        dimensions = _added(self.dimensions, other.dimensions, power)
        return Unit(scale, self.pi + int(turns), dimensions, _added(self.names, other.names, power))


def _added(one: Mapping[str, Fraction], other: Mapping[str, Fraction], power: Fraction) -> dict[str, Fraction]:
    both = dict(one)
    for name, exponent in other.items():
        both[name] = both.get(name, Fraction(0)) + exponent * power
    return {name: exponent for name, exponent in both.items() if exponent}


def factor(unit: str, to: str) -> Fraction | float:
    """Find what a value in one unit is multiplied with to be in another.

    Returns
    -------
    Fraction or float
        A fraction where it is exact.

    Raises
    ------
    UnitError
        One of them is no unit, or they measure different things.
    """
    one, other = parse_unit(unit), parse_unit(to)
    if one.dimensions != other.dimensions:
        raise UnitError(f"{unit} cannot be converted to {to}")
    ratio = one.scale / other.scale
    return ratio if one.pi == other.pi else float(ratio) * math.pi ** (one.pi - other.pi)


@lru_cache(maxsize=1024)
def parse_unit(text: str) -> Unit:
    """Read a unit.

    Raises
    ------
    UnitError
        The text is no unit.
    """
    return _Reader(text).whole()


def combined(one: str, other: str, exponent: int | Fraction = 1) -> str | None:
    """Spell the product of a unit and a power of another as VOUnits does.

    Returns
    -------
    str or None
        ``None`` where either is no unit or has a number in it, or where nothing is left.
    """
    if not (is_unit(one) and is_unit(other)):
        return None
    both = parse_unit(one).times(parse_unit(other), Fraction(exponent))
    if any(_has_number(text) for text in (one, other)):
        return None
    above = ".".join(_spelt(name, power) for name, power in both.names.items() if power > 0)
    below = [_spelt(name, -power) for name, power in both.names.items() if power < 0]
    if not above:
        return ".".join(_spelt(name, power) for name, power in both.names.items()) or None
    return above if not below else f"{above}/{below[0]}" if len(below) == 1 else f"{above}/({'.'.join(below)})"


def power_of(unit: str | None, exponent: Fraction) -> str | None:
    """Spell a power of a unit; ``None`` where there is no unit, or a part of one would get a broken power."""
    if unit is None or not is_unit(unit):
        return None
    if any((power * exponent).denominator != 1 for power in parse_unit(unit).names.values()):
        return None
    return combined(unit, unit, exponent - 1)


def is_unit(text: str) -> bool:
    """Whether a text is a unit that can be converted."""
    try:
        parse_unit(text)
    except UnitError:
        return False
    return True


def _has_number(text: str) -> bool:
    return re.match(r"\s*[\d.]", text) is not None


def _spelt(name: str, power: Fraction) -> str:
    if power == 1:
        return name
    return f"{name}**{power}" if power.denominator == 1 else f"{name}**({power})"


TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-zµμÅ%]+)|(?P<symbol>\*\*|[-+*/.^()]))|(?P<blank>\s+)$"
)
EXPONENT = re.compile(
    r"\s*(?P<sign>\*\*|\^)?\s*(?:(?P<whole>[+-]?\d+)(?!\d|\.\d)|\((?P<top>[+-]?\d+)(?:[/:](?P<bottom>\d+))?\))"
)


class _Reader:
    """Reads ``[number] factor {(. | * | blank | /) factor}``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.depth = 0

    def fail(self) -> NoReturn:
        raise UnitError(f"{self.text!r} is no unit")

    def whole(self) -> Unit:
        if not self.text.strip() or len(self.text) > 200:
            self.fail()
        unit = self.expression()
        if self.text[self.place :].strip():
            self.fail()
        return unit

    def next(self) -> tuple[str, str]:
        """Kind and text of what comes next; stays where it is."""
        found = TOKEN.match(self.text, self.place)
        if found is None or found.lastgroup in {None, "blank"}:
            return "end", ""
        return str(found.lastgroup), found.group(str(found.lastgroup))

    def step(self) -> None:
        found = TOKEN.match(self.text, self.place)
        assert found is not None
        self.place = found.end()

    def expression(self) -> Unit:
        unit = self.leading_number()
        over = False
        expected = True  # an operand, not an operator
        if self.next() == ("symbol", "/"):  # "/s", as in counts
            expected = False
        while True:
            kind, text = self.next()
            if kind == "end" or text == ")":
                if expected:
                    self.fail()
                return unit
            if kind == "symbol" and text in {".", "*", "/"}:
                if expected:
                    self.fail()
                over, expected = text == "/", True
                self.step()
                continue
            unit = unit.times(self.factor(), Fraction(-1 if over else 1))
            over = expected = False

    def leading_number(self) -> Unit:
        kind, text = self.next()
        if kind != "number":
            return Unit()
        self.step()
        scale = Fraction(text)
        if text == "10" and (exponent := self.exponent()) is not None:
            scale = Fraction(10**exponent)
        if scale <= 0:
            self.fail()
        if self.next()[1] in {".", "*"}:
            self.step()
        return Unit(Fraction(scale))

    def factor(self) -> Unit:
        kind, text = self.next()
        if kind == "symbol" and text == "(":
            self.step()
            self.depth += 1
            if self.depth > 8:
                self.fail()
            base = self.expression()
            if self.next()[1] != ")":
                self.fail()
            self.step()
            self.depth -= 1
        elif kind == "name":
            self.step()
            known = _named(text)
            if known is None:
                self.fail()
            base = Unit(known.scale, known.pi, known.dimensions, {text: Fraction(1)})
        else:
            self.fail()
        exponent = self.exponent()
        return base if exponent is None else Unit().times(base, exponent)

    def exponent(self) -> Fraction | None:
        """``**2``, ``^-1``, ``-1``, ``2``, ``**(1/2)`` right after a unit."""
        found = EXPONENT.match(self.text, self.place)
        if found is None or (
            found.group("sign") is None and self.text[self.place : found.start("whole")].strip(" ") != ""
        ):
            return None
        if found.group("sign") is None and (found.group("whole") is None or self.text[self.place].isspace()):
            return None
        self.place = found.end()
        value = Fraction(int(found["whole"] or found["top"]), int(found["bottom"] or 1) or 1)
        if abs(value) > MAX_POWER:
            self.fail()
        return value


def _named(name: str) -> Unit | None:
    if (unit := UNITS.get(name)) is not None:
        return unit
    for length in (1, 2):
        exponent, rest = PREFIXES.get(name[:length]), name[length:]
        if exponent is not None and rest in UNITS and rest not in NO_PREFIX:
            return Unit(Fraction(10) ** exponent).times(UNITS[rest])
    return None


NO_PREFIX = frozenset(
    """
    min h hr d day deg arcmin mas uas AU au kg solMass solLum solRad Angstrom angstrom Å pixel pix ct count counts photon ph
    bin chan beam voxel % percent electron adu month cy micron hour
    """.split()
)
"""Names that take no prefix."""

_TABLE = """
m | 1 | m=1
g | 1/1000 | kg=1
kg | 1 | kg=1
s | 1 | s=1
A | 1 | A=1
K | 1 | K=1
mol | 1 | mol=1
cd | 1 | cd=1
rad | 1 | rad=1
sr | 1 | rad=2
Hz | 1 | s=-1
N | 1 | kg=1 m=1 s=-2
J | 1 | kg=1 m=2 s=-2
W | 1 | kg=1 m=2 s=-3
C | 1 | A=1 s=1
V | 1 | kg=1 m=2 s=-3 A=-1
S | 1 | kg=-1 m=-2 s=3 A=2
F | 1 | kg=-1 m=-2 s=4 A=2
Wb | 1 | kg=1 m=2 s=-2 A=-1
T | 1 | kg=1 s=-2 A=-1
H | 1 | kg=1 m=2 s=-2 A=-2
lm | 1 | cd=1 rad=2
lx | 1 | cd=1 rad=2 m=-2
Ohm ohm | 1 | kg=1 m=2 s=-3 A=-2
Pa | 1 | kg=1 m=-1 s=-2
min | 60 | s=1
h hr hour | 3600 | s=1
d day | 86400 | s=1
a yr | 31557600 | s=1
cy | 3155760000 | s=1
deg | pi/180 | rad=1
arcmin | pi/10800 | rad=1
arcsec | pi/648000 | rad=1
mas | pi/648000000 | rad=1
uas | pi/648000000000 | rad=1
erg | 1e-7 | kg=1 m=2 s=-2
eV | 1.602176634e-19 | kg=1 m=2 s=-2
Ry | 2.179872361103542e-18 | kg=1 m=2 s=-2
u | 1.66053906660e-27 | kg=1
AU au | 149597870700 | m=1
lyr | 9460730472580800 | m=1
pc | pi* 96939420213600000 | m=1
solLum Lsun | 3.828e26 | kg=1 m=2 s=-3
solMass Msun | 1.988409870698051e30 | kg=1
solRad Rsun | 6.957e8 | m=1
G | 1/10000 | kg=1 s=-2 A=-1
barn | 1e-28 | m=2
Jy | 1e-26 | kg=1 s=-2
Angstrom angstrom Å | 1e-10 | m=1
micron | 1e-6 | m=1
dyn | 1e-5 | kg=1 m=1 s=-2
mag | 1 | mag=1
ct count counts | 1 | count=1
photon ph | 1 | photon=1
pixel pix | 1 | pixel=1
adu | 1 | adu=1
electron | 1 | electron=1
bin | 1 | bin=1
chan | 1 | chan=1
beam | 1 | beam=1
voxel | 1 | voxel=1
bit | 1 | bit=1
byte B | 8 | bit=1
dex | 1 | dex=1
% percent | 1/100 |
"""
"""Names, size in SI, powers of the dimensions. A parsec is 648,000/pi astronomical units (IAU 2015 B2)."""


def _units() -> Iterator[tuple[str, Unit]]:
    for line in _TABLE.strip().splitlines():
        names, size, powers = (part.strip() for part in line.split("|"))
        dimensions = {name: Fraction(exponent) for name, _, exponent in (p.partition("=") for p in powers.split())}
        turns = 1 if size.startswith("pi/") else -1 if size.startswith("pi*") else 0
        amount = 1 / Fraction(size[3:]) if turns == 1 else Fraction(size[3:].strip()) if turns == -1 else Fraction(size)
        for name in names.split():
            yield name, Unit(amount, turns, dimensions)


UNITS: Mapping[str, Unit] = dict(_units())
"""Every unit by each of its names, without prefixes."""
