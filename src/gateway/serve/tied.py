"""``python -m gateway.serve.tied ARGUMENTS``: the command line, tied to the process that started it.

`make run` uses it: when make is killed, with -9 too, the service stops as for SIGTERM and frees its port (Linux).
"""

from __future__ import annotations

import os
import runpy
import signal

from gateway.embedded.identity import die_with_parent

if __name__ == "__main__":
    die_with_parent(signal.SIGTERM, os.getppid())
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)
