"""A client that costs little: HTTP/1.1 over kept-alive TLS connections, which counts what comes and parses almost nothing.

The load generator shares the machine with what it measures, so a general client would measure itself.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from bench.tables import quantile
from tests.e2e.harness import Api

CONNECTING = 32
"""TLS handshakes at the same time."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and with which certificates."""

    host: str
    port: int
    tls: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Load:
    """What a number of requests took. Latencies in seconds, sorted."""

    latencies: list[float]
    seconds: float

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, q: float) -> float:
        return quantile(self.latencies, q)


def target_of(kubeconfig: Path) -> Target:
    api = Api(kubeconfig)
    return Target(str(api.url.hostname), int(api.url.port or 443), api.tls)


def authority_of(kubeconfig: Path) -> str:
    """The authority's certificates, PEM."""
    cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


def request(method: str, path: str, body: Any = None, content_type: str = "application/json") -> bytes:
    payload = b"" if body is None else orjson.dumps(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\nUser-Agent: bench/1\r\n"
    if body is not None:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(payload)}\r\n"
    return head.encode() + b"\r\n" + payload


class Connection(asyncio.Protocol):
    """One request at a time; `send` answers (status, body), the body only when it is `kept`."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._head = b""
        self._status = 0
        self._left = -1
        self._kept: list[bytes] | None = None
        self.on_line: Callable[[], None] | None = None
        """Called for each ADDED of a watch."""

    async def send(self, data: bytes, *, kept: bool = False) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self._kept = [] if kept else None
        self._transport.write(data)
        return await self._answer

    async def watch(self, data: bytes, on_line: Callable[[], None]) -> None:
        """Returns when the watch is open."""
        self.on_line = on_line
        status, _ = await self.send(data)
        if status >= 300:
            raise SystemExit(f"{status} for {data[:80]!r}")

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head = b""
            self._status = int(head[9:12])
            self._left = _content_length(head)
        if self.on_line is not None:
            self._streamed(data)
            return
        self._left -= len(data)
        if self._kept is not None:
            self._kept.append(data)
        if self._left == 0:
            self._left = -1
            self._done(b"".join(self._kept or ()))

    def _streamed(self, data: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._done(b"")
        for _ in range(data.count(b'{"type":"ADDED"')):
            assert self.on_line is not None
            self.on_line()

    def _done(self, body: bytes) -> None:
        assert self._answer is not None
        self._answer.set_result((self._status, body))


async def connect(target: Target, count: int, watch: bytes = b"") -> list[Connection]:
    """`watch` is what each sends first, if anything."""
    loop = asyncio.get_running_loop()
    turn = asyncio.Semaphore(CONNECTING)

    async def one() -> Connection:
        async with turn:
            _, connection = await loop.create_connection(
                Connection, target.host, target.port, ssl=target.tls, server_hostname=target.host
            )
            if watch:
                await connection.watch(watch, lambda: None)
            return connection

    return await asyncio.gather(*(one() for _ in range(count)))


async def run(target: Target, connections: int, requests: Iterable[bytes]) -> Load:
    """Send `requests` over `connections`, each as fast as the answers come. SystemExit for an answer that is none."""
    opened = await connect(target, connections)
    todo: Iterator[bytes] = iter(requests)
    latencies: list[float] = []

    async def worker(connection: Connection) -> None:
        for data in todo:
            start = time.perf_counter()
            status, _ = await connection.send(data)
            latencies.append(time.perf_counter() - start)
            if status >= 300:
                raise SystemExit(f"{status} for {data[:80]!r}")

    start = time.perf_counter()
    await asyncio.gather(*map(worker, opened))
    seconds = time.perf_counter() - start
    for connection in opened:
        connection.close()
    return Load(sorted(latencies), seconds)


async def read_large(target: Target, connections: int, requests: Iterable[bytes]) -> Load:
    """`run` for large answers: plain sockets in threads, which take twice as many bytes a second as an event loop does."""
    with ThreadPoolExecutor(connections) as threads:
        loop = asyncio.get_running_loop()
        todo = iter(list(requests))
        start = time.perf_counter()
        done = await asyncio.gather(
            *(loop.run_in_executor(threads, _read_all, target, todo) for _ in range(connections))
        )
        seconds = time.perf_counter() - start
    return Load(sorted(itertools.chain.from_iterable(done)), seconds)


def _read_all(target: Target, requests: Iterator[bytes]) -> list[float]:
    latencies = []
    buffer = memoryview(bytearray(256 * 1024))
    with (
        socket.create_connection((target.host, target.port)) as plain,
        target.tls.wrap_socket(plain, server_hostname=target.host) as connection,
    ):
        for data in requests:
            start = time.perf_counter()
            connection.sendall(data)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            if int(head[9:12]) >= 300:
                raise SystemExit(f"{head[:12]!r} for {data[:80]!r}")
            head, _, body = head.partition(b"\r\n\r\n")
            left = _content_length(head) - len(body)
            while left > 0:
                left -= connection.recv_into(buffer)
            latencies.append(time.perf_counter() - start)
    return latencies


async def ask(target: Target, data: bytes) -> bytes:
    """The body of one answer."""
    (connection,) = await connect(target, 1)
    status, body = await connection.send(data, kept=True)
    connection.close()
    if status >= 300:
        raise SystemExit(f"{status} for {data[:80]!r}: {body[:500].decode()}")
    return body


def repeated(data: bytes, times: int) -> Iterable[bytes]:
    return itertools.repeat(data, times)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
