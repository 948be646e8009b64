"""What a namespace's ResourceQuotas leave for more pods, as Kubernetes counts them at admission. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from towline.kube import amounts
from towline.kube.amounts import PODS, Amounts
from towline.kube.cells import at, maps, table
from towline.kube.objects import Object, name_of, namespace_of
from towline.kube.selectors import Requirement
from towline.kube.wishes import Pods


class Scope(NamedTuple):
    """One condition of a quota on the pods that it counts: `name` PriorityClass, BestEffort, …; `operator` In, …"""

    name: str
    operator: str
    values: frozenset[str]


class Quota(NamedTuple):
    """A ResourceQuota: what it leaves of what it bounds for pods, in base units, below 0 where more is taken already.

    A bound is named as the quota names it without `requests.`, `limits.` and `count/`: a pod's limit is at least its request,
    so that both bound what is requested."""

    namespace: str
    name: str
    left: Mapping[str, int]
    scopes: tuple[Scope, ...]


def quota_of(obj: Object) -> Quota:
    """A ResourceQuota object reduced. Its status counts where it has one, as it does at admission."""
    hard = table(at(obj, "status", "hard")) or table(at(obj, "spec", "hard"))
    used = table(at(obj, "status", "used"))
    left: Amounts = {}
    for name, bound in hard.items():
        resource = _bounded(name)
        if resource is None:
            continue
        free = amounts.offered({resource: bound}).get(resource)
        if free is None:
            continue
        taken = amounts.needed({resource: used.get(name, 0)}).get(resource, 0)
        left[resource] = min(free - taken, left.get(resource, free - taken))
    named = [Scope(str(scope), "Exists", frozenset()) for scope in at(obj, "spec", "scopes") or ()]
    selected = [
        Scope(
            str(row.get("scopeName")), str(row.get("operator")), frozenset(map(str, row.get("values") or ()))
        )
        for row in maps(at(obj, "spec", "scopeSelector", "matchExpressions"))
    ]
    return Quota(namespace_of(obj), name_of(obj), left, (*named, *selected))


def leaves_more(before: Quota, after: Quota) -> bool:
    """Whether more pods may fit than before."""
    bounds = after.left
    return before.scopes != after.scopes or any(
        name not in bounds or bounds[name] > left for name, left in before.left.items()
    )


def within(quota: Quota, pods: Sequence[Pods], fits: int) -> int:
    """How many of `fits` units the quota leaves room for."""
    counted = [part for part in pods if all(_in_scope(scope, part) for scope in quota.scopes)]
    for name, left in quota.left.items():
        if name == PODS:
            unit = sum(part.replicas for part in counted)
        else:
            unit = sum(part.replicas * part.requests.get(name, 0) for part in counted)
        if unit:
            fits = min(fits, max(0, left // unit))
    return fits


def _bounded(name: str) -> str | None:
    """The resource of a pod that a quota's entry bounds; None for entries about other things (Services, volumes, …)."""
    if name in (PODS, "count/pods"):
        return PODS
    if name.startswith("count/") or name in _OF_OTHERS or ".storageclass.storage.k8s.io/" in name:
        return None
    for prefix in ("requests.", "limits."):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


_OF_OTHERS = frozenset(
    (
        "services", "services.loadbalancers", "services.nodeports", "persistentvolumeclaims", "requests.storage",
        "configmaps", "secrets", "replicationcontrollers", "resourcequotas",
    )
)  # fmt: skip


def _in_scope(scope: Scope, pods: Pods) -> bool:
    """Whether a quota with this scope counts such pods for certain. Deadlines and affinities between pods are not in a
    wish, so that a quota which asks for them bounds nothing here."""
    if scope.name == "PriorityClass":
        held = {"class": pods.priority_class} if pods.priority_class else {}
        operator = _OPERATORS.get(scope.operator)
        return operator is not None and Requirement("class", operator, scope.values).matches(held)
    best_effort = not any(name in pods.requests for name in ("cpu", "memory"))
    if scope.name == "BestEffort":
        return best_effort
    return scope.name == "NotBestEffort" and not best_effort


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
