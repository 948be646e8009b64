"""policy/v1 PodDisruptionBudget."""

from __future__ import annotations

from towline.kube.cells import at, table
from towline.kube.interpreter.operations import Items, Operations, number, reported
from towline.kube.objects import Object

_COUNTERS = ("disruptionsAllowed", "expectedPods", "desiredHealthy", "currentHealthy")


def _reflect_status(obj: Object) -> Object | None:
    status = obj.get("status")
    if not isinstance(status, dict):
        return None
    reflected: Object = {name: status.get(name) or 0 for name in _COUNTERS}
    return (
        {**reflected, "disruptedPods": status["disruptedPods"]} if status.get("disruptedPods") else reflected
    )


def _healthy(obj: Object) -> bool:
    current, wanted = at(obj, "status", "currentHealthy") or 0, at(obj, "status", "desiredHealthy") or 0
    return bool(current >= wanted)


def _aggregate(template: Object, items: Items) -> Object:
    """Sums; a disrupted pod's name gets its cluster's before it."""
    statuses = reported(items)
    merged = {**(template.get("status") or {})}
    merged |= {name: sum(number(status.get(name)) for _, status in statuses) for name in _COUNTERS}
    merged["disruptedPods"] = {
        f"{cluster}/{pod}": since
        for cluster, status in statuses
        for pod, since in table(status.get("disruptedPods")).items()
    }
    return {k: v for k, v in merged.items() if v or k != "disruptedPods"}


OPERATIONS = Operations(reflect_status=_reflect_status, healthy=_healthy, aggregate=_aggregate)
