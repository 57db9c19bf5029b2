"""A service that is small enough to start and kill often: ``serve`` runs it in place of the real one.

``python -m tests.support.tiny`` serves it with the settings of the environment; ``python -m tests.support.tiny_worker``
is its worker.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]


def create_app() -> Callable[..., Awaitable[None]]:
    """Make an application that tells its process id and the settings that it sees."""

    async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        seen = [str(os.getpid()), os.environ["GATEWAY_DATABASE_URL"], os.environ["GATEWAY_REDIS_URL"]]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": "\n".join(seen).encode()})

    return app


def create_broken_app() -> None:
    """Fail as an application with a fault does."""
    raise RuntimeError("broken on purpose")


if __name__ == "__main__":
    from gateway.serve import serve
    from gateway.settings import Settings

    factory = sys.argv[1] if len(sys.argv) > 1 else "create_app"
    sys.exit(
        serve(
            Settings(),
            application=f"tests.support.tiny:{factory}",
            worker="tests.support.tiny_worker",
            ready=lambda url: print(f"ready {url}", flush=True),
        )
    )
