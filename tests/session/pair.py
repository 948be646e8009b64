"""A hub session and an agent session that talk through lists, and Works to talk about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from towline.agent import desired as held
from towline.agent import session as agent_session
from towline.agent.desired import Desired, HubSeen, Persist, Reconcile
from towline.agent.session import AgentSession
from towline.hub.decide.wire import Conflict, ObjectRef, Phase, WireWork, WorkReport
from towline.hub.gateway import effects
from towline.hub.gateway.breaker import Breaker
from towline.hub.gateway.effects import HubIdentity
from towline.hub.gateway.session import HubSession
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import work_hash

HUB = HubIdentity("store-1", 5)


def manifest(name: str, kind: str = "ConfigMap", **data: str) -> bytes:
    where = {"name": name} if kind == "Namespace" else {"name": name, "namespace": "default"}
    return orjson.dumps({"apiVersion": "v1", "kind": kind, "metadata": where, "data": data})


def work(
    name: str,
    *,
    revision: int = 10,
    uid: str = "",
    kind: str = "ConfigMap",
    manifests: Iterable[bytes] | None = None,
    conflict: Conflict = Conflict.ABORT,
    preserve: bool = False,
    suspended: bool = False,
    report_hash: bytes = b"",
    **data: str,
) -> WireWork:
    bodies = tuple(manifests) if manifests is not None else (manifest(name, kind, **data),)
    refs = tuple(map(ref_of, bodies))
    return WireWork(
        name, uid or f"uid-{name}", revision, work_hash(bodies, int(conflict), preserve), tuple((b,) for b in bodies),
        conflict, preserve, suspended, False, refs, report_hash,
    )  # fmt: skip


def ref_of(body: bytes) -> ObjectRef:
    found = held.ref_of(body)
    assert found is not None
    return ObjectRef(*found)


def tombstone(
    name: str, *, revision: int = 20, uid: str = "", kind: str = "ConfigMap", preserve: bool = False
) -> WireWork:
    ref = ref_of(manifest(name, kind))
    return WireWork(
        name, uid or f"uid-{name}", revision, bytes(16), (), preserve=preserve, removing=True, refs=(ref,)
    )  # fmt: skip


def applied(row: held.HeldWork, status: Any = None, health: str = "Healthy", drift: str = "") -> fleet.Report:
    encoded = b"" if status is None else orjson.dumps(status, option=orjson.OPT_SORT_KEYS)
    statuses = [fleet.ManifestStatus(kind="ConfigMap", name=row.name, status=encoded, health=health)]
    return fleet.Report(
        name=row.name, uid=row.uid, work_hash=row.hash, phase=fleet.APPLIED, statuses=statuses, drift=drift
    )


def removed(name: str) -> fleet.Report:
    return fleet.Report(name=name, phase=fleet.REMOVED)


@dataclass
class Pair:
    """Both ends of one session over a network that loses nothing; `table` is the hub's Works, `desired` the agent's."""

    table: dict[str, WireWork] = field(default_factory=dict)
    desired: Desired = field(default_factory=Desired)
    breaker: Breaker = field(default_factory=Breaker)
    identity: HubIdentity = HUB
    now: float = 1000.0
    loaded: bool = True
    acks: bool = True
    """Whether the agent's disk works."""
    member_uid: str = ""

    hub: HubSession = field(init=False)
    agent: AgentSession = field(init=False)
    hub_effects: list[effects.Effect] = field(default_factory=list)
    agent_effects: list[agent_session.Effect] = field(default_factory=list)
    to_agent: list[fleet.HubBatch] = field(default_factory=list)
    to_hub: list[fleet.AgentBatch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        """A new session over what both sides have."""
        self.hub = HubSession(
            "member1", self.identity, works=lambda: self.table, loaded=lambda: self.loaded, breaker=self.breaker,
            now=self.now, member_uid=self.member_uid,
        )  # fmt: skip
        self.agent = AgentSession(self.desired, cluster="member1", cluster_uid="uid-1", agent_version="0")
        self.agent.open(self.now)

    def put(self, *works: WireWork) -> None:
        for each in works:
            self.table[each.name] = each
        self.hub.works_changed({each.name for each in works})

    def drop(self, *names: str) -> None:
        for name in names:
            del self.table[name]
        self.hub.works_changed(set(names))

    def hub_sends(self) -> list[fleet.HubBatch]:
        batches = []
        while (batch := self.hub.next_batch(self.now)) is not None:
            batches.append(batch)
        self.hub_effects += self.hub.take_effects()
        return batches

    def agent_sends(self) -> list[fleet.AgentBatch]:
        batches = []
        while (batch := self.agent.next_batch(self.now)) is not None:
            batches.append(batch)
        return batches

    def agent_gets(self, batch: fleet.HubBatch) -> list[agent_session.Effect]:
        self.to_agent.append(batch)
        got = self.agent.receive(batch, self.now)
        self.agent_effects += got
        for effect in got:
            if isinstance(effect, Persist) and effect.sequence and self.acks:
                self.agent.persisted(effect.sequence)
        return got

    def hub_gets(self, batch: fleet.AgentBatch) -> None:
        self.to_hub.append(batch)
        self.hub.receive(batch, self.now)
        self.hub_effects += self.hub.take_effects()

    def settle(self) -> None:
        """Talk until nobody has anything to say."""
        for _ in range(1000):
            ours, theirs = self.hub_sends(), self.agent_sends()
            if not ours and not theirs:
                return
            for batch in theirs:
                self.hub_gets(batch)
            for each in ours:
                self.agent_gets(each)
        raise AssertionError("the sessions never come to rest")

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.agent_effects += self.agent.tick(self.now)
        self.hub.tick(self.now)
        self.hub_effects += self.hub.take_effects()

    def report(self, report: fleet.Report) -> None:
        """What execution found; the disk keeps it at once."""
        effects = self.agent.report(report)
        self.agent_effects += effects
        for effect in effects:
            if isinstance(effect, Persist):
                self.desired.durable(effect)

    def finish_removals(self) -> None:
        """What execution does about removals, in a member that refuses nothing."""
        for row in self.desired:
            if row.removing:
                self.report(removed(row.name))

    # --- what happened -------------------------------------------------------------------------------------------

    @property
    def reports(self) -> list[WorkReport]:
        return [r for e in self.hub_effects if isinstance(e, effects.Reported) for r in e.reports]

    def saw(self, kind: type) -> list[Any]:
        return [e for e in [*self.hub_effects, *self.agent_effects] if isinstance(e, kind)]

    def reconciled(self) -> list[str]:
        return [e.name for e in self.agent_effects if isinstance(e, Reconcile)]

    def upserts(self) -> list[str]:
        return [w.name for b in self.to_agent for f in b.frames for w in f.works.upserts]

    def removals(self) -> list[str]:
        return [w.name for b in self.to_agent for f in b.frames for w in f.works.removals]

    def forget_traffic(self) -> None:
        for log in (self.to_agent, self.to_hub, self.hub_effects, self.agent_effects):
            log.clear()

    @property
    def holds(self) -> set[str]:
        return {row.name for row in self.desired if not row.removing}


def known(each: WireWork, row: held.HeldWork | None) -> WireWork:
    """`each` when the hub has stored the agent's report on it."""
    return replace(each, report_hash=row.report_hash if row is not None else b"")


__all__ = ["HUB", "HubSeen", "Pair", "Phase", "applied", "known", "manifest", "removed", "tombstone", "work"]
