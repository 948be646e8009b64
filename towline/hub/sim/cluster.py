"""What the workload rules look things up by, kept up to date change by change.

The rules never scan: children are found by their owner's uid, room on a node by a running sum. Only Pods and
Services are parsed for it; of everything else the metadata is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from towline.kube.objects import Key, Meta, Object
from towline.kube.quantities import parse

PODS = ("", "pods")
SERVICES = ("", "services")
NODES = ("", "nodes")


class Use(NamedTuple):
    """What Pods ask of a node (or a node has): cores, bytes, number of Pods."""

    cpu: float = 0.0
    memory: float = 0.0
    pods: int = 0

    def plus(self, other: Use, sign: int = 1) -> Use:
        return Use(
            self.cpu + sign * other.cpu,
            self.memory + sign * other.memory,
            self.pods + sign * other.pods,
        )

    def fits(self, room: Use) -> bool:
        """Whether this much is no more than `room`; a millionth is forgiven, as the sums are floats."""
        return self.pods <= room.pods and self.cpu <= room.cpu + 1e-6 and self.memory <= room.memory + 1e-6


class _Facts(NamedTuple):
    """What is remembered of one object, so that its next change can take back what it contributed."""

    uid: str
    owners: tuple[str, ...]
    node: str = ""
    use: Use = Use()
    addresses: tuple[str, ...] = ()
    waiting: bool = False


class Cluster:
    """The indexes. `read` answers an object by key, `scan` all objects of (group, resource), both frozen."""

    def __init__(
        self,
        read: Callable[[Key], Object | None],
        scan: Callable[[str, str], Sequence[Object]],
    ) -> None:
        self.get = read
        self.scan = scan
        self.unscheduled: set[Key] = set()
        self.ownerless_sets: set[Key] = set()
        """ReplicaSets that nobody owns: what an orphaning delete leaves, for a Deployment to adopt."""
        self._facts: dict[Key, _Facts] = {}
        self._by_uid: dict[str, Key] = {}
        self._children: dict[str, dict[Key, None]] = {}
        self._use: dict[str, Use] = {}
        self._addresses: set[str] = set()

    def observe(self, key: Key, meta: Meta | None) -> None:
        """`key` changed: `meta` is its new metadata, None when it is gone."""
        self._forget(key)
        if meta is None:
            return
        owners = tuple(owner.uid for owner in meta.ownerReferences or ())
        facts = _Facts(meta.uid, owners)
        if (key.group, key.resource) == PODS:
            facts = _facts_of_pod(facts, self.get(key) or {})
        elif (key.group, key.resource) == SERVICES:
            spec = (self.get(key) or {}).get("spec") or {}
            facts = facts._replace(addresses=tuple(a for a in (spec.get("clusterIP"),) if a and a != "None"))
        self._remember(key, facts)

    def key_of(self, uid: str) -> Key | None:
        """Where the object with this uid is, None when there is none."""
        return self._by_uid.get(uid)

    def uid_of(self, key: Key) -> str:
        """The uid of the object at `key`; empty when there is none."""
        facts = self._facts.get(key)
        return facts.uid if facts else ""

    def children(self, uid: str) -> Iterable[Key]:
        """Keys of all objects with an ownerReference to `uid`."""
        return self._children.get(uid, ())

    def use_of(self, node: str) -> Use:
        """The sum of what this node's Pods ask for."""
        return self._use.get(node, Use())

    def address_taken(self, address: str) -> bool:
        return address in self._addresses

    def pods_on(self, node: str) -> list[Key]:
        return [key for key, facts in self._facts.items() if facts.node == node]

    def _remember(self, key: Key, facts: _Facts) -> None:
        self._facts[key] = facts
        self._by_uid[facts.uid] = key
        for owner in facts.owners:
            self._children.setdefault(owner, {})[key] = None
        if facts.node:
            self._use[facts.node] = self.use_of(facts.node).plus(facts.use)
        if facts.waiting:
            self.unscheduled.add(key)
        if key.resource == "replicasets" and not facts.owners:
            self.ownerless_sets.add(key)
        self._addresses.update(facts.addresses)

    def _forget(self, key: Key) -> None:
        facts = self._facts.pop(key, None)
        if facts is None:
            return
        if self._by_uid.get(facts.uid) == key:
            del self._by_uid[facts.uid]
        for owner in facts.owners:
            _drop(self._children, owner, key)
        if facts.node:
            self._use[facts.node] = self.use_of(facts.node).plus(facts.use, -1)
        self.unscheduled.discard(key)
        self.ownerless_sets.discard(key)
        self._addresses.difference_update(facts.addresses)


def requests_of(pod_spec: Mapping[str, Any]) -> Use:
    """What a Pod asks of its node: the sum over its containers, or its largest init container if that is more."""
    total = Use(pods=1)
    for container in pod_spec.get("containers") or ():
        total = total.plus(_requests(container))
    for container in pod_spec.get("initContainers") or ():
        wanted = _requests(container)
        total = Use(max(total.cpu, wanted.cpu), max(total.memory, wanted.memory), 1)
    return total


def allocatable_of(node: Mapping[str, Any]) -> Use:
    given = (node.get("status") or {}).get("allocatable") or {}
    return Use(_amount(given.get("cpu")), _amount(given.get("memory")), int(_amount(given.get("pods"))))


def _facts_of_pod(facts: _Facts, pod: Mapping[str, Any]) -> _Facts:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return facts._replace(node=spec.get("nodeName") or "")
    node, address = spec.get("nodeName") or "", status.get("podIP")
    return facts._replace(
        node=node,
        use=requests_of(spec),
        addresses=(address,) if address else (),
        waiting=not node,
    )


def _requests(container: Mapping[str, Any]) -> Use:
    resources = container.get("resources") or {}
    wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return Use(_amount(wanted.get("cpu")), _amount(wanted.get("memory"))) if wanted else Use()


def _amount(quantity: Any) -> float:
    return _parsed(str(quantity)) if quantity is not None else 0.0


@lru_cache(maxsize=1024)
def _parsed(quantity: str) -> float:
    try:
        return float(parse(quantity))
    except ValueError:
        return 0.0


def _drop(index: dict[str, dict[Key, None]], at: str, key: Key) -> None:
    keys = index.get(at)
    if keys is not None:
        keys.pop(key, None)
        if not keys:
            del index[at]
