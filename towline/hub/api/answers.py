"""How an answer goes out: its headers, compressed or not, in pieces, and each piece within a time.

A client that takes nothing is cut off, because what it does not take stays in memory.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from multidict import CIMultiDict

from towline.hub.api.engine import Engine
from towline.hub.api.requests import Reply

_PIECE_BYTES = 96 * 1024
"""What is written at once. Below what glibc's malloc maps anew each time (128 KiB), with what TLS adds to it."""


def response(reply: Reply) -> web.Response:
    headers = CIMultiDict(reply.headers)
    headers["Content-Type"] = reply.content_type
    headers.setdefault("Cache-Control", "no-cache, private")
    for told in reply.warnings:
        headers.add("Warning", warning(told))
    return web.Response(body=reply.body, status=reply.code, headers=headers)


async def sized(request: web.BaseRequest, reply: Reply, engine: Engine) -> web.Response:
    """Large answers are compressed, beside the event loop; those of lists that are kept only once."""
    large = len(reply.body) >= engine.limits.gzip_bytes
    if large and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = reply.body
        reply.body = engine.bodies.packed(body)
        if not reply.body:
            reply.body = await asyncio.to_thread(gzip.compress, body, 1)
            engine.bodies.keep_packed(body, reply.body)
        reply.headers["Content-Encoding"] = "gzip"
    return response(reply)


async def deliver(
    request: web.BaseRequest, answer: web.StreamResponse, audit_id: str, seconds: float
) -> web.StreamResponse:
    """Writes `answer`, unless that is done already; answers what was written. Raises ConnectionResetError."""
    if answer.prepared or not isinstance(answer, web.Response):
        return answer
    answer.headers["Audit-Id"] = header(audit_id)
    body = answer.body
    if not isinstance(body, bytes) or len(body) <= _PIECE_BYTES or request.method == "HEAD":
        async with _in_time(request, seconds):
            await answer.prepare(request)
            await answer.write_eof()
        return answer
    stream = web.StreamResponse(status=answer.status, headers=answer.headers)
    stream.content_length = len(body)
    await stream.prepare(request)
    await write(request, stream, body, seconds)
    await stream.write_eof()
    return stream


async def write(request: web.BaseRequest, stream: web.StreamResponse, data: bytes, seconds: float) -> None:
    """Raises ConnectionResetError when the client takes none of it for `seconds`. In pieces: encrypted at once, a large answer
    would be in memory twice more until its client has read it."""
    if len(data) <= _PIECE_BYTES:
        async with _in_time(request, seconds):
            await stream.write(data)
        return
    view = memoryview(data)
    for start in range(0, len(data), _PIECE_BYTES):
        async with _in_time(request, seconds):
            await stream.write(view[start : start + _PIECE_BYTES])


def header(text: str) -> str:
    """Text from a client, as a header may carry it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def warning(text: str) -> str:
    """A warning as the header says it: quoted, and without what would end the header."""
    quoted = header(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'


@asynccontextmanager
async def _in_time(request: web.BaseRequest, seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read") from None
