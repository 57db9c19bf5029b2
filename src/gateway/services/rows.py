"""What can be written in a format: rows with all that is known of them."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from gateway.vo.formats.base import Ending, TableHeader


class Rows(Protocol):
    """Rows of a query (`services.queries.ResultTable`) or of a stored table (`services.sidecars.StoredTable`).

    Whoever has them closes them.
    """

    header: TableHeader
    """Fields and INFOs."""
    ending: Ending | None
    """How the rows end, once that is known: from the start if all of them come as one batch."""
    nrows: int
    """Rows given so far."""

    async def __anext__(self) -> pa.RecordBatch:
        """Give some rows, in the canonical types of the fields."""
        ...

    async def aclose(self) -> None:
        """Give back all that the rows hold; may be called again."""
        ...
