"""One client's connection, bounded before and between its requests: how many there are, and how long they may say nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from towline.hub.api.engine import Limits
from towline.hub.api.status import StatusError

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


class Connections:
    """Makes them for a listener. `count` are open."""

    def __init__(self, server: web.Server, limits: Limits) -> None:
        self.limits = limits
        self.count = 0
        self._server = server

    def __call__(self) -> Connection:
        limits = self.limits
        return Connection(
            self,
            self._server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle_seconds,
            access_log=None,
            auto_decompress=False,  # as Kubernetes: a compressed body is no JSON, and cannot grow here
            max_line_size=limits.url_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.headers,
            lingering_time=2.0,
        )


class Connection(web.RequestHandler):
    """Closed when its first request's headers do not come within `header_seconds`, or later ones' within `idle_seconds`
    after the answer before."""

    __slots__ = ("_all", "_first")

    def __init__(self, all_: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._all = all_
        self._first: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._all.count += 1
        limits = self._all.limits
        if self._all.count > limits.connections:
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(_FULL)
            self.force_close()
            return
        loop = asyncio.get_running_loop()
        self._first = loop.call_later(limits.header_seconds, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._all.count -= 1
        self.asked()
        super().connection_lost(exc)

    def asked(self) -> None:
        """The headers of a request are here."""
        if self._first is not None:
            self._first.cancel()
            self._first = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is not HTTP, or too much of it."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        error = StatusError(400, "BadRequest", "the request is malformed HTTP")
        if isinstance(exc, LineTooLong) or (exc is not None and "Too many headers" in str(exc)):
            error = StatusError(
                431, "RequestHeaderFieldsTooLarge", "the request's line and headers are too large"
            )
        answer = web.Response(body=error.encoded(), status=error.code, content_type="application/json")
        answer.force_close()
        return answer
