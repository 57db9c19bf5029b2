"""A worker that does nothing until it is told to stop."""

import os
import signal
import sys
from pathlib import Path

Path(os.environ["GATEWAY_HOME"], "worker.pid").write_text(str(os.getpid()))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    signal.pause()
