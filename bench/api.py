"""What the hub's API costs: a real `towline hub` on one core, the client on another, and beside each figure its floor.

The floor is a bare aiohttp handler over the same TLS that answers the same bytes and does nothing else. Machines are noisy:
trust the ratios. `python -m bench.api --store etcd` measures writes on etcd; reads never touch the store. `--profile` says
where a core's time goes instead.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import uvloop
from aiohttp import web

from bench import client, profiling
from bench.client import Load, Target, connect, repeated, request
from bench.tables import Row, show, shown
from tests.e2e.harness import Fleet
from tests.ports import free_port

NAMESPACES = "/api/v1/namespaces"
MANY = "/apis/apps/v1/namespaces/many/deployments"
SOME = "/apis/apps/v1/namespaces/some/deployments"
LISTED = 500
WATCHES = 1000
EVENTS = 10
LARGE_BYTES = 256 * 1024


def bench(store: str) -> None:
    hub_core, client_core = cores()
    with tempfile.TemporaryDirectory(prefix="towline-bench-") as folder, hub(Path(folder), store) as fleet:
        process = psutil.Process(fleet.processes["hub"].pid)
        pin(process, hub_core)
        os.sched_setaffinity(0, {client_core})
        with floor(fleet, hub_core) as bare:
            rows = run(Bench(fleet, process, bare, reads=store == "sqlite").measure())
    print(f"The API on {store}, one core:")
    show(rows)


class Bench:
    """Measures one hub, each figure with its floor."""

    def __init__(self, fleet: Fleet, hub: psutil.Process, bare: psutil.Process, *, reads: bool) -> None:
        self.hub, self.bare, self.reads = hub, bare, reads
        self.target = client.target_of(fleet.hub_data / "admin.kubeconfig")
        self.floor = Target(self.target.host, int(bare.cmdline()[-1]), self.target.tls)
        self.rows: list[Row] = [
            ("what", "floor/s", "hub/s", "ratio", "p50", "p99", "hub CPU each", "a core's/s")
        ]

    async def measure(self) -> list[Row]:
        for name in ("some", "many"):
            await client.ask(self.target, request("POST", NAMESPACES, {"metadata": {"name": name}}))
        await client.run(self.target, 16, creates(SOME, LISTED))
        one = await client.ask(self.target, request("GET", f"{SOME}/d0"))
        print(f"(objects of {len(one)} bytes with their managedFields)")
        for connections, count in ((64, 3000), (256, 3000)):
            made = list(creates(MANY, count, f"c{connections}-"))
            await self.compare(f"create, {connections} connections", connections, made, one)
        applied = [
            request("PATCH", f"{SOME}/d{i}?fieldManager=bench", scaled, "application/apply-patch+yaml")
            for i in range(LISTED)
            for scaled in [{**deployment(f"d{i}"), "metadata": {"name": f"d{i}", "labels": {"x": "y"}}}]
        ]
        await self.compare("server-side apply", 16, applied, one)
        if self.reads:
            await self.measure_reads(one)
        return self.rows

    async def measure_reads(self, one: bytes) -> None:
        await self.compare("GET", 16, repeated(request("GET", f"{SOME}/d0"), 5000), one)
        listed = request("GET", SOME)
        body = await client.ask(self.target, listed)
        await self.compare(f"LIST of {LISTED}", 4, repeated(listed, 600), body)
        await client.run(self.target, 64, creates(MANY, 4000, "more-"))
        listed = request("GET", MANY)
        body = await client.ask(self.target, listed)
        await self.compare("LIST of 10000", 2, repeated(listed, 12), body)
        await self.measure_watches()

    async def compare(self, what: str, connections: int, requests: Iterable[bytes], answer: bytes) -> None:
        """One row. The floor answers the same requests with `answer`."""
        sent = list(requests)
        await self.prime(answer)
        send = client.read_large if len(answer) > LARGE_BYTES else client.run
        least = await send(self.floor, connections, sent)
        before = cpu_seconds(self.hub)
        load = await send(self.target, connections, sent)
        spent = (cpu_seconds(self.hub) - before) / len(sent)
        self.rows.append(rate_row(what, least, load, spent))

    async def prime(self, answer: bytes) -> None:
        (connection,) = await connect(self.floor, 1)
        head = f"PUT / HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(answer)}\r\n\r\n"
        status, _ = await connection.send(head.encode() + answer)
        assert status == 200, f"the floor answers {status}"
        connection.close()

    async def measure_watches(self) -> None:
        listed = orjson.loads(await client.ask(self.target, request("GET", f"{SOME}?limit=1")))
        version = listed["metadata"]["resourceVersion"]
        watch = request("GET", f"{SOME}?watch=1&resourceVersion={version}")
        least, opened = await self.open_watches(self.floor, self.bare, watch)
        for connection in opened:
            connection.close()
        most, opened = await self.open_watches(self.target, self.hub, watch)
        self.rows.append(
            (f"{WATCHES} idle watches", mebibytes(least), mebibytes(most), f"{most / least:.2f}x", *[""] * 4)
        )
        arrived = asyncio.Event()
        seen = 0

        def on_line() -> None:
            nonlocal seen
            seen += 1
            if seen % WATCHES == 0:
                arrived.set()

        for connection in opened:
            connection.on_line = on_line
        latencies = []
        before = cpu_seconds(self.hub)
        start = time.perf_counter()
        for created in creates(SOME, EVENTS, "event-"):
            arrived.clear()
            sent = time.perf_counter()
            await client.ask(self.target, created)
            async with asyncio.timeout(30):
                await arrived.wait()
            latencies.append(time.perf_counter() - sent)
        load = Load(sorted(latencies), time.perf_counter() - start)
        spent = (cpu_seconds(self.hub) - before) / EVENTS
        told = f"{load.per_second * WATCHES:.0f}"
        self.rows.append(
            (f"events to {WATCHES} watches", "", told, "", *latency(load), *cost(spent / WATCHES))
        )
        for connection in opened:
            connection.close()

    async def open_watches(
        self, target: Target, server: psutil.Process, watch: bytes
    ) -> tuple[int, list[client.Connection]]:
        """What the server's memory grew by, in bytes."""
        before = server.memory_info().rss
        opened = await connect(target, WATCHES, watch)
        return server.memory_info().rss - before, opened


def profile(store: str) -> None:
    """Prints by part where the hub's thread spends its time, for creates and for lists."""
    for what in ("create", "list"):
        with tempfile.TemporaryDirectory(prefix="towline-bench-") as name:
            folder = Path(name)
            with hub(folder, store, profiled=folder / "profile") as fleet:
                target = client.target_of(fleet.hub_data / "admin.kubeconfig")
                run(_profiled(target, what, fleet.processes["hub"].pid))
                fleet.processes["hub"].stop()
                print(f"{what}:")
                show(profiling.parts(folder / "profile"))
                print()


async def _profiled(target: Target, what: str, pid: int) -> None:
    await client.ask(target, request("POST", NAMESPACES, {"metadata": {"name": "some"}}))
    await client.run(target, 16, creates(SOME, LISTED))
    os.kill(pid, signal.SIGUSR1)
    if what == "create":
        await client.run(target, 64, creates(SOME, 2000, "more-"))
    else:
        await client.read_large(target, 4, repeated(request("GET", SOME), 1000))


# --- the floor -------------------------------------------------------------------------------------------------


async def serve_floor(folder: Path, port: int) -> None:
    """Answers every request with the body of the last PUT; a watch with headers and nothing more."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.verify_mode = ssl.CERT_OPTIONAL
    tls.load_verify_locations(cadata=client.authority_of(folder / "admin.kubeconfig"))
    tls.load_cert_chain(folder / "pki" / "server.pem")
    answer = b""

    async def handle(asked: web.BaseRequest) -> web.StreamResponse:
        nonlocal answer
        if asked.query.get("watch"):
            return await idle(asked)
        body = b"".join([part async for part in asked.content.iter_any()])
        if asked.method == "PUT":
            answer = body
            return web.Response()
        return web.Response(body=answer, headers={"Content-Type": "application/json"})

    async def idle(asked: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(asked)
        await response.write(b"\n")
        await asyncio.get_running_loop().create_future()
        return response

    server = web.Server(handle, access_log=None, handler_cancellation=True, lingering_time=0)
    listener = await asyncio.get_running_loop().create_server(
        server, "127.0.0.1", port, ssl=tls, backlog=1024
    )
    await listener.serve_forever()


@contextlib.contextmanager
def floor(fleet: Fleet, core: int) -> Iterator[psutil.Process]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.api", "--serve-floor", str(fleet.hub_data), "--port", str(port)]
    )
    try:
        found = psutil.Process(process.pid)
        pin(found, core)
        for _ in range(200):
            if any(c.laddr.port == port for c in found.net_connections() if c.status == "LISTEN"):
                break
            time.sleep(0.05)
        yield found
    finally:
        process.kill()
        process.wait()


# --- the hub, and what is sent ---------------------------------------------------------------------------------


@contextlib.contextmanager
def hub(folder: Path, store: str, profiled: Path | None = None) -> Iterator[Fleet]:
    fleet = Fleet(folder, store=store, members=())
    if profiled is not None:
        fleet.program = [sys.executable, "-m", "bench.profiling", str(profiled)]
    try:
        yield fleet.start()
    except BaseException:
        print(fleet.logs(), file=sys.stderr)
        raise
    finally:
        fleet.stop()


def creates(path: str, count: int, prefix: str = "d") -> Iterator[bytes]:
    return (request("POST", path, deployment(f"{prefix}{i}")) for i in range(count))


def deployment(name: str) -> dict[str, Any]:
    """About 4 KiB as stored."""
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "bench"}
    container = {
        "name": "main",
        "image": "registry.example.com/shop/front:1.25.3",
        "args": ["--listen=:8080", "--log-level=info", "--cache=512Mi"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": f"SETTING_{i}", "value": f"the value of setting {i}"} for i in range(8)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels, "annotations": {"example.com/note": "x" * 500}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def cores() -> tuple[int, int]:
    """One for the server, one for the client; the same where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def pin(process: psutil.Process, core: int) -> None:
    for thread in process.threads():  # those that it has already, too
        os.sched_setaffinity(thread.id, {core})


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def rate_row(what: str, least: Load, load: Load, spent: float) -> Row:
    ratio = f"{least.per_second / load.per_second:.2f}x"
    rates = f"{least.per_second:.0f}", f"{load.per_second:.0f}"
    return what, *rates, ratio, *latency(load), *cost(spent)


def cost(seconds: float) -> tuple[str, str]:
    """The hub's processor time, and how many a core has time for: it says more than the rate on a machine that others share."""
    return f"{seconds * 1000:.2f} ms", f"{1 / seconds:.0f}" if seconds else ""


def latency(load: Load) -> tuple[str, str]:
    return shown(load.quantile(0.5)), shown(load.quantile(0.99))


def mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["sqlite", "etcd"], default="sqlite")
    parser.add_argument("--profile", action="store_true", help="print where the time goes, by part")
    parser.add_argument("--serve-floor", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_floor:
        run(serve_floor(options.serve_floor, options.port))
    elif options.profile:
        profile(options.store)
    else:
        bench(options.store)


if __name__ == "__main__":
    main()
