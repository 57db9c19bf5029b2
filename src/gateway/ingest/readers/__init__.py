"""Table files as streams of record batches: what is in them is told by their first bytes, not their names."""

from gateway.ingest.readers.base import Hints, TableFile
from gateway.ingest.readers.detect import KINDS, open_table

__all__ = ["KINDS", "Hints", "TableFile", "open_table"]
