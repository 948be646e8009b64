"""Bounds over a real socket: who is slow, silent, too large or rude costs little and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.api.objects import CONFIGMAPS, DEPLOYMENTS, configmap, deployment
from tests.api.raw import Raw, head, until
from tests.api.served import Served, end, serve
from towline.hub.api.engine import Limits

SOON = 0.05
"""Seconds of a bound that a test waits for."""


@asynccontextmanager
async def served_with(**bounds: Any) -> AsyncIterator[Served]:
    served = Served()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, Limits(**bounds))
        await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        try:
            yield served
        finally:
            await end(served)


async def test_a_body_that_does_not_come_in_time_is_408() -> None:
    async with served_with(body_seconds=SOON) as served:
        raw = await Raw.to(served)
        code, told = await raw.answer(head("POST", CONFIGMAPS, 100) + b'{"half":')
        assert (code, told["reason"]) == (408, "Timeout")
        raw.abort()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", head("GET", "/version")[:-2]])
async def test_headers_that_do_not_come_in_time_close_the_connection(sent: bytes) -> None:
    async with served_with(header_seconds=SOON) as served:
        raw = await Raw.to(served)
        raw.writer.write(sent)
        assert await raw.closed()
        raw.abort()


@pytest.mark.parametrize("sent", [b"", b"GET /api"])
async def test_a_connection_that_is_idle_after_an_answer_is_closed(sent: bytes) -> None:
    async with served_with(idle_seconds=SOON) as served:
        raw = await Raw.to(served)
        assert (await raw.answer(head("GET", "/livez")))[0] == 200
        raw.writer.write(sent)
        assert await raw.closed()
        raw.abort()


async def test_a_request_that_takes_longer_than_idle_is_not_cut_off() -> None:
    async with served_with(idle_seconds=SOON, header_seconds=SOON) as served:
        raw = await Raw.to(served)
        raw.writer.write(head("GET", f"{CONFIGMAPS}?watch=1"))
        await until(lambda: len(served.server._watches) == 1)
        for _ in range(2):
            idle = await Raw.to(served)
            assert await idle.closed()
            idle.abort()
        await served.create(CONFIGMAPS, configmap())
        async with asyncio.timeout(10):
            await raw.reader.readuntil(b'"ADDED"')
        raw.abort()


async def test_connections_are_bounded() -> None:
    async with served_with(connections=4) as served:
        held = [await Raw.to(served) for _ in range(3)]  # and the one that made the namespace
        for raw in held:
            assert (await raw.answer(head("GET", "/livez")))[0] == 200
        beyond = await Raw.to(served)
        assert (await beyond.answer())[0] == 503
        assert await beyond.closed()
        beyond.abort()
        held.pop().abort()
        await until(lambda: served.server._connections.count < 4)
        again = await Raw.to(served)
        assert (await again.answer(head("GET", "/livez")))[0] == 200
        for raw in (*held, again):
            raw.abort()


async def test_who_does_not_read_a_large_list_is_cut_off_and_its_seats_are_free() -> None:
    async with served_with(write_seconds=SOON) as served:
        for i in range(16):
            await served.create(CONFIGMAPS, configmap(f"c{i}", {"a": "x" * 900_000}))
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        host, _, port = served.url.removeprefix("http://").rpartition(":")
        await asyncio.get_running_loop().sock_connect(small, (host, int(port)))
        await asyncio.get_running_loop().sock_sendall(small, head("GET", CONFIGMAPS))
        await served.until_audited(1, code=499, verb="list")
        assert served.server._gate.levels.load("exempt") == (0, 0)
        await until(lambda: served.server._connections.count == 1)
        small.close()


@pytest.mark.parametrize("more", [["X: " + "a" * 20_000], [f"X{i}: a" for i in range(200)]])
async def test_huge_headers_are_431(more: list[str]) -> None:
    async with served_with() as served:
        raw = await Raw.to(served)
        code, told = await raw.answer(head("GET", "/version", 0, *more))
        assert (code, told.get("kind")) == (431, "Status")
        assert await raw.closed()
        raw.abort()


async def test_what_is_no_http_is_a_status_and_closes() -> None:
    async with served_with() as served:
        raw = await Raw.to(served)
        code, told = await raw.answer(b"\x16\x03\x01 hello\r\n\r\n")
        assert (code, told["reason"]) == (400, "BadRequest")
        assert await raw.closed()
        raw.abort()


async def test_large_bodies_and_large_objects_are_413() -> None:
    async with served_with(body_bytes=2_000_000) as served:
        raw = await Raw.to(served)
        assert (await raw.answer(head("POST", CONFIGMAPS, 2_000_001)))[0] == 413
        raw.abort()
        chunked = await Raw.to(served)
        chunk = b"20000\r\n" + b" " * 0x20000 + b"\r\n"
        sent = head("POST", CONFIGMAPS, 0, "Transfer-Encoding: chunked") + chunk * 16
        assert (await chunked.answer(sent))[0] == 413
        chunked.abort()
        large = deployment()
        large["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "x" * 1_600_000}]
        answer = await served("POST", DEPLOYMENTS, large)
        assert (answer.code, answer.reason) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize("media", ["application/json", "application/yaml"])
@pytest.mark.parametrize("depth", [300, 100_000])
async def test_deep_nesting_is_400(media: str, depth: int) -> None:
    async with served_with() as served:
        body = b'{"a":' * depth + b"1" + b"}" * depth
        answer = await served("POST", CONFIGMAPS, body, type=media)
        assert (answer.code, answer.reason) == (400, "BadRequest")


Rudeness = Callable[[Served, Raw, int], Awaitable[None]]


async def _says_nothing(served: Served, raw: Raw, i: int) -> None:
    pass


async def _half_a_head(served: Served, raw: Raw, i: int) -> None:
    raw.writer.write(head("GET", CONFIGMAPS)[: 10 + i % 20])


async def _half_a_body(served: Served, raw: Raw, i: int) -> None:
    raw.writer.write(head("POST", CONFIGMAPS, 1000) + b'{"apiVersion"')


async def _leaves_before_the_answer(served: Served, raw: Raw, i: int) -> None:
    raw.writer.write(head("GET", CONFIGMAPS))


async def _leaves_during_a_large_answer(served: Served, raw: Raw, i: int) -> None:
    raw.writer.write(head("GET", CONFIGMAPS) * 3)
    await raw.reader.read(100)


async def _leaves_its_write(served: Served, raw: Raw, i: int) -> None:
    body = json.dumps(configmap(f"rude-{i}")).encode()
    raw.writer.write(head("POST", CONFIGMAPS, len(body)) + body)


async def _leaves_its_watch(served: Served, raw: Raw, i: int) -> None:
    raw.writer.write(head("GET", f"{CONFIGMAPS}?watch=1"))
    if i % 2:
        await raw.reader.read(100)


async def test_two_hundred_rude_clients_leave_nothing_behind() -> None:
    rude: list[Rudeness] = [
        _says_nothing, _half_a_head, _half_a_body, _leaves_before_the_answer, _leaves_during_a_large_answer,
        _leaves_its_write, _leaves_its_watch,
    ]  # fmt: skip
    async with served_with(in_flight=8, exempt_seats=8) as served:
        for i in range(4):
            await served.create(CONFIGMAPS, configmap(f"c{i}", {"a": "x" * 500_000}))
        before = len(asyncio.all_tasks())

        async def one(i: int) -> None:
            raw = await Raw.to(served)
            await rude[i % len(rude)](served, raw, i)
            await raw.writer.drain()
            for _ in range(i % 3):
                await asyncio.sleep(0)
            raw.abort()

        await asyncio.gather(*(one(i) for i in range(200)))
        server = served.server
        await until(lambda: server._connections.count == 1 and len(asyncio.all_tasks()) <= before)
        assert not server._watches and not server._watches_of
        assert {server._gate.levels.load(name) for name in ("exempt", "leader-election", "everybody")} == {
            (0, 0)
        }
        assert not server._gate._waiting
        assert (await served.get(CONFIGMAPS)).code == 200
