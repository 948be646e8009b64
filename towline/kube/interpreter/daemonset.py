"""apps/v1 DaemonSet. It has no replicas: one pod a node."""

from __future__ import annotations

from towline.kube.cells import table
from towline.kube.interpreter import counters
from towline.kube.interpreter.operations import Operations
from towline.kube.objects import Object

_COUNTERS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
)


def _healthy(obj: Object) -> bool:
    status = table(obj.get("status"))
    wanted, updated, available = (
        status.get(name) or 0
        for name in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    )
    return counters.observed(obj) and updated >= wanted and available >= updated


OPERATIONS = Operations(
    reflect_status=counters.reflect(_COUNTERS),
    healthy=_healthy,
    aggregate=counters.aggregate(_COUNTERS),
)
