"""Where each service lies below the base URL: the interface that clients, databases and other sites keep (architecture, 2)."""

from __future__ import annotations

TAP = "/tap"
SIA2 = "/sia2"
SODA = "/soda"
DATALINK = "/datalink"
DATA = "/data"
CONES = "/scs"

IMAGE_SEARCH = f"{SIA2}/query"
CUTOUT = f"{SODA}/sync"
CUTOUT_JOBS = f"{SODA}/async"
LINKS = f"{DATALINK}/links"

JOBS = {"tap": f"{TAP}/async", "soda": CUTOUT_JOBS}
"""Of each job list."""
