"""Taints of Clusters: those that follow from the condition Ready, and how a list of them changes.

A taint is known by its key and its effect, as everywhere in Kubernetes. The health controller alone writes the two that follow from
Ready (`OF_HEALTH`); all others are the users' and their ClusterTaintPolicies'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.hub.decide.conditions import rfc3339
from towline.kube.names import TAINT_NOT_READY, TAINT_UNREACHABLE, TAINTS_OF_HEALTH
from towline.kube.objects import Object
from towline.kube.taints import Place, place_of, taints_of

NOT_READY: Place = (TAINT_NOT_READY, "NoSchedule")
UNREACHABLE: Place = (TAINT_UNREACHABLE, "NoSchedule")
OF_HEALTH = frozenset((key, "NoSchedule") for key in TAINTS_OF_HEALTH)
SUCCEEDED = "TaintClusterSucceed"


def following_ready(cluster: Object, ready: str | None, now: float) -> Object:
    """`cluster` with the taints that follow from its Ready (Karmada 2.8); the same object when it has them.

    False: not-ready; Unknown: unreachable; True: none of the two; never said: not-ready. One that follows the other is as old as that: it
    says since when the cluster is not well."""
    wanted = {"True": None, "Unknown": UNREACHABLE}.get(str(ready), NOT_READY)
    wishes: dict[Place, Mapping[str, Any] | None] = dict.fromkeys(OF_HEALTH)
    if wanted is not None:
        present = [taint["timeAdded"] for taint in of_health(cluster) if taint.get("timeAdded")]
        since = min(present, default=rfc3339(now))
        wishes[wanted] = {"key": wanted[0], "effect": wanted[1], "timeAdded": since}
    return with_wishes(cluster, wishes, now)


def of_health(cluster: Object) -> list[Mapping[str, Any]]:
    """Those of its taints that the health controller writes."""
    return [taint for taint in taints_of(cluster) if place_of(taint) in OF_HEALTH]


def with_wishes(cluster: Object, wishes: Mapping[Place, Mapping[str, Any] | None], now: float) -> Object:
    """`cluster` where each place of `wishes` has a taint (that one, if there was none) or has none (None).

    The same object when nothing changes: what is there stays as it is, with its value and its time."""
    present = taints_of(cluster)
    kept = [taint for taint in present if wishes.get(place_of(taint), taint) is not None]
    held = {place_of(taint) for taint in kept}
    added = [_timed(taint, now) for at, taint in wishes.items() if taint is not None and at not in held]
    if len(kept) == len(present) and not added:
        return cluster
    spec = {field: value for field, value in (cluster.get("spec") or {}).items() if field != "taints"}
    if kept or added:
        spec["taints"] = [*kept, *added]
    return {**cluster, "spec": spec}


def told(cluster: Object) -> str:
    """The taints of a cluster as Karmada's events say them (2.15)."""
    shown = ",".join(map(_shown, taints_of(cluster)))
    return f"cluster now has taints([{shown}])" if shown else "cluster now does not have taints"


def _shown(taint: Mapping[str, Any]) -> str:
    fields = (("Key", "key"), ("Value", "value"), ("Effect", "effect"))
    return "{" + ",".join(f"{name}:{taint[field]}" for name, field in fields if taint.get(field)) + "}"


def _timed(taint: Mapping[str, Any], now: float) -> Object:
    """When a NoExecute taint came is what its tolerations count from."""
    return {**taint, "timeAdded": rfc3339(now)} if taint.get("effect") == "NoExecute" else dict(taint)
