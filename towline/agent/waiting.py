"""Which Deployments have pods that find no node, and for how long: counted from the pods as they come and go.

Pure. A pod's Deployment is read from its own metadata (its ReplicaSet's name is the Deployment's with the hash of the template, which
the pod carries as a label), so that nothing else of the member needs to be followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from sys import intern
from typing import NamedTuple

from towline.kube.cells import at, maps
from towline.kube.objects import Object, labels_of, namespace_of

_HASH = "pod-template-hash"


class Workload(NamedTuple):
    """A Deployment."""

    namespace: str
    name: str


class Stuck(NamedTuple):
    """Of `pods` pods of a workload so many have found no node for too long."""

    workload: Workload
    pods: int
    unschedulable: int


class Waiting:
    """The count."""

    def __init__(self) -> None:
        self._pods: Counter[Workload] = Counter()
        self._since: dict[Workload, Counter[float]] = {}
        """When the scheduler first had no node for pods that still wait."""

    def count(self, workload: Workload | None, since: float, times: int) -> None:
        """Count a pod in (1) or out (-1). `since`: when it found no node, in epoch seconds; 0: it has one, or nobody has looked."""
        if workload is None:
            return
        self._pods[workload] += times
        if not self._pods[workload]:
            del self._pods[workload]
        if not since:
            return
        waiting = self._since.setdefault(workload, Counter())
        waiting[since] += times
        if not waiting[since]:
            del waiting[since]
        if not waiting:
            del self._since[workload]

    def stuck(self, seconds: float, now: float) -> Iterator[Stuck]:
        """Those with pods that have waited for so long, by name."""
        for workload in sorted(self._since):
            many = sum(count for since, count in self._since[workload].items() if now - since >= seconds)
            if many:
                yield Stuck(workload, self._pods[workload], many)

    def next_in(self, seconds: float, now: float) -> float | None:
        """After how many seconds another pod will have waited for so long; None: none waits that has not."""
        left = (since + seconds - now for waiting in self._since.values() for since in waiting)
        return min((each for each in left if each > 0), default=None)


def workload_of(pod: Object) -> Workload | None:
    """The Deployment that a pod belongs to; None for any other pod."""
    hashed = labels_of(pod).get(_HASH)
    for owner in maps(at(pod, "metadata", "ownerReferences")):
        name = str(owner.get("name") or "")
        if owner.get("kind") == "ReplicaSet" and hashed and name.endswith(f"-{hashed}"):
            return Workload(intern(namespace_of(pod)), intern(name.removesuffix(f"-{hashed}")))
    return None


def unschedulable_since(pod: Object) -> float:
    """When the scheduler first said that no node takes the pod, in epoch seconds; 0: it did not."""
    for condition in maps(at(pod, "status", "conditions")):
        if (condition.get("type"), condition.get("status"), condition.get("reason")) == (
            "PodScheduled",
            "False",
            "Unschedulable",
        ):
            return _epoch(str(condition.get("lastTransitionTime") or ""))
    return 0.0


def _epoch(time: str) -> float:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return 0.0
