"""apps/v1 DaemonSet. It has no replicas: one pod a node."""

from __future__ import annotations

from towline.kube.cells import at, table
from towline.kube.interpreter import counters
from towline.kube.interpreter.operations import Operations, with_spec
from towline.kube.objects import Object

HALTED_LABEL = "towline.io/nowhere"
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


def _halted(obj: Object) -> Object:
    """Bound to a label that no node has."""
    template = table(at(obj, "spec", "template"))
    pod = table(template.get("spec"))
    selector = {**table(pod.get("nodeSelector")), HALTED_LABEL: "true"}
    return with_spec(obj, template={**template, "spec": {**pod, "nodeSelector": selector}})


OPERATIONS = Operations(
    halted=_halted,
    reflect_status=counters.reflect(_COUNTERS),
    healthy=_healthy,
    aggregate=counters.aggregate(_COUNTERS),
)
