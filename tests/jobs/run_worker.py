"""A worker process for the tests' job list: ``python -m tests.jobs.run_worker``."""

import sys

from gateway.jobs.worker import run
from gateway.settings import Settings
from tests.jobs.conftest import WORKSHOP

if __name__ == "__main__":
    sys.exit(run(Settings(), WORKSHOP))
