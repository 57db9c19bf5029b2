"""A worker that does nothing until it is told to stop."""

import os
import signal
import sys
from pathlib import Path

file = Path(os.environ["GATEWAY_HOME"], "worker.pid")
file.with_suffix(".new").write_text(str(os.getpid()))
file.with_suffix(".new").replace(file)  # readers find the whole number or none
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    signal.pause()
