"""Which bindings eviction is to look at when something changed, and that they leave in turn.

Like `placed`, it reads the cache's bytes: clusters report all the time, and most bindings can be evicted by nothing but a drain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from towline.hub.controllers.turns import Turns
from towline.hub.decide import bindings, eviction
from towline.hub.decide.doubt import Doubt
from towline.hub.decide.plan import Plan, Snapshot
from towline.hub.decide.scheduling import View
from towline.hub.decide.scheduling.members import Members
from towline.hub.store.cache import WatchEvent
from towline.hub.store.fleet import Fleet
from towline.hub.store.works import CLUSTERS, WorkTable
from towline.kube.objects import Key

EVICTIONS_A_SECOND = 0.5
"""Bindings that taints may evict, in all clusters together (Karmada's resource-eviction-rate)."""
_EVICTABLE = (b'"failover"', b'"gracefulEvictionTasks"', b'"EvictionBlocked"')
"""One of these is in every binding that has a task, or may get one while no cluster is drained."""


def decide(
    snapshot: Snapshot,
    key: Key,
    now: float,
    view: View,
    fleet: Fleet,
    doubt: Callable[[float], Doubt | None],
    turns: Turns[Key],
) -> Plan:
    """Eviction of the binding at `key`, when it is its turn."""
    plan = eviction.decide(
        snapshot,
        key,
        now,
        view,
        doubted=lambda: found.clusters if (found := doubt(now)) else (),
        settled_at=fleet.settled_at,
        heard=fleet.last_heard,
    )
    return _in_turn(plan, turns, key, now)


def concerned(works: WorkTable, members: Members, event: WatchEvent) -> Iterator[Key]:
    """The bindings that a change may make leave a cluster, or whose replacement it may be."""
    key = event.entry.key
    if bindings.is_binding(key):
        marked = any(mark in event.entry.value for mark in _EVICTABLE)
        if event.type != "DELETED" and (marked or eviction.draining(members)):
            yield key
    elif key[:2] == CLUSTERS and turned(event):
        yield from _holding(works, key.name)


def _in_turn(plan: Plan, turns: Turns[Key], key: Key, now: float) -> Plan:
    """`plan` if nothing leaves by it because of taints, or it is the turn of the binding at `key`; else to ask again later."""
    if not eviction.moves(plan):
        turns.forget(key)
        return plan
    seconds = turns.wait(key, now)
    if not seconds:
        return plan
    if plan.requeue_after_seconds is not None:
        seconds = min(seconds, plan.requeue_after_seconds)
    return Plan(requeue_after_seconds=seconds, reasons={"eviction": "others are evicted first"})


def _holding(works: WorkTable, cluster: str) -> Iterator[Key]:
    """The bindings that have a copy in `cluster`, or may have one still."""
    for name in works.works_of(cluster):
        record = works.record(cluster, name)
        if record is not None and bindings.is_binding(record.owner):
            yield record.owner


def turned(event: WatchEvent) -> bool:
    """Whether a Cluster's taints or conditions changed, or it came or went."""
    if event.previous is None or event.type == "DELETED":
        return True
    before, after = (_decoder.decode(entry.value) for entry in (event.previous, event.entry))
    return (before.spec.taints, before.status.conditions) != (after.spec.taints, after.status.conditions)


class _Taint(msgspec.Struct):
    key: str = ""
    value: str = ""
    effect: str = ""
    timeAdded: str = ""


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""


class _Spec(msgspec.Struct):
    taints: list[_Taint] | None = None


class _Status(msgspec.Struct):
    conditions: list[_Condition] | None = None


class _Cluster(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


_decoder = msgspec.json.Decoder(_Cluster)
