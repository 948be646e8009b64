"""Room for more: how many replicas a cluster can take (Karmada 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from towline.kube import amounts
from towline.kube.amounts import Amounts
from towline.kube.objects import Object


@dataclass(frozen=True, slots=True)
class Room:
    """What a cluster has left, in base units, "pods" included."""

    free: Amounts


def room_of(cluster: Object) -> Room | None:
    """The room that a Cluster's status shows; None when it shows none."""
    summary = (cluster.get("status") or {}).get("resourceSummary")
    if not summary:
        return None
    free = amounts.offered(summary.get("allocatable") or {})
    for field in ("allocated", "allocating"):
        for resource, amount in amounts.needed(summary.get(field) or {}).items():
            free[resource] = free.get(resource, 0) - amount
    return Room(free)


def replicas_in(
    room: Room | None, requirements: Mapping[str, Any] | None, promised: Mapping[str, int]
) -> tuple[int, str]:
    """How many more replicas fit, and where the number comes from."""
    if room is None:
        return 0, "no summary"
    wanted = {"pods": 1, **amounts.needed((requirements or {}).get("resourceRequest") or {})}
    fits = min(
        (room.free.get(resource, 0) - promised.get(resource, 0)) // amount
        for resource, amount in wanted.items()
        if amount
    )
    return max(0, fits), "summary"
