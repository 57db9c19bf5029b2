"""What a person at the terminal sees while the service starts and stops."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Lines on a stream; a spinner with them where somebody watches."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._stream, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show that a step goes on; yields a function that tells its details.

        At a terminal a spinner turns, and a step that took a second leaves a line. Elsewhere each step is a line
        when it begins.
        """
        if not self._stream.isatty():
            self.say(text)
            yield self.say
            return
        from rich.console import Console

        console = Console(file=self._stream, highlight=False)
        started = time.monotonic()
        with console.status(text) as status:
            yield status.update
        if (seconds := time.monotonic() - started) > 1:
            self.say(f"{text}: {seconds:.1f} s")
