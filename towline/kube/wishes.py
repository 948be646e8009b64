"""What somebody wants room for: replicas of one pod, or whole sets of pods, with all that decides where they can run.

The hub asks for room and an agent counts it; both mean the same thing by the same key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from towline.kube import amounts
from towline.kube.cells import table
from towline.kube.objects import content_hash

AMOUNT_MAX = 2**63 - 1
"""What a message can carry; Kubernetes' own bound of a quantity."""


class Pods(NamedTuple):
    """Equal pods: how many of them belong together, and what each needs."""

    replicas: int
    requests: Mapping[str, int]
    """In base units (`kube.amounts`), each above 0."""
    claim: Mapping[str, Any]
    """As a binding's nodeClaim: `nodeSelector`, `hardNodeAffinity`, `tolerations`."""
    priority_class: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """Room is counted in units of `pods` together: one replica, or one set of components. Make it with `wish`."""

    key: str
    """Equal for equal wishes, on both sides of a session."""
    namespace: str
    pods: tuple[Pods, ...]
    pod_count: int
    """Of one unit; 0 when it is nothing but empty components."""
    totals: tuple[tuple[str, int], ...]
    """What one unit requests, all pods together."""


def wish(namespace: str, pods: Iterable[Pods]) -> Wish:
    """The wish for units of `pods`."""
    parts = tuple(pods)
    content = [
        namespace,
        [[part.replicas, dict(part.requests), dict(part.claim), part.priority_class] for part in parts],
    ]
    return Wish(
        key=content_hash(content).hex(),
        namespace=namespace,
        pods=parts,
        pod_count=sum(part.replicas for part in parts),
        totals=tuple(sorted((name, amount) for name, amount in totals_of(parts).items() if amount)),
    )


def of_replicas(requirements: Mapping[str, Any] | None, namespace: str = "") -> Wish:
    """The wish for replicas with a binding's `replicaRequirements`, in its namespace."""
    return wish(namespace, pods_of(requirements))


def of_components(components: Iterable[Mapping[str, Any]], namespace: str = "") -> Wish:
    """The wish for whole sets of a binding's `components`, in its namespace."""
    return wish(namespace, pods_of(None, components))


def pods_of(
    requirements: Mapping[str, Any] | None, components: Iterable[Mapping[str, Any]] | None = None
) -> tuple[Pods, ...]:
    """One unit: a replica with these requirements, or a set of the components that are given."""
    if components is None:
        return (_pods(1, requirements),)
    parts = [
        _pods(int(component.get("replicas") or 0), component.get("replicaRequirements"))
        for component in components
    ]
    return tuple(part for part in parts if part.replicas > 0)


def totals_of(pods: Iterable[Pods]) -> dict[str, int]:
    """What they request together."""
    totals: dict[str, int] = {}
    for part in pods:
        for name, amount in part.requests.items():
            totals[name] = totals.get(name, 0) + amount * part.replicas
    return totals


def _pods(replicas: int, requirements: Mapping[str, Any] | None) -> Pods:
    needs = requirements or {}
    requests = amounts.needed(table(needs.get("resourceRequest")))
    claim = {
        field: value for field, value in sorted(table(needs.get("nodeClaim")).items()) if value and field in _CLAIM
    }  # fmt: skip
    return Pods(
        replicas=replicas,
        requests={
            name: min(amount, AMOUNT_MAX)
            for name, amount in sorted(requests.items())
            if amount > 0 and name != "pods"
        },
        claim=claim,
        priority_class=str(needs.get("priorityClassName") or ""),
    )


_CLAIM = ("nodeSelector", "hardNodeAffinity", "tolerations")
