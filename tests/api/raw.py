"""A client without manners: bytes over a socket, as slow, as broken and as sudden as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tests.api.served import Served


class Raw:
    """A client's end of a connection, without manners."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, served: Served, **options: Any) -> Raw:
        host, _, port = served.url.removeprefix("http://").rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), **options))

    async def answer(self, sent: bytes = b"") -> tuple[int, dict[str, Any]]:
        """(code, Status) of the answer; code 0 when the connection was closed without one."""
        self.writer.write(sent)
        async with asyncio.timeout(10):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0, {}
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await self.reader.readexactly(int(lengths[0].partition(b":")[2]))
        return int(head[9:12]), json.loads(body) if body[:1] == b"{" else {}

    async def closed(self) -> bool:
        """Whether the server closes it, and says no more."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True

    def abort(self) -> None:
        self.writer.transport.abort()


def head(method: str, path: str, length: int = 0, *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: hub", "Content-Type: application/json", *more]
    if length:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)
