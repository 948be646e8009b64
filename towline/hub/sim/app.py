"""A simulated member cluster in one process: the hub's API engine on a store of its own, with workloads that run.

The composition root of `towline sim`: it reads the clock and entropy, and hands them to everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from towline.certs import kubeconfig, tls
from towline.certs.authority import Authority, load_or_create
from towline.hub.api.authentication import certificates_and_tokens, masters_only
from towline.hub.api.server import ApiServer
from towline.hub.sim.config import SimConfig
from towline.hub.sim.loop import WorkloadLoop
from towline.hub.sim.round import Pace
from towline.hub.sim.supplies import node
from towline.hub.store.cache import Cache
from towline.hub.store.contract import COMMIT_WRITES_MAX, Store, Write
from towline.hub.store.memory import MemoryStore
from towline.hub.store.sqlite import SqliteStore
from towline.kube import builtin
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object, encode, name_of, with_metadata

__all__ = ["SimConfig", "Simulated", "run", "serving"]

log = logging.getLogger(__name__)

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
VERSION = "v1.32.0"
STORE_FILE = "sim.sqlite"
COMMITS_MAX = 500
WINDOW_EVENTS = 5000
PARSED_OBJECTS = 1024


@dataclass(frozen=True, slots=True)
class Simulated:
    """A member that serves. `kubeconfig` holds its administrator's certificate."""

    url: str
    kubeconfig: Path
    cache: Cache


async def run(config: SimConfig) -> None:
    """Run one simulated member until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(config) as simulated:
        print(f"Serving at {simulated.url}, kubeconfig {simulated.kubeconfig}", flush=True)
        await stop.wait()


@contextlib.asynccontextmanager
async def serving(config: SimConfig) -> AsyncIterator[Simulated]:
    """A member that serves as long as the context lasts."""
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = load_or_create(config.data_dir / "pki", time.time())
    kinds = KindTable.of(builtin.kinds())
    # Small rings and caches: a demo runs several of these, and nobody watches one from far behind.
    store = _store(config)
    await store.open()
    cache = Cache(store, kinds, window_events=WINDOW_EVENTS, parsed_objects=PARSED_OBJECTS, owners=False)
    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(cache.run(started))
        await started.wait()
        await _seed(cache, config)
        pace = Pace(config.ready_seconds, config.complete_seconds)
        loop = WorkloadLoop(cache, now=time.time, new_uid=_new_uid, pace=pace)
        working = tasks.create_task(loop.run())
        server = _server(cache, kinds)
        try:
            yield await _serve(server, config, authority, cache)
        finally:
            await server.stop()
            working.cancel()
            await store.close()
            following.cancel()


def _store(config: SimConfig) -> Store:
    if config.store == "memory":
        return MemoryStore(commits_max=COMMITS_MAX)
    return SqliteStore(config.data_dir / STORE_FILE, now=time.time)


def _new_uid() -> str:
    return str(uuid.uuid4())


def _server(cache: Cache, kinds: KindTable) -> ApiServer:
    return ApiServer(
        cache=cache,
        kinds=kinds,
        authenticate=certificates_and_tokens(),
        authorize=masters_only,
        audit=lambda event: None,
        now=time.time,
        new_uid=_new_uid,
    )


async def _serve(server: ApiServer, config: SimConfig, authority: Authority, cache: Cache) -> Simulated:
    """Listens first: the kubeconfig is there as soon as it can be used, with the port that it came to."""
    host, _, port = config.address.rpartition(":")
    host = host.strip("[]")
    hosts = [host, "localhost", "127.0.0.1"]
    leaf = authority.issue_server(hosts, time.time())
    context = tls.server_context(authority.bundle_pem, leaf, config.data_dir / "pki" / "server.pem")
    bound, at = await server.start(host, int(port), context)
    url = f"https://{bound}:{at}"
    path = config.data_dir / "kubeconfig"
    admin = authority.issue_admin(time.time())
    kubeconfig.write(
        path, kubeconfig.admin_kubeconfig(url, authority.bundle_pem, admin, config.data_dir.name)
    )
    return Simulated(url, path, cache)


async def _seed(cache: Cache, config: SimConfig) -> None:
    """What every cluster has: its namespaces and nodes. What an earlier run had is left as it is."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
    made = [(Key("", "namespaces", "", name), _namespace(name)) for name in NAMESPACES]
    made += [(Key("", "nodes", "", name_of(obj)), obj) for obj in _nodes(config, stamp)]
    writes = [
        Write(key.path(), encode(with_metadata(obj, uid=_new_uid(), creationTimestamp=stamp)), 0)
        for key, obj in made
        if cache.get(key) is None
    ]
    for start in range(0, len(writes), COMMIT_WRITES_MAX):
        await cache.commit(writes[start : start + COMMIT_WRITES_MAX])


def _nodes(config: SimConfig, stamp: str) -> list[Object]:
    return [
        node(
            index,
            stamp,
            region=config.region,
            zones=config.zones,
            cpu=config.node_cpu,
            memory=config.node_memory,
            pods=config.node_pods,
            version=VERSION,
        )
        for index in range(config.nodes)
    ]


def _namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
