"""autoscaling/v2 HorizontalPodAutoscaler."""

from __future__ import annotations

from towline.kube.interpreter.operations import Items, Operations, number, reported
from towline.kube.objects import Object

_COUNTERS = ("currentReplicas", "desiredReplicas")


def _reflect_status(obj: Object) -> Object | None:
    status = obj.get("status")
    return {name: status.get(name) or 0 for name in _COUNTERS} if isinstance(status, dict) else None


def _aggregate(template: Object, items: Items) -> Object:
    sums = {name: sum(number(status.get(name)) for _, status in reported(items)) for name in _COUNTERS}
    return {**(template.get("status") or {}), **sums}


OPERATIONS = Operations(reflect_status=_reflect_status, aggregate=_aggregate)
