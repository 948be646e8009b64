"""batch/v1 CronJob."""

from __future__ import annotations

from towline.kube.cells import maps
from towline.kube.interpreter.operations import Items, Operations, reported, suspended
from towline.kube.objects import Object


def _aggregate(template: Object, items: Items) -> Object:
    """The active Jobs of all members, and the latest times."""
    statuses = [status for _, status in reported(items)]
    merged = {**(template.get("status") or {})}
    merged["active"] = [job for status in statuses for job in maps(status.get("active"))]
    for field in ("lastScheduleTime", "lastSuccessfulTime"):
        if times := [str(status[field]) for status in statuses if status.get(field)]:
            merged[field] = max(times)
    return {k: v for k, v in merged.items() if v}


OPERATIONS = Operations(halted=suspended, aggregate=_aggregate)
