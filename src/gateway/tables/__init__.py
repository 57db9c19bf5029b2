"""Table files as streams of record batches: what is in them is told by their first bytes, not their names."""

from gateway.tables.base import Hints, TableFile
from gateway.tables.detect import KINDS, kind_by_content, open_table

__all__ = ["KINDS", "Hints", "TableFile", "kind_by_content", "open_table"]
