"""The result store: objects under keys, each complete or absent (reliability R4).

A key is ``<job>/<token>/<name>``, or ``<job>/uploads/<name>`` for a file that came with a job. Readers follow the
job's row to a key; nobody lists the store but the sweeper, which removes what no row names.
"""

from gateway.storage.results.base import (
    CHUNK_BYTES,
    IsReferenced,
    ResultStore,
    StoredObject,
    StoreFullError,
    Written,
)
from gateway.storage.results.copies import fetch_file, save_file
from gateway.storage.results.folder import LocalObject, LocalResultStore

__all__ = [
    "CHUNK_BYTES",
    "IsReferenced",
    "LocalObject",
    "LocalResultStore",
    "ResultStore",
    "StoreFullError",
    "StoredObject",
    "Written",
    "fetch_file",
    "save_file",
]
