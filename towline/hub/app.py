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
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from towline import cancellation
from towline.certs import authority, signing, tls
from towline.hub import addresses, asking, epoch, system_namespaces
from towline.hub.agents import Agents
from towline.hub.api.metrics import Metrics
from towline.hub.api.tokens import Keys
from towline.hub.audit import AuditLog
from towline.hub.collector import Collector
from towline.hub.config import HubConfig
from towline.hub.controllers.loop import Loop
from towline.hub.controllers.recorder import Recorder
from towline.hub.controllers.turns import Turns
from towline.hub.controllers.world import World
from towline.hub.front import Front
from towline.hub.gateway.effects import HubIdentity
from towline.hub.gateway.server import Gateway
from towline.hub.gateway.surroundings import Surroundings
from towline.hub.leases import Tenure, leases_of
from towline.hub.members import Members
from towline.hub.peers import Peer, Peers
from towline.hub.routes import fleet_of
from towline.hub.shared_keys import shared
from towline.hub.sharing import Sharing
from towline.hub.store import connect
from towline.hub.store.answers import AnswerTable
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Lease, Store, Unavailable
from towline.hub.store.fleet import Fleet
from towline.hub.store.view import FleetView
from towline.hub.store.works import WorkTable
from towline.hub.store.workview import WorkView
from towline.hub.trust import Trust, opened
from towline.hub.whereabouts import Whereabouts, came_from_another
from towline.kube import builtin, karmada
from towline.kube.kinds import KindTable
from towline.kube.objects import Key

log = logging.getLogger(__name__)

DAY_SECONDS = 86_400


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
        await system_namespaces.ensure(cache, time.time(), _new_uid)
        me = _holder(config.data_dir)
        trust, agents = await _trusted(config, me, cache, audit)
        keys = await _signing_keys(config, cache, stack)
        store_id, number = await epoch.raise_epoch(cache, _new_uid, int(time.time()))
        placing = FleetView(cache, time.time)
        placing.load()
        works.load()

        fleet = Fleet(time.time(), config.health)
        recorder = Recorder(cache, now=time.time, new_uid=_new_uid)
        turns = Turns[Key](config.evictions_a_second)
        peers = _peers(config, me, cache, fleet)
        world = World(cache, works, fleet, placing, keys.sign, lambda: trust.bundle_pem, turns)
        leading, living, controllers = _deciding(config, store, me, peers, world, recorder)
        metrics = Metrics()
        metrics.registry.register(Collector(world, controllers, recorder, audit, leading))
        background = [
            tasks.create_task(_vital("recorder", recorder.run()), name="recorder"),
            tasks.create_task(_vital("controllers", controllers.run()), name="controllers"),
            tasks.create_task(_vital("peers", peers.run()), name="peers"),
            tasks.create_task(_vital("authorities", trust.run()), name="authorities"),
            tasks.create_task(_vital("agents", agents.run()), name="agents"),
            tasks.create_task(_compact(store, cache, config.compact_seconds), name="compaction"),
        ]

        stack.callback(_cancel, background)
        stack.callback(trust.stop)
        stack.push_async_callback(peers.stop)
        stack.push_async_callback(agents.stop)
        for name, tenure in (("leading", leading), ("living", living)):
            task = tasks.create_task(_vital(name, tenure.run()), name=name)
            stack.push_async_callback(_ended, task)  # before its row says that this hub stops

        fleet_now = partial(fleet_of, cache, fleet, agents, trust)
        api = Front(
            config, trust, fleet_now, peers, keys, cache, kinds, works, view, audit, metrics, placing, controllers,
            world.holds, lambda name: fleet.whose(name) is not None, lambda body: gateway.left(body),
            lambda body: asking.answered(body, placing.answers, lambda: gateway.connected, time.time),
            now=time.time, elapsed=time.monotonic, new_uid=_new_uid,
        )  # fmt: skip
        identity = HubIdentity(
            store_id, number, _heartbeat_seconds(config), unschedulable_seconds=config.unschedulable_seconds
        )
        gateway = _gateway(identity, me, world, agents, trust, peers, audit, metrics)
        await gateway.start(config.gateway_address)
        stack.push_async_callback(gateway.stop)
        trust.tell(gateway.certificates_changed)
        found = _whereabouts(cache, me, peers, fleet, works, gateway)
        stack.callback(found.stop)
        peers.tell(partial(_look, peers, found, gateway), gateway.gateways_changed, leading.look)
        _beside_others(config, me, peers, found, gateway, trust, placing.answers, tasks, stack)
        url = await api.start()
        stack.push_async_callback(api.stop)
        _settle_memory()
        yield Hub(url, config.gateway_address, api.kubeconfig)


def _deciding(
    config: HubConfig, store: Store, me: str, peers: Peers, world: World, recorder: Recorder
) -> tuple[Tenure, Tenure, Loop]:
    """What says whether this hub leads, and whether it lives; and the controllers, which ask."""

    def back() -> None:
        """What it did not hear while it slept or was cut off counts against nobody."""
        world.fleet.away(time.time())
        controllers.enqueue_sessions()

    def fenced(lease: Lease) -> None:
        leading.fenced(lease)
        living.fenced(lease)

    leading, living = leases_of(
        store, me, config.lease_ttl_seconds, catch_up=peers.catch_up, leads=lambda: controllers.enqueue_all(), lives=back,
        elapsed=time.monotonic,
    )  # fmt: skip
    controllers: Loop = Loop(
        world, recorder, now=time.time, new_uid=_new_uid, fenced=fenced,
        leads=lambda: leading.held, fence=lambda: leading.lease, lives=lambda: living.held, life=lambda: living.lease,
    )  # fmt: skip
    return leading, living, controllers


def _gateway(
    identity: HubIdentity, me: str, world: World, agents: Agents, trust: Trust, peers: Peers, audit: AuditLog, metrics: Metrics
) -> Gateway:  # fmt: skip
    cache = world.cache
    given = Surroundings(
        works=world.works,
        clusters=cache,
        members=Members(world.fleet, agents),
        certificates=trust,
        shown=agents.shown,
        catch_up=peers.catch_up,
        epoch=partial(epoch.current, cache),
        came_from_another=partial(came_from_another, cache, me),
        gateways=peers.gateways,
        raise_epoch=lambda at_least: _raised(cache, at_least),
        audit=audit,
        now=time.time,
        answers=world.placing.answers,
        registry=metrics.registry,
    )
    return Gateway(identity, given)


async def _trusted(config: HubConfig, me: str, cache: Cache, audit: AuditLog) -> tuple[Trust, Agents]:
    """The authorities, and what is known of agents; both follow the store."""
    authorities = await opened(cache, config.data_dir / "pki", time.time())
    agents = Agents(cache, me, time.time, lambda: trust.look())
    trust = Trust(
        cache, authorities, hosts=addresses.server_names(config), server_days=config.server_certificate_days,
        client_days=config.admin_certificate_days, agent_seconds=config.agent_certificate_seconds, holders=agents.holders, audit=audit, now=time.time,
    )  # fmt: skip
    trust.start()
    agents.start()
    return trust, agents


def _whereabouts(
    cache: Cache, me: str, peers: Peers, fleet: Fleet, works: WorkTable, gateway: Gateway
) -> Whereabouts:
    """Follows which sessions other hubs hold."""

    def moved(cluster: str, there: bool) -> None:
        fleet.at_another_hub(cluster, there, time.time())
        if there:
            works.forget_reports(cluster)
            gateway.moved(cluster)

    found = Whereabouts(cache, me, peers.roll.lives, moved)
    found.start()
    return found


def _beside_others(
    config: HubConfig, me: str, peers: Peers, found: Whereabouts, gateway: Gateway, trust: Trust, answers: AnswerTable,
    tasks: asyncio.TaskGroup, stack: contextlib.AsyncExitStack,
) -> None:  # fmt: skip
    """Shares sessions and questions with the other hubs."""
    client = asking.Client(_client_tls(config, me, trust))
    stack.push_async_callback(client.close)
    asks = asking.Asking(
        answers, here=gateway.ask, elsewhere=lambda: found.elsewhere, api=peers.api_of, others=lambda: peers.roll.others,
        post=client.post, now=time.time,
    )  # fmt: skip
    answers.abroad = found.told
    answers.carried_by(asks.carry)
    sharing = Sharing(
        living=lambda: {name: peer.gateways for name, peer in peers.roll.living.items()}, here=lambda: gateway.connected,
        elsewhere=lambda: found.elsewhere, send=gateway.send_to_another, elapsed=time.monotonic,
    )  # fmt: skip
    for name, work in (("asking", asks.run()), ("sharing", sharing.run())):
        stack.push_async_callback(_ended, tasks.create_task(_vital(name, work), name=name))


def _client_tls(config: HubConfig, me: str, trust: Trust) -> Callable[[], ssl.SSLContext]:
    """How this hub shows itself to others: anew when authorities change, and every day."""
    made: dict[tuple[bytes, str, int], ssl.SSLContext] = {}

    def latest() -> ssl.SSLContext:
        which = (trust.bundle_pem, trust.issuing_key_id, int(time.time() // DAY_SECONDS))
        if which not in made:
            made.clear()
            made[which] = tls.client_context(
                trust.bundle_pem, trust.issue_hub(me), config.data_dir / "pki" / "client.pem"
            )
        return made[which]

    return latest


def _look(peers: Peers, found: Whereabouts, gateway: Gateway) -> None:
    """Hubs came or died, or this one is cut off or back."""
    if peers.is_cut_off:
        gateway.cut_off()
    found.look()


def _shares_its_store(config: HubConfig) -> bool:
    return config.store not in ("sqlite", "memory")


async def _signing_keys(config: HubConfig, cache: Cache, stack: contextlib.AsyncExitStack) -> Keys:
    keys = signing.load_or_create(config.data_dir / "pki")
    if not _shares_its_store(config):
        return keys
    found = await shared(cache, keys, addresses.api_url(config))
    stack.callback(found.stop)
    return found


def _peers(config: HubConfig, me: str, cache: Cache, fleet: Fleet) -> Peers:
    """The hubs on this hub's store; followed from now on."""
    hosts = addresses.advertised(config)
    apis, gateways = (
        tuple(addresses.joined(host, addresses.split(at)[1]) for host in hosts)
        for at in (config.api_address, config.gateway_address)
    )
    peers = Peers(
        cache, me, Peer(apis, gateways), shared=_shares_its_store(config),
        dead_seconds=config.lease_ttl_seconds, elapsed=time.monotonic, silent=lambda: fleet.silent(time.time()),
    )  # fmt: skip
    fleet.silent_elsewhere = peers.silent
    peers.start()
    return peers


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


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait((task,))


def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


# --- steps ---------------------------------------------------------------------------------------------------


async def _vital(name: str, work: Coroutine[Any, Any, None]) -> None:
    """Something that a hub cannot do without. Should it end before the hub does, the hub ends too, and says so: a hub that goes
    on without it would serve old news."""
    try:
        await work
    except asyncio.CancelledError:
        if cancellation.is_wished():
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
