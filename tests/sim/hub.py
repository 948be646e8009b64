"""A hub: the real cache, Work table, controllers and sessions over a store in memory that outlives it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

from tests.decide.world import KINDS
from tests.sim.network import Connection
from towline.certs.authority import AgentIdentity
from towline.hub.controllers.loop import Loop
from towline.hub.controllers.table import CONTROLLERS
from towline.hub.controllers.world import World
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.detached import Detached
from towline.hub.decide.plan import Ask, EventNote
from towline.hub.gateway import effects, farewell
from towline.hub.gateway.breaker import Breaker
from towline.hub.gateway.capacity import settings_of
from towline.hub.gateway.effects import HubIdentity
from towline.hub.gateway.session import HubSession
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Change, Conflict, Lease, Row, Unavailable, Write
from towline.hub.store.fleet import ClusterFacts, Fleet
from towline.hub.store.memory import MemoryStore
from towline.hub.store.view import FleetView
from towline.hub.store.works import CLUSTERS, WorkTable
from towline.kube.objects import Key, Object, copy, encode, finalizers_of, is_deleting, uid_of, with_metadata
from towline.kube.wishes import Wish, of_replicas
from towline.proto import fleet_pb2 as fleet


class FlakyStore:
    """A store whose commits fail, before or after they took effect, as often as `failing` says."""

    def __init__(self, store: MemoryStore, rng: random.Random) -> None:
        self.store = store
        self.failing = 0.0
        self._rng = rng

    def load(self) -> AsyncGenerator[tuple[int, list[Row]], None]:
        return self.store.load()

    def changes(self, after: int) -> AsyncGenerator[list[Change], None]:
        return self.store.changes(after)

    async def commit(self, writes: Sequence[Write], *, fence: Lease | None = None) -> int:
        fate = self._rng.random()
        if fate < self.failing / 2:
            raise Unavailable("no answer")
        revision = await self.store.commit(writes, fence=fence)
        if fate < self.failing:
            raise Unavailable("the answer was lost", maybe_committed=True)
        return revision


class Gated:
    """The store as one hub sees it: its changes come only while the gate is open."""

    def __init__(self, store: FlakyStore, gate: asyncio.Event) -> None:
        self.load, self.commit = store.load, store.commit
        self._store, self._gate = store, gate

    async def changes(self, after: int) -> AsyncGenerator[list[Change], None]:
        async for batch in self._store.changes(after):
            await self._gate.wait()
            yield batch


class NoEvents:
    """Events are not what is looked at here."""

    def record(self, note: EventNote, written: Iterable[Object] = ()) -> None:
        pass


class Hub:
    """One life of a hub process. `group` owns its task; `epoch` is above that of every earlier life."""

    def __init__(
        self,
        store: FlakyStore,
        group: asyncio.TaskGroup,
        epoch: int,
        now: Callable[[], float],
        new_uid: Callable[[], str],
    ) -> None:
        self.identity = HubIdentity("store-1", epoch)
        self.sessions: dict[str, tuple[HubSession, Connection]] = {}
        self.breakers: dict[str, Breaker] = {}
        self.partings: dict[str, tuple[AgentIdentity, Detached, Connection]] = {}
        """Agents of clusters that left, whose Hello is to be answered."""
        self.violations: list[str] = []
        self.asked: set[object] = set()
        """Who asked for room and was not told yet that the answers are there."""
        self._store, self._group, self._now, self._new_uid = store, group, now, new_uid
        self.sees = asyncio.Event()
        """Whether it sees what happens in the store."""
        self.sees.set()
        self.cache = Cache(Gated(store, self.sees), KINDS)  # type: ignore[arg-type]
        self.works = WorkTable(self.cache, first_revision=epoch * 1_000_000)
        self.fleet = Fleet(now())
        self.placing = FleetView(self.cache, now)
        world = World(self.cache, self.works, self.fleet, self.placing)
        self.leads = True
        self.loop = Loop(
            world, NoEvents(), now=now, new_uid=new_uid, controllers=CONTROLLERS, leads=lambda: self.leads  # type: ignore[arg-type]
        )  # fmt: skip
        self._stops: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = self._group.create_task(self.cache.run())
        await self.cache.synced.wait()
        self._stops = [self.works.subscribe(self._works_changed), self.cache.subscribe(self._rows_changed)]

    def load(self) -> None:
        """The table of Works is complete from here on; until then agents are connected and told nothing."""
        self.placing.load()
        self.works.load()
        self.placing.answers.carried_by(self._carry)
        self._stops.append(self.loop.follow())
        self.loop.enqueue_all()

    @property
    def loaded(self) -> bool:
        return self.works.synced

    async def crash(self) -> None:
        for stop in self._stops:
            stop()
        for _, connection in self.sessions.values():
            connection.open = False
        self.sessions.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def decide(self) -> None:
        """Carry out all that is to be decided now."""
        if self.loaded and self.sees.is_set():
            await self.loop.settle()

    # --- sessions ------------------------------------------------------------------------------------------------

    def accept(self, who: AgentIdentity, connection: Connection) -> bool:
        """A stream with the certificate of a cluster."""
        cluster = who.cluster
        self.partings.pop(cluster, None)
        older = self.sessions.pop(cluster, None)
        if older is not None:
            older[1].open = False
            self.placing.answers.disconnected(cluster)
        if self.get(Key(*CLUSTERS, "", cluster)) is None:
            gone = farewell.detached(self.cache, who)
            if gone is not None:
                self.partings[cluster] = who, gone, connection
            return gone is not None
        session = HubSession(
            cluster, self.identity, works=lambda: self.works.works_of(cluster), loaded=lambda: self.works.synced,
            breaker=self.breakers.setdefault(cluster, Breaker()), now=self._now(), member_uid=f"uid-{cluster}",
        )  # fmt: skip
        session.tell(settings_of(self.get(Key(*CLUSTERS, "", cluster)) or {}))
        self.sessions[cluster] = (session, connection)
        return True

    def talk(self, cluster: str, most: int = 1000) -> None:
        """Take in what has come, send what there is to say."""
        self._part(cluster)
        session, connection = self.sessions.get(cluster, (None, None))
        if session is None or connection is None:
            return
        for _ in range(most):
            batch = connection.at_hub()
            if batch is None:
                break
            session.receive(batch, self._now())
            self._carry_out(cluster, session)
        session.tick(self._now())
        if session.questions.deadline <= self._now():
            self.violations.append(f"{cluster}: a question without an answer is waited for too long")
        self._carry_out(cluster, session)
        while (out := session.next_batch(self._now())) is not None:
            self._carry_out(cluster, session)
            connection.to_agent(out)
        said_goodbye = session.closed is not None and not connection.down.messages
        if said_goodbye or not connection.open:
            connection.open = False
            self.fleet.disconnected(cluster, self._now())
            self.placing.answers.disconnected(cluster)
            del self.sessions[cluster]

    def _part(self, cluster: str) -> None:
        """Answer the Hello of an agent whose cluster left, and end."""
        if cluster not in self.partings:
            return
        who, gone, connection = self.partings[cluster]
        batch = connection.at_hub()
        if batch is not None and batch.frames[0].HasField("hello"):
            said = farewell.farewell(gone, who, batch.frames[0].hello, self.identity, self._clusters())
            connection.to_agent(fleet.HubBatch(sequence=1, frames=[fleet.HubFrame(go_away=said)]))
            del self.partings[cluster]

    def _clusters(self) -> list[Object]:
        return [entry.object for entry in self.cache.list(*CLUSTERS)]

    def _carry_out(self, cluster: str, session: HubSession) -> None:
        for effect in session.take_effects():
            match effect:
                case effects.Reported(reports):
                    self.works.report(cluster, reports)
                case effects.UnknownHeld(unknown):
                    self.works.held(cluster, unknown)
                case effects.Welcomed():
                    self.fleet.connected(cluster, self._now())
                    self.placing.answers.connected(cluster)
                case effects.Answered(key, room):
                    self.placing.answers.answered(cluster, key, room, self._now())
                case effects.FactsSeen(facts):
                    self.fleet.facts(
                        cluster, ClusterFacts(facts.kubernetes_version, facts.api_server_ready), self._now()
                    )
                case effects.CapacitySeen(capacity):
                    self.fleet.capacity(cluster, capacity, self._now())
                    self.placing.answers.room_changed(cluster, capacity.openings, self._now())
                case effects.HeartbeatSeen(ready):
                    self.fleet.heard(cluster, self._now(), api_server_ready=ready)
                case effects.Close(reason, _, violation):
                    if violation:
                        self.violations.append(f"{cluster}: {reason}")
                case _:
                    pass

    def ask_for_room(self, rng: random.Random, clusters: Sequence[str]) -> None:
        """As a few decisions do that lack what agents have room for."""
        for _ in range(rng.randint(1, 4) if self.loaded else 0):
            who = object()
            self.asked.add(who)
            wish = of_replicas({"resourceRequest": {"cpu": str(rng.randint(1, 3))}}, "shop")
            asks = [Ask(cluster, wish) for cluster in rng.sample(clusters, rng.randint(1, len(clusters)))]
            self.placing.answers.ask(who, asks, partial(self.asked.discard, who), self._now())

    def _carry(self, cluster: str, wish: Wish) -> None:
        session, _ = self.sessions.get(cluster, (None, None))
        if session is None:
            self.placing.answers.disconnected(cluster)
        else:
            session.questions.ask(wish, self._now())

    def _works_changed(self, cluster: str, changed: Collection[str]) -> None:
        if cluster in self.sessions:
            self.sessions[cluster][0].works_changed(changed)

    def _rows_changed(self, revision: int, events: Sequence[Any]) -> None:
        for event in events:
            key = event.entry.key
            if (key.group, key.resource) == CLUSTERS and event.type == "DELETED":
                self.placing.answers.forget(key.name)
            if (key.group, key.resource) != CLUSTERS or key.name not in self.sessions:
                continue
            if event.type == "DELETED":
                who = AgentIdentity(key.name, uid_of(event.entry.object))
                gone = farewell.detached(self.cache, who)
                verdict = farewell.verdict(gone, who) if gone is not None else None
                self.sessions[key.name][0].close("detached", reconnect=False, detached=verdict)
            else:
                self.sessions[key.name][0].tell(settings_of(event.entry.object))

    # --- users ---------------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Object | None:
        entry = self.cache.get(key)
        return entry.object if entry is not None else None

    async def put(self, obj: Object) -> None:
        """Create or replace as the API does: admission's defaults, identity and generation kept."""
        kind = KINDS.of_object(obj)
        assert kind is not None
        key = kind.key_of(obj)
        entry = self.cache.get(key)
        old = entry.object if entry is not None else None
        obj = copy(obj)
        if kind.strategy.default is not None:
            obj = kind.strategy.default(obj, old, rfc3339(self._now()), self._new_uid())
        before = (old or {}).get("metadata") or {}
        metadata = {**before, **obj["metadata"]}
        metadata["uid"] = before.get("uid") or self._new_uid()
        metadata["creationTimestamp"] = before.get("creationTimestamp") or rfc3339(self._now())
        for field in ("labels", "annotations"):
            if field in before:  # what others keep there stays, as with an apply
                metadata[field] = {**before[field], **(obj["metadata"].get(field) or {})}
        if old is not None and "status" in old:
            obj["status"] = old["status"]
        same = old is not None and all(
            old.get(f) == obj.get(f) for f in {*old, *obj} - {"metadata", "status"}
        )
        metadata["generation"] = before.get("generation", 0) + (0 if same else 1)
        await self._commit(
            key, encode({**obj, "metadata": metadata}), entry.revision if entry is not None else 0
        )

    async def delete(self, key: Key) -> None:
        entry = self.cache.get(key)
        if entry is None or is_deleting(entry.object):
            return
        obj = entry.object
        if not finalizers_of(obj) and not (obj.get("spec") or {}).get("finalizers"):
            await self._commit(key, None, entry.revision)
        else:
            gone = with_metadata(obj, deletionTimestamp=rfc3339(self._now()))
            await self._commit(key, encode(gone), entry.revision)

    async def _commit(self, key: Key, value: bytes | None, expected: int) -> None:
        """kubectl's: a conflict or a lost answer is the user's to see; what was committed counts."""
        try:
            await self.cache.commit([Write(key.path(), value, expected)])
        except (Unavailable, Conflict):
            pass
