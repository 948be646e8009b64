"""What a member has and what is taken of it, counted from its nodes and pods as they come and go; and what its quotas leave.

Pure. Of a node only its `NodeRoom` is kept, of a pod where it runs and what it requests, so that thousands of both cost
little; the sums are kept up with every change and never counted anew. Objects are Kubernetes' own as dicts, whole or only
with the fields that are read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from sys import intern
from typing import Any, NamedTuple

from towline.agent.quotas import Quota, leaves_more, quota_of
from towline.agent.waiting import Waiting, Workload, unschedulable_since, workload_of
from towline.kube import amounts
from towline.kube.amounts import PODS, Amounts
from towline.kube.cells import at, maps, table
from towline.kube.grades import Scale
from towline.kube.interpreter.requirements import effective_requests
from towline.kube.objects import Object, labels_of, name_of, namespace_of, uid_of

_TERMINAL = ("Succeeded", "Failed")


@dataclass(slots=True)
class NodeRoom:
    """One node: what may run there, and how much of it is taken. Amounts are in base units (`kube.amounts`).

    `allocatable` has the node's slots for pods as "pods"; `used` is the sum of the requests of the `pods` pods that
    were put on the node and have not ended."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, Any]]
    unschedulable: bool
    ready: bool
    allocatable: Amounts
    used: Amounts = field(default_factory=dict)
    pods: int = 0

    def free(self, resource: str) -> int:
        """What is left of a resource; below 0 where more is taken than there is."""
        taken = self.pods if resource == PODS else self.used.get(resource, 0)
        return self.allocatable.get(resource, 0) - taken

    @property
    def takes_pods(self) -> bool:
        """Whether one more pod, tolerant of everything and in need of nothing, can be put here."""
        return self.ready and not self.unschedulable and self.free(PODS) > 0


@dataclass(frozen=True, slots=True)
class Summary:
    """A member in a few numbers (Karmada 1.1): `allocatable` of all nodes together, `allocating` by pods that wait for
    a node, `allocated` by those that have one; each with the number of "pods"."""

    nodes: int
    ready_nodes: int
    allocatable: Amounts
    allocating: Amounts
    allocated: Amounts


class Capacity:
    """The count. Tell it every state of every node and pod; what is told twice counts once."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeRoom] = {}
        self.quotas: dict[str, dict[str, Quota]] = {}
        """ResourceQuotas by namespace and name."""
        self.changes = 0
        """Grows when anything that is counted changed."""
        self.openings = 0
        """Grows when something that no sum shows may have made room: labels, taints or cordons of nodes, quotas, and pods that went
        after an answer had counted them. The sums of before and after may be the same then, and the hub goes by the answer."""
        self._answered = False
        """Whether the hub was told of room since a pod went last."""
        self.waiting = Waiting()
        self._pods: dict[str, _Pod] = {}
        self._strays: dict[str, NodeRoom] = {}
        """Nodes that pods name and that are not known (yet, or any more). They count as nothing."""
        self._ready = 0
        self._allocatable: Amounts = {}
        self._allocating: Amounts = {}
        self._allocated: Amounts = {}

    def put_node(self, node: Object) -> None:
        """A node as it is now."""
        name = name_of(node)
        known = self.nodes.get(name)
        room = _room_of(node, known or self._strays.get(name))
        if room == known:
            return
        if known is not None:
            self.openings += _admission(known) != _admission(room)
            self._count(known, -1)
        self._strays.pop(name, None)
        self.nodes[name] = room
        self._count(room, 1)
        self.changes += 1

    def remove_node(self, name: str) -> None:
        room = self.nodes.pop(name, None)
        if room is None:
            return
        self._count(room, -1)
        if room.pods:
            self._strays[name] = _stray(name, room.used, room.pods)
        self.changes += 1

    def keep_nodes(self, listed: Set[str]) -> None:
        """A complete list named these: forget the others."""
        for name in self.nodes.keys() - listed:
            self.remove_node(name)

    def put_pod(self, pod: Object) -> None:
        """A pod as it is now."""
        uid = uid_of(pod)
        if at(pod, "status", "phase") in _TERMINAL:
            self.remove_pod(uid)
            return
        spec = at(pod, "spec")
        node = intern(str(at(spec, "nodeName") or ""))
        since = unschedulable_since(pod) if not node else 0.0
        found = _Pod(node, _requests(tuple(effective_requests(spec).items())), workload_of(pod), since)
        known = self._pods.get(uid)
        if found == known:
            return
        if known is not None:
            self._load(known, -1)
        self._pods[uid] = found
        self._load(found, 1)
        self.changes += 1

    def remove_pod(self, uid: str) -> None:
        known = self._pods.pop(uid, None)
        if known is not None:
            self._load(known, -1)
            self.changes += 1
            self.openings += self._answered
            self._answered = False

    def answered(self) -> None:
        """The hub is told now what there is room for."""
        self._answered = True

    def keep_pods(self, listed: Set[str]) -> None:
        """A complete list had these uids: forget the others."""
        for uid in self._pods.keys() - listed:
            self.remove_pod(uid)

    def put_quota(self, quota: Object) -> None:
        """A ResourceQuota as it is now."""
        named, found = self.quotas.setdefault(namespace_of(quota), {}), quota_of(quota)
        known = named.get(found.name)
        named[found.name] = found
        if known is not None and leaves_more(known, found):
            self._opened()

    def remove_quota(self, key: str) -> None:
        """`key` is of `quota_key`."""
        namespace, _, name = key.partition("/")
        named = self.quotas.get(namespace, {})
        if named.pop(name, None) is not None:
            self._opened()
        if not named:
            self.quotas.pop(namespace, None)

    def keep_quotas(self, listed: Set[str]) -> None:
        """A complete list had these keys: forget the others."""
        held = {f"{namespace}/{name}" for namespace, named in self.quotas.items() for name in named}
        for key in held - listed:
            self.remove_quota(key)

    def _opened(self) -> None:
        self.openings += 1
        self.changes += 1

    def summary(self) -> Summary:
        return Summary(
            nodes=len(self.nodes),
            ready_nodes=self._ready,
            allocatable=dict(self._allocatable),
            allocating=dict(self._allocating),
            allocated=dict(self._allocated),
        )

    def graded(self, scale: Scale) -> list[int]:
        """How many nodes are of each grade, in the scale's order, by what they have left (Karmada 2.8).

        A node that takes no pods (full, cordoned, not ready) is of no grade; the nodes after it count all the same."""
        counts = [0] * len(scale.grades)
        for room in self.nodes.values() if counts else ():
            if room.takes_pods:
                counts[scale.place(room.free)] += 1
        return counts

    # --- sums ----------------------------------------------------------------------------------------------------

    def _load(self, pod: _Pod, times: int) -> None:
        """Count a pod in (1) or out (-1)."""
        self.waiting.count(pod.workload, pod.since, times)
        if not pod.node:
            _add(self._allocating, pod.requests, times)
            _add(self._allocating, {PODS: 1}, times)
            return
        room = self.nodes.get(pod.node)
        if room is None:
            self._load_stray(pod, times)
            return
        _add(room.used, pod.requests, times)
        room.pods += times
        _add(self._allocated, pod.requests, times)
        _add(self._allocated, {PODS: 1}, times)

    def _load_stray(self, pod: _Pod, times: int) -> None:
        stray = self._strays.setdefault(pod.node, _stray(pod.node, {}, 0))
        _add(stray.used, pod.requests, times)
        stray.pods += times
        if not stray.pods:
            del self._strays[pod.node]

    def _count(self, room: NodeRoom, times: int) -> None:
        """Count a node with all that is on it in (1) or out (-1)."""
        self._ready += times * room.ready
        _add(self._allocatable, room.allocatable, times)
        _add(self._allocated, room.used, times)
        _add(self._allocated, {PODS: room.pods}, times)


def _admission(room: NodeRoom) -> Any:
    """What decides which pods a node takes, besides what is free on it."""
    return room.labels, room.taints, room.unschedulable


def quota_key(quota: Object) -> str:
    return f"{namespace_of(quota)}/{name_of(quota)}"


class _Pod(NamedTuple):
    node: str
    """Empty: it waits for one."""
    requests: Amounts
    """Shared between pods: never changed."""
    workload: Workload | None
    since: float
    """When it found no node; 0: it has one, or nobody has looked."""


def _room_of(node: Object, known: NodeRoom | None) -> NodeRoom:
    """`node` reduced; its load, and what is equal, is taken over from what was known of it."""
    # Thousands of nodes have the same labels, mostly with the same values.
    labels = {intern(str(key)): intern(str(value)) for key, value in labels_of(node).items()}
    return NodeRoom(
        name=intern(name_of(node)),
        labels=known.labels if known is not None and known.labels == labels else labels,
        taints=tuple(maps(at(node, "spec", "taints"))),
        unschedulable=bool(at(node, "spec", "unschedulable")),
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in maps(at(node, "status", "conditions"))
        ),
        allocatable=amounts.offered(table(at(node, "status", "allocatable"))),
        used=known.used if known is not None else {},
        pods=known.pods if known is not None else 0,
    )


def _stray(name: str, used: Amounts, pods: int) -> NodeRoom:
    return NodeRoom(name, {}, (), True, False, {}, used, pods)


@lru_cache(maxsize=4096)
def _requests(requests: tuple[tuple[str, str], ...]) -> Amounts:
    """Equal for all pods of a template: read once and held once."""
    return {name: amount for name, amount in amounts.needed(dict(requests)).items() if amount}


def _add(total: Amounts, part: Mapping[str, int], times: int) -> None:
    """In place. What comes to nothing goes, so that a sum is the same whatever the order of its parts."""
    for name, amount in part.items():
        value = total.get(name, 0) + times * amount
        if value:
            total[name] = value
        else:
            total.pop(name, None)
