"""The agent's own HTTP port, where one is asked for: /livez, /readyz and /metrics, plain, without secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from towline.agent.applier import Applier
from towline.agent.connection import Connection
from towline.agent.facts import Facts
from towline.agent.writer import Writer


class Health(Collector):
    """Ready: the member's API server answers and the hub has been heard in full."""

    def __init__(self, facts: Facts, connection: Connection, applier: Applier, writer: Writer) -> None:
        self._facts = facts
        self._connection = connection
        self._applier = applier
        self._writer = writer
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def serve(self, address: str) -> None:
        """Until cancelled. Raises OSError when the address is taken."""
        app = web.Application()
        app.router.add_get("/livez", self._live)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        host, _, port = address.rpartition(":")
        try:
            await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _live(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _ready(self, request: web.Request) -> web.Response:
        lacks = []
        if not self._facts.ready:
            lacks.append("the member's API server is not ready")
        if not self._connection.state.synced:
            lacks.append("not in sync with the hub")
        return web.Response(status=503 if lacks else 200, text="; ".join(lacks) or "ok")

    async def _metrics(self, request: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def collect(self) -> Iterator[Metric]:
        counters, state = self._writer.counters, self._connection.state
        for name, text, value in (
            ("applies", "Server-side applies sent to the member.", counters.applies),
            ("deletes", "Deletions sent to the member.", counters.deletes),
            ("reads", "Objects read from the member one by one.", counters.reads),
            ("drifts", "Objects that others had changed and that were put back.", counters.drifts),
            ("failures", "Reconciliations that left something to do.", counters.failures),
            ("sessions", "Sessions with a hub so far.", state.sessions),
        ):
            yield CounterMetricFamily(f"towline_agent_{name}", text, value=value)
        for name, text, value in (
            ("works", "Works on disk.", self._applier.held),
            ("works_pending", "Works that are not as they should be.", self._applier.busy),
            ("synced", "1 while in sync with the hub.", int(state.synced)),
        ):
            yield GaugeMetricFamily(f"towline_agent_{name}", text, value=value)
