"""One API process: ``python -m gateway.serve.api APPLICATION SOCKET READY LIFELINE``.

APPLICATION is the factory of an ASGI application (``module:name``), the others are inherited descriptors.

It answers on the listening socket, writes a byte to READY when it does, and ends when LIFELINE is closed: the
parent has died, however it died.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import sys
from typing import Any

import uvicorn
from typing_extensions import override

import gateway

DRAIN = 5
"""How long answers that are under way may take when the process is told to stop, seconds."""


class Server(uvicorn.Server):
    """A server that tells its parent when it is ready, and outlives it by no more than a drain."""

    def __init__(self, application: Any, *, ready: int, lifeline: int) -> None:
        super().__init__(configuration(application))
        self._application = application
        self._ready = ready
        self._lifeline = lifeline

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            asyncio.get_running_loop().add_reader(self._lifeline, self._stop)
            os.write(self._ready, b"!")
        os.close(self._ready)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Answers that are held back until something happens are given now: the drain is shorter than a WAIT.
        state = getattr(self._application, "state", None)
        if (stop_waiting := getattr(state, "stop_waiting", None)) is not None:
            stop_waiting()
        await super().shutdown(sockets)

    def _stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self.should_exit = True


def configuration(application: Any) -> uvicorn.Config:
    """How every API process is set up."""
    return uvicorn.Config(
        application,
        server_header=False,
        headers=[("server", f"vo-gateway/{gateway.__version__} (IVOA)")],  # IVOA Note "Software Identification"
        log_config=None,  # the application sets up logs
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=DRAIN,
    )


def main() -> None:
    """Serve on inherited descriptors."""
    module, _, factory = sys.argv[1].partition(":")
    application = getattr(importlib.import_module(module), factory)()
    listener, ready, lifeline = (int(argument) for argument in sys.argv[2:5])
    server = Server(application, ready=ready, lifeline=lifeline)
    server.run(sockets=[socket.socket(fileno=listener)])
    sys.exit(0 if server.started else 1)


if __name__ == "__main__":
    main()
