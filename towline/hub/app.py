"""The hub's composition root: starts the parts in order, stops them in reverse. Only here the clock and entropy are read.

Order of the start, and why: the store and the cache, because everything reads them; the epoch, so that no agent meets a hub without
one; the table of Works, which must see every change; the controllers; the gateway, whose sessions sync only once the table is
loaded; the API last, so that whoever gets in finds everything there.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from towline.certs import authority, kubeconfig, signing, tls
from towline.hub import addresses, epoch
from towline.hub.agents import Agents
from towline.hub.api.authentication import certificates_and_tokens
from towline.hub.api.authorization import Rbac
from towline.hub.api.escalation import Escalation
from towline.hub.api.local import Local
from towline.hub.api.membership import OneClusterAMember
from towline.hub.api.metrics import Metrics
from towline.hub.api.oidc import OidcIssuer
from towline.hub.api.placements import Placements
from towline.hub.api.protection import DeletionProtection
from towline.hub.api.server import ApiServer
from towline.hub.api.tokens import ServiceAccountTokens
from towline.hub.api.webhooks import Webhooks
from towline.hub.audit import AuditLog
from towline.hub.config import HubConfig
from towline.hub.controllers.loop import Loop
from towline.hub.controllers.recorder import Recorder
from towline.hub.controllers.table import World
from towline.hub.gateway import farewell
from towline.hub.gateway.effects import HubIdentity
from towline.hub.gateway.enrolment import Answer, Enrolment
from towline.hub.gateway.server import Gateway
from towline.hub.gateway.surroundings import Surroundings
from towline.hub.members import Members
from towline.hub.routes import fleet_of, routes
from towline.hub.store import connect
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Conflict, Fenced, Lease, Store, Unavailable, Write
from towline.hub.store.fleet import Fleet
from towline.hub.store.view import FleetView
from towline.hub.store.works import WorkTable
from towline.hub.store.workview import WorkView
from towline.hub.trust import Trust, opened
from towline.kube import builtin, karmada
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object, encode

log = logging.getLogger(__name__)

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "karmada-system", "karmada-cluster")
LEADER = "controllers"


async def run(config: HubConfig) -> None:
    """Run one hub until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(config) as hub:
        print(
            f"Serving at {hub.url}, sessions at {hub.gateway_address}, kubeconfig {hub.kubeconfig}",
            flush=True,
        )
        await stop.wait()
        log.info("stopping")


class Hub:
    """A hub that serves."""

    def __init__(self, url: str, gateway_address: str, kubeconfig: Path) -> None:
        self.url = url
        self.gateway_address = gateway_address
        self.kubeconfig = kubeconfig


@contextlib.asynccontextmanager
async def serving(config: HubConfig) -> AsyncIterator[Hub]:
    """A hub that serves as long as the context lasts."""
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = signing.load_or_create(config.data_dir / "pki")
    audit = AuditLog(
        config.data_dir, bytes_max=config.audit_bytes_max, files=config.audit_files, now=time.time
    )
    store = connect(
        config.store, data_dir=config.data_dir, now=time.time,
        ca=config.etcd_ca, cert=config.etcd_cert, key=config.etcd_key,
    )  # fmt: skip
    kinds = KindTable.of([*builtin.kinds(), *karmada.kinds()])
    await store.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(audit.close)
        stack.push_async_callback(store.close)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        cache, works, view = await _followed(config, store, kinds, tasks, stack)
        await _ensure_namespaces(cache)
        trust, agents = await _trusted(config, cache, audit)
        store_id, number = await epoch.raise_epoch(cache, _new_uid)
        placing = FleetView(cache, time.time)
        placing.load()
        works.load()

        fleet = Fleet(time.time(), config.health)
        recorder = Recorder(cache, now=time.time, new_uid=_new_uid)
        leading = Leading(store, _holder(config.data_dir), config.lease_ttl_seconds)
        controllers = Loop(
            World(cache, works, fleet, placing, keys.sign, lambda: trust.bundle_pem), recorder, now=time.time, new_uid=_new_uid,
            fence=lambda: leading.lease,
        )  # fmt: skip
        metrics = Metrics()
        metrics.registry.register(_Collector(cache, controllers, recorder, audit))
        background = [
            tasks.create_task(_vital("recorder", recorder.run()), name="recorder"),
            tasks.create_task(_vital("leading", leading.run(controllers)), name="leading"),
            tasks.create_task(_vital("authorities", trust.run()), name="authorities"),
            tasks.create_task(_vital("agents", agents.run()), name="agents"),
            tasks.create_task(_compact(store, cache, config.compact_seconds), name="compaction"),
        ]

        stack.callback(_cancel, background)
        stack.callback(trust.stop)
        stack.push_async_callback(agents.stop)

        fleet_now = partial(fleet_of, cache, fleet, agents, trust, _holder(config.data_dir))
        api = _Api(
            config, trust, fleet_now, keys, cache, kinds, works, view, audit, metrics, placing, controllers,
            lambda body: farewell.asked(cache, gateway.hub, body),
        )  # fmt: skip
        gateway = Gateway(
            HubIdentity(
                store_id,
                number,
                _heartbeat_seconds(config),
                unschedulable_seconds=config.unschedulable_seconds,
            ),
            Surroundings(
                works=works,
                clusters=cache,
                members=Members(fleet, agents),
                certificates=trust,
                shown=agents.shown,
                raise_epoch=lambda at_least: _raised(cache, at_least),
                audit=audit,
                now=time.time,
                answers=placing.answers,
                registry=metrics.registry,
            ),
        )
        await gateway.start(config.gateway_address)
        stack.push_async_callback(gateway.stop)
        trust.tell(gateway.certificates_changed)
        url = await api.start()
        stack.push_async_callback(api.stop)
        _settle_memory()
        yield Hub(url, config.gateway_address, api.kubeconfig)


async def _trusted(config: HubConfig, cache: Cache, audit: AuditLog) -> tuple[Trust, Agents]:
    """The authorities, and what is known of agents; both follow the store."""
    authorities = await opened(cache, config.data_dir / "pki", time.time())
    agents = Agents(cache, _holder(config.data_dir), time.time, lambda: trust.look())
    trust = Trust(
        cache, authorities, hosts=addresses.server_names(config), server_days=config.server_certificate_days,
        client_days=config.admin_certificate_days, holders=agents.holders, audit=audit, now=time.time,
    )  # fmt: skip
    trust.start()
    agents.start()
    return trust, agents


async def _followed(
    config: HubConfig,
    store: Store,
    kinds: KindTable,
    tasks: asyncio.TaskGroup,
    stack: contextlib.AsyncExitStack,
) -> tuple[Cache, WorkTable, WorkView]:
    """The cache, loaded and following the store, and what is computed from it (not loaded yet)."""
    cache = Cache(
        store, kinds, window_events=config.window_events, window_bytes=config.window_bytes,
        parsed_objects=config.parsed_objects,
    )  # fmt: skip
    works = WorkTable(
        cache,
        first_revision=time.time_ns() // 1000,
        namespace_sync=cast('Literal["all", "needed"]', config.namespace_sync),
    )
    view = WorkView(works)
    started = asyncio.Event()
    following = tasks.create_task(_vital("cache", cache.run(started)), name="cache")
    stack.callback(_cancel, [following])
    await _first(started, following)
    return cache, works, view


def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


class Leading:
    """Holds the leader's lease while it can, and runs the controllers meanwhile. One hub alone always leads."""

    def __init__(self, store: Store, holder: str, ttl_seconds: float) -> None:
        self._store = store
        self._holder = holder
        self._ttl_seconds = ttl_seconds
        self.lease: Lease | None = None

    async def run(self, controllers: Loop) -> None:
        try:
            while True:
                try:
                    self.lease = await self._store.acquire(LEADER, self._holder, self._ttl_seconds)
                except Unavailable as error:
                    log.warning("the store cannot be asked for leadership: %s", error)
                if self.lease is not None:
                    await self._lead(self.lease, controllers)
                    self.lease = None
                await asyncio.sleep(self._ttl_seconds / 3)
        finally:
            if self.lease is not None:
                with contextlib.suppress(Unavailable):
                    await self._store.release(self.lease)

    async def _lead(self, lease: Lease, controllers: Loop) -> None:
        log.info("this hub leads")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep(lease))
                group.create_task(controllers.run())
        except* Fenced:
            log.warning("another hub leads now")

    async def _keep(self, lease: Lease) -> None:
        """Renews; a store that cannot be reached is asked again, because only the lease's loss ends leadership."""
        while True:
            await asyncio.sleep(self._ttl_seconds / 3)
            try:
                await self._store.renew(lease, self._ttl_seconds)
            except Unavailable as error:
                log.warning("the lease cannot be renewed now: %s", error)


class _Api:
    """The API server of a hub with what hangs on it: certificates, the administrator's kubeconfig, enrolment."""

    def __init__(
        self, config: HubConfig, trust: Trust, clusters: Callable[[float], list[Object]], keys: signing.SigningKeys, cache: Cache,
        kinds: KindTable, works: WorkTable, view: WorkView, audit: AuditLog, metrics: Metrics, placing: FleetView, controllers: Loop,
        parting: Callable[[Any], Answer],
    ) -> None:  # fmt: skip
        self._config = config
        self._trust = trust
        self._host, port = addresses.split(config.api_address)
        self._port = port
        self._advertised = addresses.advertised(config)
        self._tls = tls.ChangingTls(trust.bundle_pem, trust.leaf, config.data_dir / "pki" / "server.pem")
        self.kubeconfig = config.data_dir / "admin.kubeconfig"
        gateway_port = addresses.split(config.gateway_address)[1]
        enrolment = Enrolment(
            authority=trust,
            store=cache,
            clusters=_Clusters(self, cache),
            api_address=addresses.joined(self._advertised[0], port),
            gateways=[addresses.joined(host, gateway_port) for host in self._advertised],
            audit=audit,
            now=time.time,
        )
        self._rbac = Rbac(cache)
        self._webhooks = Webhooks(cache, kinds, now=time.time, new_uid=_new_uid)
        self.url = url = f"https://{addresses.joined(self._advertised[0], port)}"
        tokens = ServiceAccountTokens(
            cache,
            keys,
            issuer=config.service_account_issuer or url,
            audiences=config.api_audiences,
            seconds_max=config.service_account_max_token_seconds,
            now=time.time,
            new_uid=_new_uid,
        )
        reviews = Placements(cache, self._rbac, view=placing.at, recorded=controllers.recorded, now=time.time)
        oidc = config.oidc
        others = [OidcIssuer(oidc, now=time.time, elapsed=time.monotonic).verify] if oidc is not None else []
        self.server = ApiServer(
            cache=cache,
            kinds=kinds,
            sources={("work.karmada.io", "works"): view},
            refusals={("work.karmada.io", "works"): view.refuse},
            authenticate=certificates_and_tokens(tokens.verify, *others),
            authorize=self._rbac,
            audit=audit,
            now=time.time,
            new_uid=_new_uid,
            extra_routes=routes(enrolment, trust, lambda: clusters(time.time()), self._rbac, parting),
            ready=lambda: "" if works.synced else "the Works are not computed yet",
            metrics=metrics,
            plugins=(DeletionProtection(), OneClusterAMember(cache), Escalation(self._rbac), self._webhooks),
            actions={**tokens.actions(others), **reviews.actions()},
            documents=tokens.documents(url),
            cleans_namespaces=False,  # members' copies go first: hub/decide/namespaces
        )

    async def start(self) -> str:
        """Listens, and writes the administrator's kubeconfig; answers the API's URL."""
        self._rbac.start()
        self._webhooks.start()
        await Local(self.server.engine).ensure_roles()
        await self.server.start(self._host, self._port, self._tls.context)
        self._trust.tell(self._certificates_changed)
        self._show_certificates()
        return self.url

    async def stop(self) -> None:
        await self.server.stop()
        await self._webhooks.stop()
        self._rbac.stop()

    def _certificates_changed(self) -> None:
        try:
            self._show_certificates()
        except (
            OSError
        ) as error:  # of the files that they go through; a hub that runs goes on with what it has
            log.error("the certificates of the API could not be changed: %s", error)

    def _show_certificates(self) -> None:
        self._tls.show(self._trust.bundle_pem, self._trust.leaf)
        self._write_kubeconfig()

    def _write_kubeconfig(self) -> None:
        """Made at the first start. Made again only when it no longer fits, because people copy it."""
        bundle_pem, issuer = self._trust.bundle_pem, self._trust.issuing_key_id
        if kubeconfig.fits(self.kubeconfig, self.url, bundle_pem, issuer):
            return
        config = kubeconfig.admin_kubeconfig(self.url, bundle_pem, self._trust.issue_admin())
        kubeconfig.write(self.kubeconfig, config)


class _Clusters:
    """Cluster objects for enrolment, written through the API's admission."""

    def __init__(self, api: _Api, cache: Cache) -> None:
        self._api = api
        self._cache = cache

    def get(self, name: str) -> Object | None:
        return self._cache.snapshot.get(Key("cluster.karmada.io", "clusters", "", name))

    def list(self) -> Sequence[Object]:
        return self._cache.snapshot.list("cluster.karmada.io", "clusters")

    async def write(self, obj: Object) -> Object:
        return await Local(self._api.server.engine).write(obj)


class _Collector:
    """Counters that parts keep as plain numbers, read when somebody asks."""

    def __init__(self, cache: Cache, controllers: Loop, recorder: Recorder, audit: AuditLog) -> None:
        self._cache = cache
        self._controllers = controllers
        self._recorder = recorder
        self._audit = audit

    def collect(self) -> Iterable[Metric]:
        commits = CounterMetricFamily(
            "towline_store_commits", "Commits to the store, by who made them.", labels=["writer"]
        )
        others = self._recorder.commits
        commits.add_metric(["events"], self._recorder.commits)
        for controller, count in self._controllers.commits.items():
            commits.add_metric([controller], count)
            others += count
        commits.add_metric(["api"], self._cache.commits - others)
        yield commits
        yield CounterMetricFamily("towline_decisions", "Decisions made.", value=self._controllers.decisions)
        lost = CounterMetricFamily("apiserver_audit_error", "Audit lines that were lost.", labels=["plugin"])
        lost.add_metric(["log"], self._audit.lost)
        yield lost
        yield GaugeMetricFamily(
            "towline_queue_length", "Keys that wait for a decision.", value=len(self._controllers.queue)
        )
        pending = GaugeMetricFamily(
            "scheduler_pending_bindings", "Templates to be placed, by what they wait for.", labels=["queue"]
        )
        for queue, count in self._controllers.pending().items():
            pending.add_metric([queue], count)
        yield pending
        objects = GaugeMetricFamily("towline_objects", "Stored objects.", labels=["group", "resource"])
        for (group, resource), count in self._cache.counts().items():
            objects.add_metric([group, resource], count)
        yield objects


# --- steps ---------------------------------------------------------------------------------------------------


async def _vital(name: str, work: Coroutine[Any, Any, None]) -> None:
    """Something that a hub cannot do without. Should it end before the hub does, the hub ends too, and says so: a hub that goes
    on without it would serve old news."""
    try:
        await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    raise RuntimeError(f"the hub's {name} ended")


async def _first(event: asyncio.Event, task: asyncio.Task[Any]) -> None:
    """Waits for `event`; raises what `task` raised if it ends before."""
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait((waiting, task), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()


def _heartbeat_seconds(config: HubConfig) -> int:
    """Four in the time that a cluster may be silent, as Karmada's agents renew their leases; one a second at most."""
    return max(1, int(config.health.monitor_grace_seconds / 4))


async def _raised(cache: Cache, at_least: int) -> int:
    return (await epoch.raise_epoch(cache, _new_uid, at_least))[1]


async def _ensure_namespaces(cache: Cache) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    missing = [name for name in NAMESPACES if cache.get(Key("", "namespaces", "", name)) is None]
    rows = [
        Write(
            Key("", "namespaces", "", name).path(),
            encode(
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {
                        "name": name,
                        "uid": _new_uid(),
                        "creationTimestamp": stamp,
                        "labels": {"kubernetes.io/metadata.name": name},
                    },
                    "spec": {"finalizers": ["kubernetes"]},
                    "status": {"phase": "Active"},
                }
            ),
            0,
        )
        for name in missing
    ]
    if rows:
        with contextlib.suppress(Conflict):  # another hub made them just now
            await cache.commit(rows)


async def _compact(store: Store, cache: Cache, every_seconds: float) -> None:
    """Forgets the changes of the round before the last: whoever reads slower than that loads again."""
    before = cache.revision
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await store.compact(before)
        except Unavailable as error:
            log.warning("old changes are not forgotten now: %s", error)
        before = cache.revision


def _settle_memory() -> None:
    """What is loaded at the start lives as long as the process: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _holder(data_dir: Path) -> str:
    """Who holds the lease: the same after a restart on the same data, so that a killed hub leads again at once."""
    path = data_dir / "hub-id"
    if not path.exists():
        authority.write_private(path, _new_uid().encode())
    return path.read_text().strip()


def _new_uid() -> str:
    return str(uuid.UUID(bytes=os.urandom(16), version=4))
