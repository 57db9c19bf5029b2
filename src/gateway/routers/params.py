"""DALI parameters, read once: GET, POST form and multipart become one `ParamBag`."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from gateway.errors import ParameterError, UploadError
from gateway.routers.deps import GatewayDep
from gateway.vo.dali import ParamBag, UploadedPart

MAX_FIELDS = 20_000
"""Most form fields of one request (reliability A23). TAP needs about ten, but clients of DataLink send every identifier
of a table at once."""

MAX_FILES = 1_000
"""Most file parts of one request."""

MAX_FIELD_BYTES = 1 << 20
"""Longest text field: ten times the longest query that is accepted, so that its refusal is the query's own."""

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


async def param_bag(request: Request, gateway: GatewayDep) -> AsyncIterator[ParamBag]:
    """Read every parameter of a request; file parts live on disk until the request has been answered.

    Raises
    ------
    UploadError
        The body is larger than ``GATEWAY_REQUEST_MAX_BYTES`` or is not a form.
    """
    items = list(request.query_params.multi_items())
    with ExitStack() as stack:
        parts: list[UploadedPart] = []
        if request.method == "POST":
            form = await _form(request, gateway.site.request_max_bytes)
            items += [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
            files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
            if files:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-upload-")))
                parts = [await _spool(name, file, folder / str(n)) for n, (name, file) in enumerate(files)]
                await form.close()
        yield ParamBag.of(_checked(items), parts)


Bag = Annotated[ParamBag, Depends(param_bag)]


async def _form(request: Request, limit: int) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    _limit_body(request, limit)
    if kind in FORM_TYPES:
        try:
            return await request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
        except (MultiPartException, HTTPException) as e:  # Starlette makes the one into the other inside an application
            reason = e.detail if isinstance(e, HTTPException) else e.message
            raise UploadError(f"The form cannot be read: {reason}") from e
        except ClientDisconnect as e:
            raise UploadError("The request ended before its form was complete") from e
    if await request.body():
        raise ParameterError("Content-Type", kind, f"send parameters as {' or '.join(FORM_TYPES)}")
    return FormData()


def _limit_body(request: Request, limit: int) -> None:
    """Stop reading a body at the limit, whatever its Content-Length claims."""
    refusal = f"The request is larger than {limit:,} bytes (GATEWAY_REQUEST_MAX_BYTES); send less in one request"
    claimed = request.headers.get("content-length", "0")
    if claimed.isdigit() and int(claimed) > limit:
        raise UploadError(refusal)
    receive = request.receive
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise UploadError(refusal)
        return message

    request._receive = counted  # noqa: SLF001 - Starlette has no public way to bound a form's size


async def _spool(name: str, file: UploadFile, path: Path) -> UploadedPart:
    def copy() -> int:
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target, 1 << 20)
            return target.tell()

    return UploadedPart(name, path, await asyncio.to_thread(copy), file.filename)


def _checked(items: list[tuple[str, str]]) -> list[tuple[str, str]]:
    for name, value in items:
        if "\0" in name or "\0" in value:
            raise ParameterError(
                name.replace("\0", ""), value.replace("\0", "\\0"), "NUL is not a character of any value"
            )
    return items
