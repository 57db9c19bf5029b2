"""A stored table again: in another format, or rows of it only."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.vo.dali import ParamBag, Parameter, parse_count, parse_maxrec

PARAMETERS = (
    Parameter(
        "RESPONSEFORMAT", "The table in this format: a media type or a short name such as votable, csv, parquet."
    ),
    Parameter("OFFSET", "Rows of the table to pass over.", example="1000"),
    Parameter(
        "MAXREC", "Most rows wanted; 0: the description only. A table that was cut says OVERFLOW.", example="1000"
    ),
)


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of a stored table are wanted, and how.

    The names are those of DALI where it has one; OFFSET is ADQL's word.
    """

    response_format: str | None = None
    """As sent; ``None``: as stored."""
    offset: int = 0
    maxrec: int | None = None
    """``None``: all."""

    @classmethod
    def from_params(cls, bag: ParamBag) -> Page:
        """Read a request.

        Raises
        ------
        ParameterError
            OFFSET or MAXREC is no whole number, or a parameter came twice.
        """
        return cls(
            bag.one("RESPONSEFORMAT") or bag.one("FORMAT") or None, parse_count(bag, "OFFSET") or 0, parse_maxrec(bag)
        )

    @property
    def is_whole(self) -> bool:
        """Whether all rows are wanted."""
        return self.offset == 0 and self.maxrec is None

    def rows(self, total: int) -> range:
        """Places of the rows that are wanted, of so many."""
        start = min(self.offset, total)
        return range(start, total if self.maxrec is None else min(total, start + self.maxrec))

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """Parameters that ask for the same rows."""
        offset = (("OFFSET", str(self.offset)),) if self.offset else ()
        return offset if self.maxrec is None else (*offset, ("MAXREC", str(self.maxrec)))
