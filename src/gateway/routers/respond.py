"""Answers that stream: the query and its client live and end together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta

import structlog
from fastapi import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from gateway.services.queries import ResultTable
from gateway.services.serialise import serialise
from gateway.vo.formats import Format
from gateway.vo.formats.base import TruncatedError

log = structlog.get_logger()


class TableResponse(Response):
    """Stream the table that ``open_table`` opens.

    A plain handler goes on after its client has left. This response watches the connection from before
    the query starts until the last byte is taken: when the client goes, the query's task is cancelled,
    and with it the statement in PostgreSQL (reliability F5, F6). The status line waits for the first
    batch, so that a failing query is an error document and not a broken 200; an error after it becomes a
    trailing INFO, or a cut body where the format has no such thing (DALI-47).
    """

    def __init__(
        self,
        open_table: Callable[[], Awaitable[ResultTable]],
        *,
        form: Format,
        content_type: str,
        fault: Callable[[Exception], Response],
        stall_limit: timedelta,
    ) -> None:
        super().__init__()
        self._open_table = open_table
        self._form = form
        self._content_type = content_type
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
        try:
            table = await self._open_table()
        except Exception as e:  # noqa: BLE001 - the edge: every failure gets its document
            self._is_sent = True
            await self._fault(e)(scope, receive, send)
            return
        async with aclosing(table):
            await send({"type": "http.response.start", "status": 200, "headers": self._start_headers()})
            async with aclosing(serialise(table, self._form)) as body:
                await self._send_body(body, send)

    async def _send_body(self, body: AsyncIterator[bytes], send: Send) -> None:
        try:
            async for piece in body:
                async with asyncio.timeout(self._stall_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            log.warning("Client stalled; cut off", stall_limit_s=self._stall_s)
            return  # without the last chunk: no client takes a cut body for a whole one
        except TruncatedError:
            return  # likewise
        self._is_sent = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _start_headers(self) -> list[tuple[bytes, bytes]]:
        headers = {
            "content-type": self._content_type,
            "cache-control": "no-store",
            "content-disposition": f'inline; filename="result{self._form.extension}"',
            "x-content-type-options": "nosniff",
        }
        return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
