"""Answers that stream: the work and its client live and end together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from fastapi import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from gateway.routers.compression import SMALL, Gzip, takes_gzip
from gateway.services.rows import Rows
from gateway.services.serialise import serialise
from gateway.vo.formats import Format
from gateway.vo.formats.base import TruncatedError

log = structlog.get_logger()

Fault = Callable[[Exception], Response]
"""Renders an error as a protocol does."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is to be sent once the work has something."""

    headers: Mapping[str, str]
    body: AsyncGenerator[bytes, None]
    status: int = 200
    is_short: bool = False
    """Whether all of the body is at hand already: it is sent whole, with its length."""
    is_packable: bool = False
    """Whether gzip would make it smaller; clients that ask for it get it (`gateway.routers.compression`)."""


OpenStream = Callable[[AsyncExitStack], Awaitable[Stream]]
"""Does the work until there is something to send; what it gives to the stack is closed after the last byte."""


class StreamedResponse(Response):
    """Send the stream that ``open_stream`` opens.

    A plain handler goes on after its client has left. This response watches the connection from before
    the work starts until the last byte is taken: when the client goes, the work's task is cancelled,
    and with it the statement in PostgreSQL or the child that cuts (reliability F5, F6). The status line waits
    until there is something to send, so that a failure is an error document and not a broken 200; an error after
    it becomes a trailing INFO, or a cut body where the format has no such thing (DALI-47).
    """

    def __init__(self, open_stream: OpenStream, *, fault: Fault, stall_limit: timedelta) -> None:
        super().__init__()
        self._open = open_stream
        self._fault = fault
        self._stall_s = stall_limit.total_seconds()
        self._is_sent = False

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = asyncio.create_task(self._answer(scope, receive, send), name="answer")
        gone = asyncio.create_task(_until_gone(receive), name="client watch")
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if not (answer.done() or self._is_sent):  # else the client has all it wanted, and the answer only tidies up
                log.info("Client left", path=scope["path"])
                answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
        finally:
            gone.cancel()
            answer.cancel()
            await asyncio.gather(gone, answer, return_exceptions=True)
        if not answer.cancelled() and (error := answer.exception()):
            raise error

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as held:
            try:
                stream = await self._open(held)
                if scope["method"] == "HEAD":  # how long the body would be, is known when it has been made only
                    self._is_sent = True
                    await send(_start(stream, MutableHeaders(stream.headers)))
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
                # Of a long body the first piece: a format that begins with its number of rows may fail until it is there.
                ready = (
                    b"".join([piece async for piece in stream.body]) if stream.is_short else await _first(stream.body)
                )
            except Exception as e:  # noqa: BLE001 - the edge: every failure gets its document
                self._is_sent = True
                await self._fault(e)(scope, receive, send)
                return
            async with aclosing(stream.body):
                await self._send(stream, ready, Headers(scope=scope), send)

    async def _send(self, stream: Stream, ready: bytes, asked: Headers, send: Send) -> None:
        headers = MutableHeaders(stream.headers)
        gzip = Gzip() if stream.is_packable and takes_gzip(asked.get("accept-encoding", "")) else None
        if stream.is_packable:
            headers["Vary"] = "Accept-Encoding"
        if gzip:
            headers["Content-Encoding"] = "gzip"
        start = _start(stream, headers)
        if not stream.is_short:
            await send(start)
            async with aclosing(_chained(ready, stream.body)) as body:
                await self._send_body(body, gzip, send)
            return
        data = await _packed(ready, gzip) + gzip.end() if gzip else ready
        headers["Content-Length"] = str(len(data))
        await send(start)
        self._is_sent = True
        await send({"type": "http.response.body", "body": data, "more_body": False})

    async def _send_body(self, body: AsyncIterator[bytes], gzip: Gzip | None, send: Send) -> None:
        buffered = 0
        try:
            async for piece in body:
                data = await _packed(piece, gzip) if gzip else piece
                started = time.perf_counter()
                async with asyncio.timeout(self._stall_s):
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                if gzip:
                    # The server takes a piece as soon as the client has taken the one before.
                    gzip.sent(buffered, time.perf_counter() - started)
                buffered = len(data)
        except TimeoutError:
            log.warning("Client stalled; cut off", stall_limit_s=self._stall_s)
            return  # without the last chunk: no client takes a cut body for a whole one
        except TruncatedError:
            return  # likewise
        self._is_sent = True
        await send({"type": "http.response.body", "body": gzip.end() if gzip else b"", "more_body": False})


def _start(stream: Stream, headers: MutableHeaders) -> dict[str, Any]:
    return {"type": "http.response.start", "status": stream.status, "headers": headers.raw}


async def _first(body: AsyncIterator[bytes]) -> bytes:
    return await anext(body, b"")


async def _chained(first: bytes, body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in body:
        yield piece


async def _packed(piece: bytes, gzip: Gzip) -> bytes:
    return gzip.piece(piece) if len(piece) < SMALL else await asyncio.to_thread(gzip.piece, piece)


def table_response(
    open_table: Callable[[], Awaitable[Rows]],
    *,
    form: Format,
    content_type: str,
    fault: Fault,
    stall_limit: timedelta,
) -> Response:
    """Answer with the table that ``open_table`` opens, in a format."""

    async def open_stream(held: AsyncExitStack) -> Stream:
        table = await held.enter_async_context(aclosing(await open_table()))
        headers = {
            "Content-Type": content_type,
            "Cache-Control": "no-store",
            "Content-Disposition": f'inline; filename="result{form.extension}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",  # of use to HTML (A15)
        }
        is_short = table.ending is not None
        return Stream(headers, serialise(table, form), is_short=is_short, is_packable=form.key != "parquet")

    return StreamedResponse(open_stream, fault=fault, stall_limit=stall_limit)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
