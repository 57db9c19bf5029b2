"""Limits of wall time in tests.

A machine that is shared stalls now and then for longer than such a limit. What is slow by itself misses it each time; so a
test with this mark counts as failed if it fails three times in a row. Limits stay as tight as they are.
"""

import pytest

timed = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])
